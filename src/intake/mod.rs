//! Accepted envelope and content → checks → fix-ups → signatures → spool.
//!
//! Drives the pure parts: `message` finds faults and mends, `policy` has the rights and the
//! replies, `spool` takes custody. Counts and logs one line for each message, taken or refused
//! (RFC 6409 §5.2). Knows no connection and no transport.

mod brake;
mod draft;
mod encode;
mod filtering;
mod ids;
mod prepare;
mod refusal;
mod signing;
mod withdraw;

use std::{
    net::SocketAddr,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;

use draft::Complete;
pub use draft::Draft;
use encode::{Finished, encode};
use filtering::Around;
use ids::Ids;
use prepare::{Circumstances, Prepared, prepare};
use refusal::Refusal;
use signing::sign;
pub use withdraw::cancels;

use crate::{
    accounts::{Account, Accounts},
    dkim::Dkim,
    envelope::{
        BodyType, Deadline, Envelope, Identity, Level, QueueId, Recipient, TlsFacts, TlsWish,
    },
    filter::Filter,
    message::{Limits, message_id},
    policy::brake::Step,
    session::{MessageVerdict, SenderVerdict},
    smtp::{DeliverBy, Domain, FutureRelease, Notify, Priority, ReversePath},
    spool::{CustodyError, NewMessage, Spool, Start},
};

/// Settings of the intake; `config` fills them.
#[derive(Clone, Debug)]
pub struct Options {
    /// Our own name, in the trace field and in Message-IDs that we make.
    pub hostname: Domain,
    /// Octets of the header section at most, blank line included (S1; 100 KiB by default).
    pub header_octets: usize,
    /// Header fields at most (S1; 1,000 by default).
    pub header_fields: usize,
    /// Received fields at most; one more and the message loops (RFC 5321 §6.3; 100).
    pub hops: usize,
    /// Whom people may ask whose mail is held.
    pub contact: String,
    /// Whose word is asked on every message, in this order.
    pub filters: Vec<Filter>,
    /// Show the client's EHLO name and address in the trace field.
    pub reveal_client: bool,
}

/// What is known around a finished content.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Who signed in.
    pub by: Identity,
    /// Sender and recipients.
    pub envelope: Envelope,
    /// Lines of the body are over 998 octets: the parts that hold them are encoded.
    pub has_long_lines: bool,
    /// When its sender wants it to be handed on (RFC 4865).
    pub hold: Option<FutureRelease>,
    /// By when it is to be delivered, from now on (RFC 2852).
    pub deliver_by: Option<DeliverBy>,
    /// Where the client connected from.
    pub peer: SocketAddr,
    /// What the client called itself: data from the network.
    pub client_name: String,
    /// Facts of the channel.
    pub tls: Option<TlsFacts>,
}

/// The way from a session into custody.
pub struct Intake {
    options: ArcSwap<Options>,
    accounts: Arc<Accounts>,
    dkim: Arc<Dkim>,
    spool: Arc<Spool>,
    ids: Ids,
}

impl Intake {
    /// An intake that asks `accounts` for rights, has mail signed by `dkim`, and gives to `spool`.
    pub fn new(
        options: Options,
        accounts: Arc<Accounts>,
        dkim: Arc<Dkim>,
        spool: Arc<Spool>,
    ) -> Arc<Self> {
        Arc::new(Intake {
            options: ArcSwap::from_pointee(options),
            accounts,
            dkim,
            spool,
            ids: Ids::default(),
        })
    }

    /// Other settings, from the next message on.
    pub fn reload(&self, options: Options) {
        self.options.store(Arc::new(options));
    }

