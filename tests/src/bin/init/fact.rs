//! What the kernel has of what the sensor can use, as far as files tell without loading a program.

use std::fs;
use std::path::Path;

use crate::port::Port;

const TRACING: &str = "/sys/kernel/tracing";

pub(crate) fn report(port: &mut Port) {
    port.fact("release", &read("/proc/sys/kernel/osrelease"));
    port.fact("booted in", &format!("{} s", read("/proc/uptime").split(' ').next().unwrap_or_default()));
    let btf = fs::metadata("/sys/kernel/btf/vmlinux")
        .map_or_else(|_| "no".into(), |m| format!("{} bytes", m.len()));
    port.fact("BTF", &btf);
    let modules = fs::read_dir("/sys/kernel/btf").map_or(0, Iterator::count).saturating_sub(1);
    port.fact("BTF of modules", &modules.to_string());
    for (name, path) in [
        ("kprobe", "/sys/bus/event_source/devices/kprobe/type"),
        ("uprobe", "/sys/bus/event_source/devices/uprobe/type"),
        ("syscall tracepoints", "/sys/kernel/tracing/events/syscalls/sys_enter_write/id"),
        ("raw_syscalls tracepoints", "/sys/kernel/tracing/events/raw_syscalls/sys_enter/id"),
        ("sock_send_length", "/sys/kernel/tracing/events/sock/sock_send_length/id"),
        ("inet_sock_set_state", "/sys/kernel/tracing/events/sock/inet_sock_set_state/id"),
        ("cgroup v2", "/sys/fs/cgroup/cgroup.controllers"),
        ("BPF file system", "/sys/fs/bpf"),
    ] {
        port.fact(name, if Path::new(path).exists() { "yes" } else { "no" });
    }
    // A function that ftrace can trace is one that fentry can attach to.
    let functions = fs::read_to_string(format!("{TRACING}/available_filter_functions")).unwrap_or_default();
    for function in ["tcp_sendmsg", "tcp_recvmsg", "unix_stream_sendmsg", "pipe_write", "tcp_sendpage"] {
        let found = functions.lines().any(|l| l.split(' ').next() == Some(function));
        port.fact(&format!("ftrace of {function}"), if found { "yes" } else { "no" });
    }
    port.fact("BPF JIT", &read("/proc/sys/net/core/bpf_jit_enable"));
    port.fact("lockdown", &read("/sys/kernel/security/lockdown"));
    let controllers = read("/proc/self/mountinfo").lines().filter(|l| l.contains(" - cgroup ")).count();
    port.fact("cgroup v1 hierarchies", &controllers.to_string());
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "none".into(), |t| t.trim().to_owned())
}
