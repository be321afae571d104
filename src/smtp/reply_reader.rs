//! Replies out of a stream of octets (RFC 5321 §4.2), as a client reads them.
//!
//! Whoever answers may be old, broken or hostile, so the form is read liberally and the amount
//! strictly: a reply may lack its text and its space, an LF alone ends a line too, and no reply is
//! longer than [`REPLY_MAX`]. What stands in the text is kept as it came, control octets included:
//! those who show it make it safe.

use super::{EnhancedCode, SASL_MAX};

/// Octets of one reply at most, line ends included; the longest answer to EHLO is a tenth of it.
pub const REPLY_MAX: usize = 65_536;
/// Octets that are kept of one line; the rest of a longer one is read and dropped.
///
/// RFC 5321 §4.5.3.1.5 knows 512, a challenge of RFC 4954 §4 needs 12,288 and its code.
const LINE_KEPT: usize = SASL_MAX;

/// What a reply says by the first digit of its code, which decides alone (RFC 5321 §4.2.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReplyClass {
    /// 2yz: done.
    Positive,
    /// 3yz: go on.
    Intermediate,
    /// 4yz: not now.
    Transient,
    /// 5yz: never.
    Permanent,
    /// Anything else, which no server may say.
    Foreign,
}

/// Why what came is no reply. Nothing behind it can be matched to a command.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReplyFault {
    /// A line that does not begin with a code and a space or hyphen.
    #[error("not a reply: {0}")]
    NotAReply(String),
    /// The lines of one reply bear different codes.
    #[error("reply changes its code from {0:03} to {1:03}")]
    CodeChanged(u16, u16),
    /// More than [`REPLY_MAX`] octets.
    #[error("reply is longer than {REPLY_MAX} octets")]
    Endless,
}

/// One reply as it came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReceivedReply {
    code: u16,
    /// The texts of its lines, an LF between two of them.
    text: Vec<u8>,
}

impl ReceivedReply {
    /// The three digits.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// What the first digit says.
    pub fn class(&self) -> ReplyClass {
        match self.code / 100 {
            2 => ReplyClass::Positive,
            3 => ReplyClass::Intermediate,
            4 => ReplyClass::Transient,
            5 => ReplyClass::Permanent,
            _ => ReplyClass::Foreign,
        }
    }

    /// The text of each line, without code, separator and line end: data from the network.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.text.split(|octet| *octet == b'\n')
    }

    /// The enhanced status code in front of the text, where there is one and its class is the one
    /// of the reply (RFC 2034 §4).
    pub fn enhanced(&self) -> Option<EnhancedCode> {
        let code = EnhancedCode::parse(first_word(self.lines().next()?))?;
        (u16::from(code.class) == self.code / 100).then_some(code)
    }

    /// The whole reply in one line: the code, the enhanced code once, and the texts behind one
    /// another. Octets that are no UTF-8 stand as `\xNN`; control characters stand as they came.
    pub fn text(&self) -> String {
        let mut text = format!("{:03}", self.code);
        let repeated = self.enhanced().map(|code| code.to_string());
        for (at, line) in self.lines().enumerate() {
            let line = match &repeated {
                Some(code) if at > 0 && first_word(line) == code => &line[code.len()..],
                _ => line,
            };
            let line = line.trim_ascii();
            if !line.is_empty() {
                text.push(' ');
                push_lossless(line, &mut text);
            }
        }
        text
    }
}

fn first_word(line: &[u8]) -> &str {
    let word = line.split(|octet| *octet == b' ').next();
    std::str::from_utf8(word.unwrap_or_default()).unwrap_or_default()
}

fn push_lossless(octets: &[u8], out: &mut String) {
    for chunk in octets.utf8_chunks() {
        out.push_str(chunk.valid());
        for octet in chunk.invalid() {
            out.push_str(&format!("\\x{octet:02X}"));
        }
    }
}

/// Collects one reply at a time; holds nothing between replies.
#[derive(Debug, Default)]
pub struct ReplyReader {
    /// The line under way.
    line: Vec<u8>,
    /// The lines before it.
    reply: Option<ReceivedReply>,
    seen: usize,
}

impl ReplyReader {
    /// Whether part of a reply is here.
    pub fn is_mid_reply(&self) -> bool {
        self.seen > 0
    }

