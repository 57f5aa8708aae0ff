//! Secrets in queries.
//!
//! The value of a parameter whose name says that it is a secret becomes `REDACTED`, as the semantic conventions ask
//! of `url.query` and `url.full`. Their list (`AWSAccessKeyId`, `Signature`, `sig`, `X-Goog-Signature` and so on) is
//! matched more widely here, without regard to case, separators and percent-encoding: a value too many hidden does
//! less harm than one too few.

use std::borrow::Cow;

/// What a secret value becomes.
pub const REDACTED: &str = "REDACTED";

/// Names that are a secret's.
const EXACT: [&str; 8] = ["sig", "pwd", "pass", "auth", "authorization", "jwt", "awsaccesskeyid", "pin"];
/// Names that contain one of these are a secret's.
const CONTAINED: [&str; 9] = [
    "token",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "signature",
    "credential",
    "apikey",
    "privatekey",
];
/// Names that start with one of these are those of signed URLs.
const PREFIXES: [&str; 2] = ["xamz", "xgoog"];

/// A query with the values of secret parameters replaced.
#[must_use]
pub fn query(query: &str) -> Cow<'_, str> {
    let secret = |parameter: &str| parameter.split_once('=').is_some_and(|(name, _)| is_secret(name));
    if !query.split(['&', ';']).any(secret) {
        return Cow::Borrowed(query);
    }
    let mut clean = String::with_capacity(query.len());
    for parameter in query.split_inclusive(['&', ';']) {
        let (plain, end) = match parameter.strip_suffix(['&', ';']) {
            Some(plain) => parameter.split_at(plain.len()),
            None => (parameter, ""),
        };
        match plain.split_once('=') {
            Some((name, _)) if is_secret(name) => {
                clean.push_str(name);
                clean.push('=');
                clean.push_str(REDACTED);
            }
            _ => clean.push_str(plain),
        }
        clean.push_str(end);
    }
    Cow::Owned(clean)
}

fn is_secret(name: &str) -> bool {
    let name = letters(name);
    EXACT.contains(&&*name)
        || CONTAINED.iter().any(|part| name.contains(part))
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The letters and digits of a percent-encoded name, in lower case.
fn letters(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    let mut bytes = name.bytes();
    while let Some(mut byte) = bytes.next() {
        if byte == b'%' {
            let mut ahead = bytes.clone();
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            if let (Some(high), Some(low)) = (digit(ahead.next()), digit(ahead.next()))
                && let Ok(decoded) = u8::try_from(high << 4 | low)
            {
                byte = decoded;
                bytes = ahead;
            }
        }
        if byte.is_ascii_alphanumeric() {
            plain.push(char::from(byte.to_ascii_lowercase()));
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_query_is_left_alone() {
        for plain in ["", "q=1&page=2", "flag", "a=b=c", "design=1", "&&=;", "token"] {
            assert!(matches!(query(plain), Cow::Borrowed(text) if text == plain), "{plain}");
        }
    }

    #[test]
    fn secrets_are_hidden() {
        for (text, clean) in [
            ("a=1&token=abc&b=2", "a=1&token=REDACTED&b=2"),
            ("access_token=a=b", "access_token=REDACTED"),
            ("Api-Key=abc;x=1", "Api-Key=REDACTED;x=1"),
            ("%74oken=abc", "%74oken=REDACTED"),
            ("user[password]=x&", "user[password]=REDACTED&"),
            ("X-Amz-Credential=a&X-Amz-Date=b", "X-Amz-Credential=REDACTED&X-Amz-Date=REDACTED"),
            ("sig=1&Signature=2", "sig=REDACTED&Signature=REDACTED"),
            ("AWSAccessKeyId=1&X-Goog-Signature=2", "AWSAccessKeyId=REDACTED&X-Goog-Signature=REDACTED"),
            ("client%5Fsecret=", "client%5Fsecret=REDACTED"),
        ] {
            assert_eq!(query(text), clean);
        }
    }

    #[test]
    fn broken_encodings_are_no_trouble() {
        assert_eq!(query("%=1&%7=2&%zz=3&%e9token=4"), "%=1&%7=2&%zz=3&%e9token=REDACTED");
    }
}
