//! Families that share their label sets, in one bounded table.

use std::hash::Hash;

use hashbrown::{Equivalent, HashMap};

use super::room::Room;
use super::{Family, Labels, Sample, Source};

/// The value of every label of the series that takes what found no room.
pub const OTHER: &str = "other";

/// What a label set holds: one value for each family of the group.
pub trait Values: Default {
    /// The sample for a family; `None` while there is nothing to tell.
    fn sample(&self, family: usize) -> Option<Sample<'_>>;

    /// Counts in exponential buckets as well, where there are histograms.
    fn make_native(&mut self) {}
}

/// A bounded table from typed keys to label sets and their values.
///
/// At the limit a new key gets the values of the series whose labels are all [`OTHER`], and is counted. A slot is
/// kept as long as its series lives and is used again later, so the memory is bounded by the limit too.
pub struct Group<K, V> {
    families: &'static [&'static Family],
    limit: usize,
    room: Room,
    index: HashMap<K, usize>,
    slots: Vec<Option<Series<K, V>>>,
    free: Vec<usize>,
    other: Option<usize>,
    folded: u64,
}

struct Series<K, V> {
    /// `None` for the series of what found no room.
    key: Option<K>,
    labels: Labels,
    values: V,
    updated_ns: u64,
}

impl<K: Eq + Hash + Clone, V: Values> Group<K, V> {
    /// An empty table for at most `limit` label sets (at least one), [`OTHER`] included.
    #[must_use]
    pub fn new(families: &'static [&'static Family], limit: usize) -> Self {
        Self {
            families,
            limit: limit.max(1),
            room: Room::default(),
            index: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            other: None,
            folded: 0,
        }
    }

    /// With room that it shares with other groups; it holds nothing yet. A label set takes the room of all its
    /// families, whether they have something to tell or not.
    #[must_use]
    pub fn within(self, room: &Room) -> Self {
        Self { room: room.clone(), ..self }
    }

    /// With other families, which have the same values in the same order; it holds nothing yet.
    #[must_use]
    pub fn named(self, families: &'static [&'static Family]) -> Self {
        Self { families, ..self }
    }

    fn series(&self) -> u64 {
        self.families.iter().map(|family| family.series(self.room.is_native())).sum()
    }

    /// The values of `key`; `make` gives the owned key and its labels when the key is new. `now_ns` (nanoseconds of
    /// `CLOCK_MONOTONIC`) says when the series was last written, for [`Self::expire`].
    pub fn values<Q>(&mut self, key: &Q, now_ns: u64, make: impl FnOnce() -> (K, Labels)) -> &mut V
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let slot = match self.index.get(key) {
            Some(slot) => *slot,
            // One place is kept for the series of what finds no room.
            None if self.index.len() + 1 < self.limit && self.room.take(self.series()) => {
                let (key, labels) = make();
                let slot = self.insert(Some(key.clone()), labels);
                self.index.insert(key, slot);
                slot
            }
            None => self.other(),
        };
        let series = self.slots[slot].as_mut().expect("an indexed slot is in use");
        series.updated_ns = series.updated_ns.max(now_ns);
        &mut series.values
    }

    /// The values of a key that has a series of its own.
    pub fn known<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let slot = *self.index.get(key)?;
        self.slots.get_mut(slot)?.as_mut().map(|series| &mut series.values)
    }

    fn other(&mut self) -> usize {
        self.folded += 1;
        if let Some(slot) = self.other {
            return slot;
        }
        let names = self.families.first().map_or(&[][..], |family| family.labels);
        self.room.take_for_other(self.series());
        let slot = self.insert(None, Labels::new(names.iter().map(|name| (*name, OTHER.into()))));
        self.other = Some(slot);
        slot
    }

    fn insert(&mut self, key: Option<K>, labels: Labels) -> usize {
        let mut values = V::default();
        if self.room.is_native() {
            values.make_native();
        }
        let series = Some(Series { key, labels, values, updated_ns: 0 });
        if let Some(slot) = self.free.pop() {
            self.slots[slot] = series;
            return slot;
        }
        self.slots.push(series);
        self.slots.len() - 1
    }

    /// Drops the series that were last written before `before_ns`, and says how many.
    pub fn expire(&mut self, before_ns: u64) -> usize {
        let (mut expired, series_of_each) = (0, self.series());
        for (slot, place) in self.slots.iter_mut().enumerate() {
            let Some(series) = place.take_if(|series| series.updated_ns < before_ns) else { continue };
            match series.key {
                Some(key) => {
                    self.index.remove(&key);
                }
                None => self.other = None,
            }
            self.free.push(slot);
            self.room.give_back(series_of_each);
            expired += 1;
        }
        expired
    }

    /// Label sets held now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Recordings that went to [`OTHER`].
    #[must_use]
    pub const fn folded(&self) -> u64 {
        self.folded
    }
}