    /// Forgets the reply under way.
    pub fn clear(&mut self) {
        *self = ReplyReader::default();
    }

    /// Reads from `input` up to the end of one reply, and gives the number of octets consumed and
    /// the reply, if it is whole.
    ///
    /// # Errors
    /// [`ReplyFault`] inside; the reader is of no further use then.
    pub fn read(&mut self, input: &[u8]) -> (usize, Option<Result<ReceivedReply, ReplyFault>>) {
        let mut at = 0;
        while at < input.len() {
            let rest = &input[at..];
            let end = memchr::memchr(b'\n', rest);
            let piece = &rest[..end.unwrap_or(rest.len())];
            let taken = end.map_or(piece.len(), |end| end + 1);
            at += taken;
            self.seen += taken;
            if self.seen > REPLY_MAX {
                return (at, Some(Err(ReplyFault::Endless)));
            }
            let room = LINE_KEPT - self.line.len();
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if end.is_some()
                && let Some(result) = self.line_ended().transpose()
            {
                return (at, Some(result));
            }
        }
        (at, None)
    }

    /// Takes the line under way into the reply; gives the reply if that was its last line.
    fn line_ended(&mut self) -> Result<Option<ReceivedReply>, ReplyFault> {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        let (code, is_last, text) = split(line).ok_or_else(|| not_a_reply(line))?;
        let reply = match self.reply.take() {
            None => ReceivedReply {
                code,
                text: text.to_vec(),
            },
            Some(reply) if reply.code != code => {
                return Err(ReplyFault::CodeChanged(reply.code, code));
            }
            Some(mut reply) => {
                reply.text.push(b'\n');
                reply.text.extend_from_slice(text);
                reply
            }
        };
        if is_last {
            self.clear();
            return Ok(Some(reply));
        }
        self.reply = Some(reply);
        Ok(None)
    }
}

/// Code, whether it is the last line, and text.
fn split(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = digits
        .iter()
        .fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match rest {
        [] => Some((code, true, rest)),
        [b' ', text @ ..] => Some((code, true, text)),
        [b'-', text @ ..] => Some((code, false, text)),
        _ => None,
    }
}

