//! The server half of a connection, as a machine without I/O.
//!
//! One machine serves both ports; they differ in how a [`Session`] is born. The driver feeds it
//! octets, time and answers, and carries out what it says:
//!
//! ```text
//! driver                                    session
//!   greeting due ──── Session::new ─────────►
//!   read n octets ─── receive(now, octets) ─►  framing → command → state
//!   socket upgraded ─ secured(now, facts) ──►
//!   decision made ─── answer(now, verdict) ─►
//!   read side closed  eof(now) ─────────────►
//!   deadline passed ─ timeout(now) ─────────►
//!   stopping ──────── shutdown(now) ────────►
//!                     ◄── poll() ── Output, until there is none
//!                     ◄── deadline()
//! ```
//!
//! It knows no sockets, clock, accounts or files; it decides nothing that needs waiting, but asks.
//! RFC 5321, 6409, 3207, 4954, 2034, 1870, 2920, 3030, 6152, 6531, 8314, 9422.

mod auth;
mod bdat;
mod data;
mod deadline;
mod ehlo;
mod hint;
mod mail;
mod options;
mod rcpt;
mod replies;
mod small;
mod starttls;
mod verdict;

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::SystemTime,
};

pub use options::{Channel, Options, Secured};
pub use replies::{stopping, too_many_connections};
pub use verdict::{
    KeysVerdict, MessageVerdict, Output, Question, RecipientVerdict, SenderVerdict, SignInVerdict,
    Verdict,
};

use crate::{
    envelope::{Envelope, Identity, Moment, Recipient, TlsFacts},
    smtp::{
        COMMAND_MAX, ContentDecoder, DeliverBy, FutureRelease, Line, LineReader, Reply, SASL_MAX,
        Verb,
    },
};

/// One connection's state.
///
/// Call [`poll`](Session::poll) until it gives `None` after `new` and after every other call that
/// takes `&mut self`.
#[derive(Debug)]
pub struct Session {
    options: Arc<Options>,
    channel: Channel,
    hello: Option<Hello>,
    identity: Option<Identity>,
    phase: Phase,
    reader: LineReader,
    outputs: VecDeque<Output>,
    counters: Counters,
    clocks: Clocks,
    /// What a calendar showed when the connection came; without it no mail is put off.
    date: Option<SystemTime>,
    ending: Ending,
}

/// What the session is doing.
///
/// ```text
///            STARTTLS            secured
///   Ready ─────────────► Upgrading ─────► Ready (all else forgotten)
///   Ready ── AUTH ──► SignIn ⇄ responses ──► Asking ──► Ready (signed in, or not)
///   Ready ── MAIL ──► Asking ──► Envelope ── RCPT ──► Asking ──► Envelope
///   Envelope ── DATA ──► Data ── end of data ──► Asking ──► Ready
///   Envelope ── BDAT ──► Chunk ── all octets ──► Envelope; after LAST: Asking ──► Ready
///   any ── BDAT out of place ──► Swallow ── all octets ──► where it came from
///   any ──► Closed
/// ```
#[derive(Debug)]
enum Phase {
    /// Waits for a command; no transaction is open.
    Ready,
    /// The 220 to STARTTLS is with the driver.
    Upgrading,
    /// An AUTH exchange waits for its next response.
    SignIn(Box<auth::SignIn>),
    /// MAIL was accepted; waits for a command.
    Envelope(Box<Transaction>),
    /// Reads mail data behind a 354.
    Data(Box<data::Data>),
    /// Reads the octets of a chunk.
    Chunk(Box<bdat::Chunk>),
    /// Reads octets of a chunk that is refused, before it says so (RFC 3030 §2).
    Swallow(Box<bdat::Swallow>),
    /// Waits for the driver's answer.
    Asking(Box<Asking>),
    /// Nothing is read or said.
    Closed,
}

/// What an open question is about, and what to go on with.
#[derive(Debug)]
enum Asking {
    Keys(Box<auth::SignIn>),
    SignIn(Box<auth::SignIn>),
    Sender(Box<Transaction>),
    Recipient(Box<Transaction>, Recipient),
    Message,
}

/// What EHLO or HELO told.
#[derive(Debug)]
struct Hello {
    name: Box<str>,
    /// EHLO, not HELO.
    extended: bool,
}

