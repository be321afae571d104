//! A host that plays a script, and the wires that lead to it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use rustls::ServerConfig;
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream,
    ReadBuf, duplex,
};
use tokio_rustls::TlsAcceptor;

use super::super::wire::{AtHand, Wire};

/// Any stream.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The host.
pub struct Peer {
    io: BufReader<Box<dyn Io>>,
    /// Every line that was heard.
    pub heard: Vec<String>,
}

impl Peer {
    pub fn new(io: impl Io + 'static) -> Self {
        Peer {
            io: BufReader::new(Box::new(io)),
            heard: Vec::new(),
        }
    }

    /// Plays a script: a line behind `S:` is said, one behind `C:` must be heard.
    pub async fn play(&mut self, script: &str) {
        for line in script
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            match line.split_at(2) {
                ("S:", said) => self.say(&format!("{}\r\n", said.trim_start())).await,
                ("C:", expected) => {
                    let line = self.hear().await;
                    assert_eq!(line, expected.trim_start(), "in {script}");
                }
                _ => panic!("no script: {line}"),
            }
        }
    }

    pub async fn say(&mut self, octets: &str) {
        self.io.write_all(octets.as_bytes()).await.unwrap();
        self.io.flush().await.unwrap();
    }

    /// The next line without its end; an empty one where there is none.
    pub async fn hear(&mut self) -> String {
        let mut line = Vec::new();
        let _ = self.io.read_until(b'\n', &mut line).await;
        let line = String::from_utf8(line).unwrap();
        let line = line.trim_end_matches("\r\n").to_owned();
        self.heard.push(line.clone());
        line
    }

    pub async fn octets(&mut self, count: usize) -> Vec<u8> {
        let mut octets = vec![0; count];
        self.io.read_exact(&mut octets).await.unwrap();
        octets
    }

    /// Mail data to its end, unstuffed.
    pub async fn data(&mut self) -> Vec<u8> {
        let mut data = Vec::new();
        loop {
            let mut line = Vec::new();
            let count = self.io.read_until(b'\n', &mut line).await.unwrap();
            assert!(count > 0, "no end of data");
            match line.as_slice() {
                b".\r\n" => return data,
                [b'.', rest @ ..] => data.extend_from_slice(rest),
                line => data.extend_from_slice(line),
            }
        }
    }

    /// Everything that still comes, and how it ended.
    pub async fn rest(&mut self) -> (Vec<u8>, io::Result<usize>) {
        let mut rest = Vec::new();
        let end = self.io.read_to_end(&mut rest).await;
        (rest, end)
    }

    /// The handshake from this side.
    pub async fn secure(self, config: Arc<ServerConfig>) -> io::Result<Peer> {
        assert!(self.io.buffer().is_empty(), "octets before the handshake");
        let stream = TlsAcceptor::from(config)
            .accept(self.io.into_inner())
            .await?;
        Ok(Peer {
            heard: self.heard,
            ..Peer::new(stream)
        })
    }
}

/// One end of a wire in memory; it is read a line at a time, so that what follows a line is still
/// unread when the line is acted on.
pub struct Pipe {
    inner: DuplexStream,
    unread: Vec<u8>,
}

impl Pipe {
    /// A wire that holds so many octets in each direction.
    pub fn new(capacity: usize) -> (Pipe, Peer) {
        let (ours, theirs) = duplex(capacity);
        let pipe = Pipe {
            inner: ours,
            unread: Vec::new(),
        };
        (pipe, Peer::new(theirs))
    }

    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut buffer = [0; 4096];
        let mut buffer = ReadBuf::new(&mut buffer);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer))?;
        self.unread.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(()))
    }
}

impl Wire for Pipe {
    fn at_hand(&mut self, buffer: &mut [u8]) -> AtHand {
        if self.unread.is_empty() {
            match self.fill(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => return AtHand::Nothing,
                Poll::Ready(_) if self.unread.is_empty() => return AtHand::End,
                Poll::Ready(_) => {}
            }
        }
        let count = self.unread.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.unread[..count]);
        AtHand::Octets(count)
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            ready!(self.fill(cx))?;
        }
        let line_end = self.unread.iter().position(|octet| *octet == b'\n');
        let line = line_end.map_or(self.unread.len(), |at| at + 1);
        let count = line.min(buffer.remaining());
        buffer.put_slice(&self.unread[..count]);
        self.unread.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
