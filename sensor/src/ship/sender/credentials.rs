//! Who the sensor is to a receiver.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;

/// A value that is not to be seen: it has neither `Debug` nor `Display`.
struct Secret(String);

impl Secret {
    /// What was provided, without the white space that editors and Secrets leave around it.
    fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    fn expose(&self) -> &str {
        &self.0
    }
}

/// Where a password or token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An environment variable.
    Environment(String),
    /// A file, such as a mounted Secret. It is read for each request, so a new content counts at once.
    File(PathBuf),
}

/// The credentials of one receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// None.
    None,
    /// Basic authentication (RFC 7617).
    Basic {
        /// The user; for Grafana Cloud the instance's number.
        user: String,
        /// Its password.
        password: Source,
    },
    /// A bearer token (RFC 6750).
    Bearer(Source),
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The variable is not set.
    #[error("the environment variable {0} is not set")]
    Environment(String),
    /// The file can't be read.
    #[error("read {}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What is there can't be in a header.
    #[error("{0:?} holds characters that no header can have, or nothing")]
    Content(Source),
}

impl Source {
    fn read(&self) -> Result<Secret, CredentialsError> {
        let text = match self {
            Self::Environment(name) => {
                std::env::var(name).map_err(|_| CredentialsError::Environment(name.clone()))?
            }
            Self::File(path) => std::fs::read_to_string(path)
                .map_err(|source| CredentialsError::File { path: path.clone(), source })?,
        };
        let secret = Secret::new(&text);
        if secret.expose().is_empty() { Err(CredentialsError::Content(self.clone())) } else { Ok(secret) }
    }
}

impl Credentials {
    /// The value of the `Authorization` header, marked as sensitive.
    ///
    /// # Errors
    /// When the password or token can't be read.
    pub fn header(&self) -> Result<Option<HeaderValue>, CredentialsError> {
        let (text, source) = match self {
            Self::None => return Ok(None),
            Self::Basic { user, password } => {
                let pair = Secret(format!("{user}:{}", password.read()?.expose()));
                (Secret(format!("Basic {}", STANDARD.encode(pair.expose()))), password)
            }
            Self::Bearer(token) => (Secret(format!("Bearer {}", token.read()?.expose())), token),
        };
        let mut value =
            HeaderValue::from_str(text.expose()).map_err(|_| CredentialsError::Content(source.clone()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_when_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let credentials = Credentials::Bearer(Source::File(path.clone()));
        assert!(credentials.header().unwrap_err().to_string().contains("token"));
        std::fs::write(&path, "one\n").unwrap();
        assert_eq!(credentials.header().unwrap().unwrap(), "Bearer one");
        std::fs::write(&path, "two\n").unwrap();
        assert_eq!(credentials.header().unwrap().unwrap(), "Bearer two");
        std::fs::write(&path, " \n").unwrap();
        assert!(matches!(credentials.header(), Err(CredentialsError::Content(_))));
    }

    #[test]
    fn a_header_does_not_show_what_it_holds() {
        let path = std::env::temp_dir().join(format!("lionpay-credentials-{}", std::process::id()));
        std::fs::write(&path, "hunter2").unwrap();
        let basic = Credentials::Basic { user: "12345".to_owned(), password: Source::File(path.clone()) };
        let header = basic.header().unwrap().unwrap();
        assert_eq!(header, "Basic MTIzNDU6aHVudGVyMg==");
        assert!(!format!("{header:?} {basic:?}").contains("hunter2"));
        assert!(!format!("{header:?}").contains("MTIz"));
        std::fs::remove_file(path).unwrap();
        let missing = Credentials::Bearer(Source::Environment("NO_SUCH_VARIABLE_HERE".to_owned()));
        assert!(missing.header().unwrap_err().to_string().contains("NO_SUCH_VARIABLE_HERE"));
        assert_eq!(Credentials::None.header().unwrap(), None);
    }
}
