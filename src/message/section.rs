//! The header section: where it ends, and its fields as octet ranges (RFC 5322 §2.1, §2.2, §4).
//!
//! Knows nothing of what a field means beyond its name. Content comes with CRLF line ends.

use std::ops::Range;

use memchr::memchr;

use super::Fault;

/// How much of a header section we hold (S1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Octets at most, blank line included.
    pub octets: usize,
    /// Fields at most.
    pub fields: usize,
}

/// Divides streamed content into header section and body.
///
/// Any division of the input into pieces gives the same result.
#[derive(Debug)]
pub struct Splitter {
    limits: Limits,
    held: Vec<u8>,
    line_start: usize,
    fields: usize,
    complete: bool,
}

impl Splitter {
    /// Begins at the first octet of the content.
    pub fn new(limits: Limits) -> Self {
        Splitter {
            limits,
            held: Vec::new(),
            line_start: 0,
            fields: 0,
            complete: false,
        }
    }

    /// Takes the next piece; returns what of it belongs to the body.
    ///
    /// # Errors
    /// [`Fault::SectionTooLarge`] or [`Fault::TooManyFields`], as soon as a limit is passed.
    /// Nothing is to be pushed after an error.
    pub fn push<'a>(&mut self, mut piece: &'a [u8]) -> Result<&'a [u8], Fault> {
        while !self.complete && !piece.is_empty() {
            let newline = memchr(b'\n', piece);
            let (part, rest) = piece.split_at(newline.map_or(piece.len(), |at| at + 1));
            if self.held.len() + part.len() > self.limits.octets {
                return Err(Fault::SectionTooLarge {
                    max: self.limits.octets,
                });
            }
            self.held.extend_from_slice(part);
            piece = rest;
            if newline.is_some() {
                self.line_ended()?;
            }
        }
        Ok(piece)
    }

    fn line_ended(&mut self) -> Result<(), Fault> {
        let line = &self.held[self.line_start..];
        if line == b"\r\n" {
            self.complete = true;
        } else if !matches!(line.first(), Some(b' ' | b'\t')) {
            self.fields += 1;
            if self.fields > self.limits.fields {
                return Err(Fault::TooManyFields {
                    max: self.limits.fields,
                });
            }
        }
        self.line_start = self.held.len();
        Ok(())
    }

    /// The section without its blank line, which a message of header fields alone may leave out.
    ///
    /// # Errors
    /// [`Fault::Empty`] where the content had no octet.
    pub fn finish(mut self) -> Result<Vec<u8>, Fault> {
        if self.complete {
            self.held.truncate(self.held.len() - 2);
        } else if self.held.is_empty() {
            return Err(Fault::Empty);
        } else if !self.held.ends_with(b"\r\n") {
            self.held.extend_from_slice(b"\r\n");
        }
        Ok(self.held)
    }
}

/// One field as ranges of the section it was read from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Field {
    /// The whole field with the CRLF that ends it.
    pub whole: Range<usize>,
    /// Its name, without the blanks that RFC 5322 §4.5 allows before the colon.
    pub name: Range<usize>,
    /// What stands behind the colon, without the CRLF that ends the field; folds are still in it.
    pub value: Range<usize>,
}

/// Reads the fields of `section`, whose every line ends in CRLF and which has no blank line.
///
/// # Errors
/// The [`Fault`] of the first line that is no part of a field.
pub fn fields(section: &[u8]) -> Result<Vec<Field>, Fault> {
    let mut found: Vec<Field> = Vec::with_capacity(24);
    let mut start = 0;
    let mut number = 0;
    while start < section.len() {
        number += 1;
        let end = memchr(b'\n', &section[start..]).map_or(section.len(), |at| start + at + 1);
        let line = section[start..end]
            .strip_suffix(b"\r\n")
            .ok_or(Fault::ControlCharacter)?;
        if memchr::memchr2(b'\r', 0, line).is_some() {
            return Err(Fault::ControlCharacter);
        }
        if number == 1 && is_envelope_line(line) {
            start = end;
            continue;
        }
        if matches!(line.first(), Some(b' ' | b'\t')) {
            let field = found.last_mut().ok_or(Fault::ContinuationFirst)?;
            field.whole.end = end;
            field.value.end = end - 2;
        } else {
            let colon = memchr(b':', line).ok_or(Fault::NotAField { line: number })?;
            let name = trim_end(&line[..colon]);
            if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
                return Err(Fault::FieldName { line: number });
            }
            found.push(Field {
                whole: start..end,
                name: start..start + name.len(),
                value: start + colon + 1..end - 2,
            });
        }
        start = end;
    }
    Ok(found)
}

/// Whether a line is that of a mailbox file, `From user@host date`: scripts that send what they
/// find in such a file leave it in front. It is no field, and goes no further.
fn is_envelope_line(line: &[u8]) -> bool {
    line.strip_prefix(b"From ")
        .is_some_and(|rest| !rest.trim_ascii_start().starts_with(b":"))
}

