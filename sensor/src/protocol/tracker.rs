//! All connections of the host.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use super::{
    Close, Connection, Event, Exchange, Head, Loss, LossCounts, Progress, Signal,
    http1::{Class, Context, Http1, Limits},
    http2,
    table::Table,
};

/// What a [`Tracker`] keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackerConfig {
    /// The most connections of which anything is known. Beyond, the one that was longest without an event is
    /// forgotten: first one on which nothing waits, then an upgraded or desynchronized one
    /// ([`Loss::ForgottenConnection`]), then one on which requests wait ([`Loss::EvictedConnection`]).
    pub max_connections: usize,
    /// The most connections on which nothing waits. They are kept because what is known of them shows losses,
    /// and are forgotten without one.
    pub max_idle_connections: usize,
    /// The most requests that wait on one connection; more are [`Loss::PipelineOverflow`].
    pub max_pending_per_connection: usize,
    /// After so long without a byte on a connection where requests wait, they are [`Loss::PairTimeout`].
    /// Long polls and server-sent events may be silent for minutes, and common proxies cut them after one to
    /// ten, so the default is 15 minutes.
    pub pair_timeout: Duration,
    /// Bytes of a head that are gathered from several operations; what the kernel captures of a head.
    pub head_limit: usize,
    /// Whether [`Tracker::signals`] tells of requests while they are open, which costs as much as the pairing.
    pub has_signals: bool,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        Self {
            max_connections: 65_536,
            max_idle_connections: 4_096,
            max_pending_per_connection: 128,
            pair_timeout: Duration::from_secs(15 * 60),
            head_limit: sensor_common::record::HEAD_DEFAULT as usize,
            has_signals: true,
        }
    }
}

/// Pairs requests and responses on all connections.
///
/// Events go in, exchanges come out; every other fate of a request is in [`Tracker::counts`]. The clock is the
/// caller's: `now_ns` is on the same clock as the events' times.
#[derive(Debug)]
pub struct Tracker {
    config: TrackerConfig,
    table: Table,
    questions: BinaryHeap<Reverse<Question>>,
    counts: LossCounts,
    signals: Vec<Signal>,
    http2: http2::Connections,
}

/// When to ask about which connection. Outdated ones are recognised by [`super::table::Entry::asking_ns`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Question {
    at_ns: u64,
    id: u64,
}

impl Tracker {
    /// A tracker that knows no connection.
    #[must_use]
    pub fn new(config: TrackerConfig) -> Self {
        Self {
            config,
            table: Table::new(),
            questions: BinaryHeap::new(),
            counts: LossCounts::default(),
            signals: Vec::new(),
            http2: http2::Connections::new(),
        }
    }

    /// Tells signals from now on; of requests that are open already it tells what comes after their start.
    pub fn tell_signals(&mut self) {
        self.config.has_signals = true;
    }

    /// Takes the next event; events of one connection must come in the order of the ring buffer.
    ///
    /// [`Event::Progress`] answers what [`Tracker::due`] asked. Best read the kernel's state first, then take all
    /// events that are in the ring buffer, and give the answer then: so it is not ahead of the events.
    pub fn on_event(&mut self, event: &Event<'_>, out: &mut Vec<Exchange>) {
        match event {
            Event::Head(head) => self.on_head(head, out),
            Event::Frames(record) => {
                let Self { config, http2, counts, signals, .. } = self;
                http2.on_frames(
                    record,
                    &mut http2::Context { out, losses: counts, signals, has_signals: config.has_signals },
                );
            }
            Event::Close(close) => self.on_close(close, out),
            Event::Progress(progress) => self.on_progress(progress, out),
        }
    }

