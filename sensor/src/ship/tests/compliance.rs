//! The remote-write sender compliance suite of the Prometheus project (prometheus/compliance, `remotewrite/sender`), and
//! where each of its assertions is held here. It drives a sender by what it scrapes; this one makes its metrics
//! itself, so its assertions are made of what it sends.
//!
//! | of the suite | here |
//! |---|---|
//! | protocol: POST, content type, encoding, version, user agent, snappy's block format, a message that can be parsed | [`what_is_sent_is_as_the_suite_asks`], `answers::remote_write_{1_0,2_0}_has_its_headers_and_its_message` |
//! | symbols: the first is empty, each is there once and used again; references that exist, in pairs | [`what_is_sent_is_as_the_suite_asks`], `remote_write::tests::every_request_is_as_the_specification_says` |
//! | labels: sorted, a valid name, none twice, none empty, no reserved ones; long values and any letters | the same, `metric::labels::tests` (values end after 256 bytes) |
//! | samples, edge cases: any float as it is, NaN and infinities too; stale markers | [`values_arrive_bit_by_bit`], `remote_write::tests::a_series_that_ends_gets_one_marker` |
//! | timestamps: milliseconds, recent, in order, a start that is not after the sample | [`what_is_sent_is_as_the_suite_asks`], `answers::remote_write_1_0_…` (in order over requests), `outage` |
//! | metadata: type, help, unit; the same for all series of a family | [`what_is_sent_is_as_the_suite_asks`] |
//! | histograms: classic or native, count and sum, never with samples in one series | [`what_is_sent_is_as_the_suite_asks`], `remote_write::histogram::tests` |
//! | exemplars: trace and span, value, time, references in pairs | [`what_is_sent_is_as_the_suite_asks`] |
//! | batching: several series a request, not too many, symbols shared | `remote_write::tests::what_is_sent_is_what_the_text_says`, `ship.metrics.batch_samples` |
//! | 1.0: no symbols, no start, no native histograms | [`what_is_sent_is_as_the_suite_asks`]; native ones are sent by 1.0 where `metric.native_histograms` asks for them |
//! | fall-back: on 415, with other headers, remembered; none after a 2xx that says what was written | `answers::a_receiver_that_does_not_say_what_it_wrote_gets_1_0_from_then_on`, [`less_written_is_no_reason_to_fall_back`]. A 2xx that says nothing is one too, as the specification has it |
//! | retries: on 5xx and 429, none on 400 and 404; `Retry-After` | `answers::what_can_pass_is_retried_and_says_so`, `answers::what_can_not_pass_is_not_retried_and_counted`, `sender::retry::tests`. Of 413 the batch is sent in parts, and of 401 it is kept: otherwise than the suite has it, on purpose |
//! | backoff: growing, bounded, with jitter | `sender::backoff::tests` |
//! | errors: refused, silent, cut off and malformed answers, large bodies, unusual statuses: goes on after them | [`bad_answers_are_outlived`], `answers::what_can_pass_…` (reset), `way` (TLS) |
//! | concurrency: several requests at once are allowed | metrics go one by one, so that they arrive in order; `outage::several_requests_are_under_way_…` for others |

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use hyper::Method;

use super::server::{Reply, Server};
use super::*;
use crate::identity::Observed;
use crate::metric::fixture::{exchange, observed};
use crate::metric::room::Room;
use crate::metric::{Registry, Shared};
use crate::ship::remote_write::v1::WriteRequest;
use crate::ship::remote_write::{Collector, External};
use crate::ship::stats::now_ms;

const WRITTEN: (&str, &str) = ("x-prometheus-remote-write-samples-written", "1");

fn unsnap(body: &[u8]) -> Vec<u8> {
    // The framed format begins with a chunk that says so.
    assert!(!body.starts_with(b"\xff\x06\0\0sNaPpY"), "snappy's block format");
    snap::raw::Decoder::new().decompress_vec(body).unwrap()
}

/// The collections of a node whose histograms are classic or native, as stored payloads.
fn collections(is_native: bool) -> Vec<(Vec<u8>, u32)> {
    let mut registry = Registry::new(1_000).within(&Room::new(u64::MAX).native(is_native));
    for route in ["/a", "/주문", "/with \"quotes\" and \\"] {
        let mut observed = Observed { route: route.into(), ..observed(exchange()) };
        (observed.span.trace_id, observed.span.span_id) = ([7; 16], [9; 8]);
        registry.record(&observed);
        registry.exemplar(&observed, i64::try_from(now_ms()).unwrap() - 1);
    }
    registry.refresh().unwrap();
    let external = External::new([("cluster".to_owned(), "seoul".to_owned())]);
    let now = i64::try_from(now_ms()).unwrap();
    let mut collector = Collector::new(external, 40, now - 60_000);
    let mut all = Vec::new();
    let shared = Shared::new(registry);
    collector.collect(&shared, now, |one| all.push((one.request.encode_to_vec(), one.samples)));
    all
}

