//! Mail data as it arrives: dot-stuffing, end of data, line ends (RFC 5321 §4.5.2, §2.3.8; RFC 3030).
//!
//! One decoder serves DATA and BDAT, so that both hand on the same form: unstuffed, every line
//! ended by CRLF, no bare CR, LF or NUL, no line over 998 octets but where [`LongLines`] lets one
//! pass. A bare LF becomes CRLF, yet it never makes a line start at which a dot would mean
//! something: only CRLF.CRLF ends DATA. After a fault the decoder still follows the octets to the
//! true end, and hands on nothing. The body of a message that was declared binary passes as it is.
//!
//! ```text
//!             other                 CR                LF
//! LineStart ───────► Inside ──────────────► AfterCr ─────► LineStart
//!    │ dot (DATA only)                         ▲
//!    ▼                                  CR     │ other: bare CR, a fault
//!   Dot ───────────────────────────► DotCr ─LF─► end of data
//! ```

/// Octets of a line at most, without its CRLF (RFC 5322 §2.1.1).
pub const LINE_MAX: usize = 998;

/// Why content cannot be taken as it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ContentFault {
    /// A CR that no LF follows.
    #[error("bare CR")]
    BareCr,
    /// An LF that no CR precedes, where such are not made CRLF.
    #[error("bare LF")]
    BareLf,
    /// A NUL.
    #[error("NUL octet")]
    Nul,
    /// A line over [`LINE_MAX`].
    #[error("line over 998 octets")]
    LongLine,
    /// A line of the header section over [`LINE_MAX`], which no transfer encoding mends.
    #[error("header line over 998 octets")]
    LongHeaderLine,
}

/// What is done with an LF that stands alone.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum BareLf {
    /// It becomes CRLF: real clients send it and mean a line end.
    #[default]
    Convert,
    /// It is a fault.
    Refuse,
}

/// What is done with a line of the body over [`LINE_MAX`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LongLines {
    /// It passes and is told of; whoever takes the content has to encode it (RFC 6409 §8.4).
    #[default]
    Encode,
    /// It is a fault.
    Refuse,
}

/// What a decoder bears, beside what it mends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tolerance {
    /// For an LF that stands alone.
    pub bare_lf: BareLf,
    /// For lines too long.
    pub long_lines: LongLines,
}

/// How the end of the content is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Framing {
    /// A line that holds one dot (DATA).
    Dot,
    /// By counting octets (BDAT).
    Count,
    /// The same, and the body is not lines (BODY=BINARYMIME).
    Binary,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    LineStart,
    Inside,
    AfterCr,
    Dot,
    DotCr,
    Ended,
}

/// Decodes the content of one message, fed in pieces of any size.
#[derive(Debug)]
pub struct ContentDecoder {
    framing: Framing,
    tolerance: Tolerance,
    state: State,
    fault: Option<ContentFault>,
    line_octets: usize,
    octets: u64,
    /// The blank line behind the header section was met.
    in_body: bool,
    has_long_lines: bool,
}

impl ContentDecoder {
    /// A decoder for what follows a 354.
    pub fn for_data(tolerance: Tolerance) -> Self {
        Self::new(Framing::Dot, tolerance)
    }

    /// A decoder for the chunks of one message.
    pub fn for_chunks(tolerance: Tolerance) -> Self {
        Self::new(Framing::Count, tolerance)
    }

    /// A decoder for the chunks of a message whose body is octets of any kind (RFC 3030 §3). They
    /// pass as they are; the header section is lines as always.
    pub fn for_binary(tolerance: Tolerance) -> Self {
        Self::new(Framing::Binary, tolerance)
    }

    fn new(framing: Framing, tolerance: Tolerance) -> Self {
        ContentDecoder {
            framing,
            tolerance,
            state: State::LineStart,
            fault: None,
            line_octets: 0,
            octets: 0,
            in_body: false,
            has_long_lines: false,
        }
    }

    /// The first fault met, if any.
    pub fn fault(&self) -> Option<ContentFault> {
        self.fault
    }

    /// Octets of decoded content so far: CRLF counted as two, without stuffed dots and end of data
    /// (RFC 1870 §5).
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Whether lines over [`LINE_MAX`] were handed on.
    pub fn has_long_lines(&self) -> bool {
        self.has_long_lines
    }

