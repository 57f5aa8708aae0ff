//! Which spans form traces.

use super::{Joiner, LeftOut, Serving, SpanContext, SpanIds};
use crate::protocol::{Endpoints, ExchangeKey, Role, Signal, Started, Task};

const HEADER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203332-01";

/// A host with services, each of which listens on the port of its process id.
#[derive(Default)]
struct Bench {
    joiner: Joiner,
    now_ns: u64,
}

impl Bench {
    /// A joiner that trusts the threads of these processes.
    fn trusting(processes: &[u32]) -> Self {
        let mut bench = Self::default();
        for tgid in processes {
            for request in 0..8 {
                let key = bench.server(1000 + request, *tgid, *tgid, 1, None);
                bench.end(key, *tgid);
            }
        }
        bench
    }

    fn start(
        &mut self,
        role: Role,
        connection: u64,
        task: (u32, u32),
        ports: (u16, u16),
        header: Option<&str>,
    ) -> ExchangeKey {
        self.now_ns += 1;
        let key = ExchangeKey { connection, request: self.now_ns };
        let address = |port| ([10, 0, 0, 1], port).into();
        self.joiner.on_signal(&Signal::Started(Box::new(Started {
            key,
            role,
            task: Task { tgid: task.0, tid: task.1, comm: [0; 16] },
            endpoints: Endpoints {
                local: address(ports.0),
                remote: address(ports.1),
                netns: 1,
                cookie: None,
            },
            time_ns: self.now_ns,
            headers: header.map(|value| ("traceparent", value.to_owned())).into_iter().collect(),
        })));
        key
    }

    /// A request that a thread of the process receives from `port`.
    fn server(
        &mut self,
        connection: u64,
        tgid: u32,
        tid: u32,
        port: u16,
        header: Option<&str>,
    ) -> ExchangeKey {
        self.start(Role::Server, connection, (tgid, tid), (u16::try_from(tgid).unwrap(), port), header)
    }

    /// A call from `port` that a thread of the process makes to the process `to`.
    fn call(&mut self, tgid: u32, tid: u32, port: u16, to: u32, header: Option<&str>) -> ExchangeKey {
        self.start(Role::Client, u64::from(port), (tgid, tid), (port, u16::try_from(to).unwrap()), header)
    }

    fn answer(&mut self, key: ExchangeKey, tid: u32) {
        self.joiner.on_signal(&Signal::Answered { key, tid, time_ns: self.now_ns });
    }

    fn end(&mut self, key: ExchangeKey, tid: u32) -> SpanIds {
        self.answer(key, tid);
        self.now_ns += 1;
        self.joiner.on_signal(&Signal::Ended { key, time_ns: self.now_ns, is_told: true });
        self.joiner.take(key)
    }

    #[track_caller]
    fn served(&mut self, tgid: u32, tid: u32, time_ns: u64) -> SpanContext {
        match self.joiner.serving(tgid, tid, time_ns) {
            Serving::Span(context) => context,
            other => panic!("{other:?}"),
        }
    }
}

#[track_caller]
fn assert_child(child: &SpanIds, parent: &SpanIds) {
    assert_eq!(child.trace_id, parent.trace_id);
    assert_eq!(child.parent.map(|parent| parent.span_id), Some(parent.span_id));
}

#[test]
fn a_header_is_joined() {
    let mut bench = Bench::default();
    let key = bench.server(1, 7, 7, 5000, Some(HEADER));
    let span = bench.end(key, 7);
    assert_eq!((span.trace_id[..2].to_vec(), span.flags), (vec![0x0a, 0xf7], 1));
    let parent = span.parent.unwrap();
    assert!(parent.is_remote && parent.span_id[..2] == [0xb7, 0xad]);
    let key = bench.call(7, 7, 5001, 99, Some(OTHER));
    let span = bench.end(key, 7);
    assert!(!span.parent.unwrap().is_remote, "the application's own span");
}

