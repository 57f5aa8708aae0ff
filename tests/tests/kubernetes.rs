//! Who a process is in a cluster: pods laid out as the kubelet does, and what the API server tells of them.

use std::collections::VecDeque;

use serde_json::json;
use tests::api_server::{ApiServer, object};
use tests::client::curl;
use tests::cluster::{
    CLIENT_REQUESTS, SHOP, WAITED, on_port, sensor, to_loki, wait_for_metrics, wait_for_watches,
};
use tests::logs::Piped;
use tests::metrics::Metrics;
use tests::pods::Pod;
use tests::process::{Process, program};
use tests::receiver::Lines;
use tests::sensor::Sensor;
use tests::server::Server;
use tests::spans::Span;
use tests::wait::{patience, wait_until};

#[track_caller]
fn server_spans(sensor: &Sensor, port: u16, count: usize) -> Vec<Span> {
    let port = port.to_string();
    wait_until("spans", patience(30), || {
        let spans: Vec<Span> = sensor
            .spans()
            .into_iter()
            .filter(|span| span.kind == 2 && span.attribute("server.port") == port)
            .collect();
        (spans.len() >= count).then_some(spans)
    })
}

fn resource<'a>(span: &'a Span, key: &str) -> &'a str {
    span.resource.get(key).map_or("", String::as_str)
}

#[test]
fn requests_carry_pod_and_workload() {
    let (api, pod) = (ApiServer::start(), Pod::new("shop-6c9f7d5b8d-x2x7k"));
    api.put("pods", pod.object.clone());
    let sensor = sensor(&api.settings());
    wait_for_watches(&sensor);
    // The kubelet has not told yet that the container runs, nor which id it has.
    let server = Server::in_pod(&pod);
    for _ in 0..3 {
        assert_eq!(curl(&[&server.url("/")]), 200);
    }
    wait_for_metrics(&sensor, "the pod's requests", |metrics| on_port(metrics, server.port, &SHOP) == 3);
    let metrics = sensor.metrics();
    assert_eq!(on_port(&metrics, server.port, &[]), 3, "nothing is told twice");
    assert_eq!(on_port(&metrics, server.port, &[("k8s_pod_name", "")]), 3, "no series is a pod's");
    for span in server_spans(&sensor, server.port, 3) {
        assert_eq!(span.service, "shop");
        for (key, value) in [
            ("k8s.namespace.name", "pay"),
            ("k8s.pod.name", "shop-6c9f7d5b8d-x2x7k"),
            ("k8s.pod.uid", &*pod.uid()),
            ("k8s.container.name", "app"),
            ("k8s.deployment.name", "shop"),
            ("k8s.node.name", "node-1"),
            ("container.id", &*pod.container),
            ("service.namespace", "pay"),
            ("service.instance.id", "pay.shop-6c9f7d5b8d-x2x7k.app"),
            ("service.version", "1.4.2"),
            ("cloud.region", "ap-northeast-2"),
            ("cloud.availability_zone", "ap-northeast-2a"),
        ] {
            assert_eq!(resource(&span, key), value, "{key}");
        }
    }
    // Its client is on the bare host.
    let clients = sensor.metrics();
    let port = server.port.to_string();
    let mut clients = clients.select(CLIENT_REQUESTS, &[]);
    assert!(clients.any(|sample| sample.label("server_port") == port
        && sample.label("service_name") == "curl"
        && sample.label("k8s_namespace_name").is_empty()));
    api.assert_no_faults();
}

#[test]
fn a_pod_of_the_same_name_is_another_one() {
    let api = ApiServer::start();
    let (old, new) = (Pod::new("shop-0"), Pod::new("shop-0"));
    api.put("pods", old.running());
    let sensor = sensor(&api.settings());
    wait_for_watches(&sensor);
    let first = Server::in_pod(&old);
    assert_eq!(curl(&[&first.url("/")]), 200);
    api.delete("pods", &old.object);
    api.put("pods", new.running());
    let second = Server::in_pod(&new);
    // The old one still ends its work.
    for server in [&first, &second] {
        assert_eq!(curl(&[&server.url("/")]), 200);
    }
    for (server, pod, count) in [(&first, &old, 2), (&second, &new, 1)] {
        let spans = server_spans(&sensor, server.port, count);
        assert_eq!(spans.len(), count);
        for span in spans {
            assert_eq!(resource(&span, "k8s.pod.uid"), pod.uid());
            assert_eq!(resource(&span, "container.id"), pod.container);
            assert_eq!(resource(&span, "k8s.pod.name"), "shop-0");
        }
    }
    api.assert_no_faults();
}

