//! What became of one recipient in one attempt.

use std::fmt;

use crate::smtp::EnhancedCode;

/// Whose words a status holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Voice {
    /// Our own.
    Ours,
    /// A next hop's reply, with its codes, its lines divided by line feeds.
    NextHop,
}

/// Why a recipient was deferred or failed, or how it was taken: a status code (RFC 3463) and words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Status {
    /// The code that a report shows.
    pub code: EnhancedCode,
    /// The next hop's reply or our own reason. Never shown unescaped.
    pub text: String,
    /// Who says so.
    pub voice: Voice,
}

impl Status {
    /// Octets of the text that are kept: as many as a report repeats.
    pub const TEXT_MAX: usize = 2_000;

    /// A status in our own words.
    pub fn new(code: EnhancedCode, text: impl Into<String>) -> Self {
        let mut text = text.into();
        text.truncate(text.floor_char_boundary(Status::TEXT_MAX));
        Status {
            code,
            text,
            voice: Voice::Ours,
        }
    }

    /// A status in the words of a next hop.
    pub fn of_reply(code: EnhancedCode, text: impl Into<String>) -> Self {
        Status {
            voice: Voice::NextHop,
            ..Status::new(code, text)
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.text)
    }
}

/// Whether a next hop reports to the sender what becomes of a message it took (RFC 3461 §5.2.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reporting {
    /// It offers DSN and was told what the sender wants to hear.
    Promised,
    /// It does not: from here on the sender hears of nothing but failures, if of those.
    None,
    /// Whatever it does, the sender is to hear of this hand-over (RFC 2852 §4.1.4).
    Traced,
}

/// What one attempt did for one recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub enum Outcome {
    /// In the recipient's mailbox, or with the program that puts it there.
    Delivered(Status),
    /// With a next hop that has taken it on itself.
    Relayed(Status, Reporting),
    /// Not yet; to be tried again.
    Deferred(Status),
    /// Never; the sender is to be told.
    Failed(Status),
}

impl Outcome {
    /// What was said of it.
    pub fn status(&self) -> &Status {
        match self {
            Outcome::Delivered(status)
            | Outcome::Relayed(status, _)
            | Outcome::Deferred(status)
            | Outcome::Failed(status) => status,
        }
    }
}
