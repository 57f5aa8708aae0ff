//! What leaves the node, against receivers: a real Prometheus, and one of OTLP that is away, refuses and comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::Value;
use tempfile::TempDir;
use tests::client::curl;
use tests::kills::{any_moment, kills};
use tests::metrics::Metrics;
use tests::prometheus::Prometheus;
use tests::receiver::Traces;
use tests::sensor::{Options, SETTLE, Sensor};
use tests::server::{Kind, Server};
use tests::wait::{patience, wait_until};

const DURATION: &str = "http_server_request_duration_seconds";
const NODE: &str = "test-node";

/// The series that a selector finds now, without the labels that only the way adds, and their values.
fn query(prometheus: &Prometheus, selector: &str) -> BTreeMap<String, f64> {
    let one = |series: &Value| {
        let labels = series["metric"].as_object().expect("labels").iter();
        let labels: BTreeMap<String, String> =
            labels.map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned())).collect();
        assert_eq!((labels["cluster"].as_str(), labels["node"].as_str()), ("test", NODE));
        (key(labels), series["value"][1].as_str().expect("a value").parse().expect("a number"))
    };
    prometheus.query(selector).expect("an answer").iter().map(one).collect()
}

/// A series as text; labels of the way are left out.
fn key(mut labels: BTreeMap<String, String>) -> String {
    labels.remove("cluster");
    labels.remove("node");
    format!("{labels:?}")
}

/// The same from a scrape: all series of a name that belong to a port.
fn scraped(metrics: &Metrics, names: &[String], port: &str) -> BTreeMap<String, f64> {
    let of_port = |sample: &&tests::metrics::Sample| {
        names.contains(&sample.name) && sample.label("server_port") == port
    };
    let named = |sample: &tests::metrics::Sample| {
        let mut labels = sample.labels.clone();
        labels.insert("__name__".to_owned(), sample.name.clone());
        (key(labels), sample.value)
    };
    metrics.samples.iter().filter(of_port).map(named).collect()
}

fn ship(spool: &Path, receiver: &str) -> String {
    let spool = spool.display();
    format!(
        "ship:\n  cluster: test\n  node: ${{TEST_NODE}}\n  metrics: {{interval: 1s}}\n  \
         traces: {{sample_percent: 100}}\n  spool: {{directory: {spool}}}\n  receivers:\n  - {{{receiver}}}\n"
    )
}

fn options(spool: &Path, receiver: &str) -> Options {
    Options::default().environment("TEST_NODE", NODE).yaml(&ship(spool, receiver)).exclude(&["prometheus"])
}

fn otlp(receiver: &Traces) -> String {
    format!("name: tempo, protocol: otlp_http, url: '{}'", receiver.url())
}

fn calls(server: &Server, count: usize) {
    for _ in 0..count {
        assert_eq!(curl(&[&format!("http://127.0.0.1:{}/", server.port)]), 200);
    }
}

/// The distinct spans of a server's port that the receiver has, once there are so many.
#[track_caller]
fn arrived(receiver: &Traces, port: u16, count: usize) -> usize {
    let of_port = || -> Vec<Vec<u8>> {
        let is_of_port = |span: &opentelemetry_proto::tonic::trace::v1::Span| {
            let text = format!("{:?}", span.attributes.iter().find(|pair| pair.key == "server.port"));
            span.kind == 2 && text.contains(&format!("IntValue({port})"))
        };
        receiver.spans().into_iter().filter(is_of_port).map(|span| span.span_id).collect()
    };
    let distinct = || of_port().into_iter().collect::<BTreeSet<_>>().len();
    wait_until(&format!("{count} spans"), patience(120), || (distinct() >= count).then_some(()));
    assert_eq!(distinct(), count);
    of_port().len()
}

fn lost(sensor: &Sensor, cause: &str) -> f64 {
    sensor.metrics().sum("sensor_ship_lost_total", &[("cause", cause)])
}

