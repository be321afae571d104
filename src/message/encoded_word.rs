//! Text beyond ASCII as encoded words (RFC 2047).
//!
//! Always UTF-8 in base 64, which is safe in every place where an encoded word may stand.

use std::ops::Range;

use data_encoding::BASE64;

/// Octets of a line that holds an encoded word at most (RFC 2047 §2).
const LINE_MAX: usize = 76;
const OPEN: &str = "=?utf-8?B?";
const CLOSE: &str = "?=";

/// Writes one field value anew, piece by piece, and knows how long the line has become.
#[derive(Debug)]
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    /// Octets on the line under way.
    column: usize,
    /// An encoded word stands on this line, so the text behind it goes on in a new one.
    break_next: bool,
}

impl<'a> Encoder<'a> {
    /// Goes on behind `column` octets of a line that `out` already holds.
    pub fn new(out: &'a mut Vec<u8>, column: usize) -> Self {
        Encoder {
            out,
            column,
            break_next: false,
        }
    }

    /// Copies `text`, which is ASCII; folds once where encoded words made the line longer.
    pub fn copy(&mut self, text: &str) {
        for (at, octet) in text.bytes().enumerate() {
            match octet {
                b'\n' => {
                    self.column = 0;
                    self.break_next = false;
                    self.out.push(octet);
                    continue;
                }
                b'\r' => self.break_next = false,
                b' ' | b'\t'
                    if self.break_next && self.column + line_end(&text[at..]) > LINE_MAX =>
                {
                    self.fold();
                }
                _ => {}
            }
            self.out.push(octet);
            self.column += 1;
        }
    }

    /// Unstructured text: words beyond ASCII are encoded, all others copied (RFC 2047 §5 (1)).
    pub fn unstructured(&mut self, text: &str) {
        let mut copied = 0;
        for run in runs(text) {
            self.copy(&text[copied..run.at.start]);
            copied = run.at.end;
            let mut plain = String::with_capacity(run.at.len() + 2);
            if run.follows_encoded {
                plain.push(' ');
            }
            plain.extend(text[run.at].chars().filter(|c| !"\r\n".contains(*c)));
            if run.precedes_encoded {
                plain.push(' ');
            }
            self.encode(&plain);
        }
        self.copy(&text[copied..]);
    }

    /// A display name, whole (RFC 2047 §5 (3)).
    pub fn phrase(&mut self, text: &str) {
        self.encode(&unquoted(text));
    }

    /// A comment with its parentheses (RFC 2047 §5 (2)).
    pub fn comment(&mut self, text: &str) {
        let plain = unquoted(text);
        let inner = plain.strip_prefix('(').unwrap_or(&plain);
        let inner = inner.strip_suffix(')').unwrap_or(inner);
        self.copy("(");
        self.encode(inner);
        self.copy(")");
    }

    /// `text` in as many encoded words as it takes.
    fn encode(&mut self, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            let mut room = self.room();
            if room < rest.len().min(12) {
                self.break_line();
                room = self.room();
            }
            let mut end = room.min(rest.len());
            while !rest.is_char_boundary(end) {
                end -= 1;
            }
            let word = BASE64.encode(&rest.as_bytes()[..end]);
            for piece in [OPEN, &word, CLOSE] {
                self.out.extend_from_slice(piece.as_bytes());
                self.column += piece.len();
            }
            rest = &rest[end..];
            if !rest.is_empty() {
                self.fold();
                self.out.push(b' ');
                self.column += 1;
            }
        }
        self.break_next = true;
    }

    /// Octets that an encoded word on this line can carry.
    fn room(&self) -> usize {
        // One octet is left for the bracket of a comment.
        let free = LINE_MAX.saturating_sub(self.column + OPEN.len() + CLOSE.len() + 1);
        free / 4 * 3
    }

    /// Breaks in front of the blank that was written last, or writes one.
    fn break_line(&mut self) {
        let line = self
            .out
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        if self.out[line..].iter().all(|b| matches!(b, b' ' | b'\t')) {
            // A line of blanks alone would end the section for some readers.
            self.out.truncate(line);
            self.out.push(b' ');
            self.column = 1;
            return;
        }
        match self.out.last().copied() {
            Some(blank @ (b' ' | b'\t')) if self.column > 1 => {
                self.out.pop();
                self.fold();
                self.out.push(blank);
            }
            _ => {
                self.fold();
                self.out.push(b' ');
            }
        }
        self.column = 1;
    }

    fn fold(&mut self) {
        self.out.extend_from_slice(b"\r\n");
        self.column = 0;
        self.break_next = false;
    }
}

