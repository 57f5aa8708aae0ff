//! Attaching the programs: those that every route needs, and those of one route.

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, FEntry, FExit, Program, ProgramError, RawTracePoint},
};

use super::{CaptureError, Kernel, Route, load::MARK, next};

/// Programs that every route needs, and their tracepoints.
const COMMON: [(&str, &str); 4] = [
    (MARK, "tcp_destroy_sock"),
    ("sched_process_exec", "sched_process_exec"),
    ("sched_process_fork", "sched_process_fork"),
    ("sched_process_exit", "sched_process_exit"),
];
/// The program of connections, named as its tracepoint, and its better form where its arguments have types.
const FLOW: &str = "inet_sock_set_state";
const FLOW_TYPED: &str = "tcp_state";
/// Programs of resets, named as their tracepoints.
const RESETS: [&str; 2] = ["tcp_receive_reset", "tcp_send_reset"];
/// Programs at the return of functions that connect.
const CONNECT: [(&str, &str); 2] = [("tcp_connect", "tcp_v4_connect"), ("tcp6_connect", "tcp_v6_connect")];
/// Programs of the socket route, named as their tracepoints.
const SOCKET: [&str; 2] = ["sock_send_length", "sock_recv_length"];
/// The program of the fentry route at a function's entry, and the function.
const FENTRY: (&str, &str) = ("tcp_sendmsg_entry", "tcp_sendmsg");
/// Programs of the fentry route at a function's return, and the function.
const FEXIT: [(&str, &str); 2] =
    [("tcp_sendmsg_exit", "tcp_sendmsg"), ("tcp_splice_exit", "tcp_splice_read")];
/// The same for a function that newer kernels do without: they send pages through `tcp_sendmsg`.
const SENDPAGE: (&str, &str) = ("tcp_sendpage_exit", "tcp_sendpage");
/// The same for a function whose parameters changed in number, by that number: before 5.19, until `addr_len`
/// went, and since.
const RECVMSG: [(u32, &str); 3] = [(6, "tcp_recvmsg_6"), (5, "tcp_recvmsg_5"), (4, "tcp_recvmsg_4")];
const RECVMSG_FUNCTION: &str = "tcp_recvmsg";
/// Programs of the fentry route on Unix-domain sockets, and their functions: at the return, and at the entry.
const UNIX_FEXIT: [(&str, &str); 3] = [
    ("unix_sendmsg_exit", "unix_stream_sendmsg"),
    ("unix_recvmsg_exit", "unix_stream_recvmsg"),
    ("unix_splice_exit", "unix_stream_splice_read"),
];
const UNIX_FENTRY: [(&str, &str); 2] =
    [("unix_release", "unix_release"), ("unix_sendmsg_entry", "unix_stream_sendmsg")];
/// The same for a function that newer kernels do without, as for TCP.
const UNIX_SENDPAGE: (&str, &str) = ("unix_sendpage_exit", "unix_stream_sendpage");
/// A function that receives datagrams, and its programs by the number of its parameters as in [`RECVMSG`].
type Receive = (&'static str, [(u32, &'static str); 3]);
/// Programs of the fentry route for the datagrams of both families: that at the entry of the function that sends, and
/// those at the return of the one that receives.
const UDP: [((&str, &str), Receive); 2] = [
    (
        ("dns_udp_send", "udp_sendmsg"),
        ("udp_recvmsg", [(6, "dns_udp_receive_6"), (5, "dns_udp_receive_5"), (4, "dns_udp_receive_4")]),
    ),
    (
        ("dns_udp6_send", "udpv6_sendmsg"),
        ("udpv6_recvmsg", [(6, "dns_udp6_receive_6"), (5, "dns_udp6_receive_5"), (4, "dns_udp6_receive_4")]),
    ),
];
/// Programs of the syscall route, named as their tracepoints. The return first: an entry without its return would
/// leave its note behind.
const SYSCALL: [&str; 2] = ["sys_exit", "sys_enter"];
/// The program that sees which standard streams a program starts with.
const LOG_EXEC: &str = "log_exec";
/// The program that sees writes to pipes.
const LOG_PIPE: &str = "log_pipe_write";
/// Programs that see writes to terminals, by the number of the function's parameters.
const LOG_TTY: [(u32, &str); 2] = [(2, "log_tty_write_2"), (4, "log_tty_write_4")];
const LOG_TTY_FUNCTION: &str = "tty_write";
/// Programs that see what is moved into a pipe without a write, and the calls that do it.
const LOG_MOVED: [(&str, &str); 4] =
    [("log_splice", "splice"), ("log_sendfile", SENDFILE), ("log_tee", "tee"), ("log_vmsplice", "vmsplice")];
