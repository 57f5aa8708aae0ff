//! The programs that walk HTTP/2 frames: loaded, not attached, and put where the hooks of a route find them.

use aya::{
    Btf, Ebpf,
    maps::ProgramArray,
    programs::{FExit, ProgramError, ProgramFd, RawTracePoint},
};

use super::{CaptureError, Route};

/// A walking program, the map where it is found, and its place: 0 for what is received, 1 for what is sent.
type Walker = (&'static str, &'static str, u32);

const RAW: [Walker; 2] = [("walk_receive", "WALK", 0), ("walk_send", "WALK", 1)];
const FENTRY: [Walker; 2] = [("walk_recvmsg", "WALK_RECVMSG", 0), ("walk_sendmsg", "WALK_SENDMSG", 1)];

/// The walking programs of a route.
pub(super) fn programs(route: Route) -> impl Iterator<Item = &'static str> {
    walkers(route).into_iter().map(|(program, ..)| program)
}

const fn walkers(route: Route) -> [Walker; 2] {
    match route {
        Route::Fentry => FENTRY,
        Route::Socket | Route::Syscall => RAW,
    }
}

/// Loads the walking programs of a route. Its hooks must be loaded before: a map of programs takes the kind of the first
/// that uses it.
pub(super) fn load(ebpf: &mut Ebpf, route: Route) -> Result<(), CaptureError> {
    for (name, map, place) in walkers(route) {
        let error = |error| CaptureError::kernel("load", name, error);
        let program = load_one(ebpf, name, route).map_err(error)?;
        let failed = |error| CaptureError::kernel("fill", map, error);
        let found = ebpf
            .map_mut(map)
            .ok_or(CaptureError::Unsupported(format!("the eBPF object has no map {map}")))?;
        ProgramArray::try_from(found).and_then(|mut map| map.set(place, &program, 0)).map_err(failed)?;
    }
    Ok(())
}

fn load_one(ebpf: &mut Ebpf, name: &str, route: Route) -> Result<ProgramFd, ProgramError> {
    let program = ebpf.program_mut(name).ok_or(ProgramError::NotLoaded)?;
    match route {
        Route::Socket | Route::Syscall => {
            let program: &mut RawTracePoint = program.try_into()?;
            program.load()?;
            program.fd()?.try_clone()
        }
        Route::Fentry => {
            let function = if name == FENTRY[0].0 { "tcp_recvmsg" } else { "tcp_sendmsg" };
            let program: &mut FExit = program.try_into()?;
            program.load(function, &Btf::from_sys_fs()?)?;
            program.fd()?.try_clone()
        }
    }
    .map_err(ProgramError::from)
}
