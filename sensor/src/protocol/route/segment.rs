//! One path segment.

use super::random::is_random;

/// Longer segments are tokens.
pub(super) const LENGTH_LIMIT: usize = 64;

const ID: &str = "{id}";
const UUID: &str = "{uuid}";
const HEX: &str = "{hex}";
const DATE: &str = "{date}";
const EMAIL: &str = "{email}";
const IP: &str = "{ip}";
const TOKEN: &str = "{token}";

/// The template of a segment; `None` when it stays as it is.
pub(super) fn template(segment: &str) -> Option<String> {
    // A number that the kernel side has masked.
    if segment.contains("**") {
        return Some(ID.to_owned());
    }
    if let Some(placeholder) = whole(segment) {
        return Some(placeholder.to_owned());
    }
    if segment.len() > LENGTH_LIMIT {
        return Some(TOKEN.to_owned());
    }
    let (stem, extension) = split_extension(segment);
    if !extension.is_empty()
        && let Some(placeholder) = whole(stem)
    {
        return Some(format!("{placeholder}{extension}"));
    }
    let mut template = String::with_capacity(segment.len());
    let changed = words(stem, &mut template);
    template.push_str(extension);
    changed.then_some(template)
}

/// What a segment is as a whole.
fn whole(text: &str) -> Option<&'static str> {
    if text.len() < 2 {
        return text.bytes().all(|byte| byte.is_ascii_digit()).then_some(ID).filter(|_| !text.is_empty());
    }
    if is_number(text) {
        return Some(if is_compact_date(text) { DATE } else { ID });
    }
    if uuid_len(text) == Some(text.len()) {
        return Some(UUID);
    }
    if date_len(text) == Some(text.len()) {
        return Some(DATE);
    }
    if is_ip(text) {
        return Some(IP);
    }
    if is_email(text) {
        return Some(EMAIL);
    }
    word(text).or_else(|| is_token(text).then_some(TOKEN))
}

/// What one word is, without regard to numbers.
fn word(text: &str) -> Option<&'static str> {
    let bytes = text.as_bytes();
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let is_prefixed = digits.len() < text.len();
    if digits.len() >= if is_prefixed { 4 } else { 8 }
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        && digits.bytes().any(|byte| byte.is_ascii_digit())
        && (is_prefixed || digits.bytes().any(|byte| byte.is_ascii_alphabetic()))
    {
        return Some(HEX);
    }
    let letters = bytes.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let number = &bytes[letters..];
    if (1..=4).contains(&letters) && number.len() >= 4 && number.iter().all(u8::is_ascii_digit) {
        return Some(ID);
    }
    is_random(text).then_some(TOKEN)
}

/// Writes the template of each word; whether it differs from the text.
fn words(text: &str, template: &mut String) -> bool {
    let mut changed = false;
    let mut rest = text;
    while !rest.is_empty() {
        let (length, placeholder) = match (uuid_len(rest), date_len(rest)) {
            (Some(length), _) if ends_word(rest, length) => (length, Some(UUID)),
            (_, Some(length)) if ends_word(rest, length) => (length, Some(DATE)),
            _ => {
                let length = rest.find(is_separator).unwrap_or(rest.len());
                (length, part(&rest[..length], length == rest.len() && rest.len() < text.len()))
            }
        };
        let (first, behind) = rest.split_at(length);
        match placeholder {
            Some(placeholder) => {
                template.push_str(placeholder);
                changed = true;
            }
            None => changed |= dotted(first, template),
        }
        let separator = behind.chars().next().map_or(0, char::len_utf8);
        template.push_str(&behind[..separator]);
        rest = &behind[separator..];
    }
    changed
}

/// What a word among others is.
fn part(text: &str, is_last: bool) -> Option<&'static str> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return word(text);
    }
    if is_compact_date(text) {
        return Some(DATE);
    }
    let is_year = text.len() == 4 && (text.starts_with("19") || text.starts_with("20"));
    (is_last || text.len() >= 4 && !is_year).then_some(ID)
}

/// Writes the template of what dots join; whether it differs.
fn dotted(text: &str, template: &mut String) -> bool {
    let mut changed = false;
    for (index, text) in text.split('.').enumerate() {
        if index > 0 {
            template.push('.');
        }
        match part(text, false) {
            Some(placeholder) => {
                template.push_str(placeholder);
                changed = true;
            }
            None => template.push_str(text),
        }
    }
    changed
}

