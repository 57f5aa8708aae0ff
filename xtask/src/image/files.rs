//! What is in the image.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Where the program is in the image.
pub(super) const SENSOR: &str = "/sensor";
/// The first place where OpenSSL's and rustls' users look for a bundle.
const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";

/// Files in the order of their paths, which have no leading slash.
pub(super) struct Files(Vec<File>);

struct File {
    path: &'static str,
    mode: u32,
    bytes: Vec<u8>,
}

impl Files {
    /// The program and Mozilla's certificate authorities.
    pub(super) fn of(sensor: &Path) -> Result<Self> {
        let bytes = fs::read(sensor).with_context(|| format!("cannot read {}", sensor.display()))?;
        Ok(Self::new(bytes))
    }

    pub(super) fn new(sensor: Vec<u8>) -> Self {
        let mut files = vec![
            File { path: CERTIFICATES, mode: 0o444, bytes: certificates().into_bytes() },
            File { path: SENSOR.trim_start_matches('/'), mode: 0o555, bytes: sensor },
        ];
        files.sort_by_key(|file| file.path);
        Self(files)
    }

    /// The layer: an uncompressed tar file with the directories above each file before it.
    pub(super) fn layer(&self, time: u64) -> Result<Vec<u8>> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut made = Vec::new();
        for file in &self.0 {
            let mut above: Vec<&Path> = Path::new(file.path).ancestors().skip(1).collect();
            above.retain(|path| *path != Path::new("") && !made.contains(path));
            for directory in above.into_iter().rev() {
                let mut header = header(tar::EntryType::Directory, 0o755, 0, time);
                tar.append_data(&mut header, directory, std::io::empty())?;
                made.push(directory);
            }
            let mut header = header(tar::EntryType::Regular, file.mode, file.bytes.len() as u64, time);
            tar.append_data(&mut header, file.path, file.bytes.as_slice())?;
        }
        tar.into_inner().context("cannot write the layer")
    }

    /// Writes the files below a directory, with the modes that they have in the image.
    pub(super) fn write_below(&self, directory: &Path) -> Result<()> {
        for file in &self.0 {
            let path = directory.join(file.path);
            let write = || -> std::io::Result<()> {
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)?;
                }
                fs::write(&path, &file.bytes)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))
            };
            write().with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

/// A header that tells nothing of who made it, or when.
pub(super) fn header(kind: tar::EntryType, mode: u32, size: u64, time: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(time);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Certificates in PEM form (RFC 7468), in the order of the list.
fn certificates() -> String {
    let mut text = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(certificate.as_ref());
        for start in (0..encoded.len()).step_by(64) {
            text.push_str(&encoded[start..encoded.len().min(start + 64)]);
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_has_the_program_and_the_certificates_and_nothing_else() {
        let layer = Files::new(b"program".to_vec()).layer(7).unwrap();
        let mut archive = tar::Archive::new(layer.as_slice());
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 7));
            found.push((entry.path().unwrap().display().to_string(), header.mode().unwrap()));
        }
        let expected = [
            ("etc", 0o755),
            ("etc/ssl", 0o755),
            ("etc/ssl/certs", 0o755),
            (CERTIFICATES, 0o444),
            ("sensor", 0o555),
        ];
        assert_eq!(found, expected.map(|(path, mode)| (path.to_owned(), mode)));
    }

    #[test]
    fn the_bundle_is_text_of_short_lines() {
        let text = certificates();
        let count = text.matches("-----BEGIN").count();
        assert!(count > 100, "{count}");
        assert!(text.lines().all(|line| line.len() <= 64));
    }
}
