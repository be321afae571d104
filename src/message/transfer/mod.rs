//! Content transfer encoding: a copy of a message that fits where its octets do not (RFC 2045 §6,
//! RFC 6409 §8.4, RFC 6152 §3).
//!
//! Two passes over the same octets, each in pieces of any size and in bounded memory. A [`Survey`]
//! reads the structure and says what must change, if anything; a [`Recoder`] then writes the copy.
//! Both walk with one scanner, so that they cannot read the structure differently.
//!
//! What needs no change stays octet for octet. Signed and encrypted parts are never touched, and
//! where readers could disagree about the structure nothing is guessed: such a message cannot be
//! converted. Nothing here recurses; depth, parts and header sections have limits (S1).

mod base64;
mod content_type;
mod edit;
mod entity;
mod quoted_printable;
mod recoder;
mod scanner;
mod survey;
#[cfg(test)]
mod tests;

pub use base64::lines as base64_lines;
pub use recoder::Recoder;
pub use survey::Survey;

use recoder::Fate;

/// Multiparts and messages inside one another at most.
pub const DEPTH_MAX: usize = 100;
/// Parts of a message at most, the message itself and multiparts counted.
pub const PARTS_MAX: usize = 10_000;
/// Octets of a part's header section at most.
pub const PART_HEADER_MAX: usize = 64 << 10;

/// What the copy is to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Goal {
    /// No line over 998 octets (RFC 5322 §2.1.1), and no octets but those of lines.
    ShortLines,
    /// That, no octet above 127, and no part that says it is binary: for a next hop without 8BITMIME
    /// or, where the message needs it, BINARYMIME (RFC 3030 §3).
    SevenBit,
}

/// Why no copy can be made. Nothing of the message was changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CannotConvert {
    /// What would have to change is signed or encrypted.
    #[error("signed or encrypted part cannot be encoded")]
    Sealed,
    /// What would have to change is of a type that bears no encoding (RFC 2046 §5.2).
    #[error("part of a type that bears no encoding")]
    Unencodable,
    /// The header section of a part has what no transfer encoding mends, or is none.
    #[error("header section of a part cannot be encoded")]
    PartHeader,
    /// What would have to change carries an encoding unknown to us (RFC 2045 §6.4).
    #[error("part has an unknown transfer encoding")]
    UnknownEncoding,
    /// Readers may find different parts in it.
    #[error("multipart structure is broken")]
    Structure,
    /// More or deeper parts than our own limits.
    #[error("multipart structure is too complex")]
    TooComplex,
}

/// What a [`Survey`] found to be changed; a [`Recoder`] does it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recoding {
    /// For each entity in the order of the octets.
    fates: Vec<Fate>,
    eight_bit: bool,
}

impl Recoding {
    /// Whether the body of the copy still holds octets above 127.
    pub fn is_eight_bit(&self) -> bool {
        self.eight_bit
    }
}

/// A copy of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Encoded {
    /// The header section with its blank line.
    pub header: Vec<u8>,
    /// What follows it.
    pub body: Vec<u8>,
}

/// A 7-bit copy of a message held in memory, its header section with the blank line; `None` where
/// the message is one already.
///
/// # Errors
/// [`CannotConvert`], which a next hop without 8BITMIME makes 5.6.3 (RFC 6152 §3).
pub fn seven_bit_copy(header: &[u8], body: &[u8]) -> Result<Option<Encoded>, CannotConvert> {
    copy(Goal::SevenBit, header, body)
}

fn copy(goal: Goal, header: &[u8], body: &[u8]) -> Result<Option<Encoded>, CannotConvert> {
    let mut survey = Survey::new(goal, header);
    survey.push(body);
    let Some(recoding) = survey.finish()? else {
        return Ok(None);
    };
    let (header, mut recoder) = Recoder::new(recoding, header);
    let mut copy = Vec::with_capacity(body.len() + body.len() / 4);
    recoder.push(body, &mut copy);
    recoder.finish(&mut copy);
    Ok(Some(Encoded { header, body: copy }))
}
