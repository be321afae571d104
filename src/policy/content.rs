//! What a client is told when its message is not taken at the end of the data.
//!
//! Every fault of the content, every right that is missing and every failure of custody has one
//! reply here (RFC 5321 §4.3.2, RFC 3463, RFC 6409 §6). Nothing here finds faults.

use std::time::Duration;

use super::allowance::{Excess, LimitKind};
use crate::{
    envelope::QueueId,
    message::{AddressFault, CannotConvert, Fault},
    smtp::{Mailbox, Reply},
};

/// Why a message without fault is not in custody.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Storage {
    /// Not enough room beside the reserve (S37).
    Full,
    /// The disk or the database failed.
    Failed,
}

/// The reply to content with this fault.
///
/// Permanent in every case: the same octets will have the same fault again.
pub fn refusal(fault: &Fault) -> Reply {
    let content = |text: String| Reply::new(554, 6, 0, text);
    match fault {
        Fault::Empty => Reply::new(554, 6, 0, "Message is empty"),
        // A limit of size like that of the whole message, so its code too (RFC 3463 §3.4).
        Fault::SectionTooLarge { max } => Reply::new(
            552,
            3,
            4,
            format!("Header section is over the {max} octet limit"),
        ),
        Fault::TooManyFields { max } => Reply::new(
            552,
            3,
            4,
            format!("Header section is over the {max} field limit"),
        ),
        Fault::NotAField { line } => content(format!(
            "Header line {line} is no header field, or the empty line before the text is missing"
        )),
        Fault::ContinuationFirst => Reply::new(554, 6, 0, "Header line 1 begins with a blank"),
        Fault::FieldName { line } => {
            content(format!("Header line {line}: field name is not valid"))
        }
        Fault::ControlCharacter => Reply::new(554, 6, 0, "Lines must end in CRLF"),
        Fault::Duplicate { field } => {
            content(format!("Header field {field}: must not occur twice"))
        }
        Fault::Addresses { field, problem } => content(format!(
            "Header field {field}: {}",
            address_problem(problem)
        )),
        Fault::SenderMissing => Reply::new(
            554,
            6,
            0,
            "Header field From: several mailboxes need a Sender field",
        ),
        Fault::Unqualified { field } => content(format!(
            "Header field {field}: domain is not fully qualified"
        )),
        Fault::NotText { field } => {
            content(format!("Header field {} is not valid text", short(field)))
        }
        Fault::Utf8Address { field } => {
            Reply::new(554, 6, 7, format!("Address in {field} needs SMTPUTF8"))
        }
        Fault::Utf8Structured { field } => content(format!(
            "Header field {}: UTF-8 header needs SMTPUTF8",
            short(field)
        )),
        Fault::Looping { .. } => Reply::new(554, 4, 6, "Message is looping"),
    }
}

/// The reply to a line over 998 octets where nothing can be encoded, and why.
pub fn long_line(why: CannotConvert) -> Reply {
    let place = match why {
        CannotConvert::Sealed => "in a signed or encrypted part",
        CannotConvert::PartHeader => "in the header of a part",
        CannotConvert::Unencodable
        | CannotConvert::UnknownEncoding
        | CannotConvert::Structure
        | CannotConvert::TooComplex => "in a part that cannot be encoded",
    };
    Reply::new(
        554,
        6,
        0,
        format!("Message contains a line over 998 octets {place}"),
    )
}

/// The reply where the account may not use `address` in the envelope or a field (RFC 6409 §6.3).
pub fn not_yours(address: &Mailbox) -> Reply {
    Reply::new(550, 7, 1, format!("You may not send as {address}"))
}

/// The reply to `TLS-Required: No` from an account that may not ask for it (RFC 8689 §4.1 leaves it to
/// local policy).
pub fn may_not_lower_tls() -> Reply {
    Reply::new(
        550,
        7,
        1,
        "Header field TLS-Required: you may not send without TLS; remove the field",
    )
}