/// A transaction, from MAIL on (RFC 5321 §3.3).
#[derive(Debug)]
struct Transaction {
    envelope: Envelope,
    /// Keys of the recipients taken, by which one that comes again is known at once.
    keys: HashSet<String>,
    /// RCPT commands so far, refused ones too (RFC 9422 §4.2).
    rcpt_commands: usize,
    /// Set by the first BDAT.
    chunks: Option<ContentDecoder>,
    /// A chunk failed: only RSET and its like lead out (RFC 3030 §2).
    failed: bool,
    /// What waited behind its first question was looked at.
    hinted: bool,
    /// When it is to be handed on.
    hold: Option<FutureRelease>,
    /// By when it is to be delivered, and when that was asked for.
    deliver_by: Option<(DeliverBy, Moment)>,
}

impl Transaction {
    fn new(envelope: Envelope) -> Self {
        Transaction {
            envelope,
            keys: HashSet::new(),
            rcpt_commands: 0,
            chunks: None,
            failed: false,
            hinted: false,
            hold: None,
            deliver_by: None,
        }
    }

    /// Why no content may come yet, if so.
    fn unready(&self) -> Option<Reply> {
        match (self.envelope.recipients.is_empty(), self.rcpt_commands) {
            (false, _) => None,
            (true, 0) => Some(replies::send_rcpt_first()),
            (true, _) => Some(replies::no_valid_recipients()),
        }
    }
}

#[derive(Debug, Default)]
struct Counters {
    errors: u32,
    sign_in_failures: u32,
    mails: u32,
}

#[derive(Debug)]
struct Clocks {
    /// When the connection came.
    began: Moment,
    /// When the last command was done with.
    idle_since: Moment,
    /// When the first octet of the line under way came.
    line_began: Moment,
    /// When octets last came.
    touched: Moment,
}

/// Whether the session is on its way out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    No,
    /// The server stops: close once the transaction under way is over.
    Stopping,
    /// The client sends nothing more: close once the open question is answered.
    HalfClosed,
}

impl Session {
    /// Begins with the greeting.
    pub fn new(channel: Channel, options: Arc<Options>, now: Moment) -> Self {
        let greeting = replies::greeting(&options);
        Session {
            options,
            channel,
            hello: None,
            identity: None,
            phase: Phase::Ready,
            reader: LineReader::default(),
            outputs: VecDeque::from([Output::Send(greeting)]),
            counters: Counters::default(),
            clocks: Clocks {
                began: now,
                idle_since: now,
                line_began: now,
                touched: now,
            },
            date: None,
            ending: Ending::No,
        }
    }

    /// Tells what a calendar shows as the session begins: its own time has no date.
    #[must_use]
    pub fn dated(mut self, date: SystemTime) -> Self {
        self.date = Some(date);
        self
    }

    /// What a calendar shows now, where mail may be put off (RFC 4865).
    fn calendar(&self) -> Option<SystemTime> {
        let date = self
            .date
            .filter(|_| !self.options.future_release.is_zero())?;
        let since = self.clocks.touched.0.saturating_sub(self.clocks.began.0);
        date.checked_add(since)
    }

    /// The next thing to do, if any.
    pub fn poll(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if self.outputs.is_empty() && self.outputs.capacity() > 0 {
            // An idle session holds no buffer.
            self.outputs = VecDeque::new();
        }
        output
    }

    /// Takes octets from the client and returns how many it consumed.
    ///
    /// Fewer than given, and then none, while a question is open or after the session closed: what
    /// is left waits with the driver.
    pub fn receive(&mut self, now: Moment, octets: &[u8]) -> usize {
        let mut at = 0;
        while at < octets.len() && !matches!(self.phase, Phase::Asking(_) | Phase::Closed) {
            self.clocks.touched = now;
            let rest = &octets[at..];
            at += match &self.phase {
                Phase::Upgrading => self.injected(rest),
                Phase::Data(_) => self.data_octets(now, rest),
                Phase::Chunk(_) => self.chunk_octets(now, rest),
                Phase::Swallow(_) => self.swallowed_octets(now, rest),
                _ => self.command_octets(now, rest),
            };
        }
        self.hint(&octets[at..]);
        at
    }

    /// Whether `receive` would take octets.
    pub fn wants_input(&self) -> bool {
        let busy = matches!(
            self.phase,
            Phase::Asking(_) | Phase::Closed | Phase::Upgrading
        );
        !busy && self.outputs.is_empty() && self.ending != Ending::HalfClosed
    }

