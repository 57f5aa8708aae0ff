//! Servers of HTTPS with a certificate of their own, for `shop.test`, and what clients need to know them.

use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::link::free_port;
use crate::netns::Netns;
use crate::process::{Process, copy, program, unique};
use crate::wait::{patience, wait_until};

/// A directory with a key and a certificate.
pub struct Certificate(TempDir);

impl Default for Certificate {
    fn default() -> Self {
        Self::new()
    }
}

impl Certificate {
    /// Makes them.
    ///
    /// # Panics
    /// When that does not work.
    #[must_use]
    pub fn new() -> Self {
        let directory = TempDir::new().expect("make a directory");
        let (key, certificate) = (directory.path().join("key.pem"), directory.path().join("certificate.pem"));
        let mut request = program("openssl");
        request.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        // A subject of its own: else one that is not trusted would pass for the issuer of another.
        request.arg("-subj").arg(format!("/CN={}", unique("shop")));
        request.args(["-addext", "subjectAltName=DNS:shop.test", "-days", "2"]);
        let _ = Process::start(request.arg("-keyout").arg(&key).arg("-out").arg(&certificate)).succeed(60);
        Self(directory)
    }

    /// Where both are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.0.path()
    }

    /// The certificate's file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory().join("certificate.pem")
    }

    /// Makes a file of PKCS #12 of both, without a password.
    ///
    /// # Panics
    /// When that does not work.
    #[must_use]
    pub fn pkcs12(&self) -> PathBuf {
        let (key, both) = (self.directory().join("key.pem"), self.directory().join("both.p12"));
        let mut export = program("openssl");
        export
            .args(["pkcs12", "-export", "-passout", "pass:", "-inkey"])
            .arg(key)
            .arg("-in")
            .arg(self.path());
        let _ = Process::start(export.arg("-out").arg(&both)).succeed(60);
        both
    }

    /// Gets pages of a server that has it by a curl, one after the other on one connection; what it printed.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    #[must_use]
    pub fn get(&self, port: u16, curl: &mut Command, arguments: &[&str], paths: &[&str]) -> String {
        reach(curl, port).arg("--cacert").arg(self.path()).args(arguments);
        curl.args(paths.iter().map(|path| format!("https://shop.test{path}")));
        Process::start(curl).succeed(60)
    }

    /// Writes a script in which `DIRECTORY` stands for where key and certificate are; its path.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn script(&self, end: &str, text: &str) -> PathBuf {
        let path = self.directory().join(unique("script") + end);
        let text = text.replace("DIRECTORY", &self.directory().to_string_lossy());
        std::fs::write(&path, text).expect("write a script");
        path
    }
}

/// nginx, which answers each request with the client's port.
pub struct Nginx {
    _process: Process,
    /// Its `service_name`.
    pub name: String,
    /// Where it listens.
    pub port: u16,
    /// Its certificate.
    pub certificate: Certificate,
}

impl Nginx {
    /// Starts it; `listen` are more words of the directive of that name.
    ///
    /// # Panics
    /// When it does not listen.
    #[track_caller]
    #[must_use]
    pub fn start(protocols: &str, listen: &str) -> Self {
        Self::run(None, protocols, listen)
    }

    /// Starts another nginx than the system's.
    ///
    /// # Panics
    /// When it does not listen.
    #[track_caller]
    #[must_use]
    pub fn start_as(nginx: &mut Command, protocols: &str) -> Self {
        Self::run_as(nginx, "nginx".to_owned(), Certificate::new(), None, protocols, "")
    }

    /// Starts it in a network namespace.
    ///
    /// # Panics
    /// When it does not listen.
    #[track_caller]
    #[must_use]
    pub fn start_in(netns: &Netns) -> Self {
        Self::run(Some(netns), "TLSv1.3", "")
    }

    #[track_caller]
    fn run(netns: Option<&Netns>, protocols: &str, listen: &str) -> Self {
        let (certificate, name) = (Certificate::new(), unique("nginx"));
        let copied = copy("nginx", certificate.directory(), &name);
        let mut nginx = netns.map_or_else(|| Command::new(&copied), |netns| netns.command(&copied));
        Self::run_as(nginx.args(["-e", "stderr"]), name, certificate, netns, protocols, listen)
    }

    #[track_caller]
    fn run_as(
        nginx: &mut Command,
        name: String,
        certificate: Certificate,
        netns: Option<&Netns>,
        protocols: &str,
        listen: &str,
    ) -> Self {
        let port = free_port();
        let directory = certificate.directory();
        let config = directory.join("nginx.conf");
        let text = format!(
            "daemon off; pid {dir}/pid; error_log stderr; events {{}}\n\
             http {{\n\
               access_log off; client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir};\n\
               uwsgi_temp_path {dir}; scgi_temp_path {dir};\n\
               server {{\n\
                 listen {address}:{port} ssl {listen}; ssl_certificate {dir}/certificate.pem;\n\
                 ssl_certificate_key {dir}/key.pem; ssl_protocols {protocols}; keepalive_requests 100000;\n\
                 location / {{ return 200 $remote_port; }}\n\
                 location /missing {{ return 404; }}\n\
               }}\n\
             }}\n",
            dir = directory.display(),
            address = if netns.is_some() { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST },
        );
        std::fs::write(&config, text).expect("write nginx.conf");
        let mut process = Process::start(nginx.arg("-c").arg(&config));
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
        wait_until("nginx to listen", patience(20), || {
            if let Some(status) = process.ended() {
                panic!("nginx ended with {status}\n{}", process.report());
            }
            netns.map_or_else(connect, |netns| netns.run(connect)).then_some(())
        });
        Self { _process: process, name, port, certificate }
    }

    /// Writes a script as [`Certificate::script`] does, in which `PORT` stands for where it listens; its path.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn script(&self, end: &str, text: &str) -> PathBuf {
        self.certificate.script(end, &text.replace("PORT", &self.port.to_string()))
    }

    /// Has curl take this for every server.
    pub fn reach<'a>(&self, curl: &'a mut Command) -> &'a mut Command {
        reach(curl, self.port)
    }

    /// Gets pages by one curl, one after the other on one connection; what it printed.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    #[must_use]
    pub fn curl(&self, arguments: &[&str], paths: &[&str]) -> String {
        self.get(&mut program("curl"), arguments, paths)
    }

    /// The same by a command of the caller's.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    #[must_use]
    pub fn get(&self, curl: &mut Command, arguments: &[&str], paths: &[&str]) -> String {
        self.certificate.get(self.port, curl, arguments, paths)
    }
}

/// Has curl take a port of this host for every server.
fn reach(curl: &mut Command, port: u16) -> &mut Command {
    curl.args(["-sS", "--noproxy", "*", "--connect-to"]).arg(format!("::127.0.0.1:{port}"))
}
