//! gRPC by grpc-js, with itself and with grpcio: all kinds of calls, as in `grpc`.

use tempfile::TempDir;
use tests::calls::{Calls, Role};
use tests::grpc::{By, CALLS, Shop, TIMES, expect_messages, expect_round};
use tests::process::Process;
use tests::sensor::{SETTLE, Sensor};
use tests::wait::{patience, wait_for};

fn round(server: By, client: By) {
    let sensor = Sensor::start();
    let shop = Shop::start(server);
    let _ = Process::start(&mut shop.client(client, TIMES)).succeed(60);
    expect_round(&sensor, shop.port);
    expect_messages(&sensor, shop.port);
}

#[test]
fn node_calls_node() {
    round(By::Node, By::Node);
}

#[test]
fn python_calls_node() {
    round(By::Node, By::Python);
}

#[test]
fn node_calls_python() {
    round(By::Python, By::Node);
}

#[test]
fn by_a_unix_domain_socket() {
    let sensor = Sensor::start();
    let directory = TempDir::new().expect("make a directory");
    let path = directory.path().join("shop.sock").to_str().expect("a path of UTF-8").to_owned();
    let target = format!("unix:{path}");
    let mut server = Process::start(By::Node.command(&directory, "grpc_server").arg(&target));
    server.line("listening ");
    let mut client = By::Node.command(&directory, "grpc_client");
    let _ = Process::start(client.arg(&target).arg(TIMES.to_string())).succeed(60);
    let told = || {
        [Role::Server, Role::Client].map(|role| {
            let spans = sensor.spans().into_iter();
            spans
                .filter(|span| span.kind == role.span_kind() && span.attribute("server.address") == path)
                .filter(|span| span.attribute("rpc.system.name") == "grpc")
                .count() as u64
        })
    };
    wait_for(patience(SETTLE), || (told() == [CALLS; 2]).then_some(()));
    sensor.barrier();
    assert_eq!(told(), [CALLS; 2], "lost {:?}", sensor.lost());
    assert_eq!(sensor.lost(), Calls::new());
}
