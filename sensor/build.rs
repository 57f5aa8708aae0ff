//! Hands the eBPF object to the sensor, which embeds `$OUT_DIR/sensor-ebpf.o`.
//!
//! `cargo xtask build-ebpf` makes the object; without it the file is empty, so that whoever has no BPF toolchain
//! can still build and test everything else. An empty object is refused when the sensor starts.

use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{env, fs, io};

/// Names another object than the one of `cargo xtask build-ebpf`.
const OBJECT: &str = "SENSOR_EBPF_OBJECT";

fn main() -> io::Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("OUT_DIR is not set"))?);
    println!("cargo::rerun-if-env-changed={OBJECT}");
    let named = env::var_os(OBJECT).map(PathBuf::from);
    let object = match &named {
        Some(path) => path.clone(),
        None => target_directory(&out).join("bpf/sensor-ebpf.o"),
    };
    if named.is_none() && !object.exists() {
        leave_placeholder(&object)?;
    }
    println!("cargo::rerun-if-changed={}", object.display());

    let bytes = fs::read(&object).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot read {}: {error}", object.display()))
    })?;
    if bytes.is_empty() {
        println!("cargo::warning=the sensor is built without its eBPF programs and will refuse to run");
        println!("cargo::warning=hint: cargo xtask build-ebpf");
    }
    fs::write(out.join("sensor-ebpf.o"), bytes)
}

/// Cargo takes a watched file that does not exist for changed and would build the sensor anew every time. An empty
/// one is watched like any other, and the real object replaces it.
fn leave_placeholder(object: &Path) -> io::Result<()> {
    if let Some(directory) = object.parent() {
        fs::create_dir_all(directory)?;
    }
    match fs::File::create_new(object) {
        // Older than this run of the script, or cargo would run it once more.
        Ok(file) => file.set_modified(SystemTime::UNIX_EPOCH),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Cargo marks its target directory with a tag, wherever it is; `OUT_DIR` is below it.
fn target_directory(out: &Path) -> PathBuf {
    let tagged = out.ancestors().find(|directory| directory.join("CACHEDIR.TAG").exists());
    tagged.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), Path::to_path_buf)
}
