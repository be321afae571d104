//! The part for programs: message/delivery-status and its form beyond ASCII (RFC 3464 §2,
//! RFC 6533 §4.1).

use super::{Diagnostic, Incident, RecipientReport, ReturnChannel, field, printable};
use crate::{
    message::date,
    smtp::{Mailbox, OriginalRecipient, unitext},
};

/// Octets of a next hop's words that a report repeats.
pub(super) const DIAGNOSTIC_MAX: usize = 2_000;

/// The fields of a status part.
#[derive(Debug)]
pub(super) struct Status {
    /// Per-message fields, and behind a blank line each the fields of a recipient.
    pub text: String,
    /// Addresses stand in it that take RFC 6533.
    pub is_global: bool,
}

/// Writes what happened to `recipients`.
pub(super) fn write(incident: &Incident<'_>, recipients: &[&RecipientReport]) -> Status {
    let is_global = incident.channel == ReturnChannel::Utf8
        && recipients.iter().any(|recipient| {
            let original = recipient.original_recipient.as_ref();
            !recipient.final_recipient.is_ascii()
                || original.is_some_and(|original| !original.address().is_ascii())
        });
    let mut text = String::new();
    per_message(&mut text, incident);
    for recipient in recipients {
        text.push_str("\r\n");
        per_recipient(&mut text, recipient, is_global);
    }
    Status { text, is_global }
}

/// In the order of RFC 3464 §2.2.
fn per_message(out: &mut String, incident: &Incident<'_>) {
    if let Some(id) = incident.envelope_id {
        field::write(out, "Original-Envelope-Id", &id.decoded());
    }
    let name = incident.reporting_mta.canonical();
    field::write(out, "Reporting-MTA", &format!("dns; {name}"));
    field::write(out, "Arrival-Date", &date(incident.arrived));
    if let Some(deliver_by) = incident.deliver_by {
        field::write(out, "Deliver-By-Date", &date(deliver_by));
    }
    if let Some(request) = incident.release_request {
        field::write(out, "Future-Release-Request", &request.to_string());
    }
    field::write(out, "X-Gatepost-Queue-Id", incident.queue_id.as_str());
}

/// In the order of RFC 3464 §2.3.
fn per_recipient(out: &mut String, recipient: &RecipientReport, is_global: bool) {
    if let Some(original) = &recipient.original_recipient {
        field::write(
            out,
            "Original-Recipient",
            &original_address(original, is_global),
        );
    }
    field::write(
        out,
        "Final-Recipient",
        &final_address(&recipient.final_recipient, is_global),
    );
    field::write(out, "Action", recipient.action.as_str());
    field::write(out, "Status", &recipient.status.to_string());
    if let Some(remote) = &recipient.remote_mta {
        let name = remote.name.canonical();
        field::write(out, "Remote-MTA", &format!("dns; {name}"));
    }
    match &recipient.diagnostic {
        None => {}
        Some(Diagnostic::Reply(reply)) => {
            let mut lines = printable::reply_lines(reply, DIAGNOSTIC_MAX);
            if let Some(first) = lines.first_mut() {
                first.insert_str(0, "smtp; ");
                field::write_lines(out, "Diagnostic-Code", &lines);
            }
        }
        Some(Diagnostic::Own(words)) => {
            let words = printable::ascii(words, DIAGNOSTIC_MAX);
            field::write(out, "Diagnostic-Code", &format!("x-gatepost; {words}"));
        }
    }
    if let Some(at) = recipient.last_attempt {
        field::write(out, "Last-Attempt-Date", &date(at));
    }
    if let super::Action::Delayed { until: Some(until) } = recipient.action {
        field::write(out, "Will-Retry-Until", &date(until));
    }
    evidence(out, recipient);
}

/// Extension fields (RFC 3464 §2.4): how the last attempt travelled.
fn evidence(out: &mut String, recipient: &RecipientReport) {
    let evidence = &recipient.evidence;
    let remote = recipient.remote_mta.as_ref();
    if let Some(required) = &evidence.required {
        field::write(out, "X-Gatepost-Required-Protection", required);
    }
    if let (Some(proof), Some(remote)) = (evidence.mx, remote) {
        let name = remote.name.canonical();
        let words = format!("{name}; proof={}", proof.as_str());
        field::write(out, "X-Gatepost-MX", &words);
    }
    match (&evidence.tls, remote.and_then(|remote| remote.tls)) {
        (Some(tls), _) => {
            let (version, suite, proof) = (tls.version, &tls.suite, tls.proof.as_str());
            field::write(out, "X-Gatepost-TLS", &format!("{version}; {suite}"));
            field::write(out, "X-Gatepost-Certificate", &format!("proof={proof}"));
        }
        (None, Some(version)) => field::write(out, "X-Gatepost-TLS", &version.to_string()),
        (None, None) => {}
    }
    if let Some(passed_on) = evidence.requiretls {
        let words = match passed_on {
            true => "passed on",
            false => "not passed on",
        };
        field::write(out, "X-Gatepost-REQUIRETLS", words);
    }
}

/// Of type `rfc822`, or `utf-8` in the form that the part can hold (RFC 6533 §3).
fn final_address(mailbox: &Mailbox, is_global: bool) -> String {
    let address = mailbox.to_string();
    if mailbox.is_ascii() {
        format!("rfc822; {address}")
    } else if is_global {
        format!("utf-8; {address}")
    } else {
        format!("utf-8; {}", unitext::encode(&address))
    }
}

/// Of the type the sender gave; decoded as far as the part can hold it (RFC 3461 §6.3 (d),
/// RFC 6533 §3).
fn original_address(original: &OriginalRecipient, is_global: bool) -> String {
    let address_type = original.address_type();
    let address = original.address();
    if is_global || address.is_ascii() {
        return format!("{address_type}; {address}");
    }
    let ascii = original.to_ascii();
    let address = ascii.split_once(';').map_or("", |(_, address)| address);
    format!("{address_type}; {address}")
}
