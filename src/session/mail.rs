//! MAIL (RFC 5321 §4.1.1.2): opens a transaction.

use crate::{
    envelope::{BodyType, Deadline, Envelope, Protection, Timing, TlsWish},
    smtp::{
        AddressError, BodyParameter, DeliverBy, FutureRelease, MailParameters, Mailbox,
        PathArgument, Reply, ReversePath,
    },
};

use super::{Asking, Phase, Question, SenderVerdict, Session, Transaction, replies};

impl Session {
    pub(super) fn mail(&mut self, argument: &str) {
        let Some(by) = self.identity.clone() else {
            return self.refuse(replies::sign_in_first());
        };
        // Refused ones count too (RFC 9422 §4.1).
        self.counters.mails = self.counters.mails.saturating_add(1);
        if self.counters.mails > self.options.messages {
            return self.give_up(replies::too_many_messages(&self.options));
        }
        if let Phase::Envelope(transaction) = &self.phase {
            let failed = transaction.failed;
            return self.refuse(if failed {
                replies::message_ended()
            } else {
                replies::mail_already_given()
            });
        }
        if self.hello.is_none() {
            return self.refuse(replies::send_ehlo_first());
        }
        let (sender, parameters) = match parse(argument) {
            Ok(parsed) => parsed,
            Err(reply) => return self.refuse(reply),
        };
        let is_ascii = sender.mailbox().is_none_or(Mailbox::is_ascii);
        if !parameters.smtputf8 && !is_ascii {
            return self.send(replies::sender_needs_smtputf8());
        }
        if parameters
            .size_octets
            .is_some_and(|size| size > self.options.message_size)
        {
            return self.send(replies::message_too_big(&self.options));
        }
        if let Some(hold) = parameters.hold {
            let longest = self.options.future_release;
            match self.calendar() {
                None => return self.refuse(replies::no_future_release(hold)),
                Some(now) if !hold.is_within(now, longest) => {
                    return self.refuse(replies::bad_hold(longest));
                }
                Some(_) => {}
            }
        }
        if let (Some(by), Some(hold)) = (parameters.by, parameters.hold)
            && !self.is_released_before(by, hold)
        {
            return self.refuse(replies::held_too_long());
        }
        let body = match parameters.body {
            Some(BodyParameter::BinaryMime) => BodyType::Binary,
            Some(BodyParameter::EightBitMime) => BodyType::EightBitMime,
            Some(BodyParameter::SevenBit) | None => BodyType::SevenBit,
        };
        let size_octets = parameters.size_octets;
        let question = Question::Sender {
            by,
            sender: sender.clone(),
            size_octets,
            priority: parameters.priority,
        };
        let mut transaction = Transaction::new(Envelope {
            sender,
            recipients: Vec::new(),
            body,
            smtputf8: parameters.smtputf8,
            ret: parameters.ret,
            envelope_id: parameters.envelope_id,
            // What the account asks is added where the message is accepted.
            protection: Protection {
                level: None,
                tls: match parameters.requiretls {
                    true => TlsWish::Required,
                    false => TlsWish::Unsaid,
                },
            },
            // Its deadline is known where the message is accepted.
            timing: Timing {
                priority: parameters.priority,
                deadline: None,
            },
        });
        transaction.hold = parameters.hold;
        transaction.deliver_by = parameters.by.map(|by| (by, self.clocks.touched));
        self.ask(Asking::Sender(Box::new(transaction)), question);
    }

    /// Whether mail that is put off can be delivered in time at all (RFC 4865 §5.2.2).
    fn is_released_before(&self, by: DeliverBy, hold: FutureRelease) -> bool {
        let Some(now) = self.calendar() else {
            return false;
        };
        hold.at(now) < Deadline::of(by, now).at
    }

    pub(super) fn sender_decided(
        &mut self,
        mut transaction: Box<Transaction>,
        verdict: SenderVerdict,
    ) {
        let sender = &transaction.envelope.sender;
        let reply = match verdict {
            SenderVerdict::Granted => {
                let reply = replies::sender_ok(sender);
                self.phase = Phase::Envelope(transaction);
                reply
            }
            SenderVerdict::GrantedAt(priority) => {
                transaction.envelope.timing.priority = Some(priority);
                self.phase = Phase::Envelope(transaction);
                replies::priority_changed(priority)
            }
            // Nobody has such an address; an account of a device may call itself what it wants.
            SenderVerdict::NotYours if !is_qualified(sender) => replies::sender_not_qualified(),
            SenderVerdict::NotYours => replies::sender_not_yours(sender),
            SenderVerdict::NoRoom => replies::no_room(),
            SenderVerdict::OverLimit(reply) => reply,
            SenderVerdict::Unavailable => replies::rights_unavailable(),
        };
        self.send(reply);
    }
}

fn is_qualified(sender: &ReversePath) -> bool {
    let mailbox = sender.mailbox();
    mailbox.is_none_or(|mailbox| mailbox.domain().is_fully_qualified())
}

fn parse(argument: &str) -> Result<(ReversePath, MailParameters), Reply> {
    let argument = PathArgument::parse(argument, "FROM").ok_or_else(replies::mail_usage)?;
    let sender = ReversePath::parse(argument.path).map_err(|error| match error {
        AddressError::PathTooLong { .. } => replies::sender_too_long(),
        _ => replies::bad_sender(),
    })?;
    let parameters = MailParameters::parse(argument.parameters)
        .map_err(|error| replies::bad_parameter("MAIL", &error))?;
    Ok((sender, parameters))
}
