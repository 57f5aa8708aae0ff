//! A stored batch as a receiver's request.
//!
//! | signal | stored, and so sent by |
//! |---|---|
//! | metrics | remote write 2.0, snappy block: 2.0 as it is, 1.0 converted |
//! | logs | Loki's push, snappy block: as it is |
//! | traces | OTLP, gzip: over HTTP as it is, over gRPC in a frame |

use std::borrow::Cow;
use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE};

use super::gate::Signal;
use super::loki::{self, proto::PushRequest};
use super::otlp;
use super::remote_write::{self, v2};
use super::sender::{Request, Table};

/// The most bytes that a stored batch may have when it is unpacked.
const UNPACKED_MAX: u64 = 64 * 1024 * 1024;
const VERSION: HeaderName = HeaderName::from_static("x-prometheus-remote-write-version");
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const WRITE_2: HeaderValue =
    HeaderValue::from_static("application/x-protobuf;proto=io.prometheus.write.v2.Request");

/// A stored batch that can't be read: it was damaged before it was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored batch has not the form that it should have")]
pub struct Undecodable;

/// Packs an encoded payload for the spool and the wire.
#[must_use]
pub fn pack(signal: Signal, payload: &[u8]) -> Vec<u8> {
    match signal {
        Signal::Metrics | Signal::Logs => snappy(payload),
        Signal::Traces => {
            let mut encoder = GzEncoder::new(Vec::with_capacity(payload.len() / 4), Compression::fast());
            // Writing to memory does not fail.
            let _ = encoder.write_all(payload);
            encoder.finish().unwrap_or_default()
        }
    }
}

/// Unpacks what [`pack`] has packed.
///
/// # Errors
/// When it is nothing that was packed, or too much.
pub fn unpack(signal: Signal, packed: &[u8]) -> Result<Vec<u8>, Undecodable> {
    match signal {
        Signal::Metrics | Signal::Logs => unsnap(packed),
        Signal::Traces => gunzip(packed),
    }
}

fn snappy(payload: &[u8]) -> Vec<u8> {
    // It fails for more than 4 GiB only.
    snap::raw::Encoder::new().compress_vec(payload).unwrap_or_default()
}

fn unsnap(payload: &[u8]) -> Result<Vec<u8>, Undecodable> {
    let length = snap::raw::decompress_len(payload).map_err(|_| Undecodable)?;
    if length as u64 > UNPACKED_MAX {
        return Err(Undecodable);
    }
    snap::raw::Decoder::new().decompress_vec(payload).map_err(|_| Undecodable)
}

fn gunzip(payload: &[u8]) -> Result<Vec<u8>, Undecodable> {
    let mut bytes = Vec::new();
    let read = GzDecoder::new(payload).take(UNPACKED_MAX).read_to_end(&mut bytes);
    read.map(|_| bytes).map_err(|_| Undecodable)
}

/// How a receiver is spoken to.
#[derive(Debug)]
pub enum Wire {
    /// Remote write; whether by 2.0 can change while it runs, once.
    RemoteWrite {
        /// Whether 2.0 is spoken.
        by_2: AtomicBool,
    },
    /// Loki.
    Loki,
    /// OTLP over HTTP.
    OtlpHttp,
    /// OTLP over gRPC.
    OtlpGrpc,
}

impl Wire {
    /// The table that judges its answers.
    #[must_use]
    pub fn table(&self) -> Table {
        match self {
            Self::RemoteWrite { by_2 } if by_2.load(Ordering::Relaxed) => Table::RemoteWrite2,
            Self::RemoteWrite { .. } => Table::RemoteWrite1,
            Self::Loki => Table::Loki,
            Self::OtlpHttp => Table::OtlpHttp,
            Self::OtlpGrpc => Table::OtlpGrpc,
        }
    }

    /// The receiver does not speak 2.0.
    pub fn fall_back(&self) {
        if let Self::RemoteWrite { by_2 } = self {
            by_2.store(false, Ordering::Relaxed);
        }
    }

    /// Whether batches that wait may be made into other requests. Those of metrics have a table of symbols each.
    #[must_use]
    pub const fn is_merged(&self) -> bool {
        !matches!(self, Self::RemoteWrite { .. })
    }

    /// Most requests that may be under way: metrics go one by one, as any two requests of theirs have series in common.
    #[must_use]
    pub const fn requests_max(&self) -> u32 {
        match self {
            Self::RemoteWrite { .. } => 1,
            Self::Loki | Self::OtlpHttp | Self::OtlpGrpc => 4,
        }
    }