#[test]
fn prometheus_says_what_the_sensor_says() {
    let prometheus = Prometheus::start("");
    let server = Server::start(Kind::Python);
    let spool = TempDir::new().expect("make a directory");
    let url = prometheus.write_url();
    let sensor = options(spool.path(), &format!("name: prom, protocol: remote_write, url: '{url}'")).start();
    calls(&server, 7);
    sensor.barrier();

    let port = server.port.to_string();
    let names: Vec<String> = ["_bucket", "_sum", "_count"].map(|part| format!("{DURATION}{part}")).into();
    let expected = scraped(&sensor.metrics(), &names, &port);
    assert!(expected.len() >= 17, "{expected:?}");
    let selector = format!("{{__name__=~\"{DURATION}_(bucket|sum|count)\",server_port=\"{port}\"}}");
    wait_until("the same series and values in Prometheus", patience(SETTLE), || {
        (query(&prometheus, &selector) == expected).then_some(())
    });
    let total = |text: &str| query(&prometheus, text).values().sum::<f64>();
    assert_eq!(total(&format!("{DURATION}_count{{server_port=\"{port}\",service_name=\"server.py\"}}")), 7.0);
    // A query that only works on a whole histogram.
    let quantile = format!(
        "histogram_quantile(1, sum by (le, cluster, node) ({DURATION}_bucket{{server_port=\"{port}\"}}))"
    );
    assert!(total(&quantile) > 0.0);
    assert_eq!(sensor.page("/readyz"), "ok\n");
    let status: Value = serde_json::from_str(&sensor.page("/status.json")).unwrap();
    assert_eq!(status["ship"]["receivers"][0]["name"], "prom");
    assert!(status["ship"]["receivers"][0]["delivered"].as_u64().unwrap() > 17);
    assert_eq!(lost(&sensor, "refused") + lost(&sensor, "refused_in_part"), 0.0);

    assert!(sensor.stop().status.success());
    // Without a marker a series would be there for five minutes more.
    wait_until("the end of all series", patience(SETTLE), || {
        query(&prometheus, "{cluster=\"test\"}").is_empty().then_some(())
    });
    let before = query(&prometheus, &format!("last_over_time({selector}[5m])"));
    assert_eq!(before.len(), expected.len(), "what was there before stays");
}

/// Settings with these of metrics, a receiver of metrics and one of spans.
fn both(spool: &Path, metric: &str, metrics: &str, prometheus: &Prometheus, tempo: &Traces) -> Options {
    let (spool, url, otlp) = (spool.display(), prometheus.write_url(), otlp(tempo));
    let text = format!(
        "metric: {{{metric}}}\nship:\n  cluster: test\n  node: {NODE}\n  metrics: {{interval: 1s{metrics}}}\n  \
         traces: {{sample_percent: 100}}\n  spool: {{directory: {spool}}}\n  receivers:\n  \
         - {{name: prom, protocol: remote_write, url: '{url}'}}\n  - {{{otlp}}}\n"
    );
    Options::default().yaml(&text).exclude(&["prometheus"])
}

/// Checks that a Prometheus gets exemplars, and that they are of spans that were sent.
#[track_caller]
fn exemplars_are_sent_spans(prometheus: &Prometheus, selector: &str, tempo: &Traces) {
    let exemplars = wait_until("an exemplar", patience(SETTLE), || {
        Some(prometheus.exemplars(selector)).filter(|exemplars| !exemplars.is_empty())
    });
    let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for (labels, value) in exemplars {
        assert!(value > 0.0);
        let is_of = |span: &opentelemetry_proto::tonic::trace::v1::Span| {
            hex(&span.trace_id) == labels["trace_id"] && hex(&span.span_id) == labels["span_id"]
        };
        wait_until("the span of an exemplar", patience(SETTLE), || {
            tempo.spans().iter().any(is_of).then_some(())
        });
    }
}

