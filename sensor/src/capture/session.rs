//! A running capture.

use std::path::Path;

use aya::{
    Ebpf, Pod,
    maps::{HashMap, MapData, PerCpuArray, RingBuf},
};
use sensor_common::{cause::Counter, connection::Connection, http2::Ways};
use tokio::io::unix::AsyncFd;

use super::{
    Capability, CaptureError, Fill, Flows, Kernel, LogCapture, Record, Route, Settings, VMLINUX, attach,
    decode::{decode, stream},
    load::{check_alone, load},
    missed::Missed,
    paths::Paths,
    plaintext::{Plaintext, Probed},
    targets::Targets,
};
use crate::protocol;

#[derive(Clone, Copy)]
#[repr(transparent)]
struct ConnectionPod(Connection);
// SAFETY: `repr(C)`, integers and byte arrays only, no implicit padding.
unsafe impl Pod for ConnectionPod {}

/// The programs, attached, and their maps. Dropping it detaches everything.
pub struct Capture {
    events: AsyncFd<RingBuf<MapData>>,
    connections: HashMap<MapData, u64, ConnectionPod>,
    frames: HashMap<MapData, u64, [u8; size_of::<Ways>()]>,
    targets: Targets,
    counters: PerCpuArray<MapData, u64>,
    route: Route,
    refused: Vec<(Route, CaptureError)>,
    ring_bytes: u32,
    max_connections: u32,
    rejected: u64,
    paths: Paths,
    looked_ns: u64,
    logs: Option<LogCapture>,
    flows: Option<Flows>,
    plaintext: Option<Plaintext>,
    missed: Missed,
    ebpf: Ebpf,
}

/// What one look into the ring buffer found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drained {
    /// Records taken.
    pub records: usize,
    /// Bytes that they took in the ring buffer.
    pub bytes: u64,
}

/// Bytes before each record in a ring buffer (`BPF_RINGBUF_HDR_SZ`).
const RECORD_HEADER: u64 = 8;
/// Records start at multiples of this many bytes.
const RECORD_ALIGNMENT: usize = 8;

/// How long nothing moves on a Unix-domain socket before it is forgotten, where no hook tells of its end.
const SILENCE_NS: u64 = 600_000_000_000;

impl Capture {
    /// Probes the kernel, loads and attaches. `log_level` is aya-log's: 0 compiles the messages out.
    ///
    /// # Errors
    /// When the kernel lacks something, refuses a program, or another sensor runs.
    pub fn start(settings: &Settings, log_level: u8) -> Result<Self, CaptureError> {
        if let Err(reason) = Capability::Privilege.probe() {
            return Err(CaptureError::NoPrivilege(reason.clone()));
        }
        let kernel = Kernel::read(Path::new(VMLINUX))?;
        for needed in Capability::ALL.into_iter().filter(|capability| capability.is_required()) {
            if let Err(reason) = needed.probe() {
                return Err(CaptureError::Unsupported(format!(
                    "no {}: {reason}\nhint: the sensor needs Linux 5.10 or later",
                    needed.name()
                )));
            }
        }
        let mut ebpf = load(settings, &kernel, log_level)?;
        attach::common(&mut ebpf)?;
        check_alone(&ebpf)?;
        let (route, refused) = choose(&mut ebpf, &kernel, settings.route)?;
        let logs = match settings.log_ring_bytes {
            Some(ring_bytes) => {
                let way = attach::logs(&mut ebpf, &kernel, settings.route)?;
                Some(LogCapture::new(&mut ebpf, way, ring_bytes)?)
            }
            None => None,
        };
        let wants_dns = settings.dns_port != 0;
        let flows = settings.flows.then(|| Flows::start(&mut ebpf, &kernel, route, wants_dns)).transpose()?;
        let plaintext =
            settings.plaintext.then(|| Plaintext::start(&mut ebpf)).and_then(|started| match started {
                Ok(plaintext) => Some(plaintext),
                Err(error) => {
                    tracing::warn!("what is inside TLS is not read: {error}");
                    None
                }
            });
        // SAFETY: the function has no preconditions. What was needed for loading is given back to the system.
        unsafe { libc::malloc_trim(0) };
        let events = RingBuf::try_from(take(&mut ebpf, "EVENTS")?)
            .map_err(|error| CaptureError::kernel("map", "EVENTS", error))?;
        let connections = HashMap::try_from(take(&mut ebpf, "CONNECTIONS")?)
            .map_err(|error| CaptureError::kernel("open", "CONNECTIONS", error))?;
        let frames = HashMap::try_from(take(&mut ebpf, "FRAMES")?)
            .map_err(|error| CaptureError::kernel("open", "FRAMES", error))?;
        let targets = Targets::new(&mut ebpf, settings.target_mode)?;
        let counters = PerCpuArray::try_from(take(&mut ebpf, "COUNTERS")?)
            .map_err(|error| CaptureError::kernel("open", "COUNTERS", error))?;
        // SAFETY: the ring buffer owns its descriptor, always answers with the same one, and lives in the `AsyncFd`.
        let events = unsafe { AsyncFd::register(events) }
            .map_err(|error| CaptureError::kernel("watch", "EVENTS", std::io::Error::from(error)))?;
        Ok(Self {
            events,
            connections,
            frames,
            targets,
            counters,
            route,
            refused,
            ring_bytes: settings.ring_bytes,
            max_connections: settings.max_connections,
            rejected: 0,
            paths: Paths::new(settings.max_connections),
            looked_ns: 0,
            logs,
            flows,
            plaintext,
            missed: Missed::of(&ebpf),
            ebpf,
        })
    }

