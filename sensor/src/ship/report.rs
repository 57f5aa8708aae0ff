//! What is told of the sending: as metrics, and on the status page.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use super::gate::Signal;
use super::shipper::{Receiver, Running, Shipper};
use super::spool::{Cause, Lost};
use super::stats::now_ms;
use crate::metric::worst::Worst;
use crate::metric::{Family, family};

/// A series of the sensor's own, and its value.
type Figure<'a> = (&'static Family, Vec<&'a str>, f64);

impl Shipper {
    /// Brings the metrics about sending up to date.
    pub fn report(&self) {
        let Some(running) = &self.running else { return };
        // Read before the registry is locked: who holds it waits for no disk, and for nobody who waits for it.
        let figures = self.figures(running);
        {
            let mut registry = self.registry.lock();
            let own = registry.own();
            figures.iter().for_each(|(known, labels, value)| own.set(known, labels, *value));
        }
        running.meters.iter().for_each(|(_, meter)| meter.save());
    }

    #[expect(clippy::cast_precision_loss, reason = "Prometheus values are 64-bit floats")]
    fn figures<'a>(&'a self, running: &'a Running) -> Vec<Figure<'a>> {
        let mut all: Vec<Figure<'a>> = Vec::new();
        let mut lost: Vec<(&str, &str, &str, u64)> = Vec::new();
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut seen: Vec<Signal> = Vec::new();
        for receiver in &running.receivers {
            let signal = receiver.signal.name();
            let labels = || vec![signal, receiver.name.as_str()];
            let (stats, spool) = (&receiver.stats, receiver.store.depth(receiver.reader));
            all.push((&family::SHIP_DELIVERED, labels(), get(&stats.delivered) as f64));
            all.push((&family::SHIP_REQUESTS, labels(), get(&stats.requests) as f64));
            all.push((&family::SHIP_RETRIES, labels(), get(&stats.retries) as f64));
            all.push((&family::SHIP_BYTES, labels(), get(&stats.bytes) as f64));
            all.push((&family::SHIP_WAITING, labels(), spool.waiting as f64));
            let name = receiver.name.as_str();
            lost.extend(lost_of(receiver, spool.lost).map(|(cause, count)| (signal, name, cause, count)));
            if !seen.contains(&receiver.signal) {
                seen.push(receiver.signal);
                all.push((&family::SHIP_SPOOL_BYTES, vec![signal], spool.bytes as f64));
                all.push((&family::SHIP_TORN, vec![signal], spool.torn as f64));
                let counts = receiver.store.counts();
                all.push((&family::SHIP_ACCEPTED, vec![signal], get(&counts.accepted) as f64));
                lost.extend(
                    self.lost_for_all(receiver).into_iter().map(|(cause, count)| (signal, "", cause, count)),
                );
            }
        }
        if seen.contains(&Signal::Traces) {
            all.push((&family::SHIP_TAIL_WAITING, vec![], self.outlet.waiting() as f64));
            all.push((&family::SHIP_UNSAMPLED, vec![], get(&self.spans.unsampled) as f64));
        }
        if seen.contains(&Signal::Logs) {
            all.push((&family::SHIP_CUT, vec![], get(&self.lines.cut) as f64));
        }
        all.extend(lost.into_iter().map(|(signal, receiver, cause, count)| {
            (&family::SHIP_LOST, vec![signal, receiver, cause], count as f64)
        }));
        for (signal, meter) in &running.meters {
            let (labels, shown) = (|| vec![signal.name()], meter.shown(now_ms() / 1_000));
            all.push((&family::SHIP_DAY_BYTES, labels(), shown.used as f64));
            all.push((&family::SHIP_DAY_LIMIT, labels(), shown.limit as f64));
            all.push((&family::SHIP_DAY_STAGE, labels(), f64::from(shown.stage.number())));
            all.extend(shown.month.map(|month| (&family::SHIP_MONTH_BYTES, labels(), month)));
        }
        if let Some(ticker) = &running.ticker {
            let collector = ticker.collector.lock().unwrap_or_else(PoisonError::into_inner);
            all.push((&family::SHIP_ACTIVE_SERIES, vec![], collector.active() as f64));
            let folded = collector.folded();
            all.extend(
                folded.map(|(metric, folded)| (&family::SHIP_SERIES_FOLDED, vec![metric], folded as f64)),
            );
        }
        all
    }