/// What a server got of these collections.
async fn sent(is_native: bool, by_2: bool) -> Vec<Vec<u8>> {
    let server = Server::start(|_, _| Reply::Status(200, vec![WRITTEN])).await;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), Signal::Metrics);
    let run = Run::to(&store, remote_write(by_2), connection(&server.url("/")));
    let batches = collections(is_native);
    let count = batches.len();
    for (payload, samples) in batches {
        store.accept(payload, samples);
    }
    run.drained().await;
    run.stop().await;
    let got = server.got();
    assert!(count > 1 && got.len() == count, "{count} collections, {} requests", got.len());
    assert!(got.iter().all(|request| request.method == Method::POST));
    got.iter().map(|request| unsnap(&request.body)).collect()
}

fn is_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}

#[tokio::test]
async fn what_is_sent_is_as_the_suite_asks() {
    let now = i64::try_from(now_ms()).unwrap();
    for is_native in [false, true] {
        let mut types: BTreeMap<String, (i32, String)> = BTreeMap::new();
        let (mut natives, mut exemplars, mut routes) = (0, 0, BTreeSet::new());
        for body in sent(is_native, true).await {
            let request = Request::decode(&*body).unwrap();
            assert_eq!(request.encode_to_vec(), body, "nothing that the message does not know");
            let symbols = &request.symbols;
            assert_eq!(symbols[0], "");
            assert_eq!(symbols.iter().collect::<BTreeSet<_>>().len(), symbols.len(), "each once");
            let text = |place: &u32| symbols[usize::try_from(*place).unwrap()].as_str();
            for series in &request.timeseries {
                assert_eq!(series.labels_refs.len() % 2, 0);
                let labels: Vec<(&str, &str)> =
                    series.labels_refs.chunks(2).map(|pair| (text(&pair[0]), text(&pair[1]))).collect();
                assert!(labels.is_sorted_by(|a, b| a.0 < b.0), "sorted, none twice: {labels:?}");
                assert!(labels.iter().all(|(name, value)| is_name(name) && !value.is_empty()), "{labels:?}");
                assert!(labels.iter().all(|(name, _)| *name == "__name__" || !name.starts_with("__")));
                let name = labels.iter().find(|(name, _)| *name == "__name__").unwrap().1;
                assert!(is_name(name), "{name}");
                routes.extend(
                    labels
                        .iter()
                        .filter(|(name, _)| *name == "http_route")
                        .map(|(_, route)| *route)
                        .map(str::to_owned),
                );
                assert_eq!(series.samples.len() + series.histograms.len(), 1, "one of both: {name}");
                for sample in &series.samples {
                    assert!((0..120_000).contains(&(sample.timestamp - now + 60_000)), "{sample:?}");
                    assert!(sample.start_timestamp <= sample.timestamp);
                }
                for histogram in &series.histograms {
                    natives += 1;
                    assert!((0..120_000).contains(&(histogram.timestamp - now + 60_000)));
                    assert!(
                        histogram.start_timestamp > 0 && histogram.start_timestamp <= histogram.timestamp
                    );
                    let buckets: u32 = histogram.positive_spans.iter().map(|span| span.length).sum();
                    assert_eq!(buckets as usize, histogram.positive_deltas.len());
                    let mut count = 0;
                    let counted: i64 = histogram
                        .positive_deltas
                        .iter()
                        .map(|delta| {
                            count += delta;
                            count
                        })
                        .sum();
                    let zero = histogram.zero_count_int.unwrap();
                    assert_eq!(u64::try_from(counted).unwrap() + zero, histogram.count_int.unwrap());
                }
                for exemplar in &series.exemplars {
                    exemplars += 1;
                    let labels: Vec<&str> = exemplar.labels_refs.iter().map(text).collect();
                    let (span, trace) = ("09".repeat(8), "07".repeat(16));
                    assert_eq!(labels, ["span_id", &span, "trace_id", &trace]);
                    assert!(exemplar.value == 0.006 && exemplar.timestamp > 1_000_000_000_000);
                }
                let metadata = series.metadata.unwrap();
                assert!(
                    metadata.r#type > 0
                        && !text(&metadata.help_ref).is_empty()
                        && !text(&metadata.unit_ref).is_empty()
                );
                let of_family = (metadata.r#type, text(&metadata.help_ref).to_owned());
                let known = types.entry(name.to_owned()).or_insert_with(|| of_family.clone());
                assert_eq!(*known, of_family, "one meaning a family");
            }
        }
        assert_eq!(natives > 0, is_native);
        // The durations of three routes, of exchanges and of their spans.
        assert_eq!(exemplars, 6);
        assert!(routes.contains("/주문") && routes.contains("/with \"quotes\" and \\"), "{routes:?}");
        let kinds: BTreeSet<i32> = types.values().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, BTreeSet::from([1, 2, 3]), "counters, gauges and histograms");
    }
}

