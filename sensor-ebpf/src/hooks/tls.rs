//! OpenSSL's functions that take and give plaintext (1.1.0 and later), in any program. The daemon attaches them.
//!
//! ```c
//! int SSL_read(SSL *ssl, void *buf, int num);
//! int SSL_write(SSL *ssl, const void *buf, int num);
//! int SSL_read_ex(SSL *ssl, void *buf, size_t num, size_t *readbytes);
//! int SSL_write_ex(SSL *s, const void *buf, size_t num, size_t *written);
//! SSL *SSL_new(SSL_CTX *ctx);
//! void SSL_free(SSL *ssl);
//! int SSL_clear(SSL *ssl);
//! ```
//!
//! What was written is read at the return as well: then it is known how much of it went, and the caller cannot have changed it.
//!
//! Since 6.0 the kernel may preempt these programs, by others of them on the same processor too. So what they put together
//! is in a slot that only its thread uses (`plaintext`).

use aya_ebpf::{
    EbpfContext,
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use sensor_common::{cause::Counter, connection::Direction};

use crate::{
    count::fail,
    emit, http2,
    maps::{NEXT_TLS, PLAINTEXT_FRAME_SLOT, PLAINTEXT_HEAD_SLOT},
    next::Next,
    plaintext,
};

/// Places in [`NEXT_TLS`].
const WALK: u32 = 0;
const TELL: u32 = 1;

/// Defines the entry of a call whose fourth argument, if it has one, says where the number of bytes is.
macro_rules! entry {
    ($name:ident, $direction:ident, $moved:expr) => {
        #[uprobe]
        fn $name(ctx: ProbeContext) -> u32 {
            let moved: fn(&ProbeContext) -> u64 = $moved;
            enter(&ctx, moved(&ctx), Direction::$direction);
            0
        }
    };
}

entry!(tls_read, Receive, |_| 0);
entry!(tls_write, Send, |_| 0);
entry!(tls_read_ex, Receive, |ctx| ctx.arg(3).unwrap_or(0));
entry!(tls_write_ex, Send, |ctx| ctx.arg(3).unwrap_or(0));

#[inline(always)]
fn enter(ctx: &ProbeContext, moved: u64, direction: Direction) {
    let (Some(ssl), Some(buffer)) = (ctx.arg(0), ctx.arg(1)) else { return };
    if let Err(cause) = plaintext::enter(ssl, buffer, moved, direction) {
        fail(ctx, cause);
    }
}

#[uretprobe]
fn tls_return(ctx: RetProbeContext) -> u32 {
    match plaintext::leave(ctx.ret()) {
        Ok(next) => go(&ctx, next),
        Err(cause) => fail(&ctx, cause),
    }
    0
}

/// Goes on in the next program; comes back only when there is none, or when that is not possible.
#[inline(always)]
fn go(ctx: &impl EbpfContext, next: Next) {
    let place = match next {
        Next::Walk(_) => WALK,
        Next::Tell(_) => TELL,
        Next::Done | Next::Dns(_) => return,
    };
    // SAFETY: the programs take the same context.
    unsafe { NEXT_TLS.tail_call(ctx, place) };
    let Some(slot) = plaintext::own_slot() else { return };
    if place == WALK {
        http2::give_up(PLAINTEXT_FRAME_SLOT + slot);
    } else {
        fail(ctx, Counter::Untold);
    }
    plaintext::free_slot(slot);
}

/// Walks the frames of plaintext: reached by tail calls alone.
#[uretprobe]
fn tls_walk(ctx: RetProbeContext) -> u32 {
    let Some(slot) = plaintext::own_slot() else { return 0 };
    if http2::walk(&ctx, PLAINTEXT_FRAME_SLOT + slot) {
        go(&ctx, Next::Walk(Direction::Receive));
    } else {
        plaintext::free_slot(slot);
    }
    0
}

/// Masks a head in plaintext and tells it: reached by tail calls alone.
#[uretprobe]
fn tls_tell(ctx: RetProbeContext) -> u32 {
    let Some(slot) = plaintext::own_slot() else { return 0 };
    if let Err(cause) = emit::tell(PLAINTEXT_HEAD_SLOT + slot) {
        fail(&ctx, cause);
    }
    plaintext::free_slot(slot);
    0
}

#[uretprobe]
fn tls_new(ctx: RetProbeContext) -> u32 {
    plaintext::forget(ctx.ret());
    0
}

#[uprobe]
fn tls_forget(ctx: ProbeContext) -> u32 {
    if let Some(ssl) = ctx.arg(0) {
        plaintext::forget(ssl);
    }
    0
}
