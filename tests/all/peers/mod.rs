//! Real next hops, started by the tests: Postfix, Dovecot's LMTP server and aiosmtpd; and lists of
//! users: Dovecot's and OpenLDAP's.
//!
//! Each runs in a directory of its own, on ports of 127.0.0.1 of its own, apart from any that the
//! system runs. One that is not installed is skipped by name; where CI is set it must be there.

mod aiosmtpd;
mod dovecot;
mod postfix;
mod slapd;
#[cfg(test)]
mod tests;

use std::{
    fs,
    io::Read,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tempfile::TempDir;

pub use aiosmtpd::Aiosmtpd;
pub use dovecot::{BOB, CY, Dovecot, SECRET as DOVECOT_SECRET, STUCK};
pub use postfix::{MailHost, Postfix};
pub use slapd::{READER as LDAP_READER, SECRET as LDAP_SECRET, Slapd};

use crate::{
    clients::answers,
    faults::skip,
    server::{send_signal, wait_for},
};

/// The numbers of a user without rights and its group, as which mail is stored.
const NOBODY: u32 = 65_534;
/// How long a peer may take to end in good order; its helpers follow it either way.
const GRACE: Duration = Duration::from_millis(300);

/// A peer's process; it ends when dropped, and also when the tests are killed.
pub struct Process {
    name: &'static str,
    child: Child,
    directory: TempDir,
}

impl Process {
    pub fn start(
        name: &'static str,
        directory: TempDir,
        program: &Path,
        arguments: &[&str],
    ) -> Process {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(directory.path().join("output"))
            .unwrap();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Process {
            name,
            child,
            directory,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What it wrote to its log and to its standard output.
    fn log(&self) -> String {
        let read = |name| fs::read(self.path(name)).unwrap_or_default();
        String::from_utf8_lossy(&[read("log"), read("output")].concat()).into_owned()
    }

    /// Asks until there is an answer; fails with the log where the process has ended.
    pub fn wait<T>(&mut self, what: &str, mut ask: impl FnMut(&Process) -> Option<T>) -> T {
        wait_for(&format!("{}: {what}", self.name), || {
            let answer = ask(self);
            if answer.is_none() {
                let ended = self.child.try_wait().unwrap();
                assert!(ended.is_none(), "{} ended: {}", self.name, self.log());
            }
            answer
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of {}:\n{}", self.name, self.log());
        }
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        send_signal(&self.child, Signal::TERM);
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < GRACE {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory that a peer's unprivileged half may enter, with these subdirectories.
fn directory(name: &str, subdirectories: &[&str]) -> TempDir {
    let prefix = format!("{name}-");
    let directory = tempfile::Builder::new().prefix(&prefix).tempdir().unwrap();
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(directory.path(), open).unwrap();
    for name in subdirectories {
        fs::create_dir(directory.path().join(name)).unwrap();
    }
    directory
}

/// Where nothing listens, below the ports that the system gives out by itself.
pub fn free_port() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Another run of the tests at the same time begins elsewhere.
    let first = (std::process::id() % 10_000) as u16;
    loop {
        let next = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let address = SocketAddr::from(([127, 0, 0, 1], 20_000 + next % 10_000));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Whether a server that has been connected to says that it is ready.
fn greets(mut connection: impl Read) -> Option<()> {
    let mut greeting = [0; 4];
    connection.read_exact(&mut greeting).ok()?;
    (&greeting == b"220 ").then_some(())
}

/// Whether a server that needs root can be tried.
fn installed(name: &str, version: &mut Command) -> bool {
    if !answers(version) {
        skip(&format!("{name} is not installed"));
        return false;
    }
    if !rustix::process::geteuid().is_root() {
        skip(&format!("{name} needs root"));
        return false;
    }
    true
}

/// The messages of a Maildir, oldest name first.
fn maildir(path: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(path.join("new")) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    paths.iter().map(read).collect()
}
