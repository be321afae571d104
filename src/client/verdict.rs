//! What replies and accidents mean for the recipients: the one place where transient and permanent
//! are told apart.

use crate::{
    envelope::Status,
    smtp::{EnhancedCode, ReceivedReply, ReplyClass},
};

/// What became of one recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub enum Fate {
    /// The next hop has taken the message on itself.
    Accepted(Status),
    /// The transaction had no room for it (RFC 5321 §4.5.3.1.10, RFC 9422): send it in a further
    /// one at once.
    Again(Status),
    /// Not yet.
    Deferred(Status),
    /// Never.
    Failed(Status),
}

/// Why a connection is of no use. The status is a transient one: it is about the hop, and no
/// message has been judged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// In which way.
    pub cause: Cause,
    /// In words.
    pub status: Status,
}

/// In which way a connection is of no use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// The greeting was a refusal.
    Greeting,
    /// EHLO, and HELO where allowed, was refused.
    Hello,
    /// The channel cannot be made what it must be.
    Tls,
    /// The credentials were refused, or there is no way to show them.
    SignIn,
    /// The hop is closing (421).
    Ending,
    /// The connection broke.
    Lost,
    /// Something took too long.
    Timeout,
    /// What came was no answer to what was said.
    Protocol,
    /// A fault on our own side.
    Local,
}

/// A reply that takes the message.
pub(super) fn accepted(reply: &ReceivedReply) -> Fate {
    let code = reply.enhanced().unwrap_or(EnhancedCode::new(2, 0, 0));
    Fate::Accepted(Status::of_reply(code, reply.text()))
}

/// A refusal within a transaction (replies to MAIL, DATA, BDAT and the content).
///
/// A reply of a class that cannot stand here is a hop out of its mind: transient.
pub(super) fn refused(reply: &ReceivedReply) -> Fate {
    match reply.class() {
        ReplyClass::Permanent if !is_about_us(reply) => {
            let code = reply.enhanced().unwrap_or(EnhancedCode::new(5, 0, 0));
            Fate::Failed(Status::of_reply(code, reply.text()))
        }
        ReplyClass::Permanent | ReplyClass::Transient => Fate::Deferred(transient(reply)),
        ReplyClass::Positive | ReplyClass::Intermediate | ReplyClass::Foreign => {
            Fate::Deferred(out_of_place(reply))
        }
    }
}

/// A refusal of one recipient. `some_taken` says whether the transaction has one already.
///
/// 552 is what RFC 821 said for too many recipients (RFC 5321 §4.5.3.1.10); with an enhanced code
/// of its own it means that (a full mailbox, mostly).
pub(super) fn recipient_refused(reply: &ReceivedReply, some_taken: bool) -> Fate {
    let about_number = match reply.enhanced() {
        Some(code) => (code.subject, code.detail) == (5, 3),
        None => matches!(reply.code(), 452 | 552),
    };
    if some_taken && about_number && matches!(reply.code(), 452 | 552) {
        return Fate::Again(Status::of_reply(EnhancedCode::new(4, 5, 3), reply.text()));
    }
    refused(reply)
}

/// Refusals that the operator can mend, and no sender: sign in first, credentials, encryption
/// (RFC 4954 §6, RFC 3207 §4). The mail waits for it.
fn is_about_us(reply: &ReceivedReply) -> bool {
    matches!(reply.code(), 530 | 534 | 535 | 538)
}

/// Whether a refusal of a command may be one of its parameters (RFC 5321 §4.2.3, §4.1.1.11).
pub(super) fn is_about_parameters(reply: &ReceivedReply) -> bool {
    matches!(reply.code(), 501 | 504 | 555)
}

/// The status of a reply that is a refusal for now, whatever its class says.
pub(super) fn transient(reply: &ReceivedReply) -> Status {
    let code = reply.enhanced().map_or(EnhancedCode::new(4, 0, 0), |code| {
        EnhancedCode::new(4, code.subject, code.detail)
    });
    Status::of_reply(code, reply.text())
}

