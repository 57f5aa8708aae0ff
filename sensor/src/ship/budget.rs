//! Bytes a day: what a signal may cost, kept by the sensor.
//!
//! A [`Day`] is a pure value: bytes and times in, a verdict out. As the day's bytes are used up, less and less is taken
//! ([`Stage`]); what says that something failed is the last to go. Days are those of UTC. A clock that is set back
//! gives nothing back.
//!
//! A [`Meter`] is the day that a sink asks and that is kept in a file beside the spool, one line: `1 DAY USED SINCE`, in
//! days and seconds of the Unix epoch and bytes. It is written once a second, by renaming and without fsync: after
//! `kill -9` a second's use may be forgotten, after a loss of power some more. A file that can't be read counts as none.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fs, io};

const DAY_SECONDS: u64 = 24 * 3600;
/// A month for an estimate: a twelfth of 365 days, in seconds.
const MONTH_SECONDS: f64 = 365.0 * 24.0 * 3600.0 / 12.0;
/// An estimate is made of no less than this, in seconds.
const ESTIMATE_MIN: u64 = 60;
const VERSION: &str = "1";

/// How far the day's bytes are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Below 80 %: all is taken.
    Open,
    /// From 80 %: no lines below `INFO`; half of the sampled traces.
    Saving,
    /// From 90 %: no lines below `WARN`, or without a severity; a quarter of the sampled traces.
    Sparing,
    /// From 95 %: only what failed.
    Errors,
    /// Nothing fits any more.
    Closed,
}

impl Stage {
    /// Its number in metrics, 0 to 4.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Its name on the status page.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Saving => "saving",
            Self::Sparing => "sparing",
            Self::Errors => "errors_only",
            Self::Closed => "closed",
        }
    }
}

/// The bytes of one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Day {
    /// Days since the Unix epoch.
    day: u64,
    /// Bytes taken on it.
    used: u64,
    /// When the counting began on it, in seconds of the Unix epoch.
    since: u64,
}

impl Day {
    /// Goes on to the day of `now_s`, in seconds of the Unix epoch, if that is a later one.
    fn turn(&mut self, now_s: u64) {
        let day = now_s / DAY_SECONDS;
        if day > self.day {
            // A sensor that ran through midnight has counted since then.
            let is_next = day == self.day + 1 && self.since > 0;
            *self = Self { day, used: 0, since: if is_next { day * DAY_SECONDS } else { now_s } };
        }
    }

    /// The stage of a budget of `limit` bytes, 0 for none.
    #[must_use]
    pub fn stage(&self, limit: u64) -> Stage {
        if limit == 0 {
            return Stage::Open;
        }
        // In 1/100 of the limit, without an overflow.
        match u128::from(self.used) * 100 / u128::from(limit) {
            0..80 => Stage::Open,
            80..90 => Stage::Saving,
            90..95 => Stage::Sparing,
            95..100 => Stage::Errors,
            _ => Stage::Closed,
        }
    }

    /// Takes bytes, if they fit and `wanted` of the stage.
    #[must_use]
    pub fn take(&mut self, limit: u64, bytes: u64, now_s: u64, wanted: impl FnOnce(Stage) -> bool) -> bool {
        self.turn(now_s);
        let used = self.used.saturating_add(bytes);
        let fits = limit == 0 || used <= limit;
        let is_taken = fits && wanted(self.stage(limit));
        if is_taken {
            self.used = used;
        }
        is_taken
    }

    /// Bytes a month, if all days were like what was counted of this one; `None` before there is a minute of it.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn month(&self, now_s: u64) -> Option<f64> {
        let counted = now_s.checked_sub(self.since).filter(|seconds| *seconds >= ESTIMATE_MIN)?;
        Some(self.used as f64 / counted as f64 * MONTH_SECONDS)
    }

    fn text(&self) -> String {
        format!("{VERSION} {} {} {}\n", self.day, self.used, self.since)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        if words.next()? != VERSION {
            return None;
        }
        let mut number = || words.next()?.parse().ok();
        Some(Self { day: number()?, used: number()?, since: number()? })
    }
}

/// A day that is shared and outlives the sensor.
#[derive(Debug)]
pub struct Meter {
    limit: u64,
    file: Option<PathBuf>,
    day: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    day: Day,
    written: Day,
    is_failing: bool,
}

/// What a meter shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shown {
    /// Bytes taken today.
    pub used: u64,
    /// Bytes a day, 0 for no limit.
    pub limit: u64,
    /// The stage.
    pub stage: Stage,
    /// See [`Day::month`].
    pub month: Option<f64>,
}

