//! One message file on its way from `tmp/` to `new/`, or to `cur/` where it counts as seen.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::line_ends::LineEnds;
use crate::spool::{Content, StoredBody};

/// Whose disk failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The message could not be read.
    Custody(io::Error),
    /// The Maildir could not be written.
    Folder(io::Error),
}

/// Whether its reader knows a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Seen {
    No,
    Yes,
}

/// A file in `tmp/`; removed when dropped unpublished.
#[derive(Debug)]
pub(super) struct Staged {
    file: File,
    tmp: PathBuf,
    target: PathBuf,
    published: bool,
}

/// Octets read and written at once.
const PIECE: usize = 64 * 1024;

impl Staged {
    /// Creates `name`, mode 0600, in the `tmp/` of `maildir`.
    ///
    /// A file of that name is what an attempt cut short by a crash left there, and makes room:
    /// the claim on a recipient keeps two attempts from running at once.
    pub(super) fn create(maildir: &Path, name: &str, seen: Seen) -> io::Result<Staged> {
        let tmp = maildir.join("tmp").join(name);
        let mut options = OpenOptions::new();
        // `create_new` follows no symbolic link.
        options.write(true).create_new(true).mode(0o600);
        let file = match options.open(&tmp) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                fs::remove_file(&tmp)?;
                options.open(&tmp)?
            }
            other => other?,
        };
        Ok(Staged {
            file,
            tmp,
            target: match seen {
                Seen::No => maildir.join("new").join(name),
                Seen::Yes => maildir.join("cur").join(format!("{name}:2,S")),
            },
            published: false,
        })
    }

    /// Writes the added fields and the content, with LF line ends.
    pub(super) fn write(&mut self, added_fields: &str, content: &Content) -> Result<(), Fault> {
        let mut out = LineEnds::new(BufWriter::with_capacity(PIECE, &self.file));
        out.write(added_fields.as_bytes()).map_err(Fault::Folder)?;
        out.write(&content.header).map_err(Fault::Folder)?;
        match &content.body {
            StoredBody::Memory(octets) => out.write(octets).map_err(Fault::Folder)?,
            StoredBody::File { path, octets } => copy(path, *octets, &mut out)?,
        }
        out.finish().map_err(Fault::Folder)
    }

    /// Returns when the file's content is on stable storage.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Moves the file to where readers see it, in the place of one of the same name.
    ///
    /// The entry is durable only after a sync of the directory.
    pub(super) fn publish(mut self) -> io::Result<PathBuf> {
        fs::rename(&self.tmp, &self.target)?;
        self.published = true;
        Ok(std::mem::take(&mut self.target))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.published {
            // If this fails too, the next attempt removes it.
            let _ = fs::remove_file(&self.tmp);
        }
    }
}

/// Streams a body of so many octets out of its file.
fn copy<W: io::Write>(path: &Path, octets: u64, out: &mut LineEnds<W>) -> Result<(), Fault> {
    let mut file = File::open(path).map_err(Fault::Custody)?;
    let mut buffer = vec![0; PIECE];
    let mut copied = 0;
    loop {
        let count = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Fault::Custody(error)),
        };
        copied += count as u64;
        out.write(&buffer[..count]).map_err(Fault::Folder)?;
    }
    if copied != octets {
        let text = format!("its file holds {copied} octets, not {octets}");
        return Err(Fault::Custody(io::Error::new(ErrorKind::InvalidData, text)));
    }
    Ok(())
}