/// The beginning of such a line is enough to see what it is.
fn not_a_reply(line: &[u8]) -> ReplyFault {
    let mut text = String::new();
    push_lossless(&line[..line.len().min(200)], &mut text);
    ReplyFault::NotAReply(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every reply in short, until a fault.
    fn read_all(input: &[u8], sizes: &[usize]) -> Vec<String> {
        let mut reader = ReplyReader::default();
        let mut seen = Vec::new();
        let (mut at, mut turn) = (0, 0);
        while at < input.len() {
            let size = sizes[turn % sizes.len()].clamp(1, input.len() - at);
            turn += 1;
            let (consumed, result) = reader.read(&input[at..at + size]);
            assert!(consumed > 0 && consumed <= size);
            at += consumed;
            match result {
                None => assert_eq!(consumed, size),
                Some(Ok(reply)) => {
                    assert!(!reader.is_mid_reply());
                    seen.push(reply.text());
                }
                Some(Err(fault)) => {
                    seen.push(format!("{fault}"));
                    break;
                }
            }
        }
        seen
    }

    /// R5321-4.2e, S12.
    #[test]
    fn replies_are_read_liberally() {
        let rows: [(&[u8], &[&str]); 15] = [
            (b"250 OK\r\n", &["250 OK"]),
            (b"250 \r\n", &["250"]),
            (b"250\r\n", &["250"]),
            (b"250 OK\n354 go\n", &["250 OK", "354 go"]),
            (b"250-a\r\n250-b\r\n250 c\r\n", &["250 a b c"]),
            (b"250-\r\n250\r\n", &["250"]),
            (
                b"550-5.1.1 No\r\n550 5.1.1 such\r\n",
                &["550 5.1.1 No such"],
            ),
            (
                b"550-5.1.1 No\r\n550 5.1.2 such\r\n",
                &["550 5.1.1 No 5.1.2 such"],
            ),
            (
                b"250 a\rb\x07\xc3\xbc\xff\r\n",
                &["250 a\rb\x07\u{fc}\\xFF"],
            ),
            (b"250 no end", &[]),
            (b"hello\r\n250 OK\r\n", &["not a reply: hello"]),
            (b"\r\n", &["not a reply: "]),
            (b"25\r\n", &["not a reply: 25"]),
            (b"250_x\r\n", &["not a reply: 250_x"]),
            (
                b"250-a\r\n550 b\r\n",
                &["reply changes its code from 250 to 550"],
            ),
        ];
        for (input, expected) in rows {
            for sizes in [&[usize::MAX][..], &[1], &[3, 2]] {
                assert_eq!(
                    read_all(input, sizes),
                    expected,
                    "{:?} {sizes:?}",
                    input.escape_ascii().to_string()
                );
            }
        }
    }

    fn only(input: &[u8]) -> ReceivedReply {
        ReplyReader::default().read(input).1.unwrap().unwrap()
    }

    /// R5321-4.2d, R5321-4.2f, R5321-4.2g.
    #[test]
    fn the_first_digit_decides() {
        for (line, class) in [
            ("299 x\r\n", ReplyClass::Positive),
            ("250 550 no\r\n", ReplyClass::Positive),
            ("399 x\r\n", ReplyClass::Intermediate),
            ("477 x\r\n", ReplyClass::Transient),
            ("577 x\r\n", ReplyClass::Permanent),
            ("650 x\r\n", ReplyClass::Foreign),
            ("150 x\r\n", ReplyClass::Foreign),
            ("000 x\r\n", ReplyClass::Foreign),
        ] {
            assert_eq!(only(line.as_bytes()).class(), class, "{line}");
        }
    }

    #[test]
    fn enhanced_codes_count_where_their_class_is_the_reply_s() {
        for (line, code) in [
            ("550 5.1.1 x\r\n", Some(EnhancedCode::new(5, 1, 1))),
            ("550 5.1.1\r\n", Some(EnhancedCode::new(5, 1, 1))),
            ("550-5.1.1 x\r\n550 y\r\n", Some(EnhancedCode::new(5, 1, 1))),
            ("550 4.1.1 x\r\n", None),
            ("550 5.1.1. x\r\n", None),
            ("550 [5.1.1] x\r\n", None),
            ("550 x 5.1.1\r\n", None),
            ("550\r\n", None),
        ] {
            assert_eq!(only(line.as_bytes()).enhanced(), code, "{line}");
        }
    }

    #[test]
    fn a_long_line_is_cut_and_an_endless_reply_given_up() {
        let long = [b"250 ", &vec![b'x'; 20_000][..], b"\r\n250 OK\r\n"].concat();
        let seen = read_all(&long, &[1_000]);
        assert_eq!(seen[0].len(), LINE_KEPT);
        assert_eq!(seen[1], "250 OK");
        let endless = "reply is longer than 65536 octets";
        for line in [&b"250-x\r\n"[..], b"250-\n", b"x"] {
            assert_eq!(read_all(&line.repeat(66_000), &[1_460]), [endless]);
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_replies(
            input in "(([0-9]{3}[ -]?)?[a-z\u{0}\r]{0,9}(\r\n|\n)?){0,12}",
            sizes in prop::collection::vec(1usize..9, 1..5),
        ) {
            let whole = read_all(input.as_bytes(), &[usize::MAX]);
            prop_assert_eq!(read_all(input.as_bytes(), &sizes), whole);
        }

        #[test]
        fn no_octets_panic(
            input in prop::collection::vec(prop_oneof![
                any::<u8>(), prop::sample::select(&b"0123456789 -\r\n"[..]),
            ], 0..400),
        ) {
            read_all(&input, &[7]);
        }

        /// What our own server side writes comes back as it was meant.
        #[test]
        fn written_replies_are_read(
            code in 200u16..600,
            lines in prop::collection::vec("[ -~]{0,60}", 1..5),
        ) {
            let reply = crate::smtp::Reply {
                code,
                enhanced: None,
                lines: lines.iter().cloned().map(Into::into).collect(),
            };
            let mut octets = Vec::new();
            reply.write(&mut octets);
            let read = only(&octets);
            prop_assert_eq!(read.code(), code);
            let texts: Vec<_> = read.lines().collect();
            prop_assert_eq!(texts, lines.iter().map(|l| l.as_bytes()).collect::<Vec<_>>());
        }
    }
}
