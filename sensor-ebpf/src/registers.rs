//! The system call in progress, read from the registers that its entry saved: which call, and where its
//! buffers are. Layouts are those of `struct pt_regs` (x86_64 psABI) and `struct pt_regs` of arm64, whose
//! members the kernel keeps in place.

use aya_ebpf::helpers::{bpf_get_current_task_btf, generated::bpf_task_pt_regs};
use sensor_common::cause::Counter;

use crate::{buffers::Buffers, kernel};

/// Of `struct user_msghdr`: where `msg_iov` and `msg_iovlen` are.
const MSGHDR_IOV: u64 = 16;

/// Number and arguments of a system call.
pub(crate) struct Call {
    pub(crate) number: u64,
    pub(crate) arguments: [u64; 3],
}

#[cfg(not(bpf_target_arch = "aarch64"))]
mod arch {
    pub(super) const READ: u64 = 0;
    pub(super) const WRITE: u64 = 1;
    pub(super) const READV: u64 = 19;
    pub(super) const WRITEV: u64 = 20;
    pub(super) const SENDTO: u64 = 44;
    pub(super) const RECVFROM: u64 = 45;
    pub(super) const SENDMSG: u64 = 46;
    pub(super) const RECVMSG: u64 = 47;
    pub(super) const RECVMMSG: u64 = 299;
    pub(super) const SENDMMSG: u64 = 307;

    /// `dx`, `si`, `di`, `orig_ax`, `ip`, `cs`, as `struct pt_regs` holds them one after the other.
    pub(super) type Registers = [u64; 6];
    pub(super) const FIRST: u64 = 96;
    /// The 64-bit user code segment (`__USER_CS`): a 32-bit call has other numbers.
    const USER_CS: u64 = 0x33;

    #[inline(always)]
    pub(super) fn call(registers: &Registers) -> Option<super::Call> {
        let [dx, si, di, orig_ax, _ip, cs] = *registers;
        (cs & 0xffff == USER_CS).then_some(super::Call { number: orig_ax, arguments: [di, si, dx] })
    }
}

#[cfg(bpf_target_arch = "aarch64")]
mod arch {
    pub(super) const READ: u64 = 63;
    pub(super) const WRITE: u64 = 64;
    pub(super) const READV: u64 = 65;
    pub(super) const WRITEV: u64 = 66;
    pub(super) const SENDTO: u64 = 206;
    pub(super) const RECVFROM: u64 = 207;
    pub(super) const SENDMSG: u64 = 211;
    pub(super) const RECVMSG: u64 = 212;
    pub(super) const RECVMMSG: u64 = 243;
    pub(super) const SENDMMSG: u64 = 269;

    /// `regs[0..31]`, `sp`, `pc`, `pstate`, `orig_x0`, `syscallno`.
    pub(super) type Registers = [u64; 36];
    pub(super) const FIRST: u64 = 0;
    /// `PSR_MODE32_BIT`: a 32-bit call has other numbers.
    const MODE_32: u64 = 0x10;

    #[inline(always)]
    pub(super) fn call(registers: &Registers) -> Option<super::Call> {
        let number = registers[35] & 0xffff_ffff;
        (registers[33] & MODE_32 == 0)
            .then_some(super::Call { number, arguments: [registers[34], registers[1], registers[2]] })
    }
}

/// The system call that the current thread is in; `None` when it is no 64-bit call.
#[inline(always)]
pub(crate) fn current() -> Result<Option<Call>, Counter> {
    // SAFETY: the helpers have no preconditions; the registers' address is only used to read from.
    let address = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as u64;
    let registers: arch::Registers = kernel::read(address + arch::FIRST)?;
    Ok(arch::call(&registers))
}

/// The buffers of the system call that the current thread is in.
///
/// [`Buffers::NONE`] when the call is none of those that name one buffer or vector: `sendfile`, `splice`,
/// `io_uring_enter`, a 32-bit call, or several messages in one `sendmmsg` or `recvmmsg`, of which nothing says
/// which one this is. A kernel thread has no user registers: all zero, which is no 64-bit call either.
#[inline(always)]
pub(crate) fn current_buffers() -> Result<Buffers, Counter> {
    let Some(call) = current()? else { return Ok(Buffers::NONE) };
    let [_descriptor, second, third] = call.arguments;
    match call.number {
        arch::READ | arch::WRITE | arch::RECVFROM | arch::SENDTO => Ok(Buffers::range(second)),
        arch::READV | arch::WRITEV => Buffers::user_vector(second, third),
        arch::RECVMSG | arch::SENDMSG => message(second),
        arch::RECVMMSG | arch::SENDMMSG if third as u32 == 1 => message(second),
        _ => Ok(Buffers::NONE),
    }
}

/// The buffers of a `struct user_msghdr`.
#[inline(always)]
pub(crate) fn message(header: u64) -> Result<Buffers, Counter> {
    let [vector, segments]: [u64; 2] = kernel::read_user(header + MSGHDR_IOV)?;
    Buffers::user_vector(vector, segments)
}
