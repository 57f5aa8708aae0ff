//! TLS by rustls.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Why TLS can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of an own CA can't be used.
    #[error("read certificates from {}: {reason}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Nobody to trust.
    #[error("this host has no CA certificates ({0}); hint: install ca-certificates, or name a `ca_file`")]
    NoRoots(String),
    /// rustls refuses its own defaults.
    #[error("set up TLS: {0}")]
    Setup(#[from] rustls::Error),
}

/// Trusts the CAs of this host, or, where `ca_file` names a file of PEM certificates, those in it alone. HTTP/2 is
/// preferred, or demanded.
///
/// # Errors
/// When there is no usable certificate.
pub(super) fn config(ca_file: Option<&Path>, http2_only: bool) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca_file {
        let fail = |reason: String| TlsError::File { path: path.to_owned(), reason };
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| fail(error.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| fail(error.to_string()))?;
            roots.add(certificate).map_err(|error| fail(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(fail("there is none in it".to_owned()));
        }
    } else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let reason = found.errors.first().map_or_else(|| "none found".to_owned(), ToString::to_string);
            return Err(TlsError::NoRoots(reason));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    let protocols: &[&[u8]] = if http2_only { &[b"h2"] } else { &[b"h2", b"http/1.1"] };
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        assert!(config(Some(&path), false).unwrap_err().to_string().contains("ca.pem"));
        std::fs::write(&path, "nothing").unwrap();
        assert!(config(Some(&path), false).unwrap_err().to_string().contains("there is none in it"));
    }
}