    /// Answers `Question::Sender`: may `by` send as `sender`, and is there room?
    pub async fn sender(
        &self,
        by: &Identity,
        sender: &ReversePath,
        size_octets: Option<u64>,
        priority: Option<Priority>,
    ) -> SenderVerdict {
        let account = match self.accounts.account(by).await {
            Ok(account) => account,
            Err(error) => {
                tracing::warn!(account = %by, error = %error, "sender could not be checked");
                return SenderVerdict::Unavailable;
            }
        };
        let may = |account: &Arc<Account>| {
            account.enabled && (account.habits.forces_from || may_use(account, sender))
        };
        let Some(account) = account.filter(may) else {
            tracing::info!(account = %by, sender = %sender, "sender refused");
            return SenderVerdict::NotYours;
        };
        if account.brake.enabled && account.brake.step == Step::Refuse {
            tracing::info!(account = %by, sender = %sender, cause = "brake", "sender refused");
            return SenderVerdict::OverLimit(Refusal::Braked.reply());
        }
        match self
            .accounts
            .over_limit(&account, 1, size_octets.unwrap_or(0))
            .await
        {
            Ok(None) => {}
            Ok(Some(excess)) => {
                let refusal = Refusal::OverLimit(excess);
                tracing::info!(account = %by, sender = %sender, cause = %refusal, "sender refused");
                return SenderVerdict::OverLimit(refusal.reply());
            }
            Err(error) => {
                tracing::warn!(account = %by, error = %error, "limits could not be read");
                return SenderVerdict::Unavailable;
            }
        }
        match self.spool.room_for(size_octets.unwrap_or(0)) {
            Ok(()) => match priority.filter(|asked| *asked > account.habits.priority) {
                Some(_) => SenderVerdict::GrantedAt(account.habits.priority),
                None => SenderVerdict::Granted,
            },
            Err(error) => {
                tracing::warn!(account = %by, error = %error, "no room for a message");
                match error {
                    CustodyError::NoRoom => SenderVerdict::NoRoom,
                    CustodyError::Failed(_) => SenderVerdict::Unavailable,
                }
            }
        }
    }

    /// Begins a message; dropped, the draft leaves nothing behind.
    pub fn draft(&self) -> Draft {
        let options = self.options.load();
        let limits = Limits {
            octets: options.header_octets,
            fields: options.header_fields,
        };
        Draft::new(limits, self.spool.body())
    }

    /// Answers `Question::Message`: `Accepted` only when the message is on stable storage.
    pub async fn accept(&self, draft: Draft, submission: Submission) -> MessageVerdict {
        let by = submission.by.clone();
        let sender = submission.envelope.sender.clone();
        match self.asked_back(&submission) {
            None => {}
            Some(Ok(id)) => return MessageVerdict::Obeyed(self.withdraw(&id, &submission).await),
            Some(Err(reply)) => return MessageVerdict::Refused(reply),
        }
        match self.take(draft, submission).await {
            Ok(id) => {
                metrics::counter!("gatepost_messages_accepted_total").increment(1);
                MessageVerdict::Accepted(id)
            }
            Err(refusal) => {
                let class = refusal.class();
                metrics::counter!("gatepost_messages_refused_total", "class" => class).increment(1);
                tracing::info!(
                    account = %by,
                    sender = %sender,
                    class,
                    cause = %refusal,
                    "message refused"
                );
                MessageVerdict::Refused(refusal.reply())
            }
        }
    }

