//! Address lists of header fields, read strictly (RFC 5322 §3.4, §4.4; RFC 6854 §2; RFC 6532 §3.2).
//!
//! Obsolete routes, empty list elements and dots in phrases are understood, for old mail has them.
//! Beside the mailboxes it tells where phrases and comments stand, for that is where RFC 2047
//! allows encoded words.

use std::ops::Range;

use mail_parser::{Address, HeaderValue, MessageParser};

use super::AddressFault;
use crate::smtp::Mailbox;

/// Comments inside comments at most.
const DEPTH_MAX: usize = 32;

/// What a list holds; ranges are octets of the text it was read from.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AddressList {
    /// Every mailbox in order, those in groups too.
    pub mailboxes: Vec<Mailbox>,
    /// Display names of mailboxes and groups.
    pub phrases: Vec<Range<usize>>,
    /// Outermost comments with their parentheses.
    pub comments: Vec<Range<usize>>,
}

impl AddressList {
    /// Reads a whole field value, folds included.
    ///
    /// # Errors
    /// [`AddressFault`] at the first thing that is not of the grammar.
    pub fn parse(text: &str) -> Result<Self, AddressFault> {
        let mut reader = Reader {
            text,
            at: 0,
            list: AddressList::default(),
        };
        reader.list()?;
        Ok(reader.list)
    }

    /// Reads the value of a field that tells who speaks; a second parser must find the same.
    ///
    /// # Errors
    /// As [`AddressList::parse`], [`AddressFault::NoMailbox`] where nobody is named, and
    /// [`AddressFault::Ambiguous`] where mail-parser sees other mailboxes in the same octets: a
    /// reader further on could be led to show an address that was never checked.
    pub fn parse_unambiguous(text: &str) -> Result<Self, AddressFault> {
        let list = AddressList::parse(text)?;
        if list.mailboxes.is_empty() {
            return Err(AddressFault::NoMailbox);
        }
        if is_bare(text, &list) {
            return Ok(list);
        }
        let mut field = Vec::with_capacity(text.len() + 9);
        field.extend_from_slice(b"From:");
        field.extend_from_slice(text.as_bytes());
        field.extend_from_slice(b"\r\n\r\n");
        let message = MessageParser::new().parse_headers(&field[..]);
        let seen = message.as_ref().and_then(|m| m.headers().first());
        let Some(HeaderValue::Address(seen)) = seen.map(mail_parser::Header::value) else {
            return Err(AddressFault::Ambiguous);
        };
        if same_mailboxes(&list.mailboxes, seen) {
            Ok(list)
        } else {
            Err(AddressFault::Ambiguous)
        }
    }
}

/// Whether `text` is one mailbox with nothing but blanks and comments in and around it.
///
/// mail-parser takes a bare quoted local part for a display name and stumbles over the blanks of
/// RFC 5322 §4.4; without anything that divides addresses, no reader can find another one there.
fn is_bare(text: &str, list: &AddressList) -> bool {
    let [only] = &list.mailboxes[..] else {
        return false;
    };
    let divides = |c| "@<>,;:()\"\\".contains(c);
    let mut plain = String::with_capacity(text.len());
    let mut copied = 0;
    for comment in &list.comments {
        if text[comment.start + 1..comment.end - 1].contains(divides) {
            return false;
        }
        plain.push_str(&text[copied..comment.start]);
        copied = comment.end;
    }
    plain.push_str(&text[copied..]);
    let no_blanks = |text: &str| text.replace([' ', '\t', '\r', '\n'], "");
    no_blanks(&plain) == no_blanks(&only.to_string())
        && !only.unquoted_local_part().contains(divides)
}

