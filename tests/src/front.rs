//! TLS in front of a server of plain HTTP: nginx, with a certificate of a CA that can be replaced.

use std::net::SocketAddr;
use std::path::Path;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::link::free_port;
use crate::process::{Process, program};
use crate::wait::{patience, wait_until};

/// A running front.
pub struct Front {
    directory: TempDir,
    nginx: Process,
    port: u16,
    /// CAs so far.
    authorities: u32,
}

impl Front {
    /// Starts one.
    ///
    /// # Panics
    /// When nginx does not listen in time.
    #[must_use]
    pub fn start(to: SocketAddr) -> Self {
        let (directory, port) = (TempDir::new().expect("make a directory"), free_port());
        let path = directory.path().to_owned();
        let directory_text = path.display();
        // What a worker of an earlier configuration still serves is ended, as a server that restarts would.
        let text = format!(
            "daemon off; worker_processes 1; worker_shutdown_timeout 1s; error_log stderr; pid {directory_text}/pid;
             events {{}}
             http {{
                 access_log off;
                 client_body_temp_path {directory_text}/body; proxy_temp_path {directory_text}/proxy;
                 fastcgi_temp_path {directory_text}/fastcgi; uwsgi_temp_path {directory_text}/uwsgi; scgi_temp_path {directory_text}/scgi;
                 server {{
                     listen 127.0.0.1:{port} ssl;
                     ssl_certificate {directory_text}/server.crt; ssl_certificate_key {directory_text}/server.key;
                     location / {{
                         proxy_pass http://{to}; proxy_http_version 1.1; proxy_set_header Connection '';
                         proxy_buffering off; proxy_read_timeout 300s;
                     }}
                 }}
             }}"
        );
        std::fs::write(path.join("nginx.conf"), text).expect("write nginx.conf");
        issue(&path, 1);
        let mut command = program("nginx");
        command.arg("-c").arg(path.join("nginx.conf")).args(["-e", "stderr"]);
        let mut front = Self { directory, nginx: Process::start(&mut command), port, authorities: 1 };
        wait_until("nginx to listen", patience(20), || {
            if let Some(status) = front.nginx.ended() {
                panic!("nginx ended with {status}\n{}", front.nginx.report());
            }
            std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(drop)
        });
        front
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Writes the CA of now into a directory, as `ca.crt`.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn trust(&self, directory: &Path) {
        // In one step, as the kubelet's writer does.
        let new = directory.join("ca.crt.new");
        std::fs::copy(self.directory.path().join("ca.crt"), &new).expect("copy the CA");
        std::fs::rename(new, directory.join("ca.crt")).expect("replace the CA");
    }

    /// Goes on with a certificate of another CA; connections of before are ended.
    ///
    /// # Panics
    /// When no certificate can be made.
    pub fn rotate(&mut self) {
        self.authorities += 1;
        issue(self.directory.path(), self.authorities);
        self.nginx.signal(Signal::SIGHUP);
    }
}

/// Makes a CA, and a certificate for the loopback address.
fn issue(directory: &Path, number: u32) {
    const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    std::fs::write(directory.join("names"), "subjectAltName=IP:127.0.0.1\n").expect("write the extensions");
    let openssl = |arguments: &[&str]| {
        let mut command = program("openssl");
        let _ = Process::start(command.current_dir(directory).args(arguments)).succeed(60);
    };
    let authority = format!("/CN=authority {number}");
    let make = ["req", "-x509", "-days", "2", "-subj", &authority, "-keyout", "ca.key", "-out", "ca.crt"];
    openssl(&[&make[..], &KEY].concat());
    let ask = ["req", "-new", "-subj", "/CN=server", "-keyout", "server.key", "-out", "server.csr"];
    openssl(&[&ask[..], &KEY].concat());
    openssl(&[
        "x509",
        "-req",
        "-in",
        "server.csr",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-days",
        "2",
        "-extfile",
        "names",
        "-out",
        "server.crt",
    ]);
}
