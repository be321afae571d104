//! What is known of an encrypted channel.

use std::fmt;

/// A protocol version that we speak (RFC 8996 forbids the older ones).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TlsVersion {
    /// RFC 5246.
    V12,
    /// RFC 8446.
    V13,
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsVersion::V12 => "TLSv1.2",
            TlsVersion::V13 => "TLSv1.3",
        })
    }
}

/// The facts of a finished handshake, for the trace field, logs and evidence (RFC 8314 §4.3).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFacts {
    /// Negotiated version.
    pub version: TlsVersion,
    /// The registered name of the cipher suite, such as `TLS_AES_256_GCM_SHA384`.
    pub suite: &'static str,
    /// The key exchange group, such as `X25519MLKEM768`, where the handshake tells.
    pub group: Option<&'static str>,
    /// The name that the client asked for (SNI), as sent: data from the network.
    pub server_name: Option<Box<str>>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
}
