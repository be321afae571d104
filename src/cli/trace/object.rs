//! A trace for a program: nothing is left out and nothing is shortened.

use serde_json::{Value, json};

use crate::{
    cli::{events, queue::list::recipient, timestamp},
    store::queue::{QueueRecipient, StoredTry, Trace, TracedReport},
};

/// A message for a program.
pub fn object(trace: &Trace) -> Value {
    let message = trace.message.as_ref().map(|message| {
        json!({
            "message_id": message.message_id,
            "account": message.account_name,
            "sender": message.sender,
            "size_octets": message.size_octets,
            "received_at": timestamp(message.received_at),
            "departed_at": message.departed_at.map(timestamp),
            "report_of": message.report_of,
        })
    });
    json!({
        "queue_id": trace.id,
        "message": message,
        "waiting": trace.waiting.iter().map(waiting).collect::<Vec<_>>(),
        "tries": trace.tries.iter().map(tried).collect::<Vec<_>>(),
        "reports": trace.reports.iter().map(report).collect::<Vec<_>>(),
        "events": trace.events.iter().map(events::object).collect::<Vec<_>>(),
    })
}

fn waiting(to: &QueueRecipient) -> Value {
    let mut value = recipient(to);
    value["recipient"] = json!(to.number);
    value["delay_told_at"] = json!(to.delay_told_at.map(timestamp));
    value
}

fn tried(tried: &StoredTry) -> Value {
    let tls = tried.tls.as_ref().map(|tls| {
        json!({
            "version": tls.version,
            "suite": tls.suite,
            "fingerprint": tls.fingerprint,
            "proof": tls.proof,
        })
    });
    json!({
        "recipient": tried.recipient,
        "address": tried.address,
        "route": tried.next_hop,
        "host": tried.host,
        "peer": tried.peer,
        "tls": tls,
        "mx_proof": tried.mx_proof,
        "requiretls": tried.requiretls,
        "started_at": timestamp(tried.started_at),
        "ended_at": timestamp(tried.ended_at),
        "outcome": tried.outcome,
        "code": tried.code,
        "text": tried.text,
        "said_by": tried.said_by,
    })
}

fn report(report: &TracedReport) -> Value {
    let last = report.last.as_ref();
    json!({
        "queue_id": report.id,
        "made_at": timestamp(report.made_at),
        "departed_at": report.departed_at.map(timestamp),
        "waiting": report.waiting.iter().map(waiting).collect::<Vec<_>>(),
        "outcome": last.map(|(outcome, _)| outcome),
        "text": last.map(|(_, text)| text),
    })
}
