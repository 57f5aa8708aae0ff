//! A server and a client of HTTPS in .NET, which loads OpenSSL and keeps it away from sockets.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::fixtures;
use crate::https::Certificate;
use crate::installed;
use crate::process::{Process, program};

/// Which OpenSSL is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenSsl {
    /// The system's.
    V3,
    /// Debian 11's.
    V1_1,
}

impl OpenSsl {
    fn library(self) -> &'static str {
        match self {
            Self::V3 => "libssl.so.3",
            Self::V1_1 => "libssl.so.1.1",
        }
    }
}

/// The program.
pub struct Https {
    _directory: TempDir,
    assembly: PathBuf,
    openssl: OpenSsl,
}

impl Https {
    /// Compiles it. Mono's compiler knows the types of .NET Framework; .NET has them too, and forwards to where they are now.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    pub fn new(openssl: OpenSsl) -> Self {
        let directory = TempDir::new().expect("make a directory");
        let source = fixtures::write(directory.path(), "Https.cs", "Https.cs");
        let assembly = directory.path().join("Https.dll");
        let mut compiler = program("mcs");
        compiler.args(["-warnaserror", "-r:System.Core.dll", "-r:System.Net.Http.dll"]);
        let out = format!("-out:{}", assembly.display());
        let _ = Process::start(compiler.arg(out).arg(source)).succeed(60);
        let settings = r#"{"runtimeOptions": {
            "framework": {"name": "Microsoft.NETCore.App", "version": "8.0.0"},
            "configProperties": {"System.Globalization.Invariant": true}
        }}"#;
        let path = directory.path().join("Https.runtimeconfig.json");
        std::fs::write(path, settings).expect("write the runtime's settings");
        Self { _directory: directory, assembly, openssl }
    }

    fn command(&self, certificate: &Certificate) -> Command {
        let mut dotnet = installed::dotnet();
        // It makes no pipe for debuggers in /tmp.
        dotnet.env("DOTNET_EnableDiagnostics", "0").env("SSL_CERT_FILE", certificate.path());
        if self.openssl == OpenSsl::V1_1 {
            dotnet.env("CLR_OPENSSL_VERSION_OVERRIDE", "1.1");
            dotnet.env("LD_LIBRARY_PATH", installed::debian_11_libraries());
        }
        dotnet.arg(&self.assembly);
        dotnet
    }

    /// Starts the server; it, and its port.
    ///
    /// # Panics
    /// When it does not listen.
    #[track_caller]
    #[must_use]
    pub fn serve(&self, certificate: &Certificate) -> (Process, u16) {
        let mut server = Process::start(self.command(certificate).arg("serve").arg(certificate.pkcs12()));
        let port = server.line("listening ").parse().expect("a port");
        (server, port)
    }

    /// Makes so many connections at once, in turns to each of the ports, and so many requests on each by this version of HTTP;
    /// what it printed: a path, in which the port is, and the answer a line.
    ///
    /// # Panics
    /// When one fails.
    #[track_caller]
    #[must_use]
    pub fn get(&self, certificate: &Certificate, http: &str, counts: [usize; 2], ports: &[u16]) -> String {
        let mut client = self.command(certificate);
        client.args(["get", http]).args(counts.map(|count| count.to_string()));
        Process::start(client.args(ports.iter().map(ToString::to_string))).succeed(120)
    }

    /// Checks that a process of the program has loaded what it should.
    ///
    /// # Panics
    /// When it has not.
    #[track_caller]
    pub fn expect_library(&self, process: &Process) {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", process.id())).expect("its mappings");
        let loaded = |openssl: OpenSsl| maps.lines().any(|line| line.ends_with(openssl.library()));
        let all = [OpenSsl::V3, OpenSsl::V1_1].into_iter().filter(|openssl| loaded(*openssl));
        assert_eq!(all.collect::<Vec<_>>(), [self.openssl]);
    }
}
