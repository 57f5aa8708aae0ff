//! The live table on a terminal: the last ten seconds, a line for each service, role and route.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::{Equivalent, HashMap};

use super::display::{bytes, column, duration, percent, printable, rate};
use super::stats::Stats;
use crate::identity::Observed;
use crate::protocol::Role;
use crate::semantic;

/// How many turns (see [`Table::turn`]) the table looks back; with one a second, ten seconds.
pub const TURNS: usize = 10;
/// Rows kept in one turn; further ones become the row [`OTHER`].
pub const ROWS_MAX: usize = 200;
/// Service and route of the row for what found no room.
pub const OTHER: &str = "other";

/// The narrowest and widest column of service names.
const SERVICE: (usize, usize) = (7, 24);
const ROLE: usize = 6;
/// Titles and widths of the numbers, which stand to the right.
const NUMBERS: [(&str, usize); 7] =
    [("REQ/S", 7), ("P50", 6), ("P95", 6), ("P99", 6), ("ERR", 5), ("IN/S", 5), ("OUT/S", 5)];

/// What the first line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The kernel's release.
    pub kernel: String,
    /// The way into the kernel.
    pub route: String,
    /// Events lost so far, for whatever cause.
    pub lost: u64,
}

/// The exchanges of the last turns.
pub struct Table {
    past: VecDeque<Turn>,
    current: HashMap<Key, Stats>,
    since: Instant,
}

struct Turn {
    took: Duration,
    rows: HashMap<Key, Stats>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    service: Arc<str>,
    role: Role,
    route: Arc<str>,
}

/// A [`Key`] for a look-up; it hashes like one.
#[derive(Hash)]
struct KeyRef<'a> {
    service: &'a str,
    role: Role,
    route: &'a str,
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.role == key.role && *self.service == *key.service && *self.route == *key.route
    }
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// The service.
    pub service: Arc<str>,
    /// Its role.
    pub role: Role,
    /// The route.
    pub route: Arc<str>,
    /// What was counted.
    pub stats: Stats,
    /// Over which time.
    pub window: Duration,
}

impl Row {
    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.window.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl Table {
    /// An empty table; its first turn starts at `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { past: VecDeque::with_capacity(TURNS), current: HashMap::new(), since: now }
    }

    /// Counts an exchange in the current turn.
    pub fn record(&mut self, observed: &Observed) {
        let exchange = &observed.exchange;
        let key = KeyRef { service: &observed.service_name, role: exchange.role, route: &observed.route };
        if let Some(stats) = self.current.get_mut(&key) {
            return stats.record(exchange);
        }
        let key = if self.current.len() < ROWS_MAX {
            Key {
                service: Arc::clone(&observed.service_name),
                role: exchange.role,
                route: Arc::clone(&observed.route),
            }
        } else {
            Key { service: OTHER.into(), role: exchange.role, route: OTHER.into() }
        };
        self.current.entry(key).or_default().record(exchange);
    }

    /// Ends the current turn; call it before drawing, once a second.
    pub fn turn(&mut self, now: Instant) {
        let rows = std::mem::take(&mut self.current);
        let took = now.saturating_duration_since(self.since);
        self.since = now;
        if self.past.len() == TURNS {
            self.past.pop_front();
        }
        self.past.push_back(Turn { took, rows });
    }

    /// The rows of the turns that have ended, the busiest first.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let window = self.past.iter().map(|turn| turn.took).sum();
        let mut merged: HashMap<&Key, Stats> = HashMap::new();
        for (key, stats) in self.past.iter().flat_map(|turn| &turn.rows) {
            merged.entry(key).or_default().add(stats);
        }
        let mut rows: Vec<(&Key, Stats)> = merged.into_iter().collect();
        rows.sort_unstable_by(|(a, x), (b, y)| y.requests.cmp(&x.requests).then_with(|| a.cmp(b)));
        rows.into_iter()
            .map(|(key, stats)| Row {
                service: Arc::clone(&key.service),
                role: key.role,
                route: Arc::clone(&key.route),
                stats,
                window,
            })
            .collect()
    }
}

/// The table as text: at most `height` lines of at most `width` columns, each with a line feed.
#[must_use]
pub fn render(header: &Header, rows: &[Row], width: usize, height: usize) -> String {
    let mut lines = vec![headline(header, rows)];
    if rows.is_empty() {
        lines.push("no HTTP exchange in the last seconds".to_owned());
    } else {
        let room = height.saturating_sub(2).max(1);
        let shown = if rows.len() > room { room.saturating_sub(1).max(1) } else { rows.len() };
        let (shown, hidden) = rows.split_at(shown);
        let layout = Layout::new(shown, width);
        lines.push(layout.titles());
        lines.extend(shown.iter().map(|row| layout.row(row)));
        if !hidden.is_empty() {
            lines.push(format!("+{} more", hidden.len()));
        }
    }
    lines.truncate(height.max(1));
    lines.iter().fold(String::new(), |mut text, line| {
        text.push_str(line.get(..width).unwrap_or(line).trim_end());
        text.push('\n');
        text
    })
}

fn headline(header: &Header, rows: &[Row]) -> String {
    let total = rows.iter().fold(0.0, |total, row| total + row.per_second(row.stats.requests));
    format!(
        "sensor  kernel {}  route {}  {} req/s  events lost {}",
        printable(&header.kernel),
        printable(&header.route),
        rate(total),
        header.lost
    )
}

/// How wide the columns are.
struct Layout {
    service: usize,
    route: usize,
}

