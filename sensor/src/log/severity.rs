//! How severe a record is, by what it says itself.
//!
//! Numbers are those of the OpenTelemetry log data model; the mappings of other scales are those of its appendix B.

/// `SeverityNumber` of the OpenTelemetry log data model, 1 to 24.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Severity(u8);

impl Severity {
    /// `TRACE`
    pub const TRACE: Self = Self(1);
    /// `DEBUG`
    pub const DEBUG: Self = Self(5);
    /// `INFO`
    pub const INFO: Self = Self(9);
    /// `INFO2`: syslog's notice.
    pub const INFO2: Self = Self(10);
    /// `WARN`
    pub const WARN: Self = Self(13);
    /// `ERROR`
    pub const ERROR: Self = Self(17);
    /// `ERROR2`: syslog's critical.
    pub const ERROR2: Self = Self(18);
    /// `ERROR3`: syslog's alert.
    pub const ERROR3: Self = Self(19);
    /// `FATAL`
    pub const FATAL: Self = Self(21);

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The name of its range: `TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR` or `FATAL`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            1..=4 => "TRACE",
            5..=8 => "DEBUG",
            9..=12 => "INFO",
            13..=16 => "WARN",
            17..=20 => "ERROR",
            _ => "FATAL",
        }
    }

    /// By a word of the usual loggers, in any case.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        const LONGEST: usize = 13;
        if word.len() < 3 || word.len() > LONGEST {
            return None;
        }
        let mut upper = [0; LONGEST];
        let upper = &mut upper[..word.len()];
        upper.copy_from_slice(word.as_bytes());
        upper.make_ascii_uppercase();
        Some(match &*upper {
            b"TRACE" | b"TRC" | b"TRCE" | b"FINEST" | b"VERBOSE" | b"VRB" => Self::TRACE,
            b"DEBUG" | b"DBG" | b"DBUG" | b"FINER" | b"FINE" | b"CONFIG" => Self::DEBUG,
            b"INFO" | b"INF" | b"INFORMATION" | b"INFORMATIONAL" => Self::INFO,
            b"NOTICE" => Self::INFO2,
            b"WARN" | b"WARNING" | b"WRN" => Self::WARN,
            b"ERROR" | b"ERR" | b"SEVERE" | b"FAIL" => Self::ERROR,
            b"CRITICAL" | b"CRIT" => Self::ERROR2,
            b"ALERT" => Self::ERROR3,
            b"FATAL" | b"FTL" | b"EMERG" | b"EMERGENCY" | b"PANIC" => Self::FATAL,
            _ => return None,
        })
    }

    /// By syslog's number (RFC 5424 6.2.1), 0 to 7.
    #[must_use]
    pub const fn of_syslog(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::FATAL,
            1 => Self::ERROR3,
            2 => Self::ERROR2,
            3 => Self::ERROR,
            4 => Self::WARN,
            5 => Self::INFO2,
            6 => Self::INFO,
            7 => Self::DEBUG,
            _ => return None,
        })
    }

    /// By a number in a field called `level`: those of pino and bunyan (10 to 60), else syslog's.
    #[must_use]
    pub const fn of_level(number: u64) -> Option<Self> {
        Some(match number {
            10..20 => Self::TRACE,
            20..30 => Self::DEBUG,
            30..40 => Self::INFO,
            40..50 => Self::WARN,
            50..60 => Self::ERROR,
            60..70 => Self::FATAL,
            other => return Self::of_syslog(other),
        })
    }

    /// By the model's own number.
    #[must_use]
    pub const fn of_number(number: u64) -> Option<Self> {
        match number {
            #[expect(clippy::cast_possible_truncation, reason = "at most 24")]
            1..=24 => Some(Self(number as u8)),
            _ => None,
        }
    }

    /// By the layout of a line of text: the usual ones of Java, .NET, Go, Python and nginx, and a syslog priority.
    #[must_use]
    pub fn of_text(text: &str) -> Option<Self> {
        if let Some(severity) = priority(text).or_else(|| klog(text)) {
            return Some(severity);
        }
        text.lines().take(LINES).find_map(in_line)
    }
}

/// Lines of a record that are looked at: java.util.logging has the level in the second.
const LINES: usize = 2;
/// Words of a line that are looked at, and bytes.
const WORDS: usize = 10;
const BYTES: usize = 200;

