//! One attempt by one transport.
//!
//! A transport is given a message in custody and those of its recipients that share a next hop,
//! and answers with one outcome for each. It knows neither the queue nor the schedule: what
//! follows an outcome is decided elsewhere, and so is who waits for whom. Custody is read here and
//! never changed.

pub mod hop;
mod maildir;
mod mx;
pub mod smtp;
mod tls_results;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;

pub use tls_results::TlsResults;

use crate::{
    client::Protocol,
    dkim::Dkim,
    envelope::{BodyType, Link, Outcome, Protection, QueueId, Status, Timing, TlsWish},
    policy::{
        routes::{Route, Transport},
        security::{Levels, Requirement},
    },
    reach::Reach,
    smtp::{Domain, EnhancedCode, EnvelopeId, Return, ReversePath},
    spool::{Content, DueRecipient, Try},
};

/// How the transports of this node are set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of this host; part of each Maildir file name (from `hostname`).
    pub hostname: String,
    /// Maildir attempts that may block a thread at once (default 64).
    ///
    /// Fewer than the queue's attempts in all, and a slow disk below one route keeps the others
    /// waiting.
    pub maildir_writers: usize,
    /// How hosts of other next hops are spoken to.
    pub hops: hop::Options,
    /// What the operator asks of hand-offs to mail hosts.
    pub levels: Levels,
}

/// One message on its way to one next hop.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The message.
    pub id: QueueId,
    /// Login name of the account that submitted it; none for our own reports.
    pub account: Option<Arc<str>>,
    /// Where reports go; becomes `Return-Path` in a Maildir.
    pub sender: ReversePath,
    /// Nature of the octets.
    pub body: BodyType,
    /// RET (RFC 3461 §4.3).
    pub ret: Option<Return>,
    /// ENVID (RFC 3461 §4.4).
    pub envelope_id: Option<EnvelopeId>,
    /// What its hand-offs must be protected by.
    pub protection: Protection,
    /// Before which others, and until when, it is to travel.
    pub timing: Timing,
    /// When custody was taken.
    pub received_at: SystemTime,
    /// What to hand over.
    pub content: Content,
    /// To whom: all of them served by `route`.
    pub recipients: Vec<DueRecipient>,
    /// By which transport.
    pub route: Arc<Route>,
}

impl Attempt {
    /// What is asked of hosts.
    fn asks(&self) -> Protection {
        self.protection.of_hosts(&self.sender)
    }

    /// Whether only hosts that promise REQUIRETLS may have it.
    fn must_pass_requiretls_on(&self) -> bool {
        self.asks().tls == TlsWish::Required
    }
}

/// What an attempt came to.
#[derive(Clone, Debug)]
#[must_use]
pub struct Attempted {
    /// One for each recipient, in their order; none where the next hop had no room in this
    /// transaction, and another attempt is to follow at once.
    pub results: Vec<Option<RecipientResult>>,
    /// Hosts that were tried before one served, or none did.
    pub in_vain: Arc<[Try]>,
    /// Whether the next hop is worth another attempt soon.
    pub standing: Standing,
}

/// What an attempt came to for one recipient.
#[derive(Clone, Debug)]
pub struct RecipientResult {
    /// What became of it.
    pub outcome: Outcome,
    /// By which link; none where nobody was spoken to.
    pub link: Option<Arc<Link>>,
    /// Set where it was deferred, or failed, for want of protection.
    pub unprotected: Option<Unprotected>,
}

/// What was asked of hosts that did not live up to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unprotected {
    /// What the hand-off required; none where the route alone says so.
    pub required: Option<Requirement>,
    /// How many hosts fell short in this attempt.
    pub hosts: u32,
}

/// Whether a next hop answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// It did, whatever it said of the message.
    Answers,
    /// None of its hosts could be spoken to; there is no use in trying before this time is over.
    Silent(Duration),
    /// Nobody asked it.
    Unknown,
}

impl Attempted {
    /// By a transport of this machine, which is always there.
    pub fn local(outcomes: Vec<Outcome>) -> Self {
        let results = outcomes.into_iter().map(|outcome| {
            Some(RecipientResult {
                outcome,
                link: None,
                unprotected: None,
            })
        });
        Attempted {
            results: results.collect(),
            in_vain: Arc::default(),
            standing: Standing::Answers,
        }
    }

    /// Without the next hop having been asked.
    pub fn unasked(outcomes: Vec<Outcome>) -> Self {
        Attempted {
            standing: Standing::Unknown,
            ..Attempted::local(outcomes)
        }
    }
}

