//! Every query of the dashboards and of the alert rules is asked of receivers that a sensor fills from real traffic:
//! those in PromQL of a Prometheus; selectors of logs and traces are held against what came.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use nix::sys::socket::{setsockopt, sockopt};
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use tempfile::TempDir;
use tests::api_server::ApiServer;
use tests::client::curl;
use tests::deploy::{Language, Query, alerts, dashboards, queries};
use tests::grpc::{By, Shop};
use tests::https::Nginx;
use tests::link::free_port;
use tests::logs::{Piped, Script};
use tests::netns::Netns;
use tests::process::{Process, program};
use tests::prometheus::Prometheus;
use tests::receiver::{Lines, Traces};
use tests::resolver::Resolver;
use tests::sensor::{Options, Sensor};
use tests::server::{Kind, Server};
use tests::wait::{patience, wait_for};

const CLUSTER: &str = "service-seoul";
const NODE: &str = "test-node";

/// kube-state-metrics' part: a node with a sensor, and one without.
const NODES: &str = "groups:
- name: kube-state-metrics
  rules:
  - {record: kube_node_info, expr: vector(1), labels: {cluster: service-seoul, node: test-node}}
  - {record: kube_node_info, expr: vector(1), labels: {cluster: service-seoul, node: bare-node}}
";

/// Logs in levels, with a card number, until it is killed.
const LOGGING: &str = r#"
import json, sys, time
while True:
    for level in ("INFO", "ERROR", "DEBUG"):
        print(json.dumps({"level": level, "message": "paid by 4111111111111111"}), flush=True)
    time.sleep(0.1)
"#;

/// Names that exist and that do not, and a question that nobody answers.
const LOOKUPS: &str = r#"
import socket
for name in ("known.test", "gone.test"):
    try:
        socket.getaddrinfo(name, 80)
    except OSError:
        pass
silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
silent.bind(("127.0.0.9", 53))
question = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + b"\6silent\4test\0" + b"\0\1\0\1"
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(question, ("127.0.0.9", 53))
"#;

/// Queries that may find nothing, and why that is right.
const EMPTY: [(&str, &str); 1] =
    [("sensor.json: What the kernels lack A", "a kernel that has everything has no line in this table")];

/// A sensor with receivers of all kinds and something to see.
struct Scene {
    sensor: Sensor,
    prometheus: Prometheus,
    lines: Lines,
    traces: Traces,
    server: Server,
    secure: Nginx,
    logging: Script,
    shop: Shop,
    closed: u16,
    netns: Netns,
    _resolver: Resolver,
    _api: ApiServer,
    _piped: Piped,
    _spool: TempDir,
}

impl Scene {
    fn start() -> Self {
        let (prometheus, spool) = (Prometheus::start(NODES), TempDir::new().expect("make a directory"));
        let (lines, refusing, traces) = (Lines::start(204), Lines::start(400), Traces::start(200));
        let ship = format!(
            "ship:\n  cluster: {CLUSTER}\n  node: {NODE}\n  metrics: {{interval: 1s}}\n  \
             traces: {{sample_percent: 50}}\n  spool: {{directory: {}}}\n  receivers:\n  \
             - {{name: prometheus, protocol: remote_write, url: '{}'}}\n  \
             - {{name: loki, protocol: loki, url: '{}'}}\n  \
             - {{name: refusing, protocol: loki, url: '{}'}}\n  \
             - {{name: tempo, protocol: otlp_http, url: '{}'}}\n",
            spool.path().display(),
            prometheus.write_url(),
            lines.url(),
            refusing.url(),
            traces.url(),
        );
        let logging = Script::new(".py", LOGGING);
        let api = ApiServer::start();
        let options = Options::default()
            .yaml(&(ship + &api.settings() + "metric: {span_metrics: true}\n"))
            .logs("min_severity", "info")
            .capture("tls", "true");
        let options = options.flow("interval", "1s").flow("dns", "{timeout: 1s}");
        let sensor = options.argument("--logs").argument(&logging.name).start();
        let piped = Piped::start(&mut logging.run("python3"));
        let server = Server::start(Kind::Python);
        let netns = Netns::new();
        let resolver = Resolver::start(&netns);
        Self {
            sensor,
            prometheus,
            lines,
            traces,
            server,
            secure: Nginx::start("TLSv1.2 TLSv1.3", ""),
            logging,
            shop: Shop::start(By::Python),
            closed: free_port(),
            netns,
            _resolver: resolver,
            _api: api,
            _piped: piped,
            _spool: spool,
        }
    }

