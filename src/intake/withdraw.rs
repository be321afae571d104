//! Taking a message back: whoever sent it sends anything to `cancel+ID@` this host, and the reply to
//! that tells truly whether it came in time.
//!
//! The claim decides the race with delivery: what an attempt has in hand goes on, all else ends.

use super::{Intake, Submission};
use crate::{
    envelope::QueueId,
    policy::content,
    smtp::{Domain, Mailbox, Reply},
};

/// What stands in front of the queue id.
const PREFIX: &str = "cancel+";

/// The message that a mail to this address takes back.
pub fn cancels(recipient: &Mailbox, hostname: &Domain) -> Option<QueueId> {
    let local = recipient.local_part();
    let prefix = local.get(..PREFIX.len())?;
    if !prefix.eq_ignore_ascii_case(PREFIX)
        || recipient.domain().canonical() != hostname.canonical()
    {
        return None;
    }
    QueueId::parse(&local[PREFIX.len()..]).ok()
}

impl Intake {
    /// What is to be withdrawn, where the message is for a cancel address; refused where it is for
    /// others too.
    pub(super) fn asked_back(&self, submission: &Submission) -> Option<Result<QueueId, Reply>> {
        let options = self.options.load();
        let recipients = &submission.envelope.recipients;
        let mut asked = recipients
            .iter()
            .filter_map(|recipient| cancels(&recipient.mailbox, &options.hostname));
        let id = asked.next()?;
        Some(match recipients.len() {
            1 => Ok(id),
            _ => Err(content::cancels_among_others()),
        })
    }

    /// Withdraws a message of the same account, as far as nobody has it in hand.
    pub(super) async fn withdraw(&self, id: &QueueId, submission: &Submission) -> Reply {
        let by = &submission.by;
        let (withdrawn, too_late) = match self.spool.withdraw(id, &by.name).await {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(queue_id = %id, account = %by, %error, "message not withdrawn");
                return content::unavailable();
            }
        };
        tracing::info!(queue_id = %id, account = %by, withdrawn, too_late, "message withdrawn");
        content::withdrawn(id, withdrawn, too_late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancel_addresses_are_known() {
        let host = Domain::parse("mail.example.org").unwrap();
        let id = "01KB3W8V0ZC6Q4X1D2E3F4G5H6";
        for (address, found) in [
            (format!("cancel+{id}@mail.example.org"), true),
            (format!("Cancel+{id}@MAIL.example.org"), true),
            (format!("cancel+{id}@example.org"), false),
            (format!("cancel{id}@mail.example.org"), false),
            ("cancel+x@mail.example.org".to_owned(), false),
            ("c@mail.example.org".to_owned(), false),
            (format!("\u{e9}ancel+{id}@mail.example.org"), false),
        ] {
            let mailbox = Mailbox::parse(&address).unwrap();
            assert_eq!(cancels(&mailbox, &host).is_some(), found, "{address}");
        }
    }
}
