//! Who a process is in a cluster: pods laid out as the kubelet does, and what the API server tells of them.

use std::collections::VecDeque;
use std::path::Path;

use serde_json::json;
use tests::api_server::{self, ApiServer, object};
use tests::client::curl;
use tests::cluster::{CLIENT_REQUESTS, SHOP, WAITED, on_port, sensor, wait_for_metrics, wait_for_watches};
use tests::logs::Piped;
use tests::metrics::Metrics;
use tests::netns::{ADDRESSES, Netns};
use tests::pods::Pod;
use tests::process::{Process, find, program};
use tests::receiver::Lines;
use tests::sensor::Sensor;
use tests::server::Server;
use tests::spans::Span;
use tests::wait::{patience, wait_until};

/// Settings that send log records there.
fn to_loki(receiver: &Lines, spool: &Path) -> String {
    format!(
        "ship:\n  cluster: test\n  spool: {{directory: {}}}\n  receivers:\n  - {{name: loki, protocol: loki, url: '{}'}}\n",
        spool.display(),
        receiver.url()
    )
}

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
    let mut job = settle.object.clone();
    job["metadata"]["ownerReferences"] = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "settle-29400000", "uid": "x", "controller": true}]);
    api.put("pods", job);
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

/// Standard output and error of a pod's container arrive with its labels, before and after the sensor started; what is
/// executed in it later is none of its output, and what an annotation switches off is not told.
#[test]
fn log_lines_carry_pod_and_workload() {
    const SCRIPT: &str = "echo out; echo err >&2; exec sleep 1000";
    let (api, receiver) = (ApiServer::start(), Lines::start(204));
    let spool = tempfile::TempDir::new().expect("make a directory");
    let (before, after, silent) = (Pod::new("shop-before"), Pod::new("shop-after"), Pod::new("shop-silent"));
    api.put("pods", before.running());
    api.put("pods", after.object.clone());
    let mut off = silent.object.clone();
    off["metadata"]["annotations"] = json!({"sensor.lionpay.io/logs": "off"});
    api.put("pods", off);
    let go = spool.path().join("go");
    let waiting = format!("until [ -e {} ]; do sleep 0.05; done; {SCRIPT}", go.display());
    let shell = |script: &str| {
        let mut command = program("sh");
        command.args(["-c", script]);
        command
    };
    let _old = Piped::start(&mut before.command(&shell(&waiting)));
    let sensor = sensor(&(api.settings() + &to_loki(&receiver, spool.path())));
    wait_for_watches(&sensor);
    let _quiet = Piped::start(&mut silent.command(&shell(SCRIPT)));
    let _new = Piped::start(&mut after.command(&shell(SCRIPT)));
    std::fs::write(&go, "").expect("write a file");
    wait_until("four lines", patience(30), || (receiver.lines().len() >= 4).then_some(()));
    let _executed = Piped::start(&mut after.command(&shell("echo executed; exec sleep 1000")));
    std::fs::remove_file(&go).expect("remove a file");
    let later = Pod::new("shop-later");
    api.put("pods", later.object.clone());
    let _last = Piped::start(&mut later.command(&shell(SCRIPT)));
    wait_until("six lines", patience(30), || (receiver.lines().len() >= 6).then_some(()));
    let mut found = Vec::new();
    for stream in receiver.taken() {
        assert_eq!(
            stream.labels,
            "{cluster=\"test\", container=\"app\", job=\"pay/app\", namespace=\"pay\", \
             service_name=\"shop\", service_namespace=\"pay\"}"
        );
        for entry in stream.entries {
            let pod = entry.metadata("pod").to_owned();
            assert_eq!(entry.metadata("service_instance_id"), format!("pay.{pod}.app"));
            assert_eq!(entry.metadata("k8s_deployment_name"), "shop");
            found.push((pod, entry.metadata("log_iostream").to_owned(), entry.line));
        }
    }
    found.sort();
    let expected: Vec<_> = ["shop-after", "shop-before", "shop-later"]
        .into_iter()
        .flat_map(|pod| [(pod, "stderr", "err"), (pod, "stdout", "out")])
        .map(|(pod, stream, line)| (pod.to_owned(), stream.to_owned(), line.to_owned()))
        .collect();
    assert_eq!(found, expected);
    api.assert_no_faults();
}

/// Both ends of a connection by pod, and one that is elsewhere by the Service behind its address.
#[test]
fn connections_carry_workload_and_peer() {
    const OPENED: &str = "tcp_connections_opened_total";
    let api = ApiServer::start();
    let (shop, bank) = (Pod::new("shop-1"), Pod::new("bank-1"));
    api.put("pods", shop.object.clone());
    let mut object = bank.object.clone();
    object["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "bank", "uid": "x", "controller": true}]);
    api.put("pods", object);
    // Nobody is at this address, so connecting to it fails.
    let mut slice = api_server::object("endpointslice.json");
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
