//! Versions as compilers and Debian print them.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) patch: u32,
}

impl Version {
    /// Reads `1.96.0`, `1.97.0-nightly`, `22.1` or Debian's `1:22.1.8-1~deb12u1`. What follows the numbers
    /// is dropped.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.split_once(':').map_or(text, |(_epoch, rest)| rest);
        let numbers = text.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
        let mut numbers = numbers.split('.').map(str::parse::<u32>);
        let major = numbers.next()?.ok()?;
        let mut next = || numbers.next().map_or(Some(0), Result::ok);
        Some(Self { major, minor: next()?, patch: next()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(major: u32, minor: u32, patch: u32) -> Option<Version> {
        Some(Version { major, minor, patch })
    }

    #[test]
    fn the_forms_in_use_are_read() {
        assert_eq!(Version::parse("1.96.0"), version(1, 96, 0));
        assert_eq!(Version::parse("1.97.0-nightly"), version(1, 97, 0));
        assert_eq!(Version::parse("1.95"), version(1, 95, 0));
        assert_eq!(Version::parse("1:22.1.8-1~deb12u1"), version(22, 1, 8));
        assert_eq!(Version::parse("1.96.0+dfsg1-1~deb12u2\n"), version(1, 96, 0));
    }

    #[test]
    fn what_is_no_version_is_none() {
        for text in ["", "(none)", "nightly", ".1", "1..2"] {
            assert_eq!(Version::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_patch_level_decides() {
        assert!(Version::parse("22.1.8") > Version::parse("22.1.2"));
        assert!(Version::parse("22.1.10") > Version::parse("22.1.9"));
    }
}