#[test]
fn labels_are_shaped_and_exemplars_lead_to_spans() {
    let (prometheus, tempo) = (Prometheus::with(&["exemplar-storage"]), Traces::start(200));
    let server = Server::start(Kind::Python);
    let spool = TempDir::new().expect("make a directory");
    let rules = ", labels: [{metrics: ['http_*'], labels: [http_route, http_response_status_code]}]";
    let sensor = both(spool.path(), "span_metrics: false", rules, &prometheus, &tempo).start();
    for path in ["", "a", "b", "c"] {
        assert!(curl(&[&format!("http://127.0.0.1:{}/{path}", server.port)]) < 500);
    }
    calls(&server, 3);
    sensor.barrier();
    let selector = format!("{DURATION}_count{{server_port=\"{}\",service_name=\"server.py\"}}", server.port);
    // Statuses differ, and so does what is an error.
    wait_until("all calls in series without a route", patience(SETTLE), || {
        let found = query(&prometheus, &selector);
        assert!(
            !found.keys().any(|key| key.contains("http_route") || key.contains("status_code")),
            "{found:?}"
        );
        (found.values().sum::<f64>() == 7.0).then_some(())
    });
    let sum = |metrics: &Metrics| {
        let labels = [("server_port", &*server.port.to_string()), ("service_name", "server.py")];
        metrics.sum(&format!("{DURATION}_sum"), &labels)
    };
    let sent: f64 = query(&prometheus, &selector.replace("_count", "_sum")).values().sum();
    let shown = sum(&sensor.metrics());
    assert!((sent - shown).abs() < 1e-9, "{sent} is not {shown}");

    let buckets = format!("{DURATION}_bucket{{server_port=\"{}\"}}", server.port);
    exemplars_are_sent_spans(&prometheus, &buckets, &tempo);
    // One that scrapes asks for OpenMetrics, and reads it strictly.
    let scraping = Prometheus::scraping(sensor.address(), &["exemplar-storage"]);
    exemplars_are_sent_spans(&scraping, &buckets, &tempo);
    let up = scraping.query("up").expect("an answer");
    assert_eq!(up[0]["value"][1], "1", "{up:?}");
    assert_eq!(lost(&sensor, "refused") + lost(&sensor, "refused_in_part"), 0.0);
    assert!(sensor.stop().status.success());
}

#[test]
fn native_histograms_are_read_back() {
    let features = ["native-histograms", "exemplar-storage"];
    let (prometheus, tempo) = (Prometheus::with(&features), Traces::start(200));
    let server = Server::start(Kind::Python);
    let spool = TempDir::new().expect("make a directory");
    let sensor = both(spool.path(), "native_histograms: true", "", &prometheus, &tempo).start();
    calls(&server, 7);
    sensor.barrier();
    let selector = format!("{DURATION}{{server_port=\"{}\",service_name=\"server.py\"}}", server.port);
    let read = |function: &str| query(&prometheus, &function.replace("it", &selector)).values().sum::<f64>();
    wait_until("all calls", patience(SETTLE), || (read("histogram_count(it)") == 7.0).then_some(()));
    let port = server.port.to_string();
    let labels = [("server_port", port.as_str()), ("service_name", "server.py")];
    let metrics = sensor.metrics();
    let shown = metrics.sum(&format!("{DURATION}_sum"), &labels);
    assert!((read("histogram_sum(it)") - shown).abs() < 1e-9);
    assert_eq!(metrics.count(&format!("{DURATION}_count"), &labels), 7, "the page has classic ones");
    // Every share of them is where the classic buckets say, as far as a bucket of 9 % can tell.
    let greatest = read("histogram_quantile(1, it)");
    assert!(greatest * 7.0 >= shown * 0.99, "{greatest} a call at most, {shown} in all");
    for bound in [0.005, 0.01, 0.1, 1.0, 10.0] {
        let below =
            metrics.sum(&format!("{DURATION}_bucket"), &[labels[0], labels[1], ("le", &bound.to_string())]);
        let share = read(&format!("histogram_fraction(0, {}, it)", bound * 1.1)) * 7.0;
        assert!(share >= below - 1e-6, "{below} calls within {bound} s, and {share} of the native ones");
    }
    let classic = query(&prometheus, &format!("{DURATION}_count{{server_port=\"{port}\"}}"));
    assert!(classic.is_empty(), "one or the other");

    // This Prometheus looks at the exemplars of a request before its native histograms, and so drops the first one of a new
    // series.
    wait_until("an exemplar of a native histogram", patience(120), || {
        calls(&server, 1);
        (!prometheus.exemplars(&selector).is_empty()).then_some(())
    });
    exemplars_are_sent_spans(&prometheus, &selector, &tempo);
    assert_eq!(lost(&sensor, "refused") + lost(&sensor, "refused_in_part"), 0.0);

    wait_until("the later calls", patience(SETTLE), || (read("histogram_count(it)") > 7.0).then_some(()));
    let before_the_end = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs_f64();
    assert!(sensor.stop().status.success());
    wait_until("the end of all series", patience(SETTLE), || {
        query(&prometheus, "{cluster=\"test\"}").is_empty().then_some(())
    });
    let before = query(&prometheus, &format!("histogram_count({selector} @ {before_the_end:.3})"));
    assert!(before.values().sum::<f64>() > 7.0, "what was there before stays: {before:?}");
}

