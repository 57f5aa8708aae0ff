//! Card numbers in whole texts: the core of the kernel side, full-width digits, and JSON numbers.

use std::borrow::Cow;

use memchr::{memchr, memmem};
use sensor_common::mask::{self, State};

use super::count::{Counts, Rule};

/// What a full-width digit becomes: U+FF0A in UTF-8.
const FULL_WIDTH_MASK: [u8; 3] = [0xef, 0xbc, 0x8a];

/// Masks card numbers of ASCII digits in place; how many there were.
pub(super) fn in_place(text: &mut [u8]) -> u64 {
    let mut state = State::NEW;
    mask::in_place(text, &mut state, false);
    state.masked.into()
}

/// [`in_place`] until nothing more is found: each turn leaves fewer digits, and few texts need a second one.
pub(super) fn settle(text: &mut [u8]) -> u64 {
    let mut all = 0;
    while mask::may_hold(text) {
        let hits = in_place(text);
        if hits == 0 {
            break;
        }
        all += hits;
    }
    all
}

/// Masks card numbers.
pub(super) fn mask(text: &mut Cow<'_, [u8]>, counts: &Counts) {
    let hits = in_place_if_any(text) + full_width(text);
    counts.add(Rule::Card, hits);
}

/// [`in_place`], which leaves a text without cards borrowed.
fn in_place_if_any(text: &mut Cow<'_, [u8]>) -> u64 {
    if let Cow::Owned(text) = text {
        return in_place(text);
    }
    if !mask::may_hold(text) {
        return 0;
    }
    let mut clean = text.to_vec();
    let hits = in_place(&mut clean);
    if hits > 0 {
        *text = Cow::Owned(clean);
    }
    hits
}

/// Masks card numbers with full-width digits (U+FF10 to U+FF19), whose length stays too.
fn full_width(text: &mut Cow<'_, [u8]>) -> u64 {
    if memmem::find(text, &[0xef, 0xbc]).is_none() {
        return 0;
    }
    let mut narrow = Vec::with_capacity(text.len());
    let mut places = Vec::with_capacity(text.len());
    let mut rest = &text[..];
    while let Some(first) = rest.first() {
        let (byte, width) = match rest {
            [0xef, 0xbc, digit @ 0x90..=0x99, ..] => (digit - 0x90 + b'0', 3),
            [0xef, 0xbc, 0x8d, ..] => (b'-', 3),
            [0xef, 0xbc, 0x8e, ..] => (b'.', 3),
            [0xe3, 0x80, 0x80, ..] => (b' ', 3),
            _ => (*first, 1),
        };
        places.push((text.len() - rest.len(), width));
        narrow.push(byte);
        rest = &rest[width..];
    }
    let before = narrow.clone();
    let hits = in_place(&mut narrow);
    if hits > 0 {
        let clean = text.to_mut();
        for (index, (place, width)) in places.into_iter().enumerate() {
            if narrow[index] != before[index] {
                let mask = if width == 1 { &[mask::MASK][..] } else { &FULL_WIDTH_MASK };
                clean[place..place + width].copy_from_slice(mask);
            }
        }
    }
    hits
}

/// Puts quotes around masked numbers that are values of a JSON object or array.
pub(super) fn quote_numbers(text: &mut Cow<'_, [u8]>) {
    // Asked of each number, and found once.
    let in_array = text.trim_ascii_start().starts_with(b"[");
    let first_quote = memchr(b'"', text).unwrap_or(text.len());
    let mut clean = Vec::new();
    let mut done = 0;
    let mut at = 0;
    while let Some(found) = memmem::find(&text[at..], b"**") {
        let middle = at + found;
        let is_part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'*' | b'.' | b'-');
        let start = middle - text[done..middle].iter().rev().take_while(|byte| is_part(byte)).count();
        let end = middle + text[middle..].iter().take_while(|byte| is_part(byte)).count();
        at = end;
        if is_value(&text[..start], &text[end..], in_array || first_quote < start) {
            clean.extend_from_slice(&text[done..start]);
            clean.push(b'"');
            clean.extend_from_slice(&text[start..end]);
            clean.push(b'"');
            done = end;
        }
    }
    if done > 0 {
        clean.extend_from_slice(&text[done..]);
        *text = Cow::Owned(clean);
    }
}

/// Whether what stands between these is a value of JSON without quotes; `in_json` says that it may be an array's.
fn is_value(before: &[u8], after: &[u8], in_json: bool) -> bool {
    let after = after.trim_ascii_start().first();
    if !matches!(after, None | Some(b',' | b'}' | b']')) {
        return false;
    }
    let before = before.trim_ascii_end();
    match before.split_last() {
        Some((b':', key)) => key.trim_ascii_end().ends_with(b"\""),
        Some((b'[' | b',', _)) => in_json,
        _ => false,
    }
}
