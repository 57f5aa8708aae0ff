//! What an answer means: one table a protocol.

use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::grpc;
use super::{Answer, Outcome};

/// What becomes of a batch after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has it; of this many items it says that it refused them.
    Delivered {
        /// Refused items.
        refused: u64,
    },
    /// Try again, after the time that the receiver names if it does.
    Retry {
        /// `Retry-After`.
        after: Option<Duration>,
        /// For the log.
        reason: String,
    },
    /// The credentials are wrong: keep the batch, try again slowly, and say so.
    Unauthorized {
        /// For the log.
        reason: String,
    },
    /// Too large: send it in two parts.
    Split,
    /// The receiver does not speak remote write 2.0: send it as 1.0, now and from now on.
    FallBack,
    /// Never try it again. `in_part` when an unknown part of it was taken.
    Refused {
        /// For the log.
        reason: String,
        /// Whether the receiver may have taken a part.
        in_part: bool,
    },
}

/// The protocol whose rules count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Prometheus remote write 1.0.
    RemoteWrite1,
    /// Prometheus remote write 2.0.
    RemoteWrite2,
    /// Loki's push API.
    Loki,
    /// OTLP over HTTP.
    OtlpHttp,
    /// OTLP over gRPC.
    OtlpGrpc,
}

impl Table {
    /// What an attempt's end means. `now` is for `Retry-After` dates.
    #[must_use]
    pub fn judge(self, outcome: &Outcome, now: SystemTime) -> Verdict {
        let answer = match outcome {
            Outcome::Answered(answer) => answer,
            Outcome::Network(reason) => return Verdict::Retry { after: None, reason: reason.clone() },
            Outcome::Unreadable(error) => return Verdict::Unauthorized { reason: error.to_string() },
        };
        if self == Self::OtlpGrpc {
            return grpc::judge(answer);
        }
        match answer.status {
            200..=299 => self.success(answer),
            401 => Verdict::Unauthorized { reason: reason(answer) },
            413 => Verdict::Split,
            415 if self == Self::RemoteWrite2 => Verdict::FallBack,
            status if self.is_retried(status) => {
                Verdict::Retry { after: retry_after(&answer.headers, now), reason: reason(answer) }
            }
            // Loki and Mimir store what is good of a request and answer with what was wrong.
            400 => Verdict::Refused { reason: reason(answer), in_part: self != Self::OtlpHttp },
            _ => Verdict::Refused { reason: reason(answer), in_part: false },
        }
    }

    fn is_retried(self, status: u16) -> bool {
        match self {
            Self::OtlpHttp | Self::OtlpGrpc => matches!(status, 429 | 502 | 503 | 504),
            Self::RemoteWrite1 | Self::RemoteWrite2 | Self::Loki => matches!(status, 429 | 500..),
        }
    }

    fn success(self, answer: &Answer) -> Verdict {
        match self {
            Self::RemoteWrite2 if !has_written(&answer.headers) => Verdict::FallBack,
            Self::OtlpHttp => Verdict::Delivered { refused: partial(&answer.body) },
            _ => Verdict::Delivered { refused: 0 },
        }
    }
}

/// Whether a receiver of remote write 2.0 says what it wrote.
fn has_written(headers: &HeaderMap) -> bool {
    ["samples", "histograms", "exemplars"]
        .iter()
        .any(|what| headers.contains_key(format!("x-prometheus-remote-write-{what}-written")))
}

/// How many spans a successful answer refuses. It is never a reason to send anything again.
pub(super) fn partial(body: &[u8]) -> u64 {
    let response = ExportTraceServiceResponse::decode(body).unwrap_or_default();
    let refused = response.partial_success.map_or(0, |partial| partial.rejected_spans);
    u64::try_from(refused).unwrap_or(0)
}

/// Status and the first line of what the receiver says.
pub(super) fn reason(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    let line: String =
        text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect();
    format!("status {} {line}", answer.status).trim_end().to_owned()
}

