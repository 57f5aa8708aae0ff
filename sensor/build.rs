use std::{env, fs, path::Path};
fn main() {
    let o = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap()).join("../target/bpf/sensor-ebpf.o");
    println!("cargo:rerun-if-changed={}", o.display());
    fs::write(
        Path::new(&env::var("OUT_DIR").unwrap()).join("sensor-ebpf.o"),
        fs::read(o).unwrap_or_default(),
    )
    .unwrap();
}
