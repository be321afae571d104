//! The database: all SQL of the house, and the only room that knows sqlx.
//!
//! One SQLite file in WAL mode with `synchronous = FULL`: a transaction that returned is on stable
//! storage. One connection writes and a few read; sqlx runs each on a thread of its own, so no
//! statement ever blocks the reactor (S5). What mail or an account *is*, this room does not decide:
//! it keeps rows for `spool` and `accounts`. No sqlx type appears in a signature that other rooms
//! see, and no statement is built from text that came in (S16).

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

pub mod accounts;
pub mod app_passwords;
pub mod brakes;
pub mod certificates;
pub mod credentials;
pub mod dkim;
mod error;
pub mod habits;
pub mod limits;
mod migrations;
pub mod queue;
pub mod sts;
pub mod tls_reports;

pub use error::StoreError;

/// The database: one writing connection, a few reading ones. Clones share them.
#[derive(Clone, Debug)]
pub struct Store(Arc<Pools>);

#[derive(Debug)]
pub(in crate::store) struct Pools {
    pub writer: SqlitePool,
    pub reader: SqlitePool,
    /// Clients wait behind this store: see [`SERVING_BUSY`].
    pub serving: Arc<AtomicBool>,
}

impl Store {
    /// Opens the database at `path`, creating it (0600) and its directory (0700) where missing,
    /// and brings its schema up to date.
    ///
    /// The time it takes does not grow with what the database holds.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::TooNew`] and [`StoreError::Foreign`] leave the file
    /// as it was.
    pub async fn open(path: &Path) -> Result<Store, StoreError> {
        if is_missing_or_empty(path)? {
            create(path)?;
        } else {
            inspect(path).await?;
            tighten(path);
        }
        let serving = Arc::new(AtomicBool::new(false));
        let is_serving = Arc::clone(&serving);
        let writer = pool(1)
            // Where SQLite itself rolled back after an error, sqlx's own rollback fails and it
            // counts the transaction as open for ever: no other could begin on that connection.
            .before_acquire(|connection, _| {
                let is_idle = !connection.is_in_transaction();
                Box::pin(async move { Ok(is_idle) })
            })
            .after_connect(move |connection, _| {
                let is_serving = is_serving.load(Relaxed);
                Box::pin(async move {
                    if is_serving {
                        sqlx::query(SERVING_BUSY).execute(connection).await?;
                    }
                    Ok(())
                })
            })
            .connect_with(
                options(path)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full),
            )
            .await?;
        migrations::migrate(&writer).await?;
        let reader = pool(READERS).connect_lazy_with(options(path).read_only(true));
        Ok(Store(Arc::new(Pools {
            writer,
            reader,
            serving,
        })))
    }

    /// Opens the database for reading beside a running server; whatever writes then fails with
    /// [`StoreError::ReadOnly`].
    ///
    /// # Errors
    /// As [`Store::open`], and [`StoreError::NotFound`] where there is no database yet,
    /// [`StoreError::TooOld`] where its schema is not this release's.
    pub async fn open_read_only(path: &Path) -> Result<Store, StoreError> {
        if is_missing_or_empty(path)? {
            return Err(StoreError::NotFound);
        }
        migrations::require_current(inspect(path).await?)?;
        let reader = pool(1).connect_lazy_with(options(path).read_only(true));
        let writer = reader.clone();
        Ok(Store(Arc::new(Pools {
            writer,
            reader,
            serving: Arc::default(),
        })))
    }

    /// From here on writing waits but briefly for another process's lock.
    pub(in crate::store) async fn wait_briefly(&self) -> Result<(), StoreError> {
        self.0.serving.store(true, Relaxed);
        sqlx::query(SERVING_BUSY).execute(self.writer()).await?;
        Ok(())
    }

    /// Waits for running statements and closes every connection; the log is folded into the file.
    pub async fn close(&self) {
        // The writer last: SQLite lets the last connection tidy up, and readers cannot.
        self.0.reader.close().await;
        self.0.writer.close().await;
    }

    pub(in crate::store) fn writer(&self) -> &SqlitePool {
        &self.0.writer
    }

    pub(in crate::store) fn reader(&self) -> &SqlitePool {
        &self.0.reader
    }

    /// Runs a statement that a test of another room brings, to damage or to lock.
    #[cfg(test)]
    pub(crate) async fn execute(&self, statement: &'static str) {
        sqlx::query(statement).execute(self.writer()).await.unwrap();
    }

    /// The one number that a query of a test of another room gives.
    #[cfg(test)]
    pub(crate) async fn count(&self, query: &'static str) -> i64 {
        let number = sqlx::query_scalar(query).fetch_one(self.writer()).await;
        number.unwrap()
    }
}

/// Reading connections at most; each is a thread.
const READERS: u32 = 4;

/// How long a statement waits for another process's lock.
const BUSY: Duration = Duration::from_secs(5);

/// A server waits this long for it, where a command at the shell has [`BUSY`]: clients wait behind
/// it, and are told within about a second to come again.
const SERVING_BUSY: &str = "PRAGMA busy_timeout = 600";

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(BUSY * 2)
        .idle_timeout(None)
        .max_lifetime(None)
        // A local file does not hang up.
        .test_before_acquire(false)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        // Else a statement of many rows would keep its undo journal in /tmp.
        .pragma("temp_store", "MEMORY")
        // After a burst the log goes back to this.
        .pragma("journal_size_limit", "67108864")
        // Statements carry addresses and hashes; they are not for the log.
        .disable_statement_logging()
}

fn is_missing_or_empty(path: &Path) -> Result<bool, StoreError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len() == 0),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Makes an empty file that only we can read; SQLite gives its log the same mode.
fn create(path: &Path) -> Result<(), StoreError> {
    let directory = directory_of(path);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    tighten(path);
    // SQLite syncs the directory for its log, but not for the database itself.
    fs::File::open(directory)?.sync_all()?;
    Ok(())
}

/// Takes rights of group and others away; where the file is another user's, it stays as it is.
fn tighten(path: &Path) {
    let Ok(metadata) = fs::metadata(path) else {
        return;
    };
    if metadata.permissions().mode() & 0o077 != 0
        && let Err(error) = fs::set_permissions(path, fs::Permissions::from_mode(0o600))
    {
        tracing::warn!(%error, path = %path.display(), "database is readable by others");
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The schema of an existing file, read without the right to change anything.
async fn inspect(path: &Path) -> Result<i64, StoreError> {
    let mut connection = options(path).read_only(true).connect().await?;
    let found = migrations::inspect(&mut connection).await;
    connection.close().await?;
    found
}

#[cfg(test)]
mod tests;
