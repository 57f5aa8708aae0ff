//! `http_route`: a path with the parts that vary replaced, so that one operation of a service is one route.
//!
//! The service's own route templates cannot be seen from outside, so each segment is judged by its looks:
//!
//! | segment | becomes |
//! |---|---|
//! | a number, also with sign, comma or long fraction; letters with four or more digits behind (`SKU12345`) | `{id}` |
//! | UUID | `{uuid}` |
//! | date or timestamp, also without separators (`20241005`) | `{date}` |
//! | eight or more hexadecimal digits, among them a decimal one, or after `0x` | `{hex}` |
//! | e-mail address | `{email}` |
//! | IPv4 address | `{ip}` |
//! | what looks random: letters of both cases and digits in turn, JWTs, ULIDs, or more than 64 bytes | `{token}` |
//!
//! In a segment of several words (`order-12345`, `main.5f3a9c1b.js`, `cus_NffrFeUfNV2Hib`) the same holds for
//! each word, but a number counts only as the last word or with four or more digits that are no year. Everything
//! else stays: words, slugs, versions (`v1`, `3.2.1`), file names (`index.html`, `app-3.2.1.js`), language tags.
//! Percent-encoding is looked through to judge, and kept. Path parameters (`;jsessionid=…`) are left out. Of a
//! path deeper than 12 segments the first 12 stay, and `*` stands for the rest.
//!
//! What varies and looks like words stays, too; [`RouteLimiter`] bounds that.

mod limiter;
mod random;
mod segment;

use std::borrow::Cow;

pub use limiter::RouteLimiter;

/// What stands for all routes beyond a limit.
pub const OTHER_ROUTE: &str = "*";

/// The most segments of a route.
const SEGMENT_LIMIT: usize = 12;

/// The route of a path without its query. The route of a route is itself.
#[must_use]
pub fn route_of(path: &str) -> String {
    let mut route = String::with_capacity(path.len().min(128));
    let (lead, rest) = match path.strip_prefix('/') {
        Some(rest) => ("/", rest),
        None => ("", path),
    };
    route.push_str(lead);
    for (index, segment) in rest.split('/').enumerate() {
        if index > 0 {
            route.push('/');
        }
        if index == SEGMENT_LIMIT {
            route.push_str(OTHER_ROUTE);
            break;
        }
        let segment = segment.split(';').next().unwrap_or_default();
        route.push_str(&template(segment));
    }
    route
}

fn template(segment: &str) -> Cow<'_, str> {
    // What holds a brace is a placeholder already.
    if segment.contains('{') && segment.len() <= segment::LENGTH_LIMIT + 16 {
        return segment.into();
    }
    let decoded = decode(segment);
    match segment::template(&decoded) {
        None => segment.into(),
        // What was escaped with good reason must not come out bare.
        Some(template) if decoded != segment && !decoded.chars().all(is_plain) => {
            if is_placeholder(&template) { template.into() } else { "{token}".into() }
        }
        Some(template) => template.into(),
    }
}

/// Whether a template is one placeholder and nothing else.
fn is_placeholder(template: &str) -> bool {
    let name = template.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_lowercase()))
}

fn is_plain(character: char) -> bool {
    matches!(character, ' '..='~') && !matches!(character, '/' | ';' | '%' | '{' | '}' | '?' | '#')
}

/// Percent-decoding, as far as it is valid.
fn decode(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return segment.into();
    }
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.as_bytes();
    while let Some((&first, rest)) = bytes.split_first() {
        let escaped = (first == b'%').then(|| rest.split_at_checked(2)).flatten();
        let byte = escaped.and_then(|(digits, _)| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
        match (byte, escaped) {
            (Some(byte), Some((_, behind))) => {
                decoded.push(byte);
                bytes = behind;
            }
            _ => {
                decoded.push(first);
                bytes = rest;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned().into()
}

#[cfg(test)]
mod tests;
