//! One message: from MAIL to the answers behind its end (RFC 5321 §3.3, RFC 2920, RFC 2033 §4.2).

use std::collections::VecDeque;

use super::{
    Cause, Client, Ending, Extensions, Fate, Message, NeedsSevenBit, Output, Phase, Protocol,
    Recipient,
    commands::{self, Alphabet, Vouching},
    content::Content,
    verdict,
};
use crate::{
    envelope::{BodyType, Moment},
    smtp::{ReceivedReply, ReplyClass},
};

/// Commands that may wait for their answers at once: their answers fit into any socket buffer, so
/// that neither side can come to wait for the other (RFC 2920 §3.1).
const WINDOW: usize = 100;

/// A transaction under way.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) message: Message,
    pub(super) began: Moment,
    alphabet: Alphabet,
    /// By recipient; none where it is not decided yet.
    fates: Vec<Option<Fate>>,
    mail: Mail,
    /// Recipients still to be named.
    unnamed: VecDeque<usize>,
    /// Commands whose answers are due, in order.
    awaited: VecDeque<Command>,
    /// Recipients that were taken and wait for what becomes of the message, in order.
    taken: VecDeque<usize>,
    data_said: bool,
}

#[derive(Debug)]
enum Mail {
    Unsaid,
    Said,
    /// Nobody can be taken any more.
    Refused,
    /// Its AUTH= was, and it is to be said again without.
    Misread,
}

/// A command of the envelope.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Command {
    Mail,
    Rcpt(usize),
    Data,
}

impl Transaction {
    fn new(message: Message, alphabet: Alphabet, now: Moment) -> Self {
        let count = message.recipients.len();
        Transaction {
            message,
            began: now,
            alphabet,
            fates: vec![None; count],
            mail: Mail::Unsaid,
            unnamed: (0..count).collect(),
            awaited: VecDeque::new(),
            taken: VecDeque::new(),
            data_said: false,
        }
    }

    /// The command whose answer is due next.
    pub(super) fn next_answer(&self) -> Option<Command> {
        self.awaited.front().copied()
    }

    pub(super) fn answers_due(&self) -> usize {
        self.awaited.len()
    }

    /// Answers behind the end of the content.
    pub(super) fn verdicts_due(&self, protocol: Protocol) -> usize {
        match protocol {
            Protocol::Smtp => 1,
            Protocol::Lmtp => self.taken.len(),
        }
    }

    /// The fates, with this one for everybody who has none.
    pub(super) fn end(self, rest: &Fate) -> Vec<Fate> {
        self.fates
            .into_iter()
            .map(|fate| fate.unwrap_or_else(|| rest.clone()))
            .collect()
    }

    /// Decides everybody who is not decided yet.
    fn decide_rest(&mut self, fate: &Fate) {
        for slot in &mut self.fates {
            slot.get_or_insert_with(|| fate.clone());
        }
        self.unnamed.clear();
        self.taken.clear();
    }

    /// Decides whom this hop cannot be told of at all, before anything is said.
    fn settle_alphabet(&mut self, extensions: &Extensions) {
        if extensions.smtputf8 {
            return;
        }
        let sender = self.message.sender.mailbox();
        if sender.is_some_and(commands::needs_utf8) {
            let text = "the sender's address needs SMTPUTF8, which the next hop does not offer";
            return self.decide_rest(&verdict::never(6, 7, text));
        }
        if self.message.utf8_header {
            let text = "the header needs SMTPUTF8, which the next hop does not offer";
            return self.decide_rest(&verdict::never(6, 9, text));
        }
        let text = "the address needs SMTPUTF8, which the next hop does not offer";
        for (slot, recipient) in self.fates.iter_mut().zip(&self.message.recipients) {
            if commands::needs_utf8(&recipient.mailbox) {
                *slot = Some(verdict::never(6, 7, text));
            }
        }
        let fates = &self.fates;
        self.unnamed.retain(|at| fates[*at].is_none());
    }

