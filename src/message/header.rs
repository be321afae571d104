//! The fields of one header section with their meaning, checked (RFC 5322 §3.6, RFC 6409 §8).
//!
//! What tells who speaks (From, Sender and their Resent- forms) must parse without doubt. A field
//! that may occur once and occurs twice is refused: readers differ in which they show. Beyond
//! that we forgive (RFC 5321 §3.3): the format of trace and Resent- fields is nobody's fault here.

use std::str;

use super::{AddressFault, AddressList, Fault, Field, fields};
use crate::smtp::Mailbox;

/// A field that we know by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Date,
    From,
    Sender,
    ReplyTo,
    To,
    Cc,
    Bcc,
    MessageId,
    InReplyTo,
    References,
    Subject,
    ResentFrom,
    ResentSender,
    ResentTo,
    ResentCc,
    ResentBcc,
    ResentReplyTo,
    ReturnPath,
    Received,
    /// A value and parameters (RFC 2045 §5.1, RFC 2183 §2).
    Parameters,
    /// Of a grammar in which encoded words have no place.
    Structured,
    /// Free text, or unknown to us.
    Other,
}

const KNOWN: &[(&str, Kind)] = &[
    ("Date", Kind::Date),
    ("From", Kind::From),
    ("Sender", Kind::Sender),
    ("Reply-To", Kind::ReplyTo),
    ("To", Kind::To),
    ("Cc", Kind::Cc),
    ("Bcc", Kind::Bcc),
    ("Message-ID", Kind::MessageId),
    ("In-Reply-To", Kind::InReplyTo),
    ("References", Kind::References),
    ("Subject", Kind::Subject),
    ("Resent-From", Kind::ResentFrom),
    ("Resent-Sender", Kind::ResentSender),
    ("Resent-To", Kind::ResentTo),
    ("Resent-Cc", Kind::ResentCc),
    ("Resent-Bcc", Kind::ResentBcc),
    ("Resent-Reply-To", Kind::ResentReplyTo),
    ("Return-Path", Kind::ReturnPath),
    ("Received", Kind::Received),
    ("Resent-Date", Kind::Structured),
    ("Resent-Message-ID", Kind::Structured),
    ("MIME-Version", Kind::Structured),
    ("Content-Type", Kind::Parameters),
    ("Content-Disposition", Kind::Parameters),
    ("Content-Transfer-Encoding", Kind::Structured),
    ("Content-ID", Kind::Structured),
    ("DKIM-Signature", Kind::Structured),
    ("Authentication-Results", Kind::Structured),
    ("Auto-Submitted", Kind::Structured),
    ("List-Unsubscribe", Kind::Structured),
    ("List-ID", Kind::Structured),
    ("List-Post", Kind::Structured),
    ("List-Help", Kind::Structured),
];

impl Kind {
    fn of(name: &[u8]) -> (Kind, &'static str) {
        KNOWN
            .iter()
            .find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))
            .map_or((Kind::Other, ""), |(known, kind)| (*kind, known))
    }

    /// Whether it may occur once only (RFC 5322 §3.6). Bcc is left out, for it is taken away.
    fn is_single(self) -> bool {
        match self {
            Kind::Date
            | Kind::From
            | Kind::Sender
            | Kind::ReplyTo
            | Kind::To
            | Kind::Cc
            | Kind::MessageId
            | Kind::InReplyTo
            | Kind::References
            | Kind::Subject => true,
            Kind::Bcc
            | Kind::ResentFrom
            | Kind::ResentSender
            | Kind::ResentTo
            | Kind::ResentCc
            | Kind::ResentBcc
            | Kind::ResentReplyTo
            | Kind::ReturnPath
            | Kind::Received
            | Kind::Parameters
            | Kind::Structured
            | Kind::Other => false,
        }
    }

    fn names_speaker(self) -> bool {
        matches!(
            self,
            Kind::From | Kind::Sender | Kind::ResentFrom | Kind::ResentSender
        )
    }

    /// Whether the client's field never leaves us (RFC 5322 §3.6.3, RFC 5321 §4.4).
    pub(super) fn is_removed(self) -> bool {
        matches!(self, Kind::Bcc | Kind::ResentBcc | Kind::ReturnPath)
    }
}

/// A field with what it is.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) field: Field,
    pub(super) kind: Kind,
    /// Its usual spelling where we know it.
    pub(super) name: &'static str,
    /// The addresses of a field that says who speaks.
    pub(super) list: Option<AddressList>,
}

/// A mailbox that the message claims to be from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Author<'a> {
    /// `From`, `Sender`, `Resent-From` or `Resent-Sender`.
    pub field: &'static str,
    /// One of the mailboxes in it.
    pub mailbox: &'a Mailbox,
}

