//! The client half of a connection, as a machine without I/O: SMTP and LMTP.
//!
//! One machine is one connection and any number of transactions. The driver feeds it octets, time
//! and content, and carries out what it says:
//!
//! ```text
//! driver                                    client
//!   connected ──────── Client::new ─────────►
//!   read n octets ──── receive(now, octets) ►  framing → reply → state
//!   handshake done ─── secured(now, how) ───►
//!   key worked out ─── derived(now, key) ───►
//!   a message ──────── begin(now, message) ─►  after Output::Ready
//!   a piece of it ──── content(now, octets) ►  after Output::NeedContent
//!   nothing more ───── quit(now) ───────────►  after Output::Ready
//!   read side closed   eof(now) ────────────►
//!   deadline passed ── timeout(now) ────────►
//!   stopping ───────── abort(now, why) ─────►
//!                      ◄── poll() ── Output, until there is none
//!                      ◄── deadline()
//! ```
//!
//! It reads replies while content is on its way, so the driver does better to read while it
//! writes: a hop that gives up says so early. It knows no sockets, clock, randomness, route or
//! queue, and does not decide when to try again. RFC 5321, 2033, 1870, 2034, 2920, 3030, 3207,
//! 3461, 4954, 6152, 6531, 9422.

mod auth;
mod commands;
mod content;
mod deadline;
mod extensions;
mod hello;
mod message;
mod options;
mod output;
mod starttls;
mod stuffing;
mod transaction;
mod verdict;

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

pub use auth::Mechanism;
pub use extensions::{Extensions, Limits};
pub use message::{Message, NeedsSevenBit, ParameterValue, Recipient};
pub use options::{Channel, Credentials, Options, Protocol, Security, Timeouts};
pub use output::{Output, Secret};
pub use verdict::{Cause, Failure, Fate};

use crate::{
    envelope::{Moment, Status},
    sasl::NONCE_OCTETS,
    smtp::{ReceivedReply, ReplyClass, ReplyReader},
};
use transaction::Transaction;

/// One connection's state.
///
/// Call [`poll`](Client::poll) until it gives `None` after `new` and after every other call that
/// takes `&mut self`.
#[derive(Debug)]
pub struct Client {
    options: Arc<Options>,
    channel: Channel,
    phase: Phase,
    extensions: Extensions,
    /// Somebody signed in.
    signed_in: bool,
    vouching: commands::Vouching,
    reader: ReplyReader,
    outputs: VecDeque<Output>,
    nonce: [u8; NONCE_OCTETS],
    /// When the wait under way began.
    since: Moment,
    mails: usize,
    /// Domains of recipients so far, counted only where the hop limits them.
    domains: HashSet<String>,
    ending: Ending,
}

/// What the client is doing.
///
/// ```text
/// Greeting ──► Hello ──► StartTls ──► Upgrading ── secured ──► Hello
///                │
///                ├──► SignIn ⇄ challenges ──► Ready
///                └──► Ready ── begin ──► Envelope ──► Content ──► Verdict ──► Ready
///                                           │            └── refused ──► Resetting ──► Ready
///                                           ├── nobody taken ──► Resetting ──► Ready
///                                           └── MAIL misread ──► Rewinding ──► Envelope
/// any ──► Quitting ──► Closed
/// ```
#[derive(Debug)]
enum Phase {
    /// Waits for the 220.
    Greeting,
    /// Waits for the answer to EHLO, HELO or LHLO.
    Hello(hello::Word),
    /// Waits for the 220 to STARTTLS.
    StartTls,
    /// The handshake is with the driver.
    Upgrading,
    /// An AUTH exchange.
    SignIn(Box<auth::SignIn>),
    /// Waits for the driver.
    Ready,
    /// MAIL, RCPT and DATA are on their way, or their answers.
    Envelope(Box<Transaction>),
    /// The content is on its way.
    Content(Box<content::Content>),
    /// Everything is said; waits for the last answer or answers.
    Verdict(Box<Transaction>),
    /// Waits for the answer to RSET.
    Resetting,
    /// The same, to say the envelope again.
    Rewinding(Box<Transaction>),
    /// Waits for the answer to QUIT.
    Quitting,
    /// Nothing is read or said.
    Closed,
}

