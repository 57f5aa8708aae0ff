//! The way of the data through the daemon: one task takes records from the capture, pairs them, names them and
//! hands the exchanges on.

mod flows;
mod handshakes;
mod own;
mod pace;
mod sinks;
mod targets;
mod waiting;

use std::sync::Arc;
use std::time::Instant;

use flows::Flows;
use handshakes::Handshakes;
pub use own::Own;
pub use pace::Pace;
pub use sinks::Sinks;
use targets::Targets;
use waiting::Waiting;

use crate::{
    capture::{Capture, Drained, Record},
    config::Config,
    identity::{Identity, Kubernetes, Observed, Processes, kubernetes::Report},
    log,
    mask::{Clean, Masker},
    metric::Shared,
    protocol::{
        Connection, Event, Exchange, OTHER_ROUTE, Progress, RouteLimiter, Signal, Tracker, TrackerConfig,
    },
    trace::Joiner,
};

/// The most records taken in one turn, so that signals and timers are never starved.
const RECORDS_A_TURN: usize = 16_384;
/// Records that are taken before their exchanges are handed on: what few records make is still in the processor's
/// cache then, and the allocator's too.
const RECORDS_AT_ONCE: usize = 64;
/// The most turns at the end, for what the ring buffer still holds.
const LAST_TURNS: usize = 64;

/// Everything between the capture and what leaves.
pub struct Pipeline {
    capture: Capture,
    tracker: Tracker,
    processes: Processes,
    targets: Targets,
    routes: RouteLimiter,
    registry: Shared,
    sinks: Sinks,
    own: Own,
    masker: Arc<Masker>,
    clean: Clean,
    flows: Option<Flows>,
    handshakes: Handshakes,
    exchanges: Vec<Exchange>,
    observed: Vec<Observed>,
    ask: Vec<Connection>,
    answers: Vec<Progress>,
    requests: log::Requests,
    logs: Option<log::Reader>,
    waiting: Waiting,
    /// Told once a second.
    kubernetes: Option<Report>,
}

/// What one turn found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turn {
    /// Records taken.
    pub records: usize,
    /// Whether more waits.
    pub more: bool,
}

impl Pipeline {
    /// Puts the parts together and makes the processes that run now targets, where only some are.
    pub fn new(
        mut capture: Capture,
        config: &Config,
        registry: Shared,
        sinks: Sinks,
        masker: Arc<Masker>,
        kubernetes: Option<&Kubernetes>,
    ) -> Self {
        let directory = kubernetes.map(Kubernetes::directory);
        let mut processes = Processes::with(directory.clone());
        let targets = Targets::new(config, &mut capture, &mut processes);
        let flows =
            Flows::start(config, &mut capture, &mut processes, &targets, &registry, Arc::clone(&masker));
        Self {
            capture,
            tracker: Tracker::new(TrackerConfig {
                max_connections: config.http.max_connections,
                pair_timeout: config.http.pair_timeout,
                head_limit: config.capture.head_bytes as usize,
                has_signals: sinks.wants_spans() || config.follows_logs(),
                ..TrackerConfig::default()
            }),
            processes,
            requests: log::Requests::default(),
            targets,
            routes: RouteLimiter::new(config.http.max_routes),
            registry,
            sinks,
            own: Own::default(),
            masker,
            clean: Clean::default(),
            flows,
            handshakes: Handshakes::new(&config.flow.tls),
            exchanges: Vec::new(),
            observed: Vec::new(),
            ask: Vec::new(),
            answers: Vec::new(),
            logs: None,
            waiting: Waiting::new(directory),
            kubernetes: kubernetes.map(Kubernetes::report),
        }
    }

    /// What log records are told of the requests in whose course they were written.
    #[must_use]
    pub fn requests(&self) -> log::Requests {
        self.requests.clone()
    }

    /// Ends the reader of logs with the pipeline.
    pub fn serve_logs(&mut self, logs: log::Reader) {
        self.logs = Some(logs);
    }

    /// The capture, for waiting on it.
    #[must_use]
    pub fn capture(&self) -> &Capture {
        &self.capture
    }

