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
    use sensor_common::cause::Counter;

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

    /// The 64-bit user code segment (`__USER_CS`): a 32-bit call has other numbers.
    const USER_CS: u16 = 0x33;

    /// Offsets of `dx`, `si`, `di`, `orig_ax` and `cs` in `struct pt_regs`.
    const DX: usize = 96;
    const SI: usize = 104;
    const DI: usize = 112;
    const ORIG_AX: usize = 120;
    const CS: usize = 136;

    /// The call in progress, from the `struct pt_regs` that the kernel vouches for.
    // VERIFIER: 6.3 and later: plain loads at constant offsets, each of one member.
    #[inline(always)]
    pub(super) fn call(registers: *const u8) -> Result<Option<super::Call>, Counter> {
        // SAFETY: the pointer came from `bpf_task_pt_regs`, and the kernel checks each load.
        unsafe {
            if registers.add(CS).cast::<u16>().read_volatile() != USER_CS {
                return Ok(None);
            }
            let word = |offset: usize| registers.add(offset).cast::<u64>().read_volatile();
            Ok(Some(super::Call { number: word(ORIG_AX), arguments: [word(DI), word(SI), word(DX)] }))
        }
    }
}

#[cfg(bpf_target_arch = "aarch64")]
mod arch {
    use sensor_common::cause::Counter;

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
    type Registers = [u64; 36];
    /// `PSR_MODE32_BIT`: a 32-bit call has other numbers.
    const MODE_32: u64 = 0x10;

    /// The call in progress.
    #[inline(always)]
    pub(super) fn call(registers: *const u8) -> Result<Option<super::Call>, Counter> {
        let registers: Registers = crate::kernel::read(registers as u64)?;
        let number = registers[35] & 0xffff_ffff;
        Ok((registers[33] & MODE_32 == 0)
            .then_some(super::Call { number, arguments: [registers[34], registers[1], registers[2]] }))
    }
}

/// The buffers of the system call that the current thread is in.
///
/// [`Buffers::NONE`] when the call is none of those that name one buffer or vector: `sendfile`, `splice`,
/// `io_uring_enter`, a 32-bit call, or several messages in one `sendmmsg` or `recvmmsg`, of which nothing says
/// which one this is. A kernel thread has no user registers: all zero, which is no 64-bit call either.
#[inline(always)]
pub(crate) fn current_buffers() -> Result<Buffers, Counter> {
    // SAFETY: the helpers have no preconditions.
    let registers = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) };
    let Some(call) = arch::call(registers as *const u8)? else { return Ok(Buffers::NONE) };
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
