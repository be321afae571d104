//! One attempt by one transport.
//!
//! A transport is given a message in custody and those of its recipients that share a next hop,
//! and answers with one outcome for each. It knows neither the queue nor the schedule: what
//! follows an outcome is decided elsewhere, and so is who waits for whom. Custody is read here and
//! never changed.

mod maildir;

use std::{sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;

use crate::{
    envelope::{Outcome, QueueId, Status},
    policy::routes::{Route, Transport},
    smtp::{EnhancedCode, ReversePath},
    spool::{Content, DueRecipient},
};

/// How the transports of this node are set up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// Name of this host; part of each Maildir file name (from `hostname`).
    pub hostname: String,
    /// Maildir attempts that may block a thread at once (default 64).
    ///
    /// Fewer than the queue's attempts in all, and a slow disk below one route keeps the others
    /// waiting.
    pub maildir_writers: usize,
}

/// One message on its way to one next hop.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The message.
    pub id: QueueId,
    /// Where reports go; becomes `Return-Path` in a Maildir.
    pub sender: ReversePath,
    /// When custody was taken.
    pub received_at: SystemTime,
    /// What to hand over.
    pub content: Content,
    /// To whom: all of them served by `route`.
    pub recipients: Vec<DueRecipient>,
    /// By which transport.
    pub route: Arc<Route>,
}

/// Every transport.
#[derive(Clone, Debug)]
pub struct Deliver {
    maildir: Arc<ArcSwap<maildir::Maildirs>>,
}

impl Deliver {
    /// Transports set up so.
    pub fn new(options: Options) -> Self {
        Deliver {
            maildir: Arc::new(ArcSwap::from_pointee(maildir::Maildirs::new(&options))),
        }
    }

    /// Other settings, for attempts that begin from here on; clones have them too.
    pub fn reload(&self, options: Options) {
        let maildir = maildir::Maildirs::new(&options);
        self.maildir.store(Arc::new(maildir));
    }

    /// Makes one attempt; the outcomes stand in the order of the recipients.
    ///
    /// Never blocks the calling thread. A fault of ours, a panic included, defers.
    pub async fn attempt(&self, attempt: Attempt) -> Vec<Outcome> {
        let route = attempt.route.clone();
        match &route.transport {
            Transport::Maildir { path, .. } => {
                let maildirs = self.maildir.load_full();
                maildirs.attempt(path, attempt).await
            }
        }
    }
}

/// A transient outcome with this subject and detail (RFC 3463 §3).
fn deferred(subject: u16, detail: u16, text: impl Into<String>) -> Outcome {
    Outcome::Deferred(Status::new(EnhancedCode::new(4, subject, detail), text))
}