const SENDFILE: &str = "sendfile64";
/// What the names of the calls' functions begin with.
const CALL: &str = if cfg!(target_arch = "aarch64") { "__arm64_sys_" } else { "__x64_sys_" };
/// The program that sees them where functions cannot be traced, and its tracepoint.
const LOG_SYSCALL: (&str, &str) = ("log_sys_exit", "sys_exit");

/// Attaches what every route needs.
pub(super) fn common(ebpf: &mut Ebpf) -> Result<(), CaptureError> {
    COMMON.iter().try_for_each(|(program, tracepoint)| raw_tracepoint(ebpf, program, tracepoint))
}

/// Attaches what captures standard streams, by the best way that the kernel and the chosen route allow; that way's name.
pub(super) fn logs(
    ebpf: &mut Ebpf,
    kernel: &Kernel,
    route: Option<Route>,
) -> Result<&'static str, CaptureError> {
    raw_tracepoint(ebpf, LOG_EXEC, "sched_process_exec")?;
    if route.is_none_or(|route| route == Route::Fentry) {
        let Err(error) = log_fentry(ebpf, kernel) else { return Ok("fentry") };
        // Both ways at once would tell each line twice.
        let of_terminals = LOG_TTY.iter().map(|(_, program)| *program);
        let of_calls = LOG_MOVED.iter().map(|(program, _)| *program);
        unload(ebpf, [LOG_PIPE].into_iter().chain(of_terminals).chain(of_calls));
        if route.is_some() {
            return Err(error);
        }
        tracing::debug!("standard streams cannot be captured by functions: {}", error.brief());
    }
    let (program, tracepoint) = LOG_SYSCALL;
    raw_tracepoint(ebpf, program, tracepoint)?;
    Ok("syscall")
}

fn log_fentry(ebpf: &mut Ebpf, kernel: &Kernel) -> Result<(), CaptureError> {
    let btf = Btf::from_sys_fs().map_err(|error| CaptureError::kernel("read", "the kernel's BTF", error))?;
    let terminal = LOG_TTY
        .into_iter()
        .find(|(parameters, _)| kernel.tty_write_parameters == Some(*parameters))
        .map(|(_, program)| (program, LOG_TTY_FUNCTION.to_owned()));
    let calls = LOG_MOVED
        .into_iter()
        .filter(|(_, call)| *call != SENDFILE || kernel.has_sendfile_to_pipe)
        .map(|(program, call)| (program, format!("{CALL}{call}")));
    for (name, function) in
        [(LOG_PIPE, kernel.pipe_write.to_owned())].into_iter().chain(terminal).chain(calls)
    {
        let program: &mut FExit = get(ebpf, name)?;
        let loaded = program.load(&function, &btf);
        loaded.and_then(|()| program.attach().map(drop)).map_err(|error| refused(name, error))?;
    }
    Ok(())
}

/// Attaches the program of connections.
pub(super) fn flow(ebpf: &mut Ebpf, kernel: &Kernel) -> Result<(), CaptureError> {
    if kernel.flow_offsets.is_none() {
        return Err(CaptureError::Unsupported(
            "the kernel's BTF does not describe struct tcp_sock".to_owned(),
        ));
    }
    let Err(error) = typed_tracepoint(ebpf, FLOW_TYPED, FLOW) else { return Ok(()) };
    tracing::debug!("states of connections are read by helpers: {}", error.brief());
    unload(ebpf, [FLOW_TYPED]);
    raw_tracepoint(ebpf, FLOW, FLOW)
}

fn typed_tracepoint(ebpf: &mut Ebpf, name: &str, tracepoint: &str) -> Result<(), CaptureError> {
    let btf = Btf::from_sys_fs().map_err(|error| CaptureError::kernel("read", "the kernel's BTF", error))?;
    let program: &mut BtfTracePoint = get(ebpf, name)?;
    let loaded = program.load(tracepoint, &btf);
    loaded.and_then(|()| program.attach().map(drop)).map_err(|error| refused(name, error))
}

