//! Any bytes in the place of a ring buffer's record: decoded or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sensor::capture::{LogRecord, Record, decode, decode_flow, decode_log};

fuzz_target!(|bytes: &[u8]| {
    match decode(bytes) {
        Some(Record::Exec { executable, arguments, .. }) => {
            assert!(executable.len() + arguments.len() <= bytes.len());
        }
        Some(Record::Event(event)) => drop(format!("{event:?}")),
        Some(Record::Tls(head)) => assert!(head.bytes.len() < bytes.len()),
        Some(Record::Path { path, .. }) => assert!(path.len() < bytes.len()),
        Some(Record::Fork { .. }) | None => {}
    }
    match decode_log(bytes) {
        Some(LogRecord::Written(written)) => assert!(written.bytes.len() < bytes.len()),
        Some(LogRecord::Opened(started)) => assert!(started.arguments.len() < bytes.len()),
        None => {}
    }
    if let Some(event) = decode_flow(bytes) {
        drop(format!("{event:?}"));
    }
});
