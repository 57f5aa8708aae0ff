use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::identity::addresses::Peer;
use crate::metric::Sample;
use crate::protocol::Task;

const SECOND: u64 = 1_000_000_000;
const CLIENT: u32 = 2;

struct Fixed;

impl Names for Fixed {
    fn other_end(&mut self, _: crate::flow::View) -> Option<crate::flow::View> {
        None
    }

    fn service(&mut self, _: u32, _: Option<[u8; 16]>) -> Option<Service> {
        Some("client".into())
    }

    fn is_wanted(&self, _: Option<&Service>) -> bool {
        true
    }

    fn peer(&self, _: IpAddr, _: u64) -> Option<Arc<Peer>> {
        None
    }

    fn zone(&self) -> Arc<str> {
        Arc::default()
    }
}

struct Bench {
    lookups: Lookups,
    places: Places,
    metrics: DnsMetrics,
    masker: Masker,
}

/// A message with a question for `name`, and as an answer one address.
fn wire(id: u16, name: &str, answer: Option<(u8, [u8; 4])>) -> Vec<u8> {
    let (flags, answers) = match answer {
        Some((0, _)) => (0x8180, 1),
        Some((code, _)) => (0x8180 | u16::from(code), 0),
        None => (0x0100, 0),
    };
    let mut bytes: Vec<u8> =
        [id, flags, 1, answers, 0, 0].iter().flat_map(|word| word.to_be_bytes()).collect();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend_from_slice(b"\0\0\x01\0\x01");
    if let Some((0, address)) = answer {
        bytes.extend_from_slice(b"\xc0\x0c\0\x01\0\x01\0\0\x01\x2c\0\x04");
        bytes.extend_from_slice(&address);
    }
    bytes
}

impl Bench {
    fn new() -> Self {
        Self {
            lookups: Lookups::new(DnsConfig { timeout: Duration::from_secs(5), max_names: 100 }),
            places: Places::new(None, crate::config::Networks::default(), 100),
            metrics: DnsMetrics::new(100),
            masker: Masker::new(&crate::config::Mask::default()).unwrap(),
        }
    }

    fn take_as(&mut self, bytes: &[u8], is_sent: bool, is_stream: bool, time_ns: u64) {
        let captured = Captured {
            socket: 7,
            is_sent,
            is_stream,
            time_ns,
            bytes,
            length: bytes.len(),
            task: Task { tgid: CLIENT, tid: CLIENT, comm: [0; 16] },
            netns: 1,
            local: "127.0.0.1:4000".parse().unwrap(),
            remote: "127.0.0.1:53".parse().unwrap(),
        };
        let Self { lookups, places, metrics, masker } = self;
        lookups.take(&captured, &mut Around { names: &mut Fixed, places, masker, metrics });
    }

    fn ask(&mut self, id: u16, name: &str, time_ns: u64) {
        self.take_as(&wire(id, name, None), true, false, time_ns);
    }

    fn answer(&mut self, id: u16, name: &str, code: u8, time_ns: u64) {
        self.take_as(&wire(id, name, Some((code, [192, 0, 2, 1]))), false, false, time_ns);
    }

    fn second(&mut self, now_ns: u64) {
        let Self { lookups, places, metrics, masker } = self;
        lookups.second(now_ns, &mut Around { names: &mut Fixed, places, masker, metrics });
    }

    /// Name, code, error, count and seconds of each series of answers.
    fn told(&self) -> Vec<(String, String, String, u64, f64)> {
        let [answered, _] = self.metrics.sources();
        (0..answered.slots())
            .filter_map(|slot| answered.read(0, slot))
            .map(|(labels, sample)| {
                let Sample::Histogram(reading) = sample else { panic!("{sample:?}") };
                assert_eq!(labels.get("service_name"), "client");
                let [name, code, error] = ["dns_question_name", "dns_response_code", "error_type"]
                    .map(|label| labels.get(label).to_owned());
                (name, code, error, reading.count(), reading.sum())
            })
            .collect()
    }

    fn unanswered(&self) -> Vec<(String, Sample<'_>)> {
        let [_, unanswered] = self.metrics.sources();
        (0..unanswered.slots())
            .filter_map(|slot| unanswered.read(0, slot))
            .map(|(labels, sample)| (labels.get("dns_question_name").to_owned(), sample))
            .collect()
    }
}

fn row(name: &str, code: &str, error: &str, count: u64, seconds: f64) -> (String, String, String, u64, f64) {
    (name.to_owned(), code.to_owned(), error.to_owned(), count, seconds)
}