#[tokio::test]
async fn by_1_0_there_is_what_1_0_knows() {
    for is_native in [false, true] {
        let (mut histograms, mut exemplars) = (0, 0);
        for body in sent(is_native, false).await {
            let request = WriteRequest::decode(&*body).unwrap();
            assert_eq!(request.encode_to_vec(), body, "nothing that the message does not know");
            for series in &request.timeseries {
                assert_eq!(series.samples.len() + series.histograms.len(), 1);
                assert!(series.histograms.iter().all(|histogram| histogram.start_timestamp == 0));
                (histograms, exemplars) =
                    (histograms + series.histograms.len(), exemplars + series.exemplars.len());
            }
            assert!(
                request.metadata.iter().all(|metadata| !metadata.metric_family_name.ends_with("_bucket"))
            );
        }
        assert_eq!((histograms > 0, exemplars), (is_native, 6));
    }
}

#[tokio::test]
async fn values_arrive_bit_by_bit() {
    let values = [
        123.45,
        42.0,
        0.0,
        -15.5,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        1.7e308,
        4.9e-324,
        0.000_123,
        0.123_456_789_012_345_67,
        crate::ship::remote_write::STALE,
    ];
    let symbols = ["", "__name__", "up"].map(str::to_owned).to_vec();
    let samples: Vec<Sample> =
        (1..).zip(values).map(|(timestamp, value)| Sample { value, timestamp, start_timestamp: 0 }).collect();
    let series = TimeSeries { labels_refs: vec![1, 2], samples, ..TimeSeries::default() };
    let payload = Request { symbols, timeseries: vec![series] }.encode_to_vec();
    for by_2 in [false, true] {
        let server = Server::start(|_, _| Reply::Status(200, vec![WRITTEN])).await;
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path(), Signal::Metrics);
        let run = Run::to(&store, remote_write(by_2), connection(&server.url("/")));
        store.accept(payload.clone(), 1);
        run.drained().await;
        let body = unsnap(&server.got()[0].body);
        let got: Vec<u64> = if by_2 {
            let samples = &Request::decode(&*body).unwrap().timeseries[0].samples;
            samples.iter().map(|sample| sample.value.to_bits()).collect()
        } else {
            let samples = &WriteRequest::decode(&*body).unwrap().timeseries[0].samples;
            samples.iter().map(|sample| sample.value.to_bits()).collect()
        };
        assert_eq!(got, values.map(f64::to_bits));
        run.stop().await;
    }
}

#[tokio::test]
async fn less_written_is_no_reason_to_fall_back() {
    for (status, written) in [(204, "0"), (200, "1")] {
        let answer = ("x-prometheus-remote-write-samples-written", written);
        let server = Server::start(move |_, _| Reply::Status(status, vec![answer])).await;
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path(), Signal::Metrics);
        let run = Run::to(&store, remote_write(true), connection(&server.url("/")));
        for number in 0..3 {
            store.accept(samples(number), 1);
            run.drained().await;
        }
        let got = server.got();
        assert_eq!(got.len(), 3);
        assert!(got.iter().all(|request| request.header("x-prometheus-remote-write-version") == "2.0.0"));
        run.stop().await;
    }
}

/// What a receiver says on its connections, one after the other; to the last one it says that all is well.
const BAD: [&str; 5] = [
    "",
    "no HTTP at all\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\ncut off",
    "HTTP/1.1 999 Odd\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    "HTTP/1.1 204 Fine\r\nconnection: close\r\n\r\n",
];

#[tokio::test]
async fn bad_answers_are_outlived() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        let mut bodies: Vec<Vec<u8>> = Vec::new();
        for answer in BAD {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut piece = [0; 4096];
            let end = b"\r\n\r\n";
            let body = loop {
                let read = stream.read(&mut piece).unwrap();
                request.extend_from_slice(&piece[..read]);
                let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
                let head = request.windows(end.len()).position(|bytes| bytes == end);
                let length = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
                if let (Some(head), Some(length)) = (head, length)
                    && request.len() >= head + end.len() + length.parse::<usize>().unwrap()
                {
                    break request[head + end.len()..].to_vec();
                }
                assert!(read > 0, "the request is whole");
            };
            bodies.push(body);
            stream.write_all(answer.as_bytes()).unwrap();
        }
        bodies
    });
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), Signal::Metrics);
    let run = Run::to(&store, remote_write(false), connection(&format!("http://{address}/")));
    store.accept(samples(7), 1);
    run.drained().await;
    let bodies = tokio::task::spawn_blocking(|| served.join().unwrap()).await.unwrap();
    assert!(bodies.iter().all(|body| *body == bodies[0]), "the same request again and again");
    assert_eq!((run.delivered(), run.refused()), (1, 0));
    run.stop().await;
}

#[tokio::test]
async fn silence_is_outlived_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), Signal::Metrics);
    let mut connection = connection(&format!("http://{address}/"));
    connection.timeout = Duration::from_millis(200);
    let run = Run::to(&store, remote_write(false), connection);
    store.accept(samples(7), 1);
    run.until("a time-out", || run.stats.retries.load(Ordering::Relaxed) > 0).await;
    assert_eq!((store.depth(0).waiting, run.delivered(), run.refused()), (1, 0, 0));
    run.stop().await;
    drop(listener);
}
