//! What the sender is told, made from what was decided: reports on their way into the spool.

use std::{io::Read, net::IpAddr};

use bytes::Bytes;
use tokio::task::spawn_blocking;
use tracing::error;

use super::{Options, Surroundings, aftermath::Decided, custody::Custody, job::Message};
use crate::{
    deliver::RecipientResult,
    dkim::Dkim,
    envelope::{Envelope, Link, Outcome, QueueId, Reporting, Timing, TlsWish, Voice},
    message::message_id,
    report::{
        Action, Diagnostic, Evidence, Incident, Kind, Notification, RETURN_MAX_OCTETS,
        RecipientReport, RemoteMta, ReturnChannel, Stamp, returns_body,
    },
    smtp::{Domain, EnhancedCode, Notify, ReversePath},
    spool::{Content, CustodyError, DueRecipient, Report, Settlement, StoredBody},
};

/// Delivery time expired (RFC 3463 §3.5): what a report says where the last word was "not yet".
const EXPIRED: EnhancedCode = EnhancedCode::new(4, 4, 7);

/// What a report says of a recipient.
pub(super) fn recipient(
    recipient: &DueRecipient,
    action: Action,
    result: &RecipientResult,
) -> RecipientReport {
    let RecipientResult {
        outcome,
        link,
        unprotected,
    } = result;
    let (status, link) = (outcome.status(), link.as_deref());
    let is_traced = matches!(outcome, Outcome::Relayed(_, Reporting::Traced));
    let expired = action == Action::Failed && matches!(outcome, Outcome::Deferred(_));
    RecipientReport {
        final_recipient: recipient.address.clone(),
        original_recipient: recipient.original.clone(),
        notify: match (is_traced, recipient.notify) {
            // Told of whatever NOTIFY says, but for NEVER (RFC 2852 §4.1.4).
            (true, None) => Some(Notify::SUCCESS),
            (true, Some(notify)) => Some(notify.with_success()),
            (false, notify) => notify,
        },
        action,
        status: match unprotected.and_then(|why| why.required) {
            // What was missing says more than that its time is over.
            Some(_) if expired => EnhancedCode::new(5, status.code.subject, status.code.detail),
            Some(_) | None if expired => EXPIRED,
            Some(_) | None => status.code,
        },
        diagnostic: match (status.voice, action) {
            (Voice::NextHop, _) => Some(Diagnostic::Reply(status.text.clone())),
            // Where a mailbox or a socket lies is nobody's business but the operator's.
            (Voice::Ours, Action::Delivered) => None,
            (Voice::Ours, _) if link.is_some_and(|link| link.host.starts_with('/')) => None,
            (Voice::Ours, _) => Some(Diagnostic::Own(status.text.clone())),
        },
        remote_mta: link.and_then(remote),
        last_attempt: None,
        evidence: Evidence {
            tls: link.and_then(|link| link.tls.clone()),
            mx: link.and_then(|link| link.mx),
            requiretls: link.and_then(|link| link.requiretls),
            is_traced,
            required: unprotected.map(|why| match why.required {
                Some(required) => required.to_string().into(),
                None => "as the route has it".into(),
            }),
        },
    }
}

/// The host of a link, where it was reached and has a name or an address.
fn remote(link: &Link) -> Option<RemoteMta> {
    let address = link.address?.ip();
    let literal = || match link.host.parse().ok()? {
        IpAddr::V4(address) => Domain::parse(&format!("[{address}]")).ok(),
        IpAddr::V6(address) => Domain::parse(&format!("[IPv6:{address}]")).ok(),
    };
    Some(RemoteMta {
        name: literal().or_else(|| Domain::parse(&link.host).ok())?,
        address: Some(address),
        tls: link.tls.as_ref().map(|tls| tls.version),
    })
}

/// Who writes reports, and of what message.
pub(super) struct Reporter<'a, C> {
    pub(super) message: &'a Message,
    pub(super) custody: &'a C,
    pub(super) options: &'a Options,
    pub(super) surroundings: &'a Surroundings,
    /// The content, where it is at hand.
    pub(super) content: Option<Content>,
}

