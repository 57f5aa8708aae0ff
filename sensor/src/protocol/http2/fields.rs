//! What of a header list matters.

use super::{
    grpc,
    hpack::{Decoder, Field, Malformed},
};
use crate::protocol::kept;

/// A header list, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// `:method`.
    pub(super) method: Option<String>,
    /// `:path`.
    pub(super) path: Option<String>,
    /// `:authority`, else `host`.
    pub(super) authority: Option<String>,
    /// `:status`.
    pub(super) status: Option<u16>,
    /// `grpc-status`.
    pub(super) grpc_status: Option<u16>,
    /// `content-type` is gRPC's.
    pub(super) is_grpc: bool,
    pub(super) kept: Vec<(&'static str, String)>,
    /// A pseudo-header field of requests is there, known or not.
    pub(super) is_request: bool,
    /// `:status` is there, known or not.
    pub(super) is_response: bool,
    /// The name of some field is not known.
    pub(super) has_unknown: bool,
}

impl Fields {
    pub(super) fn read(decoder: &mut Decoder, block: &[u8], is_cut: bool) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        decoder.read(block, is_cut, |field| fields.take(field))?;
        Ok(fields)
    }

    fn take(&mut self, field: Field<'_>) {
        let Some(name) = field.name else {
            self.has_unknown = true;
            return;
        };
        match name {
            b":method" | b":path" | b":scheme" | b":authority" | b":protocol" => self.is_request = true,
            b":status" => self.is_response = true,
            _ => {}
        }
        let Some(value) = field.value else { return };
        match name {
            // One that is empty is none (RFC 9110, 9.1).
            b":method" => self.method = Some(kept::text(value)).filter(|method| !method.is_empty()),
            b":path" => self.path = Some(kept::text(value)),
            b":authority" => self.authority = Some(kept::text(value)),
            b"host" => self.authority = self.authority.take().or_else(|| Some(kept::text(value))),
            b":status" => self.status = number(value).filter(|status| (100..=999).contains(status)),
            b"grpc-status" => self.grpc_status = number(value),
            b"content-type" => self.is_grpc = grpc::is_content_type(value),
            _ => kept::keep(&mut self.kept, name, value),
        }
    }
}

fn number(value: &[u8]) -> Option<u16> {
    std::str::from_utf8(value).ok()?.parse().ok()
}