    fn settle_size(&mut self, extensions: &Extensions) {
        let size = self.message.size_octets;
        if let Some(Some(limit)) = extensions.size
            && size > limit
        {
            let text = format!("the message has {size} octets, the next hop takes {limit}");
            self.decide_rest(&verdict::never(3, 4, text));
        }
    }

    /// Begins anew with everybody who is not decided yet.
    fn rewind(&mut self) {
        self.mail = Mail::Unsaid;
        let fates = &self.fates;
        self.unnamed = (0..fates.len()).filter(|at| fates[*at].is_none()).collect();
        self.awaited.clear();
        self.taken.clear();
        self.data_said = false;
    }

    fn is_decided(&self) -> bool {
        self.fates.iter().all(Option::is_some)
    }

    fn put_off(&mut self, at: usize, text: &str) {
        self.fates[at] = Some(Fate::Again(verdict::ours(5, 3, text)));
    }
}

impl Client {
    /// Sends a message, after [`Output::Ready`]. Its recipients learn their fates by
    /// [`Output::Done`]; where the connection is not ready they are deferred at once.
    ///
    /// # Errors
    /// [`NeedsSevenBit`] with the message, where the hop takes no such octets. The connection
    /// stays ready for the same message in a 7-bit form.
    pub fn begin(&mut self, now: Moment, message: Message) -> Result<(), NeedsSevenBit> {
        self.since = now;
        let alphabet = self.alphabet_for(&message);
        let mut transaction = Transaction::new(message, alphabet, now);
        if !self.is_ready() || self.reader.is_mid_reply() {
            let status = verdict::ours(4, 2, "the connection was not ready for a message");
            self.outputs.push_back(Output::Done(
                transaction.end(&Fate::Deferred(status.clone())),
            ));
            if self.is_ready() {
                // Words that nothing had asked for are on their way.
                self.fail(Cause::Protocol, status);
            }
            return Ok(());
        }
        // What was said to be ready is so no more.
        self.outputs
            .retain(|output| !matches!(output, Output::Ready));
        transaction.settle_alphabet(&self.extensions);
        transaction.settle_size(&self.extensions);
        let is_taken = match transaction.message.body {
            BodyType::SevenBit => true,
            BodyType::EightBitMime => self.extensions.eight_bit_mime,
            BodyType::Binary => self.extensions.binary_mime && self.uses_chunks(),
        };
        if !is_taken && !transaction.is_decided() {
            return Err(NeedsSevenBit(Box::new(transaction.message)));
        }
        self.settle_limits(&mut transaction);
        if transaction.is_decided() {
            self.finished(transaction);
            self.ready();
            return Ok(());
        }
        self.phase = Phase::Envelope(Box::new(transaction));
        self.go_on();
        Ok(())
    }

    /// SMTPUTF8 is asked for where something needs it and the hop offers it (RFC 6531 §3.4).
    fn alphabet_for(&self, message: &Message) -> Alphabet {
        let is_needed = |recipient: &Recipient| commands::needs_utf8(&recipient.mailbox);
        let sender = message.sender.mailbox();
        let needed = message.utf8_header
            || sender.is_some_and(commands::needs_utf8)
            || message.recipients.iter().any(is_needed);
        if needed && self.extensions.smtputf8 {
            Alphabet::Utf8
        } else {
            Alphabet::Ascii
        }
    }

    /// Puts off whoever has no room in this transaction or session (RFC 9422 §4), and makes the
    /// session end where it has no more room itself.
    fn settle_limits(&mut self, transaction: &mut Transaction) {
        let limits = self.extensions.limits;
        for at in std::mem::take(&mut transaction.unnamed) {
            if let Some(most) = limits.recipients
                && transaction.unnamed.len() >= most
            {
                let text = format!("the next hop takes {most} recipients a transaction");
                transaction.put_off(at, &text);
                continue;
            }
            if let Some(most) = limits.recipient_domains {
                let mailbox = &transaction.message.recipients[at].mailbox;
                let domain = mailbox.domain().canonical();
                if self.domains.len() >= most && !self.domains.contains(&domain) {
                    let text = format!("the next hop takes {most} recipient domains a session");
                    transaction.put_off(at, &text);
                    self.ending = Ending::Soon;
                    continue;
                }
                self.domains.insert(domain);
            }
            transaction.unnamed.push_back(at);
        }
        if !transaction.unnamed.is_empty() {
            self.mails += 1;
        }
        if limits.mails.is_some_and(|most| self.mails >= most) {
            self.ending = Ending::Soon;
        }
    }

