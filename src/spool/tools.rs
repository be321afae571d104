//! What an operator's commands need of custody, with a server and without one.
//!
//! A change is made by [`Spool::change`] where a server runs, and by [`AtRest`] where none does. It
//! goes to the database beside the group commits, in short transactions of its own: whoever waits
//! for a commit waits for one part of a change at most.

use std::{io, path::Path, sync::Arc, time::SystemTime};

use tokio::task::spawn_blocking;

use super::{
    BODIES, CustodyError, Spool, StoredBody, body,
    disk::{Directory, Disk},
    lock,
};
use crate::{
    envelope::QueueId,
    store::{
        Store,
        queue::{Change, Cursor, Filter, Part, RecipientState, Tally, Verb},
    },
};

impl Spool {
    /// Does the part of a change that follows `from`, or its first one.
    ///
    /// # Errors
    /// Nothing of this part is done; parts before it are.
    pub async fn change(
        &self,
        change: &Change,
        from: Option<Cursor>,
        now: SystemTime,
    ) -> Result<Part, CustodyError> {
        let shared = &self.shared;
        let changed = shared.store.change_queue(change, from, now).await;
        let mut part = changed.map_err(|error| CustodyError::from_store(&error))?;
        let ended = std::mem::take(&mut part.ended_files);
        if !ended.is_empty() {
            body::remove(shared.disk.clone(), ended);
        }
        Ok(part)
    }

    /// Holds the mail of an account that waits and that nobody has taken in hand; gives how many
    /// recipients that are.
    ///
    /// # Errors
    /// Some of it may be held.
    pub async fn hold_mail_of(&self, account: &str) -> Result<u64, CustodyError> {
        let change = Change {
            verb: Verb::Hold,
            filter: Filter {
                account: Some(account.to_owned()),
                states: vec![
                    RecipientState::Due,
                    RecipientState::Deferred,
                    RecipientState::Later,
                ],
                ..Filter::default()
            },
        };
        Ok(self.change_all(&change).await?.recipients)
    }

    /// Ends a message of an account, as far as nobody has taken it in hand; gives how many of
    /// its recipients ended so, and how many somebody has.
    ///
    /// # Errors
    /// Some of it may have ended.
    pub async fn withdraw(&self, id: &QueueId, account: &str) -> Result<(u64, u64), CustodyError> {
        let change = Change {
            verb: Verb::Cancel,
            filter: Filter {
                ids: vec![id.to_string()],
                account: Some(account.to_owned()),
                ..Filter::default()
            },
        };
        let tally = self.change_all(&change).await?;
        // Whether a copy was filed is no matter to who takes mail back.
        let recipients = tally.recipients - tally.copies;
        Ok((recipients, tally.under_way - tally.copies_under_way))
    }

    async fn change_all(&self, change: &Change) -> Result<Tally, CustodyError> {
        let (mut from, mut tally) = (None, Tally::default());
        loop {
            let part = self.change(change, from, SystemTime::now()).await?;
            tally.append(part.tally);
            from = part.next;
            if from.is_none() {
                return Ok(tally);
            }
        }
    }

    /// Since when the oldest recipient that nobody has claimed is due, where one is or will be.
    pub async fn oldest_due(&self) -> Result<Option<SystemTime>, CustodyError> {
        let oldest = self.shared.store.oldest_due().await;
        oldest.map_err(|error| CustodyError::from_store(&error))
    }
}

/// Custody while no server has it.
pub struct AtRest {
    store: Store,
    disk: Arc<dyn Disk>,
}

impl AtRest {
    /// Makes sure that no server uses the directory, and frees the claims of the last one of this
    /// node. Where a server starts later, its claims are respected like anybody's.
    ///
    /// # Errors
    /// [`CustodyError::Failed`] where the directory cannot be used, or a process has it.
    pub async fn open(store: Store, directory: &Path, node: &str) -> Result<Self, CustodyError> {
        let bodies = directory.join(BODIES);
        let opened = spawn_blocking(move || Directory::open(&bodies)).await;
        let disk = opened
            .map_err(|error| CustodyError::Failed(error.to_string()))?
            .map_err(|error| CustodyError::from_io("spool directory", &error))?;
        let locked = lock::lock(directory).await?;
        let ended = store.end_node(node).await;
        drop(locked);
        ended.map_err(|error| CustodyError::from_store(&error))?;
        Ok(AtRest {
            store,
            disk: Arc::new(disk),
        })
    }

    /// As [`Spool::change`]; body files are removed when it returns.
    ///
    /// # Errors
    /// As [`Spool::change`].
    pub async fn change(
        &self,
        change: &Change,
        from: Option<Cursor>,
        now: SystemTime,
    ) -> Result<Part, CustodyError> {
        let changed = self.store.change_queue(change, from, now).await;
        let mut part = changed.map_err(|error| CustodyError::from_store(&error))?;
        let (disk, ended) = (self.disk.clone(), std::mem::take(&mut part.ended_files));
        let removed = spawn_blocking(move || {
            // What stays is an orphan, which the next start removes.
            ended.iter().for_each(|name| drop(disk.remove(name)));
        });
        removed
            .await
            .map_err(|error| CustodyError::Failed(error.to_string()))?;
        Ok(part)
    }
}

/// What is there of a message's content, whole or not.
pub struct Remains {
    /// The header section with its blank line, CRLF.
    pub header: Vec<u8>,
    /// What follows it.
    pub body: StoredBody,
    /// How many octets the body had when it was accepted; fewer or more are damage.
    pub body_octets: u64,
}

/// Reads the content of a message beside a server or without one, as it is; `None` where there is
/// none under that queue id.
///
/// # Errors
/// Where the database cannot be read. A missing file shows when the body is opened.
pub async fn remains(
    store: &Store,
    directory: &Path,
    id: &str,
) -> Result<Option<Remains>, CustodyError> {
    let row = store.stored_content(id).await;
    let Some(row) = row.map_err(|error| CustodyError::from_store(&error))? else {
        return Ok(None);
    };
    let body = match row.body_file {
        None => StoredBody::Memory(row.body.unwrap_or_default().into()),
        Some(name) => StoredBody::File {
            path: directory.join(BODIES).join(name),
            octets: row.body_octets,
        },
    };
    Ok(Some(Remains {
        header: row.header,
        body,
        body_octets: row.body_octets,
    }))
}

impl Remains {
    /// Writes header section and body; tells how many octets the body has.
    ///
    /// # Errors
    /// Those of opening and reading a body file, and of writing. May block.
    pub fn write_to(&self, out: &mut dyn io::Write) -> io::Result<u64> {
        let mut body = self.body.open()?;
        out.write_all(&self.header)?;
        let octets = io::copy(&mut body, out)?;
        out.flush()?;
        Ok(octets)
    }
}
