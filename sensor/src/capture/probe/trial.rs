//! Whether the kernel allows a kind of hook, found out by attaching a program that does nothing for a moment.
//!
//! That a kernel knows a kind of program does not say that it lets this process attach one: functions may not be
//! traceable, and hosts refuse some kinds by policy.

use std::fs;

use aya::{
    Btf, Ebpf, EbpfLoader,
    programs::{
        BtfTracePoint, FEntry, KProbe, Program, ProgramError, RawTracePoint, UProbe,
        uprobe::{UProbeAttachLocation, UProbeScope},
    },
};

use super::Answer;
use crate::capture::{CaptureError, load::OBJECT};

/// A function that every kernel with TCP has.
const FUNCTION: &str = "tcp_sendmsg";

/// fentry on a function.
pub(super) fn fentry() -> Answer {
    attach("trial_fentry", |program: &mut FEntry| {
        program.load(FUNCTION, &Btf::from_sys_fs()?)?;
        program.attach().map(drop)
    })
}

/// A program on a tracepoint whose arguments are typed.
pub(super) fn btf_tracepoint() -> Answer {
    attach("trial_tracepoint", |program: &mut BtfTracePoint| {
        program.load("sched_process_exit", &Btf::from_sys_fs()?)?;
        program.attach().map(drop)
    })
}

/// A program on this tracepoint.
pub(super) fn raw_tracepoint(tracepoint: &str) -> Answer {
    attach("trial_raw_tracepoint", |program: &mut RawTracePoint| {
        program.load()?;
        program.attach(tracepoint).map(drop)
    })
}

/// A kernel probe on a function.
pub(super) fn kprobe() -> Answer {
    attach("trial_kprobe", |program: &mut KProbe| {
        program.load()?;
        program.attach(FUNCTION, 0).map(drop)
    })
}

/// A probe on a function of this very program.
pub(super) fn uprobe() -> Answer {
    let offset =
        offset_in_file(landmark as *const () as u64).ok_or("this program is not in its own memory map")?;
    attach("trial_uprobe", |program: &mut UProbe| {
        program.load()?;
        let location = UProbeAttachLocation::AbsoluteOffset(offset);
        program.attach(location, "/proc/self/exe", UProbeScope::CallingProcess).map(drop)
    })
}

/// What [`uprobe`] attaches to. Nobody calls it.
#[inline(never)]
extern "C" fn landmark() {}

/// Loads and attaches one program; it is gone when this returns.
fn attach<P>(name: &str, attach: impl FnOnce(&mut P) -> Result<(), ProgramError>) -> Answer
where
    for<'a> &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let refused = |error: ProgramError| CaptureError::kernel("load and attach", name, error).brief();
    let mut ebpf = object()?;
    let program = ebpf.program_mut(name).ok_or_else(|| format!("the eBPF object has no program {name}"))?;
    attach(program.try_into().map_err(refused)?).map_err(refused)?;
    Ok(String::new())
}

/// The programs with maps as small as they can be.
fn object() -> Result<Ebpf, String> {
    EbpfLoader::new()
        .btf(None)
        .map_max_entries("EVENTS", 4096)
        .map_max_entries("CONNECTIONS", 1)
        .load(OBJECT)
        .map_err(|error| CaptureError::kernel("load", "the eBPF object", error).brief())
}

/// Where the instruction at an address of this process is in the file that it came from.
fn offset_in_file(address: u64) -> Option<u64> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).ok());
        let offset = u64::from_str_radix(fields.nth(1)?, 16).ok()?;
        (start?..end?).contains(&address).then(|| address - start.unwrap_or_default() + offset)
    })
}

#[cfg(test)]
mod tests {
    use super::{landmark, offset_in_file};

    #[test]
    fn a_function_is_found_in_its_file() {
        let address = landmark as *const () as u64;
        let offset = offset_in_file(address).expect("it is mapped");
        let file = std::fs::read("/proc/self/exe").expect("read this program");
        let from = usize::try_from(offset).unwrap();
        // SAFETY: the function's first instruction is readable memory.
        let code = unsafe { std::slice::from_raw_parts(address as *const u8, 1) };
        assert_eq!(file[from], code[0]);
        assert_eq!(offset_in_file(0), None);
    }
}
