//! DATA (RFC 5321 §4.1.1.4), and what ends a message however it came.

use crate::{
    envelope::{BodyType, Moment},
    smtp::ContentDecoder,
};

use super::{
    Asking, MessageVerdict, Output, Phase, Question, Session, Transaction, bdat::REFUSED_FACTOR,
    replies,
};

/// Mail data being read.
#[derive(Debug)]
pub(super) struct Data {
    transaction: Box<Transaction>,
    decoder: ContentDecoder,
    void: bool,
    pub(super) began: Moment,
    /// Octets from the client, as they came.
    pub(super) received: u64,
}

impl Session {
    pub(super) fn data(&mut self, argument: &str) {
        let refusal = match &self.phase {
            _ if !argument.is_empty() => Some(replies::no_argument("DATA")),
            Phase::Envelope(transaction) if transaction.failed => Some(replies::message_ended()),
            Phase::Envelope(transaction) if transaction.chunks.is_some() => {
                Some(replies::continue_with_bdat())
            }
            Phase::Envelope(transaction) if transaction.envelope.body == BodyType::Binary => {
                Some(replies::binary_needs_bdat())
            }
            Phase::Envelope(transaction) => transaction.unready(),
            _ => Some(replies::send_mail_first()),
        };
        if let Some(reply) = refusal {
            return self.refuse(reply);
        }
        let Phase::Envelope(transaction) = std::mem::replace(&mut self.phase, Phase::Ready) else {
            return self.close();
        };
        let decoder = ContentDecoder::for_data(self.options.tolerance);
        let began = self.clocks.touched;
        let data = Data {
            transaction,
            decoder,
            void: false,
            began,
            received: 0,
        };
        self.phase = Phase::Data(Box::new(data));
        self.send(replies::go_ahead());
    }

    pub(super) fn data_octets(&mut self, now: Moment, octets: &[u8]) -> usize {
        let Phase::Data(data) = &mut self.phase else {
            return octets.len();
        };
        let mut content = Vec::with_capacity(if data.void { 0 } else { octets.len() });
        let consumed = data.decoder.decode(octets, &mut content);
        data.received += consumed as u64;
        let too_big = data.decoder.octets() > self.options.message_size;
        if data.void {
            // Read on to the true end; nothing of it counts.
        } else if too_big || data.decoder.fault().is_some() {
            data.void = true;
            self.outputs.push_back(Output::ContentAbort);
        } else if !content.is_empty() {
            self.outputs.push_back(Output::Content(content));
        }
        if data.decoder.has_ended() {
            let Phase::Data(data) = std::mem::replace(&mut self.phase, Phase::Ready) else {
                return consumed;
            };
            self.content_ended(*data.transaction, &data.decoder);
            if matches!(self.phase, Phase::Ready) {
                self.command_done(now);
            }
        } else if data.received > self.options.message_size.saturating_mul(REFUSED_FACTOR) {
            // Nobody reads for ever: a client that never ends its data would keep us at it.
            self.send(replies::message_too_big(&self.options));
            self.give_up(replies::endless_data(&self.options));
        }
        consumed
    }

    /// The end of the content was read: a refusal at once, or the question that leads to custody.
    pub(super) fn content_ended(&mut self, transaction: Transaction, decoder: &ContentDecoder) {
        if decoder.octets() > self.options.message_size {
            return self.send(replies::message_too_big(&self.options));
        }
        if let Some(fault) = decoder.fault() {
            return self.send(replies::bad_content(fault));
        }
        let Some(by) = self.identity.clone() else {
            return self.close();
        };
        let question = Question::Message {
            by,
            envelope: transaction.envelope,
            hold: transaction.hold,
            deliver_by: transaction
                .deliver_by
                .map(|(by, asked)| by.after(self.clocks.touched.0.saturating_sub(asked.0))),
            has_long_lines: decoder.has_long_lines(),
        };
        self.ask(Asking::Message, question);
    }

    pub(super) fn message_decided(&mut self, verdict: MessageVerdict) {
        self.send(match verdict {
            MessageVerdict::Accepted(id) => replies::accepted(&id),
            MessageVerdict::Refused(reply) | MessageVerdict::Obeyed(reply) => reply,
        });
    }
}
