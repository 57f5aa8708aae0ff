//! A page that people write, with sections in it that only a command writes.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// Puts a section between its markers in the page, at the end of the page when it has none yet.
///
/// # Errors
/// The page cannot be read or written, or a marker is without its partner.
pub(super) fn write(page: &Path, name: &str, body: &str) -> Result<()> {
    let old = match fs::read_to_string(page) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::from("# Performance\n"),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", page.display())),
    };
    let new = replaced(&old, name, body).with_context(|| format!("cannot change {}", page.display()))?;
    if let Some(directory) = page.parent() {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    fs::write(page, new).with_context(|| format!("cannot write {}", page.display()))
}

fn replaced(page: &str, name: &str, body: &str) -> Result<String> {
    let begin = format!("<!-- begin {name}: written by `cargo xtask bench {name}`, do not edit -->");
    let end = format!("<!-- end {name} -->");
    let section = format!("{begin}\n{}\n{end}", body.trim());
    match (page.find(&begin), page.find(&end)) {
        (Some(from), Some(to)) if from < to => {
            Ok(format!("{}{section}{}", &page[..from], &page[to + end.len()..]))
        }
        (None, None) => Ok(format!("{}\n\n{section}\n", page.trim_end()).trim_start().to_owned()),
        _ => bail!("the markers of the section {name} do not pair\nhint: restore them or delete both"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_added_then_replaced_and_the_rest_stays() {
        let first = replaced("# Performance\n\nWords.\n", "http", "one").unwrap();
        let page = format!("{first}\nMore words.\n");
        let second = replaced(&page, "http", "two\nlines\n").unwrap();
        assert!(second.starts_with("# Performance\n\nWords.\n\n<!-- begin http"), "{second}");
        assert!(second.contains("-->\ntwo\nlines\n<!-- end http -->\n\nMore words.\n"), "{second}");
        assert!(!second.contains("one"));
        assert_eq!(replaced(&second, "http", "two\nlines").unwrap(), second);
    }

    #[test]
    fn sections_do_not_touch_each_other() {
        let page = replaced(&replaced("", "http", "one").unwrap(), "mask", "two").unwrap();
        let page = replaced(&page, "http", "three").unwrap();
        assert!(page.contains("three") && page.contains("two") && !page.contains("one"), "{page}");
    }

    #[test]
    fn a_lone_marker_is_refused() {
        assert!(replaced("<!-- end http -->", "http", "one").is_err());
    }
}
