//! The kernel side's map of chosen processes, mapped into the daemon's memory: a byte a process, as
//! [`sensor_common::target`] says. An entry takes a store, and leaves alone those that the kernel side writes beside it.

use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use aya::{Ebpf, maps::Map};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use sensor_common::target::{ALL, NOT_ENTERED, PROCESSES};

use super::CaptureError;
use super::session::take;

const MAP: &str = "TARGETS";

/// The entries of all processes; none where all processes are targets.
pub(super) struct Targets(Option<Entries>);

impl Targets {
    /// Maps them, where `mode` asks for any.
    ///
    /// # Errors
    /// When the kernel does not map them.
    pub(super) fn new(ebpf: &mut Ebpf, mode: u32) -> Result<Self, CaptureError> {
        let map = take(ebpf, MAP)?;
        if mode == ALL {
            return Ok(Self(None));
        }
        let Map::Array(map) = map else {
            return Err(CaptureError::Unsupported(format!("{MAP} is no array")));
        };
        // SAFETY: a new mapping is no other's memory; the map has a byte a process.
        let start = unsafe {
            mmap(
                std::ptr::null_mut(),
                PROCESSES as usize,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                map.fd().as_fd(),
                0,
            )
        }
        .map_err(|error| CaptureError::kernel("map", MAP, std::io::Error::from(error)))?;
        Ok(Self(Some(Entries(start.cast()))))
    }

    /// Gives a process an entry, or takes it.
    pub(super) fn enter(&self, tgid: u32, entry: u8) {
        if let Some(entries) = &self.0
            && let Some(place) = entries.of(tgid)
        {
            place.store(entry, Ordering::Relaxed);
        }
    }

    /// How many processes have an entry. Reads them all: ask seldom.
    pub(super) fn count(&self) -> usize {
        let words = self.0.as_ref().map_or(&[][..], Entries::words);
        let entered = words.iter().map(|word| word.load(Ordering::Relaxed)).filter(|word| *word != 0);
        entered.map(|word| word.to_ne_bytes().iter().filter(|byte| **byte != NOT_ENTERED).count()).sum()
    }
}

/// A mapping of [`PROCESSES`] bytes, which lasts longer than the map's descriptor.
struct Entries(*mut AtomicU8);

// SAFETY: the mapping belongs to the process and not to a thread, and all who write to it write whole bytes.
unsafe impl Send for Entries {}

impl Entries {
    fn of(&self, tgid: u32) -> Option<&AtomicU8> {
        // SAFETY: the mapping is as long as this lives, and the index is within it.
        (tgid < PROCESSES).then(|| unsafe { &*self.0.add(tgid as usize) })
    }

    /// The entries of as many processes at once as a word has bytes.
    fn words(&self) -> &[AtomicU64] {
        let count = PROCESSES as usize / size_of::<AtomicU64>();
        // SAFETY: the mapping is as long as this lives, begins at a page, and has so many words.
        unsafe { std::slice::from_raw_parts(self.0.cast(), count) }
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        // SAFETY: it is this mapping as it was made, and nothing refers to it any more.
        let _ = unsafe { munmap(self.0.cast(), PROCESSES as usize) };
    }
}