    /// Something of everything that the dashboards show.
    fn act(&self) {
        for (path, status) in [("/", 200), ("/items/7", 200), ("/fail", 500), ("/empty", 204)] {
            assert_eq!(curl(&[&self.server.url(path)]), status);
        }
        assert_eq!(curl(&["-d", "one=1", &self.server.url("/orders")]), 201);
        for most in ["1.2", "1.3"] {
            let _ = self.secure.curl(&["--tls-max", most], &["/"]);
        }
        // One that it does not trust.
        let url = format!("https://127.0.0.1:{}/", self.secure.port);
        assert!(!Process::start(program("curl").args(["-sS", "--noproxy", "*", &url])).wait(60).success());
        let _ = Process::start(&mut self.shop.client(By::Python, 1)).succeed(60);
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, self.closed)).is_err());
        reset();
        let python = program("python3");
        let mut lookups = self.netns.command(python.get_program().as_ref());
        let _ = Process::start(lookups.args(["-c", LOOKUPS])).succeed(60);
    }

    fn came(&self) -> Came {
        let mut services = self.prometheus.label_values("{service_name!=\"\"}", "service_name");
        services.push(self.logging.name.clone());
        let streams = self.lines.taken().into_iter().map(|stream| stream.labels).collect();
        Came { services, streams, spans: self.traces.taken() }
    }

    /// A query's text for one service.
    fn substituted(text: &str, service: &str) -> String {
        let text = text.replace("$cluster", CLUSTER).replace("$node", NODE).replace("$service", service);
        let text = text.replace("$__rate_interval", "10s").replace("$__range", "5m");
        assert!(!text.contains('$'), "a variable is left: {text}");
        text
    }

    /// Whether a query finds something, for any service where it is of one.
    ///
    /// # Panics
    /// When it can't be evaluated.
    #[track_caller]
    fn finds(&self, query: &Query, came: &Came) -> bool {
        let of_one = query.text.contains("$service");
        let services = if of_one { &came.services[..] } else { &came.services[..1] };
        services.iter().map(|service| Self::substituted(&query.text, service)).any(|text| {
            match query.language {
                Language::PromQl => self.has_value(&query.place, &text),
                Language::ServiceMap => {
                    self.has_value(&query.place, &format!("traces_service_graph_request_total{text}"))
                }
                Language::LogQl => {
                    let pairs = pairs(text.trim_matches(['{', '}']), ", ");
                    let has = |labels: &str| {
                        pairs.iter().all(|(name, value)| labels.contains(&format!("{name}=\"{value}\"")))
                    };
                    came.streams.iter().any(|labels| has(labels))
                }
                Language::TraceQl => {
                    let pairs = pairs(text.trim_matches(['{', '}']), " && ");
                    came.spans.iter().any(|spans| {
                        pairs.iter().all(|(name, value)| {
                            let name = name.strip_prefix("resource.").expect("attributes of the resource");
                            attribute(spans, name) == Some(value)
                        })
                    })
                }
            }
        })
    }

    /// Whether a query in PromQL has a series with a number.
    #[track_caller]
    fn has_value(&self, place: &str, text: &str) -> bool {
        let series = self.prometheus.query(text).unwrap_or_else(|error| panic!("{place}: {error}\n{text}"));
        series.iter().any(|series| series["value"][1] != "NaN")
    }
}

/// What came so far.
struct Came {
    services: Vec<String>,
    /// Labels of streams of logs, as selectors.
    streams: BTreeSet<String>,
    spans: Vec<ResourceSpans>,
}

/// A connection that its client cuts.
fn reset() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
    let mut client = TcpStream::connect(listener.local_addr().expect("an address")).expect("connect");
    let accepted = listener.accept().expect("accept");
    client.write_all(b"x").expect("write");
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&client, sockopt::Linger, &linger).expect("set SO_LINGER");
    drop((client, accepted));
}

/// Names and values of comparisons, `=` and `=~` alike: values are plain here.
fn pairs<'a>(text: &'a str, separator: &str) -> Vec<(&'a str, &'a str)> {
    let pair = |part: &'a str| {
        let (name, value) = part.split_once('=').unwrap_or_else(|| panic!("no comparison: {part}"));
        (name, value.trim_start_matches('~').trim_matches('"'))
    };
    text.split(separator).map(pair).collect()
}

fn attribute<'a>(spans: &'a ResourceSpans, name: &str) -> Option<&'a str> {
    let attributes = &spans.resource.as_ref()?.attributes;
    match attributes.iter().find(|pair| pair.key == name)?.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[test]
fn every_query_finds_what_the_sensor_sent() {
    let mut waiting: Vec<Query> =
        dashboards().iter().flat_map(|(name, dashboard)| queries(name, dashboard)).collect();
    let silent = |cluster: &str| format!("No sensor sends from {cluster}");
    let figures = alerts();
    waiting.extend(
        figures
            .iter()
            .filter(|alert| !alert.name.starts_with(&silent("")) || alert.name == silent(CLUSTER))
            .map(|alert| Query {
                place: format!("alert: {}", alert.name),
                language: Language::PromQl,
                text: alert.expr.clone(),
            }),
    );
    let all = waiting.len();
    assert!(all > 150, "{all} queries");

    let scene = Scene::start();
    wait_for(patience(120), || {
        scene.act();
        let came = scene.came();
        waiting.retain(|query| !scene.finds(query, &came));
        waiting.iter().all(|query| EMPTY.iter().any(|(place, _)| query.place == *place)).then_some(())
    });
    waiting.retain(|query| EMPTY.iter().all(|(place, _)| query.place != *place));
    let status = scene.sensor.page("/status.json");
    assert!(waiting.is_empty(), "{} of {all} queries found nothing: {waiting:#?}\n{status}", waiting.len());

    // A cluster that is silent has no figure, which the rule takes for an alarm; a node without a sensor is told, and no
    // other.
    for alert in &figures {
        let series = scene.prometheus.query(&alert.expr).expect("an answer");
        if alert.name.starts_with(&silent("")) {
            assert_eq!(series.is_empty(), alert.name != silent(CLUSTER), "{}: {series:?}", alert.name);
        }
        if alert.name == "A node has no sensor" {
            let nodes: Vec<_> = series.iter().map(|series| series["metric"]["node"].as_str()).collect();
            assert_eq!(nodes, [Some("bare-node")]);
        }
    }
    assert!(scene.sensor.stop().status.success());
}
