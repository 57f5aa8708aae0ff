//! What a text could hold: one look that most texts do not get beyond.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use memchr::{memchr, memmem};

use crate::config;

/// Digits that single separators join: fewer cannot be a card, …
const CARD: u32 = 12;
/// … a resident registration number, …
const RESIDENT: u32 = 13;
/// … or a telephone number.
const PHONE: u32 = 9;

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
        let digits = longest_chain(text);
        let wide = memmem::find(text, &[0xef, 0xbc]).is_some();
        let mut wanted = Wanted { card: digits >= CARD || wide, ..Wanted::default() };
        if self.person {
            wanted.resident = digits >= RESIDENT;
            wanted.phone = digits >= PHONE;
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

/// The most digits that at most three other bytes part from each other each time.
fn longest_chain(text: &[u8]) -> u32 {
    const GAP: u32 = 3;
    let (mut longest, mut digits, mut gap) = (0, 0_u32, 0);
    for byte in text {
        if byte.is_ascii_digit() {
            digits += 1;
            gap = 0;
        } else {
            gap += 1;
            if gap > GAP {
                longest = longest.max(digits);
                digits = 0;
            }
        }
    }
    longest.max(digits)
}