    /// Says whatever may be said without waiting; ends the envelope once nothing is due.
    fn go_on(&mut self) {
        let Phase::Envelope(mut transaction) = std::mem::replace(&mut self.phase, Phase::Ready)
        else {
            return;
        };
        while let Some(command) = self.next_command(&transaction) {
            let line = match command {
                Command::Mail => {
                    transaction.mail = Mail::Said;
                    let (message, alphabet) = (&transaction.message, transaction.alphabet);
                    commands::mail(message, &self.extensions, alphabet, self.vouching)
                }
                Command::Rcpt(at) => {
                    transaction.unnamed.pop_front();
                    let recipient = &transaction.message.recipients[at];
                    commands::rcpt(recipient, &self.extensions, transaction.alphabet)
                }
                Command::Data => {
                    transaction.data_said = true;
                    "DATA".to_owned()
                }
            };
            self.send(&line);
            transaction.awaited.push_back(command);
        }
        if !transaction.awaited.is_empty() {
            self.phase = Phase::Envelope(transaction);
        } else if matches!(transaction.mail, Mail::Misread) {
            self.say_again(transaction);
        } else if transaction.taken.is_empty() {
            self.finished(*transaction);
            self.reset();
        } else {
            self.begin_chunks(transaction);
        }
    }

    /// The command that may follow at once, if any.
    fn next_command(&self, transaction: &Transaction) -> Option<Command> {
        let awaited = transaction.awaited.len();
        if awaited >= WINDOW || (awaited > 0 && !self.extensions.pipelining) {
            return None;
        }
        match transaction.mail {
            Mail::Unsaid => return Some(Command::Mail),
            Mail::Refused | Mail::Misread => return None,
            Mail::Said => {}
        }
        if let Some(at) = transaction.unnamed.front() {
            return Some(Command::Rcpt(*at));
        }
        // Where every answer is here and nobody was taken there is nothing to ask for.
        let somebody = awaited > 0 || !transaction.taken.is_empty();
        let data = !self.uses_chunks() && !transaction.data_said && somebody;
        data.then_some(Command::Data)
    }

    pub(super) fn uses_chunks(&self) -> bool {
        self.extensions.chunking && self.options.chunk_octets > 0
    }

    pub(super) fn envelope_answered(&mut self, now: Moment, reply: &ReceivedReply) {
        let Phase::Envelope(transaction) = &mut self.phase else {
            return;
        };
        let command = transaction.awaited.pop_front();
        if reply.class() == ReplyClass::Foreign {
            return self.out_of_place(reply);
        }
        match command {
            Some(Command::Mail) => match reply.class() {
                ReplyClass::Positive => {}
                ReplyClass::Intermediate => return self.out_of_place(reply),
                // Some offer AUTH and know nothing of the parameter that belongs to it.
                ReplyClass::Permanent
                    if self.vouching == Vouching::Told && verdict::is_about_parameters(reply) =>
                {
                    self.vouching = Vouching::Untold;
                    transaction.mail = Mail::Misread;
                }
                _ => {
                    transaction.decide_rest(&verdict::refused(reply));
                    transaction.mail = Mail::Refused;
                }
            },
            // Whatever it says once MAIL was refused, that decides.
            Some(Command::Rcpt(_)) if matches!(transaction.mail, Mail::Refused | Mail::Misread) => {
            }
            Some(Command::Rcpt(at)) => match reply.class() {
                ReplyClass::Positive => transaction.taken.push_back(at),
                ReplyClass::Intermediate => return self.out_of_place(reply),
                _ => {
                    let some_taken = !transaction.taken.is_empty();
                    transaction.fates[at] = Some(verdict::recipient_refused(reply, some_taken));
                }
            },
            Some(Command::Data) => return self.data_answered(now, reply),
            None => return self.out_of_place(reply),
        }
        self.go_on();
    }

