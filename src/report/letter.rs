//! The part for people: what happened, to whom, why, and what to do (RFC 6522 §3).
//!
//! English, lines of at most 72 characters where words allow it.

use mail_parser::MessageParser;

use super::{
    Action, Diagnostic, Incident, Kind, RecipientReport, RemoteMta, explanation, field::WORD_MAX,
    printable, status::DIAGNOSTIC_MAX,
};
use crate::{
    envelope::{MxProof, Proof},
    message::{date, fields},
    smtp::Mailbox,
};

/// Characters of a line, where words allow it.
const WIDTH: usize = 72;
/// Octets of a Subject that a report repeats.
const SUBJECT_MAX: usize = 300;

/// Writes the letter; `is_whole` says whether the whole message is returned behind it.
pub(super) fn write(
    incident: &Incident<'_>,
    kind: Kind,
    recipients: &[&RecipientReport],
    is_whole: bool,
) -> String {
    let mut out = String::new();
    let host = incident.reporting_mta.canonical();
    paragraph(&mut out, "", &opening(kind, recipients, &host));

    if let Some(subject) = subject(incident.header) {
        let subject = printable::readable(&subject, SUBJECT_MAX);
        paragraph_lines(&mut out, "    ", &format!("Subject:   {subject}"));
    }
    let arrived = date(incident.arrived);
    paragraph_lines(&mut out, "    ", &format!("Accepted:  {arrived}"));
    let id = incident.queue_id;
    paragraph_lines(&mut out, "    ", &format!("Queue id:  {id}"));
    out.push_str("\r\n");

    for recipient in recipients {
        about(&mut out, recipient);
    }
    if incident.requiretls {
        paragraph(
            &mut out,
            "",
            "The message asked to travel by protected links only (REQUIRETLS). So nothing of its \
             content stands in this report, which may not travel so.",
        );
    }
    let behind = if incident.requiretls {
        "Details for mail programs follow."
    } else if is_whole {
        "Details for mail programs follow, and then your message."
    } else {
        "Details for mail programs follow, and then the header of your message."
    };
    paragraph(&mut out, "", behind);
    // The line end in front of the boundary is the boundary's own.
    out.truncate(out.trim_end().len());
    out.push_str("\r\n");
    out
}

fn opening(kind: Kind, recipients: &[&RecipientReport], host: &str) -> String {
    let whom = if recipients.len() == 1 {
        "the recipient below"
    } else {
        "the recipients below"
    };
    let greeting = format!("This is the mail server {host}.");
    match kind {
        Kind::Failure => format!(
            "{greeting} Your message could not be delivered to {whom}. It will not be tried again."
        ),
        Kind::Delay => format!(
            "{greeting} Your message has not reached {whom} yet. It will be tried again; you need \
             not send it anew."
        ),
        Kind::Success => {
            format!("{greeting} You asked to be told what became of your message to {whom}.")
        }
    }
}

/// One recipient's paragraphs.
fn about(out: &mut String, recipient: &RecipientReport) {
    paragraph(out, "", &addressed(recipient));
    let remote = recipient.remote_mta.as_ref();
    match recipient.action {
        Action::Delivered => paragraph(out, INDENT, "The message was delivered."),
        Action::Relayed => {
            let hop = remote.map_or_else(|| "the next mail server".to_owned(), named);
            let secured = secured(recipient, remote);
            let behind = match recipient.evidence.is_traced {
                true => "What becomes of it there, that server may tell you.",
                false => {
                    "That server does not tell when it delivers; should it fail, it may write to \
                     you."
                }
            };
            let text = format!("The message was handed to {hop}{secured}. {behind}");
            paragraph(out, INDENT, &text);
        }
        Action::Expanded => paragraph(
            out,
            INDENT,
            "The address stands for several recipients, and the message was sent on to each. \
             Should one of them not get it, you may be told.",
        ),
        Action::Delayed { until } => {
            // Time alone may mend other trouble.
            let advised = match recipient.evidence.required {
                Some(_) => Advised::Yes,
                None => Advised::No,
            };
            explained(out, recipient, advised);
            if let Some(until) = until {
                let until = date(until);
                paragraph(out, INDENT, &format!("It will be tried until {until}."));
            }
        }
        Action::Failed => explained(out, recipient, Advised::Yes),
    }
}

const INDENT: &str = "    ";
const QUOTE: &str = "        ";

/// Whether the letter says what the sender can do.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Advised {
    Yes,
    No,
}

