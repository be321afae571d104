//! What can go wrong in the database, told apart by SQLite's result codes and never by their texts.

use std::io;

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No row of that name.
    #[error("no such entry")]
    NotFound,
    /// A row of that name is there already.
    #[error("an entry of that name exists already")]
    Conflict,
    /// Another process kept the database locked for longer than we wait.
    #[error("the database is locked by another process")]
    Busy,
    /// The file system or the quota is full (SQLITE_FULL).
    #[error("no space left for the database")]
    NoRoom,
    /// The file or its file system does not take writes.
    #[error("the database is read-only: {0}")]
    ReadOnly(String),
    /// The file is damaged, or no SQLite database at all.
    #[error("the database is damaged: {0}; restore it from a backup")]
    Corrupt(String),
    /// A later release wrote the file.
    #[error(
        "the database has schema {found}, this release knows {known} at most; \
         run the newer release, nothing was changed"
    )]
    TooNew {
        /// Version of the last migration in the file.
        found: i64,
        /// Version of the last migration in this program.
        known: i64,
    },
    /// An earlier release wrote the file and it was opened for reading only.
    #[error("the database has schema {found}, this release needs {known}; start the server once")]
    TooOld {
        /// Version of the last migration in the file.
        found: i64,
        /// Version of the last migration in this program.
        known: i64,
    },
    /// A database of some other program.
    #[error("the file is a database of another program, nothing was changed")]
    Foreign,
    /// Reading or writing failed below SQLite.
    #[error("input or output of the database failed: {0}")]
    Io(String),
    /// The store was closed.
    #[error("the database is closed")]
    Closed,
    /// Anything else, with SQLite's text for the operator.
    #[error("database: {0}")]
    Database(String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::RowNotFound => StoreError::NotFound,
            sqlx::Error::PoolTimedOut => StoreError::Busy,
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => StoreError::Closed,
            sqlx::Error::Io(error) => error.into(),
            sqlx::Error::Database(error) => {
                let code = error.code().and_then(|code| code.parse::<i32>().ok());
                by_result_code(code.unwrap_or_default(), error.to_string())
            }
            error => StoreError::Database(error.to_string()),
        }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::NoRoom,
            io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly(error.to_string()),
            _ => StoreError::Io(error.to_string()),
        }
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError;
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            error => StoreError::Database(error.to_string()),
        }
    }
}

/// Sorts an extended result code (sqlite.org/rescode.html).
fn by_result_code(code: i32, text: String) -> StoreError {
    const IOERR_SHMSIZE: i32 = 4874;
    const CONSTRAINT_PRIMARYKEY: i32 = 1555;
    const CONSTRAINT_UNIQUE: i32 = 2067;
    const CONSTRAINT_ROWID: i32 = 2579;
    match code {
        // The index of the log could not grow: the file system is full.
        IOERR_SHMSIZE => return StoreError::NoRoom,
        CONSTRAINT_PRIMARYKEY | CONSTRAINT_UNIQUE | CONSTRAINT_ROWID => {
            return StoreError::Conflict;
        }
        _ => {}
    }
    match code & 0xff {
        5 | 6 => StoreError::Busy,
        8 => StoreError::ReadOnly(text),
        10 | 14 => StoreError::Io(text),
        11 | 26 => StoreError::Corrupt(text),
        13 => StoreError::NoRoom,
        _ => StoreError::Database(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_codes_have_their_meaning() {
        let table = [
            (5, "Busy", "SQLITE_BUSY"),
            (517, "Busy", "SQLITE_BUSY_SNAPSHOT"),
            (8, "ReadOnly", "SQLITE_READONLY"),
            (1032, "ReadOnly", "SQLITE_READONLY_DBMOVED"),
            (10, "Io", "SQLITE_IOERR"),
            (1034, "Io", "SQLITE_IOERR_FSYNC"),
            (4874, "NoRoom", "SQLITE_IOERR_SHMSIZE"),
            (11, "Corrupt", "SQLITE_CORRUPT"),
            (26, "Corrupt", "SQLITE_NOTADB"),
            (13, "NoRoom", "SQLITE_FULL"),
            (14, "Io", "SQLITE_CANTOPEN"),
            (2067, "Conflict", "SQLITE_CONSTRAINT_UNIQUE"),
            (1555, "Conflict", "SQLITE_CONSTRAINT_PRIMARYKEY"),
            (275, "Database", "SQLITE_CONSTRAINT_CHECK"),
            (1, "Database", "SQLITE_ERROR"),
        ];
        for (code, name, shows) in table {
            let error = format!("{:?}", by_result_code(code, String::new()));
            assert!(error.starts_with(name), "{shows}: {error}");
        }
    }
}
