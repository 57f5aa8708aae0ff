//! Any header blocks, one after the other in both directions of a connection: no panic, and a table that stays bounded.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use sensor::protocol::{Connection, Direction, Endpoints, Event, FrameRecord, Task, Tracker, TrackerConfig};

/// A header block: a stream of its own, or the response on that of the last request.
#[derive(Arbitrary, Debug)]
struct Block<'a> {
    is_response: bool,
    is_after_gap: bool,
    fields: Vec<Field<'a>>,
}

/// A field line in the forms of section 6 of RFC 7541, or bytes that may be none.
#[derive(Arbitrary, Debug)]
enum Field<'a> {
    Indexed(u8),
    Added { name: u8, value: &'a [u8] },
    Literal { name: &'a [u8], value: &'a [u8] },
    Resize(u16),
    Bytes(&'a [u8]),
}

const HEADERS: u8 = 1;
const END_HEADERS_AND_STREAM: u8 = 5;

fuzz_target!(|blocks: Vec<Block<'_>>| {
    let mut tracker = Tracker::new(TrackerConfig::default());
    let mut out = Vec::new();
    let (mut stream, mut sequences) = (1_u32, [0_u32; 2]);
    for (time_ns, block) in (1_u64..).zip(&blocks) {
        let sequence = &mut sequences[usize::from(block.is_response)];
        *sequence += 1 + u32::from(block.is_after_gap);
        stream += if block.is_response { 0 } else { 2 };
        let bytes = frame(stream, &encode(&block.fields));
        let record = FrameRecord {
            connection: Connection { id: 1, key: 1 },
            direction: if block.is_response { Direction::Send } else { Direction::Receive },
            time_ns,
            sequence: *sequence,
            is_resync: false,
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
    tracker.finish(u64::MAX, &mut out);
    assert!(out.iter().all(|exchange| !exchange.method.is_empty()));
    assert!(out.iter().all(|exchange| exchange.status.is_none_or(|status| status < 1000)));
});

fn encode(fields: &[Field<'_>]) -> Vec<u8> {
    let mut block = Vec::new();
    for field in fields {
        match field {
            Field::Indexed(index) => integer(&mut block, 0x80, 7, (*index).into()),
            Field::Added { name, value } => {
                integer(&mut block, 0x40, 6, u32::from(*name).max(1));
                text(&mut block, value);
            }
            Field::Literal { name, value } => {
                block.push(0);
                text(&mut block, name);
                text(&mut block, value);
            }
            Field::Resize(size) => integer(&mut block, 0x20, 5, (*size).into()),
            Field::Bytes(bytes) => block.extend_from_slice(bytes),
        }
    }
    block
}

/// A string whose first byte says whether it is to be taken for Huffman code.
fn text(block: &mut Vec<u8>, bytes: &[u8]) {
    let (is_huffman, bytes) = match bytes.split_first() {
        Some((first, rest)) => (first & 1 == 1, rest),
        None => (false, bytes),
    };
    integer(block, u8::from(is_huffman) << 7, 7, u32::try_from(bytes.len()).unwrap_or(0));
    block.extend_from_slice(bytes);
}

/// Section 5.1 of RFC 7541.
fn integer(block: &mut Vec<u8>, pattern: u8, prefix: u32, value: u32) {
    let limit = (1 << prefix) - 1;
    let low = |value: u32| value.to_le_bytes()[0];
    if value < limit {
        block.push(pattern | low(value));
        return;
    }
    block.push(pattern | low(limit));
    let mut rest = value - limit;
    while rest >= 0x80 {
        block.push(low(rest) | 0x80);
        rest >>= 7;
    }
    block.push(low(rest));
}

fn frame(stream: u32, block: &[u8]) -> Vec<u8> {
    let length = u32::try_from(block.len()).unwrap_or(u32::MAX) & 0x00ff_ffff;
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([HEADERS, END_HEADERS_AND_STREAM]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(block);
    bytes
}
