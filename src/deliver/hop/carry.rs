//! One message on one connection after another, until every recipient is decided.

use std::{sync::Arc, time::SystemTime};

use super::{
    Hops,
    outbound::{self, CopyError, SevenBit},
    way::Way,
};
use crate::{
    client::{Extensions, Fate, Protocol},
    deliver::{
        Attempt, RecipientResult,
        smtp::{Connection, Reach, Sent, Standing},
    },
    envelope::{BodyType, Link, Outcome, Reporting, Status, TlsWish, Voice},
    smtp::{ByMode, EnhancedCode, Mailbox, Notify},
    spool::{Content, DueRecipient},
};

/// What is decided of a message's recipients, and what is left.
pub(super) struct Carry<'a> {
    attempt: &'a Attempt,
    protocol: Protocol,
    hops: &'a Hops,
    results: Vec<Option<RecipientResult>>,
    copy: Option<SevenBit>,
}

/// What came of a connection.
pub(super) enum Carried {
    /// All recipients are decided.
    Through,
    /// Some are left for a fresh connection to the same host.
    Anew,
    /// The host had no room for some, who are next; what is decided is to be written down first.
    Turn,
    /// The message must be passed on with REQUIRETLS, and the host does not offer it here (RFC 8689
    /// §4.2.1). Nothing of it was said.
    CannotPassOn(Arc<Link>, Status),
    /// The connection broke before anything of the content was said; nobody was decided for that.
    Lost(Arc<Link>, Status),
    /// It broke later: whoever was not refused is deferred, for the host may have the message.
    Broke(Status),
}

