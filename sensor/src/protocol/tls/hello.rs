//! The hellos. Strict: what breaks the grammar is none, whatever else of it could be read.

/// `server_name` (RFC 6066, 3).
const SERVER_NAME: u16 = 0;
/// `application_layer_protocol_negotiation` (RFC 7301, 3.1).
const ALPN: u16 = 16;
/// `early_data` (RFC 8446, 4.2.10).
const EARLY_DATA: u16 = 42;
/// `supported_versions` (RFC 8446, 4.2.1).
const SUPPORTED_VERSIONS: u16 = 43;
/// Bytes of a hello's random value.
const RANDOM: usize = 32;
/// The longest session id.
const SESSION_MAX: usize = 32;
/// The longest host name (RFC 1035, 2.3.4, without the trailing dot).
const HOST_NAME_MAX: usize = 253;
/// The random value by which a server asks for another hello (RFC 8446, 4.1.3).
const RETRY: [u8; RANDOM] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
    0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// A version, by its `tls.protocol.version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.0
    V1_0,
    /// TLS 1.1
    V1_1,
    /// TLS 1.2
    V1_2,
    /// TLS 1.3
    V1_3,
}

impl TlsVersion {
    /// `tls.protocol.version`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        }
    }

    const fn of(number: u16) -> Option<Self> {
        Some(match number {
            0x0301 => Self::V1_0,
            0x0302 => Self::V1_1,
            0x0303 => Self::V1_2,
            0x0304 => Self::V1_3,
            _ => return None,
        })
    }
}

/// What a client asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The host that it wants, in lower case.
    pub server_name: Option<String>,
    /// Protocols that it offers, in its order; those with a name that is no text are left out.
    pub alpn: Vec<String>,
    /// It may send data before the handshake is over.
    pub has_early_data: bool,
}

impl ClientHello {
    /// Reads the message behind its type and length.
    #[must_use]
    pub fn parse(message: &[u8]) -> Option<Self> {
        let mut reader = Reader(message);
        // Its own version is 1.2 also in TLS 1.3.
        if !matches!(reader.number()?, 0x0300..=0x0304) {
            return None;
        }
        reader.take(RANDOM)?;
        session(&mut reader)?;
        let suites = reader.long()?;
        let compressions = reader.short()?;
        if suites.is_empty() || !suites.len().is_multiple_of(2) || compressions.is_empty() {
            return None;
        }
        let mut hello = Self::default();
        let (mut has_name, mut has_alpn) = (false, false);
        extensions(reader, |kind, data| {
            match kind {
                SERVER_NAME => {
                    let is_again = std::mem::replace(&mut has_name, true);
                    hello.server_name = Some(server_name(data).filter(|_| !is_again)?);
                }
                ALPN => {
                    let is_again = std::mem::replace(&mut has_alpn, true);
                    let offered = protocols(data).filter(|_| !is_again)?;
                    hello.alpn = offered.into_iter().filter_map(text).collect();
                }
                EARLY_DATA => {
                    let is_again = std::mem::replace(&mut hello.has_early_data, true);
                    return (data.is_empty() && !is_again).then_some(());
                }
                _ => {}
            }
            Some(())
        })?;
        Some(hello)
    }
}

/// What a server chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerHello {
    /// The version that is spoken.
    pub version: TlsVersion,
    /// The protocol inside; TLS 1.3 tells it later, encrypted.
    pub alpn: Option<String>,
    /// It asks for another hello (`HelloRetryRequest`).
    pub is_retry: bool,
}

impl ServerHello {
    /// Reads the message behind its type and length.
    #[must_use]
    pub fn parse(message: &[u8]) -> Option<Self> {
        let mut reader = Reader(message);
        let legacy = reader.number()?;
        let random = reader.take(RANDOM)?;
        session(&mut reader)?;
        let (_suite, _compression) = (reader.number()?, reader.byte()?);
        let (mut version, mut alpn) = (None, None);
        extensions(reader, |kind, data| {
            match kind {
                SUPPORTED_VERSIONS => {
                    let mut data = Reader(data);
                    let number = data.number()?;
                    // Only TLS 1.3 is chosen this way.
                    let is_valid = data.0.is_empty() && version.is_none() && legacy == 0x0303;
                    version =
                        TlsVersion::of(number).filter(|version| is_valid && *version == TlsVersion::V1_3);
                    version?;
                }
                ALPN => match protocols(data)?[..] {
                    [chosen] if alpn.is_none() => alpn = Some(text(chosen)?),
                    _ => return None,
                },
                _ => {}
            }
            Some(())
        })?;
        let is_retry = version.is_some() && random == RETRY;
        let version = match version {
            Some(version) => version,
            None => TlsVersion::of(legacy).filter(|version| *version < TlsVersion::V1_3)?,
        };
        Some(Self { version, alpn, is_retry })
    }
}

fn session(reader: &mut Reader<'_>) -> Option<()> {
    (reader.short()?.len() <= SESSION_MAX).then_some(())
}

/// Visits the extensions that end a hello; one of before TLS 1.3 may have none.
fn extensions(mut reader: Reader<'_>, mut visit: impl FnMut(u16, &[u8]) -> Option<()>) -> Option<()> {
    if reader.0.is_empty() {
        return Some(());
    }
    let mut extensions = Reader(reader.long()?);
    while !extensions.0.is_empty() {
        let kind = extensions.number()?;
        visit(kind, extensions.long()?)?;
    }
    reader.0.is_empty().then_some(())
}

/// The one host name of a list of names.
fn server_name(data: &[u8]) -> Option<String> {
    const HOST_NAME: u8 = 0;
    let mut data = Reader(data);
    let mut list = Reader(data.long()?);
    let mut found = None;
    while !list.0.is_empty() {
        let (kind, name) = (list.byte()?, list.long()?);
        if kind != HOST_NAME || found.is_some() {
            return None;
        }
        found = Some(name);
    }
    let name = found.filter(|name| data.0.is_empty() && (1..=HOST_NAME_MAX).contains(&name.len()))?;
    // A card number in it has been masked.
    let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'*');
    let name = name.iter().all(is_host).then(|| String::from_utf8(name.to_ascii_lowercase()).ok())?;
    name.filter(|name| !name.starts_with('.') && !name.ends_with('.'))
}

/// The names of a list of protocols, of which there is at least one.
fn protocols(data: &[u8]) -> Option<Vec<&[u8]>> {
    let mut data = Reader(data);
    let mut list = Reader(data.long()?);
    let mut names = Vec::new();
    while !list.0.is_empty() {
        names.push(list.short().filter(|name| !name.is_empty())?);
    }
    (data.0.is_empty() && !names.is_empty()).then_some(names)
}

fn text(name: &[u8]) -> Option<String> {
    let is_text = name.iter().all(u8::is_ascii_graphic);
    is_text.then(|| String::from_utf8(name.to_vec()).ok())?
}

/// Bytes that are read from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// A vector whose length is one byte.
    fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.byte()?;
        self.take(length.into())
    }

    /// A vector whose length is two bytes.
    fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length.into())
    }
}
