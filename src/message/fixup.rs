//! What we mend, add and take away before a message goes on (RFC 6409 §8).
//!
//! Everything else stays octet for octet, and no field changes its place.

use std::{borrow::Cow, time::SystemTime};

use data_encoding::BASE32HEX_NOPAD;

use super::{
    AddressList, DateVerdict, Encoder, Fault, Header, Trace, date,
    header::{Entry, Kind, label},
    judge,
    parameter::extend_parameters,
};
use crate::smtp::{Domain, Mailbox};

/// What the fix-ups need to know.
#[derive(Clone, Debug)]
pub struct Fixup<'a> {
    /// For a missing Date.
    pub now: SystemTime,
    /// Makes a missing Message-ID unique.
    pub random: [u8; 16],
    /// Stands behind the `@` of a Message-ID.
    pub hostname: &'a Domain,
    /// The account's own address, for a missing From.
    pub own: &'a Mailbox,
    /// It replaces what From: and Sender: say.
    pub forces_from: bool,
    /// Whether raw UTF-8 may stay (RFC 6531 §3.4).
    pub smtputf8: bool,
}

impl Fixup<'_> {
    /// Writes the finished header section: trace field, the message's own fields, what was
    /// missing, and the blank line.
    ///
    /// # Errors
    /// [`Fault`] where raw UTF-8 stands in a place that cannot be encoded.
    pub fn apply(&self, header: &Header, trace: &Trace<'_>) -> Result<Vec<u8>, Fault> {
        let mut out = Vec::with_capacity(header.section.len() + 512);
        trace.write(&mut out);
        for entry in &header.entries {
            if !entry.kind.is_removed() {
                self.field(header, entry, &mut out)?;
            }
        }
        if !header.has(Kind::From) {
            if !self.smtputf8 && !self.own.is_ascii() {
                return Err(Fault::Utf8Address { field: "From" });
            }
            add(&mut out, "From", &self.own.to_string());
        }
        if !header.has(Kind::Date) {
            add(&mut out, "Date", &date(self.now));
        }
        if !header.has(Kind::MessageId) {
            add(&mut out, "Message-ID", &self.message_id());
        }
        out.extend_from_slice(b"\r\n");
        Ok(out)
    }

    fn field(&self, header: &Header, entry: &Entry, out: &mut Vec<u8>) -> Result<(), Fault> {
        let value = header.value(entry);
        match entry.kind {
            // Who is one speaker needs no other one.
            Kind::Sender if self.forces_from => return Ok(()),
            Kind::From if self.forces_from => return self.replace_from(value, out),
            Kind::Date => match judge(value) {
                DateVerdict::Valid => {}
                DateVerdict::Obsolete(modern) => {
                    add(out, "Date", &modern);
                    return Ok(());
                }
                DateVerdict::Invalid => {
                    add(out, "Date", &date(self.now));
                    return Ok(());
                }
            },
            Kind::MessageId if !is_message_id(value) => {
                add(out, "Message-ID", &self.message_id());
                return Ok(());
            }
            _ => {}
        }
        let stays = self.smtputf8 || value.is_ascii();
        if !stays && matches!(entry.kind, Kind::InReplyTo | Kind::References) {
            // Somebody else made the identifier, and it cannot be encoded. A reply that has lost
            // its place in a thread is of more use than one that cannot be sent.
            let known = value.split_ascii_whitespace().filter(|id| id.is_ascii());
            let known = known.collect::<Vec<_>>().join("\r\n ");
            if !known.is_empty() {
                add(out, entry.name, &known);
            }
            return Ok(());
        }
        if stays && entry.kind == Kind::Received {
            out.extend_from_slice(&header.section[entry.field.whole.clone()]);
            return Ok(());
        }
        // Blanks before the colon and lines of blanks alone are read, never written (RFC 5322 §4):
        // some readers take the first for another field and the second for the end of the section.
        let name = &header.section[entry.field.name.clone()];
        let value = without_blank_lines(value);
        out.extend_from_slice(name);
        out.push(b':');
        if stays {
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
            return Ok(());
        }
        let mut encoder = Encoder::new(out, name.len() + 1);
        match entry.kind {
            Kind::Subject | Kind::Other => encoder.unstructured(&value),
            Kind::From
            | Kind::Sender
            | Kind::ReplyTo
            | Kind::To
            | Kind::Cc
            | Kind::ResentFrom
            | Kind::ResentSender
            | Kind::ResentTo
            | Kind::ResentCc
            | Kind::ResentReplyTo => encode_addresses(&mut encoder, entry, &value)?,
            Kind::Parameters => match extend_parameters(&value) {
                Some(extended) => encoder.copy(&extended),
                None => {
                    return Err(Fault::Utf8Structured {
                        field: label(&header.section, &entry.field),
                    });
                }
            },
            Kind::Date
            | Kind::MessageId
            | Kind::InReplyTo
            | Kind::References
            | Kind::Bcc
            | Kind::ResentBcc
            | Kind::ReturnPath
            | Kind::Received
            | Kind::Structured => {
                return Err(Fault::Utf8Structured {
                    field: label(&header.section, &entry.field),
                });
            }
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// The account's own address, under the first name that stood there where ASCII can say it.
    fn replace_from(&self, value: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
        if !self.smtputf8 && !self.own.is_ascii() {
            return Err(Fault::Utf8Address { field: "From" });
        }
        let list = AddressList::parse(value).ok();
        let name = list
            .and_then(|list| list.phrases.first().cloned())
            .map(|at| value[at].trim_matches(BLANKS))
            .filter(|name| name.is_ascii() && !name.contains(['\r', '\n']) && !name.is_empty());
        match name {
            Some(name) => add(out, "From", &format!("{name} <{}>", self.own)),
            None => add(out, "From", &self.own.to_string()),
        }
        Ok(())
    }

    fn message_id(&self) -> String {
        let unique = BASE32HEX_NOPAD.encode(&self.random).to_ascii_lowercase();
        format!("<{unique}@{}>", self.hostname.canonical())
    }
}

/// `value` is made of parsed values and our own digits, so it holds no CR, LF or NUL (S21).
fn add(out: &mut Vec<u8>, name: &str, value: &str) {
    for piece in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(piece.as_bytes());
    }
}

