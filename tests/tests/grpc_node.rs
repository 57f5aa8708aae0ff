//! gRPC by grpc-js, with itself and with grpcio: all kinds of calls, as in `grpc`.

use tests::grpc::{By, Shop, TIMES, expect_messages, expect_round};
use tests::process::Process;
use tests::sensor::Sensor;

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
