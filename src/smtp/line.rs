//! Command lines out of a stream of octets (RFC 5321 §2.3.8, §4.5.3.1.4).
//!
//! Only CRLF ends a line. A line that holds a bare CR, a bare LF or a NUL is read to its true end
//! and reported as broken once; one that is too long is reported once its limit is passed, and the
//! rest of it is read without being kept.

use std::fmt;

/// Octets of a command line at most, CRLF included: what the longest MAIL with every extension
/// needs, more than three times over.
pub const COMMAND_MAX: usize = 4_096;
/// Octets of an AUTH command or a SASL response at most, CRLF included (RFC 4954 §4 asks for
/// 12,288 without).
pub const SASL_MAX: usize = 16_384;
/// Octets of one line that are read in all before the connection is given up.
pub const DISCARD_MAX: usize = 262_144;

/// What a piece of input gave.
#[derive(Debug, Eq, PartialEq)]
pub enum Line<'a> {
    /// A whole line without its CRLF; every octet of it is neither CR, LF nor NUL.
    Whole(&'a [u8]),
    /// A line that holds a bare CR, a bare LF or a NUL. What remains of it is dropped.
    Broken,
    /// A line past this limit, in octets. What remains of it is dropped.
    TooLong(usize),
    /// A line past [`DISCARD_MAX`]: nobody sends that in earnest.
    Endless,
    /// Everything was consumed and no line ended.
    Incomplete,
}

/// How the rest of the line under way is treated.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Mode {
    #[default]
    Keep,
    /// Already reported: drop up to the CRLF.
    Drop,
}

/// Collects one line at a time; holds nothing between lines.
#[derive(Default)]
pub struct LineReader {
    kept: Vec<u8>,
    mode: Mode,
    /// The last octet of the line under way was a CR.
    after_cr: bool,
    seen: usize,
}

