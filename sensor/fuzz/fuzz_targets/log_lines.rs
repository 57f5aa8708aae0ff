//! Any parts of writes, in any order: no panic, no line that was not written, and never more records than lines.
#![no_main]

use std::sync::{Arc, LazyLock};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use sensor::{
    config,
    log::{Engine, Written},
    trace::WallClock,
};

#[derive(Arbitrary, Debug)]
struct Step<'a> {
    pipe: u8,
    task: u8,
    wait_ms: u16,
    flags: u8,
    lost: u8,
    descriptor: bool,
    text: Text<'a>,
}

#[derive(Arbitrary, Debug)]
enum Text<'a> {
    Bytes(&'a [u8]),
    Template(u8),
    Filler { length: u16 },
}

const TEMPLATES: [&str; 9] = [
    "{\"level\":\"error\",\"msg\":\"x\",\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\"}\n",
    "ts=1 level=warn msg=\"a \\\"b\\\"\"\n",
    "2026-01-01 12:00:00 ERROR [pay,0af7651916cd43dd8448eb211c80319c,b7ad6b7169203331] x\n",
    "java.lang.IllegalStateException: x\n\tat a.B.c(B.java:1)\nCaused by: y\n",
    "Traceback (most recent call last):\n  File \"a\"\nValueError: x\n",
    "\u{1b}[31mred\u{1b}[0m\n",
    "Unhandled exception. System.Exception: x\n   at A.B()\n",
    "no line feed",
    "\n\n\n",
];

static SETTINGS: LazyLock<config::Logs> = LazyLock::new(config::Logs::default);
static CLOCK: LazyLock<WallClock> = LazyLock::new(|| WallClock::new(0));

fuzz_target!(|steps: Vec<Step<'_>>| {
    let mut engine = Engine::new(&SETTINGS);
    for pipe in 1..4 {
        engine.follow(pipe, Arc::from("fuzz"), None);
    }
    let filler = vec![b'x'; 4096];
    let (mut out, mut now_ns, mut feeds, mut parts) = (Vec::new(), 1, 0_usize, 0_usize);
    for step in &steps {
        now_ns += u64::from(step.wait_ms) * 1_000_000;
        let bytes = match &step.text {
            Text::Bytes(bytes) => *bytes,
            Text::Template(index) => TEMPLATES[usize::from(*index) % TEMPLATES.len()].as_bytes(),
            Text::Filler { length } => &filler[..usize::from(*length % 4097)],
        };
        let has = |bit: u8| step.flags & bit != 0;
        let written = Written {
            pipe: u64::from(step.pipe % 5),
            tgid: u32::from(step.task / 4),
            tid: u32::from(step.task),
            time_ns: now_ns,
            descriptor: 1 + u32::from(step.descriptor),
            at: u32::from(step.flags >> 4) * 4096,
            bytes,
            is_last: !has(1),
            is_cut: has(2),
            is_cut_at_line: has(4),
            is_gap: has(8),
            lost: u32::from(step.lost / 64),
            lost_at_line: step.lost & 1 != 0,
        };
        feeds += bytes.iter().filter(|byte| **byte == b'\n').count();
        parts += 1;
        engine.push(&written, *CLOCK, &mut out);
        engine.turn(now_ns, *CLOCK, &mut out);
    }
    engine.finish(now_ns, *CLOCK, &mut out);
    assert!(out.len() <= feeds + parts, "{} records of {feeds} line feeds in {parts} parts", out.len());
    assert_eq!(out.len() as u64, engine.counts().told);
});
