//! Any records of HTTP/2 frames, whole or not: no panic, bounded state, and no exchange that contradicts itself.
#![no_main]

mod frame;

use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use sensor::protocol::{
    Close, Connection, Direction, Endpoints, Event, FrameRecord, Signal, Stream, Task, Tracker, TrackerConfig,
};

use frame::frame;

/// One step.
#[derive(Arbitrary, Debug)]
struct Step<'a> {
    connection: u8,
    is_send: bool,
    is_lost: bool,
    is_resync: bool,
    wait_ms: u16,
    what: What<'a>,
}

#[derive(Arbitrary, Debug)]
enum What<'a> {
    /// Any bytes.
    Bytes(&'a [u8]),
    /// A frame with a header of its own.
    Frame {
        kind: u8,
        flags: u8,
        stream: u8,
        payload: &'a [u8],
    },
    /// A request or a response that is whole.
    Call {
        stream: u8,
        ends: bool,
    },
    Close,
    Expire,
}

fuzz_target!(|steps: Vec<Step<'_>>| {
    let mut tracker =
        Tracker::new(TrackerConfig { pair_timeout: Duration::from_secs(60), ..TrackerConfig::default() });
    let mut out = Vec::new();
    let mut numbers = [[0_u32; 2]; 256];
    let mut now_ns = 1;
    for step in &steps {
        now_ns += u64::from(step.wait_ms) * 1_000_000;
        let connection = Connection { id: u64::from(step.connection), key: 0 };
        let direction = if step.is_send { Direction::Send } else { Direction::Receive };
        let bytes = match &step.what {
            What::Bytes(bytes) => bytes.to_vec(),
            What::Frame { kind, flags, stream, payload } => frame(*kind, *flags, *stream, payload),
            What::Call { stream, ends } => {
                let block: &[u8] = if step.is_send { &[0x88] } else { &[0x82, 0x86, 0x84] };
                frame(1, 4 | u8::from(*ends), *stream, block)
            }
            What::Close => {
                let close = Close {
                    connection,
                    time_ns: now_ns,
                    end_of_file: false,
                    received: Stream::default(),
                    sent: Stream::default(),
                };
                tracker.on_event(&Event::Close(close), &mut out);
                continue;
            }
            What::Expire => {
                tracker.expire(now_ns, &mut out);
                continue;
            }
        };
        let number = &mut numbers[usize::from(step.connection)][usize::from(step.is_send)];
        *number += 1 + u32::from(step.is_lost);
        let record = FrameRecord {
            connection,
            direction,
            time_ns: now_ns,
            sequence: *number,
            is_resync: step.is_resync,
            bytes: &bytes,
            task: Task { tgid: 1, tid: 1, comm: [0; 16] },
            endpoints: Endpoints {
                local: ([10, 0, 0, 1], 80).into(),
                remote: ([10, 0, 0, 2], 50_000).into(),
                netns: 1,
                cookie: None,
                path: None,
            },
        };
        tracker.on_event(&Event::Frames(record), &mut out);
    }
    tracker.finish(now_ns, &mut out);
    for exchange in &out {
        assert_eq!(exchange.version, "2");
        assert!(!exchange.method.is_empty());
        assert!(exchange.end_ns >= exchange.request.first_ns, "{exchange:#?}");
        assert!(exchange.response.is_some() || exchange.status.is_none(), "{exchange:#?}");
        if let Some(response) = exchange.response {
            assert!(response.first_ns <= response.last_ns, "{exchange:#?}");
        }
    }
    let started = tracker.signals().filter(|signal| matches!(signal, Signal::Started(_))).count();
    assert!(out.len() <= started, "an exchange without a start");
});