    /// A stored batch as a request, by the rules of `table`.
    ///
    /// # Errors
    /// When the batch is not what it should be.
    pub fn request(&self, table: Table, stored: &[u8]) -> Result<Request, Undecodable> {
        let (body, headers): (Cow<'_, [u8]>, Vec<(HeaderName, HeaderValue)>) = match table {
            Table::RemoteWrite1 => {
                let request = v2::Request::decode(&*unsnap(stored)?).map_err(|_| Undecodable)?;
                let request = remote_write::to_v1(&request).ok_or(Undecodable)?;
                let headers =
                    vec![(CONTENT_TYPE, PROTOBUF), (VERSION, HeaderValue::from_static("0.1.0")), SNAPPY];
                (Cow::Owned(snappy(&request.encode_to_vec())), headers)
            }
            Table::RemoteWrite2 => (
                Cow::Borrowed(stored),
                vec![(CONTENT_TYPE, WRITE_2), (VERSION, HeaderValue::from_static("2.0.0")), SNAPPY],
            ),
            Table::Loki => (Cow::Borrowed(stored), vec![(CONTENT_TYPE, PROTOBUF)]),
            Table::OtlpHttp => (
                Cow::Borrowed(stored),
                vec![(CONTENT_TYPE, PROTOBUF), (CONTENT_ENCODING, HeaderValue::from_static("gzip"))],
            ),
            Table::OtlpGrpc => (
                Cow::Owned(otlp::grpc_frame(stored)),
                vec![
                    (CONTENT_TYPE, HeaderValue::from_static("application/grpc+proto")),
                    (HeaderName::from_static("grpc-encoding"), HeaderValue::from_static("gzip")),
                    (TE, HeaderValue::from_static("trailers")),
                ],
            ),
        };
        let headers = headers.into_iter().collect::<HeaderMap>();
        Ok(Request { body: body.into_owned().into(), headers })
    }

    /// Two stored batches of one, with how many items each has; `None` when it can't be parted.
    #[must_use]
    pub fn split(&self, stored: &[u8]) -> Option<[(Vec<u8>, u32); 2]> {
        fn packed(signal: Signal, message: &impl Message, items: usize) -> (Vec<u8>, u32) {
            (pack(signal, &message.encode_to_vec()), u32::try_from(items).unwrap_or(u32::MAX))
        }
        match self {
            Self::RemoteWrite { .. } => {
                let request = v2::Request::decode(&*unsnap(stored).ok()?).ok()?;
                let halves = remote_write::split(request)?;
                Some(halves.map(|half| packed(Signal::Metrics, &half, remote_write::samples(&half))))
            }
            Self::Loki => {
                let request = PushRequest::decode(&*unsnap(stored).ok()?).ok()?;
                Some(loki::split(request)?.map(|half| packed(Signal::Logs, &half, loki::lines(&half))))
            }
            Self::OtlpHttp | Self::OtlpGrpc => {
                let data = TracesData::decode(&*gunzip(stored).ok()?).ok()?;
                Some(otlp::split(data)?.map(|half| packed(Signal::Traces, &half, otlp::spans(&half))))
            }
        }
    }
}

const SNAPPY: (HeaderName, HeaderValue) = (CONTENT_ENCODING, HeaderValue::from_static("snappy"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_batch_is_told() {
        let write = Wire::RemoteWrite { by_2: AtomicBool::new(true) };
        assert_eq!(write.request(Table::RemoteWrite1, b"\xff\xff").unwrap_err(), Undecodable);
        assert_eq!(write.request(Table::RemoteWrite1, &snappy(b"\xff")).unwrap_err(), Undecodable);
        // A length of 4 GiB in five bytes.
        assert_eq!(unsnap(b"\xff\xff\xff\xff\x0f"), Err(Undecodable));
        for wire in [write, Wire::Loki, Wire::OtlpHttp, Wire::OtlpGrpc] {
            assert!(wire.split(b"\xff\xff").is_none());
        }
    }

    #[test]
    fn a_receiver_that_speaks_1_0_is_remembered() {
        let write = Wire::RemoteWrite { by_2: AtomicBool::new(true) };
        assert_eq!(write.table(), Table::RemoteWrite2);
        let request = write.request(write.table(), &pack(Signal::Metrics, b"")).unwrap();
        assert_eq!(request.headers[VERSION], "2.0.0");
        write.fall_back();
        let request = write.request(write.table(), &pack(Signal::Metrics, b"")).unwrap();
        assert_eq!(request.headers[VERSION], "0.1.0");
        assert_eq!(request.headers[CONTENT_TYPE], "application/x-protobuf");
    }
}