impl<C: Custody> Reporter<'_, C> {
    /// Records and the reports that tell of them, to be made durable together.
    ///
    /// # Errors
    /// The message cannot be read, and so not be reported on: nothing may be recorded that would
    /// leave its sender without a word.
    pub(super) async fn settle(
        &mut self,
        decided: Vec<Decided>,
    ) -> Result<Settlement, (CustodyError, Vec<Decided>)> {
        let reports: Vec<_> = decided.iter().filter_map(|it| it.report.clone()).collect();
        let reports = match self.reports(reports).await {
            Ok(reports) => reports,
            Err(error) => return Err((error, decided)),
        };
        let mut settlement = Settlement {
            reports,
            ..Settlement::default()
        };
        for it in decided {
            settlement.attempts.push(it.record);
            settlement.events.extend(it.event);
        }
        Ok(settlement)
    }

    async fn reports(
        &mut self,
        recipients: Vec<RecipientReport>,
    ) -> Result<Vec<Report>, CustodyError> {
        if recipients.is_empty() {
            return Ok(Vec::new());
        }
        let content = match &self.content {
            Some(content) => content.clone(),
            None => self.custody.content(&self.message.id).await?,
        };
        self.content = Some(content.clone());
        let size = content.header.len() as u64 + content.body.len();
        let fails = recipients.iter().any(|it| it.action == Action::Failed);
        let requiretls = self.message.protection.tls == TlsWish::Required;
        let is_returned =
            fails && !requiretls && returns_body(Kind::Failure, self.message.ret, size);
        let body = match is_returned {
            true => Some(read(&content.body).await?),
            false => None,
        };
        let incident = Incident {
            reporting_mta: &self.options.hostname,
            queue_id: &self.message.id,
            envelope_id: self.message.envelope_id.as_ref(),
            arrived: self.message.received_at,
            release_request: self.message.release_request,
            deliver_by: self.message.timing.deadline.map(|deadline| deadline.at),
            sender: &self.message.sender,
            ret: self.message.ret,
            channel: ReturnChannel::presumed(&self.message.sender),
            requiretls,
            header: content
                .header
                .strip_suffix(b"\r\n")
                .unwrap_or(&content.header),
            body: body.as_deref(),
            recipients: &recipients,
        };
        let mut reports = Vec::new();
        for kind in Kind::ALL {
            let stamp = Stamp {
                now: (self.surroundings.now)(),
                random: (self.surroundings.octets)(),
            };
            if let Some(notification) = Notification::of(&incident, kind, &stamp) {
                reports.push(self.posted(notification, &stamp).await);
            }
        }
        Ok(reports)
    }

    async fn posted(&self, notification: Notification, stamp: &Stamp) -> Report {
        let id = QueueId::new((self.surroundings.id)());
        tracing::info!(
            queue_id = %id,
            report_of = %self.message.id,
            to = %notification.to,
            kind = notification.kind.as_str(),
            "report made"
        );
        metrics::counter!("gatepost_reports_total", "kind" => notification.kind.as_str())
            .increment(1);
        let message_id = message_id(&notification.header).map(str::to_owned);
        let mut header = notification.header;
        header.extend_from_slice(b"\r\n");
        let body: Bytes = notification.body.into();
        let header = signed(&self.surroundings.dkim, header, body.clone()).await;
        Report {
            id,
            report_of: self.message.id.clone(),
            account: self.message.account.clone(),
            message_id,
            envelope: Envelope {
                sender: ReversePath::Null,
                recipients: vec![notification.to.into()],
                body: notification.body_type,
                smtputf8: notification.smtputf8,
                ret: None,
                envelope_id: None,
                protection: Default::default(),
                // Word of urgent mail is as urgent (RFC 6710 §4.6).
                timing: Timing {
                    priority: self.message.timing.priority,
                    deadline: None,
                },
            },
            header: header.into(),
            body,
            made_at: stamp.now,
        }
    }
}

/// The header section of a report with signatures. One that cannot be signed goes without: its
/// reader must be told.
async fn signed(dkim: &Dkim, header: Vec<u8>, body: Bytes) -> Vec<u8> {
    let signers = dkim.signers(&header);
    if signers.is_empty() {
        return header;
    }
    let unsigned = header.clone();
    match spawn_blocking(move || signers.sign(&header, &mut &body[..])).await {
        Ok(Ok(signed)) => return signed,
        Ok(Err(error)) => error!(%error, "a report is not signed"),
        Err(error) => error!(%error, "a report is not signed"),
    }
    unsigned
}

/// All of a body that is returned; bounded, for longer ones never are.
async fn read(body: &StoredBody) -> Result<Vec<u8>, CustodyError> {
    let body = body.clone();
    let read = spawn_blocking(move || {
        let mut octets = Vec::new();
        body.open()?
            .take(RETURN_MAX_OCTETS)
            .read_to_end(&mut octets)?;
        Ok(octets)
    });
    match read.await {
        Ok(Ok(octets)) => Ok(octets),
        Ok(Err(error)) => {
            let error: std::io::Error = error;
            Err(CustodyError::Failed(format!("body file: {error}")))
        }
        Err(error) => {
            error!(%error, "a body could not be read for a report");
            Err(CustodyError::Failed(error.to_string()))
        }
    }
}
