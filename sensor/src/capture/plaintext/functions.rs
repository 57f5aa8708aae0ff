//! Where OpenSSL's functions are in a library or a program.

use std::fs::File;
use std::ops::Range;

use object::{
    Endianness, ReadRef,
    elf::{FileHeader64, PT_LOAD, ProgramHeader64, SHN_UNDEF, SHT_DYNSYM, SHT_SYMTAB, STT_FUNC, Sym64},
    read::{
        ReadCache,
        elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _, Sym as _},
    },
};

/// A function that is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Read,
    Write,
    ReadEx,
    WriteEx,
    New,
    Free,
    Clear,
}

impl Function {
    pub(super) const ALL: [Self; 7] =
        [Self::Free, Self::Clear, Self::New, Self::Read, Self::Write, Self::ReadEx, Self::WriteEx];

    const fn symbol(self) -> &'static str {
        match self {
            Self::Read => "SSL_read",
            Self::Write => "SSL_write",
            Self::ReadEx => "SSL_read_ex",
            Self::WriteEx => "SSL_write_ex",
            Self::New => "SSL_new",
            Self::Free => "SSL_free",
            Self::Clear => "SSL_clear",
        }
    }

    /// Without these nothing of it can be told: an `SSL`'s address says nothing where it is not seen that it is a new one.
    const fn is_needed(self) -> bool {
        matches!(self, Self::Read | Self::Write | Self::New | Self::Free)
    }

    /// The programs at its return and at its entry, in the order in which they are attached: an entry without its return would
    /// leave its note behind.
    pub(super) fn programs(self) -> impl Iterator<Item = (&'static str, bool)> {
        let (at_return, at_entry) = match self {
            Self::Read => (Some("tls_return"), Some("tls_read")),
            Self::Write => (Some("tls_return"), Some("tls_write")),
            Self::ReadEx => (Some("tls_return"), Some("tls_read_ex")),
            Self::WriteEx => (Some("tls_return"), Some("tls_write_ex")),
            Self::New => (Some("tls_new"), None),
            Self::Free | Self::Clear => (None, Some("tls_forget")),
        };
        at_return.map(|name| (name, true)).into_iter().chain(at_entry.map(|name| (name, false)))
    }
}

/// The most bytes of a file that are read at once. A program's symbols take some MiB.
const SECTION_LIMIT: u64 = 32 << 20;
/// Beginning of the names of all functions.
const PREFIX: &[u8] = b"SSL_";

/// A file of which no more is read at once than [`SECTION_LIMIT`], whatever it says of itself.
#[derive(Clone, Copy)]
struct Bounded<'a>(&'a ReadCache<&'a File>);

impl<'a> ReadRef<'a> for Bounded<'a> {
    fn len(self) -> Result<u64, ()> {
        self.0.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        if size > SECTION_LIMIT { Err(()) } else { self.0.read_bytes_at(offset, size) }
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        self.0.read_bytes_at_until(range, delimiter)
    }
}

/// The functions with their offsets in the file; `None` when it is no ELF file of 64 bits, or has not all that are needed.
pub(super) fn find(file: &File) -> Option<Vec<(Function, u64)>> {
    [SHT_DYNSYM, SHT_SYMTAB].into_iter().find_map(|kind| {
        // Anew for each, so that not all is in memory at once.
        let cache = ReadCache::new(file);
        let found = find_in(Bounded(&cache), kind)?;
        let is_there = |function: &Function| found.iter().any(|(there, _)| there == function);
        Function::ALL.iter().filter(|function| function.is_needed()).all(is_there).then_some(found)
    })
}

fn find_in(data: Bounded<'_>, kind: u32) -> Option<Vec<(Function, u64)>> {
    let header = FileHeader64::<Endianness>::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, data).ok()?;
    let sections = header.sections(endian, data).ok()?;
    let section = sections.iter().find(|section| section.sh_type(endian) == kind)?;
    let symbols: &[Sym64<Endianness>] = section.data_as_array(endian, data).ok()?;
    let names = sections.section(section.link(endian)).ok()?.data(endian, data).ok()?;
    let mut found = Vec::new();
    for symbol in symbols {
        if symbol.st_type() != STT_FUNC || symbol.st_shndx(endian) == SHN_UNDEF {
            continue;
        }
        let name = names.get(symbol.st_name(endian) as usize..).unwrap_or_default();
        if !name.starts_with(PREFIX) {
            continue;
        }
        let function = Function::ALL.into_iter().find(|function| {
            let symbol = function.symbol().as_bytes();
            name.strip_prefix(symbol).is_some_and(|rest| rest.first() == Some(&0))
        });
        let Some(function) = function else { continue };
        // A symbol may have several versions: the same function.
        if found.iter().all(|(there, _)| *there != function) {
            found.push((function, offset(segments, endian, symbol.st_value(endian))?));
        }
    }
    Some(found)
}

/// Where in the file the byte is that is loaded to this address.
fn offset(segments: &[ProgramHeader64<Endianness>], endian: Endianness, address: u64) -> Option<u64> {
    segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD).find_map(|segment| {
        let into = address.checked_sub(segment.p_vaddr(endian))?;
        if into < segment.p_filesz(endian) { into.checked_add(segment.p_offset(endian)) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_has_no_such_functions_is_left_alone() {
        let own = File::open(std::env::current_exe().expect("the test's own path")).expect("open it");
        assert_eq!(find(&own), None);
        let mut text = tempfile::tempfile().expect("make a file");
        assert_eq!(find(&text), None, "empty");
        text.write_all(b"#!/bin/sh\n").expect("write");
        assert_eq!(find(&text), None, "no ELF file");
    }

    #[test]
    fn a_section_that_claims_to_be_huge_is_not_read() {
        let own = std::fs::read(std::env::current_exe().expect("the test's own path")).expect("read it");
        let mut bytes = own.get(..64).expect("a header").to_vec();
        // e_shoff, e_shnum: one section, behind the header, of a TiB.
        bytes[40..48].copy_from_slice(&64_u64.to_le_bytes());
        bytes[58..64].copy_from_slice(&[64, 0, 1, 0, 0, 0]);
        let mut section = [0; 64];
        section[4..8].copy_from_slice(&SHT_DYNSYM.to_le_bytes());
        section[32..40].copy_from_slice(&(1_u64 << 40).to_le_bytes());
        bytes.extend_from_slice(&section);
        let mut file = tempfile::tempfile().expect("make a file");
        file.write_all(&bytes).expect("write");
        file.set_len(2 << 40).expect("make it long");
        assert_eq!(find(&file), None);
    }
}