impl<'a> Carry<'a> {
    pub(super) fn new(attempt: &'a Attempt, protocol: Protocol, hops: &'a Hops) -> Self {
        Carry {
            attempt,
            protocol,
            hops,
            results: vec![None; attempt.recipients.len()],
            copy: None,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.results.iter().all(Option::is_some)
    }

    /// The results, with this one for everybody who has none.
    pub(super) fn results(self, rest: Option<&RecipientResult>) -> Vec<Option<RecipientResult>> {
        let results = self.results.into_iter();
        results.map(|it| it.or_else(|| rest.cloned())).collect()
    }

    /// Hands over as much as this connection takes.
    pub(super) async fn with(&mut self, connection: &mut Connection, way: &Way) -> Carried {
        let wants = self.attempt.protection.tls == TlsWish::Required;
        let passes = connection.passes_requiretls_on();
        let link = Arc::new(Link {
            mx: way.mx,
            requiretls: wants.then_some(passes),
            ..connection.link().clone()
        });
        // A program that keeps mailboxes is where the way ends: a link to it that is near or proved
        // is all that its route lets through.
        if self.attempt.must_pass_requiretls_on() && !passes && self.protocol == Protocol::Smtp {
            let (detail, text) = match link.tls {
                Some(_) => (
                    30,
                    "the next hop does not offer REQUIRETLS, which the message asks for",
                ),
                None => (
                    10,
                    "the link to the next hop is not encrypted, and the message asks for REQUIRETLS",
                ),
            };
            let status = Status::new(EnhancedCode::new(4, 7, detail), text);
            return Carried::CannotPassOn(link, status);
        }
        if self.protocol == Protocol::Smtp
            && let Some(outcome) = self.out_of_time(connection.extensions())
        {
            self.decide_all(&self.left(), &outcome, &link);
            return Carried::Through;
        }
        loop {
            let left = self.left();
            if left.is_empty() {
                return Carried::Through;
            }
            if connection.standing() == Standing::Closed {
                return Carried::Anew;
            }
            let sent = match self.send(connection, &left).await {
                Ok(sent) => sent,
                Err(error) => {
                    self.decide_all(&left, &unconverted(&error), &link);
                    return Carried::Through;
                }
            };
            let was_lost = sent.standing == Standing::Closed && sent.reach == Reach::NoContent;
            if was_lost && let Some(status) = lost(&sent) {
                return Carried::Lost(link, status);
            }
            let broke = match sent.standing {
                Standing::Closed => broken(&sent),
                Standing::Ready => None,
            };
            if self.decide(&left, sent.fates, connection, &link) {
                if broke.is_none() && !self.is_done() {
                    return Carried::Turn;
                }
            } else if connection.standing() == Standing::Closed && connection.transactions() > 1 {
                // What it had carried before left no room for these.
                return Carried::Anew;
            } else {
                // The host decides nobody, whatever is asked: it is not asked for ever.
                let text = "the next hop takes no further recipient";
                let nobody = Outcome::Deferred(Status::new(EnhancedCode::new(4, 5, 3), text));
                self.decide_all(&left, &nobody, &link);
            }
            if let Some(status) = broke {
                return Carried::Broke(status);
            }
        }
    }

    /// Why a hop that offers this may not have mail that is to be returned at its deadline, if so
    /// (RFC 2852 §4.1.4.1). No other host is asked: they should all be alike (§7).
    fn out_of_time(&self, extensions: &Extensions) -> Option<Outcome> {
        let deadline = self.attempt.timing.deadline?;
        if deadline.mode != ByMode::Return {
            return None;
        }
        let left = deadline.left(SystemTime::now()).seconds;
        if left < 1 {
            let text = "the time in which it was to be delivered is over";
            let status = Status::new(EnhancedCode::new(4, 4, 7), text);
            return Some(Outcome::Deferred(status));
        }
        let text = match extensions.deliver_by {
            None => "the message is to be delivered by a given time or returned, and the next hop \
                     does not offer DELIVERBY"
                .to_owned(),
            Some(Some(least)) if i64::from(least) > left => format!(
                "the message is to be delivered within {left} seconds or returned, and the next \
                 hop promises nothing below {least}"
            ),
            Some(_) => return None,
        };
        let status = Status::new(EnhancedCode::new(5, 3, 3), text);
        Some(Outcome::Failed(status))
    }

    /// Whether the sender is told that this hop has it.
    fn is_traced(&self, extensions: &Extensions) -> bool {
        let Some(deadline) = self.attempt.timing.deadline else {
            return false;
        };
        let in_time = !deadline.is_over(SystemTime::now());
        deadline.is_traced || (extensions.deliver_by.is_none() && in_time)
    }

    fn left(&self) -> Vec<usize> {
        let undecided = |(at, result): (usize, &Option<_>)| result.is_none().then_some(at);
        self.results
            .iter()
            .enumerate()
            .filter_map(undecided)
            .collect()
    }

    /// Sends to these recipients, in a 7-bit copy where the host needs one.
    async fn send(
        &mut self,
        connection: &mut Connection,
        left: &[usize],
    ) -> Result<Sent, CopyError> {
        let original = &self.attempt.content;
        let body = self.attempt.body;
        if self.copy.is_none() {
            let message = self.message(left, original, body, connection);
            // What it needs is found out before anything is said.
            if let Ok(sent) = connection.send(message, original.clone()).await {
                return Ok(sent);
            }
            let copy = outbound::seven_bit(original, self.hops).await?;
            self.copy = Some(copy);
        }
        let copy = self.copy.as_ref().map(|copy| copy.content.clone());
        let copy = copy.unwrap_or_else(|| original.clone());
        let message = self.message(left, &copy, BodyType::SevenBit, connection);
        let sent = connection.send(message, copy).await;
        // A 7-bit message is refused by nobody for its octets.
        sent.map_err(|_| CopyError::Panicked)
    }

    fn message(
        &self,
        left: &[usize],
        content: &Content,
        body: BodyType,
        connection: &Connection,
    ) -> crate::client::Message {
        let recipients = left
            .iter()
            .filter_map(|at| self.attempt.recipients.get(*at));
        let recipients = recipients.map(|recipient| match self.protocol {
            Protocol::Smtp => recipient.clone(),
            // We tell of a delivery to a mailbox ourselves; twice would be too often.
            Protocol::Lmtp => DueRecipient {
                address: self.lmtp_address(recipient),
                notify: recipient.notify.map(Notify::without_success),
                ..recipient.clone()
            },
        });
        let recipients: Vec<_> = recipients.collect();
        let extensions = connection.extensions();
        let mut message = outbound::message(self.attempt, &recipients, content, body, extensions);
        message.requiretls &= connection.passes_requiretls_on();
        message
    }

    /// The address, with the folder as its detail where a copy is to be filed.
    fn lmtp_address(&self, recipient: &DueRecipient) -> Mailbox {
        let folder = self.attempt.route.transport.sent_folder();
        match folder.filter(|_| recipient.is_copy) {
            Some(folder) => recipient.address.with_detail(folder),
            None => recipient.address.clone(),
        }
    }

    /// Writes down who is decided; whether anybody is.
    fn decide(
        &mut self,
        left: &[usize],
        fates: Vec<Fate>,
        connection: &Connection,
        link: &Arc<Link>,
    ) -> bool {
        let mut somebody = false;
        for (at, fate) in left.iter().zip(fates) {
            let outcome = match fate {
                Fate::Again(_) => continue,
                Fate::Accepted(status) => match self.protocol {
                    Protocol::Lmtp => Outcome::Delivered(status),
                    Protocol::Smtp if self.is_traced(connection.extensions()) => {
                        Outcome::Relayed(status, Reporting::Traced)
                    }
                    Protocol::Smtp if connection.extensions().dsn => {
                        Outcome::Relayed(status, Reporting::Promised)
                    }
                    Protocol::Smtp => Outcome::Relayed(status, Reporting::None),
                },
                Fate::Deferred(status) => Outcome::Deferred(status),
                Fate::Failed(status) => Outcome::Failed(status),
            };
            somebody = true;
            self.results[*at] = Some(RecipientResult {
                outcome,
                link: Some(link.clone()),
                unprotected: None,
            });
        }
        somebody
    }

    fn decide_all(&mut self, left: &[usize], outcome: &Outcome, link: &Arc<Link>) {
        for at in left {
            self.results[*at] = Some(RecipientResult {
                outcome: outcome.clone(),
                link: Some(link.clone()),
                unprotected: None,
            });
        }
    }
}

/// Why nobody was decided, where nobody was.
fn lost(sent: &Sent) -> Option<Status> {
    let mut why = None;
    for fate in &sent.fates {
        match fate {
            Fate::Deferred(status) => why = Some(status.clone()),
            Fate::Again(_) | Fate::Accepted(_) | Fate::Failed(_) => return None,
        }
    }
    why
}

/// Why the connection broke, where it did while the message was on its way.
fn broken(sent: &Sent) -> Option<Status> {
    let ours = |fate: &Fate| match fate {
        Fate::Deferred(status) => (status.voice == Voice::Ours).then(|| status.clone()),
        Fate::Again(_) | Fate::Accepted(_) | Fate::Failed(_) => None,
    };
    match sent.reach {
        Reach::SomeContent => sent.fates.iter().find_map(ours),
        Reach::NoContent => None,
    }
}

/// 5.6.3 where a conversion is required and not to be had (RFC 3463 §3.7).
pub(super) fn unconverted(error: &CopyError) -> Outcome {
    match error {
        CopyError::Cannot(reason) => {
            let text = format!("the next hop does not take the content as it is: {reason}");
            Outcome::Failed(Status::new(EnhancedCode::new(5, 6, 3), text))
        }
        CopyError::Io(_) | CopyError::Signature(_) | CopyError::Panicked => {
            let text = error.to_string();
            Outcome::Deferred(Status::new(EnhancedCode::new(4, 3, 0), text))
        }
    }
}
