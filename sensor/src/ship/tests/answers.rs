//! What the sender makes of each answer, over real connections: the assertions of the remote-write sender compliance
//! suite, and their like for the other protocols.

use hyper::Version;
use prost::Message as _;

use super::server::{Reply, Server};
use super::*;
use crate::ship::loki::proto::PushRequest;
use crate::ship::remote_write::v1::WriteRequest;
use crate::ship::sender::Source;

const WRITTEN: (&str, &str) = ("x-prometheus-remote-write-samples-written", "1");

fn unsnap(body: &[u8]) -> Vec<u8> {
    snap::raw::Decoder::new().decompress_vec(body).unwrap()
}

#[tokio::test]
async fn remote_write_1_0_has_its_headers_and_its_message() {
    let server = Server::start(|_, _| Reply::status(204)).await;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), Signal::Metrics);
    let run = Run::to(&store, remote_write(false), connection(&server.url("/api/v1/write")));
    for number in 0..5 {
        store.accept(samples(number), 1);
    }
    run.drained().await;
    let got = server.got();
    for (number, request) in got.iter().enumerate() {
        assert_eq!((request.path.as_str(), request.header("content-encoding")), ("/api/v1/write", "snappy"));
        assert_eq!(request.header("content-type"), "application/x-protobuf");
        assert_eq!(request.header("x-prometheus-remote-write-version"), "0.1.0");
        assert!(request.header("user-agent").starts_with("lionpay-sensor/"));
        assert_eq!(request.header("retry-attempt"), "", "not a retry");
        let message = WriteRequest::decode(&*unsnap(&request.body)).unwrap();
        assert_eq!(message.encode_to_vec(), unsnap(&request.body), "nothing that the message does not know");
        let sample = message.timeseries[0].samples[0];
        assert_eq!(sample.timestamp, i64::try_from(number).unwrap(), "in order");
        assert_eq!(request.connection, 0, "one connection is used again");
    }
    assert_eq!((got.len(), run.delivered()), (5, 5));
    run.stop().await;
}

#[tokio::test]
async fn remote_write_2_0_has_its_headers_and_its_message() {
    let server = Server::start(|_, _| Reply::Status(200, vec![WRITTEN])).await;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), Signal::Metrics);
    let run = Run::to(&store, remote_write(true), connection(&server.url("/")));
    store.accept(samples(7), 1);
    run.drained().await;
    let got = server.got();
    let [request] = &got[..] else { panic!("{got:?}") };
    let kind = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
    assert_eq!((request.header("content-type"), request.header("content-encoding")), (kind, "snappy"));
    assert_eq!(request.header("x-prometheus-remote-write-version"), "2.0.0");
    let message = Request::decode(&*unsnap(&request.body)).unwrap();
    assert_eq!((message.symbols[0].as_str(), message.timeseries[0].samples[0].value), ("", 7.0));
    run.stop().await;
}

#[tokio::test]
async fn a_receiver_that_does_not_say_what_it_wrote_gets_1_0_from_then_on() {
    for first in [Reply::status(204), Reply::status(415)] {
        let server =
            Server::start(move |number, _| if number == 0 { first.clone() } else { Reply::status(204) })
                .await;
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path(), Signal::Metrics);
        let run = Run::to(&store, remote_write(true), connection(&server.url("/")));
        store.accept(samples(0), 1);
        run.drained().await;
        store.accept(samples(1), 1);
        run.drained().await;
        let versions: Vec<String> = server
            .got()
            .iter()
            .map(|request| request.header("x-prometheus-remote-write-version").to_owned())
            .collect();
        assert_eq!(versions, ["2.0.0", "0.1.0", "0.1.0"]);
        assert_eq!(run.delivered(), 2);
        run.stop().await;
    }
}

#[tokio::test]
async fn what_can_pass_is_retried_and_says_so() {
    let cases = [
        (remote_write(false), Signal::Metrics, vec![500, 503, 429]),
        (Wire::Loki, Signal::Logs, vec![500, 429]),
        (Wire::OtlpHttp, Signal::Traces, vec![429, 502, 503, 504]),
    ];
    for (wire, signal, statuses) in cases {
        let script = statuses.clone();
        let server = Server::start(move |number, _| match number {
            0 => Reply::Reset,
            n => script
                .get(n - 1)
                .map_or(Reply::status(200), |status| Reply::Status(*status, vec![("retry-after", "0")])),
        })
        .await;
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path(), signal);
        let run = Run::to(&store, wire, connection(&server.url("/")));
        store.accept(if signal == Signal::Metrics { samples(1) } else { lines(1) }, 1);
        run.drained().await;
        let got = server.got();
        // A connection that breaks before an answer may be tried again by the HTTP library itself.
        let attempts: Vec<u32> =
            got.iter().map(|request| request.header("retry-attempt").parse().unwrap_or(0)).collect();
        assert!(
            attempts.is_sorted() && attempts.last() == Some(&(u32::try_from(statuses.len()).unwrap() + 1))
        );
        assert!(got.iter().all(|request| request.body == got[0].body), "the same request again");
        assert_eq!((run.delivered(), run.refused()), (1, 0));
        run.stop().await;
    }
}

