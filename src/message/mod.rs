//! The header section of a message: its fields, its faults, and what we mend in it; and the
//! transfer encoding of its body.
//!
//! Octets in, octets out. Nothing here knows who may send as whom, where the body lies or what
//! time it is: the moment and random octets are arguments. Speaks RFC 5322, 6854, 6532, 2047, 2231,
//! the trace field of RFC 5321 §4.4, the fix-ups of RFC 6409 §8, and RFC 2045 and 2046.
//!
//! mail-parser reads dates and gives a second opinion on addresses; it never decides alone what
//! is a field, where the section ends or whom a message is from, for it forgives what other
//! readers do not.

mod addresses;
mod authors;
mod date;
mod encoded_word;
mod fault;
mod fixup;
mod header;
mod message_id;
mod parameter;
mod section;
mod trace;
mod transfer;

pub use addresses::AddressList;
pub use authors::author_domains;
pub use date::{DateVerdict, date, judge};
pub use encoded_word::Encoder;
pub use fault::{AddressFault, Fault};
pub use fixup::Fixup;
pub use header::{Author, Header};
pub use message_id::message_id;
pub use section::{Field, Limits, Splitter, fields};
pub use trace::{Client, Trace};
pub use transfer::{
    CannotConvert, Encoded, Goal, Recoder, Recoding, Survey, base64_lines, seven_bit_copy,
};
