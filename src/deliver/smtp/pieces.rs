//! A message's content in pieces, as it lies in custody or was derived from it.
//!
//! A body in a file is read on the blocking pool, one piece ahead of the one that is being sent. A
//! file that is not exactly as long as it was said to be is an error, found before its last piece is
//! handed over.

use std::{
    fs::File,
    io::{self, Read},
    mem,
    path::PathBuf,
};

use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::spool::{Content, StoredBody};

/// Octets of one piece at most.
const PIECE: usize = 64 * 1024;

/// What is left of a content.
pub(super) struct Pieces {
    memory: Bytes,
    then: Then,
}

/// What follows what is in memory.
enum Then {
    Nothing,
    Memory(Bytes),
    /// Not opened yet.
    File {
        path: PathBuf,
        octets: u64,
    },
    /// A piece is on its way.
    Reading(JoinHandle<io::Result<(Option<Opened>, Vec<u8>)>>),
}

struct Opened {
    file: File,
    /// Octets still to be read.
    left: u64,
}

impl Pieces {
    /// The pieces of a message.
    pub fn of(content: Content) -> Self {
        let Content { header, body } = content;
        let (memory, then) = match body {
            // A small message is one piece.
            StoredBody::Memory(body) if header.len() + body.len() <= PIECE => {
                ([header, body].concat().into(), Then::Nothing)
            }
            StoredBody::Memory(body) => (header, Then::Memory(body)),
            StoredBody::File { octets: 0, .. } => (header, Then::Nothing),
            StoredBody::File { path, octets } => (header, Then::File { path, octets }),
        };
        Pieces { memory, then }
    }

    /// Nothing.
    pub fn none() -> Self {
        Pieces {
            memory: Bytes::new(),
            then: Then::Nothing,
        }
    }

    /// The next piece; an empty one behind the last.
    ///
    /// # Errors
    /// Where the body cannot be read, or is not as long as it was said to be. After an error, or
    /// where a call was cancelled, what is left is not to be used.
    pub async fn next(&mut self) -> io::Result<Bytes> {
        // Ahead of its time: what is in memory is being sent meanwhile.
        if let Then::File { .. } = self.then
            && let Then::File { path, octets } = mem::replace(&mut self.then, Then::Nothing)
        {
            self.then = Then::Reading(spawn_blocking(move || {
                let file = File::open(path)?;
                read(Opened { file, left: octets })
            }));
        }
        if self.memory.is_empty()
            && let Then::Memory(_) = self.then
            && let Then::Memory(body) = mem::replace(&mut self.then, Then::Nothing)
        {
            self.memory = body;
        }
        if !self.memory.is_empty() {
            return Ok(self.memory.split_to(self.memory.len().min(PIECE)));
        }
        let Then::Reading(reading) = &mut self.then else {
            return Ok(Bytes::new());
        };
        let read_ahead = reading.await;
        self.then = Then::Nothing;
        let (opened, piece) = read_ahead??;
        if let Some(opened) = opened {
            self.then = Then::Reading(spawn_blocking(move || read(opened)));
        }
        Ok(piece.into())
    }
}

/// Reads a piece; gives the file back where there is more in it.
fn read(mut opened: Opened) -> io::Result<(Option<Opened>, Vec<u8>)> {
    let wanted = usize::try_from(opened.left).map_or(PIECE, |left| left.min(PIECE));
    let is_last = wanted as u64 == opened.left;
    // One octet more than there may be.
    let most = wanted + usize::from(is_last);
    let mut piece = Vec::with_capacity(most);
    opened
        .file
        .by_ref()
        .take(most as u64)
        .read_to_end(&mut piece)?;
    if piece.len() != wanted {
        let text = "its file is not as long as it was said to be";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    opened.left -= wanted as u64;
    Ok(((!is_last).then_some(opened), piece))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    async fn all(content: Content) -> io::Result<Vec<Bytes>> {
        let mut pieces = Pieces::of(content);
        let mut found = Vec::new();
        loop {
            let piece = pieces.next().await?;
            assert!(piece.len() <= PIECE);
            if piece.is_empty() {
                assert!(pieces.next().await?.is_empty());
                return Ok(found);
            }
            found.push(piece);
        }
    }

    fn body(octets: usize) -> Vec<u8> {
        (0_u32..).flat_map(u32::to_be_bytes).take(octets).collect()
    }

    #[tokio::test]
    async fn pieces_are_the_content_wherever_it_lies() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("body");
        for header in [0, 1, 100, PIECE, PIECE + 1] {
            for octets in [
                0,
                1,
                PIECE - 100,
                PIECE - 1,
                PIECE,
                PIECE + 1,
                3 * PIECE,
                300_001,
            ] {
                let (header, body) = (Bytes::from(vec![b'h'; header]), body(octets));
                let expected = [&header[..], &body].concat();
                fs::write(&path, &body).unwrap();
                let octets = octets as u64;
                let path = path.clone();
                for body in [
                    StoredBody::Memory(body.into()),
                    StoredBody::File { path, octets },
                ] {
                    let header = header.clone();
                    let found = all(Content { header, body }).await.unwrap();
                    assert!(found.concat() == expected);
                }
            }
        }
    }

    #[tokio::test]
    async fn a_small_message_is_one_piece() {
        let header = Bytes::from_static(b"Subject: x\r\n\r\n");
        let body = StoredBody::Memory(Bytes::from_static(b"Hello.\r\n"));
        assert_eq!(all(Content { header, body }).await.unwrap().len(), 1);
    }

    /// Never does a file that was cut or grew look like a whole message.
    #[tokio::test]
    async fn a_file_of_another_length_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("body");
        for (said, is) in [
            (1, 0),
            (10, 9),
            (10, 11),
            (PIECE, PIECE - 1),
            (PIECE, PIECE + 1),
            (2 * PIECE, PIECE),
            (2 * PIECE, 2 * PIECE + 1),
        ] {
            fs::write(&path, body(is)).unwrap();
            let body = StoredBody::File {
                path: path.clone(),
                octets: said as u64,
            };
            let header = Bytes::new();
            let error = all(Content { header, body }).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{said} {is}");
        }
        let body = StoredBody::File {
            path: directory.path().join("gone"),
            octets: 1,
        };
        let header = Bytes::new();
        let error = all(Content { header, body }).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