/// Why, who said so, and what to do.
fn explained(out: &mut String, recipient: &RecipientReport, advised: Advised) {
    let has_reply = matches!(recipient.diagnostic, Some(Diagnostic::Reply(_)));
    let explanation = explanation::of(recipient.status, has_reply);
    paragraph(
        out,
        INDENT,
        &format!("{} (Code {}.)", explanation.what, recipient.status),
    );
    match &recipient.diagnostic {
        None => {}
        Some(Diagnostic::Reply(reply)) => {
            let hop = recipient.remote_mta.as_ref();
            let hop = hop.map_or_else(|| "The next mail server".to_owned(), named);
            paragraph_lines(out, INDENT, &format!("{hop} answered:"));
            for line in printable::reply_lines(reply, DIAGNOSTIC_MAX) {
                paragraph_lines(out, QUOTE, &line);
            }
            out.push_str("\r\n");
        }
        Some(Diagnostic::Own(words)) => {
            let words = printable::readable(words, DIAGNOSTIC_MAX);
            let found = match &recipient.remote_mta {
                Some(hop) => format!("While speaking to {}: {words}", named(hop)),
                None => format!("In detail: {words}"),
            };
            paragraph(out, INDENT, &found);
        }
    }
    if let Some(required) = &recipient.evidence.required {
        paragraph(
            out,
            INDENT,
            &format!(
                "Protection that was required: {required}. Without it nothing was handed over."
            ),
        );
    }
    if advised == Advised::Yes {
        paragraph(
            out,
            INDENT,
            &format!("What you can do: {}", explanation.advice),
        );
    }
}

/// How a link was protected, to stand behind the name of its host.
fn secured(recipient: &RecipientReport, remote: Option<&RemoteMta>) -> String {
    let Some(version) = remote.and_then(|remote| remote.tls) else {
        return String::new();
    };
    let evidence = &recipient.evidence;
    let mut text = format!(", encrypted with {version}");
    let proof = evidence.tls.as_ref().map(|tls| tls.proof);
    text.push_str(match proof {
        Some(Proof::DaneEe | Proof::DaneTa) => "; its identity was proved by DANE",
        Some(Proof::WebPki) => "; its certificate is a trusted authority's",
        Some(Proof::GivenCa | Proof::Pin) => "; its identity was proved as your operator set it",
        Some(Proof::None) => "; nothing proved its identity",
        None => "",
    });
    text.push_str(match evidence.mx {
        Some(MxProof::Dnssec) => ", and DNSSEC names it as the domain's mail server",
        Some(MxProof::Sts) => ", and the domain's MTA-STS policy names it as its mail server",
        Some(MxProof::None) => ", and nothing proves that it is the domain's mail server",
        Some(MxProof::Unchecked) => {
            ", and this server could not see whether it is the domain's mail server: its resolver \
             does not validate DNSSEC, so DANE was not in use"
        }
        None => "",
    });
    if evidence.requiretls == Some(true) {
        text.push_str("; it promised to pass the message on by such links only (REQUIRETLS)");
    }
    text
}

/// The recipient's address, and the one the sender gave where that is another.
fn addressed(recipient: &RecipientReport) -> String {
    let shown = shown(&recipient.final_recipient);
    let Some(original) = &recipient.original_recipient else {
        return shown;
    };
    let original = original.address();
    if original.is_empty() || original == recipient.final_recipient.to_string() {
        return shown;
    }
    let original = printable::readable(&original, usize::MAX);
    format!("{shown} (sent to <{original}>)")
}

fn shown(mailbox: &Mailbox) -> String {
    let address = printable::readable(&mailbox.to_string(), usize::MAX);
    format!("<{address}>")
}

fn named(hop: &RemoteMta) -> String {
    let name = hop.name.canonical();
    match hop.address {
        Some(address) if hop.name.literal() != Some(address) => {
            format!("{name} [{}]", address.to_canonical())
        }
        _ => name,
    }
}

/// The message's Subject, decoded (RFC 2047).
fn subject(header: &[u8]) -> Option<String> {
    let fields = fields(header).ok()?;
    let field = fields
        .iter()
        .find(|field| header[field.name.clone()].eq_ignore_ascii_case(b"subject"))?;
    let mut alone = header[field.whole.clone()].to_vec();
    alone.extend_from_slice(b"\r\n");
    let message = MessageParser::new().parse_headers(&*alone)?;
    let subject = message.subject()?.trim();
    (!subject.is_empty()).then(|| subject.to_owned())
}

/// As [`paragraph_lines`], with an empty line behind.
fn paragraph(out: &mut String, indent: &str, text: &str) {
    paragraph_lines(out, indent, text);
    out.push_str("\r\n");
}

/// Text in lines; a word is broken only where no line could hold it.
fn paragraph_lines(out: &mut String, indent: &str, text: &str) {
    let mut column = 0;
    let mut blanks = 0;
    for word in text.split(' ') {
        if word.is_empty() {
            blanks += 1;
            continue;
        }
        let mut rest = word;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.floor_char_boundary(WORD_MAX));
            rest = behind;
            let width = piece.chars().count();
            if column == 0 {
                out.push_str(indent);
                column = indent.len();
            } else if column + blanks + width > WIDTH {
                out.push_str("\r\n");
                out.push_str(indent);
                column = indent.len();
            } else {
                out.extend(std::iter::repeat_n(' ', blanks));
                column += blanks;
            }
            out.push_str(piece);
            column += width;
            blanks = 0;
        }
        blanks += 1;
    }
    out.push_str("\r\n");
}
