//! The control socket: one line of JSON asks, one answers.
//!
//! Changes of accounts are written to the database by the command itself, which SQLite allows
//! beside a server; the socket then tells the server to forget what it remembers. So the commands
//! are the same whether a server runs or not, and a change acts before the command ends.
//!
//! Changes of mail in custody are made by the server where one runs, because it has claims in its
//! memory. Whoever asks goes through them part by part: each request is short, and one that is
//! given up half-way has done whole parts.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};
use tokio_util::sync::CancellationToken;

use crate::{
    policy::tlsrpt::Day,
    server::Running,
    store::queue::{Change, Cursor, Tally},
};

/// What the command line asks of a server.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Accounts or domains were changed.
    AccountsChanged,
    /// Read the configuration anew.
    Reload,
    /// Which addresses do you listen on?
    Addresses,
    /// Do a part of a change to mail in custody: its first one, or the one that follows.
    ChangeQueue {
        /// What, and to whom.
        change: Box<Change>,
        /// Where the part before it ended.
        from: Option<Cursor>,
    },
    /// What has the throttle counted?
    Throttled,
    /// Forget what the throttle has counted.
    ClearThrottle,
    /// Send what was counted of a domain's TLS on a day.
    TlsReport {
        /// Days since 1970-01-01 UTC.
        day: u32,
        /// Lower case, ASCII.
        domain: String,
    },
}

/// What the server says to it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Done before this was written.
    Done,
    /// Reloaded; these keys wait for a restart.
    Reloaded(Vec<String>),
    /// HTTP included.
    Addresses(Vec<SocketAddr>),
    /// A part of a change is done.
    QueueChanged {
        /// What it did.
        tally: Tally,
        /// Where to go on; none at the end.
        next: Option<Cursor>,
    },
    /// Places that wanted a report, whether each has it, and what was said.
    TlsReported(Vec<(String, bool, String)>),
    /// Counter, of what, failures within a minute, an hour, a day, and whether attempts are put off.
    Throttled(Vec<(String, String, [u32; 3], bool)>),
    /// Not done, and why.
    Failed(String),
}

/// Longest line taken: a change names [`IDS_MAX`] messages and has some texts beside.
const LINE_MAX: u64 = 128 * 1024;
/// Queue ids in one request at most; whoever has more asks several times.
pub const IDS_MAX: usize = 1000;
/// Counters of the throttle in one answer at most.
const THROTTLED_MAX: usize = 500;
/// A person waits no longer.
const WAIT: Duration = Duration::from_secs(10);

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("control.sock")
}

/// Opens the socket (0600). The spool's lock has shown that no other server owns the directory, so
/// a socket that is there was left behind.
///
/// # Errors
/// What the system says.
pub fn bind(data_dir: &Path) -> Result<UnixListener> {
    let path = path(data_dir);
    let opened = || {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let socket = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(socket)
    };
    opened().with_context(|| format!("failed to open the control socket {}", path.display()))
}

/// Removes the socket of a server that has ended.
pub fn remove(data_dir: &Path) {
    match std::fs::remove_file(path(data_dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, "control socket not removed");
        }
        Ok(()) | Err(_) => {}
    }
}

/// Answers until `stop`.
pub async fn serve(socket: UnixListener, server: Arc<Running>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            // One after the other: each is short, and bounded in time.
            Ok((stream, _)) => match tokio::time::timeout(WAIT, converse(stream, &server)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "control request failed"),
                Err(_) => tracing::warn!("control request took too long"),
            },
            Err(error) => {
                tracing::warn!(%error, "control socket failed to accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, server: &Arc<Running>) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    tokio::io::BufReader::new(reader.take(LINE_MAX))
        .read_line(&mut line)
        .await?;
    let answer = match serde_json::from_str(&line) {
        Ok(Request::AccountsChanged) => match server.accounts_changed().await {
            Ok(()) => Answer::Done,
            Err(error) => Answer::Failed(format!("{error:#}")),
        },
        Ok(Request::Reload) => match server.reload().await {
            Ok(waiting) => Answer::Reloaded(waiting),
            Err(error) => Answer::Failed(format!("{error:#}")),
        },
        Ok(Request::Addresses) => Answer::Addresses(server.listening().await),
        Ok(Request::ChangeQueue { change, from }) => {
            match server.change_queue(*change, from).await {
                Ok(part) => Answer::QueueChanged {
                    tally: part.tally,
                    next: part.next,
                },
                Err(error) => Answer::Failed(format!("{error:#}")),
            }
        }
        Ok(Request::Throttled) => {
            // What is over its limit comes first; a person reads no more, and a line holds no more.
            let counted = server
                .accounts()
                .throttled()
                .into_iter()
                .take(THROTTLED_MAX);
            let told = counted.map(|it| (it.counter.to_owned(), it.key, it.failures, it.is_over));
            Answer::Throttled(told.collect())
        }
        Ok(Request::ClearThrottle) => {
            server.accounts().clear_throttle();
            Answer::Done
        }
        Ok(Request::TlsReport { day, domain }) => {
            match server.send_tls_report(Day(day), &domain).await {
                Ok(tried) => {
                    let told = tried.into_iter().map(|it| match it.said {
                        Ok(said) => (it.place, true, said),
                        Err(why) => (it.place, false, why),
                    });
                    Answer::TlsReported(told.collect())
                }
                Err(error) => Answer::Failed(error),
            }
        }
        Err(error) => Answer::Failed(error.to_string()),
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    writer.write_all(&text).await
}

/// Asks the server that owns `data_dir`; `None` where none runs.
///
/// # Errors
/// Where the server does not do what is asked, or not in time.
pub fn ask(data_dir: &Path, request: Request) -> Result<Option<Answer>> {
    let mut stream = match std::os::unix::net::UnixStream::connect(path(data_dir)) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error).context("failed to reach the running server"),
    };
    stream.set_read_timeout(Some(WAIT))?;
    stream.set_write_timeout(Some(WAIT))?;
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut text = String::new();
    BufReader::new(stream)
        .read_line(&mut text)
        .context("the running server did not answer")?;
    match serde_json::from_str(&text).context("the running server did not answer")? {
        Answer::Failed(reason) => bail!("the running server says: {reason}"),
        answer => Ok(Some(answer)),
    }
}