impl fmt::Debug for LineReader {
    /// Shows no octet of the line: it may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineReader")
            .field("seen", &self.seen)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl LineReader {
    /// Whether part of a line is here.
    pub fn is_mid_line(&self) -> bool {
        self.seen > 0
    }

    /// Forgets the line under way and the memory it took.
    pub fn clear(&mut self) {
        *self = LineReader::default();
    }

    /// Reads from `input` up to the end of one line, and hands the line and the number of octets
    /// consumed to `then`.
    ///
    /// `limit` counts the CRLF. A whole line that lies in `input` is lent from there, uncopied.
    pub fn read<T>(
        &mut self,
        input: &[u8],
        limit: impl Fn(&[u8]) -> usize,
        then: impl FnOnce(Line<'_>, usize) -> T,
    ) -> T {
        if self.seen == 0
            && let Some(end) = memchr::memchr3(b'\r', b'\n', 0, input)
            && input.get(end..end + 2) == Some(b"\r\n")
            && end + 2 <= limit(&input[..end])
        {
            return then(Line::Whole(&input[..end]), end + 2);
        }
        let (event, consumed) = self.read_piecewise(input, limit);
        match event {
            Event::Whole => {
                let line = std::mem::take(&mut self.kept);
                self.clear();
                then(Line::Whole(&line), consumed)
            }
            Event::Broken => then(Line::Broken, consumed),
            Event::TooLong(limit) => then(Line::TooLong(limit), consumed),
            Event::Endless => then(Line::Endless, consumed),
            Event::Incomplete => then(Line::Incomplete, consumed),
        }
    }

    fn read_piecewise(&mut self, input: &[u8], limit: impl Fn(&[u8]) -> usize) -> (Event, usize) {
        for (at, octet) in input.iter().enumerate() {
            let consumed = at + 1;
            self.seen += 1;
            if *octet == b'\n' && self.after_cr {
                let kept = self.mode == Mode::Keep;
                if kept {
                    return (Event::Whole, consumed);
                }
                self.clear();
                continue;
            }
            let bare = *octet == b'\n' || *octet == 0 || self.after_cr;
            self.after_cr = *octet == b'\r';
            if self.mode == Mode::Drop {
                if self.seen > DISCARD_MAX {
                    return (Event::Endless, consumed);
                }
                continue;
            }
            if bare {
                self.drop_rest();
                return (Event::Broken, consumed);
            }
            if *octet != b'\r' {
                self.kept.push(*octet);
            }
            // The CRLF to come counts too; what kind of line it is matters only past the least limit.
            let length = self.kept.len() + 2;
            if length > limit(&[]) {
                let limit = limit(&self.kept);
                if length > limit {
                    self.drop_rest();
                    return (Event::TooLong(limit), consumed);
                }
            }
        }
        (Event::Incomplete, input.len())
    }

    fn drop_rest(&mut self) {
        self.kept = Vec::new();
        self.mode = Mode::Drop;
    }
}

enum Event {
    Whole,
    Broken,
    TooLong(usize),
    Endless,
    Incomplete,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads everything in pieces of the given sizes, one after the other and round again.
    fn read_all(input: &[u8], sizes: &[usize]) -> Vec<String> {
        let mut reader = LineReader::default();
        let mut events = Vec::new();
        let (mut at, mut turn) = (0, 0);
        while at < input.len() {
            let size = sizes[turn % sizes.len()].clamp(1, input.len() - at);
            turn += 1;
            let mut piece = &input[at..at + size];
            at += size;
            while !piece.is_empty() {
                let limit = |line: &[u8]| {
                    if line.starts_with(b"AUTH") {
                        SASL_MAX
                    } else {
                        20
                    }
                };
                let (event, consumed) = reader.read(piece, limit, |line, n| {
                    let event = match line {
                        Line::Whole(line) => String::from_utf8_lossy(line).into_owned(),
                        Line::Incomplete => String::new(),
                        other => format!("{other:?}"),
                    };
                    (event, n)
                });
                if !event.is_empty() {
                    events.push(event);
                }
                piece = &piece[consumed..];
            }
        }
        events
    }

    #[test]
    fn debug_shows_no_octet_of_the_line() {
        let mut reader = LineReader::default();
        reader.read(b"AUTH PLAIN c2VjcmV0", |_| SASL_MAX, |_, _| ());
        assert!(reader.is_mid_line());
        let shown = format!("{reader:?}");
        let octets = format!("{:?}", b"AUTH").replace(['[', ']'], "");
        assert!(
            !shown.contains(&octets) && !shown.contains("AUTH"),
            "{shown}"
        );
    }

    /// R5321-2.3.8a.
    #[test]
    fn only_crlf_ends_a_line() {
        for (input, expected) in [
            ("NOOP\r\nQUIT\r\n", vec!["NOOP", "QUIT"]),
            ("NOOP\n", vec!["Broken"]),
            ("NOOP\nQUIT\r\nRSET\r\n", vec!["Broken", "RSET"]),
            ("NOOP\rQUIT\r\nRSET\r\n", vec!["Broken", "RSET"]),
            ("NOOP\r\r\nRSET\r\n", vec!["Broken", "RSET"]),
            ("NO\0OP\r\nRSET\r\n", vec!["Broken", "RSET"]),
            ("NOOP", vec![]),
            ("NOOP\r", vec![]),
            (
                "123456789012345678\r\nRSET\r\n",
                vec!["123456789012345678", "RSET"],
            ),
            (
                "1234567890123456789\r\nRSET\r\n",
                vec!["TooLong(20)", "RSET"],
            ),
            (
                "AUTH 90123456789012345678\r\n",
                vec!["AUTH 90123456789012345678"],
            ),
        ] {
            assert_eq!(
                read_all(input.as_bytes(), &[usize::MAX]),
                expected,
                "{input:?}"
            );
            assert_eq!(
                read_all(input.as_bytes(), &[1]),
                expected,
                "{input:?} by octets"
            );
        }
    }

    #[test]
    fn an_endless_line_is_given_up() {
        let input = vec![b'x'; DISCARD_MAX + 10];
        let mut events = read_all(&input, &[1_000]);
        events.dedup();
        assert_eq!(events, ["TooLong(20)", "Endless"]);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_lines(
            input in "([A-Z]{0,24}(\r\n|\n|\r|\0)){0,8}",
            sizes in prop::collection::vec(1usize..9, 1..6),
        ) {
            let whole = read_all(input.as_bytes(), &[usize::MAX]);
            prop_assert_eq!(read_all(input.as_bytes(), &sizes), whole);
        }
    }
}
