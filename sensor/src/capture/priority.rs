//! The priority of the threads that empty the ring buffers.
//!
//! On a host whose processors are all busy, a thread gets its share and no more. That of one that empties a ring buffer
//! would then set how many requests a second can be told, and the rest would be lost. So these threads run before
//! others, as auditd does: what they take is bounded by what there is to take, and by the container's limit.

/// How much before others: the kernel's nice value, which is auditd's by default.
const NICE: i32 = -4;

/// Lets the calling thread run before others of its control group, where that is allowed.
pub fn raise() {
    // Linux takes the calling thread where POSIX says the process (setpriority(2)).
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!("what empties the ring buffers has no priority: {error}");
    }
}