    /// The way in that is in use.
    #[must_use]
    pub fn route(&self) -> Route {
        self.route
    }

    /// Takes the reading side of what containers write, where that is captured; the programs stay here.
    pub fn take_logs(&mut self) -> Option<LogCapture> {
        self.logs.take()
    }

    /// The routes that would have been better, and why the kernel does not allow them.
    #[must_use]
    pub fn refused(&self) -> &[(Route, CaptureError)] {
        &self.refused
    }

    /// The attached programs and how many instructions the verifier went through for each, where the kernel
    /// tells (5.16 and later).
    #[must_use]
    pub fn programs(&self) -> Vec<(String, Option<u32>)> {
        let mut programs: Vec<_> = self
            .ebpf
            .programs()
            .filter_map(|(name, program)| {
                Some((name.to_owned(), program.info().ok()?.verified_instruction_count()))
            })
            .collect();
        programs.sort();
        programs
    }

    /// Waits until a ring buffer is filling up. Records below that mark wait for the reader's timer.
    ///
    /// # Errors
    /// When the descriptor can no longer be watched.
    pub async fn filling(&self) -> std::io::Result<()> {
        let events = async {
            self.events.readable().await?.clear_ready();
            Ok(())
        };
        match &self.flows {
            Some(flows) => tokio::select! {
                result = events => result,
                result = flows.filling() => result,
            },
            None => events.await,
        }
    }