    /// Fills `ask` with the connections whose state should be asked from the kernel now: those on which a
    /// request or the end of a response is waited for, 50 ms after that began and then after twice as long each
    /// time, up to 5 s.
    pub fn due(&mut self, now_ns: u64, ask: &mut Vec<Connection>) {
        while let Some(&Reverse(question)) = self.questions.peek()
            && question.at_ns <= now_ns
        {
            self.questions.pop();
            let Some(slot) = self.table.find(question.id) else { continue };
            let is_active = self.is_active(slot);
            let Some(entry) = self.table.get_mut(slot) else { continue };
            if entry.asking_ns != Some(question.at_ns) {
                continue;
            }
            entry.asking_ns = None;
            if is_active && entry.http.ask_at_ns() <= now_ns {
                entry.http.asked(now_ns);
                ask.push(entry.http.connection());
            }
            self.schedule(slot);
        }
    }

    /// Gives up requests on connections where nothing moved for [`TrackerConfig::pair_timeout`].
    pub fn expire(&mut self, now_ns: u64, out: &mut Vec<Exchange>) {
        let timeout = u64::try_from(self.config.pair_timeout.as_nanos()).unwrap_or(u64::MAX);
        while let Some(slot) = self.table.oldest(Class::Active)
            && let Some(entry) = self.table.get_mut(slot)
            && entry.touched_ns.saturating_add(timeout) <= now_ns
        {
            let mut context = context(&self.config, out, &mut self.counts, &mut self.signals);
            entry.http.give_up(Loss::PairTimeout, &mut context);
            self.settle(slot, out);
        }
        let Self { config, http2, counts, signals, .. } = self;
        http2.drop_late(
            now_ns,
            &mut http2::Context { out, losses: counts, signals, has_signals: config.has_signals },
        );
        if let Some(before_ns) = now_ns.checked_sub(timeout) {
            http2.expire(
                before_ns,
                Loss::PairTimeout,
                &mut http2::Context { out, losses: counts, signals, has_signals: config.has_signals },
            );
        }
    }

    /// Ends all: tells what is known to be complete, counts every other request as [`Loss::Shutdown`], and
    /// forgets all connections.
    pub fn finish(&mut self, _now_ns: u64, out: &mut Vec<Exchange>) {
        while let Some(slot) = self.table.oldest(Class::Active) {
            let Some(mut entry) = self.table.remove(slot) else { break };
            entry.http.shut_down(&mut context(&self.config, out, &mut self.counts, &mut self.signals));
        }
        let Self { config, http2, counts, signals, .. } = self;
        http2.expire(
            u64::MAX,
            Loss::Shutdown,
            &mut http2::Context { out, losses: counts, signals, has_signals: config.has_signals },
        );
        *http2 = http2::Connections::new();
        self.table = Table::new();
        self.questions.clear();
    }

