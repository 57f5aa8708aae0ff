//! Which addresses are sent to.

use std::net::IpAddr;

use reqwest::Url;

/// Why an address is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EndpointError {
    /// It is no URL.
    #[error("no URL: {0}")]
    Form(String),
    /// Neither http nor https.
    #[error("the scheme is `{0}`, but must be `https`")]
    Scheme(String),
    /// Clear text over a network.
    #[error(
        "plain http to another host is refused; hint: use https, or set `insecure: true` to send in the clear"
    )]
    Insecure,
    /// User and password do not belong there.
    #[error("credentials in the URL are refused; hint: use `user` and `password_file` or `password_env`")]
    Credentials,
}

/// Checks an address, and gives it `path` where it has none.
///
/// # Errors
/// When it is no http or https URL, holds credentials, or is plain http to another host without `insecure`.
pub fn check(address: &str, path: &str, insecure: bool) -> Result<Url, EndpointError> {
    let mut url = Url::parse(address).map_err(|error| EndpointError::Form(error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(EndpointError::Credentials);
    }
    match url.scheme() {
        "https" => {}
        "http" if insecure || is_loopback(&url) => {}
        "http" => return Err(EndpointError::Insecure),
        other => return Err(EndpointError::Scheme(other.to_owned())),
    }
    if matches!(url.path(), "" | "/") {
        url.set_path(path);
    }
    Ok(url)
}

/// Whether a URL's host is this host by its form alone: `localhost` (RFC 6761) or a loopback address.
pub(super) fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_text_stays_on_this_host() {
        let allowed = |address| check(address, "/push", false).map(|url| url.to_string());
        assert_eq!(allowed("https://a.example"), Ok("https://a.example/push".to_owned()));
        assert_eq!(allowed("https://a.example/x/"), Ok("https://a.example/x/".to_owned()));
        for here in
            ["http://localhost:9", "http://127.0.0.7:9", "http://[::1]:9", "http://[::ffff:127.0.0.1]:9"]
        {
            assert!(allowed(here).is_ok(), "{here}");
        }
        for elsewhere in ["http://a.example", "http://10.0.0.1", "http://localhost.example", "http://127.a"] {
            assert!(
                matches!(allowed(elsewhere), Err(EndpointError::Insecure | EndpointError::Form(_))),
                "{elsewhere}"
            );
        }
        assert!(check("http://10.0.0.1", "/", true).is_ok());
        assert_eq!(allowed("ftp://a"), Err(EndpointError::Scheme("ftp".to_owned())));
        assert_eq!(allowed("https://u:p@a"), Err(EndpointError::Credentials));
        assert!(matches!(allowed("a.example"), Err(EndpointError::Form(_))));
    }
}
