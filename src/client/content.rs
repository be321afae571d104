//! The content on its way: behind a 354, or in chunks (RFC 5321 §4.1.1.4, RFC 3030).
//!
//! It is asked for in pieces, one at a time, and none is kept but what waits for a chunk's answer.
//! Exactly the octets that were announced are sent; if the driver has fewer or more, the end is
//! never said, and the hop drops what it has.

use super::{
    Cause, Client, Output, Phase,
    stuffing::{Framing, Stuffing},
    transaction::Transaction,
    verdict,
};
use crate::{
    envelope::{BodyType, Moment},
    smtp::{ReceivedReply, ReplyClass},
};

/// A message half said.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) transaction: Box<Transaction>,
    stuffing: Stuffing,
    /// Octets not yet given by the driver.
    missing: u64,
    chunk: Chunk,
}

/// How far the chunk under way is.
#[derive(Debug)]
enum Chunk {
    /// There are none: DATA.
    None,
    /// So many octets of it are still to be sent.
    Open(u64),
    /// All sent, and others will follow: its answer is due. These octets belong to the next one.
    Asked(Vec<u8>),
}

impl Content {
    /// Whether an answer is due before more can be sent.
    pub(super) fn waits_for_answer(&self) -> bool {
        matches!(self.chunk, Chunk::Asked(_))
    }

    fn octets_unsent(&self) -> u64 {
        match &self.chunk {
            Chunk::Asked(waiting) => self.missing + waiting.len() as u64,
            Chunk::None | Chunk::Open(_) => self.missing,
        }
    }
}

impl Client {
    pub(super) fn begin_data(&mut self, transaction: Box<Transaction>) {
        let content = self.content_of(transaction, Framing::Dots, Chunk::None);
        self.ask_for_more(content);
    }

    pub(super) fn begin_chunks(&mut self, transaction: Box<Transaction>) {
        let framing = match transaction.message.body {
            BodyType::Binary => Framing::Binary,
            BodyType::SevenBit | BodyType::EightBitMime => Framing::Counted,
        };
        let content = self.content_of(transaction, framing, Chunk::Asked(Vec::new()));
        self.open_chunk(content);
    }

    fn content_of(
        &self,
        transaction: Box<Transaction>,
        framing: Framing,
        chunk: Chunk,
    ) -> Box<Content> {
        Box::new(Content {
            stuffing: Stuffing::new(framing, self.extensions.eight_bit_mime),
            missing: transaction.message.size_octets,
            transaction,
            chunk,
        })
    }

    /// The next piece of the content, after [`Output::NeedContent`]; of any size, and an empty one
    /// if there is no more. Of no effect where none is wanted any more.
    ///
    /// Content that is shorter or longer than announced, or that could be misread by the hop, ends
    /// the connection and defers its recipients.
    pub fn content(&mut self, now: Moment, piece: &[u8]) {
        let Phase::Content(content) = &mut self.phase else {
            return;
        };
        if content.waits_for_answer() {
            let text = "content came that was not asked for";
            return self.fail(Cause::Local, verdict::ours(3, 0, text));
        }
        self.since = now;
        match content.missing.checked_sub(piece.len() as u64) {
            Some(missing) if !piece.is_empty() => content.missing = missing,
            _ => {
                let text = "the message is not as long as it was said to be";
                return self.fail(Cause::Local, verdict::ours(3, 0, text));
            }
        }
        if let Phase::Content(content) = std::mem::replace(&mut self.phase, Phase::Ready) {
            self.pass_on(content, piece);
        }
    }

    /// Sends what the chunk under way has room for.
    fn pass_on(&mut self, mut content: Box<Content>, piece: &[u8]) {
        let room = match content.chunk {
            Chunk::Open(room) => usize::try_from(room).map_or(piece.len(), |r| r.min(piece.len())),
            Chunk::None | Chunk::Asked(_) => piece.len(),
        };
        let (fits, waits) = piece.split_at(room);
        let mut octets = Vec::with_capacity(fits.len() + fits.len() / 32 + 8);
        if let Err(unfit) = content.stuffing.write(fits, &mut octets) {
            return self.unfit(content, &unfit.to_string());
        }
        if let Chunk::Open(room) = &mut content.chunk {
            *room -= fits.len() as u64;
            if *room == 0 && content.missing + waits.len() as u64 > 0 {
                content.chunk = Chunk::Asked(waits.to_vec());
            }
        }
        self.outputs.push_back(Output::Send(octets));
        self.ask_for_more(content);
    }

    /// Asks for the next piece, or ends the content, or waits for a chunk's answer.
    fn ask_for_more(&mut self, mut content: Box<Content>) {
        if content.waits_for_answer() {
            self.phase = Phase::Content(content);
            return;
        }
        if content.missing > 0 {
            self.outputs.push_back(Output::NeedContent);
            self.phase = Phase::Content(content);
            return;
        }
        let mut octets = Vec::new();
        if let Err(unfit) = content.stuffing.finish(&mut octets) {
            return self.unfit(content, &unfit.to_string());
        }
        if !octets.is_empty() {
            self.outputs.push_back(Output::Send(octets));
        }
        self.phase = Phase::Verdict(content.transaction);
    }

    fn unfit(&mut self, content: Box<Content>, why: &str) {
        self.phase = Phase::Content(content);
        self.fail(Cause::Local, verdict::ours(6, 0, why));
    }

    fn open_chunk(&mut self, mut content: Box<Content>) {
        let unsent = content.octets_unsent();
        let size = unsent.min(self.options.chunk_octets);
        let last = if size == unsent { " LAST" } else { "" };
        self.send(&format!("BDAT {size}{last}"));
        let waiting = match std::mem::replace(&mut content.chunk, Chunk::Open(size)) {
            Chunk::Asked(waiting) => waiting,
            Chunk::None | Chunk::Open(_) => Vec::new(),
        };
        if waiting.is_empty() {
            self.ask_for_more(content);
        } else {
            self.pass_on(content, &waiting);
        }
    }

    /// A chunk's answer; or an early word, before the end of the content was said.
    pub(super) fn content_answered(&mut self, reply: &ReceivedReply) {
        let Phase::Content(content) = std::mem::replace(&mut self.phase, Phase::Ready) else {
            return;
        };
        match (reply.class(), content.waits_for_answer()) {
            (ReplyClass::Positive, true) => self.open_chunk(content),
            // No further chunk follows a refused one (RFC 3030 §2).
            (ReplyClass::Transient | ReplyClass::Permanent, true) => {
                self.content_refused(*content, reply);
                self.reset();
            }
            // The hop has not seen the end, so it cannot have taken the message; and what it makes
            // of the rest is anybody's guess.
            (ReplyClass::Transient | ReplyClass::Permanent, false) => {
                self.outputs
                    .retain(|o| !matches!(o, Output::Send(_) | Output::NeedContent));
                self.content_refused(*content, reply);
                self.close();
            }
            _ => {
                self.phase = Phase::Content(content);
                self.out_of_place(reply);
            }
        }
    }
}