/// Attaches the programs that see attempts to connect to where no way leads, on the fentry route.
pub(super) fn connects(ebpf: &mut Ebpf, kernel: &Kernel, route: Route) -> Result<(), CaptureError> {
    if route != Route::Fentry {
        return Ok(());
    }
    let btf = Btf::from_sys_fs().map_err(|error| CaptureError::kernel("read", "the kernel's BTF", error))?;
    // A kernel whose IPv6 is a module, or not there, has only the first.
    let there = kernel.udp_recvmsg_parameters.map(|parameters| parameters.is_some());
    for ((name, function), _) in CONNECT.into_iter().zip(there).filter(|(_, there)| *there) {
        let program: &mut FExit = get(ebpf, name)?;
        let loaded = program.load(function, &btf);
        loaded.and_then(|()| program.attach().map(drop)).map_err(|error| refused(name, error))?;
    }
    Ok(())
}

/// Attaches the programs of resets.
pub(super) fn resets(ebpf: &mut Ebpf) -> Result<(), CaptureError> {
    RESETS.into_iter().try_for_each(|name| raw_tracepoint(ebpf, name, name))
}

/// Loads the programs that tell messages of the name service, which the hooks of `route` reach, and attaches those that
/// the fentry route has for datagrams.
pub(super) fn dns(ebpf: &mut Ebpf, kernel: &Kernel, route: Route) -> Result<(), CaptureError> {
    next::load_dns(ebpf, route)?;
    if route != Route::Fentry {
        return Ok(());
    }
    let btf = Btf::from_sys_fs().map_err(|error| CaptureError::kernel("read", "the kernel's BTF", error))?;
    // A kernel whose IPv6 is a module, or not there, has the functions of IPv4 alone.
    for (parameters, (send, receive)) in kernel.udp_recvmsg_parameters.into_iter().zip(UDP) {
        let Some(parameters) = parameters else { continue };
        let (_, name) = receive.1.into_iter().find(|(known, _)| *known == parameters).ok_or_else(|| {
            CaptureError::Unsupported(format!("no program for this kernel's {}", receive.0))
        })?;
        let program: &mut FExit = get(ebpf, name)?;
        let loaded = program.load(receive.0, &btf);
        loaded.and_then(|()| program.attach().map(drop)).map_err(|error| refused(name, error))?;
        let (name, function) = send;
        let program: &mut FEntry = get(ebpf, name)?;
        let loaded = program.load(function, &btf);
        loaded.and_then(|()| program.attach().map(drop)).map_err(|error| refused(name, error))?;
    }
    Ok(())
}

/// Attaches the programs of `route`, and then loads those that finish an operation for them; what was attached of it
/// before an error is detached again.
pub(super) fn route(ebpf: &mut Ebpf, kernel: &Kernel, route: Route) -> Result<(), CaptureError> {
    let result = match route {
        Route::Fentry => fentry(ebpf, kernel),
        Route::Socket => socket(ebpf, kernel),
        Route::Syscall => SYSCALL.iter().try_for_each(|name| raw_tracepoint(ebpf, name, name)),
    };
    let result = result.and_then(|()| next::load(ebpf, route));
    if result.is_err() {
        unload(ebpf, programs(route).into_iter().chain(next::programs(route)));
    } else if let Some(missing) = unix_missing(kernel) {
        tracing::warn!("Unix-domain sockets are not captured: the kernel's BTF has no {missing}");
    } else if route == Route::Fentry
        && let Err(error) = unix(ebpf, kernel)
    {
        tracing::warn!("Unix-domain sockets are not captured: {}", error.brief());
        unload(ebpf, unix_programs().chain(next::unix_programs()));
    }
    result
}

/// What the kernel does not tell of Unix-domain sockets. One that has them as a module describes them elsewhere.
fn unix_missing(kernel: &Kernel) -> Option<&'static str> {
    (kernel.offsets.unix_address == 0).then_some("struct unix_sock")
}

fn unix_programs() -> impl Iterator<Item = &'static str> {
    UNIX_FEXIT.iter().chain([&UNIX_SENDPAGE]).chain(&UNIX_FENTRY).map(|(program, _)| *program)
}

