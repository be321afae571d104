//! One connection's stream, plain or secured, as a driver needs it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncBufRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

/// Octets read at once from a plain connection: commands only, for content travels secured.
const PLAIN_READ: usize = 1024;

/// After our last octet: how long and for how many octets we listen on, so that a reset does not
/// overtake the reply.
const DRAIN_TIME: Duration = Duration::from_secs(1);
const DRAIN_OCTETS: usize = 64 * 1024;

/// The stream.
pub(super) enum Link {
    /// Not secured; octets read but not yet taken.
    Plain(TcpStream, Vec<u8>),
    /// Secured. Boxed, so that plain connections do not carry its size.
    Secure(Box<TlsStream<TcpStream>>),
    /// Taken for a handshake.
    Gone,
}

/// What feeding brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fed {
    /// So many octets were taken.
    Taken(usize),
    /// The client sends nothing more.
    End,
}

impl Link {
    /// Hands what has arrived to `take`, which says how many octets it took; pending where nothing
    /// has arrived. No buffer outlives the call but octets not taken.
    pub fn poll_feed(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Poll<io::Result<Fed>> {
        match self {
            Link::Plain(tcp, unread) => {
                if !unread.is_empty() {
                    let taken = take(unread).min(unread.len());
                    unread.drain(..taken);
                    if unread.is_empty() {
                        *unread = Vec::new();
                    }
                    return Poll::Ready(Ok(Fed::Taken(taken)));
                }
                let mut buffer = [0; PLAIN_READ];
                loop {
                    ready!(tcp.poll_read_ready(cx))?;
                    match tcp.try_read(&mut buffer) {
                        Ok(0) => return Poll::Ready(Ok(Fed::End)),
                        Ok(n) => {
                            let taken = take(&buffer[..n]).min(n);
                            unread.extend_from_slice(&buffer[taken..n]);
                            return Poll::Ready(Ok(Fed::Taken(taken)));
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
            }
            Link::Secure(tls) => {
                let arrived = match ready!(Pin::new(&mut **tls).poll_fill_buf(cx)) {
                    Ok(arrived) => arrived,
                    // Half the clients end without close_notify.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        return Poll::Ready(Ok(Fed::End));
                    }
                    Err(error) => return Poll::Ready(Err(error)),
                };
                if arrived.is_empty() {
                    return Poll::Ready(Ok(Fed::End));
                }
                let taken = take(arrived).min(arrived.len());
                Pin::new(&mut **tls).consume(taken);
                Poll::Ready(Ok(Fed::Taken(taken)))
            }
            Link::Gone => Poll::Ready(Ok(Fed::End)),
        }
    }

    /// Octets that came behind STARTTLS, read without waiting; `None` where the wire is silent.
    ///
    /// The kernel is asked itself: the runtime may not have heard of octets that are there.
    /// An empty vector says that the client has closed its side.
    pub fn behind_starttls(&mut self) -> Option<Vec<u8>> {
        let Link::Plain(tcp, unread) = self else {
            return Some(Vec::new());
        };
        if !unread.is_empty() {
            return Some(std::mem::take(unread));
        }
        let mut buffer = [0; PLAIN_READ];
        match rustix::net::recv(&*tcp, &mut buffer[..], rustix::net::RecvFlags::DONTWAIT) {
            Ok((n, _)) => Some(buffer[..n].to_vec()),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => None,
            Err(_) => Some(Vec::new()),
        }
    }

    /// Writes all of it and flushes.
    pub async fn write_all(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            Link::Plain(tcp, _) => tcp.write_all(octets).await,
            Link::Secure(tls) => {
                tls.write_all(octets).await?;
                tls.flush().await
            }
            Link::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Ends our side (close_notify first, R8314-3c), then listens briefly for the client's end.
    /// Errors do not matter any more.
    pub async fn close(mut self) {
        let farewell = async {
            match &mut self {
                Link::Plain(tcp, _) => {
                    let _ = tcp.shutdown().await;
                    drain(tcp).await;
                }
                Link::Secure(tls) => {
                    let _ = tls.shutdown().await;
                    drain(tls.get_mut().0).await;
                }
                Link::Gone => {}
            }
        };
        let _ = tokio::time::timeout(DRAIN_TIME, farewell).await;
    }
}

async fn drain(tcp: &mut TcpStream) {
    let mut buffer = vec![0; 4096];
    let mut left = DRAIN_OCTETS;
    while let Ok(n) = tcp.read(&mut buffer).await {
        left = left.saturating_sub(n);
        if n == 0 || left == 0 {
            return;
        }
    }
}
