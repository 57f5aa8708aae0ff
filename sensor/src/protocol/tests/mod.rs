//! The tracker under a simulated kernel.

mod bodies;
mod capture;
mod ends;
mod handover;
mod heads;
mod kernel;
mod limits;
mod losses;
mod pipelines;
mod progress;
mod property;

use std::time::Duration;

use self::kernel::{Kernel, Recorded};
use super::{Connection, Direction, End, Exchange, Loss, Role, Tracker, TrackerConfig};

/// A millisecond.
const MS: u64 = 1_000_000;

/// One connection between a simulated kernel and a tracker. Times are in milliseconds.
struct Bench {
    role: Role,
    kernel: Kernel,
    tracker: Tracker,
    out: Vec<Exchange>,
    /// How many coming events to drop.
    drops: usize,
}

impl Bench {
    fn new(role: Role) -> Self {
        Self::with(role, TrackerConfig::default())
    }

    fn server() -> Self {
        Self::new(Role::Server)
    }

    fn client() -> Self {
        Self::new(Role::Client)
    }

    fn with(role: Role, config: TrackerConfig) -> Self {
        let kernel = Kernel::new(1, u32::try_from(config.head_limit).unwrap());
        Self { role, kernel, tracker: Tracker::new(config), out: Vec::new(), drops: 0 }
    }

    /// Bytes in the requests' direction, in one operation.
    fn request(&mut self, ms: u64, bytes: impl AsRef<[u8]>) -> &mut Self {
        let way = if self.role == Role::Server { Direction::Receive } else { Direction::Send };
        self.operation(way, ms, bytes.as_ref())
    }

    /// Bytes in the responses' direction, in one operation.
    fn response(&mut self, ms: u64, bytes: impl AsRef<[u8]>) -> &mut Self {
        let way = if self.role == Role::Server { Direction::Send } else { Direction::Receive };
        self.operation(way, ms, bytes.as_ref())
    }

    fn operation(&mut self, way: Direction, ms: u64, bytes: &[u8]) -> &mut Self {
        let event = self.kernel.operation(way, bytes, ms * MS);
        self.tell(event)
    }

    /// Body bytes, without going through each: `count` in one operation.
    fn bulk(&mut self, way: Direction, ms: u64, count: u64) -> &mut Self {
        self.kernel.bulk(way, count, ms * MS);
        self
    }

    fn close(&mut self, ms: u64) -> &mut Self {
        let event = self.kernel.close(ms * MS);
        self.tell(event)
    }

    fn end_of_file(&mut self, ms: u64) -> &mut Self {
        let event = self.kernel.end_of_file(ms * MS);
        self.tell(event)
    }

    /// Loses the next events.
    fn drop_next(&mut self, count: usize) -> &mut Self {
        self.drops += count;
        self
    }

    /// Asks the tracker whom to ask, and answers.
    fn poll(&mut self, ms: u64) -> &mut Self {
        let mut ask: Vec<Connection> = Vec::new();
        self.tracker.due(ms * MS, &mut ask);
        for _ in ask {
            let event = self.kernel.progress();
            self.tracker.on_event(&event.event(), &mut self.out);
        }
        self
    }

    fn tell(&mut self, event: Option<Recorded>) -> &mut Self {
        if let Some(event) = event {
            if self.drops > 0 {
                self.drops -= 1;
            } else {
                self.tracker.on_event(&event.event(), &mut self.out);
            }
        }
        self
    }

    fn exchanges(&mut self) -> Vec<Exchange> {
        std::mem::take(&mut self.out)
    }

    /// The only exchange since the last look.
    fn only(&mut self) -> Exchange {
        let mut exchanges = self.exchanges();
        assert_eq!(exchanges.len(), 1, "{exchanges:#?} {:?}", self.losses());
        exchanges.remove(0)
    }

    fn losses(&self) -> Vec<(Loss, u64)> {
        self.tracker.counts().iter().filter(|&(_, count)| count > 0).collect()
    }
}

/// What an exchange says in short: method, path, status, end.
fn brief(exchange: &Exchange) -> (&str, Option<&str>, Option<u16>, End) {
    (&exchange.method, exchange.path.as_deref(), exchange.status, exchange.end)
}

fn briefs(exchanges: &[Exchange]) -> Vec<String> {
    exchanges
        .iter()
        .map(|exchange| {
            let (method, path, status, end) = brief(exchange);
            format!("{method} {} {} {end:?}", path.unwrap_or("?"), status.unwrap_or(0))
        })
        .collect()
}

/// First and last bytes of request and response, and the end, in milliseconds.
fn times(exchange: &Exchange) -> [u64; 5] {
    let response = exchange.response.unwrap_or_default();
    let times = [
        exchange.request.first_ns,
        exchange.request.last_ns,
        response.first_ns,
        response.last_ns,
        exchange.end_ns,
    ];
    times.map(|time| time / MS)
}

fn body_bytes(exchange: &Exchange) -> (Option<u64>, Option<u64>) {
    (exchange.request.body_bytes, exchange.response.and_then(|response| response.body_bytes))
}

const GET: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

fn answer(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn config() -> TrackerConfig {
    TrackerConfig { pair_timeout: Duration::from_secs(60), ..TrackerConfig::default() }
}
