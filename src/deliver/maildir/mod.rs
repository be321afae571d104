//! Hand-off to Maildirs: one copy in one file for each recipient.
//!
//! A file is written to `tmp/`, synced, renamed into `new/`, and `new/` is synced; only then is
//! the recipient delivered. What exists when the power fails:
//!
//! | after | `tmp/` | `new/` | the queue does |
//! |---|---|---|---|
//! | creating, writing | part of the file | nothing | attempts again, replaces the part |
//! | syncing the file | whole file | nothing | attempts again, replaces it |
//! | renaming | nothing (or the file) | whole file (or nothing) | attempts again, replaces it |
//! | syncing `new/` | nothing | whole file | attempts again, replaces it |
//! | recording the outcome | nothing | whole file | nothing |
//!
//! The name is made of the time of receipt, the queue id and the recipient's number, so the second
//! attempt after a crash finds the first one's file and takes its place by renaming: a duplicate
//! appears only where a reader moved the file to `cur/` in between. Leftovers in `tmp/` go the same
//! way, so nothing there needs sweeping.
//!
//! A write or sync that fails is final for its file (S4): the file goes, the recipient waits.
//! All of this blocks, so it runs on the blocking pool (S5), bounded.

mod directory_sync;
mod file;
mod folders;
mod line_ends;

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

use tokio::sync::Semaphore;

use self::{
    directory_sync::DirectorySyncs,
    file::{Fault, Seen, Staged},
    folders::Folders,
};
use super::{Attempt, deferred};
use crate::{
    envelope::{Outcome, Status},
    policy::routes::maildir_path,
    smtp::EnhancedCode,
    spool::DueRecipient,
};

/// Every Maildir of this node.
#[derive(Clone, Debug)]
pub(super) struct Maildirs {
    writers: Arc<Semaphore>,
    disk: Arc<Disk>,
}

impl Maildirs {
    pub(super) fn new(hostname: &str, writers: usize) -> Self {
        Maildirs {
            writers: Arc::new(Semaphore::new(writers.max(1))),
            disk: Arc::new(Disk {
                host: host_part(hostname),
                folders: Folders::default(),
                syncs: DirectorySyncs::default(),
            }),
        }
    }

    /// Makes one attempt, when a writer is free.
    pub(super) async fn attempt(&self, template: &str, attempt: Attempt) -> Vec<Outcome> {
        let count = attempt.recipients.len();
        let failed = |text: &str| (0..count).map(|_| deferred(3, 0, text)).collect();
        let Ok(permit) = self.writers.clone().acquire_owned().await else {
            return failed("the server is stopping");
        };
        let (disk, template) = (self.disk.clone(), template.to_owned());
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            disk.attempt(&template, &attempt)
        });
        match work.await {
            Ok(outcomes) => outcomes,
            Err(_) => failed("internal error while writing to the Maildir"),
        }
    }
}

/// What blocks.
#[derive(Debug)]
struct Disk {
    host: String,
    folders: Folders,
    syncs: DirectorySyncs,
}

impl Disk {
    /// Writes every copy, then makes the entries durable with one sync for each directory.
    fn attempt(&self, template: &str, attempt: &Attempt) -> Vec<Outcome> {
        let published: Vec<_> = attempt
            .recipients
            .iter()
            .map(|recipient| self.publish(template, attempt, recipient))
            .collect();
        let mut synced: Vec<(&Path, Result<(), ErrorKind>)> = Vec::new();
        published
            .iter()
            .map(|published| match published {
                Err(fault) => outcome_of(fault),
                Ok(path) => {
                    let new = path.parent().unwrap_or(Path::new("/"));
                    let known = synced.iter().find(|(directory, _)| *directory == new);
                    let result = known.map(|(_, result)| *result).unwrap_or_else(|| {
                        let result = self.syncs.sync(new);
                        synced.push((new, result));
                        result
                    });
                    match result {
                        Ok(()) => {
                            let place = format!("delivered to {}", path.display());
                            Outcome::Delivered(Status::new(EnhancedCode::new(2, 0, 0), place))
                        }
                        Err(kind) => {
                            // The entry is in doubt: without it the next attempt starts clean.
                            let _ = std::fs::remove_file(path);
                            outcome_of(&Fault::Folder(kind.into()))
                        }
                    }
                }
            })
            .collect()
    }