    /// Whether the reader of standard output is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.sinks.is_closed() || self.logs.as_ref().is_some_and(log::Reader::is_closed)
    }

    /// Takes what waits. Answers to the tracker's questions are read before the records and given after them, so that
    /// no answer is newer than what the records tell.
    pub fn turn(&mut self, now_ns: u64) -> Turn {
        if self.answers.is_empty() {
            self.ask.clear();
            self.tracker.due(now_ns, &mut self.ask);
            self.answers.extend(self.ask.iter().map(|connection| self.capture.progress(*connection)));
        }
        let mut turn = Turn::default();
        let mut bytes = 0;
        loop {
            let drained = self.drain();
            bytes += drained.bytes;
            turn.records += drained.records;
            let is_empty = drained.records < RECORDS_AT_ONCE;
            if is_empty {
                self.requests.told(now_ns);
                // Until then the answers wait, for the records they may be ahead of.
                for answer in self.answers.drain(..) {
                    self.tracker.on_event(&Event::Progress(answer), &mut self.exchanges);
                }
            }
            // First what is told of connections: exchanges are named by it.
            if let Self { capture, processes, targets, registry, flows: Some(flows), .. } = self {
                let records = flows.drain(RECORDS_A_TURN, capture, processes, targets, registry);
                turn.records += records;
                turn.more |= records == RECORDS_A_TURN;
            }
            self.deliver();
            if is_empty {
                break;
            }
            if turn.records >= RECORDS_A_TURN {
                turn.more = true;
                break;
            }
        }
        self.targets.turn(&mut self.processes, &mut self.capture);
        self.own.drained(bytes, self.capture.ring_bytes());
        turn
    }

    /// What is due once a second: time-outs, the sensor's own metrics, the terminal.
    pub fn second(&mut self, now_ns: u64) {
        // A receiver of spans can come while the sensor runs.
        if self.sinks.wants_spans() {
            self.tracker.tell_signals();
        }
        self.tracker.expire(now_ns, &mut self.exchanges);
        self.deliver();
        if let Self { capture, processes, targets, registry, flows: Some(flows), .. } = self {
            flows.second(now_ns, capture, processes, targets, registry);
        }
        let (handshakes, mut around) = self.handshakes();
        handshakes.second(now_ns, &mut around);
        self.requests.joiner().second(now_ns);
        self.capture.forget_silent(now_ns);
        self.own.update(
            &self.capture,
            &self.tracker,
            &self.requests.joiner(),
            &self.routes,
            &self.sinks,
            &self.registry,
        );
        Own::masked(&self.masker, &self.registry);
        self.measure();
        self.sinks.second(self.own.lost());
    }

    /// Takes all that the kernel has seen until now, tells what can be told, and ends the output.
    pub fn finish(mut self, now_ns: u64) {
        for _ in 0..LAST_TURNS {
            if !self.turn(now_ns).more {
                break;
            }
        }
        // No record has to wait for a request any more.
        self.requests.told(u64::MAX);
        if let Some(logs) = self.logs.take() {
            logs.finish();
        }
        self.ask.clear();
        self.tracker.finish(now_ns, &mut self.exchanges);
        self.waiting.give_up();
        self.deliver();
        let (handshakes, mut around) = self.handshakes();
        handshakes.finish(&mut around);
        self.measure();
        self.own.update(
            &self.capture,
            &self.tracker,
            &self.requests.joiner(),
            &self.routes,
            &self.sinks,
            &self.registry,
        );
        Own::masked(&self.masker, &self.registry);
        self.sinks.finish(self.own.lost());
    }

    /// Takes a few of the records that wait.
    fn drain(&mut self) -> Drained {
        let Self { capture, tracker, processes, requests, targets, exchanges, own, handshakes, .. } = self;
        let joiner = &mut *requests.joiner();
        let mut started = Vec::new();
        let drained = capture.drain(RECORDS_AT_ONCE, |record| match record {
            Record::Tls(head) => {
                own.tls();
                handshakes.on_head(head);
            }
            Record::Event(event) => {
                own.event(event);
                if let Event::Close(close) = event {
                    handshakes.on_close(close);
                }
                tracker.on_event(event, exchanges);
                join(tracker, joiner, processes, targets);
            }
            // The capture keeps it, and puts it into the events.
            Record::Path { .. } => {}
            &Record::Exec { tgid, cgroup, executable, arguments } => {
                own.process();
                joiner.process_started(tgid);
                processes.exec(tgid, cgroup, executable, arguments);
                started.push(tgid);
            }
            &Record::Fork { child, parent, is_followed } => {
                own.process();
                joiner.process_started(child);
                let is_known = processes.fork(child, parent).is_some();
                if is_followed {
                    targets.inherited(child, parent);
                } else if is_known {
                    started.push(child);
                }
            }
        });
        for tgid in started {
            targets.started(tgid, processes, capture);
        }
        drained
    }

    /// Names the exchanges and hands them on.
    fn deliver(&mut self) {
        join(&mut self.tracker, &mut self.requests.joiner(), &mut self.processes, &self.targets);
        let (handshakes, mut around) = self.handshakes();
        handshakes.deliver(&mut around);
        let now = Instant::now();
        for (named, identity) in self.waiting.ready(&mut self.processes, now) {
            self.observe(named, identity);
        }
        let mut exchanges = std::mem::take(&mut self.exchanges);
        for exchange in exchanges.drain(..) {
            self.name(exchange, now);
        }
        self.exchanges = exchanges;
        if self.observed.is_empty() {
            return;
        }
        {
            let mut registry = self.registry.lock();
            self.waiting.measure(registry.own());
            for observed in &self.observed {
                registry.record(observed);
            }
            if let Some(flows) = &mut self.flows {
                flows.exchanges(&self.observed, &mut self.processes, &self.targets, registry.graph());
            }
        }
        self.sinks.take(&self.observed);
        self.observed.clear();
    }
}

