//! A whole report: header section, parts, and what delivery must know (RFC 3464 §2, RFC 6522 §3).

use std::{fmt::Write as _, time::SystemTime};

use data_encoding::HEXLOWER;

use super::{
    Incident, Kind, RecipientReport, ReturnChannel, boundary, field, letter, quoted_printable,
    redaction,
    returned::{self, Encoding},
    status,
};
use crate::{
    envelope::BodyType,
    message::{date, message_id},
    smtp::Mailbox,
};

/// What makes a report this one.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// The report's Date.
    pub now: SystemTime,
    /// Fresh for each report: its Message-ID and its boundary come of them.
    pub random: [u8; 16],
}

/// A report as it goes into the spool, to be sent from `<>` to the incident's sender.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub struct Notification {
    /// What it tells of.
    pub kind: Kind,
    /// Where it goes: To, and the only recipient.
    pub to: Mailbox,
    /// The header section without its blank line.
    pub header: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether octets above 127 occur.
    pub body_type: BodyType,
    /// Whether it can travel by SMTPUTF8 only (RFC 6533 §4).
    pub smtputf8: bool,
}

impl Notification {
    /// The report of this kind; none where nobody is to be told of one.
    pub fn of(incident: &Incident<'_>, kind: Kind, stamp: &Stamp) -> Option<Self> {
        let to = incident.sender.mailbox()?;
        let recipients = incident.due(kind);
        if recipients.is_empty() {
            return None;
        }
        // Of such a message nothing but what names it goes on from here.
        let kept;
        let redacted;
        let incident = if incident.requiretls {
            kept = redaction::redacted(incident.header);
            redacted = Incident {
                header: &kept,
                body: None,
                ..incident.clone()
            };
            &redacted
        } else {
            incident
        };
        let returned = returned::write(incident, kind);
        let parts = [
            letter(incident, kind, &recipients, returned.is_whole),
            status_part(incident, &recipients),
            Part {
                description: if incident.requiretls {
                    "What names your message"
                } else if returned.is_whole {
                    "Your message"
                } else {
                    "Header of your message"
                },
                media_type: returned.media_type,
                encoding: returned.encoding,
                octets: returned.octets,
            },
        ];
        let texts: Vec<&[u8]> = parts.iter().map(|part| &*part.octets).collect();
        let boundary = boundary::choose(&stamp.random, &texts);
        let header = header(incident, kind, to, stamp, &boundary);

        let mut body = b"This is a report in parts (MIME).\r\n".to_vec();
        for part in &parts {
            part.write(&mut body, &boundary);
        }
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());

        let is_unencoded_global = parts.iter().any(|part| {
            part.encoding == Encoding::EightBit && part.media_type.starts_with("message/global")
        });
        Some(Notification {
            kind,
            to: to.clone(),
            body_type: if header.is_ascii() && body.is_ascii() {
                BodyType::SevenBit
            } else {
                BodyType::EightBitMime
            },
            smtputf8: !header.is_ascii() || is_unencoded_global,
            header: header.into_bytes(),
            body,
        })
    }
}

/// One part of a report, encoded.
struct Part {
    /// What a mail program may show as the part's name.
    description: &'static str,
    /// With its parameters.
    media_type: &'static str,
    encoding: Encoding,
    octets: Vec<u8>,
}

impl Part {
    fn write(&self, out: &mut Vec<u8>, boundary: &str) {
        let mut fields = String::new();
        field::write(&mut fields, "Content-Description", self.description);
        field::write(&mut fields, "Content-Type", self.media_type);
        let encoding = self.encoding.as_str();
        field::write(&mut fields, "Content-Transfer-Encoding", encoding);
        out.extend_from_slice(format!("\r\n--{boundary}\r\n{fields}\r\n").as_bytes());
        out.extend_from_slice(&self.octets);
    }
}

fn letter(
    incident: &Incident<'_>,
    kind: Kind,
    recipients: &[&RecipientReport],
    is_whole: bool,
) -> Part {
    let text = letter::write(incident, kind, recipients, is_whole).into_bytes();
    let (media_type, encoding, octets) = if text.is_ascii() {
        ("text/plain; charset=us-ascii", Encoding::SevenBit, text)
    } else if incident.channel == ReturnChannel::SevenBit {
        let encoded = quoted_printable::encode(&text);
        (
            "text/plain; charset=utf-8",
            Encoding::QuotedPrintable,
            encoded,
        )
    } else {
        ("text/plain; charset=utf-8", Encoding::EightBit, text)
    };
    Part {
        description: "Report",
        media_type,
        encoding,
        octets,
    }
}

fn status_part(incident: &Incident<'_>, recipients: &[&RecipientReport]) -> Part {
    let status = status::write(incident, recipients);
    let (media_type, encoding) = if status.is_global {
        ("message/global-delivery-status", Encoding::EightBit)
    } else {
        ("message/delivery-status", Encoding::SevenBit)
    };
    Part {
        description: "Delivery status",
        media_type,
        encoding,
        octets: status.text.into_bytes(),
    }
}

fn header(
    incident: &Incident<'_>,
    kind: Kind,
    to: &Mailbox,
    stamp: &Stamp,
    boundary: &str,
) -> String {
    let mut out = String::new();
    let host = incident.reporting_mta.canonical();
    field::write(&mut out, "Date", &date(stamp.now));
    field::write(
        &mut out,
        "From",
        &format!("Mail Delivery System <MAILER-DAEMON@{host}>"),
    );
    // Only a local part beyond ASCII needs SMTPUTF8 (RFC 6531 §3.2).
    let to = if to.local_part().is_ascii() {
        format!("<{}@{}>", to.local_part(), to.domain().canonical())
    } else {
        format!("<{to}>")
    };
    field::write(&mut out, "To", &to);
    let subject = match kind {
        Kind::Failure => "Your message could not be delivered",
        Kind::Delay => "Your message is delayed",
        Kind::Success => "What became of your message",
    };
    field::write(&mut out, "Subject", subject);
    let id = HEXLOWER.encode(&stamp.random);
    field::write(&mut out, "Message-ID", &format!("<{id}@{host}>"));
    if let Some(id) = message_id(incident.header) {
        field::write(&mut out, "In-Reply-To", id);
        field::write(&mut out, "References", id);
    }
    // Never auto-generated (RFC 3834 §5.2).
    field::write(&mut out, "Auto-Submitted", "auto-replied");
    field::write(&mut out, "MIME-Version", "1.0");
    let _ = write!(
        out,
        "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{boundary}\"\r\n"
    );
    out
}
