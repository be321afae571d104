//! What filters make of a finished message, before it is signed.

use std::sync::Arc;

use super::{
    Intake, Refusal,
    encode::{Finished, blocking},
};
use crate::{
    envelope::{Envelope, TlsFacts},
    filter::{Changes, Filter, Shown, WhenAway, Word},
    smtp::Mailbox,
};

/// Octets of a line at most (RFC 5322 §2.1.1).
const LINE_MAX: usize = 998;

/// What is known around a message that is shown.
pub(super) struct Around<'a> {
    pub queue_id: &'a str,
    pub account: &'a str,
    pub peer: std::net::SocketAddr,
    pub client_name: &'a str,
    pub tls: Option<&'a TlsFacts>,
}

/// What filters have made of a message.
pub(super) struct Filtered {
    pub message: Finished,
    /// Lines of a new body are over 998 octets.
    pub has_long_lines: bool,
    /// Why it is to be held.
    pub hold: Option<String>,
}

impl Intake {
    /// Shows a message to every filter in turn, each as the one before it left it.
    pub(super) async fn filtered(
        &self,
        filters: &[Filter],
        message: Finished,
        envelope: &mut Envelope,
        around: &Around<'_>,
    ) -> Result<Filtered, Refusal> {
        let mut filtered = Filtered {
            message,
            has_long_lines: false,
            hold: None,
        };
        for filter in filters {
            match self.ask(filter, &filtered.message, envelope, around).await {
                Ok(Word::Pass(changes)) => {
                    let changed = self.change(filter, filtered, *changes, envelope).await;
                    filtered = changed?;
                }
                Ok(Word::Refuse(reply)) => {
                    count(filter, "refused");
                    return Err(Refusal::Filtered {
                        filter: filter.name.clone(),
                        reply,
                    });
                }
                Err(trouble) => {
                    count(filter, "away");
                    let (name, address) = (&filter.name, &filter.address);
                    tracing::warn!(filter = %name, %address, %trouble, "filter gave no answer");
                    match filter.when_away {
                        WhenAway::Accept => {}
                        WhenAway::Defer => return Err(Refusal::FilterAway(name.clone())),
                        WhenAway::Hold => {
                            let reason = format!("filter {name} gave no answer");
                            filtered.hold.get_or_insert(reason);
                        }
                    }
                }
            }
        }
        Ok(filtered)
    }

    async fn ask(
        &self,
        filter: &Filter,
        message: &Finished,
        envelope: &Envelope,
        around: &Around<'_>,
    ) -> Result<Word, crate::filter::Away> {
        let options = self.options.load_full();
        let recipients: Vec<Mailbox> = envelope
            .recipients
            .iter()
            .map(|recipient| recipient.mailbox.clone())
            .collect();
        let place = self.spool.place_of(&message.body);
        let (_, header) = apart(&message.header);
        let shown = Shown {
            hostname: &options.hostname,
            queue_id: around.queue_id,
            peer: around.peer,
            client_name: around.client_name,
            account: around.account,
            tls: around.tls.map(|tls| (tls.version.to_string(), tls.suite)),
            sender: &envelope.sender,
            recipients: &recipients,
            header,
            smtputf8: envelope.smtputf8,
            body: Arc::new(move || place.open()),
        };
        filter.examine(&shown).await
    }

    async fn change(
        &self,
        filter: &Filter,
        mut filtered: Filtered,
        changes: Changes,
        envelope: &mut Envelope,
    ) -> Result<Filtered, Refusal> {
        let is_changed = changes != Changes::default();
        count(filter, if is_changed { "changed" } else { "passed" });
        let Changes {
            header,
            body,
            sender,
            added,
            removed,
            hold,
        } = changes;
        if let Some(header) = header {
            let (trace, _) = apart(&filtered.message.header);
            filtered.message.header = [trace, &header].concat();
        }
        if let Some(body) = body {
            let body = blocking(move || canonical(&body)).await?;
            filtered.message.eight_bit = !body.is_ascii();
            filtered.has_long_lines = body
                .split(|&octet| octet == b'\n')
                .any(|line| line.len() > LINE_MAX + 1);
            let mut copy = self.spool.body();
            copy.write(&body).await?;
            filtered.message.body = copy.finish().await?;
        }
        if let Some(sender) = sender {
            envelope.sender = sender;
        }
        let mut hold = hold.map(|reason| format!("filter {}: {reason}", filter.name));
        let mut recipients = envelope.recipients.clone();
        let is = |one: &Mailbox, other: &Mailbox| one.folded_key() == other.folded_key();
        recipients.retain(|it| !removed.iter().any(|gone| is(gone, &it.mailbox)));
        for mailbox in added {
            if !recipients.iter().any(|it| is(&it.mailbox, &mailbox)) {
                recipients.push(mailbox.into());
            }
        }
        if recipients.is_empty() {
            // It was answered with 250, or will be: it must not vanish.
            let reason = format!("filter {} took every recipient away", filter.name);
            hold.get_or_insert(reason);
        } else {
            envelope.recipients = recipients;
        }
        filtered.hold = filtered.hold.or(hold);
        Ok(filtered)
    }
}

fn count(filter: &Filter, word: &'static str) {
    let name = filter.name.clone();
    metrics::counter!("gatepost_filtered_total", "filter" => name, "word" => word).increment(1);
}

/// Our own trace field, which filters do not see, and the rest.
fn apart(section: &[u8]) -> (&[u8], &[u8]) {
    let is_trace = section
        .get(..9)
        .is_some_and(|name| name.eq_ignore_ascii_case(b"Received:"));
    if !is_trace {
        return (&[], section);
    }
    let ends = memchr::memmem::find_iter(section, b"\r\n").map(|at| at + 2);
    let mut ends = ends.filter(|&at| !matches!(section.get(at), Some(b' ' | b'\t')));
    section.split_at(ends.next().unwrap_or(0))
}

/// Lines that end in CRLF, the last one too.
fn canonical(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + body.len() / 32);
    let mut octets = body.iter().copied().peekable();
    while let Some(octet) = octets.next() {
        match octet {
            b'\r' => {
                octets.next_if_eq(&b'\n');
                out.extend_from_slice(b"\r\n");
            }
            b'\n' => out.extend_from_slice(b"\r\n"),
            octet => out.push(octet),
        }
    }
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_crlf() {
        for (body, out) in [
            (&b"a\nb\r\nc\rd"[..], &b"a\r\nb\r\nc\r\nd\r\n"[..]),
            (b"", b""),
            (b"a\r\n", b"a\r\n"),
            (b"\r\r\n", b"\r\n\r\n"),
        ] {
            assert_eq!(canonical(body), out, "{}", body.escape_ascii());
        }
    }

    #[test]
    fn our_own_trace_field_is_kept_apart() {
        let section = b"Received: from x\r\n\tby y\r\nFrom: a@b.c\r\n\r\n";
        let (trace, rest) = apart(section);
        assert_eq!(trace, b"Received: from x\r\n\tby y\r\n");
        assert_eq!(rest, b"From: a@b.c\r\n\r\n");
        assert_eq!(apart(b"From: a@b.c\r\n\r\n").0, b"");
    }
}