/// RFC 9110, section 10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &[u8]) -> Outcome {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), reqwest::header::HeaderValue::from_static(value)));
        Outcome::Answered(Answer {
            status,
            headers: headers.collect(),
            body: bytes::Bytes::copy_from_slice(body),
        })
    }

    fn judge(table: Table, status: u16) -> Verdict {
        let written = [("x-prometheus-remote-write-samples-written", "1")];
        table.judge(&answer(status, &written, b""), SystemTime::UNIX_EPOCH)
    }

    /// Each status that has a meaning, for each protocol: r retried, d delivered, x refused, p refused in part,
    /// s split, u unauthorized, f fall-back.
    #[test]
    fn every_status_is_as_the_protocol_says() {
        let letter = |verdict: &Verdict| match verdict {
            Verdict::Delivered { .. } => 'd',
            Verdict::Retry { .. } => 'r',
            Verdict::Unauthorized { .. } => 'u',
            Verdict::Split => 's',
            Verdict::FallBack => 'f',
            Verdict::Refused { in_part: true, .. } => 'p',
            Verdict::Refused { in_part: false, .. } => 'x',
        };
        let statuses = [
            200, 202, 204, 301, 400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 501, 502, 503, 504,
            529,
        ];
        for (table, expected) in [
            (Table::RemoteWrite1, "dddxpuxxxxsxxrrrrrrr"),
            (Table::RemoteWrite2, "dddxpuxxxxsfxrrrrrrr"),
            (Table::Loki, "dddxpuxxxxsxxrrrrrrr"),
            (Table::OtlpHttp, "dddxxuxxxxsxxrxxrrrx"),
        ] {
            let got: String = statuses.iter().map(|status| letter(&judge(table, *status))).collect();
            assert_eq!(got, expected, "{table:?}");
        }
    }

    #[test]
    fn no_answer_is_retried_and_no_password_is_kept() {
        for table in [Table::RemoteWrite1, Table::RemoteWrite2, Table::Loki, Table::OtlpHttp, Table::OtlpGrpc]
        {
            let verdict = table.judge(&Outcome::Network("reset".to_owned()), SystemTime::UNIX_EPOCH);
            assert_eq!(verdict, Verdict::Retry { after: None, reason: "reset".to_owned() });
            let error = super::super::CredentialsError::Environment("TOKEN".to_owned());
            let verdict = table.judge(&Outcome::Unreadable(error), SystemTime::UNIX_EPOCH);
            assert!(matches!(verdict, Verdict::Unauthorized { .. }));
        }
    }

    #[test]
    fn a_receiver_of_1_0_is_known_by_its_silence() {
        let silent = answer(204, &[], b"");
        assert_eq!(Table::RemoteWrite2.judge(&silent, SystemTime::UNIX_EPOCH), Verdict::FallBack);
        let delivered = Verdict::Delivered { refused: 0 };
        assert_eq!(Table::RemoteWrite1.judge(&silent, SystemTime::UNIX_EPOCH), delivered);
        let written = answer(200, &[("X-Prometheus-Remote-Write-Histograms-Written", "0")], b"");
        assert_eq!(Table::RemoteWrite2.judge(&written, SystemTime::UNIX_EPOCH), delivered);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        let after = |value| match Table::Loki.judge(&answer(429, &[("retry-after", value)], b"slow"), now) {
            Verdict::Retry { after, reason } => {
                assert_eq!(reason, "status 429 slow");
                after
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(7)));
        assert_eq!(after("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after("soon"), None);
    }

    #[test]
    fn a_partial_success_is_delivered() {
        let partial = ExportTracePartialSuccess { rejected_spans: 3, error_message: "too old".to_owned() };
        let body = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        let verdict = Table::OtlpHttp.judge(&answer(200, &[], &body), SystemTime::UNIX_EPOCH);
        assert_eq!(verdict, Verdict::Delivered { refused: 3 });
    }
}