/// `value` without continuation lines that hold only blanks.
fn without_blank_lines(value: &str) -> Cow<'_, str> {
    let is_blank = |line: &&str| line.bytes().all(|b| b == b' ' || b == b'\t');
    if !value.split("\r\n").skip(1).any(|line| is_blank(&line)) {
        return Cow::Borrowed(value);
    }
    let mut lines = value.split("\r\n");
    let mut kept = lines.next().unwrap_or_default().to_owned();
    for line in lines.filter(|line| !is_blank(line)) {
        kept.push_str("\r\n");
        kept.push_str(line);
    }
    Cow::Owned(kept)
}

/// Encodes display names and comments; an address beyond ASCII cannot be encoded.
fn encode_addresses(encoder: &mut Encoder<'_>, entry: &Entry, value: &str) -> Result<(), Fault> {
    let field = entry.name;
    let list = AddressList::parse(value).map_err(|problem| Fault::Addresses { field, problem })?;
    let mut places: Vec<_> = list.phrases.iter().map(|at| (at, Place::Phrase)).collect();
    places.extend(list.comments.iter().map(|at| (at, Place::Comment)));
    places.sort_by_key(|(at, _)| at.start);
    let mut copied = 0;
    for (at, place) in places {
        let text = &value[at.clone()];
        // A comment inside a phrase went with it.
        if text.is_ascii() || at.start < copied {
            continue;
        }
        let between = &value[copied..at.start];
        if !between.is_ascii() {
            return Err(Fault::Utf8Address { field });
        }
        encoder.copy(between);
        match place {
            Place::Phrase => {
                // An encoded word is one only with blanks around it (RFC 2047 §5 (3)).
                if !between.ends_with(BLANKS) {
                    encoder.copy(" ");
                }
                encoder.phrase(text);
                if !value[at.end..].starts_with(BLANKS) {
                    encoder.copy(" ");
                }
            }
            Place::Comment => encoder.comment(text),
        }
        copied = at.end;
    }
    let rest = &value[copied..];
    if !rest.is_ascii() {
        return Err(Fault::Utf8Address { field });
    }
    encoder.copy(rest);
    Ok(())
}

