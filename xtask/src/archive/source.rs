//! Which package mirror the machine's own apt configuration names.
//!
//! Packages of other suites come from that same mirror with only the suite changed, so no host name is written
//! into the project. Both formats of sources.list(5) are read: one-line and deb822.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// A Debian archive: where it is, and by which key its index is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mirror {
    pub(crate) uri: String,
    /// The value of `Signed-By`, possibly many lines (a key can be written in place).
    pub(crate) signed_by: Option<String>,
}

impl Mirror {
    /// A deb822 source for one suite of this mirror: package index only, main component.
    pub(crate) fn source(&self, suite: &str) -> String {
        let mut text = format!(
            "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\nArchitectures: amd64\nTargets: Packages\n",
            self.uri
        );
        if let Some(key) = &self.signed_by {
            text.push_str(&format!("Signed-By: {key}\n"));
        }
        text
    }
}

/// The first Debian mirror of this machine's apt configuration.
pub(crate) fn mirror() -> Result<Mirror> {
    let codename = codename();
    let found = source_files()?
        .iter()
        .filter_map(|path| Some((path, fs::read_to_string(path).ok()?)))
        .find_map(|(path, text)| {
            let deb822 = path.extension().is_some_and(|e| e == "sources");
            let entries = if deb822 { deb822_entries(&text) } else { one_line_entries(&text) };
            entries.into_iter().find(|e| e.is_debian(&codename)).map(|e| e.mirror)
        });
    match found {
        Some(mirror) => Ok(mirror),
        None => bail!(
            "apt's configuration names no Debian mirror with the component main\n\
             hint: kernels and older programs come from the mirror in /etc/apt/sources.list or sources.list.d; add a Debian one there"
        ),
    }
}

