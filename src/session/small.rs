//! RSET, VRFY and QUIT (RFC 5321 §4.1.1.5 to §4.1.1.10).

use super::{Session, replies};

impl Session {
    pub(super) fn rset(&mut self, argument: &str) {
        if !argument.is_empty() {
            return self.refuse(replies::no_argument("RSET"));
        }
        self.reset();
        self.send(replies::transaction_cleared());
    }

    /// The same answer for every address, known or not (RFC 5321 §7.3).
    pub(super) fn vrfy(&mut self, argument: &str) {
        if argument.is_empty() {
            return self.refuse(replies::vrfy_usage());
        }
        self.send(replies::cannot_verify());
    }

    pub(super) fn quit(&mut self, argument: &str) {
        if !argument.is_empty() {
            return self.refuse(replies::no_argument("QUIT"));
        }
        self.give_up(replies::goodbye(&self.options));
    }
}
