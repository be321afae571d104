//! Custody: a message that was answered 250 is kept until its last recipient has ended.
//!
//! Content and rows become durable together. Small bodies travel in the transaction; large ones
//! stream to a file that is synced, with its directory, before its row commits. What a crash may
//! leave behind:
//!
//! | crash falls | file | row | client | after the restart |
//! |---|---|---|---|---|
//! | while the body arrives | part | none | no reply | file removed as an orphan |
//! | after the file's sync | whole | none | no reply | file removed as an orphan |
//! | during the commit | whole | none or all | no reply | as the log has it: all or nothing |
//! | after the commit | whole | all | 250 or no reply | served again, claim free |
//! | after the last outcome's commit | whole | none | – | file removed as an orphan |
//!
//! The spool does not know how mail is delivered, when it is tried again or what a reply says. It
//! counts on one process per directory and database, and holds a lock to be sure of it.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{Mutex, mpsc, oneshot},
    task::{JoinHandle, spawn_blocking},
};

use crate::{
    envelope::QueueId,
    store::{
        Store, StoreError,
        queue::{Incarnation, QueueCounts},
    },
};

mod body;
mod claims;
mod disk;
mod lock;
mod mail;
mod orphans;
mod room;
mod settlement;
mod tools;
mod writer;

pub use crate::store::{
    limits::Sent,
    queue::{EventKind, Next},
};
pub use body::{Body, BodyWriter};
pub use mail::{Claim, Content, DueRecipient, NewMessage, Start, StoredBody};
pub use settlement::{AttemptRecord, Event, Postponed, Report, Settlement, Trace, Try};
pub use tools::{AtRest, Remains, remains};

use disk::{Directory, Disk, Free};
use room::Room;
use writer::{Job, Work, Writer};

/// No retry is further off than this: what is, was written under another clock.
pub const LONGEST_RETRY: Duration = Duration::from_secs(24 * 3600);

/// Jobs that may wait for the writer; more wait outside.
const WAITING: usize = 4096;

/// The body files' directory within the spool's.
const BODIES: &str = "bodies";

/// Settings of the spool.
#[derive(Clone, Debug)]
pub struct Options {
    /// Holds the body files; created 0700.
    pub directory: PathBuf,
    /// Bodies up to this many octets travel in the transaction (default 65,536).
    pub inline_octets: usize,
    /// Messages in one commit at most (default 256).
    pub batch: usize,
    /// Free octets of the file system below which mail is refused with 452 (S37).
    pub reserve_octets: u64,
    /// Free inodes below which mail is refused.
    pub reserve_inodes: u64,
    /// Fresh messages handed to the queue in memory at once (permits).
    pub fresh: usize,
    /// Name of this node; part of every claim.
    pub node: String,
}

/// Why custody could not be taken. Each maps to a reply in `policy::content`.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CustodyError {
    /// 452 4.3.1.
    #[error("not enough space in the spool")]
    NoRoom,
    /// 451 4.3.0; the text is for the operator.
    #[error("spool failed: {0}")]
    Failed(String),
}

impl CustodyError {
    fn from_io(what: &str, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => CustodyError::NoRoom,
            _ => CustodyError::Failed(format!("{what}: {error}")),
        }
    }

    fn from_store(error: &StoreError) -> Self {
        match error {
            StoreError::NoRoom => CustodyError::NoRoom,
            error => CustodyError::Failed(error.to_string()),
        }
    }
}

/// Receives messages fresh from intake, already claimed.
pub struct Fresh(mpsc::Receiver<Claim>);

impl Fresh {
    /// The next one; `None` when the spool is gone.
    pub async fn recv(&mut self) -> Option<Claim> {
        self.0.recv().await
    }
}

