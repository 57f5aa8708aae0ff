//! The connections of a tracker: found by id, and in order of use within each class.

use hashbrown::HashMap;

use super::http1::{Class, Http1};

const NONE: u32 = u32::MAX;

/// One connection's place.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) http: Http1,
    pub(super) id: u64,
    /// When something last moved on the connection.
    pub(super) touched_ns: u64,
    /// When the kernel is to be asked next, as noted in the tracker's queue of questions.
    pub(super) asking_ns: Option<u64>,
    class: Class,
    previous: u32,
    next: u32,
}

/// A doubly linked list through the entries, the least recently used first.
#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
    len: usize,
}

/// The table. Its memory is that of the most connections it ever held at once.
#[derive(Debug)]
pub(super) struct Table {
    index: HashMap<u64, u32>,
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    lists: [List; 3],
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            index: HashMap::new(),
            entries: Vec::new(),
            free: Vec::new(),
            lists: [List { first: NONE, last: NONE, len: 0 }; 3],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// How many connections are of this class.
    pub(super) fn len_of(&self, class: Class) -> usize {
        list(class).map_or(0, |list| self.lists[list].len)
    }

    pub(super) fn find(&self, id: u64) -> Option<u32> {
        self.index.get(&id).copied()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Entry> {
        self.entries.get_mut(slot as usize)?.as_mut()
    }

    /// The least recently used connection of a class.
    pub(super) fn oldest(&self, class: Class) -> Option<u32> {
        let first = self.lists[list(class)?].first;
        (first != NONE).then_some(first)
    }

    /// Adds a connection as the most recently used of its class.
    pub(super) fn insert(&mut self, id: u64, http: Http1, touched_ns: u64) -> u32 {
        let class = http.class();
        let entry = Entry { http, id, touched_ns, asking_ns: None, class, previous: NONE, next: NONE };
        let slot = if let Some(slot) = self.free.pop() {
            self.entries[slot as usize] = Some(entry);
            slot
        } else {
            self.entries.push(Some(entry));
            u32::try_from(self.entries.len() - 1).unwrap_or(NONE)
        };
        self.index.insert(id, slot);
        self.link(slot, class);
        slot
    }

    /// Puts a connection behind all others of the class that it now is of.
    pub(super) fn touch(&mut self, slot: u32) {
        let Some(entry) = self.get_mut(slot) else { return };
        let class = entry.http.class();
        self.unlink(slot);
        if let Some(entry) = self.get_mut(slot) {
            entry.class = class;
        }
        self.link(slot, class);
    }

    /// Takes a connection out.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Entry> {
        self.unlink(slot);
        let entry = self.entries.get_mut(slot as usize)?.take()?;
        self.index.remove(&entry.id);
        self.free.push(slot);
        Some(entry)
    }

    fn link(&mut self, slot: u32, class: Class) {
        let Some(list) = list(class) else { return };
        let last = self.lists[list].last;
        if let Some(entry) = self.get_mut(slot) {
            entry.previous = last;
            entry.next = NONE;
        }
        match self.get_mut(last) {
            Some(before) => before.next = slot,
            None => self.lists[list].first = slot,
        }
        self.lists[list].last = slot;
        self.lists[list].len += 1;
    }

    fn unlink(&mut self, slot: u32) {
        let Some(entry) = self.get_mut(slot) else { return };
        let (previous, next, class) = (entry.previous, entry.next, entry.class);
        let Some(list) = list(class) else { return };
        match self.get_mut(previous) {
            Some(before) => before.next = next,
            None => self.lists[list].first = next,
        }
        match self.get_mut(next) {
            Some(after) => after.previous = previous,
            None => self.lists[list].last = previous,
        }
        self.lists[list].len -= 1;
    }
}

const fn list(class: Class) -> Option<usize> {
    match class {
        Class::Blank => None,
        Class::Idle => Some(0),
        Class::Active => Some(1),
        Class::Kept => Some(2),
    }
}