    /// The client sends nothing more. What it sent in full is still answered: stopping early would
    /// make it send the message again.
    pub fn eof(&mut self, _now: Moment) {
        match &self.phase {
            Phase::Asking(_) => self.ending = Ending::HalfClosed,
            Phase::Closed => {}
            _ => self.close(),
        }
    }

    /// The server is stopping. The first call lets a transaction under way finish; a second one
    /// does not, but for a message whose end has been read.
    pub fn shutdown(&mut self, _now: Moment) {
        let again = self.ending == Ending::Stopping;
        match &self.phase {
            Phase::Closed => {}
            Phase::Ready | Phase::Upgrading => self.stop(),
            Phase::Asking(_) => self.end_as(Ending::Stopping),
            _ if again => self.stop(),
            _ => self.end_as(Ending::Stopping),
        }
    }

    fn end_as(&mut self, ending: Ending) {
        if self.ending == Ending::No {
            self.ending = ending;
        }
    }

    fn stop(&mut self) {
        self.outputs
            .push_back(Output::Send(stopping(&self.options.hostname)));
        self.close();
    }

    /// The answer to the open question.
    ///
    /// An answer of another kind than the question, or without one, closes the session: the driver
    /// has lost its place, and nothing after that could be trusted.
    pub fn answer(&mut self, now: Moment, verdict: Verdict) {
        let Phase::Asking(asking) = std::mem::replace(&mut self.phase, Phase::Ready) else {
            return self.close();
        };
        match (*asking, verdict) {
            (Asking::Keys(sign_in), Verdict::Keys(verdict)) => self.keys_given(*sign_in, verdict),
            (Asking::SignIn(sign_in), Verdict::SignIn(verdict)) => {
                self.signed_in(*sign_in, verdict);
            }
            (Asking::Sender(transaction), Verdict::Sender(verdict)) => {
                self.sender_decided(transaction, verdict);
            }
            (Asking::Recipient(transaction, recipient), Verdict::Recipient(verdict)) => {
                self.recipient_decided(transaction, recipient, verdict);
            }
            (Asking::Message, Verdict::Message(verdict)) => self.message_decided(verdict),
            _ => return self.close(),
        }
        self.command_done(now);
        if self.ending == Ending::HalfClosed && !matches!(self.phase, Phase::Closed) {
            self.close();
        }
    }

    /// Who signed in.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// The name given in EHLO or HELO: data from the network.
    pub fn client_name(&self) -> Option<&str> {
        self.hello.as_ref().map(|hello| &*hello.name)
    }

    /// The facts of the channel, once it is encrypted.
    pub fn tls(&self) -> Option<&TlsFacts> {
        match &self.channel {
            Channel::Plain => None,
            Channel::Secure(secured) => Some(&secured.facts),
        }
    }

    /// Reads a command line, or a line of an AUTH exchange.
    fn command_octets(&mut self, now: Moment, octets: &[u8]) -> usize {
        if !self.reader.is_mid_line() {
            self.clocks.line_began = now;
        }
        let in_exchange = matches!(self.phase, Phase::SignIn(_));
        let limit = |line: &[u8]| {
            let auth = line
                .get(..5)
                .is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH "));
            if in_exchange || auth {
                SASL_MAX
            } else {
                COMMAND_MAX
            }
        };
        let mut reader = std::mem::take(&mut self.reader);
        let consumed = reader.read(octets, limit, |line, consumed| {
            match line {
                Line::Incomplete => return consumed,
                Line::Whole(line) if in_exchange => self.response(line),
                Line::Whole(line) => self.command(line),
                Line::Endless => self.give_up(replies::endless_line(&self.options)),
                broken => self.broken_line(&broken),
            }
            self.command_done(now);
            consumed
        });
        self.reader = reader;
        consumed
    }

    fn broken_line(&mut self, line: &Line<'_>) {
        let in_exchange = matches!(self.phase, Phase::SignIn(_));
        let reply = match line {
            Line::TooLong(SASL_MAX) => replies::sign_in_line_too_long(),
            Line::TooLong(_) => replies::line_too_long(),
            _ if in_exchange => replies::not_base64(),
            _ => replies::line_not_crlf(),
        };
        if in_exchange {
            self.phase = Phase::Ready;
            self.counters.sign_in_failures += 1;
        }
        self.refuse(reply);
    }

