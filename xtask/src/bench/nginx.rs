//! A private nginx: one worker, one small file, which every path below `/any/` is too, keep-alive without end, no access
//! log; by HTTP or HTTPS.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::{free_port, metrics};
use crate::command;

/// The size of nginx's own welcome page, which most published figures use.
const PAGE_BYTES: usize = 612;
const START: Duration = Duration::from_secs(10);

pub(super) struct Nginx {
    /// Where the file is served.
    pub(super) port: u16,
    /// Where nginx tells its own counters, apart so that asking does not disturb the count.
    pub(super) status_port: u16,
    is_https: bool,
    process: Child,
    _directory: TempDir,
}

impl Nginx {
    pub(super) fn start() -> Result<Self> {
        Self::start_as(false)
    }

    /// The same by HTTPS, with a certificate of its own.
    ///
    /// # Errors
    /// As [`Self::start`], or there is no openssl.
    pub(super) fn start_https() -> Result<Self> {
        Self::start_as(true)
    }

    fn start_as(is_https: bool) -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        let (port, status_port) = (free_port()?, free_port()?);
        let root = directory.path();
        fs::write(root.join("index.html"), vec![b'x'; PAGE_BYTES]).context("cannot write the page")?;
        let configuration = root.join("nginx.conf");
        if is_https {
            certify(root)?;
        }
        fs::write(&configuration, text(root, port, status_port, is_https))
            .context("cannot write nginx.conf")?;

        let program = which::which("nginx").unwrap_or_else(|_| "/usr/sbin/nginx".into());
        let mut nginx = Command::new(program);
        command::clean(&mut nginx);
        nginx.arg("-p").arg(root).arg("-c").arg(&configuration).arg("-e").arg(root.join("error.log"));
        let process = nginx.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn();
        let process = process.context("cannot start nginx")?;
        let mut nginx = Self { port, status_port, is_https, process, _directory: directory };
        nginx.wait_until_it_listens()?;
        Ok(nginx)
    }

    fn wait_until_it_listens(&mut self) -> Result<()> {
        let deadline = Instant::now() + START;
        while TcpStream::connect(("127.0.0.1", self.status_port)).is_err() {
            if let Some(status) = self.process.try_wait().context("cannot wait for nginx")? {
                bail!("nginx ended at its start: {status}");
            }
            if Instant::now() > deadline {
                bail!("nginx does not listen on port {} after {START:?}", self.status_port);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(super) fn url(&self) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}/index.html", self.port)
    }

    /// How many requests nginx has begun to serve, this question included.
    pub(super) fn requests(&self) -> Result<u64> {
        let text = metrics::get(&format!("http://127.0.0.1:{}/", self.status_port))?;
        parse_requests(&text).with_context(|| format!("nginx's status has no request count: {text:?}"))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master process ends its worker on SIGTERM; on SIGKILL it could not.
        if let Ok(pid) = i32::try_from(self.process.id())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.process.wait();
    }
}

/// Makes a key and a certificate.
fn certify(root: &Path) -> Result<()> {
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]);
    openssl.args(["-subj", "/CN=127.0.0.1", "-keyout"]).arg(root.join("key.pem"));
    command::output(openssl.arg("-out").arg(root.join("certificate.pem"))).map(drop)
}

fn text(root: &Path, port: u16, status_port: u16, is_https: bool) -> String {
    let root = root.display();
    let listen = if is_https {
        format!(
            "listen 127.0.0.1:{port} ssl; ssl_certificate {root}/certificate.pem; ssl_certificate_key {root}/key.pem"
        )
    } else {
        format!("listen 127.0.0.1:{port}")
    };
    format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid {root}/nginx.pid;\nerror_log {root}/error.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n  access_log off;\n  keepalive_requests 1000000000;\n  keepalive_timeout 1h;\n\
         server {{ {listen}; root {root}; location /any/ {{ rewrite ^ /index.html break; }} }}\n\
         server {{ listen 127.0.0.1:{status_port}; location / {{ stub_status; }} }}\n}}\n"
    )
}

/// Reads the third number of the line after `server accepts handled requests`.
fn parse_requests(status: &str) -> Option<u64> {
    let line = status.lines().skip_while(|line| !line.contains("handled requests")).nth(1)?;
    line.split_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_count_is_read() {
        let status =
            "Active connections: 1 \nserver accepts handled requests\n 7 7 4242 \nReading: 0 Writing: 1\n";
        assert_eq!(parse_requests(status), Some(4242));
        assert_eq!(parse_requests("<html>not found</html>"), None);
    }
}