fn in_line(line: &str) -> Option<Severity> {
    let mut end = line.len().min(BYTES);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    let words = line[..end].split([' ', '\t', '|']).filter(|word| !word.is_empty()).take(WORDS);
    words.enumerate().find_map(|(index, word)| level(word, index == 0))
}

/// A word that is a level: in capitals; in brackets; or, as the line's first, before a colon.
fn level(word: &str, is_first: bool) -> Option<Severity> {
    let bracketed = word.contains('[') || word.contains(']');
    let before_colon = word.split_once(':').map(|(level, _)| level);
    let bare = before_colon.unwrap_or(word).trim_matches(|c: char| !c.is_ascii_alphabetic());
    let severity = Severity::of_word(bare)?;
    let capitals = bare.bytes().all(|byte| byte.is_ascii_uppercase());
    // Three letters mean something else too often, unless they stand apart.
    let apart = bracketed || (is_first && before_colon.is_some());
    ((capitals && bare.len() > 3) || apart).then_some(severity)
}

/// `<PRI>` at the start (RFC 5424 6.2.1).
fn priority(text: &str) -> Option<Severity> {
    let (number, _) = text.strip_prefix('<')?.split_once('>')?;
    let number: u64 = number.parse().ok().filter(|number| *number <= 191)?;
    Severity::of_syslog(number % 8)
}

/// `I1123 10:00:00.000000 …` of klog and glog.
fn klog(text: &str) -> Option<Severity> {
    let bytes = text.as_bytes();
    if bytes.len() < 14 || !bytes[1..5].iter().all(u8::is_ascii_digit) || bytes[5] != b' ' || bytes[8] != b':'
    {
        return None;
    }
    match bytes[0] {
        b'I' => Some(Severity::INFO),
        b'W' => Some(Severity::WARN),
        b'E' => Some(Severity::ERROR),
        b'F' => Some(Severity::FATAL),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_read() {
        for (line, expected) in [
            ("2026-11-23T10:00:00.000+09:00  INFO 1 --- [main] c.l.Pay : paid", Some(Severity::INFO)),
            ("2026-11-23 10:00:00,123 [main] WARN  c.l.X - slow", Some(Severity::WARN)),
            ("10:00:00.123 [http-nio-8080-exec-1] ERROR com.lionpay.Pay -- boom", Some(Severity::ERROR)),
            ("Nov 23, 2026 10:00:00 PM Main handle\nSEVERE: boom", Some(Severity::ERROR)),
            ("SEVERE: boom", Some(Severity::ERROR)),
            ("info: Microsoft.Hosting.Lifetime[14]", Some(Severity::INFO)),
            ("fail: Pay[0]\n      boom", Some(Severity::ERROR)),
            ("[10:00:00 ERR] boom", Some(Severity::ERROR)),
            ("I1123 10:00:00.000000       1 main.go:1] started", Some(Severity::INFO)),
            ("2026-11-23T10:00:00.000Z\tDEBUG\tmain.go:1\tx", Some(Severity::DEBUG)),
            ("INFO:root:message", Some(Severity::INFO)),
            ("2026-11-23 10:00:00,123 - name - CRITICAL - x", Some(Severity::ERROR2)),
            ("[2026-11-23 10:00:00 +0000] [12] [INFO] Booting worker", Some(Severity::INFO)),
            ("2026/11/23 10:00:00 [error] 12#0: *1 open() failed", Some(Severity::ERROR)),
            ("2026/11/23 10:00:00 [notice] 12#0: x", Some(Severity::INFO2)),
            ("<11>Nov 23 10:00:00 host app: x", Some(Severity::ERROR)),
            ("127.0.0.1 - - [23/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 6", None),
            ("an error happened, no warning was given", None),
            ("WARNUNG", None),
            ("", None),
            ("Err 3", None),
        ] {
            assert_eq!(Severity::of_text(line), expected, "{line}");
        }
    }

    #[test]
    fn numbers_are_of_one_scale_each() {
        assert_eq!(Severity::of_level(30), Some(Severity::INFO));
        assert_eq!(Severity::of_level(3), Some(Severity::ERROR));
        assert_eq!(Severity::of_level(100), None);
        assert_eq!(Severity::of_number(17), Some(Severity::ERROR));
        assert_eq!(Severity::of_number(25), None);
        assert_eq!(Severity::ERROR3.name(), "ERROR");
    }
}
