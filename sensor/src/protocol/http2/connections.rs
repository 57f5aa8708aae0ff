//! All HTTP/2 connections of the host.

use std::num::NonZeroUsize;

use lru::LruCache;

use super::{Context, Http2};
use crate::protocol::{Connection, FrameRecord, Loss, http1::HandedOver};

/// The most connections that are followed: beyond, the one longest without a record is forgotten, and its open streams
/// are [`Loss::EvictedConnection`]. Each holds two header tables, of some 4 KiB usually and 64 KiB at most.
const LIMIT: NonZeroUsize = NonZeroUsize::new(8192).unwrap();

/// The connections.
#[derive(Debug)]
pub(in crate::protocol) struct Connections(LruCache<u64, Http2>);

impl Connections {
    pub(in crate::protocol) fn new() -> Self {
        Self(LruCache::unbounded())
    }

    pub(in crate::protocol) fn len(&self) -> usize {
        self.0.len()
    }

    pub(in crate::protocol) fn on_frames(&mut self, record: &FrameRecord<'_>, context: &mut Context<'_>) {
        self.connection(record.connection, context).on_frames(record, context);
    }

    /// Takes the request with which a connection went over to HTTP/2.
    pub(in crate::protocol) fn hand_over(&mut self, request: HandedOver, context: &mut Context<'_>) {
        self.connection(request.connection, context).hand_over(request, context);
    }

    fn connection(&mut self, connection: Connection, context: &mut Context<'_>) -> &mut Http2 {
        if !self.0.contains(&connection.id)
            && self.0.len() >= LIMIT.get()
            && let Some((_, mut oldest)) = self.0.pop_lru()
        {
            oldest.expire(u64::MAX, Loss::EvictedConnection, context);
        }
        self.0.get_or_insert_mut(connection.id, || Http2::new(connection))
    }

    pub(in crate::protocol) fn on_close(&mut self, id: u64, time_ns: u64, context: &mut Context<'_>) {
        if let Some(mut connection) = self.0.pop(&id) {
            connection.on_close(time_ns, context);
        }
    }

    /// Lets go of responses whose request has not come in time.
    pub(in crate::protocol) fn drop_late(&mut self, now_ns: u64, context: &mut Context<'_>) {
        self.0.iter_mut().for_each(|(_, connection)| connection.drop_late(now_ns, context));
    }

    /// Gives up streams on which nothing moved since `before_ns`.
    pub(in crate::protocol) fn expire(&mut self, before_ns: u64, cause: Loss, context: &mut Context<'_>) {
        self.0.iter_mut().for_each(|(_, connection)| connection.expire(before_ns, cause, context));
    }
}