fn trim_end(mut octets: &[u8]) -> &[u8] {
    while let [front @ .., b' ' | b'\t'] = octets {
        octets = front;
    }
    octets
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        octets: 200,
        fields: 5,
    };

    fn split(pieces: &[&[u8]], limits: Limits) -> Result<(Vec<u8>, Vec<u8>), Fault> {
        let mut splitter = Splitter::new(limits);
        let mut body = Vec::new();
        for piece in pieces {
            body.extend_from_slice(splitter.push(piece)?);
        }
        Ok((splitter.finish()?, body))
    }

    #[test]
    fn the_first_empty_line_ends_the_section() {
        for (content, section, body) in [
            ("A: b\r\n\r\nbody\r\n", "A: b\r\n", "body\r\n"),
            ("A: b\r\n\r\n\r\nbody", "A: b\r\n", "\r\nbody"),
            ("\r\nbody\r\n", "", "body\r\n"),
            ("A: b\r\n", "A: b\r\n", ""),
            ("A: b", "A: b\r\n", ""),
            ("A: b\r\n \r\n\r\nx", "A: b\r\n \r\n", "x"),
        ] {
            let (s, b) = split(&[content.as_bytes()], LIMITS).unwrap();
            assert_eq!(
                (&s[..], &b[..]),
                (section.as_bytes(), body.as_bytes()),
                "{content:?}"
            );
        }
        assert_eq!(split(&[b""], LIMITS), Err(Fault::Empty));
    }

    /// S1, S2.
    #[test]
    fn a_million_fields_cost_no_more_than_the_limit() {
        let limits = Limits {
            octets: 100 << 10,
            fields: 1_000,
        };
        let mut splitter = Splitter::new(limits);
        let mut result = Ok(());
        for _ in 0..1_000_000 {
            if let Err(fault) = splitter.push(b"X: y\r\n") {
                result = Err(fault);
                break;
            }
        }
        assert_eq!(result, Err(Fault::TooManyFields { max: 1_000 }));
        let long = vec![b'x'; 1 << 20];
        let fault = Splitter::new(limits).push(&long).map(<[u8]>::len);
        assert_eq!(fault, Err(Fault::SectionTooLarge { max: 100 << 10 }));
    }

    /// S1, S2.
    #[test]
    fn nested_messages_are_body_from_the_first_empty_line_on() {
        let content = b"Content-Type: message/rfc822\r\n\r\n".repeat(100_000);
        let mut splitter = Splitter::new(LIMITS);
        let body = splitter.push(&content).unwrap().len();
        let section = splitter.finish().unwrap();
        assert_eq!(section, b"Content-Type: message/rfc822\r\n");
        assert_eq!(body, content.len() - section.len() - 2);
    }

    /// R5322-2.2a, R5322-4a.
    #[test]
    fn lines_that_are_no_field_are_named() {
        for (section, fault) in [
            ("Bad Name: x\r\n", Fault::FieldName { line: 1 }),
            ("A: b\r\nB\u{fc}: x\r\n", Fault::FieldName { line: 2 }),
            (": x\r\n", Fault::FieldName { line: 1 }),
            ("A: b\r\nhello\r\n", Fault::NotAField { line: 2 }),
            (" x\r\n", Fault::ContinuationFirst),
            ("A: b\rc\r\n", Fault::ControlCharacter),
            ("A: b\nC: d\r\n", Fault::ControlCharacter),
            ("A: \0\r\n", Fault::ControlCharacter),
        ] {
            assert_eq!(fields(section.as_bytes()), Err(fault), "{section:?}");
        }
        let section = b"From a@b.example Mon Nov 23 22:07:58 2026\r\nTo: x\r\n";
        assert_eq!(fields(section).unwrap().len(), 1);
        let section = b"From : a@b.example\r\n";
        assert_eq!(&section[fields(section).unwrap()[0].name.clone()], b"From");
        let section = b"Bcc \t: x\r\n\ty\r\nTo:\r\n";
        let found = fields(section).unwrap();
        assert_eq!(&section[found[0].name.clone()], b"Bcc");
        assert_eq!(&section[found[0].value.clone()], b" x\r\n\ty");
        assert_eq!(&section[found[1].whole.clone()], b"To:\r\n");
    }

    proptest! {
        #[test]
        fn any_division_of_the_input_gives_the_same_section(
            lines in prop::collection::vec("[aX: \t]{0,12}", 0..12),
            cuts in prop::collection::vec(0usize..200, 0..6),
        ) {
            let content = lines.join("\r\n").into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(content.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&content[from..cut]);
                from = cut;
            }
            pieces.push(&content[from..]);
            let limits = Limits { octets: 60, fields: 5 };
            prop_assert_eq!(split(&pieces, limits), split(&[&content], limits));
        }
    }
}