/// The spool of one process.
pub struct Spool {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What the spool and its writer both need.
struct Shared {
    store: Store,
    options: Options,
    disk: Arc<dyn Disk>,
    /// Where the body files are.
    bodies: PathBuf,
    incarnation: Incarnation,
    hold: AtomicBool,
    room: Arc<Room>,
    /// Rows were committed that nobody holds in memory.
    unclaimed: tokio::sync::Notify,
    commits: AtomicU64,
    /// Why the last commit failed; none where it did not.
    trouble: std::sync::Mutex<Option<String>>,
    /// Held while this process owns the directory.
    _lock: std::fs::File,
}

impl Shared {
    fn trouble(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        let trouble = self.trouble.lock();
        trouble.unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Spool {
    /// Takes the spool into use. Reads nothing of the queue: start-up does not grow with it.
    ///
    /// # Errors
    /// [`CustodyError::Failed`] where the directory cannot be used, or another process has it.
    pub async fn open(
        store: Store,
        options: Options,
        now: SystemTime,
    ) -> Result<(Arc<Spool>, Fresh), CustodyError> {
        let bodies = options.directory.join(BODIES);
        let path = bodies.clone();
        let opened = spawn_blocking(move || Directory::open(&path).map(Arc::new)).await;
        let disk = opened
            .map_err(|error| CustodyError::Failed(error.to_string()))?
            .map_err(|error| CustodyError::from_io("spool directory", &error))?;
        Spool::open_on(store, options, now, disk).await
    }

    async fn open_on(
        store: Store,
        options: Options,
        now: SystemTime,
        disk: Arc<dyn Disk>,
    ) -> Result<(Arc<Spool>, Fresh), CustodyError> {
        let lock = lock::lock(&options.directory).await?;
        let look = disk.clone();
        let free = spawn_blocking(move || look.free())
            .await
            .map_err(|error| CustodyError::Failed(error.to_string()))?
            .map_err(|error| CustodyError::from_io("spool directory", &error))?;
        let (incarnation, next_number) = store
            .begin_incarnation(&options.node, now)
            .await
            .map_err(|error| CustodyError::from_store(&error))?;
        let reserve = Free {
            octets: options.reserve_octets,
            inodes: options.reserve_inodes,
        };
        let (jobs, queue) = mpsc::channel(WAITING);
        let (fresh, claims) = mpsc::channel(options.fresh.max(1));
        let shared = Arc::new(Shared {
            bodies: options.directory.join(BODIES),
            store,
            options,
            disk,
            incarnation,
            hold: AtomicBool::new(false),
            room: Arc::new(Room::new(free, reserve)),
            unclaimed: tokio::sync::Notify::new(),
            commits: AtomicU64::new(0),
            trouble: std::sync::Mutex::default(),
            _lock: lock,
        });
        let writer = Writer {
            shared: shared.clone(),
            jobs: queue,
            fresh,
            next_number,
        };
        let writer = tokio::spawn(writer.run());
        tokio::spawn(Room::keep_looking(
            Arc::downgrade(&shared.room),
            shared.disk.clone(),
        ));
        tokio::spawn(orphans::remove(
            shared.store.clone(),
            shared.bodies.clone(),
            shared.disk.clone(),
            incarnation,
        ));
        let spool = Spool {
            shared,
            jobs,
            writer: Mutex::new(Some(writer)),
        };
        Ok((Arc::new(spool), Fresh(claims)))
    }

    /// Whether there is room for so many octets beside the reserve, as last seen.
    ///
    /// # Errors
    /// [`CustodyError::NoRoom`].
    pub fn room_for(&self, octets: u64) -> Result<(), CustodyError> {
        self.shared.room.has(octets)
    }

    /// Octets that the file system had free when it was last looked at, the reserve included.
    pub fn free_octets(&self) -> u64 {
        self.shared.room.free_octets()
    }

    /// Why the last commit failed; `None` once one, or a sign of life, has succeeded again.
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble().clone()
    }

    /// A body to write to.
    pub fn body(&self) -> BodyWriter {
        BodyWriter::new(body::Place {
            disk: self.shared.disk.clone(),
            inline_octets: self.shared.options.inline_octets,
            incarnation: self.shared.incarnation.0,
        })
    }

    /// Where a finished body lies, to be read before it is in custody; a file is there as long as
    /// `body` is.
    pub fn place_of(&self, body: &Body) -> StoredBody {
        match &body.0 {
            body::Kind::Memory(octets) => StoredBody::Memory(octets.clone()),
            body::Kind::File { name, octets } => StoredBody::File {
                path: self.shared.bodies.join(name.as_str()),
                octets: *octets,
            },
        }
    }

    /// Takes custody: returns when the message is on stable storage (S3, S4, S6).
    ///
    /// Once the message waits for its batch, the outcome is decided even if the caller goes away.
    ///
    /// # Errors
    /// The message is not in custody, and its body file is gone.
    pub async fn commit(&self, message: NewMessage) -> Result<(), CustodyError> {
        self.submit(Work::Message(Box::new(message))).await
    }

    /// Returns when messages were committed that no channel carried (it was full, or mail was
    /// held): time to claim.
    pub async fn unclaimed(&self) {
        self.shared.unclaimed.notified().await;
    }

    /// Makes outcomes, with their reports, durable in the next group commit: all or nothing.
    ///
    /// # Errors
    /// Nothing was recorded; the recipients stay claimed, so the caller tries again.
    pub async fn record(&self, settlement: Settlement) -> Result<(), CustodyError> {
        self.submit(Work::Settle(Box::new(settlement))).await
    }

    /// Gives claimed recipients of a message back, due at once.
    pub async fn release(&self, id: &QueueId) -> Result<(), CustodyError> {
        self.submit(Work::Release(id.clone())).await
    }

    /// Holds mail back, or lets it go: while held, messages are accepted but none is handed out.
    pub fn hold(&self, hold: bool) {
        self.shared.hold.store(hold, Relaxed);
        if !hold {
            self.shared.unclaimed.notify_one();
        }
    }

    /// Whether mail is held back.
    pub fn is_held(&self) -> bool {
        self.shared.hold.load(Relaxed)
    }

    /// Counts the queue, for metrics.
    pub async fn counts(&self) -> Result<QueueCounts, CustodyError> {
        let counts = self.shared.store.queue_counts(SystemTime::now()).await;
        counts.map_err(|error| CustodyError::from_store(&error))
    }

    /// Commits what waits and takes nothing more: every later commit, record or release fails.
    pub async fn close(&self) {
        // An error says that it is closed already.
        let _ = self.submit(Work::Close).await;
        if let Some(writer) = self.writer.lock().await.take() {
            // It answered every job before it ended.
            let _ = writer.await;
        }
    }

    async fn submit(&self, work: Work) -> Result<(), CustodyError> {
        let closed = || CustodyError::Failed("the spool is closed".to_owned());
        let (done, outcome) = oneshot::channel();
        let job = Job { work, done };
        self.jobs.send(job).await.map_err(|_| closed())?;
        outcome.await.map_err(|_| closed())?
    }
}

#[cfg(test)]
mod tests;
