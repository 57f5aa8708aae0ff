//! What masking costs: in the kernel, over the same capture without it, and in the daemon. Run by `cargo xtask bench mask`,
//! which gives the eBPF object that is built for it and reads what this prints as JSON.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aya::maps::RingBuf;
use aya::programs::RawTracePoint;
use aya::sys::{Stats, enable_stats};
use aya::{Ebpf, EbpfLoader};
use sensor::mask::Masker;
use sensor_common::mask::{State, in_place};
use serde_json::{Value, json};

/// Writes that are captured in one turn: the records of two have room in the ring buffer.
const WRITES: u32 = 4000;
const RING_BYTES: u32 = 64 << 20;
/// Bytes of log text that the daemon's rules are given in one turn.
const LOG_BYTES: usize = 16 << 20;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let object = arguments.next().context("the first argument is the eBPF object")?;
    let rounds: u32 = arguments.next().context("the second argument is the number of rounds")?.parse()?;
    let kernel = kernel(&fs::read(&object).with_context(|| format!("cannot read {object}"))?, rounds)?;
    let report = json!({ "kernel": kernel, "engine": engine(rounds)?, "others": others()? });
    writeln!(std::io::stdout().lock(), "{report}")?;
    Ok(())
}

/// What is written, and what it is called.
fn texts() -> [(&'static str, String); 6] {
    let fill = |start: &str, length: usize| {
        let words =
            " order placed for a customer who pays at the till and waits for the receipt to be printed";
        start.chars().chain(words.chars().cycle()).take(length).collect::<String>()
    };
    let head = "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Tue, 24 Nov 2026 10:11:12 GMT\r\nContent-Type: \
                text/html\r\nContent-Length: 612\r\nLast-Modified: Mon, 23 Nov 2026 01:02:03 GMT\r\nConnection: \
                keep-alive\r\nETag: \"6741f7c3-264\"\r\nAccept-Ranges: bytes\r\n\r\n";
    [
        ("150 bytes without a digit", fill("INFO", 150)),
        ("4000 bytes without a digit", fill("INFO", 4000)),
        ("a line of 150 bytes with a time", fill("2026-11-24T10:11:12.123Z INFO [main]", 150)),
        ("a line of 150 bytes with a card", fill("INFO card=4111111111111111", 150)),
        ("… with a time and a card", fill("2026-11-24T10:11:12.123Z INFO pan=4111-1111-1111-1111", 150)),
        ("the head of a response", head.to_owned()),
    ]
}

/// Nanoseconds that the program took for one write of each text, without and with masking, a round each.
fn kernel(object: &[u8], rounds: u32) -> Result<Vec<Value>> {
    let _stats = enable_stats(Stats::RunTime).context("the kernel does not measure programs")?;
    let mut programs = [Measured::load(object, 1)?, Measured::load(object, 0)?];
    texts()
        .into_iter()
        .map(|(name, text)| {
            let mut figures = [Vec::new(), Vec::new()];
            for turn in 0..2 * rounds {
                let index = (turn % 2 + turn / 2 % 2) as usize % 2;
                figures[index].push(programs[index].capture(text.as_bytes())?);
            }
            Ok(json!({ "text": name, "bytes": text.len(), "without": figures[0], "with": figures[1] }))
        })
        .collect()
}

/// The program that captures what this process writes, in one of its two kinds.
struct Measured(Ebpf);

impl Measured {
    fn load(object: &[u8], unmasked: u32) -> Result<Self> {
        let mut ebpf = EbpfLoader::new()
            .btf(None)
            .override_global("SENSOR_TGID", &std::process::id(), true)
            .override_global("LOG_WAKE_BYTES", &u64::MAX, true)
            .override_global("UNMASKED", &unmasked, true)
            .map_max_entries("LOGS", RING_BYTES)
            .load(object)
            .context("cannot load the eBPF object")?;
        program(&mut ebpf)?.load().context("cannot load the program")?;
        Ok(Self(ebpf))
    }

    /// Nanoseconds a write.
    fn capture(&mut self, text: &[u8]) -> Result<f64> {
        let mut nothing = File::options().write(true).open("/dev/null")?;
        let program = program(&mut self.0)?;
        let link = program.attach("sys_exit").context("cannot attach the program")?;
        let mut time = Duration::ZERO;
        // The first turn warms up.
        for _ in 0..2 {
            let before = program.info()?.run_time();
            for _ in 0..WRITES {
                nothing.write_all(text)?;
            }
            time = program.info()?.run_time().saturating_sub(before);
        }
        program.detach(link)?;
        let records = self.drain()?;
        ensure!(records >= 2 * WRITES, "{records} records of {} writes", 2 * WRITES);
        Ok(time.as_secs_f64() * 1e9 / f64::from(WRITES))
    }

    /// Empties the ring buffer; how many records there were.
    fn drain(&mut self) -> Result<u32> {
        let mut ring = RingBuf::try_from(self.0.map_mut("LOGS").context("no ring buffer")?)?;
        let mut records = 0;
        while ring.next().is_some() {
            records += 1;
        }
        Ok(records)
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut RawTracePoint> {
    let program = ebpf.program_mut("bench_log").context("the object has no program to be measured")?;
    Ok(program.try_into()?)
}

/// Bytes a second of log text, a round each: all rules, on one thread.
fn engine(rounds: u32) -> Result<Vec<Value>> {
    let masker = Masker::new(&sensor::config::Mask::default())
        .map_err(|error| anyhow::anyhow!("{}: {}", error.name, error.allowed))?;
    let lines = log_lines();
    let bytes: usize = lines.iter().map(String::len).sum();
    let mut figures = Vec::new();
    for _ in 0..=rounds {
        let start = Instant::now();
        for line in &lines {
            black_box(masker.bytes(black_box(line.as_bytes())));
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
        figures.push(bytes as f64 / start.elapsed().as_secs_f64());
    }
    // The first turn warms up.
    figures.remove(0);
    let masked: u64 = masker.counts().all().map(|(_, count)| count).sum::<u64>() / u64::from(rounds + 1);
    Ok(vec![json!({
        "text": "log lines of services", "bytes": bytes, "lines": lines.len(), "masked": masked, "rates": figures,
    })])
}

/// How many of the long numbers that are no cards each layer masks all the same, by the rule for cards alone.
fn others() -> Result<Vec<Value>> {
    const COUNT: u32 = 100_000;
    type Make = fn(&mut dyn FnMut() -> u64) -> String;
    // A snowflake is a time in milliseconds since an epoch of its maker's, and 22 bits; these are of a year from November 2026 on.
    const SNOWFLAKE_2010: Make =
        |random| (((475_366_625_343 + random() % 31_536_000_000) << 22) | random() >> 42).to_string();
    const SNOWFLAKE_2020: Make =
        |random| (((186_364_800_000 + random() % 31_536_000_000) << 22) | random() >> 42).to_string();
    let kinds: [(&str, Make); 6] = [
        ("ids of 17 random digits", |random| {
            (random() % 90_000_000_000_000_000 + 10_000_000_000_000_000).to_string()
        }),
        ("ids of 18 random digits", |random| {
            (random() % 900_000_000_000_000_000 + 100_000_000_000_000_000).to_string()
        }),
        ("ids of 19 random digits", |random| {
            (random() % 9_000_000_000_000_000_000 + 1_000_000_000_000_000_000).to_string()
        }),
        ("snowflake ids, epoch November 2010 (19 digits)", SNOWFLAKE_2010),
        ("snowflake ids, epoch January 2020 (18 digits)", SNOWFLAKE_2020),
        ("random doubles from 1 to 100, all digits", |random| {
            #[expect(clippy::cast_precision_loss, reason = "it is random")]
            let fraction = (random() >> 11) as f64 / (1_u64 << 53) as f64;
            (1.0 + 99.0 * fraction).to_string()
        }),
    ];
    let alone = sensor::config::Mask { person: false, secret: false, ..sensor::config::Mask::default() };
    let masker = Masker::new(&alone).map_err(|error| anyhow::anyhow!("{}: {}", error.name, error.allowed))?;
    let mut random = split_mix(20_261_127);
    Ok(kinds
        .into_iter()
        .map(|(name, make)| {
            let (mut kernel, mut daemon) = (0_u32, 0_u32);
            for _ in 0..COUNT {
                let text = make(&mut random);
                let mut state = State::NEW;
                in_place(&mut text.clone().into_bytes(), &mut state, false);
                kernel += state.masked.min(1);
                daemon += u32::from(masker.text(&text) != text);
            }
            json!({ "text": name, "count": COUNT, "kernel": kernel, "daemon": daemon })
        })
        .collect())
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same numbers in every run.
fn split_mix(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Lines as Java and .NET services and proxies write them: times, ids, addresses, durations. One in a hundred holds something
/// to be masked.
fn log_lines() -> Vec<String> {
    let mut random = split_mix(20_261_124);
    let mut lines = Vec::new();
    let mut bytes = 0;
    while bytes < LOG_BYTES {
        let (a, b, c) = (random(), random(), random());
        let time = format!(
            "2026-11-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            1 + a % 30,
            a >> 8 & 15,
            (a >> 16) % 60,
            (a >> 24) % 60,
            (a >> 32) % 1000
        );
        let line = match b % 100 {
            0 if c % 2 == 0 => format!("{time} WARN  [http-nio-8080-exec-{}] pay.Gateway : declined 4111111111111111", c % 20),
            0 => format!("{time} INFO  login mail=kim.minsu@shop.example phone=010-1234-{:04}", c % 10_000),
            1..30 => format!(
                "10.{}.{}.{} - - [24/Nov/2026:10:11:12 +0900] \"GET /api/v1/orders/{} HTTP/1.1\" 200 {} \"-\" \
                 \"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\" rt={}.{:03}",
                c & 255,
                c >> 8 & 255,
                c >> 16 & 255,
                c >> 40,
                c >> 20 & 0xffff,
                c % 3,
                a % 1000
            ),
            30..60 => format!(
                "{{\"@timestamp\":\"{time}\",\"level\":\"INFO\",\"logger\":\"com.lionpay.order.OrderService\",\"message\":\"order \
                 confirmed\",\"orderId\":\"ORD-{:06}\",\"amount\":{},\"traceId\":\"{b:016x}{c:016x}\",\"spanId\":\"{a:016x}\"}}",
                c % 1_000_000,
                b >> 44
            ),
            60..90 => format!(
                "{time} DEBUG [http-nio-8080-exec-{}] c.l.settle.BatchJob : settled {} of {} transactions in {} ms, next run \
                 after the queue is empty",
                c % 20,
                b >> 50,
                c >> 50,
                a >> 52
            ),
            _ => "\tat org.springframework.web.servlet.FrameworkServlet.processRequest(FrameworkServlet.java:1014) \
                  ~[spring-webmvc.jar!/:na]"
                .to_owned(),
        };
        bytes += line.len();
        lines.push(line);
    }
    lines
}