    /// Hands all records that wait, up to `limit`, to `sink`.
    pub fn drain(&mut self, limit: usize, mut sink: impl FnMut(&Record<'_>)) -> Drained {
        let ring = self.events.get_mut();
        let mut drained = Drained::default();
        while drained.records < limit {
            let Some(item) = ring.next() else { break };
            match decode(&item) {
                Some(mut record) => {
                    match &mut record {
                        Record::Path { connection, path } => self.paths.learn(*connection, path),
                        Record::Event(event) => self.paths.complete(event),
                        Record::Tls(_) | Record::Exec { .. } | Record::Fork { .. } => {}
                    }
                    sink(&record);
                }
                None => self.rejected += 1,
            }
            drained.records += 1;
            drained.bytes += RECORD_HEADER + item.len().next_multiple_of(RECORD_ALIGNMENT) as u64;
        }
        drained
    }

    /// What is told of connections below HTTP; `None` when that is not asked for.
    pub fn flows(&mut self) -> Option<&mut Flows> {
        self.flows.as_mut()
    }

    /// What is told of the probes that read what is inside TLS; `None` when that is not asked for, or not possible.
    #[must_use]
    pub fn probed(&self) -> Option<&Probed> {
        self.plaintext.as_ref().map(Plaintext::probed)
    }

    /// Records that were not whole or of no known kind; expected 0.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Paths of Unix-domain sockets that were not kept, because there are too many.
    #[must_use]
    pub fn unknown_paths(&self) -> u64 {
        self.paths.unknown()
    }

    /// Forgets connections of Unix-domain sockets on which nothing moved for long, where no hook tells of their end, so that
    /// they do not fill the map; it looks at all entries, but seldom. One that goes on is found again at its next message.
    pub fn forget_silent(&mut self, now_ns: u64) {
        if self.route == Route::Fentry
            || self.paths.is_empty()
            || now_ns < self.looked_ns.saturating_add(SILENCE_NS / 4)
        {
            return;
        }
        self.looked_ns = now_ns;
        let is_silent = |connection: &Connection| {
            let last_ns = connection.received.last_ns.max(connection.sent.last_ns);
            connection.is_unix() && last_ns.saturating_add(SILENCE_NS) < now_ns
        };
        let entries = self.connections.iter().filter_map(Result::ok);
        let silent: Vec<(u64, u64)> = entries
            .filter(|(_, ConnectionPod(entry))| is_silent(entry))
            .map(|(key, ConnectionPod(entry))| (key, entry.id))
            .collect();
        for (key, id) in silent {
            // One that has gone meanwhile need not be removed, and most have no frames.
            let _ = self.frames.remove(&key);
            let _ = self.connections.remove(&key);
            self.paths.forget(id);
        }
    }

    /// How far a connection has come.
    #[must_use]
    pub fn progress(&self, connection: protocol::Connection) -> protocol::Progress {
        let streams = match self.connections.get(&connection.key, 0) {
            Ok(ConnectionPod(found)) if found.id == connection.id => {
                Some((stream(found.received), stream(found.sent)))
            }
            _ => None,
        };
        protocol::Progress { connection, streams }
    }

    /// Gives a process its entry in the map of targets, or takes it: a value of [`sensor_common::target`].
    pub fn target(&mut self, tgid: u32, entry: u8) {
        self.targets.enter(tgid, entry);
    }

    /// Sends the programs' debug messages to the daemon's log for as long as the runtime lives. They were compiled
    /// out unless [`Self::start`] was given a level.
    pub fn forward_messages(&mut self) {
        let logger = match aya_log::EbpfLogger::init(&mut self.ebpf) {
            // SAFETY: the logger owns its descriptor, always answers with the same one, and lives in the `AsyncFd`.
            Ok(logger) => unsafe { AsyncFd::register(logger) },
            Err(error) => {
                tracing::warn!("messages of the eBPF programs are not shown: {error}");
                return;
            }
        };
        match logger {
            Ok(mut logger) => {
                tokio::spawn(async move {
                    while let Ok(mut ready) = logger.readable_mut().await {
                        ready.get_inner_mut().flush();
                        ready.clear_ready();
                    }
                });
            }
            Err(error) => {
                tracing::warn!(
                    "messages of the eBPF programs are not shown: {}",
                    std::io::Error::from(error)
                );
            }
        }
    }

    /// The kernel side's counters, summed over the processors, in the order of [`Counter::ALL`].
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn counters(&self) -> Result<[u64; Counter::LEN as usize], CaptureError> {
        let mut sums = [0; Counter::LEN as usize];
        for (counter, sum) in Counter::ALL.into_iter().zip(&mut sums) {
            let values = self
                .counters
                .get(&(counter as u32), 0)
                .map_err(|error| CaptureError::kernel("read", "COUNTERS", error))?;
            *sum = values.iter().sum();
        }
        Ok(sums)
    }

    /// The attached programs, and how often the kernel did not run each although its hook was passed; nothing of programs of
    /// which it does not tell (before 5.12).
    pub fn missed(&self) -> impl Iterator<Item = (&str, u64)> {
        self.missed.read()
    }

    /// How full the maps of connections, of targets and of OpenSSL's calls in progress are, by name. Counts the entries one by
    /// one: ask seldom.
    pub fn fills(&self) -> impl Iterator<Item = (&'static str, Fill)> {
        let targets =
            Fill { used: self.targets.count() as u64, capacity: u64::from(sensor_common::target::PROCESSES) };
        [("connections", Fill::of(&self.connections, self.max_connections)), ("targets", targets)]
            .into_iter()
            .chain(self.plaintext.as_ref().map(|plaintext| ("tls_calls", plaintext.calls())))
    }

    /// Size of the ring buffer, in bytes.
    #[must_use]
    pub fn ring_bytes(&self) -> u32 {
        self.ring_bytes
    }
}

/// Attaches the route that was asked for, or the best that the kernel allows.
fn choose(
    ebpf: &mut Ebpf,
    kernel: &Kernel,
    forced: Option<Route>,
) -> Result<(Route, Vec<(Route, CaptureError)>), CaptureError> {
    let mut attach = |route: Route| {
        Capability::all_of(route.needs()).map_err(CaptureError::Unsupported)?;
        let attached = attach::route(ebpf, kernel, route);
        if route == Route::Fentry {
            Capability::Fentry.learn(attached.as_ref().map(|()| String::new()).map_err(CaptureError::brief));
        }
        attached
    };
    if let Some(route) = forced {
        return attach(route).map(|()| (route, Vec::new()));
    }
    let mut refused = Vec::new();
    for route in Route::BEST_FIRST {
        match attach(route) {
            Ok(()) => return Ok((route, refused)),
            Err(error) => refused.push((route, error)),
        }
    }
    let reasons: Vec<_> = refused.iter().map(|(route, error)| format!("{}: {error}", route.name())).collect();
    Err(CaptureError::Unsupported(format!("the kernel allows no way in\n  {}", reasons.join("\n  "))))
}

pub(super) fn take(ebpf: &mut Ebpf, name: &str) -> Result<aya::maps::Map, CaptureError> {
    ebpf.take_map(name).ok_or_else(|| CaptureError::Unsupported(format!("the eBPF object has no map {name}")))
}
