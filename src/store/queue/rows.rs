//! Rows on their way into a statement: a JSON array that `json_each` takes apart.

use std::fmt::Write;

use crate::smtp::Mailbox;

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