#[test]
fn a_lookup_lasts_from_the_first_question_to_its_answer() {
    let mut bench = Bench::new();
    bench.ask(1, "a.example", SECOND);
    bench.ask(2, "b.example", SECOND);
    bench.ask(1, "a.example", 3 * SECOND);
    bench.answer(2, "b.example", 2, 2 * SECOND);
    bench.answer(1, "a.example", 0, 4 * SECOND);
    // The answer to the question that was sent again.
    bench.answer(1, "a.example", 0, 4 * SECOND);
    let expected =
        [row("b.example", "SERVFAIL", "servfail", 1, 1.0), row("a.example", "NOERROR", "", 1, 3.0)];
    assert_eq!(bench.told(), expected);
    assert_eq!(bench.lookups.losses().unpaired, 1);
    let address = IpAddr::from(Ipv4Addr::new(192, 0, 2, 1));
    assert_eq!(bench.places.name(address, Some(CLIENT), 5 * SECOND).as_deref(), Some("a.example"));
}

#[test]
fn an_answer_to_another_question_is_none() {
    let mut bench = Bench::new();
    bench.ask(1, "a.example", SECOND);
    bench.answer(1, "evil.example", 0, 2 * SECOND);
    bench.answer(2, "a.example", 0, 2 * SECOND);
    assert_eq!(bench.told(), []);
    assert_eq!(bench.lookups.losses().unpaired, 2);
    bench.answer(1, "A.Example", 0, 2 * SECOND);
    assert_eq!(bench.told().len(), 1);
}

#[test]
fn what_is_not_answered_in_time_is_counted_once() {
    let mut bench = Bench::new();
    bench.ask(1, "a.example", SECOND);
    bench.second(5 * SECOND);
    assert_eq!(bench.unanswered(), []);
    bench.ask(1, "a.example", 5 * SECOND);
    for second in 6..30 {
        bench.second(second * SECOND);
    }
    assert_eq!(bench.unanswered(), [("a.example".to_owned(), Sample::Counter(1.0))]);
    assert_eq!(bench.lookups.losses().late, 0);
}

#[test]
fn a_late_answer_is_no_lookup_more() {
    let mut bench = Bench::new();
    bench.ask(1, "a.example", SECOND);
    bench.second(6 * SECOND);
    bench.answer(1, "a.example", 0, 7 * SECOND);
    assert_eq!(bench.told(), []);
    assert_eq!((bench.lookups.losses().late, bench.unanswered().len()), (1, 1));
}

#[test]
fn names_that_a_search_made_are_told_apart() {
    let mut bench = Bench::new();
    for (id, name) in [(1, "api.cluster.local"), (2, "api")] {
        bench.ask(id, name, SECOND);
        bench.answer(id, name, 3, SECOND + 1_000_000);
    }
    bench.second(2 * SECOND);
    assert_eq!(bench.told().len(), 1, "the last is held");
    bench.second(3 * SECOND);
    let expected = [
        row("api.cluster.local", "NXDOMAIN", "nxdomain_search", 1, 0.001),
        row("api", "NXDOMAIN", "nxdomain", 1, 0.001),
    ];
    assert_eq!(bench.told(), expected);
}

#[test]
fn messages_of_a_stream_are_lookups() {
    let mut bench = Bench::new();
    let framed =
        |message: Vec<u8>| [&u16::try_from(message.len()).unwrap().to_be_bytes()[..], &message].concat();
    bench.take_as(&framed(wire(1, "a.example", None)), true, true, SECOND);
    let answer = framed(wire(1, "a.example", Some((0, [192, 0, 2, 1]))));
    bench.take_as(&answer[..2], false, true, 2 * SECOND);
    bench.take_as(&answer[2..], false, true, 2 * SECOND);
    assert_eq!(bench.told(), [row("a.example", "NOERROR", "", 1, 1.0)]);
}

#[test]
fn a_card_number_is_no_name() {
    let mut bench = Bench::new();
    bench.ask(1, "4111111111111111.example", SECOND);
    bench.answer(1, "4111111111111111.example", 0, 2 * SECOND);
    assert_eq!(bench.told()[0].0, "411111******1111.example");
}

#[test]
fn what_is_no_message_is_counted() {
    let mut bench = Bench::new();
    bench.take_as(b"GET / HTTP/1.1\r\n\r\n", true, false, SECOND);
    // An answer that was sent.
    bench.take_as(&wire(1, "a.example", Some((0, [0; 4]))), true, false, SECOND);
    assert_eq!(bench.lookups.losses().malformed, 2);
}