    /// Whether the end of data was read.
    pub fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Appends to `out` what `input` decodes to and returns how many octets of it were consumed:
    /// all, unless the end of data came first.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let before = out.len();
        let consumed = self.run(input, out);
        if self.fault.is_some() {
            out.truncate(before);
        }
        consumed
    }

    fn run(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let mut at = 0;
        // What stands in `input[run..at]` belongs to the content as it is.
        let mut run = 0;
        // A CR held back from an earlier piece is written once what follows it is known.
        let mut held_cr = self.state == State::AfterCr;
        while at < input.len() {
            if self.framing == Framing::Binary && self.in_body {
                self.append(&input[run..], out);
                return input.len();
            }
            match self.state {
                State::LineStart if input[at] == b'.' && self.framing == Framing::Dot => {
                    self.append(&input[run..at], out);
                    at += 1;
                    run = at;
                    self.state = State::Dot;
                }
                State::LineStart | State::Inside => {
                    let rest = &input[at..];
                    let length = memchr::memchr3(b'\r', b'\n', 0, rest).unwrap_or(rest.len());
                    self.line_octets += length;
                    if self.line_octets > LINE_MAX {
                        self.long_line_met();
                    }
                    if length > 0 {
                        self.state = State::Inside;
                    }
                    at += length;
                    match input.get(at) {
                        None => {}
                        Some(b'\r') => {
                            at += 1;
                            self.state = State::AfterCr;
                        }
                        Some(b'\n') => {
                            self.append(&input[run..at], out);
                            self.bare_lf_met(out);
                            at += 1;
                            run = at;
                        }
                        Some(_) => {
                            self.fail(ContentFault::Nul);
                            self.state = State::Inside;
                            at += 1;
                        }
                    }
                }
                State::AfterCr => {
                    if input[at] == b'\n' {
                        if held_cr {
                            self.append(b"\r", out);
                        }
                        at += 1;
                        self.line_ended();
                        self.state = State::LineStart;
                    } else {
                        // The octet itself is looked at again: it may be a CR of its own.
                        self.fail(ContentFault::BareCr);
                        self.state = State::Inside;
                    }
                    held_cr = false;
                }
                State::Dot => match input[at] {
                    b'\r' => {
                        at += 1;
                        self.state = State::DotCr;
                    }
                    // The dot was stuffing: drop it and look at this octet as at any other.
                    _ => {
                        run = at;
                        self.state = State::Inside;
                    }
                },
                State::DotCr => {
                    if input[at] == b'\n' {
                        self.state = State::Ended;
                        return at + 1;
                    }
                    self.fail(ContentFault::BareCr);
                    self.state = State::Inside;
                    run = at;
                }
                State::Ended => return at,
            }
        }
        let end = if self.state == State::AfterCr {
            at.saturating_sub(1).max(run)
        } else {
            at
        };
        if self.state != State::Dot && self.state != State::DotCr {
            self.append(&input[run.min(end)..end], out);
        }
        at
    }

    fn bare_lf_met(&mut self, out: &mut Vec<u8>) {
        match self.tolerance.bare_lf {
            BareLf::Convert => self.append(b"\r\n", out),
            BareLf::Refuse => self.fail(ContentFault::BareLf),
        }
        self.line_ended();
        self.state = State::Inside;
    }

    fn line_ended(&mut self) {
        self.in_body |= self.line_octets == 0;
        self.line_octets = 0;
    }

    fn long_line_met(&mut self) {
        match self.tolerance.long_lines {
            LongLines::Refuse => self.fail(ContentFault::LongLine),
            LongLines::Encode if !self.in_body => self.fail(ContentFault::LongHeaderLine),
            LongLines::Encode => self.has_long_lines = true,
        }
    }

    fn append(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        self.octets = self.octets.saturating_add(octets.len() as u64);
        if self.fault.is_none() {
            out.extend_from_slice(octets);
        }
    }

    /// Ends content whose end is told by counting.
    ///
    /// # Errors
    /// The first fault of the whole content; a CR as the very last octet is one.
    pub fn finish(&mut self) -> Result<(), ContentFault> {
        if self.framing != Framing::Dot && self.state == State::AfterCr {
            self.fail(ContentFault::BareCr);
        }
        self.state = State::Ended;
        self.fault.map_or(Ok(()), Err)
    }

    fn fail(&mut self, fault: ContentFault) {
        self.fault.get_or_insert(fault);
    }
}

