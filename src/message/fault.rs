//! What can be wrong with a header section, each by its own name.

use crate::smtp::AddressError;

/// Why a message cannot be taken as it is.
///
/// Field names in it are printable ASCII, but data from the network all the same.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// Not one octet of content (RFC 5322 §3.5).
    #[error("message is empty")]
    Empty,
    /// The header section passes our own limit.
    #[error("header section is over {max} octets")]
    SectionTooLarge {
        /// The limit, blank line included.
        max: usize,
    },
    /// More header fields than our own limit.
    #[error("header section has over {max} fields")]
    TooManyFields {
        /// The limit.
        max: usize,
    },
    /// A line before the blank line that is no field (RFC 5322 §2.2).
    #[error("header line {line} is no header field")]
    NotAField {
        /// Counted from 1.
        line: usize,
    },
    /// The first line begins with a blank (RFC 5322 §2.2.3).
    #[error("first header line is a continuation")]
    ContinuationFirst,
    /// A field name with other than printable ASCII (RFC 5322 §2.2).
    #[error("name of the field in header line {line} is broken")]
    FieldName {
        /// Counted from 1.
        line: usize,
    },
    /// A bare CR or LF, or a NUL (RFC 5322 §2.2, §4.1).
    #[error("header section holds a bare CR, bare LF or NUL")]
    ControlCharacter,
    /// A field that may occur once occurs again (RFC 5322 §3.6).
    #[error("field {field} occurs more than once")]
    Duplicate {
        /// Its name.
        field: &'static str,
    },
    /// The addresses do not follow RFC 5322 §3.4 and RFC 6854 §2.
    #[error("addresses in field {field} do not parse: {problem}")]
    Addresses {
        /// Its name.
        field: &'static str,
        /// What was wrong.
        problem: AddressFault,
    },
    /// Several authors and nobody who sent it (RFC 5322 §3.6.2).
    #[error("field From names several mailboxes, and there is no Sender")]
    SenderMissing,
    /// A domain of one label (RFC 6409 §4.2).
    #[error("domain in field {field} is not fully qualified")]
    Unqualified {
        /// Its name.
        field: &'static str,
    },
    /// Octets that are no UTF-8 (RFC 6532 §3.1).
    #[error("field {field} is not valid text")]
    NotText {
        /// Its name.
        field: String,
    },
    /// An address beyond ASCII without SMTPUTF8 (RFC 6531 §3.5).
    #[error("address in field {field} needs SMTPUTF8")]
    Utf8Address {
        /// Its name.
        field: &'static str,
    },
    /// UTF-8 where no encoded word may stand (RFC 2047 §5, RFC 6531 §3.4).
    #[error("UTF-8 in field {field} needs SMTPUTF8")]
    Utf8Structured {
        /// Its name.
        field: String,
    },
    /// Over a hundred trace fields (RFC 5321 §6.3).
    #[error("message passed over {max} hosts")]
    Looping {
        /// The limit.
        max: usize,
    },
}

/// What is wrong with a list of addresses.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AddressFault {
    /// A character where none may stand.
    #[error("unexpected character at octet {at}")]
    Unexpected {
        /// Counted from 0 in the field's value.
        at: usize,
    },
    /// A comment, quoted string, address or group without its end.
    #[error("something opened is not closed")]
    Unclosed,
    /// Comments inside comments, deeper than anybody writes.
    #[error("comments are nested too deeply")]
    TooDeep,
    /// The parts are there, but they make no mailbox.
    #[error(transparent)]
    Mailbox(#[from] AddressError),
    /// No mailbox at all.
    #[error("no mailbox is named")]
    NoMailbox,
    /// Another reader of the same octets finds other addresses.
    #[error("it can be read in more than one way")]
    Ambiguous,
}
