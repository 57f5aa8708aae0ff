//! The programs that finish an operation, which the hooks of a route reach by tail calls: those that walk HTTP/2 frames,
//! and those that mask a head and tell it. Loaded, not attached, and put where the hooks find them.

use aya::{
    Btf, Ebpf,
    maps::ProgramArray,
    programs::{FExit, ProgramError, ProgramFd, RawTracePoint},
};

use super::{CaptureError, Route};

/// A program, the map where it is found, and its place: for each kind, what is received and what is sent.
type Next = (&'static str, &'static str, u32);

const RAW: [Next; 4] = [
    ("walk_receive", "NEXT", 0),
    ("walk_send", "NEXT", 1),
    ("tell_receive", "NEXT", 2),
    ("tell_send", "NEXT", 3),
];
const FENTRY: [Next; 4] = [
    ("walk_recvmsg", RECVMSG, 0),
    ("walk_sendmsg", "NEXT_SENDMSG", 1),
    ("tell_recvmsg", RECVMSG, 2),
    ("tell_sendmsg", "NEXT_SENDMSG", 3),
];
const RECVMSG: &str = "NEXT_RECVMSG";

/// The programs of a route.
pub(super) fn programs(route: Route) -> impl Iterator<Item = &'static str> {
    of(route).into_iter().map(|(program, ..)| program)
}

const fn of(route: Route) -> [Next; 4] {
    match route {
        Route::Fentry => FENTRY,
        Route::Socket | Route::Syscall => RAW,
    }
}

/// Loads the programs of a route. Its hooks must be loaded before: a map of programs takes the kind of the first
/// that uses it.
pub(super) fn load(ebpf: &mut Ebpf, route: Route) -> Result<(), CaptureError> {
    for (name, map, place) in of(route) {
        let error = |error| CaptureError::kernel("load", name, error);
        let program = load_one(ebpf, name, map, route).map_err(error)?;
        let failed = |error| CaptureError::kernel("fill", map, error);
        let found = ebpf
            .map_mut(map)
            .ok_or(CaptureError::Unsupported(format!("the eBPF object has no map {map}")))?;
        ProgramArray::try_from(found).and_then(|mut map| map.set(place, &program, 0)).map_err(failed)?;
    }
    Ok(())
}

fn load_one(ebpf: &mut Ebpf, name: &str, map: &str, route: Route) -> Result<ProgramFd, ProgramError> {
    let program = ebpf.program_mut(name).ok_or(ProgramError::NotLoaded)?;
    match route {
        Route::Socket | Route::Syscall => {
            let program: &mut RawTracePoint = program.try_into()?;
            program.load()?;
            program.fd()?.try_clone()
        }
        Route::Fentry => {
            let function = if map == RECVMSG { "tcp_recvmsg" } else { "tcp_sendmsg" };
            let program: &mut FExit = program.try_into()?;
            program.load(function, &Btf::from_sys_fs()?)?;
            program.fd()?.try_clone()
        }
    }
    .map_err(ProgramError::from)
}
