//! What `cargo xtask bench mask` measures: writes of one process are captured as those to a followed pipe are, wherever they go.
//! It is in no object that is shipped.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use sensor_common::cause::Counter;

use crate::{
    buffers::Buffers,
    log::{Write, capture},
    registers::{self, arch},
    target,
};

/// The slot of the scratch map.
const SLOT: u32 = 0;
/// The number of a pipe that does not exist.
const PIPE: u64 = 1;

/// The return of any call; only those of the process that measures are of interest.
#[raw_tracepoint(tracepoint = "sys_exit")]
fn bench_log(ctx: RawTracePointContext) -> u32 {
    let _ = try_exit(ctx.arg(0), ctx.arg(1));
    0
}

#[inline(always)]
fn try_exit(registers: u64, returned: i64) -> Result<(), Counter> {
    if returned <= 0 || !target::is_sensor() || registers::number(registers)? != arch::WRITE {
        return Ok(());
    }
    let Some(call) = registers::call(registers)? else { return Ok(()) };
    let [descriptor, address, _] = call.arguments;
    let buffers = Buffers::range(address);
    capture(SLOT, &Write { pipe: PIPE, length: returned as u32, buffers, descriptor: descriptor as u32 })
}
