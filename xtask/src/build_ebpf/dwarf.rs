//! Taking out of an object file what only a debugger reads.

use anyhow::Result;
use object::build::elf::{Builder, SectionData};

/// The object without DWARF, which is three quarters of it and would be in the sensor's memory: the kernel and the daemon
/// read BTF. Cargo's own output keeps it.
pub(super) fn without(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(object)?;
    for section in &mut builder.sections {
        section.delete |= section.name.starts_with(b".debug_") || section.name.starts_with(b".rel.debug_");
    }
    builder.delete_orphans();
    // LLVM puts the names of sections among those of symbols.
    if !builder.sections.iter().any(|section| matches!(section.data, SectionData::SectionString)) {
        let section = builder.sections.add();
        section.name = b".shstrtab".as_slice().into();
        section.sh_type = object::elf::SHT_STRTAB;
        section.sh_addralign = 1;
        section.data = SectionData::SectionString;
    }
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
}

#[cfg(test)]
mod tests {
    use object::write::{Object, Relocation};
    use object::{Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind};

    use super::*;

    #[test]
    fn dwarf_is_left_out_and_btf_is_not() {
        let mut whole = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
        for name in [".text", ".BTF", ".debug_info"] {
            let kind = if name == ".text" { SectionKind::Text } else { SectionKind::Debug };
            let id = whole.add_section(Vec::new(), name.into(), kind);
            whole.append_section_data(id, name.as_bytes().repeat(8).as_slice(), 8);
            let symbol = whole.section_symbol(id);
            let flags = RelocationFlags::Elf { r_type: object::elf::R_BPF_64_64 };
            whole.add_relocation(id, Relocation { offset: 0, symbol, addend: 0, flags }).unwrap();
        }
        let stripped = without(&whole.write().unwrap()).unwrap();
        let kept = Builder::read(stripped.as_slice()).unwrap();
        let names: Vec<_> = kept.sections.iter().map(|section| section.name.to_string()).collect();
        for name in [".text", ".BTF", ".rel.text", ".rel.BTF"] {
            assert!(names.iter().any(|kept| kept == name), "{names:?} without {name}");
        }
        assert!(!names.iter().any(|kept| kept.contains("debug")), "{names:?}");
    }
}
