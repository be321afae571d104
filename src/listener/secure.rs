//! The handshake: its deadline, how it ended, and what it was where it was none.

use std::{fmt, io, sync::Arc, time::Duration};

use rustls::{AlertDescription, Error, PeerIncompatible};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::desk::Place;
use crate::{
    sasl::{Bindings, ClientCertificate},
    session::Secured,
    tls,
};

/// Why there is no secured stream; the word is a metric's label.
#[derive(Debug)]
pub(super) enum Failure {
    Timeout,
    /// Gave way for a newcomer.
    Shed,
    /// Spoken to in the clear; what it looked like.
    Plaintext(&'static str),
    /// A protocol other than SMTP was asked for (S10).
    Alpn,
    /// No version, suite or group in common.
    Incompatible(String),
    /// The client said why: mostly that it does not trust the certificate.
    Alert(AlertDescription),
    /// The client went away.
    Gone,
    Other(String),
}

impl Failure {
    pub fn label(&self) -> &'static str {
        match self {
            Failure::Timeout => "timeout",
            Failure::Shed => "shed",
            Failure::Plaintext(_) => "plaintext",
            Failure::Alpn => "alpn",
            Failure::Incompatible(_) => "incompatible",
            Failure::Alert(_) => "alert",
            Failure::Gone => "gone",
            Failure::Other(_) => "other",
        }
    }

    fn of(error: &io::Error, spoken: &'static str) -> Self {
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Error>());
        match inner {
            Some(Error::NoApplicationProtocol) => Failure::Alpn,
            Some(Error::PeerIncompatible(why)) => incompatible(why),
            Some(Error::AlertReceived(alert)) => Failure::Alert(*alert),
            Some(Error::InvalidMessage(_)) if spoken != "TLS" => Failure::Plaintext(spoken),
            Some(other) => Failure::Other(other.to_string()),
            None => match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe => Failure::Gone,
                _ => Failure::Other(error.to_string()),
            },
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Timeout => f.write_str("not finished in time"),
            Failure::Shed => f.write_str("gave way for a newcomer"),
            Failure::Plaintext(language) => write!(f, "spoken to in the clear ({language})"),
            Failure::Alpn => f.write_str("asked for another protocol than SMTP"),
            Failure::Incompatible(why) => write!(f, "nothing in common: {why}"),
            Failure::Alert(alert) => write!(f, "the client refused with {alert:?}"),
            Failure::Gone => f.write_str("the client went away"),
            Failure::Other(error) => f.write_str(error),
        }
    }
}

fn incompatible(why: &PeerIncompatible) -> Failure {
    Failure::Incompatible(format!("{why:?}"))
}

/// Makes a handshake within `limit`, unless its seat is taken away.
pub(super) async fn handshake(
    tcp: TcpStream,
    acceptor: &TlsAcceptor,
    place: &Place,
    limit: Duration,
) -> Result<Box<TlsStream<TcpStream>>, Failure> {
    let work = async {
        let mut first = [0; 5];
        let spoken = match tcp.peek(&mut first).await {
            Ok(n) => language(&first[..n]),
            Err(_) => return Err(Failure::Gone),
        };
        match acceptor.accept(tcp).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(Failure::of(&error, spoken)),
        }
    };
    let ended = tokio::select! {
        biased;
        () = place.shed.cancelled() => Err(Failure::Shed),
        done = tokio::time::timeout(limit, work) => done.unwrap_or(Err(Failure::Timeout)),
    };
    let label = ended.as_ref().map_or_else(Failure::label, |_| "ok");
    metrics::counter!("gatepost_handshakes_total", "result" => label).increment(1);
    ended
}

/// What a session is to know of a finished handshake; `None` before its end.
pub(super) fn facts(server: &tls::Server, stream: &TlsStream<TcpStream>) -> Option<Secured> {
    let (tcp, connection) = stream.get_ref();
    Some(Secured {
        port: tcp.local_addr().ok().map(|address| address.port()),
        facts: tls::facts(connection)?,
        bindings: Arc::new(Bindings {
            exporter: tls::exporter(connection),
            server_end_point: server.end_point(connection.server_name()),
        }),
        certificate: server.visitor(connection).map(|visitor| {
            Arc::new(ClientCertificate {
                fingerprint: visitor.fingerprint,
                addresses: visitor.addresses,
            })
        }),
    })
}

/// What the first octets look like, for the log.
fn language(first: &[u8]) -> &'static str {
    const WORDS: [(&[u8], &str); 11] = [
        (b"\x16", "TLS"),
        (b"GET ", "HTTP"),
        (b"POST", "HTTP"),
        (b"HEAD", "HTTP"),
        (b"PRI ", "HTTP"),
        (b"CONN", "HTTP"),
        (b"EHLO", "SMTP"),
        (b"HELO", "SMTP"),
        (b"AUTH", "SMTP"),
        (b"QUIT", "SMTP"),
        (b"SSH-", "SSH"),
    ];
    WORDS
        .iter()
        .find(|(word, _)| {
            first
                .get(..word.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(word))
        })
        .map_or("unknown", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_told_apart() {
        for (first, name) in [
            (&b"\x16\x03\x01"[..], "TLS"),
            (b"ehlo ", "SMTP"),
            (b"GET /", "HTTP"),
            (b"SSH-2", "SSH"),
            (b"", "unknown"),
            (b"\0", "unknown"),
        ] {
            assert_eq!(language(first), name, "{first:?}");
        }
    }

    /// S10 among them: each end of a handshake has its own label.
    #[test]
    fn failures_are_told_apart() {
        let of = |error: Error| {
            Failure::of(&io::Error::new(io::ErrorKind::InvalidData, error), "SMTP").label()
        };
        assert_eq!(of(Error::NoApplicationProtocol), "alpn");
        assert_eq!(
            of(Error::InvalidMessage(
                rustls::InvalidMessage::InvalidContentType
            )),
            "plaintext"
        );
        assert_eq!(
            of(Error::AlertReceived(AlertDescription::UnknownCA)),
            "alert"
        );
        let gone = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(Failure::of(&gone, "TLS").label(), "gone");
    }
}
