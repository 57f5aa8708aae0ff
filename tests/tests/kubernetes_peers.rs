//! Who is at the other end of a pod's connections, by address and by Service.

use serde_json::json;
use tests::api_server::{ApiServer, object};
use tests::cluster::{sensor, to_loki, wait_for_metrics, wait_for_watches};
use tests::logs::Piped;
use tests::netns::{ADDRESSES, Netns};
use tests::pods::Pod;
use tests::process::{Process, find};
use tests::receiver::Lines;
use tests::wait::{patience, wait_until};

/// Both ends of a connection by pod, and one that is elsewhere by the Service behind its address.
#[test]
fn connections_carry_workload_and_peer() {
    const OPENED: &str = "tcp_connections_opened_total";
    let api = ApiServer::start();
    let (shop, bank) = (Pod::new("shop-1"), Pod::new("bank-1"));
    api.put("pods", shop.object.clone());
    api.put("pods", bank.owned_by("apps/v1", "StatefulSet", "bank"));
    // Nobody is at this address, so connecting to it fails.
    let mut slice = object("endpointslice.json");
    slice["metadata"]["labels"]["kubernetes.io/service-name"] = json!("ledger");
    slice["endpoints"][0]["addresses"] = json!(["10.99.0.77"]);
    api.put("endpointslices", slice);
    let [front, back] = Netns::pair();
    let sensor = sensor(&(api.settings() + "flow:\n  interval: 1s\n"));
    wait_for_watches(&sensor);
    let python = find("python3").expect("python3 is in PATH");
    let mut server = back.command(&python);
    server.args(["-u", "-m", "http.server", "8080", "--bind", "0.0.0.0"]);
    let _server = Process::start(&mut bank.command(&server));
    let curl = |url: &str| {
        let mut client = front.command(&find("curl").expect("curl is in PATH"));
        client.args(["--silent", "--output", "/dev/null", "--max-time", "10", url]);
        Process::start(&mut shop.command(&client)).wait(30)
    };
    wait_until("an answer", patience(20), || {
        curl(&format!("http://{}:8080/", ADDRESSES[1])).success().then_some(())
    });
    assert!(!curl("http://10.99.0.77:8080/").success());
    let zone = ("cloud_availability_zone", "ap-northeast-2a");
    let here = ("peer_cloud_availability_zone", "ap-northeast-2a");
    let client = [
        ("service_name", "shop"),
        ("k8s_deployment_name", "shop"),
        ("k8s_namespace_name", "pay"),
        ("peer_service_name", "bank"),
        ("peer_service_namespace", "pay"),
        zone,
        here,
    ];
    let server = [
        ("service_name", "bank"),
        ("k8s_statefulset_name", "bank"),
        ("peer_service_name", "shop"),
        zone,
        here,
    ];
    let elsewhere = [
        ("service_name", "shop"),
        ("peer_service_name", "ledger"),
        ("peer_service_namespace", "pay"),
        zone,
        ("peer_cloud_availability_zone", "ap-northeast-2c"),
    ];
    wait_for_metrics(&sensor, "both ends", |metrics| {
        metrics.sum(OPENED, &client) >= 1.0
            && metrics.sum("tcp_connections_accepted_total", &server) >= 1.0
            && metrics.sum("tcp_connections_failed_total", &elsewhere) >= 1.0
            && metrics.sum("traces_service_graph_request_total", &[("client", "shop"), ("server", "bank")])
                >= 1.0
    });
    api.assert_no_faults();
}