    fn command(&mut self, line: &[u8]) {
        let (verb, argument) = Verb::split(line);
        let takes_utf8 = matches!(
            verb,
            Verb::Mail | Verb::Rcpt | Verb::Vrfy | Verb::Ehlo | Verb::Helo
        );
        let Ok(argument) = std::str::from_utf8(argument) else {
            return self.refuse(replies::line_not_crlf());
        };
        if !line.is_ascii() && !takes_utf8 {
            return self.refuse(replies::line_not_crlf());
        }
        if verb != Verb::Bdat
            && let Some(refusal) = self.barred(verb)
        {
            let clear = matches!(self.channel, Channel::Plain);
            if verb == Verb::Auth && clear && argument.contains([' ', '\t']) {
                self.outputs.push_back(Output::CredentialsInClear);
            }
            return self.refuse(refusal);
        }
        match verb {
            Verb::Ehlo => self.ehlo(argument, ehlo::Greeting::Ehlo),
            Verb::Helo => self.ehlo(argument, ehlo::Greeting::Helo),
            Verb::StartTls => self.starttls(argument),
            Verb::Auth => self.auth(argument),
            Verb::Mail => self.mail(argument),
            Verb::Rcpt => self.rcpt(argument),
            Verb::Data => self.data(argument),
            Verb::Bdat => self.bdat(argument),
            Verb::Rset => self.rset(argument),
            Verb::Noop => self.send(replies::noop()),
            Verb::Vrfy => self.vrfy(argument),
            Verb::Expn => self.refuse(replies::not_implemented("EXPN")),
            Verb::Burl => self.refuse(replies::not_implemented("BURL")),
            Verb::Foreign(name) => self.refuse(replies::not_implemented(name)),
            Verb::Help => self.send(replies::help(&self.options)),
            Verb::Quit => self.quit(argument),
            Verb::Lhlo => self.refuse(replies::not_lmtp()),
            Verb::Http => self.give_up(replies::not_http(&self.options)),
            Verb::Unknown => self.refuse(replies::unknown_command()),
        }
    }

    /// Why this command may not come yet, whatever its argument (RFC 3207 §4, 4954 §6).
    fn barred(&self, verb: Verb) -> Option<Reply> {
        if matches!(verb, Verb::Unknown | Verb::Lhlo | Verb::Http) {
            return None;
        }
        if matches!(self.channel, Channel::Plain) {
            let free = matches!(verb, Verb::Ehlo | Verb::Noop | Verb::StartTls | Verb::Quit);
            return (!free).then(replies::start_tls_first);
        }
        let needs_identity = matches!(
            verb,
            Verb::Mail | Verb::Rcpt | Verb::Data | Verb::Bdat | Verb::Burl | Verb::Expn
        );
        (needs_identity && self.identity.is_none()).then(replies::sign_in_first)
    }

    /// A command is over, whatever came of it.
    fn command_done(&mut self, now: Moment) {
        self.clocks.idle_since = now;
        let idle = matches!(self.phase, Phase::Ready);
        if self.counters.errors > self.options.errors && !matches!(self.phase, Phase::Closed) {
            return self.give_up(replies::too_many_errors(&self.options));
        }
        if idle && self.ending == Ending::Stopping {
            self.stop();
        }
    }

    fn ask(&mut self, asking: Asking, question: Question) {
        self.phase = Phase::Asking(Box::new(asking));
        self.outputs.push_back(Output::Ask(question));
    }

    fn send(&mut self, reply: Reply) {
        self.outputs.push_back(Output::Send(reply));
    }

    /// Sends a reply to something that the client did wrong, and counts it.
    fn refuse(&mut self, reply: Reply) {
        self.counters.errors = self.counters.errors.saturating_add(1);
        self.send(reply);
    }

    /// Sends a last reply and closes.
    fn give_up(&mut self, reply: Reply) {
        self.send(reply);
        self.close();
    }

    /// Drops the transaction under way, and its content if any was handed on.
    fn reset(&mut self) {
        let content = match &self.phase {
            Phase::Data(_) | Phase::Chunk(_) => true,
            Phase::Envelope(transaction) => transaction.chunks.is_some(),
            Phase::Swallow(swallow) => swallow.holds_content(),
            Phase::Ready
            | Phase::Upgrading
            | Phase::SignIn(_)
            | Phase::Asking(_)
            | Phase::Closed => false,
        };
        if content {
            self.outputs.push_back(Output::ContentAbort);
        }
        self.phase = Phase::Ready;
    }

    fn close(&mut self) {
        self.reset();
        self.phase = Phase::Closed;
        self.outputs.push_back(Output::Close);
    }
}
