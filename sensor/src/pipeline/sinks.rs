//! What a person sees of the exchanges: a live table, lines, or spans.

use std::time::{Duration, Instant};

use crate::{
    cli::{
        lines::{INTERVAL, Lines},
        output::{Output, Size},
        table::{Header, Table, render},
    },
    identity::Observed,
    rpc::Names,
    ship,
    trace::{self, Batch, ObservedHandshake, WallClock},
};

/// How long the reader of standard output may take for the last of it.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often the offset between the monotonic clock and the wall clock is looked at.
const CLOCK_INTERVAL: Duration = Duration::from_secs(10);

/// Standard output, in one of its forms.
pub struct Sinks {
    output: Output,
    form: Form,
    ship: Option<ship::traces::Sink>,
}

enum Form {
    Nothing,
    Table { table: Box<Table>, header: Header },
    Lines { lines: Box<Lines>, flushed: Instant },
    Spans { clock: WallClock, sampled: Instant, names: Names, batch: Batch },
}

impl Sinks {
    /// A table that is drawn anew each second.
    #[must_use]
    pub fn table(output: Output, kernel: String, route: &'static str) -> Self {
        let header = Header { kernel, route: route.to_owned(), lost: 0 };
        Self { output, form: Form::Table { table: Box::new(Table::new(Instant::now())), header }, ship: None }
    }

    /// A line a service every ten seconds.
    #[must_use]
    pub fn lines(output: Output) -> Self {
        let now = Instant::now();
        Self { output, form: Form::Lines { lines: Box::new(Lines::new(now)), flushed: now }, ship: None }
    }

    /// Nothing of them.
    #[must_use]
    pub fn nothing(output: Output) -> Self {
        Self { output, form: Form::Nothing, ship: None }
    }

    /// Spans as OTLP JSON lines, with these names of gRPC calls.
    #[must_use]
    pub fn spans(output: Output, names: Names) -> Self {
        let clock = WallClock::sample();
        Self {
            output,
            form: Form::Spans { clock, sampled: Instant::now(), names, batch: Batch::default() },
            ship: None,
        }
    }

    /// Sends spans as well.
    #[must_use]
    pub fn shipping(self, sink: ship::traces::Sink) -> Self {
        Self { ship: Some(sink), ..self }
    }

    /// Whether spans go anywhere, so that it matters which trace each belongs to.
    #[must_use]
    pub fn wants_spans(&self) -> bool {
        matches!(self.form, Form::Spans { .. }) || self.ship.as_ref().is_some_and(ship::traces::Sink::is_open)
    }

    /// Lines or frames that standard output did not take in time.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.output.dropped()
    }

    /// Whether the reader of standard output is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.output.is_closed()
    }

    pub(super) fn take(&mut self, observed: &[Observed]) {
        if let Some(sink) = &mut self.ship {
            sink.take(observed);
        }
        match &mut self.form {
            Form::Nothing => {}
            Form::Table { table, .. } => observed.iter().for_each(|observed| table.record(observed)),
            Form::Lines { lines, .. } => observed.iter().for_each(|observed| lines.record(observed)),
            Form::Spans { clock, names, batch, .. } => {
                for observed in observed {
                    batch.push(observed, trace::span(observed, *clock, *names));
                }
                print(batch, &mut self.output);
            }
        }
    }

    pub(super) fn take_handshakes(&mut self, observed: &[ObservedHandshake]) {
        if let Some(sink) = &mut self.ship {
            sink.take_handshakes(observed);
        }
        if let Form::Spans { clock, batch, .. } = &mut self.form {
            for observed in observed {
                batch.push_handshake(observed, trace::handshake_span(observed, *clock));
            }
            print(batch, &mut self.output);
        }
    }

    pub(super) fn second(&mut self, lost: u64) {
        if let Some(sink) = &mut self.ship {
            sink.second();
        }
        let now = Instant::now();
        match &mut self.form {
            Form::Nothing => {}
            Form::Table { table, header } => {
                table.turn(now);
                header.lost = lost;
                let size = Size::of_terminal().frame();
                self.output.frame(render(header, &table.rows(), size.columns, size.rows));
            }
            Form::Lines { lines, flushed } => {
                if now.duration_since(*flushed) >= INTERVAL {
                    *flushed = now;
                    self.output.lines(lines.flush(now));
                }
            }
            Form::Spans { clock, sampled, .. } => {
                if now.duration_since(*sampled) >= CLOCK_INTERVAL {
                    *sampled = now;
                    *clock = WallClock::sample();
                }
            }
        }
    }

    pub(super) fn finish(mut self, lost: u64) {
        if let Some(sink) = &mut self.ship {
            sink.second();
        }
        if let Form::Lines { lines, .. } = &mut self.form {
            self.output.lines(lines.flush(Instant::now()));
        } else {
            self.second(lost);
        }
        if !self.output.finish(LAST_WORDS) {
            tracing::warn!("standard output did not take the last lines in time");
        }
    }
}

/// Prints the spans of a batch.
fn print(batch: &mut Batch, output: &mut Output) {
    let Some(data) = batch.take() else { return };
    match trace::json_line(&data) {
        Ok(line) => output.lines(line + "\n"),
        Err(error) => tracing::error!("cannot print spans: {error}"),
    }
}