const BLANKS: [char; 3] = [' ', '\t', '\r'];

enum Place {
    Phrase,
    Comment,
}

/// Whether `value` is one `<left@right>` of printable ASCII.
///
/// Ids that break finer rules are kept: replies and the sender's own copy refer to them.
fn is_message_id(value: &str) -> bool {
    let value = value.trim_matches([' ', '\t', '\r', '\n']);
    let Some(inner) = value.strip_prefix('<').and_then(|v| v.strip_suffix('>')) else {
        return false;
    };
    let printable = |b: u8| b.is_ascii_graphic() && b != b'<' && b != b'>';
    inner.bytes().all(printable)
        && inner
            .split_once('@')
            .is_some_and(|(left, right)| !left.is_empty() && !right.is_empty())
}

#[cfg(test)]
mod tests {
    use mail_parser::MessageParser;
    use proptest::prelude::*;

    use super::*;
    use crate::envelope::QueueId;

    fn apply(section: &str, smtputf8: bool) -> Result<String, Fault> {
        let header = Header::read(section.as_bytes().to_vec(), 100)?;
        let hostname = Domain::parse("mail.ours.example").unwrap();
        let id = QueueId::new(ulid::Ulid(7));
        let trace = Trace {
            hostname: &hostname,
            client: None,
            tls: None,
            smtputf8,
            id: &id,
            priority: None,
            only_recipient: None,
            date: "Thu, 1 Jan 1970 00:00:00 +0000",
        };
        let mut top = Vec::new();
        trace.write(&mut top);
        let fixup = Fixup {
            forces_from: false,
            now: SystemTime::UNIX_EPOCH,
            random: [0; 16],
            hostname: &hostname,
            own: &Mailbox::parse("own@ours.example").unwrap(),
            smtputf8,
        };
        let out = fixup.apply(&header, &trace)?;
        assert!(out.starts_with(&top), "the trace field is not on top");
        Ok(String::from_utf8(out[top.len()..].to_vec()).unwrap())
    }

    const GOOD: &str = "From: a@b.example\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\n\
                        Message-ID: <x@y>\r\n";

    /// R6409-8.2a, R6409-8.3a, R5322-3.3a, R5322-3.6.4a.
    #[test]
    fn what_is_missing_is_added_and_what_is_good_stays() {
        assert_eq!(apply(GOOD, false).unwrap(), format!("{GOOD}\r\n"));
        assert_eq!(
            apply(
                "Date: 30 Feb 2026 10:00:00 +0000\r\nMessage-ID: broken\r\n",
                false
            )
            .unwrap(),
            "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n\
             Message-ID: <00000000000000000000000000@mail.ours.example>\r\n\
             From: own@ours.example\r\n\r\n"
        );
        assert_eq!(
            apply("", false).unwrap(),
            "From: own@ours.example\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\n\
             Message-ID: <00000000000000000000000000@mail.ours.example>\r\n\r\n"
        );
    }

    /// R5322-3.6.3a, R5321-4.4i, R5321-7.2a.
    #[test]
    fn hidden_recipients_and_return_path_go() {
        let section = format!(
            "Bcc: h@b.example,\r\n i@b.example\r\nReturn-Path: <x@y.example>\r\n{GOOD}\
             bcc : h@b.example\r\nResent-Bcc: h@b.example\r\n"
        );
        assert_eq!(apply(&section, false).unwrap(), format!("{GOOD}\r\n"));
    }

    /// R5322-4a, R5321-4.4e.
    #[test]
    fn obsolete_forms_that_others_misread_are_not_passed_on() {
        let section = format!("Received : x\r\n \r\nSubject \t: a\r\n \t\r\n b\r\n \r\n{GOOD}");
        assert_eq!(
            apply(&section, false).unwrap(),
            format!("Received : x\r\n \r\nSubject: a\r\n b\r\n{GOOD}\r\n")
        );
    }