/// The files of the machine's apt configuration that name sources.
pub(crate) fn source_files() -> Result<Vec<PathBuf>> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let parts = Path::new("/etc/apt/sources.list.d");
    if parts.is_dir() {
        let entries = fs::read_dir(parts).with_context(|| format!("read {}", parts.display()))?;
        let mut found: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
        found.retain(|p| p.extension().is_some_and(|e| e == "sources" || e == "list"));
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

/// The suite with newer versions of some packages of this machine's release.
pub(crate) fn backports() -> Result<String> {
    let codename = codename();
    if codename.is_empty() {
        bail!("/etc/os-release names no release, so it has no backports");
    }
    Ok(format!("{codename}-backports"))
}

/// This machine's release, or nothing.
fn codename() -> String {
    let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let line = os_release.lines().find_map(|l| l.strip_prefix("VERSION_CODENAME="));
    line.unwrap_or_default().trim_matches('"').to_owned()
}

#[derive(Debug)]
struct Entry {
    mirror: Mirror,
    suites: Vec<String>,
    components: Vec<String>,
}

impl Entry {
    /// Third parties sign for the same suite name with other components, and security and update suites live
    /// at other addresses: only a release's own suite with `main` is the archive.
    fn is_debian(&self, codename: &str) -> bool {
        const ALIASES: [&str; 5] = ["stable", "oldstable", "testing", "unstable", "sid"];
        let suite = |s: &String| (!codename.is_empty() && s == codename) || ALIASES.contains(&s.as_str());
        self.components.iter().any(|c| c == "main") && self.suites.iter().any(suite)
    }
}

fn deb822_entries(text: &str) -> Vec<Entry> {
    text.split("\n\n").filter_map(deb822_entry).collect()
}

fn deb822_entry(stanza: &str) -> Option<Entry> {
    let field = |name: &str| field(stanza, name);
    let words = |name: &str| words(&field(name).unwrap_or_default());
    if !words("Types").iter().any(|t| t == "deb") || field("Enabled").is_some_and(|e| e.trim() == "no") {
        return None;
    }
    let uri = words("URIs").into_iter().next()?;
    Some(Entry {
        mirror: Mirror { uri, signed_by: field("Signed-By").filter(|k| !k.trim().is_empty()) },
        suites: words("Suites"),
        components: words("Components"),
    })
}

/// A field of a deb822 stanza with its continuation lines, comments left out.
fn field(stanza: &str, name: &str) -> Option<String> {
    let mut lines = stanza.lines().filter(|l| !l.starts_with('#')).skip_while(|l| {
        l.split_once(':').is_none_or(|(key, _)| l.starts_with(' ') || !key.eq_ignore_ascii_case(name))
    });
    let mut value = lines.next()?.split_once(':')?.1.trim().to_owned();
    for line in lines.take_while(|l| l.starts_with([' ', '\t'])) {
        value.push('\n');
        value.push_str(line);
    }
    Some(value)
}

fn one_line_entries(text: &str) -> Vec<Entry> {
    text.lines().filter_map(one_line_entry).collect()
}

fn one_line_entry(line: &str) -> Option<Entry> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?;
    let rest = rest.starts_with([' ', '\t']).then(|| rest.trim_start())?;
    let (options, rest) = match rest.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => ("", rest),
    };
    let signed_by = words(options).into_iter().find_map(|o| o.strip_prefix("signed-by=").map(str::to_owned));
    let mut words = words(rest).into_iter();
    let (uri, suite) = (words.next()?, words.next()?);
    Some(Entry { mirror: Mirror { uri, signed_by }, suites: vec![suite], components: words.collect() })
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deb822_stanza_is_read_with_comments_and_many_suites() {
        let text = "Types: deb\n# an older snapshot\nURIs: http://mirror.test/debian\nSuites: bookworm bookworm-updates\n\
                    Components: main\nSigned-By: /usr/share/keyrings/archive.gpg\n\nTypes: deb\nURIs: http://mirror.test/sec\n\
                    Suites: bookworm-security\nComponents: main\n";
        let entries = deb822_entries(text);
        assert_eq!(entries.len(), 2);
        assert!(entries[0].is_debian("bookworm"));
        assert!(!entries[1].is_debian("bookworm"), "a security suite is not the archive");
        assert_eq!(entries[0].mirror.uri, "http://mirror.test/debian");
        assert_eq!(entries[0].mirror.signed_by.as_deref(), Some("/usr/share/keyrings/archive.gpg"));
    }

    #[test]
    fn a_key_written_in_place_keeps_its_lines() {
        let text = "Types: deb\nURIs: http://m.test/d\nSuites: sid\nComponents: main\nSigned-By:\n -----BEGIN\n .\n abc\n";
        let mirror = &deb822_entries(text)[0].mirror;
        assert_eq!(mirror.signed_by.as_deref(), Some("\n -----BEGIN\n .\n abc"));
        assert!(mirror.source("trixie").contains("Signed-By: \n -----BEGIN\n .\n abc\n"));
    }

    #[test]
    fn a_disabled_or_source_only_stanza_is_no_mirror() {
        assert!(
            deb822_entries("Types: deb-src\nURIs: http://m.test/d\nSuites: sid\nComponents: main").is_empty()
        );
        assert!(
            deb822_entries("Enabled: no\nTypes: deb\nURIs: http://m.test/d\nSuites: sid\nComponents: main")
                .is_empty()
        );
    }

    #[test]
    fn a_one_line_source_is_read_with_its_options() {
        let text = "# deb http://old.test/debian sid main\n\
                    deb-src http://m.test/debian bookworm main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://m.test/debian bookworm main contrib # why\n";
        let entries = one_line_entries(text);
        assert_eq!(entries.len(), 1);
        assert!(entries[0].is_debian("bookworm"));
        assert_eq!(
            entries[0].mirror,
            Mirror { uri: "http://m.test/debian".into(), signed_by: Some("/k.gpg".into()) }
        );
    }

    #[test]
    fn a_third_party_with_the_same_suite_name_is_not_debian() {
        let entries = one_line_entries("deb https://vendor.test/linux/debian bookworm stable\n");
        assert!(!entries[0].is_debian("bookworm"));
    }

    #[test]
    fn only_the_suite_changes_in_the_generated_source() {
        let mirror = Mirror { uri: "http://m.test/debian".into(), signed_by: None };
        let source = mirror.source("bullseye");
        assert!(source.contains("URIs: http://m.test/debian\nSuites: bullseye\n"));
        assert!(!source.contains("Signed-By"));
    }
}