impl Pipeline {
    /// The handshakes, and what they are told with.
    fn handshakes(&mut self) -> (&mut Handshakes, handshakes::Around<'_>) {
        let Self { handshakes, processes, targets, masker, registry, requests, sinks, flows, .. } = self;
        let spans = sinks.wants_spans().then_some((&*requests, sinks));
        let flows = flows.as_mut();
        (handshakes, handshakes::Around { processes, targets, masker, flows, spans, registry })
    }

    /// Names an exchange, or lets it wait for its name.
    fn name(&mut self, mut exchange: Exchange, now: Instant) {
        self.masker.exchange(&mut exchange, &mut self.clean);
        let span = self.requests.joiner().take(exchange.key());
        let process = self.processes.get(exchange.task.tgid, exchange.task.comm);
        let named = waiting::Named { exchange, span, process };
        if let Some((named, identity)) = self.waiting.take(named, &mut self.processes, now) {
            self.observe(named, identity);
        }
    }

    fn observe(&mut self, named: waiting::Named, identity: Identity) {
        let waiting::Named { exchange, span, process } = named;
        let Identity { service_name, container } = identity;
        let is_excluded = self.targets.is_excluded(&process.name) || self.targets.is_excluded(&service_name);
        if is_excluded || container.as_ref().is_some_and(|container| !container.wanted.http) {
            return;
        }
        let route = match &exchange.path {
            Some(path) => self.routes.route(&service_name, path),
            // HTTP/1: cut. HTTP/2: not known, and counted.
            None if exchange.version == "2" => Arc::from(OTHER_ROUTE),
            None => Arc::from(""),
        };
        self.observed.push(Observed { exchange, service_name, container, route, span });
    }

    /// What is known of the cluster, and what waited for it.
    fn measure(&mut self) {
        let Some(kubernetes) = &self.kubernetes else { return };
        let mut registry = self.registry.lock();
        kubernetes.measure(registry.own());
        self.waiting.measure(registry.own());
    }
}

/// Lets the joiner know what happened, but for processes whose exchanges are left alone: their spans are nobody's parent.
fn join(tracker: &mut Tracker, joiner: &mut Joiner, processes: &mut Processes, targets: &Targets) {
    for signal in tracker.signals() {
        let is_excluded = match &signal {
            Signal::Started(started) if targets.excludes() => {
                targets.is_excluded(&processes.name(started.task.tgid, started.task.comm))
            }
            _ => false,
        };
        if !is_excluded {
            joiner.on_signal(&signal);
        }
    }
}
