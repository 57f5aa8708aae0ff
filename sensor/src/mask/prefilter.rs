//! What a text could hold: one look that most texts do not get beyond.

use aho_corasick::{AhoCorasick, PatternID, packed};
use memchr::{memchr_iter, memmem::Finder};
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

/// Bytes of a text that are searched for words at once; the next ones begin with the last [`LONGEST_WORD`] of them.
const WINDOW: usize = 512;
const LONGEST_WORD: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Something looks masked already, by the kernel or here.
    pub(super) masked: bool,
}

impl Wanted {
    pub(super) fn any_rule(self) -> bool {
        self.resident || self.phone || self.email || self.account || self.secret
    }
}

pub(super) struct Prefilter {
    words: Words,
    wide: Finder<'static>,
    stars: Finder<'static>,
    person: bool,
    secret: bool,
}

impl Prefilter {
    pub(super) fn new(settings: &config::Mask) -> Self {
        Self {
            words: Words::new(),
            wide: Finder::new(&[0xef, 0xbc]),
            stars: Finder::new(b"**"),
            person: settings.person,
            secret: settings.secret,
        }
    }

    pub(super) fn secrets(&self) -> bool {
        self.secret
    }

    pub(super) fn look(&self, text: &[u8]) -> Wanted {
        let mut wanted = Wanted {
            card: self.wide.find(text).is_some() || may_hold(text),
            masked: self.stars.find(text).is_some(),
            ..Wanted::default()
        };
        if self.person {
            (wanted.resident, wanted.phone) = numbers(text);
            wanted.email = memchr_iter(b'@', text).any(|at| may_be_address(text, at));
        }
        if self.person || self.secret {
            self.words.search(text, |kind| {
                match kind {
                    Kind::Secret => wanted.secret = self.secret,
                    Kind::Person => {
                        wanted.email |= self.person;
                        wanted.account |= self.person;
                    }
                }
                (wanted.secret || !self.secret) && (wanted.account || !self.person)
            });
        }
        wanted
    }
}

/// Whether what is around the at sign at `at` may be of an address.
fn may_be_address(text: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|at| text.get(at));
    let behind = text.get(at + 1);
    let is_local =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-');
    before.is_some_and(is_local) && behind.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// Finds [`WORDS`], whatever the case of their letters. What it finds may be none, but it misses none.
enum Words {
    /// Many bytes at once, in a text without the bit that tells ASCII letters' case.
    Folded(packed::Searcher),
    /// Byte by byte, on processors that have no instructions for it.
    Bytes(Option<AhoCorasick>),
}

impl Words {
    fn new() -> Self {
        let folded = WORDS.map(|(word, _)| word.bytes().map(fold).collect::<Vec<u8>>());
        if let Some(searcher) = packed::Config::new().builder().extend(folded).build() {
            return Self::Folded(searcher);
        }
        let words = WORDS.iter().map(|(word, _)| word);
        Self::Bytes(AhoCorasick::builder().ascii_case_insensitive(true).build(words).ok())
    }

    /// Calls `take` with the kind of each word that is found, until that is enough.
    fn search(&self, text: &[u8], mut take: impl FnMut(Kind) -> bool) {
        let kind = |pattern: PatternID| WORDS[pattern.as_usize()].1;
        match self {
            Self::Folded(searcher) => {
                let (mut folded, mut rest) = ([0; WINDOW], text);
                loop {
                    let part = rest.get(..WINDOW).unwrap_or(rest);
                    folded.iter_mut().zip(part).for_each(|(folded, byte)| *folded = fold(*byte));
                    let mut found = searcher.find_iter(&folded[..part.len()]);
                    if found.any(|found| take(kind(found.pattern()))) || part.len() == rest.len() {
                        return;
                    }
                    rest = &rest[WINDOW - LONGEST_WORD..];
                }
            }
            Self::Bytes(Some(words)) => {
                words.find_iter(text).any(|found| take(kind(found.pattern())));
            }
            Self::Bytes(None) => {
                [Kind::Person, Kind::Secret].into_iter().any(take);
            }
        }
    }
}

/// The byte without the bit that tells ASCII letters' case.
const fn fold(byte: u8) -> u8 {
    byte | 0x20
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
    fn words_are_found_wherever_they_stand() {
        let both = Words::new();
        let bytes = Words::Bytes(
            AhoCorasick::builder().ascii_case_insensitive(true).build(WORDS.map(|(word, _)| word)).ok(),
        );
        assert!(WORDS.iter().all(|(word, _)| word.len() <= LONGEST_WORD && word.len() >= 3));
        for (word, kind) in WORDS {
            for before in (0..40).chain(WINDOW - 30..WINDOW + 30).chain(2 * WINDOW - 60..2 * WINDOW + 20) {
                for behind in [0, 1, 100] {
                    let text = "z".repeat(before) + &word.to_uppercase() + &"z".repeat(behind);
                    for words in [&both, &bytes] {
                        let mut found = Vec::new();
                        words.search(text.as_bytes(), |kind| {
                            found.push(kind);
                            false
                        });
                        assert!(found.contains(&kind), "{text}");
                    }
                }
            }
        }
    }

    #[test]
    fn addresses_are_told_from_other_at_signs() {
        let filter = Prefilter::new(&config::Mask::default());
        for (text, is_one) in [
            ("kim@pay.example", true),
            ("a%@b", true),
            ("{\"@timestamp\":1}", false),
            ("@", false),
            ("a@", false),
            ("user @host", false),
            ("x@1.example", true),
        ] {
            assert_eq!(filter.look(text.as_bytes()).email, is_one, "{text}");
        }
    }

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