/// Attaches the programs of Unix-domain sockets, the returns first, and loads those that finish an operation for them.
fn unix(ebpf: &mut Ebpf, kernel: &Kernel) -> Result<(), CaptureError> {
    let btf = Btf::from_sys_fs().map_err(|error| CaptureError::kernel("read", "the kernel's BTF", error))?;
    for (name, function) in UNIX_FEXIT.into_iter().chain(kernel.has_sendpage.then_some(UNIX_SENDPAGE)) {
        let program: &mut FExit = get(ebpf, name)?;
        let loaded = program.load(function, &btf);
        loaded.and_then(|()| program.attach().map(drop)).map_err(|error| refused(name, error))?;
    }
    for (name, function) in UNIX_FENTRY {
        let program: &mut FEntry = get(ebpf, name)?;
        let loaded = program.load(function, &btf);
        loaded.and_then(|()| program.attach().map(drop)).map_err(|error| refused(name, error))?;
    }
    next::load_unix(ebpf)
}

fn unload(ebpf: &mut Ebpf, programs: impl IntoIterator<Item = &'static str>) {
    for program in programs {
        // One that was not loaded cannot be unloaded, and need not be.
        let _ = match ebpf.program_mut(program) {
            Some(Program::FEntry(program)) => program.unload(),
            Some(Program::FExit(program)) => program.unload(),
            Some(Program::RawTracePoint(program)) => program.unload(),
            Some(Program::BtfTracePoint(program)) => program.unload(),
            _ => Ok(()),
        };
    }
}

/// Names of all programs of a route.
fn programs(route: Route) -> Vec<&'static str> {
    match route {
        Route::Fentry => [FENTRY, SENDPAGE]
            .iter()
            .chain(&FEXIT)
            .map(|(program, _)| *program)
            .chain(RECVMSG.iter().map(|(_, program)| *program))
            .collect(),
        Route::Socket => SOCKET.to_vec(),
        Route::Syscall => SYSCALL.to_vec(),
    }
}

fn socket(ebpf: &mut Ebpf, kernel: &Kernel) -> Result<(), CaptureError> {
    if !kernel.has_socket_tracepoints {
        let [send, receive] = SOCKET;
        return Err(CaptureError::Unsupported(format!(
            "the kernel has no tracepoints {send} and {receive} (they came with 6.3)"
        )));
    }
    for name in SOCKET {
        raw_tracepoint(ebpf, name, name)?;
    }
    Ok(())
}

fn fentry(ebpf: &mut Ebpf, kernel: &Kernel) -> Result<(), CaptureError> {
    let btf = Btf::from_sys_fs().map_err(|error| CaptureError::kernel("read", "the kernel's BTF", error))?;
    let receive = RECVMSG
        .iter()
        .find(|(parameters, _)| kernel.recvmsg_parameters == Some(*parameters))
        .map(|(_, program)| (*program, RECVMSG_FUNCTION))
        .ok_or_else(|| {
            let form = kernel
                .recvmsg_parameters
                .map_or("none".to_owned(), |count| format!("one of {count} parameters"));
            CaptureError::Unsupported(format!("no program for this kernel's {RECVMSG_FUNCTION} ({form})"))
        })?;
    // The returns first: an entry without its return would leave its stamp behind.
    let returns = FEXIT.into_iter().chain([receive]).chain(kernel.has_sendpage.then_some(SENDPAGE));
    for (name, function) in returns {
        let program: &mut FExit = get(ebpf, name)?;
        let loaded = program.load(function, &btf);
        loaded.and_then(|()| program.attach().map(drop)).map_err(|error| refused(name, error))?;
    }
    let (name, function) = FENTRY;
    let program: &mut FEntry = get(ebpf, name)?;
    let loaded = program.load(function, &btf);
    loaded.and_then(|()| program.attach().map(drop)).map_err(|error| refused(name, error))
}

fn raw_tracepoint(ebpf: &mut Ebpf, name: &str, tracepoint: &str) -> Result<(), CaptureError> {
    let program: &mut RawTracePoint = get(ebpf, name)?;
    let loaded = program.load();
    loaded.and_then(|()| program.attach(tracepoint).map(drop)).map_err(|error| refused(name, error))
}

fn get<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut T, CaptureError>
where
    &'a mut T: TryFrom<&'a mut Program, Error = ProgramError>,
{
    ebpf.program_mut(name)
        .ok_or_else(|| CaptureError::Unsupported(format!("the eBPF object has no program {name}")))?
        .try_into()
        .map_err(|error| refused(name, error))
}

fn refused(name: &str, error: ProgramError) -> CaptureError {
    CaptureError::kernel("load and attach", name, error)
}
