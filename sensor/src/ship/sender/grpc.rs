//! What a gRPC answer means, by the OTLP specification and gRPC's "HTTP to gRPC status code mapping".

use std::time::Duration;

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost::Message;
use reqwest::header::HeaderMap;

use super::retry::{partial, reason};
use super::{Answer, Verdict};

/// Status codes of gRPC that have a meaning here.
mod code {
    pub(super) const OK: u32 = 0;
    pub(super) const CANCELLED: u32 = 1;
    pub(super) const UNKNOWN: u32 = 2;
    pub(super) const DEADLINE_EXCEEDED: u32 = 4;
    pub(super) const PERMISSION_DENIED: u32 = 7;
    pub(super) const RESOURCE_EXHAUSTED: u32 = 8;
    pub(super) const ABORTED: u32 = 10;
    pub(super) const OUT_OF_RANGE: u32 = 11;
    pub(super) const UNIMPLEMENTED: u32 = 12;
    pub(super) const INTERNAL: u32 = 13;
    pub(super) const UNAVAILABLE: u32 = 14;
    pub(super) const DATA_LOSS: u32 = 15;
    pub(super) const UNAUTHENTICATED: u32 = 16;
}

/// Bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// `google.rpc.Status`, as `grpc-status-details-bin` carries it.
#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

pub(super) fn judge(answer: &Answer) -> Verdict {
    let code = status(answer);
    let after = retry_info(&answer.headers);
    let message =
        answer.headers.get("grpc-message").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let reason = || format!("grpc status {code} {message} ({})", reason(answer));
    match code {
        code::OK => Verdict::Delivered { refused: partial(answer.body.get(PREFIX..).unwrap_or_default()) },
        code::CANCELLED
        | code::DEADLINE_EXCEEDED
        | code::ABORTED
        | code::OUT_OF_RANGE
        | code::UNAVAILABLE
        | code::DATA_LOSS => Verdict::Retry { after, reason: reason() },
        code::RESOURCE_EXHAUSTED if after.is_some() => Verdict::Retry { after, reason: reason() },
        code::UNAUTHENTICATED => Verdict::Unauthorized { reason: reason() },
        _ => Verdict::Refused { reason: reason(), in_part: false },
    }
}

fn status(answer: &Answer) -> u32 {
    let told = answer.headers.get("grpc-status").and_then(|value| value.to_str().ok()?.parse().ok());
    told.unwrap_or(match answer.status {
        // An answer without a status is one that was cut off.
        200 => code::UNKNOWN,
        400 => code::INTERNAL,
        401 => code::UNAUTHENTICATED,
        403 => code::PERMISSION_DENIED,
        404 => code::UNIMPLEMENTED,
        429 | 502 | 503 | 504 => code::UNAVAILABLE,
        _ => code::UNKNOWN,
    })
}

fn retry_info(headers: &HeaderMap) -> Option<Duration> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes =
        GeneralPurpose::new(&ALPHABET, config).decode(headers.get("grpc-status-details-bin")?).ok()?;
    let details = Details::decode(&*bytes).ok()?.details;
    let info = details.iter().find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(&*info.value).ok()?.retry_delay.unwrap_or_default();
    let (seconds, nanos) = (u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?);
    Some(Duration::from_secs(seconds) + Duration::from_nanos(u64::from(nanos)))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    use reqwest::header::HeaderValue;

    use super::*;

    fn answered(status: u16, grpc: Option<u32>, details: Option<&str>) -> Verdict {
        let mut headers = HeaderMap::new();
        if let Some(grpc) = grpc {
            headers.insert("grpc-status", HeaderValue::from(grpc));
        }
        if let Some(details) = details {
            headers.insert("grpc-status-details-bin", HeaderValue::from_str(details).unwrap());
        }
        judge(&Answer { status, headers, body: bytes::Bytes::new() })
    }

    #[test]
    fn every_code_is_as_the_specification_says() {
        let retried: Vec<u32> = (0..=16)
            .filter(|code| matches!(answered(200, Some(*code), None), Verdict::Retry { .. }))
            .collect();
        assert_eq!(retried, [1, 4, 10, 11, 14, 15]);
        assert_eq!(answered(200, Some(0), None), Verdict::Delivered { refused: 0 });
        assert!(matches!(answered(200, Some(16), None), Verdict::Unauthorized { .. }));
        assert!(matches!(answered(401, None, None), Verdict::Unauthorized { .. }));
        assert!(matches!(answered(503, None, None), Verdict::Retry { .. }));
        assert!(matches!(answered(500, None, None), Verdict::Refused { .. }));
        assert!(matches!(answered(200, None, None), Verdict::Refused { .. }));
    }

    #[test]
    fn exhaustion_is_retried_only_when_a_time_is_named() {
        let value = RetryInfo { retry_delay: Some(Delay { seconds: 3, nanos: 500_000_000 }) }.encode_to_vec();
        let type_url = "type.googleapis.com/google.rpc.RetryInfo".to_owned();
        let details = Details { details: vec![Any { type_url, value }] }.encode_to_vec();
        let text = STANDARD_NO_PAD.encode(details);
        let after = Some(Duration::from_millis(3_500));
        assert!(
            matches!(answered(200, Some(8), Some(&text)), Verdict::Retry { after: told, .. } if told == after)
        );
        assert!(matches!(answered(200, Some(8), None), Verdict::Refused { .. }));
        assert!(matches!(answered(200, Some(8), Some("?")), Verdict::Refused { .. }));
    }
}