#[tokio::test]
async fn what_can_not_pass_is_not_retried_and_counted() {
    let cases = [
        (remote_write(false), Signal::Metrics, vec![400, 403, 404, 409, 422]),
        (Wire::Loki, Signal::Logs, vec![400, 403, 404]),
        (Wire::OtlpHttp, Signal::Traces, vec![400, 404, 500, 501]),
    ];
    for (wire, signal, statuses) in cases {
        let script = statuses.clone();
        let server = Server::start(move |number, _| Reply::status(script[number])).await;
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path(), signal);
        let run = Run::to(&store, wire, connection(&server.url("/")));
        for _ in &statuses {
            store.accept(if signal == Signal::Metrics { samples(1) } else { lines(2) }, 2);
            run.drained().await;
        }
        assert_eq!(server.got().len(), statuses.len());
        let in_part = run.stats.refused_in_part.load(Ordering::Relaxed);
        assert_eq!(run.refused() + in_part, 2 * statuses.len() as u64);
        assert_eq!(in_part, if signal == Signal::Traces { 0 } else { 2 });
        assert_eq!(run.delivered(), 0);
        assert!(run.stats.last().error.unwrap().contains("what was wrong"));
        run.stop().await;
    }
}

#[tokio::test]
async fn what_is_too_large_is_split_until_it_fits() {
    let size = |body: &[u8]| {
        let request = PushRequest::decode(&*unsnap(body)).unwrap();
        loki::lines(&request)
    };
    let server =
        Server::start(move |_, request| Reply::status(if size(&request.body) > 3 { 413 } else { 204 })).await;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), Signal::Logs);
    let run = Run::to(&store, Wire::Loki, connection(&server.url("/")));
    store.accept(lines(10), 10);
    run.drained().await;
    let taken: Vec<String> = server
        .got()
        .iter()
        .filter(|request| size(&request.body) <= 3)
        .flat_map(|request| PushRequest::decode(&*unsnap(&request.body)).unwrap().streams)
        .flat_map(|stream| stream.entries.into_iter().map(|entry| entry.line))
        .collect();
    let expected: Vec<String> = (0..10).map(|number| format!("line {number}")).collect();
    assert_eq!(taken, expected);
    assert_eq!((run.delivered(), run.refused()), (10, 0));
    run.stop().await;
}

#[tokio::test]
async fn one_line_that_is_too_large_is_refused() {
    let server = Server::start(|_, _| Reply::status(413)).await;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), Signal::Logs);
    let run = Run::to(&store, Wire::Loki, connection(&server.url("/")));
    store.accept(lines(2), 2);
    run.drained().await;
    assert_eq!((server.got().len(), run.refused()), (3, 2));
    run.stop().await;
}

#[tokio::test]
async fn wrong_credentials_keep_the_batch() {
    let server = Server::start(|_, _| Reply::status(401)).await;
    let directory = tempfile::tempdir().unwrap();
    let password = directory.path().join("password");
    std::fs::write(&password, "secret\n").unwrap();
    let store = open(directory.path(), Signal::Logs);
    let credentials =
        Credentials::Basic { user: "12345".to_owned(), password: Source::File(password.clone()) };
    let mut connection = connection(&server.url("/"));
    connection.credentials = credentials;
    let run = Run::to(&store, Wire::Loki, connection);
    store.accept(lines(1), 1);
    run.until("an answer", || run.stats.last().error.is_some()).await;
    assert!(run.stats.last().error.unwrap().starts_with("status 401"));
    assert_eq!(server.got()[0].header("authorization"), "Basic MTIzNDU6c2VjcmV0");
    assert_eq!((store.depth(0).waiting, run.refused()), (1, 0));
    // Nothing more is tried until a person may have put it right.
    assert_eq!(server.got().len(), 1);
    run.stop().await;
}

#[tokio::test]
async fn grpc_is_spoken_over_http_2() {
    let server = Server::start(|_, _| {
        Reply::Status(200, vec![("grpc-status", "0"), ("content-type", "application/grpc+proto")])
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), Signal::Traces);
    let mut connection = connection(&server.url(crate::ship::otlp::GRPC_PATH));
    connection.http2_only = true;
    let run = Run::to(&store, Wire::OtlpGrpc, connection);
    store.accept(b"\n\0".to_vec(), 1);
    run.drained().await;
    let got = server.got();
    let [request] = &got[..] else { panic!("{got:?}") };
    assert_eq!((request.version, request.header("te")), (Version::HTTP_2, "trailers"));
    assert_eq!(request.header("grpc-encoding"), "gzip");
    assert_eq!(request.path, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    assert_eq!(request.body[0], 1);
    assert_eq!(
        usize::try_from(u32::from_be_bytes(request.body[1..5].try_into().unwrap())).unwrap(),
        request.body.len() - 5
    );
    assert_eq!(run.delivered(), 1);
    run.stop().await;
}