/// A header section that can be sent on.
#[derive(Clone, Debug)]
pub struct Header {
    pub(super) section: Vec<u8>,
    pub(super) entries: Vec<Entry>,
}

impl Header {
    /// Reads a section as [`super::Splitter::finish`] gives it; over `hops` trace fields are a loop.
    ///
    /// # Errors
    /// The first [`Fault`] found. A missing From, Date or Message-ID is none: those are added.
    pub fn read(section: Vec<u8>, hops: usize) -> Result<Self, Fault> {
        let found = fields(&section)?;
        let mut entries: Vec<Entry> = Vec::with_capacity(found.len());
        let mut seen = Vec::with_capacity(12);
        let mut received = 0;
        for field in found {
            let (kind, name) = Kind::of(&section[field.name.clone()]);
            if kind.is_single() {
                if seen.contains(&kind) {
                    return Err(Fault::Duplicate { field: name });
                }
                seen.push(kind);
            }
            received += usize::from(kind == Kind::Received);
            if received > hops {
                return Err(Fault::Looping { max: hops });
            }
            let value = &section[field.value.clone()];
            // What is taken away may hold anything.
            let text = match str::from_utf8(value) {
                Ok(text) => text,
                Err(_) if kind.is_removed() => "",
                Err(_) => {
                    return Err(Fault::NotText {
                        field: label(&section, &field),
                    });
                }
            };
            let list = if kind.names_speaker() {
                Some(speakers(text, kind, name)?)
            } else {
                None
            };
            entries.push(Entry {
                field,
                kind,
                name,
                list,
            });
        }
        let header = Header { section, entries };
        let authors = header.list(Kind::From).map_or(0, |l| l.mailboxes.len());
        if authors > 1 && header.list(Kind::Sender).is_none() {
            return Err(Fault::SenderMissing);
        }
        Ok(header)
    }

    /// Whether the message says of itself that delivery matters more than protection:
    /// `TLS-Required: No`, once and with no other value (RFC 8689 §3).
    pub fn lowers_tls(&self) -> bool {
        let of_field = |entry: &&Entry| {
            let name = &self.section[entry.field.name.clone()];
            name.eq_ignore_ascii_case(b"TLS-Required")
        };
        let mut fields = self.entries.iter().filter(of_field);
        let only = fields.next().filter(|_| fields.next().is_none());
        only.is_some_and(|entry| {
            let value = &self.section[entry.field.value.clone()];
            without_comments(value)
                .trim_ascii()
                .eq_ignore_ascii_case(b"no")
        })
    }

    /// Every mailbox that the message claims to be from, in the order of the fields.
    pub fn authors(&self) -> impl Iterator<Item = Author<'_>> {
        self.entries.iter().flat_map(|entry| {
            let mailboxes = entry.list.iter().flat_map(|list| &list.mailboxes);
            mailboxes.map(|mailbox| Author {
                field: entry.name,
                mailbox,
            })
        })
    }

    pub(super) fn value(&self, entry: &Entry) -> &str {
        // `read` has seen that it is text.
        str::from_utf8(&self.section[entry.field.value.clone()]).unwrap_or_default()
    }

    /// Whether there is no From field, so that one will be added.
    pub fn lacks_from(&self) -> bool {
        !self.has(Kind::From)
    }

    pub(super) fn has(&self, kind: Kind) -> bool {
        self.entries.iter().any(|entry| entry.kind == kind)
    }

    fn list(&self, kind: Kind) -> Option<&AddressList> {
        let entry = self.entries.iter().find(|entry| entry.kind == kind)?;
        entry.list.as_ref()
    }
}

fn speakers(text: &str, kind: Kind, field: &'static str) -> Result<AddressList, Fault> {
    let fault = |problem| Fault::Addresses { field, problem };
    let list = AddressList::parse_unambiguous(text).map_err(fault)?;
    // One person sends (RFC 5322 §3.6.2), and readers differ in which of several they show.
    if matches!(kind, Kind::Sender | Kind::ResentSender) && list.mailboxes.len() > 1 {
        return Err(fault(AddressFault::Ambiguous));
    }
    if list
        .mailboxes
        .iter()
        .any(|mailbox| !mailbox.domain().is_fully_qualified())
    {
        return Err(Fault::Unqualified { field });
    }
    Ok(list)
}

/// The name of a field as given.
pub(super) fn label(section: &[u8], field: &Field) -> String {
    String::from_utf8_lossy(&section[field.name.clone()]).into_owned()
}

