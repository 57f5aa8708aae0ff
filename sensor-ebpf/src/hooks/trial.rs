//! Programs that do nothing, one a kind of hook: attached for a moment, they show whether the kernel allows the kind.

use aya_ebpf::{
    macros::{btf_tracepoint, fentry, kprobe, raw_tracepoint, uprobe},
    programs::{BtfTracePointContext, FEntryContext, ProbeContext, RawTracePointContext},
};

#[fentry(function = "tcp_sendmsg")]
fn trial_fentry(_ctx: FEntryContext) -> i32 {
    0
}

#[btf_tracepoint(function = "sched_process_exit")]
fn trial_tracepoint(_ctx: BtfTracePointContext) -> i32 {
    0
}

#[raw_tracepoint]
fn trial_raw_tracepoint(_ctx: RawTracePointContext) -> u32 {
    0
}

#[kprobe]
fn trial_kprobe(_ctx: ProbeContext) -> u32 {
    0
}

#[uprobe]
fn trial_uprobe(_ctx: ProbeContext) -> u32 {
    0
}
