//! `perf_event_open(2)`: probes in files, and the kernel's reports of programs that start, map code and end.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{Ordering, fence};

/// `struct perf_event_attr` as far as `PERF_ATTR_SIZE_VER1` (`include/uapi/linux/perf_event.h`).
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    /// For a probe: address of the file's name.
    config1: u64,
    /// For a probe: offset in the file.
    config2: u64,
}

const _: () = assert!(size_of::<Attributes>() == 72);

const PERF_TYPE_SOFTWARE: u32 = 1;
const PERF_COUNT_SW_DUMMY: u64 = 9;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
const PERF_EVENT_IOC_ENABLE: libc::c_ulong = 0x2400;
const PERF_EVENT_IOC_SET_BPF: libc::c_ulong = 0x4004_2408;
/// `mmap`, `comm`, `task`, `mmap2` and `comm_exec` of the attributes' bits.
const WATCHED: u64 = 1 << 8 | 1 << 9 | 1 << 13 | 1 << 23 | 1 << 24;
/// The kind of event that probes in files are, and which of its bits says that the probe is at the return.
const UPROBE_TYPE: &str = "/sys/bus/event_source/devices/uprobe/type";
const UPROBE_RETURN: &str = "/sys/bus/event_source/devices/uprobe/format/retprobe";

const PERF_RECORD_LOST: u32 = 2;
const PERF_RECORD_COMM: u32 = 3;
const PERF_RECORD_EXIT: u32 = 4;
const PERF_RECORD_FORK: u32 = 7;
const PERF_RECORD_MMAP2: u32 = 10;
const PERF_RECORD_MISC_COMM_EXEC: u16 = 1 << 13;
/// Where the file's name is in a `PERF_RECORD_MMAP2`, behind the header.
const MMAP2_NAME: usize = 64;
const HEADER: usize = 8;
/// `data_head` and `data_tail` in `struct perf_event_mmap_page`.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;
/// Bytes of the ring of one processor: what some hundreds of programs that start leave there.
const RING: usize = 64 * 1024;

fn open(attributes: &Attributes, processor: i32) -> io::Result<OwnedFd> {
    const EVERY_PROCESS: libc::pid_t = -1;
    const NO_GROUP: i32 = -1;
    // SAFETY: the attributes are as long as they say, and their name, if any, outlives the call.
    let descriptor = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            std::ptr::from_ref(attributes),
            EVERY_PROCESS,
            processor,
            NO_GROUP,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    match i32::try_from(descriptor) {
        // SAFETY: the kernel has just made the descriptor.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Numbers by which the kernel knows probes in files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uprobes {
    kind: u32,
    at_return: u64,
}

impl Uprobes {
    /// # Errors
    /// When the kernel has none.
    pub(super) fn read() -> io::Result<Self> {
        let bad =
            |path: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{path} is not understood"));
        let kind = fs::read_to_string(UPROBE_TYPE)?.trim().parse().map_err(|_| bad(UPROBE_TYPE))?;
        let bit: Option<u32> = fs::read_to_string(UPROBE_RETURN)?
            .trim()
            .strip_prefix("config:")
            .and_then(|bit| bit.parse().ok())
            .filter(|bit| *bit < 64);
        let bit = bit.ok_or_else(|| bad(UPROBE_RETURN))?;
        Ok(Self { kind, at_return: 1 << bit })
    }

    /// Runs `program` at this offset of `file`, or at the return of the function there, in all processes, until the
    /// descriptor is closed.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn attach(
        self,
        file: &File,
        offset: u64,
        at_return: bool,
        program: BorrowedFd<'_>,
    ) -> io::Result<OwnedFd> {
        let name = format!("/proc/self/fd/{}\0", file.as_raw_fd());
        let size = u32::try_from(size_of::<Attributes>()).unwrap_or_default();
        let attributes = Attributes {
            kind: self.kind,
            size,
            config: if at_return { self.at_return } else { 0 },
            config1: name.as_ptr() as u64,
            config2: offset,
            ..Attributes::default()
        };
        // A probe is on all processors, whichever is named.
        let event = open(&attributes, 0)?;
        for (request, argument) in [(PERF_EVENT_IOC_SET_BPF, program.as_raw_fd()), (PERF_EVENT_IOC_ENABLE, 0)]
        {
            // SAFETY: both descriptors are open, and the requests take a number.
            if unsafe { libc::ioctl(event.as_raw_fd(), request, argument) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(event)
    }
}

/// What the kernel reports.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Report<'a> {
    /// A process mapped code of a file.
    Mapped { pid: u32, name: &'a [u8] },
    /// A process runs another program.
    Exec { pid: u32 },
    /// A process made another.
    Fork { child: u32, parent: u32 },
    /// A thread of a process ended.
    Exit { pid: u32 },
    /// Reports found no room.
    Lost,
}

/// The reports of all processors.
#[derive(Debug)]
pub(super) struct Watch(Vec<Ring>);

#[derive(Debug)]
struct Ring {
    _event: OwnedFd,
    pages: NonNull<u8>,
    length: usize,
    page: usize,
}

// SAFETY: the pages are shared with the kernel alone.
unsafe impl Send for Ring {}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the pages were mapped with this length, and nothing refers to them any more.
        unsafe { libc::munmap(self.pages.as_ptr().cast(), self.length) };
    }
}