/// Whether further transactions are wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    No,
    /// QUIT as soon as nothing is under way.
    Soon,
}

impl Client {
    /// Begins to wait for the greeting. `nonce` is random, and used once if at all.
    pub fn new(
        channel: Channel,
        options: Arc<Options>,
        nonce: [u8; NONCE_OCTETS],
        now: Moment,
    ) -> Self {
        Client {
            options,
            channel,
            phase: Phase::Greeting,
            extensions: Extensions::default(),
            signed_in: false,
            vouching: commands::Vouching::Untold,
            reader: ReplyReader::default(),
            outputs: VecDeque::new(),
            nonce,
            since: now,
            mails: 0,
            domains: HashSet::new(),
            ending: Ending::No,
        }
    }

    /// The next thing to do, if any.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// What the hop offers, as far as is known.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// How the connection stands.
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// Whether a sign-in has succeeded.
    pub fn is_signed_in(&self) -> bool {
        self.signed_in
    }

    /// Whether `begin` may be called.
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// Whether the connection is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Takes octets from the hop and returns how many it consumed: all, unless it closed.
    pub fn receive(&mut self, now: Moment, octets: &[u8]) -> usize {
        let mut at = 0;
        // The last answer that was due is here: what follows answers nothing.
        let mut surplus = false;
        while at < octets.len() && !self.is_closed() {
            if matches!(self.phase, Phase::Upgrading) {
                self.injected();
                return octets.len();
            }
            let (consumed, result) = self.reader.read(&octets[at..]);
            at += consumed;
            match result {
                None => {}
                Some(Err(fault)) => {
                    let status = verdict::ours(5, 0, self.waiting_text(&fault.to_string()));
                    self.fail(Cause::Protocol, status);
                }
                Some(Ok(reply)) if reply.code() == 421 => self.ended_by_hop(&reply),
                Some(Ok(reply)) => {
                    let due = self.answers_due();
                    if surplus || due == 0 {
                        let text = format!("reply that nothing had asked for: {}", reply.text());
                        self.fail(Cause::Protocol, verdict::ours(5, 0, text));
                    } else {
                        surplus = due == 1;
                        self.since = now;
                        self.reply(now, &reply);
                    }
                }
            }
        }
        if surplus && self.reader.is_mid_reply() && self.answers_due() > 0 {
            let text = "reply that nothing had asked for";
            self.fail(Cause::Protocol, verdict::ours(5, 0, text));
        }
        at
    }

    /// How many replies the hop still owes.
    fn answers_due(&self) -> usize {
        match &self.phase {
            Phase::Greeting
            | Phase::Hello(_)
            | Phase::StartTls
            | Phase::Resetting
            | Phase::Rewinding(_)
            | Phase::Quitting => 1,
            Phase::SignIn(sign_in) => sign_in.answers_due(),
            Phase::Envelope(transaction) => transaction.answers_due(),
            // An early answer is not due, but means something.
            Phase::Content(_) => 1,
            Phase::Verdict(transaction) => transaction.verdicts_due(self.options.protocol),
            Phase::Upgrading | Phase::Ready | Phase::Closed => 0,
        }
    }

    fn reply(&mut self, now: Moment, reply: &ReceivedReply) {
        match &self.phase {
            Phase::Greeting => self.greeted(reply),
            Phase::Hello(word) => self.helloed(*word, reply),
            Phase::StartTls => self.starttls_answered(reply),
            Phase::SignIn(_) => self.sign_in_answered(reply),
            Phase::Envelope(_) => self.envelope_answered(now, reply),
            Phase::Content(_) => self.content_answered(reply),
            Phase::Verdict(_) => self.verdict_given(reply),
            Phase::Resetting => self.reset_answered(reply),
            Phase::Rewinding(_) => self.rewound(reply),
            Phase::Quitting => self.close(),
            Phase::Upgrading | Phase::Ready | Phase::Closed => {}
        }
    }