/// What comes before its pod is known waits for it; where nobody ever tells, it is told with what is known.
#[test]
fn requests_wait_for_their_pod() {
    let api = ApiServer::start();
    let (late, never) = (Pod::new("late"), Pod::new("never"));
    let sensor = sensor(&api.settings());
    wait_for_watches(&sensor);
    let server = Server::in_pod(&late);
    assert_eq!(curl(&[&server.url("/")]), 200);
    api.put("pods", late.object.clone());
    wait_for_metrics(&sensor, "the request", |metrics| on_port(metrics, server.port, &SHOP) == 1);
    let waited = |outcome| sensor.metrics().sum(WAITED, &[("event", "exchange"), ("outcome", outcome)]);
    assert!(waited("known") <= 1.0);
    assert_eq!(waited("unknown"), 0.0);

    let server = Server::in_pod(&never);
    assert_eq!(curl(&[&server.url("/")]), 200);
    let by_process = [("service_name", "server.py"), ("k8s_namespace_name", "")];
    wait_for_metrics(&sensor, "the request", |metrics| on_port(metrics, server.port, &by_process) == 1);
    assert_eq!(waited("unknown"), 1.0);
    let spans = server_spans(&sensor, server.port, 1);
    assert_eq!(resource(&spans[0], "k8s.pod.uid"), never.uid());
    assert_eq!(resource(&spans[0], "container.id"), never.container);
    api.assert_no_faults();
}

/// A pod of a CronJob is that, and what annotations say goes first.
#[test]
fn names_come_from_owners_and_annotations() {
    let api = ApiServer::start();
    let (settle, named) = (Pod::new("settle-29400000-abcde"), Pod::new("shop-1"));
    api.put("jobs", object("job.json"));
    api.put("pods", settle.owned_by("batch/v1", "Job", "settle-29400000"));
    let mut annotated = named.object.clone();
    annotated["metadata"]["annotations"] = json!({
        "resource.opentelemetry.io/service.name": "till",
        "resource.opentelemetry.io/service.namespace": "retail",
        "resource.opentelemetry.io/deployment.environment.name": "production",
        "resource.opentelemetry.io/service.version": "v7"
    });
    api.put("pods", annotated);
    let sensor = sensor(&api.settings());
    wait_for_watches(&sensor);
    let servers = [Server::in_pod(&settle), Server::in_pod(&named)];
    for server in &servers {
        assert_eq!(curl(&[&server.url("/")]), 200);
    }
    let cron = [("service_name", "settle"), ("k8s_cronjob_name", "settle"), ("k8s_job_name", "")];
    wait_for_metrics(&sensor, "the CronJob's", |metrics| on_port(metrics, servers[0].port, &cron) == 1);
    let till = [("service_name", "till"), ("service_namespace", "retail"), ("k8s_deployment_name", "shop")];
    wait_for_metrics(&sensor, "the annotated one's", |metrics| on_port(metrics, servers[1].port, &till) == 1);
    let spans = server_spans(&sensor, servers[1].port, 1);
    assert_eq!(resource(&spans[0], "service.version"), "v7");
    assert_eq!(resource(&spans[0], "deployment.environment.name"), "production");
    api.assert_no_faults();
}

/// What a pod's annotations switch off is not told, and once all is off the kernel side leaves it alone; then on again.
#[test]
fn annotations_are_in_force_at_once() {
    const HEADS: &str = "sensor_events_total";
    const REQUESTS_EACH: u64 = 50;
    let api = ApiServer::start();
    let pod = Pod::new("shop-1");
    let annotated = |annotations: serde_json::Value| {
        let mut object = pod.running();
        object["metadata"]["annotations"] = annotations;
        object
    };
    api.put("pods", pod.running());
    let sensor = sensor(&api.settings());
    wait_for_watches(&sensor);
    let server = Server::in_pod(&pod);
    let heads = || sensor.metrics().sum(HEADS, &[("kind", "head")]);
    // Each request is four heads, of which two are of the server, which is in the pod.
    let ask = || {
        let before = heads();
        let url = format!("{}?[1-{REQUESTS_EACH}]", server.url("/"));
        let mut client = program("curl");
        client.args(["--silent", "--output", "/dev/null", "-H", "Connection: close", &url]);
        let _ = Process::start(&mut client).succeed(60);
        // The figures are those of now once these are.
        let _ = sensor.lost();
        heads() - before
    };
    let is_left = |heads: f64, all: f64| heads < 0.75 * all;
    let told = || on_port(&sensor.metrics(), server.port, &SHOP);
    let all = ask();
    wait_until("the requests", patience(30), || (told() == REQUESTS_EACH).then_some(()));
    api.put("pods", annotated(json!({"sensor.lionpay.io/http": "off", "sensor.lionpay.io/flows": "off"})));
    wait_until("the kernel side to leave it alone", patience(30), || is_left(ask(), all).then_some(()));
    let before = told();
    assert!(is_left(ask(), all));
    assert_eq!(told(), before);
    api.put("pods", annotated(json!({"sensor.lionpay.io/http": "on"})));
    wait_until("the requests again", patience(30), || {
        let before = told();
        ask();
        (told() > before).then_some(())
    });
    api.assert_no_faults();
}

