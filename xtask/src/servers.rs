//! The servers and clients that the end-to-end tests and the benchmark use, from Debian's packages.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::steps::Steps;
use crate::{apt, command};

/// A package, and the programs by whose presence it is known. They may well come from elsewhere.
pub(crate) struct Needed {
    package: &'static str,
    programs: &'static [&'static str],
}

pub(crate) const NGINX: Needed = Needed { package: "nginx", programs: &["nginx"] };
pub(crate) const WRK: Needed = Needed { package: "wrk", programs: &["wrk"] };
pub(crate) const CURL: Needed = Needed { package: "curl", programs: &["curl"] };
pub(crate) const PYTHON: Needed = Needed { package: "python3", programs: &["python3"] };
/// Its module is part of Python, and what it unpacks is in a package of Python's version: it is known by dpkg's list of its files.
pub(crate) const PYTHON_VENV: Needed =
    Needed { package: "python3-venv", programs: &["python3", "/var/lib/dpkg/info/python3-venv.list"] };
pub(crate) const NPM: Needed = Needed { package: "npm", programs: &["npm"] };
pub(crate) const RUNC: Needed = Needed { package: "runc", programs: &["runc"] };
pub(crate) const PERL: Needed = Needed { package: "perl", programs: &["perl"] };
pub(crate) const RSYSLOG: Needed = Needed { package: "rsyslog", programs: &["rsyslogd"] };
pub(crate) const PROMETHEUS: Needed = Needed { package: "prometheus", programs: &["prometheus"] };
pub(crate) const NODE: Needed = Needed { package: "nodejs", programs: &["node"] };
pub(crate) const JDK: Needed =
    Needed { package: "default-jdk-headless", programs: &["java", "javac", "jlink"] };
pub(crate) const MCS: Needed = Needed { package: "mono-mcs", programs: &["mcs"] };
/// A library of the compiler's.
pub(crate) const MONO_HTTP: Needed = Needed {
    package: "libmono-system-net-http4.0-cil",
    programs: &["/usr/lib/mono/4.5/System.Net.Http.dll"],
};
pub(crate) const GUNICORN: Needed = Needed { package: "gunicorn", programs: &["gunicorn"] };
pub(crate) const NGHTTP2: Needed =
    Needed { package: "nghttp2", programs: &["nghttpd", "nghttpx", "nghttp", "h2load"] };
/// A module has no program: it is known by its file.
pub(crate) const GRPCIO: Needed =
    Needed { package: "python3-grpcio", programs: &["/usr/lib/python3/dist-packages/grpc/__init__.py"] };
pub(crate) const OPENSSL: Needed = Needed { package: "openssl", programs: &["openssl"] };
pub(crate) const BPFTOOL: Needed = Needed { package: "bpftool", programs: &["bpftool"] };
pub(crate) const IPROUTE: Needed = Needed { package: "iproute2", programs: &["ip", "ss"] };
pub(crate) const NC: Needed = Needed { package: "netcat-openbsd", programs: &["nc"] };
pub(crate) const IPERF3: Needed = Needed { package: "iperf3", programs: &["iperf3"] };
pub(crate) const NFT: Needed = Needed { package: "nftables", programs: &["nft"] };
pub(crate) const DNSMASQ: Needed = Needed { package: "dnsmasq-base", programs: &["dnsmasq"] };
pub(crate) const DIG: Needed = Needed { package: "bind9-dnsutils", programs: &["dig"] };
pub(crate) const REDIS: Needed = Needed { package: "redis-server", programs: &["redis-server", "redis-cli"] };
pub(crate) const POSTGRESQL: Needed = Needed {
    package: "postgresql-15",
    programs: &["/usr/lib/postgresql/15/bin/postgres", "/usr/lib/postgresql/15/bin/psql"],
};
/// Without the service that the whole package has.
pub(crate) const MARIADB: Needed =
    Needed { package: "mariadb-server-core", programs: &["mariadbd", "mariadb-install-db"] };
pub(crate) const MARIADB_CLIENT: Needed = Needed { package: "mariadb-client-core", programs: &["mariadb"] };
pub(crate) const QEMU: Needed = Needed { package: "qemu-system-x86", programs: &["qemu-system-x86_64"] };
pub(crate) const MKE2FS: Needed = Needed { package: "e2fsprogs", programs: &["mke2fs"] };
pub(crate) const XZ: Needed = Needed { package: "xz-utils", programs: &["xz"] };

/// Installs the packages whose programs are not there.
///
/// # Errors
/// Something is missing and cannot be installed here.
pub(crate) fn ensure(needed: &[Needed]) -> Result<()> {
    let missing: Vec<&str> =
        needed.iter().filter(|needed| !needed.is_there()).map(|needed| needed.package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !apt::available() {
        bail!("programs of these packages are missing, and there is no apt-get: {}", missing.join(" "));
    }
    let mut steps = Steps::new("servers", 2);
    steps.step("bringing the package lists up to date", apt::update)?;
    steps.step(&format!("installing {}", missing.join(" ")), || apt::install(&missing))?;
    let services = [
        (NGINX.package, "nginx"),
        (PROMETHEUS.package, "prometheus"),
        (NGHTTP2.package, "nghttpx"),
        (RSYSLOG.package, "rsyslog"),
        (REDIS.package, "redis-server"),
        (POSTGRESQL.package, "postgresql"),
    ];
    for (package, service) in services {
        if missing.contains(&package) {
            keep_from_starting_at_boot(service);
        }
    }
    Ok(())
}

impl Needed {
    fn is_there(&self) -> bool {
        // Servers are in /usr/sbin, which not everybody's PATH has.
        let is_there =
            |program: &&str| which::which(program).is_ok() || Path::new("/usr/sbin").join(program).exists();
        self.programs.iter().all(is_there)
    }
}

/// A service that came for the tests has no business on its port after the next boot.
fn keep_from_starting_at_boot(service: &str) {
    let mut update = Command::new("update-rc.d");
    match command::output(update.args([service, "disable"])) {
        Ok(_) => eprintln!("[servers] the {service} service is installed but stays off"),
        Err(error) => eprintln!("[servers] the {service} service could not be switched off: {error:#}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_there_when_all_its_programs_are() {
        assert!(Needed { package: "dash", programs: &["sh"] }.is_there());
        assert!(!Needed { package: "dash", programs: &["sh", "no-such-program"] }.is_there());
    }
}
