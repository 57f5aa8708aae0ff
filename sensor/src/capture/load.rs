//! Loading and attaching the programs.

use std::time::{Duration, Instant};

use aya::{
    Ebpf, EbpfLoader, Pod,
    programs::{RawTracePoint, loaded_programs},
};
use sensor_common::offsets::Offsets;

use super::{CaptureError, Route, Settings};

/// Programs that every route needs: name of the program, name of its tracepoint.
const COMMON: [(&str, &str); 4] = [
    ("lionpay_destroy", "tcp_destroy_sock"),
    ("sched_process_exec", "sched_process_exec"),
    ("sched_process_fork", "sched_process_fork"),
    ("sched_process_exit", "sched_process_exit"),
];
/// Programs of the socket route.
const SOCKET: [(&str, &str); 2] =
    [("sock_send_length", "sock_send_length"), ("sock_recv_length", "sock_recv_length")];
/// The program by whose name a running sensor is known.
const MARK: &str = COMMON[0].0;
/// How long a sensor that was killed may take to leave the kernel.
const LEAVE: Duration = Duration::from_secs(3);

/// The compiled programs.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sensor-ebpf.o"));

#[derive(Clone, Copy)]
#[repr(transparent)]
struct OffsetsPod(Offsets);
// SAFETY: `repr(C)` and 32-bit integers only.
unsafe impl Pod for OffsetsPod {}

/// Loads the object with its settings and attaches the programs of `route`.
pub(super) fn load(
    settings: &Settings,
    route: Route,
    offsets: Offsets,
    log_level: u8,
) -> Result<Ebpf, CaptureError> {
    if OBJECT.is_empty() {
        return Err(CaptureError::NoObject);
    }
    wait_for_others(Instant::now() + LEAVE)?;
    let own = std::process::id();
    let selected_only = u32::from(settings.selected_only);
    let wake_bytes = u64::from(settings.ring_bytes / 4);
    let mut ebpf = EbpfLoader::new()
        .override_global("OFFSETS", &OffsetsPod(offsets), true)
        .override_global("HEAD_BYTES", &settings.head_bytes, true)
        .override_global("SENSOR_TGID", &own, true)
        .override_global("SELECTED_ONLY", &selected_only, true)
        .override_global("WAKE_BYTES", &wake_bytes, true)
        .override_global(aya_log::LEVEL, &log_level, true)
        .map_max_entries("EVENTS", settings.ring_bytes)
        .map_max_entries("CONNECTIONS", settings.max_connections)
        .load(OBJECT)
        .map_err(|error| CaptureError::kernel("load", "the eBPF object", error))?;
    for (program, tracepoint) in COMMON {
        attach(&mut ebpf, program, tracepoint)?;
    }
    match route {
        Route::Socket => {
            for (program, tracepoint) in SOCKET {
                attach(&mut ebpf, program, tracepoint)?;
            }
        }
        Route::Fentry | Route::Syscall => {
            return Err(CaptureError::Unsupported(format!("the {} route is not built in", route.name())));
        }
    }
    if let Some(id) = others().find(|id| own_mark(&ebpf).is_some_and(|own| *id < own)) {
        return Err(CaptureError::AlreadyRunning { id });
    }
    Ok(ebpf)
}

fn attach(ebpf: &mut Ebpf, program: &str, tracepoint: &str) -> Result<(), CaptureError> {
    let missing = || CaptureError::Unsupported(format!("the eBPF object has no program {program}"));
    let raw: &mut RawTracePoint = ebpf
        .program_mut(program)
        .ok_or_else(missing)?
        .try_into()
        .map_err(|error| CaptureError::kernel("use", program, error))?;
    raw.load().map_err(|error| CaptureError::kernel("load", program, error))?;
    raw.attach(tracepoint).map_err(|error| CaptureError::kernel("attach", program, error))?;
    Ok(())
}

/// Id of our own mark program.
fn own_mark(ebpf: &Ebpf) -> Option<u32> {
    let raw: &RawTracePoint = ebpf.program(MARK)?.try_into().ok()?;
    Some(raw.info().ok()?.id())
}

/// Ids of the mark programs of all sensors in this kernel.
fn others() -> impl Iterator<Item = u32> {
    loaded_programs()
        .filter_map(Result::ok)
        .filter(|program| program.name_as_str() == Some(MARK))
        .map(|program| program.id())
}

/// Refuses when another sensor is loaded. The programs of one that was killed linger for a moment.
fn wait_for_others(until: Instant) -> Result<(), CaptureError> {
    while let Some(id) = others().next() {
        if Instant::now() >= until {
            return Err(CaptureError::AlreadyRunning { id });
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
