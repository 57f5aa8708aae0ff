//! What in the kernel's messages means that the guest is lost.

/// Phrases of the kernel's own reports, and how a person calls each.
const TROUBLE: [(&str, &str); 12] = [
    ("Kernel panic - not syncing", "the kernel panicked"),
    ("watchdog: BUG: soft lockup", "a processor was locked up"),
    ("NMI watchdog: Watchdog detected hard LOCKUP", "a processor was locked up"),
    ("detected stalls on CPUs/tasks", "RCU was stalled"),
    ("self-detected stall on CPU", "RCU was stalled"),
    ("blocked for more than", "a task was blocked for too long"),
    ("Oops:", "the kernel oopsed"),
    ("general protection fault", "the kernel oopsed"),
    ("BUG: unable to handle", "the kernel oopsed"),
    ("BUG: kernel NULL pointer", "the kernel oopsed"),
    // qemu's own report; the guest stands still after it.
    ("KVM internal error", "hardware virtualisation failed on this machine"),
    // Stands before each BUG and each WARNING, whose own wording changes between kernels.
    ("[ cut here ]", "the kernel warned of its own state"),
];

/// The trouble that a line of the console tells of, if any. A program in the guest that crashes is not the
/// kernel's trouble: its `traps: ... general protection fault` line names the program and `ip:`.
pub(super) fn trouble(line: &str) -> Option<&'static str> {
    if line.contains("traps:") {
        return None;
    }
    TROUBLE.iter().find(|(phrase, _)| line.contains(phrase)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_the_kernel_are_trouble() {
        for line in [
            "[    1.2] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
            "[   30.0] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [init:1]",
            "[   30.0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "[   30.0] rcu: INFO: rcu_sched self-detected stall on CPU",
            "[    2.0] Oops: 0002 [#1] SMP NOPTI",
            "[    2.0] BUG: kernel NULL pointer dereference, address: 0000000000000000",
            "[    2.0] ------------[ cut here ]------------",
        ] {
            assert!(trouble(line).is_some(), "{line}");
        }
    }

    #[test]
    fn a_crash_of_a_program_and_plain_lines_are_not() {
        for line in [
            "[    2.0] traps: node[77] general protection fault ip:7f sp:7f error:0 in libc.so.6",
            "[    0.1] smpboot: CPU0: Intel TDX (family: 0x6)",
            "test http::a_warning_is_counted ... ok",
        ] {
            assert_eq!(trouble(line), None, "{line}");
        }
    }
}
