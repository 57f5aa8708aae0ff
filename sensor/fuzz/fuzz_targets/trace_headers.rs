//! Any trace headers: what is read of them is never an id of zeros, and of W3C's one is what was written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sensor::trace::TraceParent;

const NAMES: [&str; 8] = [
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-sampled",
    "x-b3-flags",
    "x-b3-parentspanid",
];

fuzz_target!(|fields: Vec<(u8, &str)>| {
    let fields: Vec<(&'static str, String)> = fields
        .into_iter()
        .map(|(name, value)| (NAMES[usize::from(name) % NAMES.len()], value.to_owned()))
        .collect();
    if let Some(parent) = TraceParent::of(&fields) {
        assert_ne!(parent.trace_id, [0; 16]);
        assert_ne!(parent.parent_id, [0; 8]);
    }
    for (_, value) in &fields {
        let Some(parent) = TraceParent::parse(value) else { continue };
        let digits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(value[3..35], digits(&parent.trace_id));
        assert_eq!(value[36..52], digits(&parent.parent_id));
    }
});