    /// R6531-3.5a: raw UTF-8 in text is encoded, in an address refused.
    #[test]
    fn utf8_is_encoded_where_words_may_stand() {
        for (field, expected) in [
            ("Subject: \u{fc}", "Subject: =?utf-8?B?w7w=?="),
            (
                "To: \"\u{fc}, x\" <a@b.example>, c@d.example (\u{fc})",
                "To: =?utf-8?B?w7wsIHg=?= <a@b.example>, c@d.example (=?utf-8?B?w7w=?=)",
            ),
            (
                "To: \u{fc}: a@b.example;",
                "To: =?utf-8?B?w7w=?= : a@b.example;",
            ),
            (
                "References: <a@b.example>\r\n <\u{fc}@b.example> <c@b.example>",
                "References: <a@b.example>\r\n <c@b.example>",
            ),
            // Blanks stand around every encoded word (RFC 2047 §5 (3)).
            (
                "Cc: a@b.example,\u{fc}<c@d.example>",
                "Cc: a@b.example, =?utf-8?B?w7w=?= <c@d.example>",
            ),
            (
                "Content-Disposition: attachment; filename=\"\u{fc}.pdf\"",
                "Content-Disposition: attachment;\r\n filename*=utf-8''%C3%BC.pdf",
            ),
        ] {
            let section = format!("{GOOD}{field}\r\n");
            let out = apply(&section, false).unwrap();
            assert_eq!(out, format!("{GOOD}{expected}\r\n\r\n"));
            assert_eq!(apply(&section, true).unwrap(), format!("{section}\r\n"));
        }
        for (field, fault) in [
            ("To: \u{fc}@b.example", Fault::Utf8Address { field: "To" }),
            (
                "Cc: x <a@\u{fc}.example>",
                Fault::Utf8Address { field: "Cc" },
            ),
            (
                "Content-Type: text/\u{fc}",
                Fault::Utf8Structured {
                    field: "Content-Type".to_owned(),
                },
            ),
        ] {
            let section = format!("{GOOD}{field}\r\n");
            assert_eq!(apply(&section, false), Err(fault));
        }
    }

    #[test]
    fn an_encoded_display_name_reads_as_before() {
        let name = "J\u{f6}rg \u{4e2d}\u{6587} Mustermann der Fünfundzwanzigste von und zu Überall";
        let section = format!("To: {name} <a@b.example>\r\n{GOOD}");
        let out = apply(&section, false).unwrap();
        let message = MessageParser::new().parse_headers(out.as_bytes()).unwrap();
        assert_eq!(message.to().unwrap().first().unwrap().name(), Some(name));
        assert!(out.lines().all(|line| line.len() <= 78), "{out}");
    }

    #[test]
    fn message_ids_that_can_be_referred_to_are_kept() {
        for (value, kept) in [
            (" <a@b>", true),
            ("\r\n <a..b_@c_d>", true),
            (" <a@[192.0.2.1]>", true),
            (" <a>", false),
            (" a@b", false),
            (" <@b>", false),
            (" <a@b> <c@d>", false),
            (" <a b@c>", false),
            (" <\u{fc}@c>", false),
            ("", false),
        ] {
            assert_eq!(is_message_id(value), kept, "{value:?}");
        }
    }

    proptest! {
        /// R5321-4.4e, R5322-3.6a2.
        #[test]
        fn all_other_octets_stay(
            others in prop::collection::vec("(X-[A-Za-z]{1,5}|Received|Comments):[ -~]{0,40}(\r\n [!-~]{1,20})?", 0..10)
        ) {
            let mut section = String::from(GOOD);
            for other in &others {
                section.push_str(other);
                section.push_str("\r\n");
            }
            prop_assert_eq!(apply(&section, false).unwrap(), format!("{section}\r\n"));
        }

        #[test]
        fn no_text_makes_it_panic(value in "[ -~\u{e0}-\u{ff}\t]{0,80}") {
            for name in ["Subject", "To", "From", "Date", "Message-ID", "Content-Type"] {
                if let Ok(out) = apply(&format!("{name}:{value}\r\n"), false) {
                    prop_assert!(out.is_ascii());
                }
            }
        }
    }
}