/// The reply where a message would pass a limit of what may be sent (S30): transient wherever time
/// helps.
pub fn over_limit(excess: &Excess) -> Reply {
    let most = excess.most;
    let (what, span) = match excess.kind {
        LimitKind::MessageOctets => {
            let text = format!("Message is over the {most} octet limit");
            return Reply::new(552, 3, 4, text);
        }
        LimitKind::MessageRecipients => ("recipients", "a message"),
        LimitKind::MessagesHour => ("messages", "an hour"),
        LimitKind::MessagesDay => ("messages", "a day"),
        LimitKind::RecipientsHour => ("recipients", "an hour"),
        LimitKind::RecipientsDay => ("recipients", "a day"),
        LimitKind::NewRecipientsDay => ("new recipients", "a day"),
    };
    let Some(free_in) = excess.free_in else {
        let text = format!("You may send to {most} {what} {span} only");
        return Reply::new(550, 7, 1, text);
    };
    // What time mends has the codes that clients know of rates and of recipients.
    let code = match excess.kind {
        LimitKind::MessagesHour | LimitKind::MessagesDay => 450,
        _ => 452,
    };
    let text = format!(
        "Limit of {most} {what} {span} is reached, try again in {}",
        span_of(free_in)
    );
    Reply::new(code, 7, 1, text)
}

/// The same for one recipient more than the message has: it can go with another message.
pub fn one_more(excess: &Excess) -> Reply {
    match excess.kind {
        LimitKind::MessageRecipients if excess.most > 0 => {
            Reply::new(452, 5, 3, "Too many recipients, send the rest separately")
        }
        _ => over_limit(excess),
    }
}

/// The reply where the brake is pulled all the way: transient, for the mail may yet be its owner's.
pub fn braked() -> Reply {
    let text = "Sending from this account is suspended, ask its postmaster";
    Reply::new(450, 7, 1, text)
}