impl Layout {
    fn new(rows: &[Row], width: usize) -> Self {
        let longest =
            |name: fn(&Row) -> &str| rows.iter().map(|row| printable(name(row)).len()).max().unwrap_or(0);
        let numbers: usize = NUMBERS.iter().map(|(_, width)| width + 1).sum();
        // One column apart, each.
        let room = width.saturating_sub(numbers + ROLE + 2);
        let service = longest(|row| &row.service).clamp(SERVICE.0, SERVICE.1).min(room / 2);
        let route = longest(|row| &row.route).max("ROUTE".len()).min(room.saturating_sub(service));
        Self { service, route }
    }

    fn names(&self, service: &str, role: &str, route: &str) -> String {
        let (service, route) = (column(service, self.service), column(route, self.route));
        format!("{service} {} {route}", column(role, ROLE))
    }

    fn titles(&self) -> String {
        let mut line = self.names("SERVICE", "ROLE", "ROUTE");
        numbers(&mut line, NUMBERS.map(|(title, _)| title.to_owned()));
        line
    }

    fn row(&self, row: &Row) -> String {
        let role = semantic::role_name(row.role);
        let mut line = self.names(&printable(&row.service), role, &printable(&row.route));
        let stats = &row.stats;
        let cells = [
            rate(row.per_second(stats.requests)),
            duration(stats.quantile(0.5)),
            duration(stats.quantile(0.95)),
            duration(stats.quantile(0.99)),
            percent(stats.error_share()),
            bytes(row.per_second(stats.received)),
            bytes(row.per_second(stats.sent)),
        ];
        numbers(&mut line, cells);
        line
    }
}

fn numbers(line: &mut String, cells: [String; NUMBERS.len()]) {
    for (cell, (_, width)) in cells.iter().zip(NUMBERS) {
        // Writing to a string does not fail.
        let _ = write!(line, " {cell:>width$}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::fixture::{exchange, observed};
    use crate::protocol::Exchange;

    fn header() -> Header {
        Header { kernel: "6.18.1".to_owned(), route: "socket".to_owned(), lost: 3 }
    }

    fn of(service: &str, route: &str, exchange: Exchange) -> Observed {
        Observed { service_name: service.into(), route: route.into(), ..observed(exchange) }
    }

    fn table(now: Instant) -> Table {
        let mut table = Table::new(now);
        for count in 0..30 {
            let status = Some(if count % 10 == 0 { 500 } else { 200 });
            table.record(&of("nginx", "/items/{id}", Exchange { status, ..exchange() }));
        }
        table.record(&of("shop", "/", Exchange { role: Role::Client, ..exchange() }));
        table
    }

    #[test]
    fn the_table_is_drawn() {
        let now = Instant::now();
        let mut table = table(now);
        table.turn(now + Duration::from_secs(2));
        let expected = "\
sensor  kernel 6.18.1  route socket  15.5 req/s  events lost 3
SERVICE ROLE   ROUTE         REQ/S    P50    P95    P99   ERR  IN/S OUT/S
nginx   server /items/{id}    15.0 6.00ms 6.00ms 6.00ms 10.0%  1.2K  9.3K
shop    client /               0.5 6.00ms 6.00ms 6.00ms  0.0%   316    40
";
        assert_eq!(render(&header(), &table.rows(), 100, 24), expected);
    }

    #[test]
    fn nothing_is_said_to_be_nothing() {
        let expected = "\
sensor  kernel 6.18.1  route socket  0.0 req/s  events lost 3
no HTTP exchange in the last seconds
";
        assert_eq!(render(&header(), &[], 80, 24), expected);
    }

    #[test]
    fn a_turn_that_is_over_is_forgotten() {
        let mut now = Instant::now();
        let mut table = table(now);
        for turn in 1..=TURNS {
            now += Duration::from_secs(1);
            table.turn(now);
            assert_eq!(table.rows().len(), 2, "turn {turn}");
        }
        assert_eq!(table.rows()[0].window, Duration::from_secs(10));
        table.turn(now + Duration::from_secs(1));
        assert!(table.rows().is_empty());
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let now = Instant::now();
        let mut table = Table::new(now);
        for route in 0..30 {
            table.record(&of("shop", &format!("/{route:02}"), exchange()));
        }
        table.turn(now + Duration::from_secs(1));
        let rows = table.rows();
        let text = render(&header(), &rows, 80, 10);
        assert_eq!(text.lines().count(), 10);
        assert!(text.ends_with("+23 more\n"), "{text}");
        let text = render(&header(), &rows, 80, 32);
        assert_eq!(text.lines().count(), 32);
        assert!(!text.contains("more"), "{text}");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let now = Instant::now();
        let mut table = Table::new(now);
        table.record(&of(&"s".repeat(90), &format!("/{}", "r".repeat(300)), exchange()));
        table.record(&of("a\u{1b}[31m\u{e9}", "/\n", exchange()));
        table.turn(now + Duration::from_secs(1));
        for width in 0..200 {
            let text = render(&header(), &table.rows(), width, 24);
            assert!(text.lines().all(|line| line.len() <= width), "{width}:\n{text}");
            assert!(text.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{text}");
        }
        let text = render(&header(), &table.rows(), 80, 24);
        assert!(text.contains("a\\u{1b}[31"), "{text}");
    }

    #[test]
    fn rows_are_bounded() {
        let now = Instant::now();
        let mut table = Table::new(now);
        for route in 0..ROWS_MAX + 50 {
            table.record(&of("shop", &format!("/{route}"), exchange()));
        }
        table.turn(now + Duration::from_secs(1));
        let rows = table.rows();
        assert_eq!(rows.len(), ROWS_MAX + 1);
        assert_eq!((&*rows[0].service, rows[0].stats.requests), (OTHER, 50));
    }
}
