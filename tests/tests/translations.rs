//! Connections to Services: the host translates their addresses, and both ends are named all the same.

use serde_json::json;
use tests::api_server::{ApiServer, object};
use tests::cluster::{sensor, wait_for_metrics, wait_for_watches};
use tests::flows::expect;
use tests::metrics::Metrics;
use tests::node::Node;
use tests::pods::Pod;
use tests::process::{Process, find};
use tests::sensor::Options;
use tests::wait::{patience, wait_until};

const OPENED: &str = "tcp_connections_opened_total";
const ACCEPTED: &str = "tcp_connections_accepted_total";
const CAPABILITY: [(&str, &str); 1] = [("name", "conntrack")];
const REQUESTS: u64 = 3;

/// A Service, its address, whether it is behind IPv6, and whether the client's address becomes the node's.
const SERVICES: [(&str, &str, usize, bool); 3] =
    [("bank", "10.96.0.10", 0, false), ("vault", "10.96.0.20", 0, true), ("safe", "fd00:96::10", 1, true)];

/// The pod of a StatefulSet is behind Services of other names. Flows and edges have both names.
#[test]
fn the_workload_and_the_service_are_named() {
    let api = ApiServer::start();
    let (shop, ledger) = (Pod::new("shop-1"), Pod::new("ledger-0"));
    api.put("pods", shop.object.clone());
    api.put("pods", ledger.owned_by("apps/v1", "StatefulSet", "ledger"));
    let mut node = Node::new();
    let [front, back] = [node.pod(), node.pod()];
    let address = Node::address(1);
    for (name, cluster_ip, family, masquerade) in SERVICES {
        let mut service = object("service.json");
        service["metadata"]["name"] = json!(name);
        service["metadata"]["uid"] = json!(format!("uid of {name}"));
        service["spec"]["clusterIP"] = json!(cluster_ip);
        service["spec"]["clusterIPs"] = json!([cluster_ip]);
        api.put("services", service);
        let [from, to] = [(cluster_ip, 80), (&*address[family], 8080)]
            .map(|(address, port)| (address.parse::<std::net::IpAddr>().expect("an address"), port).into());
        node.translate(from, to, masquerade);
    }
    let sensor = sensor(&(api.settings() + "flow:\n  interval: 1s\n"));
    wait_for_watches(&sensor);
    let python = find("python3").expect("python3 is in PATH");
    let mut server = back.command(&python);
    server.args(["-u", "-m", "http.server", "8080", "--bind", "::"]);
    let _server = Process::start(&mut ledger.command(&server));
    wait_for_metrics(&sensor, "the listener", |metrics| {
        metrics.count("tcp_listen_queue_limit", &[("service_name", "ledger")]) > 0
    });
    let run = |program: &str, arguments: &[&str]| {
        let mut client = front.command(&find(program).expect("it is in PATH"));
        client.args(arguments);
        Process::start(&mut shop.command(&client)).wait(30).success()
    };
    for (name, cluster_ip, family, _) in SERVICES {
        let url =
            if family == 0 { format!("http://{cluster_ip}/") } else { format!("http://[{cluster_ip}]/") };
        for _ in 0..REQUESTS {
            let told = ["--silent", "--noproxy", "*", "--output", "/dev/null", "--max-time", "20", &url];
            assert!(run("curl", &told), "{name}");
        }
        let connect = "import socket,sys; socket.create_connection((sys.argv[1], 80)).close()";
        assert!(run("python3", &["-c", connect, cluster_ip]), "{name}");
    }
    for (name, ..) in SERVICES {
        let client = [
            ("service_name", "shop"),
            ("peer_service_name", "ledger"),
            ("server_k8s_service_name", name),
            ("peer_network", "pod"),
            ("server_port", "8080"),
            ("peer_cloud_availability_zone", "ap-northeast-2a"),
        ];
        let server = [
            ("service_name", "ledger"),
            ("peer_service_name", "shop"),
            ("server_k8s_service_name", name),
            ("peer_network", "pod"),
            ("server_port", "8080"),
        ];
        let edge = [("client", "shop"), ("server", "ledger"), ("server_k8s_service_name", name)];
        let tcp = [&edge[..], &[("connection_type", "tcp")]].concat();
        expect(&sensor, &[REQUESTS + 1; 2], |metrics| {
            [metrics.count(OPENED, &client), metrics.count(ACCEPTED, &server)]
        });
        expect(&sensor, &[REQUESTS + 1, 1, REQUESTS, REQUESTS], |metrics| {
            let count =
                |part, labels: &[_]| metrics.count(&format!("traces_service_graph_request_{part}"), labels);
            [
                count("total", &edge),
                count("total", &tcp),
                count("client_seconds_count", &edge),
                count("server_seconds_count", &edge),
            ]
        });
    }
    let metrics = sensor.metrics();
    assert_eq!(metrics.count(OPENED, &[("service_name", "shop")]), (REQUESTS + 1) * SERVICES.len() as u64);
    assert_eq!(metrics.count("sensor_capability", &CAPABILITY), 1);
    let untold = |cause| metrics.count("sensor_lost_total", &[("cause", cause)]);
    assert_eq!(["flow_translation_unread", "flow_translation_left_out"].map(untold), [0, 0]);
    api.assert_no_faults();
}

/// A sensor that may not ask says so once, and tells connections as it would without a translation.
#[test]
fn without_the_capability_connections_are_told_all_the_same() {
    let mut node = Node::new();
    let [front, back] = [node.pod(), node.pod()];
    let [from, to] = ["10.96.0.10:80".to_owned(), format!("{}:8080", Node::address(1)[0])]
        .map(|address| address.parse().expect("an address"));
    node.translate(from, to, false);
    let sensor = Options::default().flow("interval", "1s").without("net_admin").start();
    let python = find("python3").expect("python3 is in PATH");
    let mut server = back.command(&python);
    let _server = Process::start(server.args(["-u", "-m", "http.server", "8080"]));
    let curl = || {
        let mut client = front.command(&find("curl").expect("curl is in PATH"));
        let told =
            ["--silent", "--noproxy", "*", "--output", "/dev/null", "--max-time", "20", "http://10.96.0.10/"];
        Process::start(client.args(told)).wait(30).success()
    };
    wait_until("an answer", patience(20), || curl().then_some(()));
    let client = [("service_name", "curl"), ("peer_network", "vpc"), ("server_port", "80")];
    let told = |metrics: &Metrics| metrics.count(OPENED, &client) > 0;
    expect(&sensor, &true, told);
    wait_for_metrics(&sensor, "some looks", |metrics| metrics.count("sensor_flow_sockets", &[]) > 0);
    let said = sensor.stderr().matches("CAP_NET_ADMIN").count();
    assert_eq!((said, sensor.metrics().count("sensor_capability", &CAPABILITY)), (1, 0));
}