/// In words, rounded up.
fn span_of(span: Duration) -> String {
    let minutes = span.as_secs().div_ceil(60).max(1);
    match (minutes / 60, minutes % 60) {
        (0, 1) => "1 minute".to_owned(),
        (0, minutes) => format!("{minutes} minutes"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// The reply where the account was closed or removed since it signed in.
pub fn account_closed() -> Reply {
    Reply::new(550, 7, 1, "This account may not send mail")
}

/// The reply where we could not take custody; the client is to try again.
pub fn custody(storage: Storage) -> Reply {
    match storage {
        Storage::Full => Reply::new(452, 3, 1, "Not enough storage, try again later"),
        Storage::Failed => Reply::new(451, 3, 0, "Could not store the message, try again later"),
    }
}

/// The reply to a message that takes another one back: what became of that one's recipients.
pub fn withdrawn(id: &QueueId, withdrawn: u64, too_late: u64) -> Reply {
    match (withdrawn, too_late) {
        (0, 0) => {
            let text = format!("{id} is not in the queue: handed on already, or not yours");
            Reply::new(554, 0, 0, text)
        }
        (0, late) => {
            let text = format!("Too late for {id}: it is being handed on for {late} recipients");
            Reply::new(554, 0, 0, text)
        }
        (done, 0) => Reply::new(250, 0, 0, format!("{id} withdrawn for {done} recipients")),
        (done, late) => {
            let text = format!("{id} withdrawn for {done} recipients, too late for {late}");
            Reply::new(554, 0, 0, text)
        }
    }
}

/// The reply where the address that takes a message back stands among others.
pub fn cancels_among_others() -> Reply {
    Reply::new(
        550,
        5,
        3,
        "The address that withdraws a message must be the only recipient",
    )
}

/// The reply where a filter gave no answer.
pub fn filter_away() -> Reply {
    Reply::new(451, 7, 1, "A filter gives no answer now, try again later")
}

/// The reply where the account store or our own processing failed (S19).
pub fn unavailable() -> Reply {
    Reply::new(451, 3, 0, "Cannot process the message now, try again later")
}

fn address_problem(problem: &AddressFault) -> &'static str {
    match problem {
        AddressFault::NoMailbox => "no address is named",
        AddressFault::Ambiguous => "address can be read in more than one way",
        AddressFault::Unexpected { .. }
        | AddressFault::Unclosed
        | AddressFault::TooDeep
        | AddressFault::Mailbox(_) => "address is not valid",
    }
}

/// A field name from the network, no longer than a reply line bears.
fn short(field: &str) -> &str {
    let end = field
        .char_indices()
        .nth(60)
        .map_or(field.len(), |(at, _)| at);
    &field[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6409 §6, RFC 5321 §4.3.2.
    #[test]
    fn each_fault_has_its_reply() {
        let field = || "X-Name".to_owned();
        for (fault, expected) in [
            (Fault::Empty, "554 5.6.0 Message is empty"),
            (
                Fault::SectionTooLarge { max: 9 },
                "552 5.3.4 Header section is over the 9 octet limit",
            ),
            (
                Fault::TooManyFields { max: 9 },
                "552 5.3.4 Header section is over the 9 field limit",
            ),
            (
                Fault::Duplicate { field: "From" },
                "554 5.6.0 Header field From: must not occur twice",
            ),
            (
                Fault::Unqualified { field: "From" },
                "554 5.6.0 Header field From: domain is not fully qualified",
            ),
            (
                Fault::NotText { field: field() },
                "554 5.6.0 Header field X-Name is not valid text",
            ),
            (
                Fault::Utf8Address { field: "To" },
                "554 5.6.7 Address in To needs SMTPUTF8",
            ),
            (
                Fault::Utf8Structured { field: field() },
                "554 5.6.0 Header field X-Name: UTF-8 header needs SMTPUTF8",
            ),
            (Fault::Looping { max: 100 }, "554 5.4.6 Message is looping"),
        ] {
            assert_eq!(line(&refusal(&fault)), expected, "{fault:?}");
        }
    }

    /// S30.
    #[test]
    fn limits_that_time_mends_are_transient() {
        let excess = |kind, minutes: Option<u64>| Excess {
            scope: crate::policy::allowance::Scope::Site,
            kind,
            most: 5,
            free_in: minutes.map(|minutes| Duration::from_secs(minutes * 60)),
        };
        for (kind, minutes, expected) in [
            (
                LimitKind::MessagesHour,
                Some(1),
                "450 4.7.1 Limit of 5 messages an hour is reached, try again in 1 minute",
            ),
            (
                LimitKind::RecipientsDay,
                Some(125),
                "452 4.7.1 Limit of 5 recipients a day is reached, try again in 2 h 5 min",
            ),
            (
                LimitKind::NewRecipientsDay,
                Some(59),
                "452 4.7.1 Limit of 5 new recipients a day is reached, try again in 59 minutes",
            ),
            (
                LimitKind::RecipientsHour,
                None,
                "550 5.7.1 You may send to 5 recipients an hour only",
            ),
            (
                LimitKind::MessageOctets,
                None,
                "552 5.3.4 Message is over the 5 octet limit",
            ),
        ] {
            assert_eq!(line(&over_limit(&excess(kind, minutes))), expected);
        }
        let one_more = one_more(&excess(LimitKind::MessageRecipients, None));
        let expected = "452 4.5.3 Too many recipients, send the rest separately";
        assert_eq!(line(&one_more), expected);
    }

    #[test]
    fn failures_of_ours_are_transient_and_rights_are_not() {
        let address = Mailbox::parse("boss@ours.example").unwrap();
        for (reply, expected) in [
            (
                not_yours(&address),
                "550 5.7.1 You may not send as boss@ours.example",
            ),
            (
                custody(Storage::Full),
                "452 4.3.1 Not enough storage, try again later",
            ),
            (
                custody(Storage::Failed),
                "451 4.3.0 Could not store the message, try again later",
            ),
        ] {
            assert_eq!(line(&reply), expected);
        }
    }

    fn line(reply: &Reply) -> String {
        let mut octets = Vec::new();
        reply.write(&mut octets);
        String::from_utf8(octets).unwrap().trim_end().to_owned()
    }
}