/// Every transport.
#[derive(Clone)]
pub struct Deliver {
    maildir: Arc<ArcSwap<maildir::Maildirs>>,
    hops: Arc<ArcSwap<hop::Hops>>,
    levels: Arc<ArcSwap<Levels>>,
    reach: Reach,
    dkim: Arc<Dkim>,
    results: TlsResults,
}

impl Deliver {
    /// Transports set up so; `reach` knows what recipients' domains publish, and `dkim` signs copies
    /// that had to be changed.
    pub fn new(options: Options, reach: Reach, dkim: Arc<Dkim>) -> Self {
        let hops = hop::Hops::new(options.hops, dkim.clone());
        Deliver {
            maildir: Arc::new(ArcSwap::from_pointee(maildir::Maildirs::new(
                &options.hostname,
                options.maildir_writers,
            ))),
            hops: Arc::new(ArcSwap::from_pointee(hops)),
            levels: Arc::new(ArcSwap::from_pointee(options.levels)),
            reach,
            dkim,
            results: TlsResults::default(),
        }
    }

    /// Tells of the TLS of sessions with mail hosts.
    pub fn counted_by(mut self, results: TlsResults) -> Self {
        self.results = results;
        self
    }

    /// Other settings, for attempts that begin from here on; clones have them too.
    ///
    /// Connections that wait for mail are not used any more: passwords or certificates may be
    /// others.
    pub fn reload(&self, options: Options) {
        let maildir = maildir::Maildirs::new(&options.hostname, options.maildir_writers);
        self.maildir.store(Arc::new(maildir));
        self.levels.store(Arc::new(options.levels));
        let hops = hop::Hops::new(options.hops, self.dkim.clone());
        let before = self.hops.swap(Arc::new(hops));
        tokio::spawn(async move { before.close().await });
    }

    /// Removes temporary files of a process before this one. Blocks; call it before mail moves.
    pub fn sweep(&self) {
        self.hops.load().sweep();
    }

    /// Hosts that could not be spoken to are tried again at once.
    pub fn forgive(&self) {
        self.hops.load().forgive();
    }

    /// Ends connections that wait for mail, politely.
    pub async fn close(&self) {
        self.hops.load_full().close().await;
    }

    /// By which hosts a domain is served on a route to mail hosts: a name that domains with the same
    /// hosts share; nothing on other routes, and where it is not known.
    ///
    /// Waits for the DNS as long as its options have it.
    pub async fn site(&self, route: &Route, domain: &Domain) -> Option<Box<str>> {
        let Transport::Mx(_) = route.transport else {
            return None;
        };
        let hosts = self.reach.hosts(domain).await.ok()?;
        Some(hosts.site().into())
    }

    /// Makes one attempt; the outcomes stand in the order of the recipients.
    ///
    /// Never blocks the calling thread. A fault of ours, a panic included, defers.
    pub async fn attempt(&self, attempt: Attempt) -> Attempted {
        let route = attempt.route.clone();
        match &route.transport {
            Transport::Maildir { path, .. } => {
                let maildirs = self.maildir.load_full();
                // Files in a Maildir are lines.
                let copy = match attempt.body {
                    BodyType::SevenBit | BodyType::EightBitMime => None,
                    BodyType::Binary => {
                        let hops = self.hops.load_full();
                        match hops.in_lines(&attempt.content).await {
                            Ok(copy) => Some(copy),
                            Err(outcome) => {
                                return Attempted::local(vec![outcome; attempt.recipients.len()]);
                            }
                        }
                    }
                };
                let attempt = match &copy {
                    Some(copy) => Attempt {
                        content: copy.content.clone(),
                        body: BodyType::SevenBit,
                        ..attempt
                    },
                    None => attempt,
                };
                Attempted::local(maildirs.attempt(path, attempt).await)
            }
            Transport::Discard => {
                let thrown = Status::new(EnhancedCode::new(2, 0, 0), "thrown away");
                let outcome = Outcome::Delivered(thrown);
                Attempted::local(vec![outcome; attempt.recipients.len()])
            }
            Transport::Lmtp { hop, .. } => {
                let hops = self.hops.load_full();
                hops.attempt(hop, Protocol::Lmtp, &attempt).await
            }
            Transport::Relay(hop) => {
                let hops = self.hops.load_full();
                hops.attempt(hop, Protocol::Smtp, &attempt).await
            }
            Transport::Mx(mx) => {
                let (hops, levels) = (self.hops.load_full(), self.levels.load_full());
                mx::attempt(&hops, &self.reach, &levels, &self.results, mx, &attempt).await
            }
        }
    }
}

/// A transient outcome with this subject and detail (RFC 3463 §3).
fn deferred(subject: u16, detail: u16, text: impl Into<String>) -> Outcome {
    Outcome::Deferred(Status::new(EnhancedCode::new(4, subject, detail), text))
}