/// A stretch of text to be encoded.
struct Run {
    at: Range<usize>,
    /// An encoded word stands in front: the blank between the two vanishes when they are read.
    follows_encoded: bool,
    /// An encoded word stands behind.
    precedes_encoded: bool,
}

/// The stretches of `text` from the first to the last of neighbouring words beyond ASCII.
fn runs(text: &str) -> Vec<Run> {
    let mut found: Vec<Run> = Vec::new();
    let mut in_run = false;
    let mut after_encoded = false;
    let mut at = 0;
    for word in text.split([' ', '\t', '\r', '\n']) {
        let (start, end) = (at, at + word.len());
        at = end + 1;
        if word.is_empty() {
            continue;
        }
        let encoded = word.is_ascii() && word.starts_with("=?") && word.ends_with("?=");
        match found.last_mut() {
            Some(run) if in_run && !word.is_ascii() => run.at.end = end,
            Some(run) if in_run => run.precedes_encoded = encoded,
            _ => {}
        }
        if !word.is_ascii() && !in_run {
            found.push(Run {
                at: start..end,
                follows_encoded: after_encoded,
                precedes_encoded: false,
            });
        }
        in_run = !word.is_ascii();
        after_encoded = encoded;
    }
    found
}

/// Octets up to the end of the line.
fn line_end(text: &str) -> usize {
    text.find('\r').unwrap_or(text.len())
}

/// Without quotes, backslashes and folds.
fn unquoted(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' | '\r' | '\n' => {}
            '\\' => plain.extend(chars.next()),
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use mail_parser::MessageParser;
    use proptest::prelude::*;

    use super::*;

    fn subject(text: &str) -> String {
        let mut out = b"Subject:".to_vec();
        let column = out.len();
        Encoder::new(&mut out, column).unstructured(text);
        out.extend_from_slice(b"\r\n");
        String::from_utf8(out).unwrap()
    }

    fn decoded(field: &str) -> String {
        let whole = format!("{field}\r\n");
        let message = MessageParser::new()
            .parse_headers(whole.as_bytes())
            .unwrap();
        message.subject().unwrap_or_default().to_owned()
    }

    #[test]
    fn only_words_beyond_ascii_are_encoded() {
        for (text, expected) in [
            (" plain", "Subject: plain\r\n"),
            (" a \u{fc} b", "Subject: a =?utf-8?B?w7w=?= b\r\n"),
            (" \u{fc} \u{fc}", "Subject: =?utf-8?B?w7wgw7w=?=\r\n"),
        ] {
            assert_eq!(subject(text), expected);
        }
    }

    #[test]
    fn no_line_of_blanks_alone_is_made() {
        let field = subject(&format!(" a\r\n{}\u{fc}", " ".repeat(70)));
        assert_eq!(field, "Subject: a\r\n =?utf-8?B?w7w=?=\r\n");
    }

    #[test]
    fn a_blank_beside_an_older_encoded_word_survives() {
        let field = subject(" =?utf-8?Q?a?= \u{fc} =?utf-8?Q?b?=");
        assert_eq!(decoded(&field), "a \u{fc} b");
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(
            words in prop::collection::vec("[a-z]{1,30}|[\u{e0}-\u{ff}\u{4e00}-\u{4e20}a]{1,60}", 1..12)
        ) {
            let text = words.join(" ");
            let field = subject(&format!(" {text}"));
            prop_assert!(field.is_ascii());
            prop_assert_eq!(decoded(&field), text);
            for line in field.lines().filter(|line| line.contains("=?")) {
                prop_assert!(line.len() <= LINE_MAX, "{}", line);
            }
        }

        #[test]
        fn no_line_passes_998_octets(
            words in prop::collection::vec("[a-z]{1,300}|[\u{fc}]{1,30}", 1..6)
        ) {
            let field = subject(&format!(" {}", words.join(" ")));
            // A source line holds at most 998 octets.
            prop_assume!(words.iter().map(String::len).sum::<usize>() + words.len() < 980);
            prop_assert!(field.lines().all(|line| line.len() <= 998));
        }
    }
}