    /// Connections of which something is known.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.table.len() + self.http2.len()
    }

    /// What was lost, by cause, since the tracker was made.
    #[must_use]
    pub fn counts(&self) -> &LossCounts {
        &self.counts
    }

    /// Hands over what happened since the last time. Take it after each round of events: it is kept until then.
    pub fn signals(&mut self) -> std::vec::Drain<'_, Signal> {
        self.signals.drain(..)
    }

    fn on_head(&mut self, head: &Head<'_>, out: &mut Vec<Exchange>) {
        let mut context = context(&self.config, out, &mut self.counts, &mut self.signals);
        if let Some(slot) = self.table.find(head.connection.id) {
            let mut handed_over = None;
            if let Some(entry) = self.table.get_mut(slot) {
                entry.http.on_head(head, &mut context);
                entry.touched_ns = entry.touched_ns.max(head.time_ns);
                handed_over = entry.http.handed_over();
            }
            if let Some(request) = handed_over {
                let Self { config, http2, counts, signals, .. } = self;
                http2.hand_over(
                    *request,
                    &mut http2::Context { out, losses: counts, signals, has_signals: config.has_signals },
                );
            }
            self.settle(slot, out);
        } else if !head.continuation {
            // (What continues a head that is not known is of no use; its loss was counted where it happened.)
            let mut http = Http1::new(head);
            http.on_head(head, &mut context);
            if http.class() != Class::Blank {
                let slot = self.table.insert(head.connection.id, http, head.time_ns);
                self.schedule(slot);
                self.make_room(out);
            }
        }
    }

    fn on_close(&mut self, close: &Close, out: &mut Vec<Exchange>) {
        if !close.end_of_file {
            let Self { config, http2, counts, signals, .. } = self;
            http2.on_close(
                close.connection.id,
                close.time_ns,
                &mut http2::Context { out, losses: counts, signals, has_signals: config.has_signals },
            );
        }
        let Some(slot) = self.table.find(close.connection.id) else { return };
        if let Some(entry) = self.table.get_mut(slot) {
            entry.http.on_close(close, &mut context(&self.config, out, &mut self.counts, &mut self.signals));
        }
        if close.end_of_file {
            self.settle(slot, out);
        } else {
            self.table.remove(slot);
        }
    }

    fn on_progress(&mut self, progress: &Progress, out: &mut Vec<Exchange>) {
        let Some(slot) = self.table.find(progress.connection.id) else { return };
        let Some(entry) = self.table.get_mut(slot) else { return };
        let mut context = context(&self.config, out, &mut self.counts, &mut self.signals);
        if !entry.http.on_progress(progress.streams, &mut context) {
            self.table.remove(slot);
            return;
        }
        let moved_ns = progress.streams.map_or(0, |(received, sent)| received.last_ns.max(sent.last_ns));
        let is_same_class = entry.http.class() == Class::Active;
        if moved_ns > entry.touched_ns || !is_same_class {
            entry.touched_ns = entry.touched_ns.max(moved_ns);
            self.settle(slot, out);
        } else {
            self.schedule(slot);
        }
    }

    /// Puts a connection where its state belongs, or removes it.
    fn settle(&mut self, slot: u32, out: &mut Vec<Exchange>) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        if entry.http.class() == Class::Blank {
            self.table.remove(slot);
            return;
        }
        self.table.touch(slot);
        self.schedule(slot);
        self.make_room(out);
    }

    /// Notes when to ask, unless an earlier note will lead there.
    fn schedule(&mut self, slot: u32) {
        if !self.is_active(slot) {
            return;
        }
        let Some(entry) = self.table.get_mut(slot) else { return };
        let at_ns = entry.http.ask_at_ns();
        if entry.asking_ns.is_none_or(|noted| at_ns < noted) {
            entry.asking_ns = Some(at_ns);
            self.questions.push(Reverse(Question { at_ns, id: entry.id }));
        }
    }

    fn is_active(&mut self, slot: u32) -> bool {
        self.table.get_mut(slot).is_some_and(|entry| entry.http.class() == Class::Active)
    }

    /// Forgets connections until the limits hold.
    fn make_room(&mut self, out: &mut Vec<Exchange>) {
        while self.table.len_of(Class::Idle) > self.config.max_idle_connections
            || self.table.len() > self.config.max_connections
        {
            let oldest = [Class::Idle, Class::Kept, Class::Active]
                .into_iter()
                .find_map(|class| self.table.oldest(class).map(|slot| (class, slot)));
            let Some((class, slot)) = oldest else { return };
            let Some(mut entry) = self.table.remove(slot) else { return };
            match class {
                Class::Kept => self.counts.add(Loss::ForgottenConnection),
                Class::Active => {
                    let mut context = context(&self.config, out, &mut self.counts, &mut self.signals);
                    entry.http.give_up(Loss::EvictedConnection, &mut context);
                }
                Class::Idle | Class::Blank => {}
            }
        }
    }
}

fn context<'a>(
    config: &TrackerConfig,
    out: &'a mut Vec<Exchange>,
    losses: &'a mut LossCounts,
    signals: &'a mut Vec<Signal>,
) -> Context<'a> {
    let limits = Limits {
        head: config.head_limit,
        pending: config.max_pending_per_connection,
        has_signals: config.has_signals,
    };
    Context { limits, out, losses, signals }
}
