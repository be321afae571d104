//! What became of one recipient in one attempt.

use std::fmt;

use crate::smtp::EnhancedCode;

/// Why a recipient was deferred or failed: a status code (RFC 3463) and words for the operator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Status {
    /// The code that a report shows.
    pub code: EnhancedCode,
    /// One line: the next hop's reply or our own reason. Never sent to a client unescaped.
    pub text: String,
}

impl Status {
    /// A status of these two parts.
    pub fn new(code: EnhancedCode, text: impl Into<String>) -> Self {
        Status {
            code,
            text: text.into(),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.text)
    }
}

/// What one attempt did for one recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub enum Outcome {
    /// In the recipient's mailbox; the text says where.
    Delivered(String),
    /// Not yet; to be tried again.
    Deferred(Status),
    /// Never; the sender is to be told.
    Failed(Status),
}