#[test]
fn a_chain_is_one_trace() {
    let mut bench = Bench::trusting(&[100, 200]);
    let front = bench.server(1, 100, 11, 5000, None);
    let call = bench.call(100, 11, 5001, 200, None);
    let back = bench.server(2, 200, 21, 5001, None);
    let last = bench.call(200, 21, 5002, 300, None);
    let [last, back, call, front] =
        [(last, 21), (back, 21), (call, 11), (front, 11)].map(|(key, tid)| bench.end(key, tid));
    assert_eq!(front.parent, None);
    assert_child(&call, &front);
    assert!(!call.parent.unwrap().is_remote);
    assert_child(&back, &call);
    assert!(back.parent.unwrap().is_remote);
    assert_child(&last, &back);
    assert_eq!(bench.joiner.left_out(LeftOut::Ambiguous), 0);
}

#[test]
fn a_send_may_be_told_after_its_receive() {
    let mut bench = Bench::default();
    let back = bench.server(2, 200, 21, 5001, None);
    let call = bench.call(100, 11, 5001, 200, None);
    let (back, call) = (bench.end(back, 21), bench.end(call, 11));
    assert_child(&back, &call);
}

/// By then the one who received it has made calls of its own: they come along.
#[test]
fn a_send_may_be_told_after_what_it_caused() {
    let mut bench = Bench::trusting(&[100, 200, 300]);
    let front = bench.server(1, 100, 11, 5000, None);
    let back = bench.server(2, 200, 21, 5001, None);
    let last = bench.call(200, 21, 5002, 300, None);
    let end = bench.server(3, 300, 31, 5002, None);
    let call = bench.call(100, 11, 5001, 200, None);
    let [end, last, back, call, front] =
        [(end, 31), (last, 21), (back, 21), (call, 11), (front, 11)].map(|(key, tid)| bench.end(key, tid));
    assert_child(&call, &front);
    assert_child(&back, &call);
    assert_child(&last, &back);
    assert_child(&end, &last);
}

/// What was told of it says the same trace.
#[test]
fn a_send_with_a_header_may_be_told_after_its_trace_was() {
    let mut bench = Bench::trusting(&[200]);
    let back = bench.server(2, 200, 21, 5001, Some(HEADER));
    let _ = bench.served(200, 21, bench.now_ns);
    let call = bench.call(100, 11, 5001, 200, Some(HEADER));
    let (back, call) = (bench.end(back, 21), bench.end(call, 11));
    assert_child(&back, &call);
}

/// A call that was told belongs to another trace already.
#[test]
fn a_send_that_is_told_after_what_it_caused_was_told_is_no_parent() {
    let mut bench = Bench::trusting(&[100, 200]);
    let front = bench.server(1, 100, 11, 5000, None);
    let back = bench.server(2, 200, 21, 5001, None);
    let last = bench.call(200, 21, 5002, 300, None);
    let last = bench.end(last, 21);
    let call = bench.call(100, 11, 5001, 200, None);
    let [back, call, front] = [(back, 21), (call, 11), (front, 11)].map(|(key, tid)| bench.end(key, tid));
    assert_child(&last, &back);
    assert_child(&call, &front);
    assert_eq!(back.parent, None);
}

/// A service that calls itself: what is called can't have caused the call.
#[test]
fn a_call_is_no_child_of_its_own_child() {
    let mut bench = Bench::trusting(&[100]);
    let inner = bench.server(2, 100, 11, 5001, None);
    let call = bench.call(100, 11, 5001, 100, None);
    let (inner, call) = (bench.end(inner, 11), bench.end(call, 11));
    assert_child(&call, &inner);
    assert_eq!(inner.parent, None);
}

#[test]
fn a_trace_that_was_told_stays() {
    let mut bench = Bench::trusting(&[200]);
    let back = bench.server(2, 200, 21, 5001, None);
    let context = bench.served(200, 21, bench.now_ns);
    bench.call(100, 11, 5001, 200, None);
    let back = bench.end(back, 21);
    assert_eq!((back.trace_id, back.span_id), (context.trace_id, context.span_id));
    assert_eq!(back.parent, None);
}

