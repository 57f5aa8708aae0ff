//! What can be wrong with a configuration.

use std::io;
use std::path::PathBuf;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is larger than any configuration.
    #[error("read {}: more than {limit} bytes, this is no configuration", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// Bytes that are read.
        limit: u64,
    },
    /// A key does not exist.
    #[error("{place}: unknown key `{key}`{}", hint(.nearest, .known))]
    UnknownKey {
        /// File, line and column.
        place: String,
        /// The key with the sections it is in.
        key: String,
        /// The known key that looks most like it.
        nearest: Option<String>,
        /// The keys that exist there.
        known: Vec<String>,
    },
    /// The text is not YAML, or a value is of another type.
    #[error("{place}: {}{message}", key.as_deref().map(|key| format!("`{key}`: ")).unwrap_or_default())]
    Parse {
        /// File, line and column.
        place: String,
        /// The key with the sections it is in, where one is concerned.
        key: Option<String>,
        /// What is wrong.
        message: String,
    },
    /// A reference to an environment variable can't be replaced.
    #[error("{place}: the variable `{variable}` {reason}")]
    Variable {
        /// File and line.
        place: String,
        /// Its name.
        variable: String,
        /// What is wrong. The value is not told: it may be secret.
        reason: &'static str,
    },
    /// A receiver is not described well.
    #[error("`{key}`: {reason}")]
    Receiver {
        /// The key with the receiver's name or place.
        key: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A value is outside of what is allowed.
    #[error("`{key}` is {value}, but must be {allowed}")]
    Value {
        /// The key with the sections it is in.
        key: &'static str,
        /// The value.
        value: String,
        /// What would be right.
        allowed: String,
    },
}

fn hint(nearest: &Option<String>, known: &[String]) -> String {
    match nearest {
        Some(nearest) => format!("; hint: did you mean `{nearest}`?"),
        None => format!("; hint: known here are {}", known.join(", ")),
    }
}