    /// The content goes only behind a 3yz (RFC 5321 §3.3).
    fn data_answered(&mut self, now: Moment, reply: &ReceivedReply) {
        let Phase::Envelope(mut transaction) = std::mem::replace(&mut self.phase, Phase::Ready)
        else {
            return;
        };
        match reply.class() {
            ReplyClass::Intermediate if !transaction.taken.is_empty() => {
                self.begin_data(transaction);
            }
            ReplyClass::Intermediate => self.end_empty_data(transaction),
            ReplyClass::Transient | ReplyClass::Permanent
                if matches!(transaction.mail, Mail::Misread) =>
            {
                self.since = now;
                self.say_again(transaction);
            }
            ReplyClass::Transient | ReplyClass::Permanent => {
                transaction.decide_rest(&verdict::refused(reply));
                self.finished(*transaction);
                self.since = now;
                self.reset();
            }
            ReplyClass::Positive | ReplyClass::Foreign => {
                self.phase = Phase::Envelope(transaction);
                self.out_of_place(reply);
            }
        }
    }

    /// Says the whole envelope again, from a clean state.
    fn say_again(&mut self, transaction: Box<Transaction>) {
        self.send("RSET");
        self.phase = Phase::Rewinding(transaction);
    }

    /// The answer to the RSET before an envelope is said again.
    pub(super) fn rewound(&mut self, reply: &ReceivedReply) {
        let Phase::Rewinding(mut transaction) = std::mem::replace(&mut self.phase, Phase::Ready)
        else {
            return;
        };
        if reply.class() == ReplyClass::Positive {
            transaction.rewind();
            self.phase = Phase::Envelope(transaction);
            return self.go_on();
        }
        transaction.decide_rest(&Fate::Deferred(verdict::transient(reply)));
        self.finished(*transaction);
        self.say_quit();
    }

    /// The hop wants content for nobody. An SMTP one gets the single dot that ends it (RFC 2920
    /// §3.1); what an LMTP one would answer to that is written nowhere, so it is left.
    fn end_empty_data(&mut self, transaction: Box<Transaction>) {
        match self.options.protocol {
            Protocol::Smtp => {
                self.outputs.push_back(Output::Send(b".\r\n".to_vec()));
                self.phase = Phase::Verdict(transaction);
            }
            Protocol::Lmtp => {
                self.finished(*transaction);
                self.close();
            }
        }
    }

    /// An answer behind the end of the content.
    pub(super) fn verdict_given(&mut self, reply: &ReceivedReply) {
        let Phase::Verdict(transaction) = &mut self.phase else {
            return;
        };
        let fate = match reply.class() {
            ReplyClass::Positive => verdict::accepted(reply),
            ReplyClass::Transient | ReplyClass::Permanent => verdict::refused(reply),
            ReplyClass::Intermediate | ReplyClass::Foreign => return self.out_of_place(reply),
        };
        match self.options.protocol {
            Protocol::Smtp => transaction.decide_rest(&fate),
            Protocol::Lmtp => {
                if let Some(at) = transaction.taken.pop_front() {
                    transaction.fates[at] = Some(fate);
                }
                if !transaction.taken.is_empty() {
                    return;
                }
            }
        }
        if let Phase::Verdict(transaction) = std::mem::replace(&mut self.phase, Phase::Ready) {
            self.finished(*transaction);
            self.ready();
        }
    }

    /// The hop refuses the message while it is being sent, or a chunk of it.
    pub(super) fn content_refused(&mut self, content: Content, reply: &ReceivedReply) {
        let mut transaction = content.transaction;
        transaction.decide_rest(&verdict::refused(reply));
        self.finished(*transaction);
    }

    /// Every recipient is decided.
    fn finished(&mut self, transaction: Transaction) {
        let nobody = Fate::Deferred(verdict::ours(3, 0, "the next hop said nothing of it"));
        self.outputs
            .push_back(Output::Done(transaction.end(&nobody)));
    }
}