impl<K, V: Values> Source for Group<K, V> {
    fn families(&self) -> &'static [&'static Family] {
        self.families
    }

    fn slots(&self) -> usize {
        self.slots.len()
    }

    fn read(&self, family: usize, slot: usize) -> Option<(&Labels, Sample<'_>)> {
        let series = self.slots.get(slot)?.as_ref()?;
        Some((&series.labels, series.values.sample(family)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Kind;

    #[derive(Default)]
    struct Count(u32);

    impl Values for Count {
        fn sample(&self, _: usize) -> Option<Sample<'_>> {
            Some(Sample::Counter(f64::from(self.0)))
        }
    }

    static FAMILY: Family =
        Family { name: "a_total", kind: Kind::Counter, unit: "1", help: "A.", labels: &["x", "y"] };
    static FAMILIES: [&Family; 1] = [&FAMILY];

    fn count(group: &mut Group<u32, Count>, key: u32, now_ns: u64) {
        let make = || (key, Labels::new([("x", key.to_string().into())]));
        group.values(&key, now_ns, make).0 += 1;
    }

    fn read(group: &Group<u32, Count>) -> Vec<(String, f64)> {
        (0..group.slots())
            .filter_map(|slot| group.read(0, slot))
            .map(|(labels, sample)| match sample {
                Sample::Counter(value) => (labels.get("x").to_owned(), value),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn what_finds_no_room_is_folded_and_counted() {
        let mut group = Group::new(&FAMILIES, 3);
        for key in [1, 2, 3, 4, 1] {
            count(&mut group, key, 0);
        }
        let expected = [("1".into(), 2.0), ("2".into(), 1.0), (OTHER.into(), 2.0)];
        assert_eq!(read(&group), expected);
        assert_eq!(group.read(0, 2).unwrap().0.get("y"), OTHER);
        assert_eq!((group.len(), group.folded()), (3, 2));
    }

    #[test]
    fn groups_share_the_room_of_the_node() {
        let room = Room::new(3);
        let mut one = Group::new(&FAMILIES, 100).within(&room);
        let mut two = Group::new(&FAMILIES, 100).within(&room);
        count(&mut one, 1, 10);
        count(&mut two, 1, 20);
        count(&mut two, 2, 20);
        count(&mut one, 2, 20);
        count(&mut one, 3, 20);
        assert_eq!(read(&one), [("1".into(), 1.0), (OTHER.into(), 2.0)]);
        assert_eq!(
            (one.folded(), two.len(), room.used()),
            (2, 2, 4),
            "what found no room has some of its own"
        );
        assert_eq!(one.expire(20), 1);
        assert_eq!(two.expire(u64::MAX), 2);
        assert_eq!(room.used(), 1);
        count(&mut one, 3, 30);
        assert_eq!(read(&one), [("3".into(), 1.0), (OTHER.into(), 2.0)]);
    }

    #[test]
    fn an_idle_series_expires_and_leaves_its_place() {
        let mut group = Group::new(&FAMILIES, 3);
        count(&mut group, 1, 10);
        count(&mut group, 2, 20);
        count(&mut group, 3, 10);
        assert_eq!(group.expire(20), 2);
        assert_eq!(read(&group), [("2".into(), 1.0)]);
        count(&mut group, 4, 30);
        assert_eq!((group.len(), group.slots()), (2, 3));
        assert_eq!(group.expire(u64::MAX), 2);
        assert!(group.is_empty());
    }

    #[test]
    fn a_late_recording_does_not_age_a_series() {
        let mut group = Group::new(&FAMILIES, 3);
        count(&mut group, 1, 20);
        count(&mut group, 1, 10);
        assert_eq!(group.expire(20), 0);
    }
}
