//! A handshake with a next hop: how it ended, and what it was where it was none.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use rustls::{AlertDescription, CertificateError, Error};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{CertificateFault, printable::printable};

/// First octets of the other end that are remembered, to show what was spoken in place of TLS.
const OVERHEARD: usize = 48;
/// Octets of a library's own words that are shown at most.
const SHOWN: usize = 200;

/// Why there is no secured stream.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HandshakeError {
    /// The certificate is not what it must be.
    #[error(transparent)]
    Certificate(CertificateFault),
    /// The host said why.
    #[error("the host broke the TLS handshake off with the alert {0:?}")]
    Alert(AlertDescription),
    /// No version, cipher suite or group in common.
    #[error("the host has no TLS version, cipher suite or group in common with us ({0})")]
    Incompatible(String),
    /// Something else than TLS was spoken; its first octets, printable.
    #[error("the host does not speak TLS here; it said \"{0}\"")]
    NoTls(String),
    /// The connection broke.
    #[error("the host went away during the TLS handshake")]
    Gone,
    /// Anything else.
    #[error("TLS handshake failed: {0}")]
    Other(String),
}

impl HandshakeError {
    /// Sorts what the TLS library gave, by types alone.
    pub(super) fn of(error: &io::Error, overheard: &[u8]) -> Self {
        // Every record that may begin a TLS connection has a type of 20 to 24 (RFC 8446 §5.1).
        if overheard
            .first()
            .is_some_and(|first| !(20..=24).contains(first))
        {
            let first_line = overheard
                .split(|octet| matches!(octet, b'\r' | b'\n'))
                .next();
            return HandshakeError::NoTls(printable(first_line.unwrap_or_default(), SHOWN));
        }
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Error>());
        match inner {
            Some(Error::InvalidCertificate(CertificateError::Other(other))) => {
                let fault = other.0.downcast_ref::<CertificateFault>().cloned();
                HandshakeError::Certificate(fault.unwrap_or_else(|| {
                    CertificateFault::Other(printable(other.to_string(), SHOWN))
                }))
            }
            Some(Error::InvalidCertificate(other)) => HandshakeError::Certificate(
                CertificateFault::Other(printable(other.to_string(), SHOWN)),
            ),
            Some(Error::AlertReceived(alert)) => HandshakeError::Alert(*alert),
            Some(Error::PeerIncompatible(why)) => {
                HandshakeError::Incompatible(printable(format!("{why:?}"), SHOWN))
            }
            Some(other) => HandshakeError::Other(printable(other.to_string(), SHOWN)),
            None => match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe => HandshakeError::Gone,
                _ => HandshakeError::Other(printable(error.to_string(), SHOWN)),
            },
        }
    }
}

/// A stream whose first octets are remembered.
#[derive(Debug)]
pub struct Overheard<S> {
    stream: S,
    /// None once nobody wants to know any more.
    first: Option<Vec<u8>>,
}

impl<S> Overheard<S> {
    pub(super) fn new(stream: S) -> Self {
        Overheard {
            stream,
            first: Some(Vec::new()),
        }
    }

    /// What was read first.
    pub(super) fn first(&self) -> &[u8] {
        self.first.as_deref().unwrap_or_default()
    }

    /// Nobody wants to know any more.
    pub(super) fn forget(&mut self) {
        self.first = None;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Overheard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if let Some(first) = &mut self.first {
            let fresh = &buffer.filled()[before..];
            let room = OVERHEARD.saturating_sub(first.len());
            first.extend_from_slice(&fresh[..fresh.len().min(room)]);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Overheard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, octets)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
