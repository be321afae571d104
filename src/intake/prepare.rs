//! From a raw header section to the one that is stored: everything that needs no waiting.

use std::time::SystemTime;

use super::{Options, Refusal, Submission};
use crate::{
    envelope::{AccountProtection, Protection, QueueId, TlsWish},
    message::{self, Client, Fixup, Header, Trace},
    policy::security,
    smtp::{Domain, Mailbox},
};

/// All that decides what becomes of a header section, besides its octets.
pub(super) struct Circumstances<'a> {
    pub(super) options: &'a Options,
    /// The account's own address at this moment.
    pub(super) own: &'a Mailbox,
    /// The account's rights at this moment.
    pub(super) may_send_as: &'a (dyn Fn(&Mailbox) -> bool + Sync),
    /// What the account may not send as is replaced by its own address.
    pub(super) forces_from: bool,
    /// What holds for all mail of the account.
    pub(super) protection: AccountProtection,
    pub(super) submission: &'a Submission,
    pub(super) id: &'a QueueId,
    pub(super) now: SystemTime,
    pub(super) random: [u8; 16],
}

/// A header section that can be stored.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Prepared {
    /// With its blank line.
    pub(super) header: Vec<u8>,
    /// What hand-offs must be protected by.
    pub(super) protection: Protection,
}