impl Watch {
    /// # Errors
    /// When the kernel does not report to this process.
    pub(super) fn open() -> io::Result<Self> {
        let online = fs::read_to_string("/sys/devices/system/cpu/online")?;
        processors(&online).map(Ring::open).collect::<io::Result<_>>().map(Self)
    }

    /// Hands on what was reported since the last time.
    pub(super) fn drain(&mut self, mut sink: impl FnMut(Report<'_>)) {
        let mut record = Vec::new();
        for ring in &mut self.0 {
            ring.drain(&mut record, &mut sink);
        }
    }
}

/// From `0-3,5`.
fn processors(online: &str) -> impl Iterator<Item = i32> {
    online
        .trim()
        .split(',')
        .filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(first.parse().ok()?..=last.parse().ok()?)
        })
        .flatten()
}

impl Ring {
    fn open(processor: i32) -> io::Result<Self> {
        let attributes = Attributes {
            kind: PERF_TYPE_SOFTWARE,
            size: u32::try_from(size_of::<Attributes>()).unwrap_or_default(),
            config: PERF_COUNT_SW_DUMMY,
            flags: WATCHED,
            ..Attributes::default()
        };
        let event = open(&attributes, processor)?;
        // SAFETY: the call has no preconditions.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
        let length = page + RING;
        // SAFETY: a new mapping of the event's pages.
        let pages = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                event.as_raw_fd(),
                0,
            )
        };
        match NonNull::new(pages.cast::<u8>()) {
            Some(there) if pages != libc::MAP_FAILED => {
                Ok(Self { _event: event, pages: there, length, page })
            }
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn drain(&mut self, record: &mut Vec<u8>, sink: &mut impl FnMut(Report<'_>)) {
        // SAFETY: both words are in the first page, aligned; the kernel writes the first, and reads the second.
        let (head, tail) =
            unsafe { (self.pages.add(DATA_HEAD).cast::<u64>(), self.pages.add(DATA_TAIL).cast::<u64>()) };
        // SAFETY: as above.
        let (end, mut at) = unsafe { (head.read_volatile(), tail.read_volatile()) };
        // What the head tells of was written before it (`perf_output_put_handle`).
        fence(Ordering::Acquire);
        while at < end {
            record.clear();
            self.copy(at, HEADER, record);
            let Some(length) =
                record.get(6..8).map(|bytes| usize::from(u16::from_le_bytes([bytes[0], bytes[1]])))
            else {
                break;
            };
            if length < HEADER || length as u64 > end - at {
                // The kernel does not write such a record.
                sink(Report::Lost);
                at = end;
                break;
            }
            self.copy(at + HEADER as u64, length - HEADER, record);
            if let Some(report) = parse(record) {
                sink(report);
            }
            at += length as u64;
        }
        fence(Ordering::Release);
        // SAFETY: as above.
        unsafe { tail.write_volatile(at) };
    }

    /// Appends bytes of the ring.
    fn copy(&self, from: u64, length: usize, to: &mut Vec<u8>) {
        for at in from..from + length as u64 {
            let into = usize::try_from(at % RING as u64).unwrap_or_default();
            // SAFETY: the ring is that long, behind the first page.
            to.push(unsafe { self.pages.add(self.page + into).read_volatile() });
        }
    }
}

/// Reads a record with its header.
fn parse(record: &[u8]) -> Option<Report<'_>> {
    let word = |at: usize| Some(u32::from_ne_bytes(record.get(at..at + 4)?.try_into().ok()?));
    let misc = u16::from_ne_bytes(record.get(4..6)?.try_into().ok()?);
    let (first, second) = (word(HEADER), word(HEADER + 4));
    match word(0)? {
        PERF_RECORD_LOST => Some(Report::Lost),
        PERF_RECORD_COMM if misc & PERF_RECORD_MISC_COMM_EXEC != 0 => Some(Report::Exec { pid: first? }),
        PERF_RECORD_EXIT => Some(Report::Exit { pid: first? }),
        // A new thread is none.
        PERF_RECORD_FORK if first? != second? => Some(Report::Fork { child: first?, parent: second? }),
        PERF_RECORD_MMAP2 => {
            let name = record.get(HEADER + MMAP2_NAME..)?;
            Some(Report::Mapped { pid: first?, name: name.split(|byte| *byte == 0).next()? })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_as_the_kernel_lists_them() {
        assert_eq!(processors("0-2,5\n").collect::<Vec<_>>(), [0, 1, 2, 5]);
        assert_eq!(processors("0\n").collect::<Vec<_>>(), [0]);
        assert_eq!(processors("").count(), 0);
    }

    #[test]
    fn records_are_read() {
        let record = |kind: u32, misc: u16, body: &[u8]| {
            let mut bytes = kind.to_ne_bytes().to_vec();
            bytes.extend(misc.to_ne_bytes());
            bytes.extend([0, 0]);
            bytes.extend_from_slice(body);
            bytes
        };
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>();
        let mut mapped = words(&[7, 7]);
        mapped.resize(MMAP2_NAME, 0);
        mapped.extend(b"/lib/libssl.so.3\0\0\0\0");
        let bytes = record(PERF_RECORD_MMAP2, 2, &mapped);
        assert_eq!(parse(&bytes), Some(Report::Mapped { pid: 7, name: b"/lib/libssl.so.3" }));
        let ids = words(&[8, 7, 8, 7]);
        assert_eq!(parse(&record(PERF_RECORD_FORK, 0, &ids)), Some(Report::Fork { child: 8, parent: 7 }));
        assert_eq!(parse(&record(PERF_RECORD_FORK, 0, &words(&[7, 7, 9, 7]))), None, "a thread");
        assert_eq!(parse(&record(PERF_RECORD_COMM, 0, &ids)), None, "a new name alone");
        let exec = record(PERF_RECORD_COMM, PERF_RECORD_MISC_COMM_EXEC, &ids);
        assert_eq!(parse(&exec), Some(Report::Exec { pid: 8 }));
        assert_eq!(parse(&record(PERF_RECORD_EXIT, 0, &ids)), Some(Report::Exit { pid: 8 }));
        assert_eq!(parse(&record(PERF_RECORD_LOST, 0, &[])), Some(Report::Lost));
        assert_eq!(parse(&record(PERF_RECORD_EXIT, 0, &[1])), None, "cut");
        assert_eq!(parse(&[]), None);
    }
}