    async fn take(&self, draft: Draft, mut submission: Submission) -> Result<QueueId, Refusal> {
        let Complete {
            section,
            body,
            eight_bit,
        } = draft.complete()?;
        let by = &submission.by;
        let account = match self.accounts.account(by).await {
            Ok(account) => account.filter(|account| account.enabled),
            Err(error) => return Err(Refusal::Accounts(error.to_string())),
        };
        let account = account.ok_or(Refusal::AccountClosed)?;
        if account.habits.forces_from && !may_use(&account, &submission.envelope.sender) {
            submission.envelope.sender = ReversePath::Mailbox(account.address.clone());
        }
        let options = self.options.load_full();
        let id = self.ids.next();
        let received_at = SystemTime::now();
        let timing = &mut submission.envelope.timing;
        timing.deadline = submission
            .deliver_by
            .map(|by| Deadline::of(by, received_at));
        timing.priority = timing.priority.map(|it| it.min(account.habits.priority));
        let timing = *timing;
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|_| Refusal::NoRandomness)?;
        let circumstances = Circumstances {
            options: &options,
            own: &account.address,
            may_send_as: &|address| account.rights.may_send_as(address),
            forces_from: account.habits.forces_from,
            protection: account.protection,
            submission: &submission,
            id: &id,
            now: received_at,
            random,
        };
        // A panic ends this message and nothing else (S19).
        let prepared = panic::catch_unwind(AssertUnwindSafe(|| prepare(section, &circumstances)));
        let Prepared { header, protection } = prepared.map_err(|_| Refusal::Panicked)??;
        let mut message = Finished {
            header,
            body: body.finish().await?,
            eight_bit,
        };
        let mut envelope = submission.envelope;
        let around = Around {
            queue_id: id.as_str(),
            account: &submission.by.name,
            peer: submission.peer,
            client_name: &submission.client_name,
            tls: submission.tls.as_ref(),
        };
        let filtered = self
            .filtered(&options.filters, message, &mut envelope, &around)
            .await?;
        message = filtered.message;
        let is_encoded = submission.has_long_lines || filtered.has_long_lines;
        if is_encoded {
            message = encode(&self.spool, message).await?;
        }
        // Nothing is changed behind this.
        let signers = self.dkim.signers(&message.header);
        let signed_for = signers.domains();
        message = sign(&self.spool, signers, message).await?;
        let Finished {
            header,
            body,
            eight_bit,
        } = message;
        let size_octets = header.len() as u64 + body.len();
        let Submission { by, tls, .. } = submission;
        envelope.protection = protection;
        let has_eight_bit = eight_bit || !header.is_ascii();
        if has_eight_bit && envelope.body == BodyType::SevenBit {
            envelope.body = BodyType::EightBitMime;
        }
        let message_id = message_id(&header).map(str::to_owned);
        let sender = envelope.sender.clone();
        let recipients = envelope.recipients.len();
        let counted = self
            .accounts
            .count(&account, &envelope.recipients, size_octets);
        let counted = counted
            .await
            .map_err(|error| Refusal::Accounts(error.to_string()))?;
        let sent = counted.map_err(Refusal::OverLimit)?;
        let braked = self.braked(&account, &sent, received_at).await;
        if account.habits.files_copies {
            envelope.recipients.push(Recipient {
                notify: Some(Notify::NEVER),
                is_copy: true,
                ..account.mailbox.clone().into()
            });
        }
        let release_request = submission.hold;
        let undo_until = match account.habits.undo {
            Duration::ZERO => None,
            undo => received_at.checked_add(undo),
        };
        // Mail that would be returned by then is rather delivered.
        let undo_until = undo_until.filter(|until| {
            let returned_at = timing.returned_at();
            returned_at.is_none_or(|returned_at| *until < returned_at)
        });
        let release_at = release_request
            .map(|hold| hold.at(received_at))
            .max(undo_until);
        let (mut start, step) = braked.inspect_err(|_| self.accounts.give_back(&sent))?;
        if filtered.hold.is_some() {
            start = Start::Held;
        }
        if let (Start::At(at), Some(returned_at)) = (start, timing.returned_at()) {
            start = Start::At(at.min(returned_at));
        }
        let committed = self
            .spool
            .commit(NewMessage {
                id: id.clone(),
                account: Some(by.clone()),
                report_of: None,
                message_id,
                envelope,
                header,
                body,
                received_at,
                start,
                release_at,
                release_request,
                sent: Some(sent.clone()),
            })
            .await;
        if let Err(error) = committed {
            self.accounts.give_back(&sent);
            return Err(error.into());
        }
        self.accounts.keep(&sent);
        tracing::info!(
            queue_id = %id,
            account = %by,
            sender = %sender,
            recipients,
            size_octets,
            tls = tls.as_ref().map(|tls| tls.suite),
            encoded = is_encoded.then_some("long lines"),
            signed_for,
            level = protection.level.map(Level::as_str),
            requiretls = (protection.tls != TlsWish::Unsaid).then_some(protection.tls.as_str()),
            brake = (step != Step::Free).then_some(step.as_str()),
            held = (start == Start::Held).then_some(true),
            held_for = filtered.hold,
            release = release_request.map(tracing::field::display),
            priority = timing.priority.map(Priority::number),
            by = submission.deliver_by.map(tracing::field::display),
            "message accepted"
        );
        Ok(id)
    }
}

fn may_use(account: &Account, sender: &ReversePath) -> bool {
    account.enabled
        && sender
            .mailbox()
            .is_none_or(|mailbox| account.rights.may_send_as(mailbox))
}