/// What is at an address now is not taken for what was there before, nor a pod for its predecessor of the same name, whose
/// lines still come.
#[test]
fn connections_and_lines_are_of_the_right_pod() {
    const FAILED: &str = "tcp_connections_failed_total";
    const ACCEPTED: &str = "tcp_connections_accepted_total";
    let (api, receiver) = (ApiServer::start(), Lines::start(204));
    let spool = tempfile::TempDir::new().expect("make a directory");
    let [front, back] = Netns::pair();
    let named = |pod: &Pod, service: &str| {
        let mut object = pod.object.clone();
        object["metadata"]["annotations"] = json!({"resource.opentelemetry.io/service.name": service});
        object
    };
    let slice = |service: &str, address: &str| {
        let mut slice = object("endpointslice.json");
        slice["metadata"]["name"] = json!(format!("{service}-x"));
        slice["metadata"]["labels"]["kubernetes.io/service-name"] = json!(service);
        slice["endpoints"][0]["addresses"] = json!([address]);
        slice["endpoints"][0]["targetRef"]["uid"] = json!(format!("uid of {service}"));
        slice
    };
    let (old, new, client) = (Pod::new("shop-0"), Pod::new("shop-0"), Pod::new("client-0"));
    api.put("pods", named(&old, "old"));
    api.put("pods", named(&client, "client"));
    api.put("endpointslices", slice("ledger", "10.99.0.77"));
    let sensor = sensor(&(api.settings() + "flow:\n  interval: 1s\n" + &to_loki(&receiver, spool.path())));
    wait_for_watches(&sensor);
    let addresses = || sensor.metrics().sum("sensor_kubernetes_known", &[("kind", "addresses")]);
    let known = addresses();

    let python = find("python3").expect("python3 is in PATH");
    let serve = |pod: &Pod, port: &str| {
        let mut command = back.command(&python);
        command.args(["-c", "import http.server,sys; print(sys.argv[2], flush=True); http.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]))"]);
        command.args([port, &pod.uid()]);
        Piped::start(&mut pod.command(&command))
    };
    let ask = |port: &str, address: &str| {
        let mut command = front.command(&find("curl").expect("curl is in PATH"));
        let url = format!("http://{address}:{port}/");
        command.args(["--silent", "--output", "/dev/null", "--max-time", "20", &url]);
        Process::start(&mut client.command(&command)).wait(40).success()
    };
    let answered = |port: &str| {
        wait_until("an answer", patience(20), || ask(port, ADDRESSES[1]).then_some(()));
    };
    let accepted = |service: &str, port: &str| {
        sensor.metrics().sum(ACCEPTED, &[("service_name", service), ("server_port", port)])
    };
    let first = serve(&old, "8081");
    answered("8081");
    assert!(!ask("80", "10.99.0.77"));
    let failed =
        |peer: &str| sensor.metrics().sum(FAILED, &[("service_name", "client"), ("peer_service_name", peer)]);
    wait_until("the first pod's", patience(30), || (accepted("old", "8081") >= 1.0).then_some(()));
    wait_until("the first holder's", patience(30), || (failed("ledger") == 1.0).then_some(()));

    // Another pod of that name, and another Service at that address. Both watches have told all of it once they have told
    // of what came last.
    api.delete("pods", &old.object);
    api.put("pods", named(&new, "new"));
    api.delete("endpointslices", &slice("ledger", "10.99.0.77"));
    api.put("endpointslices", slice("vault", "10.99.0.77"));
    api.put("endpointslices", slice("marker", "10.99.0.78"));
    wait_until("the addresses", patience(30), || (addresses() == known + 1.0).then_some(()));
    let second = serve(&new, "8082");
    answered("8082");
    answered("8081");
    assert!(!ask("80", "10.99.0.77"));
    wait_until("the second holder's", patience(30), || (failed("vault") == 1.0).then_some(()));
    assert_eq!(failed("ledger"), 1.0);
    wait_until("the second pod's", patience(30), || (accepted("new", "8082") >= 1.0).then_some(()));
    wait_until("the first pod's", patience(30), || (accepted("old", "8081") >= 2.0).then_some(()));
    assert_eq!((accepted("old", "8082"), accepted("new", "8081")), (0.0, 0.0));

    drop((first, second));
    let both = [(&old, "old"), (&new, "new")];
    wait_until("a line of each", patience(30), || {
        let lines = receiver.lines();
        both.iter().all(|(pod, _)| lines.iter().any(|entry| entry.line == pod.uid())).then_some(())
    });
    for stream in receiver.taken() {
        for entry in stream.entries {
            let Some((pod, service)) =
                both.iter().find(|(pod, _)| pod.uid() == entry.metadata("k8s_pod_uid"))
            else {
                panic!("{} of no pod: {}", stream.labels, entry.line)
            };
            assert!(stream.labels.contains(&format!("service_name=\"{service}\"")), "{}", stream.labels);
            assert_eq!(entry.metadata("container_id"), pod.container);
            let is_others =
                both.iter().any(|(other, _)| other.uid() != pod.uid() && entry.line == other.uid());
            assert!(!is_others, "{}", entry.line);
        }
    }
    api.assert_no_faults();
}
