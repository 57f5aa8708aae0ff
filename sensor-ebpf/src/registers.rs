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
pub(crate) mod arch {
    pub(crate) const READ: u64 = 0;
    pub(crate) const WRITE: u64 = 1;
    pub(crate) const READV: u64 = 19;
    pub(crate) const WRITEV: u64 = 20;
    pub(crate) const SENDFILE: u64 = 40;
    pub(crate) const CONNECT: u64 = 42;
    pub(crate) const SENDTO: u64 = 44;
    pub(crate) const RECVFROM: u64 = 45;
    pub(crate) const SENDMSG: u64 = 46;
    pub(crate) const RECVMSG: u64 = 47;
    pub(crate) const SPLICE: u64 = 275;
    pub(crate) const TEE: u64 = 276;
    pub(crate) const VMSPLICE: u64 = 278;
    pub(crate) const RECVMMSG: u64 = 299;
    pub(crate) const SENDMMSG: u64 = 307;
    pub(crate) const PWRITEV2: u64 = 328;

    /// `dx`, `si`, `di`, `orig_ax`, `ip`, `cs`, as `struct pt_regs` holds them one after the other.
    pub(super) type Registers = [u64; 6];
    pub(super) const FIRST: u64 = 96;
    /// Offsets of the number, `orig_ax`, and of the fourth argument, `r10`.
    pub(super) const NUMBER: u64 = 120;
    pub(super) const FOURTH: u64 = 56;
    /// Offset of the fifth argument, `r8`.
    pub(super) const FIFTH: u64 = 72;
    /// The 64-bit user code segment (`__USER_CS`): a 32-bit call has other numbers.
    const USER_CS: u64 = 0x33;

    #[inline(always)]
    pub(super) fn call(registers: &Registers) -> Option<super::Call> {
        let [dx, si, di, orig_ax, _ip, cs] = *registers;
        (cs & 0xffff == USER_CS).then_some(super::Call { number: orig_ax, arguments: [di, si, dx] })
    }

    /// The same from a pointer that the kernel vouches for.
    // VERIFIER: 6.3 and later: plain loads at constant offsets, each of one member. They cost a tenth of a helper's call.
    #[inline(always)]
    pub(super) fn vouched(registers: *const u8) -> Result<Option<super::Call>, super::Counter> {
        const CS: usize = 136;
        // SAFETY: the pointer came from `bpf_task_pt_regs`, and the kernel checks each load.
        unsafe {
            let word = |offset: usize| registers.add(offset).cast::<u64>().read_volatile();
            if u64::from(registers.add(CS).cast::<u16>().read_volatile()) != USER_CS {
                return Ok(None);
            }
            let [dx, si, di] = [word(96), word(104), word(112)];
            Ok(Some(super::Call { number: word(120), arguments: [di, si, dx] }))
        }
    }
}

#[cfg(bpf_target_arch = "aarch64")]
pub(crate) mod arch {
    pub(crate) const READ: u64 = 63;
    pub(crate) const WRITE: u64 = 64;
    pub(crate) const READV: u64 = 65;
    pub(crate) const WRITEV: u64 = 66;
    pub(crate) const SENDFILE: u64 = 71;
    pub(crate) const VMSPLICE: u64 = 75;
    pub(crate) const SPLICE: u64 = 76;
    pub(crate) const TEE: u64 = 77;
    pub(crate) const CONNECT: u64 = 203;
    pub(crate) const SENDTO: u64 = 206;
    pub(crate) const RECVFROM: u64 = 207;
    pub(crate) const SENDMSG: u64 = 211;
    pub(crate) const RECVMSG: u64 = 212;
    pub(crate) const RECVMMSG: u64 = 243;
    pub(crate) const SENDMMSG: u64 = 269;
    pub(crate) const PWRITEV2: u64 = 287;

    /// `regs[0..31]`, `sp`, `pc`, `pstate`, `orig_x0`, `syscallno`.
    pub(super) type Registers = [u64; 36];
    pub(super) const FIRST: u64 = 0;
    /// Offsets of the number and of the fourth argument.
    pub(super) const NUMBER: u64 = 280;
    pub(super) const FOURTH: u64 = 24;
    /// Offset of the fifth argument.
    pub(super) const FIFTH: u64 = 32;
    /// `PSR_MODE32_BIT`: a 32-bit call has other numbers.
    const MODE_32: u64 = 0x10;

    #[inline(always)]
    pub(super) fn call(registers: &Registers) -> Option<super::Call> {
        let number = registers[35] & 0xffff_ffff;
        (registers[33] & MODE_32 == 0)
            .then_some(super::Call { number, arguments: [registers[34], registers[1], registers[2]] })
    }

    /// The same from a pointer that the kernel vouches for.
    #[inline(always)]
    pub(super) fn vouched(registers: *const u8) -> Result<Option<super::Call>, super::Counter> {
        super::call(registers as u64)
    }
}

/// Number and first arguments of the call whose `struct pt_regs` is here; `None` for a 32-bit call.
#[inline(always)]
pub(crate) fn call(registers: u64) -> Result<Option<Call>, Counter> {
    let registers: arch::Registers = kernel::read(registers + arch::FIRST)?;
    Ok(arch::call(&registers))
}

/// The number alone. A 32-bit call has other numbers.
#[inline(always)]
pub(crate) fn number(registers: u64) -> Result<u64, Counter> {
    let number: u64 = kernel::read(registers + arch::NUMBER)?;
    Ok(number & 0xffff_ffff)
}

/// The fourth argument.
#[inline(always)]
pub(crate) fn fourth(registers: u64) -> Result<u64, Counter> {
    kernel::read(registers + arch::FOURTH)
}

/// The fifth argument.
#[inline(always)]
pub(crate) fn fifth(registers: u64) -> Result<u64, Counter> {
    kernel::read(registers + arch::FIFTH)
}

/// Where the registers of the system call that the current thread is in are.
#[inline(always)]
pub(crate) fn current() -> u64 {
    // SAFETY: the helpers have no preconditions.
    unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) as u64 }
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
    let Some(call) = arch::vouched(registers as *const u8)? else { return Ok(Buffers::NONE) };
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
