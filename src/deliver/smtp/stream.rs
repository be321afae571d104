//! A connection's stream, plain or secured.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::timeout,
};

use super::wire::{AtHand, Wire};
use crate::tls;

/// How long a farewell may take: close_notify and FIN, for which nobody waits.
const FAREWELL: Duration = Duration::from_secs(1);
/// Octets looked at that came while nothing was asked.
const UNASKED: usize = 1024;

/// The stream.
pub(super) enum Stream {
    Plain(Box<dyn Wire>),
    Secure(tls::Stream<Box<dyn Wire>>),
    /// Taken for a handshake.
    Gone,
}

impl Stream {
    /// Reads what has arrived; 0 octets for the end, however it came.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<usize> {
        let mut buffer = ReadBuf::new(buffer);
        let read = match self {
            Stream::Plain(wire) => ready!(Pin::new(wire).poll_read(cx, &mut buffer)),
            Stream::Secure(tls) => ready!(Pin::new(&mut **tls).poll_read(cx, &mut buffer)),
            Stream::Gone => Ok(()),
        };
        if let Err(error) = read {
            tracing::debug!(%error, "connection to the next hop broke");
            return Poll::Ready(0);
        }
        Poll::Ready(buffer.filled().len())
    }

    /// Writes some of it.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Stream::Plain(wire) => Pin::new(wire).poll_write(cx, octets),
            Stream::Secure(tls) => Pin::new(&mut **tls).poll_write(cx, octets),
            Stream::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Hands everything written to the kernel.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Plain(wire) => Pin::new(wire).poll_flush(cx),
            Stream::Secure(tls) => Pin::new(&mut **tls).poll_flush(cx),
            Stream::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// The socket, for a handshake; none where there is no plain one.
    pub fn take_plain(&mut self) -> Option<Box<dyn Wire>> {
        match std::mem::replace(self, Stream::Gone) {
            Stream::Plain(wire) => Some(wire),
            Stream::Secure(_) | Stream::Gone => None,
        }
    }

    /// Octets that came behind the reply to STARTTLS, read without waiting; `None` where the wire
    /// is silent. An empty vector says that the hop has closed.
    pub fn behind_starttls(&mut self) -> Option<Vec<u8>> {
        let mut buffer = [0; UNASKED];
        let at_hand = match self {
            Stream::Plain(wire) => wire.at_hand(&mut buffer),
            Stream::Secure(_) | Stream::Gone => AtHand::End,
        };
        match at_hand {
            AtHand::Nothing => None,
            AtHand::Octets(n) => Some(buffer[..n].to_vec()),
            AtHand::End => Some(Vec::new()),
        }
    }

    /// Whether the hop has neither said anything nor closed, as far as can be told without waiting.
    ///
    /// On a secured stream octets may have arrived that say nothing, such as session tickets: they
    /// are read, and only what is behind them counts.
    pub fn is_silent(&mut self) -> bool {
        let mut buffer = [0; UNASKED];
        match self {
            Stream::Plain(wire) => wire.at_hand(&mut buffer) == AtHand::Nothing,
            Stream::Secure(tls) => {
                let mut buffer = ReadBuf::new(&mut buffer);
                let mut cx = Context::from_waker(Waker::noop());
                Pin::new(&mut **tls)
                    .poll_read(&mut cx, &mut buffer)
                    .is_pending()
            }
            Stream::Gone => false,
        }
    }

    /// The certificate of the other side, where it showed one that can be read.
    pub fn certificate(&self) -> Option<tls::Certificate> {
        match self {
            Stream::Secure(tls) => {
                let shown = tls.get_ref().1.peer_certificates()?;
                tls::Certificate::parse(shown.first()?)
            }
            Stream::Plain(_) | Stream::Gone => None,
        }
    }

    /// Ends our side, close_notify first. Errors do not matter any more.
    pub async fn close(self) {
        let farewell = async {
            match self {
                Stream::Plain(mut wire) => wire.shutdown().await,
                Stream::Secure(mut tls) => tls.shutdown().await,
                Stream::Gone => Ok(()),
            }
        };
        let _ = timeout(FAREWELL, farewell).await;
    }
}
