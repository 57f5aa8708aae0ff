//! Numbers and names as a person reads them.
//!
//! Names come from processes and from traffic, so nothing of theirs may reach a terminal as a control sequence:
//! whatever is not printable ASCII is written as an escape. All text is ASCII then, so its length is its width.

use std::fmt::Write;
use std::time::Duration;

/// A name in printable ASCII.
#[must_use]
pub fn printable(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            ' '..='~' => text.push(character),
            other => text.extend(other.escape_default()),
        }
    }
    text
}

/// A name as the value of a `key=value` pair: in quotes unless it is plain.
#[must_use]
pub fn quoted(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b'\\');
    if !name.is_empty() && name.bytes().all(plain) {
        return name.to_owned();
    }
    let mut text = "\"".to_owned();
    for character in name.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            ' '..='~' => text.push(character),
            other => text.extend(other.escape_default()),
        }
    }
    text.push('"');
    text
}

/// Printable text in exactly `width` columns, to the left; what does not fit is cut, with `~` at the end.
#[must_use]
pub fn column(text: &str, width: usize) -> String {
    if text.len() <= width {
        return format!("{text:width$}");
    }
    match width.checked_sub(1).and_then(|end| text.get(..end)) {
        Some(start) => format!("{start}~"),
        None => String::new(),
    }
}

/// A duration with three digits: `850us`, `1.23ms`, `12.3s`; at most six characters up to 999 999 s.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 0.000_999_5 {
        return format!("{:.0}us", seconds * 1e6);
    }
    let (value, unit) = if seconds < 0.999_5 { (seconds * 1e3, "ms") } else { (seconds, "s") };
    let digits = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.digits$}{unit}")
}

/// A rate: `12.3`, `1234`, `123k`.
#[must_use]
pub fn rate(rate: f64) -> String {
    if rate < 999.95 {
        format!("{rate:.1}")
    } else if rate < 99_999.5 {
        format!("{rate:.0}")
    } else if rate < 99_999_500.0 {
        format!("{:.0}k", rate / 1e3)
    } else {
        format!("{:.0}M", rate / 1e6)
    }
}

/// Bytes in powers of 1024: `512`, `1.5K`, `12K`, `3.4M`.
#[must_use]
pub fn bytes(bytes: f64) -> String {
    let mut value = bytes;
    let mut units = ["", "K", "M", "G", "T"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    while value >= 999.5
        && let Some(next) = units.next()
    {
        value /= 1024.0;
        unit = next;
    }
    let digits = usize::from(value < 9.95 && !unit.is_empty());
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write!(text, "{value:.digits$}{unit}");
    text
}

/// A share as percent: `0.0%`, `12.3%`, `100%`.
#[must_use]
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 99.95 { "100%".to_owned() } else { format!("{percent:.1}%") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_not_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(printable("\u{202e}x\u{9b}"), "\\u{202e}x\\u{9b}");
        assert_eq!(quoted("a\u{1b}\"\\"), r#""a\u{1b}\"\\""#);
        assert_eq!(quoted("a b=c"), "\"a b=c\"");
        assert_eq!(quoted("nginx"), "nginx");
        assert_eq!(quoted(""), "\"\"");
    }

    #[test]
    fn a_column_has_its_width() {
        assert_eq!(column("abc", 5), "abc  ");
        assert_eq!(column("abcdef", 4), "abc~");
        assert_eq!(column("abc", 1), "~");
        assert_eq!(column("abc", 0), "");
    }

    #[test]
    fn durations_have_three_digits() {
        let of = |micros| duration(Duration::from_micros(micros));
        assert_eq!([of(0), of(999), of(1_000), of(1_234)], ["0us", "999us", "1.00ms", "1.23ms"]);
        assert_eq!([of(9_996), of(99_960), of(999_400)], ["10.0ms", "100ms", "999ms"]);
        assert_eq!([of(999_600), of(12_345_678), of(360_000_000)], ["1.00s", "12.3s", "360s"]);
    }

    #[test]
    fn rates_and_bytes_stay_short() {
        assert_eq!(
            [rate(0.0), rate(12.34), rate(12_345.6), rate(123_456.0)],
            ["0.0", "12.3", "12346", "123k"]
        );
        assert_eq!([bytes(0.0), bytes(512.0), bytes(999.6)], ["0", "512", "1.0K"]);
        assert_eq!([bytes(1536.0), bytes(12_000.0), bytes(3.5e9)], ["1.5K", "12K", "3.3G"]);
        assert_eq!([percent(0.0), percent(0.1234), percent(1.0)], ["0.0%", "12.3%", "100%"]);
    }
}
