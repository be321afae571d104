//! Rows on their way into a statement: a JSON array that `json_each` takes apart.

use std::fmt::Write;

use data_encoding::HEXLOWER;

use crate::{
    envelope::{Link, MxProof, Status, Voice},
    smtp::Mailbox,
};

/// Of a next hop's reply we keep this much.
const TEXT_OCTETS: usize = 1024;

/// A JSON array of arrays under construction.
#[derive(Debug, Default)]
pub(super) struct Rows(String);

impl Rows {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn row(&mut self) -> &mut Self {
        self.0.push_str(if self.0.is_empty() { "[[" } else { ",[" });
        self
    }

    pub(super) fn number(&mut self, number: impl std::fmt::Display) -> &mut Self {
        self.comma();
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{number}");
        self
    }

    pub(super) fn optional(&mut self, number: Option<i64>) -> &mut Self {
        match number {
            Some(number) => self.number(number),
            None => self.null(),
        }
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.comma();
        self.0.push('"');
        for c in text.chars() {
            match c {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                c if c < ' ' => {
                    let _ = write!(self.0, "\\u{:04x}", u32::from(c));
                }
                c => self.0.push(c),
            }
        }
        self.0.push('"');
        self
    }

    pub(super) fn optional_text(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(text),
            None => self.null(),
        }
    }

    /// The mailbox, or the empty string for none.
    pub(super) fn address(&mut self, mailbox: Option<&Mailbox>) -> &mut Self {
        match mailbox {
            Some(mailbox) => self.text(&mailbox.to_string()),
            None => self.text(""),
        }
    }

    /// Code, text and whose words it is: three columns.
    pub(super) fn status(&mut self, status: &Status) -> &mut Self {
        let text = &status.text;
        self.text(&status.code.to_string())
            .text(&text[..text.floor_char_boundary(TEXT_OCTETS)])
            .text(match status.voice {
                Voice::Ours => "us",
                Voice::NextHop => "hop",
            })
    }

    /// Host, peer, and version, suite, fingerprint and proof of TLS, proof of the mail host, and
    /// whether REQUIRETLS was passed on: eight columns.
    pub(super) fn link(&mut self, link: Option<&Link>) -> &mut Self {
        let tls = link.and_then(|link| link.tls.as_ref());
        let peer = link.and_then(|link| link.address);
        self.optional_text(link.map(|link| &*link.host))
            .optional_text(peer.map(|peer| peer.to_string()).as_deref())
            .optional_text(tls.map(|tls| tls.version.to_string()).as_deref())
            .optional_text(tls.map(|tls| &*tls.suite))
            .optional_text(tls.map(|tls| HEXLOWER.encode(&tls.fingerprint)).as_deref())
            .optional_text(tls.map(|tls| tls.proof.as_str()))
            .optional_text(link.and_then(|link| link.mx).map(MxProof::as_str))
            .optional(link.and_then(|link| link.requiretls).map(i64::from))
    }

    /// So many columns without a value.
    pub(super) fn nulls(&mut self, count: usize) -> &mut Self {
        for _ in 0..count {
            self.null();
        }
        self
    }

    fn null(&mut self) -> &mut Self {
        self.comma();
        self.0.push_str("null");
        self
    }

    fn comma(&mut self) {
        if !self.0.ends_with('[') {
            self.0.push(',');
        }
    }

    pub(super) fn end(&mut self) {
        self.0.push(']');
    }

    pub(super) fn finish(mut self) -> String {
        self.0.push_str(if self.0.is_empty() { "[]" } else { "]" });
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_read_back_by_a_json_parser() {
        let texts = [
            "",
            "a\"b",
            "\\",
            "\r\n\0\u{1f}",
            "grüße@例え.jp",
            "\u{2028}",
        ];
        let mut rows = Rows::default();
        for text in texts {
            rows.row().text(text).number(-1).optional(None).end();
        }
        let read: Vec<(String, i64, Option<i64>)> = serde_json::from_str(&rows.finish()).unwrap();
        let expected = texts.map(|text| (text.to_owned(), -1, None));
        assert_eq!(read, expected);
        assert_eq!(Rows::default().finish(), "[]");
    }
}
