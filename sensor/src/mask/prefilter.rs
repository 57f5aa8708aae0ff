//! What a text could hold: one look that most texts do not get beyond.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use memchr::{memchr, memmem};
use sensor_common::mask::{Text as _, WORD, may_hold, no_digits};

use crate::config;

/// Words without which a rule finds nothing, in lower case.
const WORDS: [(&str, Kind); 26] = [
    ("assw", Kind::Secret),
    ("passphrase", Kind::Secret),
    ("pwd", Kind::Secret),
    ("secret", Kind::Secret),
    ("token", Kind::Secret),
    ("cvv", Kind::Secret),
    ("cvc", Kind::Secret),
    ("pin", Kind::Secret),
    ("api_key", Kind::Secret),
    ("apikey", Kind::Secret),
    ("api-key", Kind::Secret),
    ("access_key", Kind::Secret),
    ("accesskey", Kind::Secret),
    ("private_key", Kind::Secret),
    ("privatekey", Kind::Secret),
    ("credential", Kind::Secret),
    ("비밀번호", Kind::Secret),
    ("authorization", Kind::Secret),
    ("bearer", Kind::Secret),
    ("cookie", Kind::Secret),
    ("eyj", Kind::Secret),
    ("akia", Kind::Secret),
    ("asia", Kind::Secret),
    ("%40", Kind::Person),
    ("account", Kind::Person),
    ("계좌", Kind::Person),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Person,
    Secret,
}

/// Which rules a text is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) card: bool,
    pub(super) resident: bool,
    pub(super) phone: bool,
    pub(super) email: bool,
    pub(super) account: bool,
    pub(super) secret: bool,
}

impl Wanted {
    pub(super) fn any_rule(self) -> bool {
        self.resident || self.phone || self.email || self.account || self.secret
    }
}

pub(super) struct Prefilter {
    words: Option<AhoCorasick>,
    person: bool,
    secret: bool,
}

impl Prefilter {
    pub(super) fn new(settings: &config::Mask) -> Self {
        let words = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostFirst)
            .kind(Some(AhoCorasickKind::DFA))
            .build(WORDS.iter().map(|(word, _)| word));
        Self { words: words.ok(), person: settings.person, secret: settings.secret }
    }

    pub(super) fn secrets(&self) -> bool {
        self.secret
    }

    pub(super) fn look(&self, text: &[u8]) -> Wanted {
        let wide = memmem::find(text, &[0xef, 0xbc]).is_some();
        let mut wanted = Wanted { card: wide || may_hold(text), ..Wanted::default() };
        if self.person {
            (wanted.resident, wanted.phone) = numbers(text);
            wanted.email = memchr(b'@', text).is_some();
        }
        if !self.person && !self.secret {
            return wanted;
        }
        let Some(words) = &self.words else {
            return Wanted { email: self.person, account: self.person, secret: self.secret, ..wanted };
        };
        for found in words.find_iter(text) {
            match WORDS[found.pattern().as_usize()].1 {
                Kind::Secret => wanted.secret = self.secret,
                Kind::Person => {
                    wanted.email |= self.person;
                    wanted.account |= self.person;
                }
            }
            if wanted.secret && (wanted.account || !self.person) {
                break;
            }
        }
        wanted
    }
}

/// Whether there are digits of the shape of a resident registration number, and of a telephone number.
fn numbers(text: &[u8]) -> (bool, bool) {
    /// Bytes that a turn moves on; as many as the longest shape has, and more, are seen again.
    const STRIDE: u32 = 6 * WORD;
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let (mut base, mut digits) = (0, 0_u64);
    let (mut resident, mut phone) = (0, 0);
    while base < length {
        let rest = (length - base).min(STRIDE);
        let new = text.bits::<{ STRIDE / WORD }>(base, no_digits) & ((1 << rest) - 1);
        digits = digits >> STRIDE | new << (64 - STRIDE);
        // Places from which so many digits stand in a row.
        let two = digits & digits >> 1;
        let three = two & digits >> 2;
        let four = two & two >> 2;
        let six = four & two >> 4;
        let seven = four & three >> 4;
        // Birth date and the rest.
        resident |= six & (seven >> 6 | seven >> 7);
        // Area, exchange and line, with one byte between, or a parenthesis more behind the area; or all without.
        let line = !digits >> 3 & three & four >> 4 | !digits >> 4 & four & four >> 5;
        phone |= line & !(digits << 1) & (two << 3 | two << 4) | six & four >> 6;
        base += STRIDE;
    }
    (resident != 0, phone != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_found_wherever_they_stand() {
        for before in 0..120 {
            for (number, shapes) in [
                ("900101-1234567", (true, false)),
                ("9001011234567", (true, true)),
                ("010-1234-5678", (false, true)),
                ("02-123-4567", (false, true)),
                ("(02) 123-4567", (false, true)),
                ("+82 1012345678", (false, true)),
                ("2026-11-24T10:11:12.123456Z", (false, false)),
                ("10.0.0.1:8080 1234", (false, false)),
            ] {
                let text = format!("{}{number}", "x".repeat(before));
                assert_eq!(numbers(text.as_bytes()), shapes, "{text}");
                assert_eq!(numbers(format!("{text} ...").as_bytes()), shapes, "{text}");
            }
        }
    }
}
