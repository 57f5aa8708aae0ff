//! Persons' data and credentials.

use std::borrow::Cow;

use regex::bytes::{Captures, Regex};

use super::count::{Counts, Rule};
use super::prefilter::Wanted;

/// What a secret becomes.
pub(super) const MASKED: &str = "***";

/// Keys of secrets: the last word of the key counts.
const KEYS: &str = r"(?:[\w.\-\[\]]*(?:password|passwd|passphrase|secret|token|credentials?|api[_-]?key|access[_-]?key|private[_-]?key|비밀번호)|(?:[\w.\-\[\]]*[_.\-\[])?(?:pwd|cvv2?|cvc2?|pin))";

/// The regular expressions, each for what the prefilter lets through.
pub(super) struct Rules {
    track_1: Regex,
    track_2: Regex,
    resident: Regex,
    phone: Regex,
    email: Regex,
    account: Regex,
    key: Regex,
    quoted: Regex,
    plain: Regex,
    authorization: Regex,
    bearer: Regex,
    cookie: Regex,
    jwt: Regex,
    aws: Regex,
}

impl Rules {
    #[expect(clippy::unwrap_used, reason = "the patterns are constant and a test compiles them")]
    pub(super) fn new() -> Self {
        let regex = |pattern: &str| Regex::new(pattern).unwrap();
        Self {
            // ISO/IEC 7813: format code, number, name, four digits of expiry and what follows.
            track_1: regex(r"([Bb][0-9]{0,6}\*{4,}[0-9]{4})\^[^\^\r\n]{2,26}\^[0-9]{4}[^?\s\x22]*"),
            track_2: regex(r"([0-9]{0,6}\*{4,}[0-9]{4}[=D])[0-9]{4,}F?"),
            resident: regex(r"([0-9]{2})(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])([- ]?)([0-9])([0-9]{6})"),
            phone: regex(
                r"((?:\+?82[-. ]?\(?0?\)?|\(?0)(?:1[016789]|70|2|[3-6][1-5])\)?)([-. ]?)([0-9]{3,4})([-. ]?)([0-9]{4})",
            ),
            email: regex(r"([A-Za-z0-9._+-])([A-Za-z0-9._%+-]*)((?:@|%40)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)"),
            account: regex(
                r"(?i)((?:계좌(?: ?번호)?|account[_ -]?(?:no|num|number))[^0-9\r\n]{1,5})([0-9][0-9-]{7,18}[0-9])",
            ),
            key: regex(&format!("(?i)^{KEYS}$")),
            quoted: regex(&format!(
                r#"(?i)((?:{KEYS}|\b(?:set-)?cookie|authorization)(?:\\*["'])?\s*[:=]\s*)(?:(")(?:[^"\\]|\\.)*"|(\\")(?:[^"\\]|\\[^"\\]|\\\\(?:\\.|[^\\"]))*\\"|(')[^'\r\n]*')"#
            )),
            plain: regex(&format!(r#"(?i)({KEYS})((?:\\*["'])?)(\s*[:=]\s*)([^\s"'\\,;&{{}}\[\]()<>*]+)"#)),
            authorization: regex(
                r#"(?i)(authorization(?:\\*["'])?\s*[:=]\s*(?:(?:bearer|basic|digest|negotiate|token|aws4-hmac-sha256)\s+)?)[^"'\\\r\n]+"#,
            ),
            bearer: regex(r"(?i)(\bbearer\s+)[a-z0-9._~+/=-]{8,}"),
            cookie: regex(r#"(?i)(\b(?:set-)?cookie(?:\\*["'])?\s*[:=]\s*)[^"'\\\r\n]+"#),
            jwt: regex(r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?"),
            aws: regex(r"\b((?:AKIA|ASIA)[A-Z0-9]{4})[A-Z0-9]{12}\b"),
        }
    }

    /// Whether a field of this name holds a secret.
    pub(super) fn is_secret(&self, name: &str) -> bool {
        let name = name.trim();
        let headers = ["authorization", "proxy-authorization", "cookie", "set-cookie"];
        headers.iter().any(|header| name.eq_ignore_ascii_case(header)) || self.key.is_match(name.as_bytes())
    }

    /// Applies the rules that a text is for.
    pub(super) fn apply(&self, text: &mut Cow<'_, [u8]>, wanted: Wanted, counts: &Counts) {
        if wanted.card || wanted.masked {
            let track = replace(&self.track_1, text, |found, _| join(&[&found[1], b"^***"]));
            counts.add(Rule::Track, track);
            counts.add(Rule::Track, replace(&self.track_2, text, |found, _| join(&[&found[1], b"***"])));
        }
        if wanted.secret {
            self.secrets(text, counts);
        }
        if wanted.resident {
            counts.add(Rule::Resident, replace(&self.resident, text, resident));
        }
        if wanted.account {
            counts.add(
                Rule::Account,
                replace(&self.account, text, |found, _| {
                    let (hidden, last) = found[2].split_at(found[2].len() - 4);
                    join(&[&found[1], &stars(hidden), last])
                }),
            );
        }
        if wanted.phone {
            counts.add(Rule::Phone, replace(&self.phone, text, phone));
        }
        if wanted.email {
            let email =
                replace(&self.email, text, |found, _| join(&[&found[1], MASKED.as_bytes(), &found[3]]));
            counts.add(Rule::Email, email);
        }
    }

    fn secrets(&self, text: &mut Cow<'_, [u8]>, counts: &Counts) {
        let keep = |found: &Captures<'_>, _: &[u8]| join(&[&found[1], MASKED.as_bytes()]);
        let quoted = replace(&self.quoted, text, |found, _| {
            let quote = (2..=4).find_map(|group| found.get(group)).map_or(&b""[..], |quote| quote.as_bytes());
            join(&[&found[1], quote, MASKED.as_bytes(), quote])
        });
        counts.add(Rule::Cookie, replace(&self.cookie, text, keep));
        counts.add(Rule::Authorization, replace(&self.authorization, text, keep));
        counts.add(Rule::Authorization, replace(&self.bearer, text, keep));
        counts.add(Rule::Jwt, replace(&self.jwt, text, |_, _| Some(b"eyJ***".to_vec())));
        counts.add(Rule::Aws, replace(&self.aws, text, |found, _| join(&[&found[1], b"************"])));
        let plain = replace(&self.plain, text, plain);
        counts.add(Rule::Secret, quoted + plain);
    }
}

/// Replaces what `becomes` gives a new text for; it is given the text behind the match too.
fn replace(
    regex: &Regex,
    text: &mut Cow<'_, [u8]>,
    becomes: impl Fn(&Captures<'_>, &[u8]) -> Option<Vec<u8>>,
) -> u64 {
    let (mut hits, mut done, mut at) = (0, 0, 0);
    let mut clean = Vec::new();
    while at < text.len()
        && let Some(found) = regex.captures_at(text, at)
        && let Some(whole) = found.get(0)
    {
        // A match that is refused is looked at again from its second byte, where one that counts may begin.
        at = whole.start() + 1;
        let starts_in_number = whole.as_bytes()[0].is_ascii_digit()
            && text[..whole.start()].last().is_some_and(u8::is_ascii_digit);
        if !starts_in_number && let Some(new) = becomes(&found, &text[whole.end()..]) {
            clean.extend_from_slice(&text[done..whole.start()]);
            clean.extend_from_slice(&new);
            (done, at) = (whole.end(), whole.end());
            hits += 1;
        }
    }
    if hits > 0 {
        clean.extend_from_slice(&text[done..]);
        *text = Cow::Owned(clean);
    }
    hits
}

#[expect(clippy::unnecessary_wraps, reason = "what `replace` takes")]
fn join(parts: &[&[u8]]) -> Option<Vec<u8>> {
    Some(parts.concat())
}

fn stars(text: &[u8]) -> Vec<u8> {
    text.iter().map(|byte| if byte.is_ascii_digit() { b'*' } else { *byte }).collect()
}

fn goes_on(behind: &[u8]) -> bool {
    behind.first().is_some_and(u8::is_ascii_digit)
}

/// Birth date and the digit behind it stay. Numbers given since October 2020 have no check digit, so none is tested.
fn resident(found: &Captures<'_>, behind: &[u8]) -> Option<Vec<u8>> {
    let number = |group: usize| std::str::from_utf8(&found[group]).ok()?.parse::<u32>().ok();
    let (year, month, day) = (number(1)?, number(2)?, number(3)?);
    let last = match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    // Without a dash, these are the seconds of the years 2017 to 2030 in milliseconds.
    let epoch = found[4].is_empty() && (15..=19).contains(&year);
    if goes_on(behind) || behind.first() == Some(&b'-') || day > last || epoch {
        return None;
    }
    join(&[&found[1], &found[2], &found[3], &found[4], &found[5], b"******"])
}

/// The first and the last part stay. Without separators only mobile numbers are told from others.
fn phone(found: &Captures<'_>, behind: &[u8]) -> Option<Vec<u8>> {
    let separated = !found[2].is_empty() && !found[4].is_empty();
    let prefix = &found[1];
    let mobile = prefix.starts_with(b"01") || prefix.starts_with(b"+82") || prefix.starts_with(b"82");
    let plain = found[2].is_empty() && found[4].is_empty() && mobile && found[3].len() == 4;
    if goes_on(behind) || !separated && !plain {
        return None;
    }
    join(&[prefix, &found[2], &stars(&found[3]), &found[4], &found[5]])
}

/// A value without quotes. What JSON knows as a literal stays, and a number after a key in quotes gets quotes itself.
fn plain(found: &Captures<'_>, _: &[u8]) -> Option<Vec<u8>> {
    let (quote, value) = (&found[2], &found[4]);
    if matches!(value, b"null" | b"true" | b"false") {
        return None;
    }
    join(&[&found[1], quote, &found[3], quote, MASKED.as_bytes(), quote])
}