/// The status of a reply whose class cannot stand where it does.
pub(super) fn out_of_place(reply: &ReceivedReply) -> Status {
    ours(5, 0, format!("reply out of place: {}", reply.text()))
}

/// A transient status in our own words.
pub(super) fn ours(subject: u16, detail: u16, text: impl Into<String>) -> Status {
    Status::new(EnhancedCode::new(4, subject, detail), text)
}

/// A permanent fate in our own words.
pub(super) fn never(subject: u16, detail: u16, text: impl Into<String>) -> Fate {
    Fate::Failed(Status::new(EnhancedCode::new(5, subject, detail), text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::ReplyReader;

    fn shown(fate: Fate) -> String {
        match fate {
            Fate::Accepted(status) => format!("accepted {status}"),
            Fate::Again(status) => format!("again {status}"),
            Fate::Deferred(status) => format!("deferred {status}"),
            Fate::Failed(status) => format!("failed {status}"),
        }
    }

    fn reply(line: &str) -> ReceivedReply {
        let octets = format!("{line}\r\n");
        ReplyReader::default()
            .read(octets.as_bytes())
            .1
            .unwrap()
            .unwrap()
    }

    /// R5321-4.2d, R5321-4.2f, R5321-4.2g, R2034-4f.
    #[test]
    fn refusals() {
        for (line, expected) in [
            (
                "550 5.1.1 No such user",
                "failed 5.1.1 550 5.1.1 No such user",
            ),
            ("550 No such user", "failed 5.0.0 550 No such user"),
            ("577 x", "failed 5.0.0 577 x"),
            ("554 4.7.1 x", "failed 5.0.0 554 4.7.1 x"),
            ("451 4.3.0 x", "deferred 4.3.0 451 4.3.0 x"),
            ("451 5.1.1 x", "deferred 4.0.0 451 5.1.1 x"),
            ("477 x", "deferred 4.0.0 477 x"),
            ("530 5.7.0 Sign in", "deferred 4.7.0 530 5.7.0 Sign in"),
            ("650 x", "deferred 4.5.0 reply out of place: 650 x"),
            ("354 x", "deferred 4.5.0 reply out of place: 354 x"),
        ] {
            assert_eq!(shown(refused(&reply(line))), expected, "{line}");
        }
    }

    /// R5321-4.5.3.1l.
    #[test]
    fn too_many_recipients() {
        for (line, some_taken, expected) in [
            ("452 4.5.3 x", true, "again 4.5.3 452 4.5.3 x"),
            ("452 x", true, "again 4.5.3 452 x"),
            ("552 x", true, "again 4.5.3 552 x"),
            ("552 5.5.3 x", true, "again 4.5.3 552 5.5.3 x"),
            ("552 5.2.2 Full", true, "failed 5.2.2 552 5.2.2 Full"),
            ("452 4.2.2 Full", true, "deferred 4.2.2 452 4.2.2 Full"),
            ("550 5.5.3 Never", true, "failed 5.5.3 550 5.5.3 Never"),
            // Nothing would be gained by coming again at once.
            ("452 4.5.3 x", false, "deferred 4.5.3 452 4.5.3 x"),
            ("552 x", false, "failed 5.0.0 552 x"),
        ] {
            let fate = recipient_refused(&reply(line), some_taken);
            assert_eq!(shown(fate), expected, "{line} {some_taken}");
        }
    }

    #[test]
    fn acceptance_keeps_the_reply() {
        let fate = accepted(&reply("250 2.0.0 Ok: queued as 4F"));
        assert_eq!(shown(fate), "accepted 2.0.0 250 2.0.0 Ok: queued as 4F");
        assert_eq!(shown(accepted(&reply("250"))), "accepted 2.0.0 250");
    }
}