/// `SENSOR_TEST_KILLS` says how often; the queue by itself is killed 200 times by `spool_kill`.
#[test]
fn spans_outlive_kills_under_load() {
    let kills = kills();
    let receiver = Traces::start(200);
    let server = Server::start(Kind::Nginx);
    let spool = TempDir::new().expect("make a directory");
    let url = format!("http://127.0.0.1:{}/", server.port);
    let is_over = Arc::new(AtomicBool::new(false));
    let load = std::thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || {
            let agent = ureq::Agent::new_with_defaults();
            while !is_over.load(Ordering::SeqCst) {
                // A pause for a load that the test's own memory has room for.
                let _ = agent.get(&url).call().map(|mut answer| answer.body_mut().read_to_vec());
                std::thread::sleep(Duration::from_millis(4));
            }
        }
    });
    let accepted =
        |sensor: &Sensor| sensor.metrics().count("sensor_ship_accepted_total", &[("signal", "traces")]);
    let mut all = 0;
    for kill in 0..kills {
        let sensor = options(spool.path(), &otlp(&receiver)).start();
        if kill % 2 == 0 {
            wait_until("spans on disk", patience(SETTLE), || (accepted(&sensor) > 0).then_some(()));
        }
        any_moment();
        all += accepted(&sensor);
        drop(sensor.kill());
    }
    is_over.store(true, Ordering::SeqCst);
    load.join().expect("the load ends");
    let sensor = options(spool.path(), &otlp(&receiver)).start();
    let waiting = || sensor.metrics().sum("sensor_ship_waiting_batches", &[("receiver", "tempo")]);
    wait_until("what waits to arrive", patience(SETTLE), || (waiting() == 0.0).then_some(()));
    let spans = receiver.spans();
    let distinct: BTreeSet<&[u8]> = spans.iter().map(|span| span.span_id.as_slice()).collect();
    assert!(distinct.len() as u64 >= all, "{all} spans accepted, {} arrived", distinct.len());
    assert_eq!(lost(&sensor, "spool_damaged") + lost(&sensor, "spool_full"), 0.0);
    eprintln!(
        "{kills} kills, {all} spans known to be accepted, {} arrived, {} of them again",
        distinct.len(),
        spans.len() - distinct.len()
    );
    assert!(sensor.stop().status.success());
}

