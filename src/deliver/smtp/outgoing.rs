//! Octets on their way out, in order.

use std::{
    collections::VecDeque,
    io,
    ops::Deref,
    task::{Context, Poll, ready},
};

use super::stream::Stream;
use crate::client::Secret;

/// Octets so few join those before them, so that commands leave together.
const JOINED: usize = 4096;

/// What waits to be written. The machine asks for a further piece of a message only once there is
/// none, so this never holds more than one piece and its frame.
#[derive(Default)]
pub(super) struct Outgoing {
    chunks: VecDeque<Chunk>,
    /// Octets of the first chunk that are written.
    written: usize,
    /// Something was written that the kernel may not have yet.
    unflushed: bool,
}

enum Chunk {
    Open(Vec<u8>),
    /// Wiped on drop, which is as soon as it is written.
    Secret(Secret),
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Chunk::Open(octets) => octets,
            Chunk::Secret(secret) => secret,
        }
    }
}

impl Outgoing {
    pub fn push(&mut self, octets: Vec<u8>) {
        match self.chunks.back_mut() {
            Some(Chunk::Open(before)) if octets.len() <= JOINED => before.extend(octets),
            Some(_) | None => self.chunks.push_back(Chunk::Open(octets)),
        }
    }

    pub fn push_secret(&mut self, secret: Secret) {
        self.chunks.push_back(Chunk::Secret(secret));
    }

    /// Whether the kernel has everything.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty() && !self.unflushed
    }

    /// Writes until the kernel has everything.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
    ) -> Poll<io::Result<()>> {
        while let Some(chunk) = self.chunks.front() {
            let rest = &chunk[self.written..];
            if rest.is_empty() {
                self.chunks.pop_front();
                self.written = 0;
                continue;
            }
            match ready!(stream.poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.written += n,
            }
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(stream.poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}
