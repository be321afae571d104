//! What a scripted next hop has seen and heard, in order.

use std::{
    sync::{Condvar, Mutex, MutexGuard},
    time::Instant,
};

/// Everything since the hop started.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    pub connections: Vec<Connection>,
    open: usize,
    /// Connections open at one time, at most.
    pub peak: usize,
}

/// One connection, from its acceptance on.
#[derive(Clone, Debug)]
pub struct Connection {
    pub opened: Instant,
    pub closed: Option<(Instant, End)>,
    pub handshake: Handshake,
    /// Every command line; neither what answers a challenge nor content.
    pub commands: Vec<Command>,
    pub sign_ins: Vec<SignIn>,
    /// From each MAIL that was taken.
    pub transactions: Vec<Transaction>,
    /// Every octet that came outside TLS.
    pub clear: Vec<u8>,
    /// What came while the hop hung or behind its end.
    pub late: Vec<u8>,
}

/// How a connection ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum End {
    /// QUIT.
    Quit,
    /// The other side closed.
    ByPeer,
    /// The script said so.
    ByScript,
    /// Reading, writing or the handshake failed.
    Failed(String),
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Handshake {
    None,
    Done {
        /// The name that was asked for (SNI).
        name: Option<String>,
        version: String,
    },
    /// With the reason as rustls names it.
    Failed(String),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Channel {
    Clear,
    Tls,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Command {
    /// Without its line end; what is no UTF-8 is replaced.
    pub line: String,
    pub channel: Channel,
    /// It was there before the reply to the one ahead of it had been sent.
    pub pipelined: bool,
}

impl Command {
    pub fn verb(&self) -> String {
        let word = self.line.split(' ').next().unwrap_or_default();
        word.to_ascii_uppercase()
    }
}

/// One AUTH exchange that came to a name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignIn {
    pub mechanism: String,
    pub name: String,
    /// As it travelled; SCRAM shows none.
    pub password: Option<String>,
    /// Whether name and password were right, whatever was answered.
    pub right: bool,
    pub channel: Channel,
}

/// A path with the parameters behind it, as they were written.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Path {
    pub address: String,
    pub parameters: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Transaction {
    pub sender: Path,
    /// Those that were taken.
    pub recipients: Vec<Path>,
    /// Those that were not.
    pub refused: Vec<Path>,
    /// The content: without dot-stuffing once it is whole, and as it came until then.
    pub content: Vec<u8>,
    pub progress: Progress,
    /// What was answered behind the content: one line, or one for each recipient in LMTP.
    pub replies: Vec<String>,
    pub channel: Channel,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    Envelope,
    /// Some content may have come.
    Content,
    Whole,
}

impl Transaction {
    /// Whether a reply behind the content took the message.
    pub fn is_taken(&self) -> bool {
        self.replies.iter().any(|reply| reply.starts_with('2'))
    }

    pub fn to(&self) -> Vec<&str> {
        let recipients = self.recipients.iter();
        recipients.map(|path| path.address.as_str()).collect()
    }
}

impl Connection {
    pub fn verbs(&self) -> Vec<String> {
        self.commands.iter().map(Command::verb).collect()
    }
}

impl Transcript {
    /// The messages that were taken, in the order of connections and transactions.
    pub fn messages(&self) -> Vec<Transaction> {
        let all = self.connections.iter().flat_map(|one| &one.transactions);
        all.filter(|one| one.is_taken()).cloned().collect()
    }

    /// Panics where anything of a message or a credential has come: a MAIL FROM is too much.
    pub fn assert_nothing_given_away(&self) {
        for connection in &self.connections {
            let verbs = connection.verbs();
            let told = ["MAIL", "RCPT", "DATA", "BDAT", "AUTH"];
            let harmless = verbs.iter().all(|verb| !told.contains(&verb.as_str()));
            assert!(harmless, "{connection:#?}");
            let clear = String::from_utf8_lossy(&connection.clear).to_ascii_uppercase();
            for mark in ["MAIL FROM", "RCPT TO", "AUTH "] {
                assert!(!clear.contains(mark), "{connection:#?}");
            }
            assert!(connection.sign_ins.is_empty(), "{connection:#?}");
        }
    }
}

/// The transcript while it is being written.
#[derive(Debug, Default)]
pub struct Record {
    transcript: Mutex<Transcript>,
    changed: Condvar,
}

impl Record {
    pub fn read(&self) -> MutexGuard<'_, Transcript> {
        self.transcript.lock().unwrap()
    }

    pub fn changed(&self) -> &Condvar {
        &self.changed
    }

    /// Opens a connection; its number.
    pub fn open(&self) -> usize {
        let mut transcript = self.read();
        transcript.connections.push(Connection {
            opened: Instant::now(),
            closed: None,
            handshake: Handshake::None,
            commands: Vec::new(),
            sign_ins: Vec::new(),
            transactions: Vec::new(),
            clear: Vec::new(),
            late: Vec::new(),
        });
        transcript.open += 1;
        transcript.peak = transcript.peak.max(transcript.open);
        self.changed.notify_all();
        transcript.connections.len() - 1
    }

    pub fn close(&self, number: usize, end: End) {
        let mut transcript = self.read();
        transcript.open -= 1;
        transcript.connections[number].closed = Some((Instant::now(), end));
        self.changed.notify_all();
    }

    /// Notes something of a connection.
    pub fn note(&self, number: usize, note: impl FnOnce(&mut Connection)) {
        note(&mut self.read().connections[number]);
        self.changed.notify_all();
    }
}