#[test]
fn spans_outlive_an_outage_and_a_kill() {
    let receiver = Traces::start(503);
    let server = Server::start(Kind::Python);
    let spool = TempDir::new().expect("make a directory");
    let options = || options(spool.path(), &otlp(&receiver));
    let sensor = options().start();
    calls(&server, 5);
    let waiting =
        |sensor: &Sensor| sensor.metrics().sum("sensor_ship_waiting_batches", &[("receiver", "tempo")]);
    let accepted =
        |sensor: &Sensor| sensor.metrics().sum("sensor_ship_accepted_total", &[("signal", "traces")]);
    // Server and client side of each.
    wait_until("the spans to be on disk", patience(SETTLE), || (accepted(&sensor) >= 10.0).then_some(()));
    wait_until("an attempt", patience(SETTLE), || (receiver.requests() > 0).then_some(()));
    assert!(waiting(&sensor) >= 1.0);
    drop(sensor.kill());

    receiver.answer(200);
    let sensor = options().start();
    assert_eq!(arrived(&receiver, server.port, 5), 5, "each once: none was answered before the kill");
    calls(&server, 2);
    assert_eq!(arrived(&receiver, server.port, 7), 7);
    let resource = receiver.taken().pop().unwrap().resource.unwrap();
    let text = format!("{:?}", resource.attributes);
    assert!(text.contains("host.name") && text.contains(NODE) && text.contains("k8s.cluster.name"), "{text}");
    assert!(receiver.spans().iter().all(|span| span.trace_state.starts_with("ot=th:0")));
    assert_eq!(lost(&sensor, "spool_full") + lost(&sensor, "spool_damaged") + lost(&sensor, "refused"), 0.0);
    assert!(sensor.stop().status.success());
}

#[test]
fn another_receiver_after_sighup_gets_what_waits() {
    let (away, there) = (Traces::start(503), Traces::start(200));
    let server = Server::start(Kind::Python);
    let spool = TempDir::new().expect("make a directory");
    let sensor = options(spool.path(), &otlp(&away)).start();
    calls(&server, 3);
    wait_until("an attempt", patience(SETTLE), || (away.requests() > 0).then_some(()));
    sensor.reload(&Options::default().yaml("ship: {receivers: [{nmae: x}]}\n"));
    wait_until("the refusal of a wrong file", patience(SETTLE), || {
        sensor.stderr().contains("did you mean `ship.receivers[0].name`?").then_some(())
    });
    sensor.reload(&options(spool.path(), &otlp(&there)));
    assert_eq!(arrived(&there, server.port, 3), 3);
    calls(&server, 3);
    assert_eq!(arrived(&there, server.port, 6), 6);
    assert!(away.spans().is_empty());
    assert!(sensor.stop().status.success());
}

/// A file system of its own for a spool.
struct Small(TempDir);

impl Small {
    fn mount(size: &str) -> Self {
        let directory = TempDir::new().expect("make a directory");
        let options = format!("size={size}");
        mount(Some("tmpfs"), directory.path(), Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
            .expect("mount");
        Self(directory)
    }

    fn grow(&self, size: &str) {
        let options = format!("size={size}");
        let flags = MsFlags::MS_REMOUNT;
        mount(Some("tmpfs"), self.0.path(), Some("tmpfs"), flags, Some(options.as_str())).expect("mount");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_disk_is_counted_and_recovered_from() {
    let receiver = Traces::start(503);
    let server = Server::start(Kind::Python);
    let disk = Small::mount("256k");
    let mut ballast = Command::new("head");
    ballast.args(["-c", "236k", "/dev/zero"]);
    let ballast = ballast.output().unwrap().stdout;
    let sensor = options(disk.0.path(), &otlp(&receiver)).start();
    // Written when the sensor has its spool: what is left is less than two batches.
    std::fs::write(disk.0.path().join("ballast"), ballast).unwrap();
    wait_until("the disk to be full", patience(120), || {
        calls(&server, 20);
        (lost(&sensor, "disk_full") > 0.0).then_some(())
    });
    assert!(sensor.stderr().contains("the spool takes nothing"));
    let accepted = || sensor.metrics().sum("sensor_ship_accepted_total", &[("signal", "traces")]);
    disk.grow("16m");
    let before = accepted();
    wait_until("the spool to take spans again", patience(120), || {
        calls(&server, 1);
        (accepted() > before).then_some(())
    });
    receiver.answer(200);
    wait_until("what was accepted to arrive", patience(120), || {
        let delivered = sensor.metrics().sum("sensor_ship_delivered_total", &[("signal", "traces")]);
        (delivered > 0.0 && delivered == accepted()).then_some(())
    });
    assert_eq!(lost(&sensor, "spool_damaged"), 0.0);
    assert!(sensor.stop().status.success());
}
