//! Which pipe or terminal a file is.

use sensor_common::{cause::Counter, log::PipeKey};

use super::PIPES;
use crate::{
    globals::offset,
    kernel::{Probed, Reads},
};

const S_IFMT: u16 = 0o170_000;
const S_IFIFO: u16 = 0o010_000;
const S_IFCHR: u16 = 0o020_000;
/// Major numbers of the terminals of `devpts` (`UNIX98_PTY_SLAVE_MAJOR`, eight of them).
const TERMINALS: core::ops::Range<u32> = 136..144;
const MINOR_BITS: u32 = 20;

/// The number of the followed pipe or terminal that a `struct file` is; `None` when it is none.
#[inline(always)]
pub(crate) fn number<R: Reads>(file: u64) -> Result<Option<u64>, Counter> {
    let inode: u64 = R::member(file + offset!(file_inode))?;
    let mode: u16 = R::member(inode + offset!(inode_mode))?;
    if mode & S_IFMT != S_IFIFO && mode & S_IFMT != S_IFCHR {
        return Ok(None);
    }
    let key = key::<R>(inode)?;
    // SAFETY: the value is copied out at once.
    Ok(unsafe { PIPES.get(key) }.copied())
}

/// The key of a `struct file` that is a pipe or the terminal of a pseudo-terminal; `None` when it is neither.
#[inline(always)]
pub(crate) fn key_of_terminal_or_pipe(file: u64) -> Result<Option<PipeKey>, Counter> {
    let inode: u64 = Probed::member(file + offset!(file_inode))?;
    let mode: u16 = Probed::member(inode + offset!(inode_mode))?;
    let kind = mode & S_IFMT;
    if kind == S_IFCHR {
        let device: u32 = Probed::member(inode + offset!(inode_rdev))?;
        if !TERMINALS.contains(&(device >> MINOR_BITS)) {
            return Ok(None);
        }
    } else if kind != S_IFIFO {
        return Ok(None);
    }
    Ok(Some(key::<Probed>(inode)?))
}

#[inline(always)]
fn key<R: Reads>(inode: u64) -> Result<PipeKey, Counter> {
    let number: u64 = R::member(inode + offset!(inode_number))?;
    let superblock: u64 = R::member(inode + offset!(inode_superblock))?;
    let device: u32 = R::member(superblock + offset!(superblock_device))?;
    Ok(PipeKey { inode: number, device, padding: 0 })
}
