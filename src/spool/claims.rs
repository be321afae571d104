//! From rows back to values: due work and stored content. What makes no sense is set aside (S36).

use std::{io, time::SystemTime};

use super::{Claim, Content, CustodyError, DueRecipient, LONGEST_RETRY, Spool, StoredBody};
use crate::{
    envelope::{
        AccountId, BodyType, Deadline, Identity, Level, Protection, QueueId, Timing, TlsWish,
    },
    smtp::{
        ByMode, EnvelopeId, FutureRelease, Mailbox, Notify, OriginalRecipient, Priority, Return,
        ReversePath,
    },
    store::{
        StoreError,
        queue::{ClaimedMessage, ContentRow},
    },
};

impl Spool {
    /// Claims due, unclaimed recipients (or ones claimed by a dead incarnation), the most
    /// urgent and of those the oldest due first, of at most `limit` messages; fewer than `limit` does
    /// not mean that there are no more.
    ///
    /// A message whose rows make no sense is set aside and logged (S36).
    pub async fn claim(&self, now: SystemTime, limit: usize) -> Result<Vec<Claim>, CustodyError> {
        if self.is_held() {
            return Ok(Vec::new());
        }
        let shared = &self.shared;
        let claimed = shared
            .store
            .claim_due(shared.incarnation, now, LONGEST_RETRY, limit)
            .await
            .map_err(|error| CustodyError::from_store(&error))?;
        let mut claims = Vec::with_capacity(claimed.len());
        for message in claimed {
            match readable(&message) {
                Ok(claim) => claims.push(claim),
                Err(reason) => {
                    let aside = shared.store.set_aside(message.number, reason).await;
                    log_aside(&message.id, reason, aside);
                }
            }
        }
        Ok(claims)
    }

    /// When the next unclaimed recipient falls due; `None` where none waits or mail is held.
    pub async fn next_due(&self) -> Result<Option<SystemTime>, CustodyError> {
        if self.is_held() {
            return Ok(None);
        }
        let shared = &self.shared;
        shared
            .store
            .next_due(shared.incarnation, SystemTime::now(), LONGEST_RETRY)
            .await
            .map_err(|error| CustodyError::from_store(&error))
    }

    /// The content of a message.
    ///
    /// # Errors
    /// Where it cannot be read and never will be, the message is set aside and logged (S36).
    pub async fn content(&self, id: &QueueId) -> Result<Content, CustodyError> {
        let shared = &self.shared;
        let reason = match shared.store.content(id).await {
            Ok(Some(row)) => match self.stored(row).await? {
                Ok(content) => return Ok(content),
                Err(reason) => reason,
            },
            Ok(None) => "content is missing",
            Err(StoreError::Corrupt(_)) => "content is damaged in the database",
            Err(error) => return Err(CustodyError::from_store(&error)),
        };
        log_aside(
            id.as_str(),
            reason,
            shared.store.set_aside_id(id, reason).await,
        );
        Err(CustodyError::Failed(reason.to_owned()))
    }

    /// The row's content, or why it will never be whole; the outer error may pass.
    async fn stored(&self, row: ContentRow) -> Result<Result<Content, &'static str>, CustodyError> {
        let body = match (row.body, row.body_file) {
            (Some(octets), _) if octets.len() as u64 == row.body_octets => {
                StoredBody::Memory(octets.into())
            }
            (None, Some(name)) => {
                let path = self.shared.bodies.join(name);
                let octets = row.body_octets;
                match tokio::fs::metadata(&path).await {
                    Ok(file) if file.len() == octets => StoredBody::File { path, octets },
                    Ok(_) => return Ok(Err("body file has another length")),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        return Ok(Err("body file is missing"));
                    }
                    Err(error) => return Err(CustodyError::from_io("body file", &error)),
                }
            }
            _ => return Ok(Err("body has another length")),
        };
        Ok(Ok(Content {
            header: row.header.into(),
            body,
        }))
    }
}

/// Reads stored texts back into values.
fn readable(message: &ClaimedMessage) -> Result<Claim, &'static str> {
    let mut recipients = Vec::with_capacity(message.recipients.len());
    for recipient in &message.recipients {
        let address = Mailbox::parse(&recipient.address);
        recipients.push(DueRecipient {
            number: recipient.number,
            address: address.map_err(|_| "a recipient is not readable")?,
            notify: recipient.notify.as_deref().and_then(Notify::parse),
            original: recipient
                .original
                .as_deref()
                .and_then(OriginalRecipient::parse),
            is_copy: recipient.is_copy,
            attempts: recipient.attempts,
            delay_told_at: recipient.delay_told_at,
            unprotected_since: recipient.unprotected_since,
        });
    }
    Ok(Claim {
        id: QueueId::parse(&message.id).map_err(|_| "queue id is not readable")?,
        account: message.account.as_ref().map(|(id, name)| Identity {
            account: AccountId(*id),
            name: name.as_str().into(),
            app_password: None,
        }),
        report_of: match &message.report_of {
            Some(id) => Some(QueueId::parse(id).map_err(|_| "queue id is not readable")?),
            None => None,
        },
        ret: message.ret.as_deref().and_then(Return::parse),
        envelope_id: message.envelope_id.as_deref().and_then(EnvelopeId::parse),
        sender: ReversePath::parse(&message.sender).map_err(|_| "sender is not readable")?,
        body: match message.body_type.as_str() {
            _ if message.is_binary => BodyType::Binary,
            "8bitmime" => BodyType::EightBitMime,
            _ => BodyType::SevenBit,
        },
        smtputf8: message.smtputf8,
        protection: protection(message)?,
        timing: timing(message)?,
        received_at: message.received_at,
        released_at: message
            .release_at
            .map_or(message.received_at, |at| at.max(message.received_at)),
        release_request: message
            .release_request
            .as_deref()
            .and_then(FutureRelease::parse),
        recipients,
        content: None,
    })
}

/// What cannot be read is not guessed at: mail might travel with less protection than was promised.
fn protection(message: &ClaimedMessage) -> Result<Protection, &'static str> {
    let level = match message.level.as_deref().map(Level::parse) {
        None => None,
        Some(Some(level)) => Some(level),
        Some(None) => return Err("the level of protection is not readable"),
    };
    let tls = match message.tls_wish.as_deref().map(TlsWish::parse) {
        None => TlsWish::Unsaid,
        Some(Some(tls)) => tls,
        Some(None) => return Err("what is asked of TLS is not readable"),
    };
    Ok(Protection { level, tls })
}

/// Nor is a deadline: mail might be returned that was to be tried on, or the other way.
fn timing(message: &ClaimedMessage) -> Result<Timing, &'static str> {
    let deadline = match &message.deadline {
        None => None,
        Some((at, mode, is_traced)) => Some(Deadline {
            at: *at,
            mode: ByMode::parse(mode).ok_or("what happens at its deadline is not readable")?,
            is_traced: *is_traced,
        }),
    };
    Ok(Timing {
        priority: message.priority.and_then(Priority::new),
        deadline,
    })
}

fn log_aside(queue_id: &str, reason: &str, result: Result<(), StoreError>) {
    match result {
        Ok(()) => tracing::error!(queue_id, reason, "message set aside"),
        Err(error) => {
            tracing::error!(queue_id, reason, %error, "message unreadable and not set aside");
        }
    }
}
