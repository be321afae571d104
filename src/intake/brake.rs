//! What the brake does to a message that is about to be committed, and to what the account sent
//! before it.

use std::time::SystemTime;

use super::{Intake, Refusal, encode::Finished, signing::sign};
use crate::{
    accounts::Account,
    envelope::{BodyType, Envelope, Protection},
    policy::brake::Step,
    report::{BrakeNotice, Stamp},
    smtp::ReversePath,
    spool::{NewMessage, Sent, Start},
};

impl Intake {
    /// When a message may start on its way, and the step that says so.
    pub(super) async fn braked(
        &self,
        account: &Account,
        sent: &Sent,
        now: SystemTime,
    ) -> Result<(Start, Step), Refusal> {
        let braked = self.accounts.brake(account, sent).await;
        let braked = braked.map_err(|error| Refusal::Accounts(error.to_string()))?;
        if let Some(reason) = &braked.pulled_for {
            self.hold_back(account).await;
            if let Err(error) = self.tell_owner(account, reason).await {
                tracing::warn!(account = %account.name, %error, "owner not told of the brake");
            }
        }
        let start = match braked.step {
            Step::Refuse => return Err(Refusal::Braked),
            Step::Hold => Start::Held,
            _ if account.hold => Start::Held,
            Step::Slow => Start::At(now + braked.delay),
            Step::Free => Start::Now,
        };
        Ok((start, braked.step))
    }

    /// Holds what the account sent before and nobody has taken in hand.
    async fn hold_back(&self, account: &Account) {
        match self.spool.hold_mail_of(&account.name).await {
            Ok(recipients) => {
                tracing::warn!(account = %account.name, recipients, "waiting mail is held");
            }
            Err(error) => {
                tracing::error!(account = %account.name, %error, "waiting mail is not held");
            }
        }
    }

    /// A letter to the account's own address.
    async fn tell_owner(&self, account: &Account, reason: &str) -> Result<(), Refusal> {
        let options = self.options.load_full();
        let id = self.ids.next();
        let mut stamp = Stamp {
            now: SystemTime::now(),
            random: [0; 16],
        };
        // The letter has no boundary that would need them.
        let _ = getrandom::fill(&mut stamp.random);
        let notice = BrakeNotice {
            hostname: &options.hostname,
            to: &account.address,
            account: &account.name,
            reason,
            contact: &options.contact,
            id: id.as_str(),
        };
        let (header, content) = notice.write(&stamp);
        let mut body = self.spool.body();
        body.write(&content).await?;
        let eight_bit = !content.is_ascii() || !header.is_ascii();
        let signers = self.dkim.signers(&header);
        let message = Finished {
            header,
            body: body.finish().await?,
            eight_bit,
        };
        let message = sign(&self.spool, signers, message).await?;
        let notice = NewMessage {
            id: id.clone(),
            account: None,
            report_of: None,
            message_id: Some(format!(
                "<{}@{}>",
                id.as_str(),
                options.hostname.canonical()
            )),
            envelope: Envelope {
                sender: ReversePath::Null,
                recipients: vec![account.address.clone().into()],
                body: match eight_bit {
                    true => BodyType::EightBitMime,
                    false => BodyType::SevenBit,
                },
                smtputf8: !account.address.is_ascii(),
                ret: None,
                envelope_id: None,
                protection: Protection::default(),
                timing: Default::default(),
            },
            header: message.header,
            body: message.body,
            received_at: stamp.now,
            start: Start::Now,
            release_at: None,
            release_request: None,
            sent: None,
        };
        self.spool.commit(notice).await?;
        tracing::info!(queue_id = %id, account = %account.name, "owner told of the brake");
        Ok(())
    }
}