/// 500 pods that come and go leave nothing behind; each one's request and line are told, and are its own. Requests of every
/// tenth are not wanted.
#[test]
fn churned_pods_leave_nothing() {
    const GROUPS_LEFT: usize = 100;
    let pods = tests::wait::portion(500);
    let (api, receiver) = (ApiServer::start(), Lines::start(204));
    let spool = tempfile::TempDir::new().expect("make a directory");
    let server = Server::start(tests::server::Kind::Nginx);
    let sensor = sensor(&(api.settings() + &to_loki(&receiver, spool.path())));
    wait_for_watches(&sensor);
    let url = server.url("/");
    // A runtime takes a moment to remove the control group of what has ended.
    let mut ended = VecDeque::new();
    let mut one = |number: u32| {
        let pod = Pod::new(&format!("shop-{number}"));
        let mut object = pod.object.clone();
        if number.is_multiple_of(10) {
            object["metadata"]["annotations"] =
                json!({"sensor.lionpay.io/http": "off", "sensor.lionpay.io/flows": "off"});
        }
        api.put("pods", object);
        let mut client = program("sh");
        client.args(["-c", "echo \"$1\"; exec curl --silent --output /dev/null \"$0\"", &url, &pod.uid()]);
        let _ = Piped::start(&mut pod.command(&client)).succeed(30);
        api.delete("pods", &pod.object);
        ended.push_back(pod);
        if ended.len() > GROUPS_LEFT {
            ended.pop_front();
        }
    };
    let port = server.port.to_string();
    let of_shop = [("service_name", "shop"), ("k8s_deployment_name", "shop"), ("server_port", &*port)];
    let told = |metrics: &Metrics| metrics.count(CLIENT_REQUESTS, &of_shop);
    let wanted = |pods: u32| u64::from(pods - pods.div_ceil(10));
    // What the first ones leave is what any have.
    let first = pods / 2;
    (0..first).for_each(&mut one);
    wait_for_metrics(&sensor, "the first requests", |metrics| told(metrics) == wanted(first));
    let memory = |metrics: &Metrics| metrics.sum("process_resident_memory_bytes", &[]);
    let before = memory(&sensor.metrics());
    (first..pods).for_each(&mut one);
    wait_for_metrics(&sensor, "all requests", |metrics| told(metrics) == wanted(pods));
    wait_until("all lines", patience(30), || (receiver.lines().len() >= pods as usize).then_some(()));
    let lines = receiver.lines();
    assert_eq!(lines.len(), pods as usize);
    for entry in lines {
        assert_eq!(entry.line, entry.metadata("k8s_pod_uid"));
    }
    wait_until("the pods to be forgotten", patience(90), || {
        let metrics = sensor.metrics();
        let none = |name: &str, key: &str, value: &str| metrics.sum(name, &[(key, value)]) == 0.0;
        // Some are there for other processes of the host.
        let has_at_most = |map: &str, others: f64| {
            metrics.sum("sensor_map_capacity", &[("map", map)]) > 0.0
                && metrics.sum("sensor_map_entries", &[("map", map)]) <= others
        };
        let is_forgotten = none("sensor_kubernetes_known", "kind", "pods")
            && none("sensor_kubernetes_known", "kind", "containers")
            && metrics.sum("sensor_log_streams", &[]) == 0.0
            && has_at_most("targets", 0.0)
            && has_at_most("pipes", 50.0)
            && has_at_most("connections", 50.0);
        is_forgotten.then_some(())
    });
    let after = memory(&sensor.metrics());
    assert!(after - before < 8.0 * 1024.0 * 1024.0, "memory grew from {before} to {after} bytes");
    api.assert_no_faults();
}