/// A value without its comments (RFC 5322 §3.2.2); line breaks and blanks become spaces.
fn without_comments(value: &[u8]) -> Vec<u8> {
    let (mut depth, mut quoted) = (0_usize, false);
    let mut plain = Vec::new();
    for octet in value {
        match octet {
            _ if quoted => quoted = false,
            b'\\' if depth > 0 => quoted = true,
            b'(' => depth += 1,
            b')' if depth > 0 => depth -= 1,
            b'\r' | b'\n' | b'\t' if depth == 0 => plain.push(b' '),
            octet if depth == 0 => plain.push(*octet),
            _ => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    /// R8689-3a.
    #[test]
    fn only_one_field_that_says_no_lowers() {
        for (fields, lowers) in [
            ("", false),
            ("TLS-Required: No\r\n", true),
            ("tls-required:no\r\n", true),
            ("TLS-Required: (really) No (yes\\)no)\r\n", true),
            ("TLS-Required:\r\n No\r\n", true),
            ("TLS-Required: Yes\r\n", false),
            ("TLS-Required: No, please\r\n", false),
            ("TLS-Required: N o\r\n", false),
            ("TLS-Required: \r\n", false),
            ("TLS-Required: (No)\r\n", false),
            ("TLS-Required: No\r\nTLS-Required: No\r\n", false),
            ("TLS-Required: No\r\nTLS-Required: Yes\r\n", false),
            ("X-TLS-Required: No\r\n", false),
        ] {
            let section = format!("From: a@b.example\r\n{fields}");
            let header = Header::read(section.into_bytes(), 100).unwrap();
            assert_eq!(header.lowers_tls(), lowers, "{fields:?}");
        }
    }

    use proptest::prelude::*;

    use super::*;

    fn read(section: &str) -> Result<Header, Fault> {
        Header::read(section.as_bytes().to_vec(), 100)
    }

    /// R5322-3.6a, R5322-3.6.2a, R6409-4.2b, R6409-6.3a.
    #[test]
    fn faults_of_fields_are_told_apart() {
        for (section, fault) in [
            (
                "From: a@b.example\r\nfrom : c@d.example\r\n",
                Fault::Duplicate { field: "From" },
            ),
            (
                "Subject: a\r\nSUBJECT: b\r\n",
                Fault::Duplicate { field: "Subject" },
            ),
            ("From: a@b.example, c@d.example\r\n", Fault::SenderMissing),
            ("From: a@host\r\n", Fault::Unqualified { field: "From" }),
            (
                "From: a@b.example\r\nSender: s@host\r\n",
                Fault::Unqualified { field: "Sender" },
            ),
            (
                "From: nobody:;\r\n",
                Fault::Addresses {
                    field: "From",
                    problem: AddressFault::NoMailbox,
                },
            ),
        ] {
            assert_eq!(read(section).err(), Some(fault), "{section:?}");
        }
        let latin1 = Header::read(b"X-Name: \xfc\r\n".to_vec(), 100);
        let field = "X-Name".to_owned();
        assert_eq!(latin1.err(), Some(Fault::NotText { field }));
        assert!(Header::read(b"Bcc: \xfc\r\n".to_vec(), 100).is_ok());
    }

    /// R5321-3.3g, R5321-3.3h, R5321-4.4g.
    #[test]
    fn odd_headers_are_taken() {
        for section in [
            "",
            "Received: nonsense\r\nFrom: a@b.example\r\n",
            "Resent-To: x\r\nTo: somebody somewhere\r\n",
            "Bcc : a@b.example\r\nBcc: c@d.example\r\n",
            "X-Odd:\r\nx=y!: \u{1}\r\n",
        ] {
            assert!(read(section).is_ok(), "{section:?}");
        }
    }

    /// R5321-6.3a.
    #[test]
    fn over_a_hundred_hosts_are_a_loop() {
        assert!(read(&"Received: x\r\n".repeat(100)).is_ok());
        let fault = read(&"Received: x\r\n".repeat(101)).err();
        assert_eq!(fault, Some(Fault::Looping { max: 100 }));
    }

    #[test]
    fn all_who_speak_are_listed() {
        let header = read(
            "From: a@b.example, c@d.example\r\nSender: s@b.example\r\n\
             Resent-From: r@b.example\r\nReply-To: x@y.example\r\n",
        )
        .unwrap();
        let all: Vec<String> = header
            .authors()
            .map(|a| format!("{} {}", a.field, a.mailbox))
            .collect();
        assert_eq!(
            all,
            [
                "From a@b.example",
                "From c@d.example",
                "Sender s@b.example",
                "Resent-From r@b.example"
            ]
        );
    }

    proptest! {
        #[test]
        fn no_section_makes_it_panic(octets in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Header::read(octets, 100);
        }
    }
}