    /// What of a receiver's signal was lost before it waited for any receiver, by cause.
    fn lost_for_all(&self, receiver: &Receiver) -> Vec<(&'static str, u64)> {
        let counts = receiver.store.counts();
        let of_signal: &[(&str, &AtomicU64)] = match receiver.signal {
            Signal::Metrics => &[],
            Signal::Logs => &[("busy", &self.lines.busy), ("day_budget", &self.lines.over_budget)],
            Signal::Traces => &[
                ("busy", &self.spans.busy),
                ("day_budget", &self.spans.over_day),
                ("keep_budget", &self.spans.over_budget),
                ("tail_full", &self.spans.tail_full),
            ],
        };
        let of_disk = [("disk_full", &counts.disk_full), ("disk_error", &counts.disk_error)];
        let all = of_disk.iter().chain(of_signal);
        all.map(|(cause, count)| (*cause, count.load(Ordering::Relaxed))).collect()
    }

    /// What is sent, waiting and lost, for the status page.
    #[must_use]
    pub fn status(&self) -> serde_json::Value {
        let receivers = self.running.iter().flat_map(|running| &running.receivers).map(|receiver| {
            let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let (stats, last) = (&receiver.stats, receiver.stats.last());
            let spool = receiver.store.depth(receiver.reader);
            let lost: serde_json::Map<String, serde_json::Value> = lost_of(receiver, spool.lost)
                .map(|(cause, count)| (cause.to_owned(), count.into()))
                .collect();
            serde_json::json!({
                "name": receiver.name,
                "signal": receiver.signal.name(),
                "url": receiver.url,
                "delivered": get(&stats.delivered),
                "requests": get(&stats.requests),
                "retries": get(&stats.retries),
                "waiting_batches": spool.waiting,
                "spool_bytes": spool.bytes,
                "lost": lost,
                "last_success_unix_ms": last.success_ms,
                "last_error": last.error,
            })
        });
        let mut signals = serde_json::Map::new();
        for receiver in self.running.iter().flat_map(|running| &running.receivers) {
            let counts = receiver.store.counts();
            let lost = self.lost_for_all(receiver).into_iter();
            let lost: serde_json::Map<_, _> =
                lost.map(|(cause, count)| (cause.to_owned(), count.into())).collect();
            let accepted = counts.accepted.load(Ordering::Relaxed);
            let signal = serde_json::json!({ "accepted": accepted, "lost_for_all_receivers": lost });
            signals.insert(receiver.signal.name().to_owned(), signal);
        }
        let meters = self.running.iter().flat_map(|running| &running.meters).map(|(signal, meter)| {
            let shown = meter.shown(now_ms() / 1_000);
            let limit = (shown.limit > 0).then_some(shown.limit);
            serde_json::json!({
                "signal": signal.name(),
                "day_bytes": shown.used,
                "day_limit_bytes": limit,
                "stage": shown.stage.name(),
                "month_bytes": shown.month,
            })
        });
        let budgets: Vec<_> = meters.collect();
        let ticker = self.running.as_ref().and_then(|running| running.ticker.as_ref());
        let series = ticker.map(|ticker| {
            let active = ticker.collector.lock().unwrap_or_else(PoisonError::into_inner).active();
            let cardinality = ticker.cardinality.lock().unwrap_or_else(PoisonError::into_inner);
            let worst: Vec<_> = cardinality.worst().iter().map(Worst::json).collect();
            serde_json::json!({ "active": active, "labels_with_most_values": worst })
        });
        serde_json::json!({
            "receivers": receivers.collect::<Vec<_>>(),
            "signals": signals,
            "budgets": budgets,
            "series": series,
        })
    }
}

/// What did not reach a receiver, by cause.
fn lost_of(receiver: &Receiver, spool: Lost) -> impl Iterator<Item = (&'static str, u64)> {
    let stats = &receiver.stats;
    let answers = [
        ("refused", &stats.refused),
        ("refused_in_part", &stats.refused_in_part),
        ("undecodable", &stats.undecodable),
    ];
    let spooled = Cause::ALL.map(|cause| (cause.name(), spool.items(cause)));
    spooled.into_iter().chain(answers.map(|(cause, count)| (cause, count.load(Ordering::Relaxed))))
}
