//! The API server away, refusing, forgetting, and with new credentials: the sensor goes on with what it knows.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::json;
use tests::api_server::{self, ApiServer, object};
use tests::client::curl;
use tests::cluster::{SHOP, on_port, sensor, wait_for_metrics, wait_for_watches, wait_so_long_for_metrics};
use tests::front::Front;
use tests::link::free_port;
use tests::pods::Pod;
use tests::sensor::Sensor;
use tests::server::Server;

const FAILURES: &str = "sensor_kubernetes_watch_failures_total";

/// A request to a server of the host is told.
#[track_caller]
fn ask_host(sensor: &Sensor) {
    let host = Server::start(tests::server::Kind::Python);
    assert_eq!(curl(&[&host.url("/")]), 200);
    wait_for_metrics(sensor, "a request", |metrics| on_port(metrics, host.port, &[]) == 1);
}

/// A request to a server in a pod is told, and is the pod's.
#[track_caller]
fn ask(sensor: &Sensor, pod: &Pod) {
    let server = Server::in_pod(pod);
    assert_eq!(curl(&[&server.url("/")]), 200);
    wait_for_metrics(sensor, "the pod's request", |metrics| on_port(metrics, server.port, &SHOP) == 1);
}

/// The sensor starts without the API server, and knows all once it is there.
#[test]
fn it_starts_without_the_api_server() {
    let pod = Pod::new("shop-1");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let account = tempfile::TempDir::new().expect("make a directory");
    std::fs::write(account.path().join("token"), "token-1").expect("write a token");
    let sensor = sensor(&api_server::settings(&format!("http://{address}"), account.path()));
    ask_host(&sensor);
    wait_for_metrics(&sensor, "failures", |metrics| {
        metrics.sum(FAILURES, &[("resource", "pods"), ("cause", "network")]) >= 1.0
    });
    assert_eq!(sensor.page("/readyz"), "ok\n");
    let status: serde_json::Value = serde_json::from_str(&sensor.page("/status.json")).expect("JSON");
    assert_eq!(status["kubernetes"]["watches"]["pods"]["up"], json!(false), "{status}");

    let api = ApiServer::start_at(address);
    api.put("pods", pod.running());
    wait_for_watches(&sensor);
    ask(&sensor, &pod);
    api.assert_no_faults();
}

/// A server that takes its time holds nothing up, and all is known in the end.
#[test]
fn it_does_not_wait_for_a_slow_api_server() {
    let api = ApiServer::start();
    api.delay(Duration::from_secs(4));
    let pod = Pod::new("shop-1");
    api.put("pods", pod.running());
    let sensor = sensor(&api.settings());
    ask_host(&sensor);
    assert_eq!(sensor.page("/readyz"), "ok\n");
    wait_for_watches(&sensor);
    ask(&sensor, &pod);
    api.assert_no_faults();
}

/// Whatever the API server answers, the sensor goes on with what it knows, counts it, and comes back.
#[test]
fn it_goes_on_through_failures() {
    let api = ApiServer::start();
    let pod = Pod::new("shop-0");
    // More than two pages, so that lists are read in parts.
    for number in 0..250 {
        let mut other = object("pod.json");
        other["metadata"]["name"] = json!(format!("other-{number}"));
        other["metadata"]["uid"] = json!(format!("{number:08x}-0000-4a52-8f7d-1c2d3e4f5a6b"));
        api.put("pods", other);
    }
    api.put("pods", pod.object.clone());
    let sensor = sensor(&api.settings());
    wait_for_watches(&sensor);
    wait_for_metrics(&sensor, "all pods", |metrics| {
        metrics.sum("sensor_kubernetes_known", &[("kind", "pods")]) == 251.0
    });
    let server = Server::in_pod(&pod);
    let mut asked = 0;
    let mut ask = |cause: &str| {
        wait_for_metrics(&sensor, cause, |metrics| {
            metrics.sum(FAILURES, &[("resource", "pods"), ("cause", cause)]) >= 1.0
        });
        assert_eq!(curl(&[&server.url("/")]), 200);
        asked += 1;
        wait_for_metrics(&sensor, "the pod's request", |metrics| {
            on_port(metrics, server.port, &SHOP) == asked
        });
    };
    for (status, cause) in [(429, "throttled"), (403, "forbidden"), (503, "server")] {
        api.refuse(Some(status));
        ask(cause);
        api.refuse(None);
        wait_for_watches(&sensor);
    }
    // A pod goes while nobody is told of it, and the history with it.
    api.refuse(Some(503));
    api.delete("pods", &json!({"metadata": {"namespace": "pay", "name": "other-0"}}));
    api.compact();
    api.refuse(None);
    ask("gone");
    wait_for_watches(&sensor);
    // What has ended is remembered for half a minute.
    wait_so_long_for_metrics(90, &sensor, "the pod to be forgotten", |metrics| {
        metrics.sum("sensor_kubernetes_known", &[("kind", "pods")]) == 250.0
    });
    api.assert_no_faults();
}

/// The token is another, and so are the server's certificate and CA: what is known stays, each failure is counted, and
/// the new ones are read from where the kubelet puts them.
#[test]
fn it_goes_on_through_new_credentials() {
    // Both files are read again after a minute, and the wait between two attempts has grown to one by then.
    const AGAIN: u64 = 150;
    let api = ApiServer::start();
    let mut front = Front::start(api.address());
    front.trust(api.account());
    let (first, second) = (Pod::new("shop-1"), Pod::new("shop-2"));
    api.put("pods", first.running());
    let sensor = sensor(&api_server::settings(&front.url(), api.account()));
    wait_for_watches(&sensor);
    let has_failed = |cause: &str| {
        wait_so_long_for_metrics(AGAIN, &sensor, cause, |metrics| {
            metrics.sum(FAILURES, &[("resource", "pods"), ("cause", cause)]) >= 1.0
        });
    };
    ask(&sensor, &first);

    api.rotate("token-2");
    // All watches end, and begin with the token.
    api.compact();
    has_failed("unauthorized");
    front.rotate();
    has_failed("network");
    ask(&sensor, &first);

    front.trust(api.account());
    api.put("pods", second.running());
    wait_so_long_for_metrics(AGAIN, &sensor, "the other pod", |metrics| {
        metrics.sum("sensor_kubernetes_known", &[("kind", "pods")]) == 2.0
    });
    ask(&sensor, &second);
    assert!(!sensor.stderr().contains("token-"), "{}", sensor.stderr());
    api.assert_no_faults();
}