/// Checks a section and everybody in whose name it speaks, and finishes it.
pub(super) fn prepare(section: Vec<u8>, about: &Circumstances<'_>) -> Result<Prepared, Refusal> {
    let (options, submission) = (about.options, about.submission);
    let envelope = &submission.envelope;
    let header = Header::read(section, options.hops)?;
    let envelope_sender = envelope.sender.mailbox().map(|mailbox| ("MAIL", mailbox));
    let authors = header
        .authors()
        .map(|author| (author.field, author.mailbox));
    // An app password may be narrowed to addresses that its account has lost.
    let own = header.lacks_from().then_some(("From", about.own));
    let mut forces_from = false;
    for (place, address) in envelope_sender.into_iter().chain(authors).chain(own) {
        if !(about.may_send_as)(address) {
            let replaceable = ["From", "Sender"].contains(&place);
            if about.forces_from && replaceable && (about.may_send_as)(about.own) {
                forces_from = true;
                continue;
            }
            return Err(Refusal::NotYours {
                place,
                address: address.clone(),
            });
        }
    }
    let asked = envelope.protection.tls == TlsWish::Required;
    let protection = security::protection(about.protection, asked, header.lowers_tls());
    let protection = protection.ok_or(Refusal::MayNotLowerTls)?;
    let client = options.reveal_client.then(|| Client {
        name: Domain::parse(&submission.client_name).ok(),
        address: submission.peer.ip(),
    });
    let only_recipient = match &envelope.recipients[..] {
        [one] => Some(&one.mailbox),
        _ => None,
    };
    let date = message::date(about.now);
    let trace = Trace {
        hostname: &options.hostname,
        client,
        tls: submission.tls.as_ref(),
        smtputf8: envelope.smtputf8,
        id: about.id,
        priority: envelope.timing.priority,
        only_recipient,
        date: &date,
    };
    let fixup = Fixup {
        now: about.now,
        random: about.random,
        hostname: &options.hostname,
        own: about.own,
        forces_from,
        smtputf8: envelope.smtputf8,
    };
    Ok(Prepared {
        header: fixup.apply(&header, &trace)?,
        protection,
    })
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        envelope::{AccountId, BodyType, Envelope, Identity},
        message::Fault,
        smtp::ReversePath,
    };

    fn mailbox(text: &str) -> Mailbox {
        Mailbox::parse(text).unwrap()
    }

    fn run(section: &str, sender: &str, recipients: &[&str]) -> Result<String, Refusal> {
        run_as("joe@ours.example", section, sender, recipients)
    }

    fn run_as(
        own: &str,
        section: &str,
        sender: &str,
        recipients: &[&str],
    ) -> Result<String, Refusal> {
        let options = Options {
            hostname: Domain::parse("mail.ours.example").unwrap(),
            header_octets: 100 << 10,
            header_fields: 1_000,
            hops: 100,
            contact: "postmaster@ours.example".to_owned(),
            filters: Vec::new(),
            reveal_client: false,
        };
        let submission = Submission {
            by: Identity {
                account: AccountId(1),
                name: Arc::from("joe"),
                app_password: None,
            },
            envelope: Envelope {
                sender: ReversePath::parse(sender).unwrap(),
                recipients: recipients.iter().map(|r| mailbox(r).into()).collect(),
                body: BodyType::SevenBit,
                smtputf8: false,
                ret: None,
                envelope_id: None,
                protection: Default::default(),
                timing: Default::default(),
            },
            has_long_lines: false,
            hold: None,
            deliver_by: None,
            peer: "192.0.2.7:1025".parse().unwrap(),
            client_name: "laptop.secret.example".to_owned(),
            tls: None,
        };
        let about = Circumstances {
            forces_from: false,
            options: &options,
            own: &mailbox(own),
            may_send_as: &|address| address.folded_key() == "joe@ours.example",
            protection: AccountProtection::default(),
            submission: &submission,
            id: &QueueId::new(ulid::Ulid(1)),
            now: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
            random: [1; 16],
        };
        prepare(section.as_bytes().to_vec(), &about)
            .map(|prepared| String::from_utf8(prepared.header).unwrap())
    }

    /// A message without an author gets the account's own address, if that may still be used.
    #[test]
    fn an_author_that_would_be_added_is_looked_at_like_any_other() {
        assert!(run("Subject: x\r\n", "", &["ann@else.example"]).is_ok());
        let refusal = run_as(
            "gone@ours.example",
            "Subject: x\r\n",
            "",
            &["ann@else.example"],
        );
        assert_eq!(
            refusal,
            Err(Refusal::NotYours {
                place: "From",
                address: mailbox("gone@ours.example"),
            })
        );
    }

    /// R6409-6.3a.
    #[test]
    fn every_name_that_is_not_the_accounts_is_refused() {
        let ours = "joe@ours.example";
        for (section, sender, place, address) in [
            ("", "boss@ours.example", "MAIL", "boss@ours.example"),
            (
                "From: boss@ours.example\r\n",
                "",
                "From",
                "boss@ours.example",
            ),
            (
                "From: joe@ours.example, boss@ours.example\r\nSender: joe@ours.example\r\n",
                ours,
                "From",
                "boss@ours.example",
            ),
            (
                "From: \"joe@ours.example\" <boss@ours.example>\r\n",
                ours,
                "From",
                "boss@ours.example",
            ),
            (
                "From: joe@ours.example\r\nSender: boss@ours.example\r\n",
                ours,
                "Sender",
                "boss@ours.example",
            ),
            (
                "From: joe@ours.example\r\nResent-From: boss@ours.example\r\n",
                ours,
                "Resent-From",
                "boss@ours.example",
            ),
        ] {
            let address = mailbox(address);
            let expected = Refusal::NotYours { place, address };
            assert_eq!(run(section, sender, &[ours]), Err(expected), "{section:?}");
        }
        let twice = run(
            "From: joe@ours.example\r\nFrom: joe@ours.example\r\n",
            ours,
            &[],
        );
        assert_eq!(twice, Err(Fault::Duplicate { field: "From" }.into()));
    }

    /// R5321-4.4a, R5321-4.4d, R5321-7.2a, R6409-3.2b.
    #[test]
    fn the_finished_header_hides_what_is_not_to_be_told() {
        let one = run("From: Joe <JOE@ours.example>\r\n", "", &["a@b.example"]).unwrap();
        assert!(
            one.starts_with("Received: from mail.ours.example "),
            "{one}"
        );
        assert!(one.contains("for <a@b.example>"), "{one}");
        assert!(
            !one.contains("secret") && !one.contains("192.0.2.7"),
            "{one}"
        );
        assert!(one.ends_with("\r\n\r\n"), "{one}");
        let two = run("", "", &["a@b.example", "c@d.example"]).unwrap();
        assert!(
            !two.contains("b.example") && !two.contains("d.example"),
            "{two}"
        );
        assert!(two.contains("\r\nFrom: joe@ours.example\r\n"), "{two}");
    }
}
