//! RCPT (RFC 5321 §4.1.1.3): adds a recipient.

use crate::{
    envelope::Recipient,
    smtp::{AddressError, ForwardPath, ParameterError, PathArgument, RcptParameters, Reply},
};

use super::{Asking, Phase, Question, RecipientVerdict, Session, Transaction, replies};

impl Session {
    pub(super) fn rcpt(&mut self, argument: &str) {
        let Some(by) = self.identity.clone() else {
            return self.refuse(replies::sign_in_first());
        };
        let Phase::Envelope(transaction) = &mut self.phase else {
            return self.refuse(replies::send_mail_first());
        };
        if transaction.failed {
            return self.refuse(replies::message_ended());
        }
        if transaction.chunks.is_some() {
            return self.refuse(replies::continue_with_bdat());
        }
        if transaction.rcpt_commands >= self.options.recipients {
            return self.send(replies::too_many_recipients());
        }
        transaction.rcpt_commands += 1;
        let (path, parameters) = match parse(argument) {
            Ok(parsed) => parsed,
            Err(reply) => return self.refuse(reply),
        };
        let mailbox = match path {
            ForwardPath::Postmaster => self.options.postmaster.clone(),
            ForwardPath::Mailbox(mailbox) => mailbox,
        };
        if !transaction.envelope.smtputf8 && !mailbox.is_ascii() {
            return self.send(replies::recipient_needs_smtputf8());
        }
        let original = parameters.original_recipient.as_ref();
        if !transaction.envelope.smtputf8 && original.is_some_and(|it| !it.is_ascii()) {
            // RFC 6533 §3: that form belongs to SMTPUTF8.
            let error = ParameterError::BadValue("ORCPT");
            return self.refuse(replies::bad_parameter("RCPT", &error));
        }
        if !mailbox.domain().is_fully_qualified() {
            return self.send(replies::recipient_not_qualified());
        }
        if transaction.keys.contains(&mailbox.key()) {
            // Taken again and delivered once.
            return self.send(replies::recipient_ok(&mailbox));
        }
        let Phase::Envelope(transaction) = std::mem::replace(&mut self.phase, Phase::Ready) else {
            return self.close();
        };
        let question = Question::Recipient {
            by,
            sender: transaction.envelope.sender.clone(),
            recipient: mailbox.clone(),
            protection: transaction.envelope.protection,
            before: transaction.envelope.recipients.len(),
        };
        let recipient = Recipient {
            mailbox,
            notify: parameters.notify,
            original: parameters.original_recipient,
            is_copy: false,
        };
        self.ask(Asking::Recipient(transaction, recipient), question);
    }

    pub(super) fn recipient_decided(
        &mut self,
        mut transaction: Box<Transaction>,
        recipient: Recipient,
        verdict: RecipientVerdict,
    ) {
        let mailbox = &recipient.mailbox;
        let is_granted = verdict == RecipientVerdict::Granted;
        let reply = match verdict {
            RecipientVerdict::Granted => replies::recipient_ok(mailbox),
            RecipientVerdict::NoSuchMailbox => replies::no_such_mailbox(),
            RecipientVerdict::NoRoute => replies::no_route(mailbox),
            RecipientVerdict::NotAllowed => replies::recipient_not_allowed(mailbox),
            RecipientVerdict::OverLimit(reply) => reply,
            RecipientVerdict::Unavailable => replies::recipient_unavailable(),
            RecipientVerdict::NoSuchDomain => replies::no_such_domain(mailbox),
            RecipientVerdict::NullMx => replies::null_mx(mailbox),
            RecipientVerdict::CannotBeProtected(why) => replies::cannot_be_protected(mailbox, &why),
            RecipientVerdict::Undetermined => replies::undetermined(mailbox),
        };
        if is_granted {
            transaction.keys.insert(mailbox.key());
            transaction.envelope.recipients.push(recipient);
        }
        self.phase = Phase::Envelope(transaction);
        self.send(reply);
    }
}

fn parse(argument: &str) -> Result<(ForwardPath, RcptParameters), Reply> {
    let argument = PathArgument::parse(argument, "TO").ok_or_else(replies::rcpt_usage)?;
    let path = ForwardPath::parse(argument.path).map_err(|error| match error {
        AddressError::PathTooLong { .. } => replies::recipient_too_long(),
        _ => replies::bad_recipient(),
    })?;
    if let ForwardPath::Mailbox(mailbox) = &path {
        let local = mailbox.local_part();
        // Some programs encode the whole address as if it were a phrase; it would only bounce.
        if local.starts_with("=?") && local.ends_with("?=") {
            return Err(replies::recipient_is_encoded_word());
        }
    }
    let parameters = RcptParameters::parse(argument.parameters)
        .map_err(|error| replies::bad_parameter("RCPT", &error))?;
    Ok((path, parameters))
}