fn same_mailboxes(ours: &[Mailbox], theirs: &Address<'_>) -> bool {
    let mut ours = ours.iter();
    let mut theirs = theirs.iter();
    loop {
        match (ours.next(), theirs.next()) {
            (None, None) => return true,
            (Some(our), Some(their)) => {
                let Some(their) = their.address() else {
                    return false;
                };
                // mail-parser leaves a route in front and takes the quotes of a local part away.
                let their = match their.strip_prefix('@').and_then(|t| t.split_once(':')) {
                    Some((_, mailbox)) => mailbox,
                    None => their,
                };
                let Some((local, domain)) = their.rsplit_once('@') else {
                    return false;
                };
                let same_local =
                    local == our.local_part() || local == our.unquoted_local_part().as_str();
                if !same_local || domain != our.domain().as_str() {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    list: AddressList,
}

impl Reader<'_> {
    fn list(&mut self) -> Result<(), AddressFault> {
        let mut in_group = false;
        // Two elements with nothing between them are an error; a comma or a bracket resets this.
        let mut may_begin = true;
        loop {
            self.blanks()?;
            match self.peek() {
                None if in_group => return Err(AddressFault::Unclosed),
                None => return Ok(()),
                Some(b',') => {
                    self.at += 1;
                    may_begin = true;
                }
                Some(b';') if in_group => {
                    self.at += 1;
                    in_group = false;
                    may_begin = false;
                }
                Some(_) if may_begin => {
                    may_begin = self.element(in_group)?;
                    in_group |= may_begin;
                }
                Some(_) => return Err(self.unexpected()),
            }
        }
    }

    /// Reads a mailbox, or a group's name with its colon; returns whether it was the latter.
    fn element(&mut self, in_group: bool) -> Result<bool, AddressFault> {
        let start = self.at;
        let words = self.words()?;
        match self.peek() {
            Some(b'<') => {
                if words.end > start {
                    self.list.phrases.push(start..words.end);
                }
                self.at += 1;
                self.angle()?;
                Ok(false)
            }
            Some(b'@') if words.end > start => {
                self.addr_spec(words.text)?;
                self.named_by_its_address()?;
                Ok(false)
            }
            Some(b':') if words.end > start && !in_group => {
                self.list.phrases.push(start..words.end);
                self.at += 1;
                Ok(true)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// `info@b.example <info@b.example>`: an address as its own name, without the quotes it needs.
    /// Many programs write it. Where the two differ, readers could show either: refused.
    fn named_by_its_address(&mut self) -> Result<(), AddressFault> {
        self.blanks()?;
        if self.peek() != Some(b'<') {
            return Ok(());
        }
        let name = self.list.mailboxes.pop();
        self.at += 1;
        self.angle()?;
        let address = self.list.mailboxes.last();
        if name.as_ref().map(Mailbox::folded_key) == address.map(Mailbox::folded_key) {
            return Ok(());
        }
        Err(AddressFault::Ambiguous)
    }

    fn angle(&mut self) -> Result<(), AddressFault> {
        self.blanks()?;
        // A route of old, dropped as in an envelope (RFC 5322 §4.4).
        while self.peek() == Some(b'@') {
            self.at += 1;
            self.domain()?;
            self.blanks()?;
            match self.peek() {
                Some(b':') => {
                    self.at += 1;
                    break;
                }
                Some(b',') => self.at += 1,
                _ => return Err(self.unexpected()),
            }
            self.blanks()?;
        }
        self.blanks()?;
        let words = self.words()?;
        if self.peek() != Some(b'@') {
            return Err(self.unexpected());
        }
        self.addr_spec(words.text)?;
        self.blanks()?;
        if self.peek() != Some(b'>') {
            return Err(self.unexpected());
        }
        self.at += 1;
        Ok(())
    }

    fn addr_spec(&mut self, local: String) -> Result<(), AddressFault> {
        self.at += 1;
        let domain = self.domain()?;
        let mut whole = local;
        whole.push('@');
        whole.push_str(&domain);
        self.list.mailboxes.push(Mailbox::parse(&whole)?);
        Ok(())
    }

    /// Atoms, quoted strings and dots in a row; the text is without what stood between them,
    /// which makes a local part of it or, where two words met, something no mailbox has.
    fn words(&mut self) -> Result<Words, AddressFault> {
        let mut words = Words {
            text: String::new(),
            end: self.at,
        };
        let mut after_word = false;
        loop {
            self.blanks()?;
            let start = self.at;
            match self.peek() {
                Some(b'"') => {
                    self.quoted()?;
                    if after_word {
                        words.text.push(' ');
                    }
                    after_word = true;
                }
                Some(b'.') => {
                    self.at += 1;
                    after_word = false;
                }
                Some(octet) if is_atext(octet) => {
                    while self.peek().is_some_and(is_atext) {
                        self.at += 1;
                    }
                    if after_word {
                        words.text.push(' ');
                    }
                    after_word = true;
                }
                _ => return Ok(words),
            }
            words.text.push_str(&self.text[start..self.at]);
            words.end = self.at;
        }
    }

    fn domain(&mut self) -> Result<String, AddressFault> {
        self.blanks()?;
        if self.peek() == Some(b'[') {
            let start = self.at;
            while let Some(octet) = self.peek() {
                self.at += 1;
                match octet {
                    b']' => return Ok(self.text[start..self.at].to_owned()),
                    b'\\' | b' ' | b'\t' | b'\r' | b'\n' => break,
                    _ => {}
                }
            }
            return Err(AddressFault::Unclosed);
        }
        Ok(self.words()?.text)
    }

    fn quoted(&mut self) -> Result<(), AddressFault> {
        self.at += 1;
        while let Some(octet) = self.peek() {
            match octet {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => self.pair()?,
                b'\r' => self.fold()?,
                b'\t' => self.at += 1,
                octet if octet.is_ascii_control() => return Err(self.unexpected()),
                _ => self.at += 1,
            }
        }
        Err(AddressFault::Unclosed)
    }

    /// Blanks, folds and comments.
    fn blanks(&mut self) -> Result<(), AddressFault> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t') => self.at += 1,
                Some(b'\r') => self.fold()?,
                Some(b'(') => self.comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn comment(&mut self) -> Result<(), AddressFault> {
        let start = self.at;
        let mut depth = 0;
        while let Some(octet) = self.peek() {
            match octet {
                b'(' => {
                    depth += 1;
                    if depth > DEPTH_MAX {
                        return Err(AddressFault::TooDeep);
                    }
                    self.at += 1;
                }
                b')' => {
                    depth -= 1;
                    self.at += 1;
                    if depth == 0 {
                        self.list.comments.push(start..self.at);
                        return Ok(());
                    }
                }
                b'\\' => self.pair()?,
                b'\r' => self.fold()?,
                b'\t' => self.at += 1,
                octet if octet.is_ascii_control() => return Err(self.unexpected()),
                _ => self.at += 1,
            }
        }
        Err(AddressFault::Unclosed)
    }

    fn fold(&mut self) -> Result<(), AddressFault> {
        let rest = &self.text.as_bytes()[self.at..];
        if rest.starts_with(b"\r\n ") || rest.starts_with(b"\r\n\t") {
            self.at += 3;
            return Ok(());
        }
        Err(self.unexpected())
    }

    fn pair(&mut self) -> Result<(), AddressFault> {
        self.at += 1;
        match self.peek() {
            None => Err(AddressFault::Unclosed),
            Some(octet) if octet.is_ascii_control() && octet != b'\t' => Err(self.unexpected()),
            Some(_) => {
                self.at += 1;
                Ok(())
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn unexpected(&self) -> AddressFault {
        AddressFault::Unexpected { at: self.at }
    }
}

struct Words {
    text: String,
    /// Behind the last word.
    end: usize,
}

fn is_atext(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&octet) || !octet.is_ascii()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<String>, AddressFault> {
        AddressList::parse_unambiguous(text)
            .map(|list| list.mailboxes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn lists_name_their_mailboxes() {
        for (text, expected) in [
            (" a@b.example", "a@b.example"),
            (" <a@b.example>", "a@b.example"),
            (" Alice B. Chap <a@b.example>", "a@b.example"),
            (" \"x@evil.example, <y\" <a@b.example>", "a@b.example"),
            (" =?utf-8?Q?J=C3=B6rg?= <a@b.example>", "a@b.example"),
            (" J\u{f6}rg <a@b.example>", "a@b.example"),
            (
                " a@b.example, C\r\n <c@d.example>",
                "a@b.example c@d.example",
            ),
            (
                " Team: a@b.example, c@d.example;",
                "a@b.example c@d.example",
            ),
            (" a@b.example (a comment)", "a@b.example"),
            (" \"joe bloggs\"@b.example", "\"joe bloggs\"@b.example"),
            (" J <\"joe.b\"@b.example>", "\"joe.b\"@b.example"),
            (" a@[192.0.2.1]", "a@[192.0.2.1]"),
            (" a(x)@ (y) b . example", "a@b.example"),
            (" a@b.example (x, <c@d.example>)", "a@b.example"),
            (" \u{fc}@\u{fc}.example", "\u{fc}@\u{fc}.example"),
            (" a@b.example <A@B.example>", "A@B.example"),
            (
                " a@b.example <a@b.example>, c@d.example",
                "a@b.example c@d.example",
            ),
        ] {
            assert_eq!(
                read(text).map(|found| found.join(" ")),
                Ok(expected.to_owned()),
                "{text:?}"
            );
        }
    }

    /// R6409-5.1b, R5322-3.6.2a.
    #[test]
    fn what_is_no_list_is_refused() {
        for text in [
            "",
            " ",
            " alice",
            " a@b.example c@d.example",
            " <a@b.example> <c@d.example>",
            " a@b.example <c@d.example>",
            " <a@b.example",
            " a@b.example>",
            " \"a <a@b.example>",
            " (x a@b.example",
            " a..b@c.example",
            " a b@c.example",
            " a@b@c.example",
            " x: a@b.example",
            " x: y: a@b.example;;",
            " Nobody:;",
            " <>",
            " a@b\u{1}.example",
            " a@b.example;",
        ] {
            assert!(read(text).is_err(), "{text:?} gave {:?}", read(text));
        }
    }

    #[test]
    fn what_readers_could_take_apart_is_ambiguous() {
        for text in [
            " \"x@evil.example,a\"@b.example",
            " a(<x@evil.example>)@b.example",
        ] {
            assert_eq!(read(text), Err(AddressFault::Ambiguous), "{text:?}");
        }
    }

    /// R5322-4a.
    #[test]
    fn an_obsolete_route_is_dropped() {
        let list = AddressList::parse(" <@x.example,@y.example:a@b.example>").unwrap();
        assert_eq!(list.mailboxes[0].to_string(), "a@b.example");
    }

    /// S2.
    #[test]
    fn nesting_is_bounded() {
        let text = "(".repeat(100_000);
        assert_eq!(AddressList::parse(&text), Err(AddressFault::TooDeep));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ab.@<>()\"\\\\,;:\\[\\] \r\n\t\u{fc}]{0,40}") {
            let _ = AddressList::parse_unambiguous(&text);
        }
    }
}