/// Writes content for DATA: dots stuffed, and the end of data behind it (RFC 5321 §4.5.2).
///
/// A last line without CRLF is given one.
pub fn write_data(content: &[u8], out: &mut Vec<u8>) {
    let mut rest = content;
    while !rest.is_empty() {
        if rest[0] == b'.' {
            out.push(b'.');
        }
        let end = memchr::memmem::find(rest, b"\r\n").map_or(rest.len(), |at| at + 2);
        out.extend_from_slice(&rest[..end]);
        rest = &rest[end..];
    }
    if !content.is_empty() && !content.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Decoded {
        content: Vec<u8>,
        rest: Vec<u8>,
        ended: bool,
        fault: Option<ContentFault>,
        octets: u64,
    }

    fn decode_in(mut decoder: ContentDecoder, input: &[u8], sizes: &[usize]) -> Decoded {
        let mut content = Vec::new();
        let (mut at, mut turn) = (0, 0);
        while at < input.len() && !decoder.has_ended() {
            let size = sizes[turn % sizes.len()].clamp(1, input.len() - at);
            turn += 1;
            let consumed = decoder.decode(&input[at..at + size], &mut content);
            assert!(consumed == size || decoder.has_ended());
            at += consumed;
        }
        Decoded {
            content,
            rest: input[at..].to_vec(),
            ended: decoder.has_ended(),
            fault: decoder.fault(),
            octets: decoder.octets(),
        }
    }

    fn data(input: &[u8], sizes: &[usize]) -> Decoded {
        decode_in(ContentDecoder::for_data(Tolerance::default()), input, sizes)
    }

    /// R5321-4.5.2a, R5321-4.1.1.4a, R5321-4.5.3.1f, R1870-5a.
    #[test]
    fn data_is_unstuffed_and_ends_at_its_dot() {
        let line998 = [vec![b'x'; 998], b"\r\n".to_vec()].concat();
        let stuffed998 = [b"..".to_vec(), vec![b'x'; 997], b"\r\n.\r\n".to_vec()].concat();
        let dotted998 = [b".".to_vec(), vec![b'x'; 997], b"\r\n".to_vec()].concat();
        let rows: [(&[u8], &[u8]); 9] = [
            (b".\r\n", b""),
            (b"a\r\n.\r\n", b"a\r\n"),
            (b"..\r\n.\r\n", b".\r\n"),
            (b"..x\r\n...\r\n.\r\n", b".x\r\n..\r\n"),
            (b".x\r\n.\r\n", b"x\r\n"),
            (b"\r\n\r\n.\r\n", b"\r\n\r\n"),
            (b"a\nb\r\n.\r\n", b"a\r\nb\r\n"),
            (&[line998.clone(), b".\r\n".to_vec()].concat(), &line998),
            (&stuffed998, &dotted998),
        ];
        for (input, expected) in rows {
            for sizes in [&[usize::MAX][..], &[1], &[2, 3]] {
                let decoded = data(input, sizes);
                let shown = String::from_utf8_lossy(input);
                assert_eq!(decoded.content, expected, "{shown:?} {sizes:?}");
                assert!(decoded.ended, "{shown:?}");
                assert_eq!(decoded.fault, None, "{shown:?}");
                assert_eq!(decoded.octets, expected.len() as u64, "{shown:?}");
            }
        }
    }

    /// Every fake end known from smuggling: none ends the content (R5321-4.1.1.4a, S7).
    #[test]
    fn fake_ends_of_data_end_nothing() {
        for fake in [
            "\n.\n",
            "\n.\r\n",
            "\r\n.\n",
            "\r.\r",
            "\r\n.\r",
            "\r.\r\n",
            "\r.\n",
            "\n.\r",
            "\r\r\n.\r\r\n",
            "\n\n.\n\n",
            "\r\n\0.\r\n",
            "\r\n.\0\r\n",
            "\0\r\n.\r\0\n",
            "\r\n.\r\r\n",
            "\r\n .\r\n",
            "\r\n. \r\n",
            "\r\n.\t\r\n",
            "\r\n\u{2e}\u{85}",
            "\r\n.\\r\\n",
            "\r\n..\r\n",
            "\u{85}.\u{85}",
            "\n\r.\n\r",
            "\r\n.\u{b}\r\n",
        ] {
            let smuggled = "MAIL FROM:<evil@example.org>\r\n";
            let input = format!("a{fake}{smuggled}\r\n.\r\nQUIT\r\n");
            for sizes in [&[usize::MAX][..], &[1], &[2], &[3, 1]] {
                let decoded = data(input.as_bytes(), sizes);
                assert!(decoded.ended);
                assert_eq!(
                    decoded.rest[decoded.rest.len() - 6..],
                    *b"QUIT\r\n",
                    "{fake:?}"
                );
                let rest = b"QUIT\r\n".len();
                if sizes[0] == usize::MAX {
                    assert_eq!(decoded.rest.len(), rest, "{fake:?} ended early");
                }
                if decoded.fault.is_none() {
                    // What is handed on holds no end that a next hop could mistake.
                    let mut sent = Vec::new();
                    write_data(&decoded.content, &mut sent);
                    let again = data(&sent, &[usize::MAX]);
                    assert_eq!(again.content, decoded.content, "{fake:?}");
                    assert!(again.rest.is_empty(), "{fake:?}");
                    assert!(!bare(&decoded.content), "{fake:?}");
                }
            }
        }
    }

    fn bare(content: &[u8]) -> bool {
        let text = String::from_utf8_lossy(content).replace("\r\n", "");
        text.contains(['\r', '\n', '\0'])
    }

    #[test]
    fn faults_are_named_and_nothing_follows_them() {
        let long = [vec![b'x'; 999], b"\r\n.\r\n".to_vec()].concat();
        let long_lf = [vec![b'x'; 999], b"\n\r\n.\r\n".to_vec()].concat();
        let rows: [(&[u8], ContentFault); 7] = [
            (b"a\rb\r\n.\r\n", ContentFault::BareCr),
            (b"a\r\r\n.\r\n", ContentFault::BareCr),
            (b".\ra\r\n.\r\n", ContentFault::BareCr),
            (b"a\0b\r\n.\r\n", ContentFault::Nul),
            (b"\0\r\n.\r\n", ContentFault::Nul),
            (&long, ContentFault::LongHeaderLine),
            (&long_lf, ContentFault::LongHeaderLine),
        ];
        for (input, fault) in rows {
            for sizes in [&[usize::MAX][..], &[1], &[5]] {
                let decoded = data(input, sizes);
                assert_eq!(
                    decoded.fault,
                    Some(fault),
                    "{:?}",
                    String::from_utf8_lossy(input)
                );
                assert!(decoded.ended && decoded.rest.is_empty());
            }
        }
        let refusing = ContentDecoder::for_data(Tolerance {
            bare_lf: BareLf::Refuse,
            ..Tolerance::default()
        });
        let decoded = decode_in(refusing, b"a\nb\r\n.\r\n", &[usize::MAX]);
        assert_eq!(decoded.fault, Some(ContentFault::BareLf));
    }

    /// R5322-2.1.1a, R6409-8.4a: long lines of the body pass where they are encoded later, those of
    /// the header section never do.
    #[test]
    fn long_lines_pass_in_the_body_alone() {
        let encode = LongLines::Encode;
        let refuse = LongLines::Refuse;
        let (long, fits) = ("x".repeat(999), "x".repeat(998));
        let rows: [(LongLines, String, Option<ContentFault>, bool); 9] = [
            (encode, format!("A: b\r\n\r\n{long}\r\n"), None, true),
            (encode, format!("A: b\r\n\r\n{fits}\r\n"), None, false),
            (encode, format!("A: b\n\n{long}\r\n"), None, true),
            (encode, format!("\r\n{long}\r\n"), None, true),
            (
                encode,
                format!("A: b\r\n\r\n.{fits}\r\n.{long}\n"),
                None,
                true,
            ),
            (
                encode,
                format!("A: {long}\r\n\r\nx\r\n"),
                Some(ContentFault::LongHeaderLine),
                false,
            ),
            (
                encode,
                format!("A: b\r\n {long}\r\n"),
                Some(ContentFault::LongHeaderLine),
                false,
            ),
            (
                refuse,
                format!("A: b\r\n\r\n{long}\r\n"),
                Some(ContentFault::LongLine),
                false,
            ),
            (refuse, format!("A: b\r\n\r\n{fits}\r\n"), None, false),
        ];
        for (long_lines, content, fault, has_long_lines) in rows {
            let shown = content.replace(&fits, "x…");
            let input = format!("{content}.\r\n");
            // The line that ends in a bare LF above needs a whole end behind it.
            let input = input.replace("\n.\r\n", "\n\r\n.\r\n");
            for size in [1, 7, usize::MAX] {
                let mut decoder = ContentDecoder::for_data(Tolerance {
                    long_lines,
                    ..Tolerance::default()
                });
                let mut out = Vec::new();
                for piece in input.as_bytes().chunks(size.min(input.len())) {
                    decoder.decode(piece, &mut out);
                }
                assert!(decoder.has_ended(), "{shown:?}");
                assert_eq!(decoder.fault(), fault, "{shown:?}");
                assert_eq!(decoder.has_long_lines(), has_long_lines, "{shown:?}");
            }
        }
    }

    /// R3030-2b: dots mean nothing in chunks, and a CRLF may lie on a chunk's edge.
    #[test]
    fn chunks_are_taken_as_they_are() {
        let mut decoder = ContentDecoder::for_chunks(Tolerance::default());
        let mut out = Vec::new();
        for chunk in [&b"a\r"[..], b"\n.\r\n", b"", b"..\nb"] {
            assert_eq!(decoder.decode(chunk, &mut out), chunk.len());
        }
        assert_eq!(decoder.finish(), Ok(()));
        assert_eq!(out, b"a\r\n.\r\n..\r\nb");
        assert_eq!(decoder.octets(), out.len() as u64);

        let mut decoder = ContentDecoder::for_chunks(Tolerance::default());
        decoder.decode(b"a\r", &mut out);
        assert_eq!(decoder.finish(), Err(ContentFault::BareCr));
    }

    fn octets() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(&b"ab.\r\n\0"[..]), 0..60)
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_content(
            input in octets(),
            sizes in prop::collection::vec(1usize..7, 1..5),
        ) {
            let input = [input, b"\r\n.\r\n".to_vec()].concat();
            let whole = data(&input, &[usize::MAX]);
            let split = data(&input, &sizes);
            prop_assert_eq!(whole.fault, split.fault);
            prop_assert_eq!(whole.ended, split.ended);
            if whole.fault.is_none() {
                prop_assert_eq!(&whole.content, &split.content);
                prop_assert_eq!(whole.octets, split.octets);
                prop_assert!(!bare(&whole.content));
            }
        }

        /// R5321-4.5.2c, S20: octets in are octets out through stuffing and back.
        #[test]
        fn stuffing_and_unstuffing_is_the_identity(
            lines in prop::collection::vec("[\\.a\u{1}-\u{9}\u{7f}-\u{ff}]{0,8}", 0..8),
            sizes in prop::collection::vec(1usize..9, 1..5),
        ) {
            let content: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let mut sent = Vec::new();
            write_data(content.as_bytes(), &mut sent);
            let decoded = data(&sent, &sizes);
            prop_assert_eq!(decoded.content, content.as_bytes());
            prop_assert!(decoded.ended && decoded.rest.is_empty());
        }
    }

    /// R3030-3c.
    #[test]
    fn a_binary_body_passes_as_it_is_behind_a_header_section_of_lines() {
        let every: Vec<u8> = (0..=255)
            .chain([b'\r', b'\n', b'.', b'\r', b'\n'])
            .collect();
        let header = b"Subject: x\r\nA: b\n\r\n";
        let input = [&header[..], &every, &[b'x'; 2_000], b"\r"].concat();
        let expected = [
            &b"Subject: x\r\nA: b\r\n\r\n"[..],
            &every,
            &[b'x'; 2_000],
            b"\r",
        ];
        for size in [1, 2, 7, input.len()] {
            let mut decoder = ContentDecoder::for_binary(Tolerance::default());
            let mut out = Vec::new();
            for piece in input.chunks(size) {
                assert_eq!(decoder.decode(piece, &mut out), piece.len());
            }
            assert_eq!(decoder.finish(), Ok(()));
            assert_eq!(out, expected.concat(), "{size}");
            assert_eq!(decoder.octets(), out.len() as u64);
            assert!(!decoder.has_long_lines());
        }
        for (header, fault) in [
            (&b"Subject: \0\r\n\r\n"[..], ContentFault::Nul),
            (b"Subject: \rx\r\n\r\n", ContentFault::BareCr),
        ] {
            let mut decoder = ContentDecoder::for_binary(Tolerance::default());
            decoder.decode(header, &mut Vec::new());
            assert_eq!(decoder.finish(), Err(fault));
        }
    }
}