    /// The hop sends nothing more.
    pub fn eof(&mut self, _now: Moment) {
        match &self.phase {
            Phase::Closed => {}
            Phase::Quitting => self.close(),
            _ => {
                let status = verdict::ours(4, 2, self.waiting_text("connection lost"));
                self.fail(Cause::Lost, status);
            }
        }
    }

    /// Ends at once on our side: `why` becomes the reason of every recipient not yet decided.
    ///
    /// For content that cannot be read, a connection that broke while writing, or a server that
    /// stops. A message that is not complete by then is not delivered: its end is never sent.
    pub fn abort(&mut self, _now: Moment, why: &str) {
        if !self.is_closed() {
            self.fail(Cause::Local, verdict::ours(4, 2, why));
        }
    }

    /// No further transaction is wanted: says QUIT as soon as nothing is under way.
    pub fn quit(&mut self, now: Moment) {
        self.ending = Ending::Soon;
        if self.is_ready() {
            self.since = now;
            self.say_quit();
        }
    }

    /// Nothing is under way.
    fn ready(&mut self) {
        if self.ending == Ending::Soon {
            return self.say_quit();
        }
        self.phase = Phase::Ready;
        self.outputs.push_back(Output::Ready);
    }

    /// Gives up before any message, politely: the hop is in order, but not for us.
    fn refuse_hop(&mut self, cause: Cause, status: Status) {
        let failure = Failure { cause, status };
        self.outputs.push_back(Output::Failed(failure));
        self.say_quit();
    }

    fn say_quit(&mut self) {
        self.send("QUIT");
        self.phase = Phase::Quitting;
    }

    /// 421 may come at any point (RFC 5321 §3.8).
    fn ended_by_hop(&mut self, reply: &ReceivedReply) {
        self.fail(Cause::Ending, verdict::transient(reply));
    }

    /// A reply of a class that cannot stand here: nothing behind it could be trusted.
    fn out_of_place(&mut self, reply: &ReceivedReply) {
        self.fail(Cause::Protocol, verdict::out_of_place(reply));
    }

    /// The connection is of no use; whoever is not decided yet is deferred.
    fn fail(&mut self, cause: Cause, status: Status) {
        let phase = std::mem::replace(&mut self.phase, Phase::Closed);
        // What was to be sent or asked for is void; what was found out is not.
        self.outputs
            .retain(|output| matches!(output, Output::Done(_) | Output::Failed(_)));
        match phase {
            Phase::Envelope(transaction)
            | Phase::Rewinding(transaction)
            | Phase::Verdict(transaction) => {
                self.outputs
                    .push_back(Output::Done(transaction.end(&Fate::Deferred(status))));
            }
            Phase::Content(content) => {
                let fates = content.transaction.end(&Fate::Deferred(status));
                self.outputs.push_back(Output::Done(fates));
            }
            // The messages are decided, or the failure is told.
            Phase::Quitting | Phase::Closed => {}
            Phase::Greeting
            | Phase::Hello(_)
            | Phase::StartTls
            | Phase::Upgrading
            | Phase::SignIn(_)
            | Phase::Ready
            | Phase::Resetting => {
                let failure = Failure { cause, status };
                self.outputs.push_back(Output::Failed(failure));
            }
        }
        self.close();
    }

    fn close(&mut self) {
        self.phase = Phase::Closed;
        self.outputs.push_back(Output::Close);
    }

    fn send(&mut self, command: &str) {
        let octets = format!("{command}\r\n").into_bytes();
        self.outputs.push_back(Output::Send(octets));
    }

    fn reset(&mut self) {
        self.send("RSET");
        self.phase = Phase::Resetting;
    }

    fn reset_answered(&mut self, reply: &ReceivedReply) {
        match reply.class() {
            ReplyClass::Positive => self.ready(),
            // Whatever it means: a fresh connection is cheaper than to find out.
            _ => self.say_quit(),
        }
    }
}
