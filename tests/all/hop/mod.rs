//! A scripted next hop: it speaks SMTP or LMTP in threads of the test, goes wrong where it is told
//! to, and records what it has heard.
//!
//! ```text
//! let hop = Hop::start(Behaviour::starttls().at(Phase::Rcpt, Act::reply("450 4.2.0 Later")));
//! … have hop.address() and hop.authority() in a route, submit …
//! let messages = hop.wait_for_messages(1);
//! hop.transcript().assert_nothing_given_away();
//! ```
//!
//! It shares no code with Gatepost, so that the two do not make the same mistake.

mod act;
mod auth;
mod certificates;
mod content;
mod envelope;
mod link;
mod record;
mod reply;
mod scram;
mod script;
mod session;
#[cfg(test)]
mod tests;

use std::{
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Instant,
};

use tempfile::TempDir;

pub use act::{Act, Phase};
pub use certificates::{Certificate, authority};
pub use record::{Channel, End, Handshake, Path as MailPath, Progress, Transaction, Transcript};
pub use script::{Behaviour, NAME, PASSWORD, Script, Tls};

use crate::server::PATIENCE;
use link::{Kind, Link, Socket};
use record::Record;
use session::Session;

/// A running next hop; it ends, with all its connections, when dropped.
pub struct Hop {
    place: Place,
    record: Arc<Record>,
    control: Arc<Control>,
    acceptor: Option<JoinHandle<()>>,
}

enum Place {
    Tcp(SocketAddr),
    Unix(TempDir),
}

#[derive(Default)]
struct Control {
    stopping: AtomicBool,
    open: Mutex<Vec<Weak<Kind>>>,
}

impl Hop {
    /// One on a port of 127.0.0.1.
    pub fn start(script: impl Into<Script>) -> Hop {
        Hop::start_at("127.0.0.1:0".parse().unwrap(), script)
    }

    /// One at this address.
    pub fn start_at(address: SocketAddr, script: impl Into<Script>) -> Hop {
        let listener = TcpListener::bind(address).unwrap();
        let place = Place::Tcp(listener.local_addr().unwrap());
        Hop::accept(place, script.into(), move || {
            let socket = listener.accept()?.0;
            socket.set_nodelay(true)?;
            Ok(Kind::Tcp(socket))
        })
    }

    /// One on a Unix socket.
    pub fn unix(script: impl Into<Script>) -> Hop {
        let directory = tempfile::Builder::new().prefix("hop-").tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        Hop::accept(Place::Unix(directory), script.into(), move || {
            Ok(Kind::Unix(listener.accept()?.0))
        })
    }

    fn accept(
        place: Place,
        script: Script,
        mut accept: impl FnMut() -> std::io::Result<Kind> + Send + 'static,
    ) -> Hop {
        let record = Arc::new(Record::default());
        let control = Arc::new(Control::default());
        let (theirs, watched) = (Arc::clone(&record), Arc::clone(&control));
        let acceptor = std::thread::spawn(move || {
            loop {
                let socket = accept().expect("a hop accepts");
                if watched.stopping.load(Ordering::SeqCst) {
                    return;
                }
                let socket = Socket(Arc::new(socket));
                watched.open.lock().unwrap().push(Arc::downgrade(&socket.0));
                let number = theirs.open();
                let behaviour = script.connection(number).clone();
                let record = Arc::clone(&theirs);
                std::thread::spawn(move || {
                    let link = Link::new(socket);
                    let end = Session::new(link, behaviour, Arc::clone(&record), number).run();
                    record.close(number, end);
                });
            }
        });
        Hop {
            place,
            record,
            control,
            acceptor: Some(acceptor),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        match &self.place {
            Place::Tcp(address) => *address,
            Place::Unix(_) => panic!("a hop on a Unix socket has a path"),
        }
    }

    /// The Unix socket on which it listens.
    pub fn path(&self) -> PathBuf {
        match &self.place {
            Place::Unix(directory) => directory.path().join("socket"),
            Place::Tcp(_) => panic!("a hop on a port has an address"),
        }
    }

    /// Everything so far.
    pub fn transcript(&self) -> Transcript {
        self.record.read().clone()
    }

    /// The messages that were taken so far.
    pub fn messages(&self) -> Vec<Transaction> {
        self.record.read().messages()
    }

    /// Waits until so many messages were taken; there may be more.
    pub fn wait_for_messages(&self, count: usize) -> Vec<Transaction> {
        let what = format!("{count} messages");
        self.wait(&what, |transcript| transcript.messages().len() >= count)
            .messages()
    }

    /// Waits until so many connections have come and ended.
    pub fn wait_for_ends(&self, count: usize) -> Transcript {
        self.wait(&format!("{count} ended connections"), |transcript| {
            let connections = transcript.connections.iter();
            connections.filter(|one| one.closed.is_some()).count() >= count
        })
    }

    /// Waits until the transcript is as wanted.
    pub fn wait(&self, what: &str, mut is_so: impl FnMut(&Transcript) -> bool) -> Transcript {
        let begun = Instant::now();
        let mut transcript = self.record.read();
        while !is_so(&transcript) {
            let Some(left) = PATIENCE.checked_sub(begun.elapsed()) else {
                let seen = transcript.clone();
                drop(transcript);
                panic!("the hop waited in vain for {what}: {seen:#?}");
            };
            let changed = self.record.changed();
            transcript = changed.wait_timeout(transcript, left).unwrap().0;
        }
        transcript.clone()
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        self.control.stopping.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        let woken = match &self.place {
            Place::Tcp(address) => TcpStream::connect(address).is_ok(),
            Place::Unix(directory) => connect(directory.path()),
        };
        if let (true, Some(acceptor)) = (woken, self.acceptor.take()) {
            let _ = acceptor.join();
        }
        for socket in self.control.open.lock().unwrap().drain(..) {
            if let Some(socket) = socket.upgrade() {
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
    }
}

fn connect(directory: &Path) -> bool {
    UnixStream::connect(directory.join("socket")).is_ok()
}
