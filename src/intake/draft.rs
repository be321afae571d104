//! A message under way: header section in memory, body with the spool.
//!
//! Remembers the first thing that went wrong and swallows the rest, for the client speaks until
//! its end of data whatever we think of it.

use crate::{
    message::{Fault, Limits, Splitter},
    spool::{BodyWriter, CustodyError},
};

/// A message under way; dropped, it leaves nothing behind.
pub struct Draft(State);

enum State {
    Open(Open),
    Broken(Break),
}

struct Open {
    splitter: Splitter,
    body: BodyWriter,
    eight_bit: bool,
}

/// Why a draft cannot become a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Break {
    Content(Fault),
    Custody(CustodyError),
}

/// A draft whose content is complete.
pub(super) struct Complete {
    /// The header section without its blank line.
    pub(super) section: Vec<u8>,
    pub(super) body: BodyWriter,
    /// The body holds octets above 127.
    pub(super) eight_bit: bool,
}

impl Draft {
    pub(super) fn new(limits: Limits, body: BodyWriter) -> Self {
        Draft(State::Open(Open {
            splitter: Splitter::new(limits),
            body,
            eight_bit: false,
        }))
    }

    /// Takes content as `Output::Content` gives it.
    pub async fn write(&mut self, octets: &[u8]) {
        let State::Open(open) = &mut self.0 else {
            return;
        };
        if let Err(reason) = open.write(octets).await {
            self.0 = State::Broken(reason);
        }
    }

    pub(super) fn complete(self) -> Result<Complete, Break> {
        match self.0 {
            State::Broken(reason) => Err(reason),
            State::Open(open) => Ok(Complete {
                section: open.splitter.finish().map_err(Break::Content)?,
                body: open.body,
                eight_bit: open.eight_bit,
            }),
        }
    }
}

impl Open {
    async fn write(&mut self, octets: &[u8]) -> Result<(), Break> {
        let body = self.splitter.push(octets).map_err(Break::Content)?;
        if body.is_empty() {
            return Ok(());
        }
        self.eight_bit |= !body.is_ascii();
        self.body.write(body).await.map_err(Break::Custody)
    }
}
