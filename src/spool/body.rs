//! The body of a message as it arrives: in memory while small, then in a file.
//!
//! Pieces of 256 KiB go to the file on the blocking pool, one under way while the next one fills,
//! so a message of any size holds two pieces of memory and the reactor never waits for the disk.

use std::{io, mem, sync::Arc};

use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};

use super::{
    CustodyError,
    disk::{Disk, DiskFile},
};

/// Octets in one write to a file.
const PIECE: usize = 256 * 1024;

/// The body of a message under way: in memory up to `inline_octets`, then in a file.
///
/// Dropped without [`BodyWriter::finish`], its file is removed.
pub struct BodyWriter {
    place: Place,
    buffer: Vec<u8>,
    octets: u64,
    file: State,
    failed: Option<CustodyError>,
}

/// Where files go and what they are called.
#[derive(Clone)]
pub(super) struct Place {
    pub disk: Arc<dyn Disk>,
    pub inline_octets: usize,
    /// First part of every file's name.
    pub incarnation: i64,
}

enum State {
    /// Nothing is under way: all of the body is in the buffer.
    Memory,
    /// A piece is on its way; its buffer comes back empty.
    Writing(JoinHandle<io::Result<(OpenFile, Vec<u8>)>>),
}

struct OpenFile {
    file: Box<dyn DiskFile>,
    name: FileName,
}

/// A finished body, not yet in custody. Dropped uncommitted, its file is removed.
pub struct Body(pub(super) Kind);

pub(super) enum Kind {
    Memory(Bytes),
    File { name: FileName, octets: u64 },
}

impl Body {
    /// Length in octets.
    pub fn len(&self) -> u64 {
        match &self.0 {
            Kind::Memory(octets) => octets.len() as u64,
            Kind::File { octets, .. } => *octets,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl BodyWriter {
    pub(super) fn new(place: Place) -> Self {
        BodyWriter {
            place,
            buffer: Vec::new(),
            octets: 0,
            file: State::Memory,
            failed: None,
        }
    }

    /// Appends octets. Waits for the disk only where it is slower than the client, never for a sync.
    ///
    /// # Errors
    /// After an error every further call fails alike. A call that was cancelled leaves the body
    /// unusable but for dropping it.
    pub async fn write(&mut self, mut octets: &[u8]) -> Result<(), CustodyError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.octets += octets.len() as u64;
        if self.octets <= self.place.inline_octets as u64 {
            self.buffer.extend_from_slice(octets);
            return Ok(());
        }
        while !octets.is_empty() {
            let take = octets.len().min(PIECE.saturating_sub(self.buffer.len()));
            let (piece, rest) = octets.split_at(take);
            self.buffer.extend_from_slice(piece);
            octets = rest;
            if self.buffer.len() >= PIECE {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Octets written so far.
    pub fn len(&self) -> u64 {
        self.octets
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.octets == 0
    }

    /// Ends the body. A file is synced here; its directory is, no later than the commit.
    ///
    /// # Errors
    /// The body is gone, and its file too.
    pub async fn finish(mut self) -> Result<Body, CustodyError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.octets <= self.place.inline_octets as u64 {
            return Ok(Body(Kind::Memory(self.buffer.into())));
        }
        let (file, _) = self.settle().await?;
        let (place, rest, octets) = (self.place.clone(), self.buffer, self.octets);
        let finished = spawn_blocking(move || {
            let mut open = open_or_create(file, &place)?;
            open.file.append(&rest)?;
            open.file.sync()?;
            // Closed before its name can be used or removed.
            drop(open.file);
            Ok(open.name)
        });
        let name = joined(finished.await)?;
        Ok(Body(Kind::File { name, octets }))
    }

    /// Sends the buffer on its way once the piece before it has arrived.
    async fn flush(&mut self) -> Result<(), CustodyError> {
        let (file, spare) = self.settle().await?;
        let piece = mem::replace(&mut self.buffer, spare);
        let place = self.place.clone();
        self.file = State::Writing(spawn_blocking(move || {
            let mut open = open_or_create(file, &place)?;
            open.file.append(&piece)?;
            let mut spare = piece;
            spare.clear();
            Ok((open, spare))
        }));
        Ok(())
    }

    /// Waits for the piece under way; returns the file, where there is one, and an empty buffer.
    async fn settle(&mut self) -> Result<(Option<OpenFile>, Vec<u8>), CustodyError> {
        let State::Writing(piece) = &mut self.file else {
            return Ok((None, Vec::new()));
        };
        let result = joined(piece.await);
        self.file = State::Memory;
        match result {
            Ok((open, spare)) => Ok((Some(open), spare)),
            Err(error) => {
                self.buffer = Vec::new();
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }
}

fn open_or_create(file: Option<OpenFile>, place: &Place) -> io::Result<OpenFile> {
    if let Some(open) = file {
        return Ok(open);
    }
    let name = format!("{}-{}", place.incarnation, ulid::Ulid::generate());
    let file = place.disk.create(&name)?;
    Ok(OpenFile {
        file,
        name: FileName {
            disk: Some(place.disk.clone()),
            name,
        },
    })
}

fn joined<T>(result: Result<io::Result<T>, tokio::task::JoinError>) -> Result<T, CustodyError> {
    match result {
        Ok(result) => result.map_err(|error| CustodyError::from_io("body file", &error)),
        Err(error) => Err(CustodyError::Failed(format!("body file: {error}"))),
    }
}

/// The name of a body file that nobody but this value knows of: dropping it removes the file.
pub(super) struct FileName {
    disk: Option<Arc<dyn Disk>>,
    name: String,
}

impl FileName {
    pub(super) fn as_str(&self) -> &str {
        &self.name
    }

    /// A row names the file: it stays.
    pub(super) fn keep(mut self) -> String {
        self.disk = None;
        mem::take(&mut self.name)
    }
}

impl Drop for FileName {
    fn drop(&mut self) {
        if let Some(disk) = self.disk.take() {
            remove(disk, vec![mem::take(&mut self.name)]);
        }
    }
}

/// Removes files off the reactor. What fails or is cut short is removed at the next start.
pub(super) fn remove(disk: Arc<dyn Disk>, names: Vec<String>) {
    let task = move || {
        for name in names {
            if let Err(error) = disk.remove(&name) {
                tracing::warn!(%error, %name, "body file not removed");
            }
        }
    };
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(task)),
        Err(_) => task(),
    }
}
