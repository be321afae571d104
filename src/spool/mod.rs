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
    envelope::{BodyType, Envelope, Identity, Link, Outcome, QueueId, Recipient, Status},
    smtp::{EnvelopeId, Mailbox, Notify, OriginalRecipient, Return, ReversePath},
    store::{
        Store, StoreError,
        queue::{Incarnation, QueueCounts},
    },
};

mod body;
mod claims;
mod disk;
mod lock;
mod orphans;
mod room;
mod tools;
mod writer;

pub use crate::store::queue::{EventKind, Next};
pub use body::{Body, BodyWriter};
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

/// What intake hands over.
pub struct NewMessage {
    /// Unique, and later than those before it.
    pub id: QueueId,
    /// Who submitted it; for a report of ours, who submitted what it tells of.
    pub account: Option<Identity>,
    /// The message that this report of ours tells of.
    pub report_of: Option<QueueId>,
    /// The Message-ID field, by which people ask for it.
    pub message_id: Option<String>,
    /// Sender, recipients and options.
    pub envelope: Envelope,
    /// The finished header section with its blank line, CRLF.
    pub header: Vec<u8>,
    /// The finished body.
    pub body: Body,
    /// When the message was complete.
    pub received_at: SystemTime,
}

/// Content in custody: immutable.
#[derive(Clone, Debug)]
pub struct Content {
    /// The header section with its blank line, CRLF.
    pub header: bytes::Bytes,
    /// What follows it.
    pub body: StoredBody,
}

/// A body in custody.
#[derive(Clone, Debug)]
pub enum StoredBody {
    /// Small: here.
    Memory(bytes::Bytes),
    /// Large: in a file, which goes with the last recipient's outcome.
    File {
        /// The file.
        path: PathBuf,
        /// Its length.
        octets: u64,
    },
}

impl StoredBody {
    /// Length in octets.
    pub fn len(&self) -> u64 {
        match self {
            StoredBody::Memory(octets) => octets.len() as u64,
            StoredBody::File { octets, .. } => *octets,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Opens it for reading from its first octet; opening and reading may block.
    ///
    /// # Errors
    /// Those of opening the file.
    pub fn open(&self) -> io::Result<Box<dyn io::Read + Send>> {
        Ok(match self {
            StoredBody::Memory(octets) => Box::new(io::Cursor::new(octets.clone())),
            StoredBody::File { path, .. } => Box::new(std::fs::File::open(path)?),
        })
    }
}

/// Due recipients of one message, claimed by this process.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The message.
    pub id: QueueId,
    /// Who submitted it; for a report of ours, who submitted what it tells of.
    pub account: Option<Identity>,
    /// The message that this report of ours tells of.
    pub report_of: Option<QueueId>,
    /// Where reports go.
    pub sender: ReversePath,
    /// Nature of the octets.
    pub body: BodyType,
    /// Whether the client asked for SMTPUTF8.
    pub smtputf8: bool,
    /// RET (RFC 3461 §4.3).
    pub ret: Option<Return>,
    /// ENVID (RFC 3461 §4.4).
    pub envelope_id: Option<EnvelopeId>,
    /// When the message was accepted.
    pub received_at: SystemTime,
    /// In the order of the envelope.
    pub recipients: Vec<DueRecipient>,
    /// Present for messages fresh from intake; otherwise [`Spool::content`] reads it.
    pub content: Option<Content>,
}

/// A recipient to be served now.
#[derive(Clone, Debug)]
pub struct DueRecipient {
    /// Its place in the envelope, from 0.
    pub number: u32,
    /// The forward-path.
    pub address: Mailbox,
    /// NOTIFY (RFC 3461 §4.1).
    pub notify: Option<Notify>,
    /// ORCPT (RFC 3461 §4.2).
    pub original: Option<OriginalRecipient>,
    /// Attempts made before.
    pub attempts: u32,
    /// When its sender last heard that it is delayed.
    pub delay_told_at: Option<SystemTime>,
}

impl DueRecipient {
    /// A recipient that was never tried.
    pub fn fresh(number: u32, recipient: Recipient) -> Self {
        DueRecipient {
            number,
            address: recipient.mailbox,
            notify: recipient.notify,
            original: recipient.original,
            attempts: 0,
            delay_told_at: None,
        }
    }
}

/// One attempt at one recipient and what is to happen next.
#[derive(Clone, Debug)]
pub struct AttemptRecord {
    /// The message.
    pub id: QueueId,
    /// The recipient's number.
    pub recipient: u32,
    /// Where it was taken: the name of the route.
    pub next_hop: Arc<str>,
    /// The link by which the outcome came; none where nobody was spoken to.
    pub link: Option<Arc<Link>>,
    /// Hosts that were tried before, and why they did not serve.
    pub in_vain: Arc<[Try]>,
    /// Start of the attempt.
    pub started_at: SystemTime,
    /// End of the attempt.
    pub ended_at: SystemTime,
    /// What became of it.
    pub outcome: Outcome,
    /// What is next; a time later than [`LONGEST_RETRY`] after the attempt is brought forward.
    pub next: Next,
    /// Its sender hears now that it is delayed.
    pub tells_delay: bool,
}

/// A host that was tried in vain within an attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Try {
    /// How far it was reached.
    pub link: Arc<Link>,
    /// When the try ended.
    pub ended_at: SystemTime,
    /// Why it did not serve.
    pub status: Status,
}

/// A report of ours on its way into custody, to be made durable together with the outcomes that it
/// tells of.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its own queue id.
    pub id: QueueId,
    /// The message that it tells of.
    pub report_of: QueueId,
    /// Who submitted that message.
    pub account: Option<Identity>,
    /// Its own Message-ID field.
    pub message_id: Option<String>,
    /// From `<>` to the message's reverse-path.
    pub envelope: Envelope,
    /// Its header section with the blank line, CRLF.
    pub header: bytes::Bytes,
    /// Its body.
    pub body: bytes::Bytes,
    /// When it was made.
    pub made_at: SystemTime,
}

/// Something that an account should know of and no report can tell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub at: SystemTime,
    /// Whose mail it was.
    pub account: Option<Identity>,
    /// The message.
    pub id: QueueId,
    /// The message that this report of ours told of.
    pub report_of: Option<QueueId>,
    /// The recipient.
    pub recipient: Mailbox,
    /// Why.
    pub status: Status,
}

/// Outcomes, and what follows from them at the same instant.
#[derive(Clone, Debug, Default)]
pub struct Settlement {
    /// What became of recipients.
    pub attempts: Vec<AttemptRecord>,
    /// What their senders are told.
    pub reports: Vec<Report>,
    /// What is kept for their accounts.
    pub events: Vec<Event>,
    /// Claimed recipients that are given back untried.
    pub postponed: Vec<Postponed>,
}

/// A claimed recipient that is given back untried, due at another time.
#[derive(Clone, Debug)]
pub struct Postponed {
    /// The message.
    pub id: QueueId,
    /// The recipient's number.
    pub recipient: u32,
    /// When it is due.
    pub until: SystemTime,
}

impl From<Vec<AttemptRecord>> for Settlement {
    fn from(attempts: Vec<AttemptRecord>) -> Self {
        Settlement {
            attempts,
            ..Settlement::default()
        }
    }
}

impl Settlement {
    /// Takes another one's content over.
    pub fn append(&mut self, mut other: Settlement) {
        self.attempts.append(&mut other.attempts);
        self.reports.append(&mut other.reports);
        self.events.append(&mut other.events);
        self.postponed.append(&mut other.postponed);
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
