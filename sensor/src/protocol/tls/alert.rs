//! Names of alerts ([RFC 8446], 6; those of RFC 5246 that it no longer has as well).
//!
//! [RFC 8446]: https://www.rfc-editor.org/rfc/rfc8446#section-6

/// What stands for every description that is not known, or that cannot be read.
pub(super) const OTHER: &str = "alert";

/// The description's name; `None` for `close_notify` and `user_canceled`, which say that nobody goes on.
pub(super) const fn name(description: u8) -> Option<&'static str> {
    Some(match description {
        0 | 90 => return None,
        10 => "unexpected_message",
        20 => "bad_record_mac",
        22 => "record_overflow",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        109 => "missing_extension",
        110 => "unsupported_extension",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => OTHER,
    })
}
