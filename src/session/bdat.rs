//! BDAT (RFC 3030): content in chunks of counted octets.
//!
//! The octets of a chunk are read whatever becomes of it, before it is answered: otherwise they
//! would be taken for commands. Only a size that cannot be read, or one far beyond any message,
//! ends the session.

use crate::{
    envelope::{BodyType, Moment},
    smtp::{ChunkArgument, ContentDecoder, Reply},
};

use super::{Output, Phase, Session, Transaction, replies};

/// Octets of a chunk that are read and dropped for a client that has not signed in.
const STRANGER_MAX: u64 = 65_536;
/// Content that is refused is read up to this many times the message limit.
pub(super) const REFUSED_FACTOR: u64 = 4;

/// A chunk being read.
#[derive(Debug)]
pub(super) struct Chunk {
    transaction: Box<Transaction>,
    size: u64,
    remaining: u64,
    last: bool,
    pub(super) began: Moment,
    /// Octets from the client, as they came.
    pub(super) received: u64,
}

/// A chunk being read and dropped.
#[derive(Debug)]
pub(super) struct Swallow {
    remaining: u64,
    reply: Reply,
    /// The transaction to go on with.
    then: Option<Box<Transaction>>,
}

impl Swallow {
    pub(super) fn holds_content(&self) -> bool {
        self.then
            .as_ref()
            .is_some_and(|transaction| transaction.chunks.is_some())
    }
}

impl Session {
    pub(super) fn bdat(&mut self, argument: &str) {
        let barred = self.barred(crate::smtp::Verb::Bdat);
        let stranger = barred.is_some();
        let Some(chunk) = ChunkArgument::parse(argument.as_bytes()) else {
            self.send(barred.unwrap_or_else(replies::bdat_usage));
            return self.give_up(replies::lost_framing(&self.options));
        };
        let cap = if stranger {
            STRANGER_MAX
        } else {
            self.options.message_size.saturating_mul(REFUSED_FACTOR)
        };
        let transaction = match std::mem::replace(&mut self.phase, Phase::Ready) {
            Phase::Envelope(transaction) => Some(transaction),
            _ => None,
        };
        let refusal = match &transaction {
            _ if stranger => barred,
            None => Some(replies::send_mail_first()),
            Some(transaction) if transaction.failed => Some(replies::message_ended()),
            Some(transaction) => transaction.unready(),
        };
        if let Some(reply) = refusal {
            self.counters.errors = self.counters.errors.saturating_add(1);
            // The last chunk of a message whose recipients were all refused ends it, as its final
            // dot would; a client that goes on with MAIL is right to.
            let over = |t: &Transaction| chunk.last && !t.failed && t.rcpt_commands > 0;
            let then = transaction.filter(|t| !over(t));
            return self.swallow(chunk.octets, cap, reply, then);
        }
        let Some(mut transaction) = transaction else {
            return self.close();
        };
        let tolerance = self.options.tolerance;
        let body = transaction.envelope.body;
        let decoder = transaction.chunks.get_or_insert_with(|| match body {
            BodyType::Binary => ContentDecoder::for_binary(tolerance),
            BodyType::SevenBit | BodyType::EightBitMime => ContentDecoder::for_chunks(tolerance),
        });
        if decoder.octets().saturating_add(chunk.octets) > self.options.message_size {
            self.outputs.push_back(Output::ContentAbort);
            transaction.chunks = None;
            transaction.failed = true;
            let reply = replies::message_too_big(&self.options);
            let then = (!chunk.last).then_some(transaction);
            return self.swallow(chunk.octets, cap, reply, then);
        }
        let began = self.clocks.touched;
        let (size, last) = (chunk.octets, chunk.last);
        let chunk = Chunk {
            transaction,
            size,
            remaining: size,
            last,
            began,
            received: 0,
        };
        self.phase = Phase::Chunk(Box::new(chunk));
        if size == 0 {
            self.chunk_read();
        }
    }

    fn swallow(&mut self, octets: u64, cap: u64, reply: Reply, then: Option<Box<Transaction>>) {
        if octets > cap {
            self.send(reply);
            return self.give_up(replies::lost_framing(&self.options));
        }
        self.phase = Phase::Swallow(Box::new(Swallow {
            remaining: octets,
            reply,
            then,
        }));
        if octets == 0 {
            self.swallowed();
        }
    }

    pub(super) fn swallowed_octets(&mut self, now: Moment, octets: &[u8]) -> usize {
        let Phase::Swallow(swallow) = &mut self.phase else {
            return octets.len();
        };
        let taken = clamp(octets, swallow.remaining);
        swallow.remaining -= taken as u64;
        if swallow.remaining == 0 {
            self.swallowed();
            self.command_done(now);
        }
        taken
    }

    fn swallowed(&mut self) {
        let Phase::Swallow(swallow) = std::mem::replace(&mut self.phase, Phase::Ready) else {
            return self.close();
        };
        if let Some(transaction) = swallow.then {
            self.phase = Phase::Envelope(transaction);
        }
        self.send(swallow.reply);
    }

    pub(super) fn chunk_octets(&mut self, now: Moment, octets: &[u8]) -> usize {
        let Phase::Chunk(chunk) = &mut self.phase else {
            return octets.len();
        };
        let taken = clamp(octets, chunk.remaining);
        chunk.remaining -= taken as u64;
        chunk.received += taken as u64;
        if let Some(decoder) = &mut chunk.transaction.chunks {
            let was_void = is_void(decoder, self.options.message_size);
            let mut content = Vec::with_capacity(taken);
            decoder.decode(&octets[..taken], &mut content);
            // Bare LFs that become CRLF can carry content past the limit that its chunks kept.
            if is_void(decoder, self.options.message_size) {
                if !was_void {
                    self.outputs.push_back(Output::ContentAbort);
                }
            } else if !content.is_empty() {
                self.outputs.push_back(Output::Content(content));
            }
        }
        if chunk.remaining == 0 {
            self.chunk_read();
            if !matches!(self.phase, Phase::Asking(_)) {
                self.command_done(now);
            }
        }
        taken
    }

    fn chunk_read(&mut self) {
        let Phase::Chunk(chunk) = std::mem::replace(&mut self.phase, Phase::Ready) else {
            return self.close();
        };
        let mut transaction = chunk.transaction;
        if !chunk.last {
            self.phase = Phase::Envelope(transaction);
            return self.send(replies::chunk_taken(chunk.size));
        }
        let Some(mut decoder) = transaction.chunks.take() else {
            return self.close();
        };
        let was_whole = decoder.fault().is_none();
        if decoder.finish().is_err() && was_whole {
            self.outputs.push_back(Output::ContentAbort);
        }
        self.content_ended(*transaction, &decoder);
    }
}

fn is_void(decoder: &ContentDecoder, message_size: u64) -> bool {
    decoder.fault().is_some() || decoder.octets() > message_size
}

fn clamp(octets: &[u8], remaining: u64) -> usize {
    usize::try_from(remaining).map_or(octets.len(), |remaining| octets.len().min(remaining))
}
