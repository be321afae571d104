//! Content-Type and Content-Transfer-Encoding as they are written (RFC 2045 §5.1, §6.1).

/// The value of a Content-Type field, as far as the structure of a message hangs on it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct ContentType {
    /// In lower case; empty where it does not parse.
    pub main: String,
    /// In lower case; empty where it does not parse.
    pub sub: String,
    pub boundary: Boundary,
}

/// What stands between the parts of a multipart, without its leading hyphens.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) enum Boundary {
    /// None is given.
    #[default]
    Missing,
    /// This one, neither empty nor longer than [`BOUNDARY_MAX`].
    Given(Vec<u8>),
    /// Readers may take different ones.
    Unclear,
}

/// Octets of a boundary at most; RFC 2046 §5.1.1 allows 70.
pub(super) const BOUNDARY_MAX: usize = 200;

impl ContentType {
    /// Reads what it can: what does not parse is left empty.
    pub(super) fn parse(value: &[u8]) -> Self {
        let mut words = Words { rest: value };
        let mut found = ContentType::default();
        let main = words.word();
        if !words.take(b'/') {
            found.main = lower(&main);
            return found;
        }
        found.main = lower(&main);
        found.sub = lower(&words.word());
        loop {
            words.skip_to_semicolon();
            if !words.take(b';') {
                return found;
            }
            let name = lower(&words.word());
            if name.starts_with("boundary*") {
                // Continued and encoded parameters (RFC 2231) are not understood by all here.
                found.boundary = Boundary::Unclear;
            }
            if name != "boundary" || !words.take(b'=') {
                continue;
            }
            let mut boundary = words.word();
            while let Some(b' ' | b'\t') = boundary.last() {
                boundary.pop();
            }
            let fits = !boundary.is_empty() && boundary.len() <= BOUNDARY_MAX;
            found.boundary = match found.boundary {
                Boundary::Missing if fits => Boundary::Given(boundary),
                _ => Boundary::Unclear,
            };
        }
    }
}

/// What an entity's octets are said to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Label {
    /// No field; means 7bit.
    Absent,
    SevenBit,
    EightBit,
    Binary,
    QuotedPrintable,
    Base64,
    /// Unknown, or said more than once.
    Unclear,
}

impl Label {
    pub(super) fn parse(value: &[u8]) -> Self {
        match &lower(&Words { rest: value }.word())[..] {
            // The spellings with a hyphen are common mistakes of one meaning.
            "7bit" | "7-bit" => Label::SevenBit,
            "8bit" | "8-bit" => Label::EightBit,
            "binary" => Label::Binary,
            "quoted-printable" => Label::QuotedPrintable,
            "base64" => Label::Base64,
            _ => Label::Unclear,
        }
    }
}

fn lower(word: &[u8]) -> String {
    String::from_utf8_lossy(word).to_ascii_lowercase()
}

struct Words<'a> {
    rest: &'a [u8],
}

impl Words<'_> {
    /// Passes over blanks, folds and comments.
    fn skip(&mut self) {
        let mut depth = 0_usize;
        while let Some(&octet) = self.rest.first() {
            match octet {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'\\' if depth > 0 && self.rest.len() > 1 => self.rest = &self.rest[1..],
                _ if depth > 0 => {}
                _ => return,
            }
            self.rest = &self.rest[1..];
        }
    }

    fn take(&mut self, octet: u8) -> bool {
        self.skip();
        let met = self.rest.first() == Some(&octet);
        if met {
            self.rest = &self.rest[1..];
        }
        met
    }

    /// A token or the content of a quoted string; empty where neither stands.
    fn word(&mut self) -> Vec<u8> {
        self.skip();
        if self.rest.first() == Some(&b'"') {
            return self.quoted();
        }
        let is_end =
            |octet: &u8| octet.is_ascii_whitespace() || b"()<>@,;:\\\"/[]?=".contains(octet);
        let end = self.rest.iter().position(is_end).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.to_vec()
    }

    fn quoted(&mut self) -> Vec<u8> {
        let mut word = Vec::new();
        self.rest = &self.rest[1..];
        while let Some((&octet, rest)) = self.rest.split_first() {
            self.rest = rest;
            match octet {
                b'"' => break,
                b'\\' => {
                    let Some((&next, rest)) = rest.split_first() else {
                        break;
                    };
                    self.rest = rest;
                    word.push(next);
                }
                b'\r' | b'\n' => {}
                _ => word.push(octet),
            }
        }
        word
    }

    /// Passes over what else a parameter holds, quoted strings as a whole.
    fn skip_to_semicolon(&mut self) {
        loop {
            self.skip();
            match self.rest.first() {
                None | Some(b';') => return,
                Some(b'"') => drop(self.quoted()),
                Some(_) => self.rest = &self.rest[1..],
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R2045-5.1a, R2046-5.1.1a.
    #[test]
    fn types_and_boundaries_are_read_as_they_are_written() {
        let given = |text: &str| Boundary::Given(text.as_bytes().to_vec());
        let long = format!("multipart/mixed; boundary={}", "b".repeat(BOUNDARY_MAX + 1));
        for (value, main, sub, boundary) in [
            (" text/plain", "text", "plain", Boundary::Missing),
            (
                "TEXT/Html; charset=utf-8",
                "text",
                "html",
                Boundary::Missing,
            ),
            (
                " multipart/mixed; boundary=abc",
                "multipart",
                "mixed",
                given("abc"),
            ),
            (
                "multipart/mixed;\r\n\tBOUNDARY = \"a b;c\" ; x=y",
                "multipart",
                "mixed",
                given("a b;c"),
            ),
            (
                "multipart/mixed; x=\"; boundary=no\"; boundary=yes",
                "multipart",
                "mixed",
                given("yes"),
            ),
            (
                "multipart (a \\) ; boundary=c)/mixed; boundary=\"a\\\"b\"",
                "multipart",
                "mixed",
                given("a\"b"),
            ),
            (
                "multipart/mixed; boundary=\"ab  \"",
                "multipart",
                "mixed",
                given("ab"),
            ),
            (
                "multipart/mixed; boundary=a; boundary=b",
                "multipart",
                "mixed",
                Boundary::Unclear,
            ),
            (
                "multipart/mixed; boundary*0=a; boundary*1=b",
                "multipart",
                "mixed",
                Boundary::Unclear,
            ),
            (
                "multipart/mixed; boundary=\"\"",
                "multipart",
                "mixed",
                Boundary::Unclear,
            ),
            (&long, "multipart", "mixed", Boundary::Unclear),
            (
                "multipart/mixed boundary=a",
                "multipart",
                "mixed",
                Boundary::Missing,
            ),
            ("text", "text", "", Boundary::Missing),
            ("", "", "", Boundary::Missing),
        ] {
            let found = ContentType::parse(value.as_bytes());
            let expected = ContentType {
                main: main.to_owned(),
                sub: sub.to_owned(),
                boundary,
            };
            assert_eq!(found, expected, "{value:?}");
        }
    }

    #[test]
    fn labels_are_read_in_any_case_and_with_comments() {
        for (value, label) in [
            (" 7bit", Label::SevenBit),
            ("8BIT (really)", Label::EightBit),
            ("(why) Quoted-Printable", Label::QuotedPrintable),
            ("BASE64", Label::Base64),
            ("binary", Label::Binary),
            ("8-bit", Label::EightBit),
            ("x-uuencode", Label::Unclear),
            ("", Label::Unclear),
        ] {
            assert_eq!(Label::parse(value.as_bytes()), label, "{value:?}");
        }
    }
}
