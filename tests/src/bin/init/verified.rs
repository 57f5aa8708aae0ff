//! How many instructions the verifier went through for each program.
//!
//! Kernels tell it in `bpf_prog_info` since 5.16, and the sensor passes it on. Where they do not, a kprobe does: when
//! the verifier rewrites a program that it has accepted, its environment has the final count.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, bail};
use btf_rs::{Btf, Type};

const TRACING: &str = "/sys/kernel/tracing";
const EVENT: &str = "lionpay/verified";
/// The step after acceptance, first argument `struct bpf_verifier_env *`.
const STEP: &str = "convert_ctx_accesses";

/// Counts while it lives.
pub(crate) struct Count(());

impl Count {
    pub(crate) fn start() -> Result<Self> {
        let bytes = fs::read("/sys/kernel/btf/vmlinux").context("read the kernel's BTF")?;
        let btf = Btf::from_bytes(&bytes).context("parse the kernel's BTF")?;
        let offset = |structure, member| {
            offset(&btf, structure, member)
                .with_context(|| format!("find {structure}.{member} in the kernel's BTF"))
        };
        let program = offset("bpf_verifier_env", "prog")?;
        let aux = offset("bpf_prog", "aux")?;
        let name = offset("bpf_prog_aux", "name")?;
        let count = offset("bpf_verifier_env", "insn_processed")?;
        write("trace", "")?;
        let event =
            format!("p:{EVENT} {STEP} name=+{name}(+{aux}(+{program}(%di))):string count=+{count}(%di):u32");
        write("kprobe_events", &event)?;
        write(&format!("events/{EVENT}/enable"), "1")?;
        Ok(Self(()))
    }

    /// Instructions by program; the largest count where a program was loaded more than once.
    pub(crate) fn finish(self) -> Result<BTreeMap<String, u64>> {
        let trace = fs::read_to_string(format!("{TRACING}/trace")).context("read the trace")?;
        drop(self);
        let mut counts = BTreeMap::new();
        for line in trace.lines().filter(|l| !l.starts_with('#')) {
            let Some((name, count)) = parse(line) else {
                bail!("the trace has a line of unknown form: {line}")
            };
            let most: &mut u64 = counts.entry(name.to_owned()).or_default();
            *most = count.max(*most);
        }
        // Programs without a name are a loader's own attempts at what the kernel has.
        counts.remove("");
        Ok(counts)
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        let _ = write(&format!("events/{EVENT}/enable"), "0");
        let _ = write("kprobe_events", &format!("-:{EVENT}"));
    }
}

/// `... verified: (convert_ctx_accesses+0x0/0x90) name="tcp_sendmsg" count=1234`
fn parse(line: &str) -> Option<(&str, u64)> {
    let (_, rest) = line.split_once("name=\"")?;
    let (name, rest) = rest.split_once('"')?;
    Some((name, rest.trim().strip_prefix("count=")?.parse().ok()?))
}

fn write(file: &str, text: &str) -> Result<()> {
    fs::write(format!("{TRACING}/{file}"), text)
        .with_context(|| format!("write {text:?} to {TRACING}/{file}"))
}

/// In bytes.
fn offset(btf: &Btf, structure: &str, member: &str) -> Option<u32> {
    btf.resolve_types_by_name(structure).ok()?.into_iter().find_map(|found| {
        let Type::Struct(found) = found else { return None };
        let mut members = found.members.iter();
        let found = members.find(|m| btf.resolve_name(*m).is_ok_and(|name| name == member))?;
        Some(found.bit_offset() / 8)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_trace_is_read() {
        let line = "  sensor-71 [000] d..2 3.5: verified: (convert_ctx_accesses+0x0/0x90) name=\"lionpay\" count=812";
        assert_eq!(parse(line), Some(("lionpay", 812)));
        assert_eq!(parse("  sensor-71 [000] LOST 3 EVENTS"), None);
    }
}