    /// Writes one copy and renames it into `new/`; gives its path there.
    fn publish(
        &self,
        template: &str,
        attempt: &Attempt,
        recipient: &DueRecipient,
    ) -> Result<PathBuf, Fault> {
        let mut maildir = maildir_path(template, &recipient.address);
        let name = self.file_name(attempt, recipient);
        let (mut seen, mut added) = (Seen::No, added_fields(attempt, recipient));
        if recipient.is_copy {
            // A mailbox that has folders is one itself.
            self.folders.prepare(&maildir).map_err(Fault::Folder)?;
            let folder = attempt.route.transport.sent_folder().unwrap_or("Sent");
            maildir.push(format!(".{folder}"));
            // It never arrived.
            (seen, added) = (Seen::Yes, String::new());
        }
        self.folders.prepare(&maildir).map_err(Fault::Folder)?;
        let mut staged = match Staged::create(&maildir, &name, seen) {
            // Somebody removed the Maildir since it was prepared.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.folders.forget(&maildir);
                self.folders.prepare(&maildir).map_err(Fault::Folder)?;
                Staged::create(&maildir, &name, seen)
            }
            other => other,
        }
        .map_err(Fault::Folder)?;
        staged.write(&added, &attempt.content)?;
        staged.sync().map_err(Fault::Folder)?;
        staged.publish().map_err(Fault::Folder)
    }

    /// `TIME.QUEUEID-NUMBER.HOST`: the same in every attempt at this recipient.
    fn file_name(&self, attempt: &Attempt, recipient: &DueRecipient) -> String {
        let received = attempt.received_at.duration_since(UNIX_EPOCH);
        let seconds = received.unwrap_or_default().as_secs();
        let (id, number) = (&attempt.id, recipient.number);
        format!("{seconds}.{id}-{number}.{}", self.host)
    }
}

/// The fields that final delivery adds on top (RFC 5321 §4.4), lines ended as in the content.
fn added_fields(attempt: &Attempt, recipient: &DueRecipient) -> String {
    let sender = match attempt.sender.mailbox() {
        Some(mailbox) => mailbox.to_string(),
        None => String::new(),
    };
    let address = &recipient.address;
    format!("Return-Path: <{sender}>\r\nDelivered-To: {address}\r\n")
}

/// The host name as Maildir file names spell it: without `/`, `:` and controls, of bounded length.
fn host_part(hostname: &str) -> String {
    let mut host = String::new();
    for c in hostname.chars().take(64) {
        match c {
            '/' => host.push_str("\\057"),
            ':' => host.push_str("\\072"),
            c if c.is_control() || !c.is_ascii() => host.push('_'),
            c => host.push(c),
        }
    }
    if host.is_empty() {
        host.push_str("localhost");
    }
    host
}

/// Every fault is transient: disks are emptied, permissions mended, mounts remounted.
fn outcome_of(fault: &Fault) -> Outcome {
    match fault {
        Fault::Custody(error) => deferred(
            3,
            0,
            format!("cannot read the message from the spool: {error}"),
        ),
        Fault::Folder(error) => match error.kind() {
            ErrorKind::QuotaExceeded => deferred(2, 2, format!("mailbox full: {error}")),
            ErrorKind::StorageFull => deferred(3, 1, format!("disk full: {error}")),
            ErrorKind::PermissionDenied => deferred(
                2,
                0,
                format!("not permitted to write to the Maildir: {error}"),
            ),
            ErrorKind::ReadOnlyFilesystem => {
                deferred(3, 0, format!("cannot write to the Maildir: {error}"))
            }
            _ => deferred(2, 0, format!("cannot write to the Maildir: {error}")),
        },
    }
}

/// Syncs a directory's entries to stable storage.
///
/// Some file systems have no such operation (EINVAL, not a failure of one); there an entry is as
/// safe as they make it.
fn sync_directory(directory: &Path) -> io::Result<()> {
    match std::fs::File::open(directory)?.sync_all() {
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
