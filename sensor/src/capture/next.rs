//! The programs that finish an operation, which the hooks of a route reach by tail calls: those that walk HTTP/2 frames,
//! those that mask a head and tell it, and those that tell a message of the name service. Loaded, not attached, and put
//! where the hooks find them.

use aya::{
    Btf, Ebpf,
    maps::ProgramArray,
    programs::{Program, ProgramError, ProgramFd},
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
/// Those of Unix-domain sockets on the fentry route.
const UNIX: [Next; 4] = [
    ("walk_unix_recvmsg", UNIX_RECVMSG, 0),
    ("walk_unix_sendmsg", UNIX_SENDMSG, 1),
    ("tell_unix_recvmsg", UNIX_RECVMSG, 2),
    ("tell_unix_sendmsg", UNIX_SENDMSG, 3),
];
const UNIX_RECVMSG: &str = "NEXT_UNIX_RECVMSG";
const UNIX_SENDMSG: &str = "NEXT_UNIX_SENDMSG";
/// Those of the name service, by route. A route's last needs what the others do not, or its kernel may lack it.
const DNS_FENTRY: [Next; 2] = [("dns_recvmsg", RECVMSG, 4), ("dns_sendmsg", "NEXT_SENDMSG_ENTRY", 5)];
const DNS_SOCKET: [Next; 2] = [("dns_receive", "NEXT", 4), ("dns_send", "NEXT", 5)];
const DNS_SYSCALL: [Next; 2] = [("dns_receive", "NEXT", 4), ("dns_sys_send", "NEXT", 5)];

/// The programs of a route.
pub(super) fn programs(route: Route) -> impl Iterator<Item = &'static str> {
    of(route).into_iter().map(|(program, ..)| program)
}

/// Those of Unix-domain sockets on the fentry route.
pub(super) fn unix_programs() -> impl Iterator<Item = &'static str> {
    UNIX.into_iter().map(|(program, ..)| program)
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
    load_all(ebpf, &of(route))
}

/// Loads those of Unix-domain sockets, likewise.
pub(super) fn load_unix(ebpf: &mut Ebpf) -> Result<(), CaptureError> {
    load_all(ebpf, &UNIX)
}

/// Loads the programs of a route that tell messages of the name service.
pub(super) fn load_dns(ebpf: &mut Ebpf, route: Route) -> Result<(), CaptureError> {
    load_all(
        ebpf,
        match route {
            Route::Fentry => &DNS_FENTRY,
            Route::Socket => &DNS_SOCKET,
            Route::Syscall => &DNS_SYSCALL,
        },
    )
}

fn load_all(ebpf: &mut Ebpf, programs: &[Next]) -> Result<(), CaptureError> {
    for &(name, map, place) in programs {
        let error = |error| CaptureError::kernel("load", name, error);
        let program = load_one(ebpf, name, map).map_err(error)?;
        let failed = |error| CaptureError::kernel("fill", map, error);
        let found = ebpf
            .map_mut(map)
            .ok_or(CaptureError::Unsupported(format!("the eBPF object has no map {map}")))?;
        ProgramArray::try_from(found).and_then(|mut map| map.set(place, &program, 0)).map_err(failed)?;
    }
    Ok(())
}

fn load_one(ebpf: &mut Ebpf, name: &str, map: &str) -> Result<ProgramFd, ProgramError> {
    let function = match map {
        RECVMSG => "tcp_recvmsg",
        UNIX_RECVMSG => "unix_stream_recvmsg",
        UNIX_SENDMSG => "unix_stream_sendmsg",
        _ => "tcp_sendmsg",
    };
    let fd = match ebpf.program_mut(name).ok_or(ProgramError::NotLoaded)? {
        Program::RawTracePoint(program) => {
            program.load()?;
            program.fd()?.try_clone()
        }
        Program::FEntry(program) => {
            program.load(function, &Btf::from_sys_fs()?)?;
            program.fd()?.try_clone()
        }
        Program::FExit(program) => {
            program.load(function, &Btf::from_sys_fs()?)?;
            program.fd()?.try_clone()
        }
        _ => return Err(ProgramError::UnexpectedProgramType),
    };
    fd.map_err(ProgramError::from)
}