impl Meter {
    /// Goes on with what `file` tells of the day.
    #[must_use]
    pub fn load(limit: u64, file: &Path) -> Self {
        let day = match fs::read_to_string(file) {
            Ok(text) => Day::parse(&text).unwrap_or_else(|| {
                tracing::warn!(file = %file.display(), "the day's use is not readable; it counts from 0");
                Day::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Day::default(),
            Err(error) => {
                tracing::warn!(file = %file.display(), "the day's use can't be read, it counts from 0: {error}");
                Day::default()
            }
        };
        let kept = Kept { day, written: day, is_failing: false };
        Self { limit, file: Some(file.to_owned()), day: Mutex::new(kept) }
    }

    /// Without a limit and a file.
    #[must_use]
    pub fn unlimited() -> Self {
        let kept = Kept { day: Day::default(), written: Day::default(), is_failing: false };
        Self { limit: 0, file: None, day: Mutex::new(kept) }
    }

    /// See [`Day::take`].
    #[must_use]
    pub fn take(&self, bytes: usize, now_s: u64, wanted: impl FnOnce(Stage) -> bool) -> bool {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.lock().day.take(self.limit, bytes, now_s, wanted)
    }

    /// The stage as it was when something was last taken.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.lock().day.stage(self.limit)
    }

    /// What it shows at `now_s`, in seconds of the Unix epoch.
    #[must_use]
    pub fn shown(&self, now_s: u64) -> Shown {
        let mut kept = self.lock();
        kept.day.turn(now_s);
        let day = kept.day;
        Shown { used: day.used, limit: self.limit, stage: day.stage(self.limit), month: day.month(now_s) }
    }

    /// Writes the day down if it changed. It blocks on the disk.
    pub fn save(&self) {
        let Some(file) = &self.file else { return };
        let day = {
            let kept = self.lock();
            if kept.day == kept.written {
                return;
            }
            kept.day
        };
        let fresh = file.with_extension("new");
        let done = fs::write(&fresh, day.text()).and_then(|()| fs::rename(&fresh, file));
        let mut kept = self.lock();
        match &done {
            Ok(()) => kept.written = day,
            // Said when it begins, not each second.
            Err(error) if !kept.is_failing => {
                tracing::error!(file = %file.display(), "the day's use can't be written: {error}");
            }
            Err(_) => {}
        }
        kept.is_failing = done.is_err();
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.day.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: u64 = 1_000;
    const NOON: u64 = 20_000 * DAY_SECONDS + DAY_SECONDS / 2;

    fn used(used: u64) -> Day {
        Day { day: NOON / DAY_SECONDS, used, since: NOON }
    }

    #[test]
    fn a_day_closes_in_stages() {
        for (bytes, stage) in [
            (0, Stage::Open),
            (799, Stage::Open),
            (800, Stage::Saving),
            (900, Stage::Sparing),
            (950, Stage::Errors),
            (999, Stage::Errors),
            (1_000, Stage::Closed),
        ] {
            assert_eq!(used(bytes).stage(LIMIT), stage, "{bytes}");
            assert_eq!(used(bytes).stage(0), Stage::Open);
        }
    }

    #[test]
    fn the_month_is_estimated_from_what_was_counted() {
        assert_eq!(used(60).month(NOON + 59), None);
        assert_eq!(used(60).month(NOON + 60), Some(MONTH_SECONDS));
        let mut day = used(60);
        day.turn(NOON + DAY_SECONDS);
        assert_eq!((day.used, day.since), (0, (NOON / DAY_SECONDS + 1) * DAY_SECONDS), "since midnight");
    }

    #[test]
    fn a_meter_goes_on_where_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("logs.day");
        let meter = Meter::load(LIMIT, &file);
        assert!(meter.take(600, NOON, |_| true));
        meter.save();
        let again = Meter::load(LIMIT, &file);
        assert!(!again.take(401, NOON + 1, |_| true), "that is over the limit");
        assert!(again.take(400, NOON + 1, |_| true));
        assert_eq!(again.shown(NOON + 1).stage, Stage::Closed);
        again.save();
        assert!(Meter::load(LIMIT, &file).take(1_000, NOON + DAY_SECONDS, |_| true), "a new day");
        fs::write(&file, "2 x\n").unwrap();
        assert!(Meter::load(LIMIT, &file).take(1_000, NOON, |_| true), "what is not readable is none");
    }

    proptest! {
        #[test]
        fn no_day_takes_more_than_its_bytes(
            limit in 1_u64..10_000,
            steps in prop::collection::vec((0_u64..200_000, 0_u64..3_000, any::<bool>(), any::<bool>()), 0..200),
        ) {
            let (mut day, mut now_s, mut taken) = (Day::default(), NOON, std::collections::BTreeMap::new());
            let mut latest = 0;
            for (later, bytes, is_back, is_failed) in steps {
                now_s = if is_back { now_s.saturating_sub(later) } else { now_s + later };
                latest = latest.max(now_s / DAY_SECONDS);
                let before = day;
                let mut asked = None;
                let is_taken = day.take(limit, bytes, now_s, |stage| {
                    asked = Some(stage);
                    is_failed || stage < Stage::Errors
                });
                // A restart in between changes nothing.
                prop_assert_eq!(Day::parse(&day.text()), Some(day));
                let sum = taken.entry(latest).or_insert(0_u64);
                if is_taken {
                    *sum += bytes;
                }
                prop_assert!(*sum <= limit, "{sum} of {limit}");
                prop_assert_eq!(day.used, *sum);
                if !is_taken && day.day == before.day {
                    prop_assert_eq!(day, before, "what is refused costs nothing");
                }
                // What failed is refused for want of room only.
                prop_assert!(!is_failed || is_taken || *sum + bytes > limit);
                prop_assert!(asked != Some(Stage::Closed) || bytes == 0);
            }
        }

        #[test]
        fn stages_only_close(limit in 1_u64.., less in any::<u64>(), more in any::<u64>()) {
            let (less, more) = (less.min(more), less.max(more));
            prop_assert!(used(less).stage(limit) <= used(more).stage(limit));
        }
    }
}