#[test]
fn an_answered_call_is_no_caller() {
    let mut bench = Bench::default();
    let old = bench.call(100, 11, 5001, 200, None);
    bench.answer(old, 11);
    let back = bench.server(2, 200, 21, 5001, None);
    assert_eq!(bench.end(back, 21).parent, None);
}

#[test]
fn other_ends_do_not_meet() {
    let mut bench = Bench::default();
    bench.call(100, 11, 5001, 200, Some(HEADER));
    let back = bench.server(2, 200, 21, 5001, Some(OTHER));
    assert_eq!(bench.end(back, 21).parent.unwrap().span_id[7], 0x32, "the header's own");
    bench.call(100, 11, 5003, 200, None);
    bench.call(100, 11, 5003, 200, None);
    let back = bench.server(3, 200, 21, 5003, None);
    assert_eq!(bench.end(back, 21).parent, None, "one of two");
}

#[test]
fn one_of_two_requests_is_no_parent() {
    let mut bench = Bench::trusting(&[100]);
    let first = bench.server(1, 100, 11, 5000, None);
    bench.server(2, 100, 11, 5001, None);
    bench.end(first, 11);
    let call = bench.call(100, 11, 5002, 200, None);
    assert_eq!(bench.end(call, 11).parent, None);
    assert_eq!(bench.joiner.left_out(LeftOut::Ambiguous), 1);
    assert_eq!(bench.joiner.serving(100, 11, bench.now_ns), Serving::Unclear);
}

#[test]
fn a_call_without_a_parent_has_a_cause() {
    let mut bench = Bench::trusting(&[100]);
    bench.call(100, 11, 5001, 200, None);
    bench.call(300, 31, 5002, 200, None);
    bench.server(1, 100, 11, 5000, None);
    bench.call(100, 11, 5003, 200, None);
    bench.call(100, 12, 5004, 200, None);
    bench.call(100, 12, 5005, 200, Some(HEADER));
    assert_eq!(LeftOut::ALL.map(|why| bench.joiner.left_out(why)), [0, 1, 2, 0, 0]);
}

#[test]
fn a_header_that_is_passed_on_finds_its_request() {
    let mut bench = Bench::trusting(&[100]);
    let first = bench.server(1, 100, 11, 5000, Some(HEADER));
    let second = bench.server(2, 100, 11, 5001, Some(OTHER));
    let call = bench.call(100, 11, 5002, 200, Some(OTHER));
    let back = bench.server(3, 200, 21, 5002, Some(OTHER));
    let [back, call, second, first] =
        [(back, 21), (call, 11), (second, 11), (first, 11)].map(|(key, tid)| bench.end(key, tid));
    assert_child(&call, &second);
    assert_child(&back, &call);
    assert_ne!(first.span_id, second.span_id);
    assert_eq!(bench.joiner.left_out(LeftOut::Ambiguous), 0);
}

#[test]
fn what_a_thread_served_is_remembered_for_a_while() {
    let mut bench = Bench::trusting(&[100]);
    let key = bench.server(1, 100, 11, 5000, None);
    let within = bench.now_ns;
    let span = bench.end(key, 11);
    let context = bench.served(100, 11, within);
    assert_eq!((context.trace_id, context.span_id), (span.trace_id, span.span_id));
    assert_eq!(bench.joiner.serving(100, 12, within), Serving::None);
    assert_eq!(bench.joiner.serving(100, 11, within + 2), Serving::None);
    bench.joiner.second(within + 60_000_000_000);
    assert_eq!(bench.joiner.serving(100, 11, within), Serving::None);
}

#[test]
fn another_program_is_another_process() {
    let mut bench = Bench::trusting(&[100]);
    bench.server(1, 100, 11, 5000, None);
    bench.joiner.process_started(100);
    let call = bench.call(100, 11, 5002, 200, None);
    assert_eq!(bench.end(call, 11).parent, None);
}