fn is_separator(character: char) -> bool {
    matches!(character, '-' | '_' | ':' | '~' | ',' | '=' | '+' | '@' | '!' | '(' | ')' | ' ' | '/' | '&')
}

fn ends_word(text: &str, length: usize) -> bool {
    text[length..].chars().next().is_none_or(|next| is_separator(next) || next == '.')
}

/// Splits off `.js`, `.woff2` and the like.
fn split_extension(segment: &str) -> (&str, &str) {
    let Some(dot) = segment.rfind('.').filter(|&dot| dot > 0) else { return (segment, "") };
    let extension = &segment[dot + 1..];
    let is_one = (1..=5).contains(&extension.len())
        && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && extension.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    if is_one { segment.split_at(dot) } else { (segment, "") }
}

/// `42`, `-7`, `1,2,3`, `37.5665,126.9780`; but not `3.2`, which is a version.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_decimal = |text: &str| {
        let text = text.strip_prefix(['-', '+']).unwrap_or(text);
        match text.split_once('.') {
            None => !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()),
            Some((whole, fraction)) => {
                !whole.is_empty()
                    && fraction.len() >= 4
                    && whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit())
            }
        }
    };
    digits.split(',').all(is_decimal)
}

/// `20241005`, `202410051234`, `20241005123456`.
fn is_compact_date(text: &str) -> bool {
    matches!(text.len(), 8 | 12 | 14)
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && is_day(&text[..4], &text[4..6], &text[6..8])
}

/// The length of the date that begins the text: `2024-10-05`, `2024_10_05`, with a time or without.
fn date_len(text: &str) -> Option<usize> {
    let day = text.get(..10)?;
    let bytes = day.as_bytes();
    let separator = bytes[4];
    if !matches!(separator, b'-' | b'_' | b'.') || bytes[7] != separator || !day.is_ascii() {
        return None;
    }
    if !is_day(&day[..4], &day[5..7], &day[8..]) {
        return None;
    }
    let rest = &text[10..];
    let time = rest.strip_prefix(['T', ' ']).map_or(0, |time| {
        let length = time
            .bytes()
            .take_while(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.' | b'Z' | b'+' | b'-'))
            .count();
        if length >= 4 { length + 1 } else { 0 }
    });
    Some(10 + time)
}

fn is_day(year: &str, month: &str, day: &str) -> bool {
    let number =
        |text: &str| text.parse::<u16>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    number(year).is_some_and(|year| (1900..2200).contains(&year))
        && number(month).is_some_and(|month| (1..=12).contains(&month))
        && number(day).is_some_and(|day| (1..=31).contains(&day))
}

/// The length of the UUID that begins the text.
fn uuid_len(text: &str) -> Option<usize> {
    const LENGTH: usize = 36;
    let bytes = text.as_bytes().get(..LENGTH)?;
    let is_uuid = bytes.iter().enumerate().all(|(index, byte)| match index {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    is_uuid.then_some(LENGTH)
}

fn is_ip(text: &str) -> bool {
    text.parse::<std::net::Ipv4Addr>().is_ok()
}

fn is_email(text: &str) -> bool {
    text.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && !domain.contains('@')
            && domain.split('.').count() >= 2
            && domain.split('.').all(|label| !label.is_empty())
    })
}

/// A JWT, base 64 with its padding, or a random string with one or two dashes or underscores in it.
fn is_token(text: &str) -> bool {
    if text.starts_with("eyJ") && text.bytes().filter(|&byte| byte == b'.').count() == 2 {
        return true;
    }
    let bare: String = text.chars().filter(|character| !matches!(character, '-' | '_' | '+' | '=')).collect();
    let joints = text.len() - bare.len();
    joints > 0
        && joints <= 2
        && bare.len() >= 16
        && bare.bytes().any(|byte| byte.is_ascii_uppercase())
        && bare.bytes().any(|byte| byte.is_ascii_lowercase())
        && is_random(&bare)
        && !text.split(['-', '_']).any(|word| word.len() >= 2 && is_lower_word(word))
}

fn is_lower_word(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_lowercase())
}
