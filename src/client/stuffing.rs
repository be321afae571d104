//! Content as it leaves (RFC 5321 §4.5.2, §2.3.8): dots stuffed, and nothing passed on that a next
//! hop could take for something else.

/// Why content must not leave as it is. Custody holds none such; if it did, a next hop could be
/// made to see the end of the message where there is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Unfit {
    /// A CR without LF, an LF without CR.
    #[error("the content holds a bare CR or LF")]
    BareLineEnd,
    /// An octet above 127 for a hop that takes none (RFC 6152 §3).
    #[error("the content holds 8-bit octets, and the next hop does not take them")]
    EightBit,
}

/// How content is framed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Framing {
    /// DATA: dots at line starts are doubled.
    Dots,
    /// BDAT: as it is.
    Counted,
    /// BDAT with BODY=BINARYMIME: any octets.
    Binary,
}

/// Writes the content of one message, fed in pieces of any size.
#[derive(Debug)]
pub(super) struct Stuffing {
    framing: Framing,
    takes_eight_bit: bool,
    last: Last,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Last {
    /// Nothing, or a CRLF.
    LineStart,
    Cr,
    Other,
}

impl Stuffing {
    pub(super) fn new(framing: Framing, takes_eight_bit: bool) -> Self {
        Stuffing {
            framing,
            takes_eight_bit,
            last: Last::LineStart,
        }
    }

    /// Appends what is to be sent for `piece`.
    ///
    /// # Errors
    /// [`Unfit`]; nothing may be sent after that, not even what was appended.
    pub(super) fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
        if self.framing == Framing::Binary {
            out.extend_from_slice(piece);
            return Ok(());
        }
        if !self.takes_eight_bit && !piece.is_ascii() {
            return Err(Unfit::EightBit);
        }
        let mut rest = piece;
        while let Some(&first) = rest.first() {
            match self.last {
                Last::Cr if first != b'\n' => return Err(Unfit::BareLineEnd),
                Last::Cr => {
                    out.push(b'\n');
                    rest = &rest[1..];
                    self.last = Last::LineStart;
                    continue;
                }
                Last::LineStart if first == b'.' && self.framing == Framing::Dots => out.push(b'.'),
                Last::LineStart | Last::Other => {}
            }
            let end = memchr::memchr2(b'\r', b'\n', rest);
            match end.map(|end| rest[end]) {
                Some(b'\n') => return Err(Unfit::BareLineEnd),
                Some(_) => self.last = Last::Cr,
                None => self.last = Last::Other,
            }
            let (line, behind) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
            out.extend_from_slice(line);
            rest = behind;
        }
        Ok(())
    }

    /// Appends what ends the content: for DATA a line of one dot, on a line of its own.
    ///
    /// # Errors
    /// [`Unfit::BareLineEnd`] where a CR was the very last octet.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Unfit> {
        match (self.framing, self.last) {
            (_, Last::Cr) => return Err(Unfit::BareLineEnd),
            (Framing::Counted | Framing::Binary, _) => {}
            (Framing::Dots, Last::LineStart) => out.extend_from_slice(b".\r\n"),
            (Framing::Dots, Last::Other) => out.extend_from_slice(b"\r\n.\r\n"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::{BareLf, ContentDecoder, LongLines, Tolerance, write_data};
    use proptest::prelude::*;

    fn stuffed(content: &[u8], sizes: &[usize], framing: Framing) -> Result<Vec<u8>, Unfit> {
        let mut stuffing = Stuffing::new(framing, true);
        let mut out = Vec::new();
        let (mut at, mut turn) = (0, 0);
        while at < content.len() {
            let size = sizes[turn % sizes.len()].clamp(1, content.len() - at);
            stuffing.write(&content[at..at + size], &mut out)?;
            at += size;
            turn += 1;
        }
        stuffing.finish(&mut out)?;
        Ok(out)
    }

    /// R5321-4.5.2b, S20: a dot behind an empty line too.
    #[test]
    fn dots_at_line_starts_are_doubled() {
        for (content, expected) in [
            ("", ".\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            (".", "..\r\n.\r\n"),
            (".\r\n", "..\r\n.\r\n"),
            ("..\r\n", "...\r\n.\r\n"),
            ("a.\r\n", "a.\r\n.\r\n"),
            ("\r\n\r\n.x\r\n.\r\n", "\r\n\r\n..x\r\n..\r\n.\r\n"),
        ] {
            for sizes in [&[usize::MAX][..], &[1], &[2, 1]] {
                let out = stuffed(content.as_bytes(), sizes, Framing::Dots).unwrap();
                assert_eq!(String::from_utf8(out).unwrap(), expected, "{content:?}");
                let out = stuffed(content.as_bytes(), sizes, Framing::Counted).unwrap();
                assert_eq!(out, content.as_bytes());
            }
        }
    }

    /// R5321-2.3.8b, R6152-3c.
    #[test]
    fn what_could_be_misread_does_not_leave() {
        for content in ["a\nb", "a\rb", "\n.\n", "\r\r\n", "\r", "a\r\n\r", "\r\n\n"] {
            for framing in [Framing::Dots, Framing::Counted] {
                for sizes in [&[usize::MAX][..], &[1]] {
                    let out = stuffed(content.as_bytes(), sizes, framing);
                    assert_eq!(out, Err(Unfit::BareLineEnd), "{content:?}");
                }
            }
        }
        let mut strict = Stuffing::new(Framing::Dots, false);
        assert_eq!(strict.write(b"a", &mut Vec::new()), Ok(()));
        assert_eq!(strict.write(b"\xc3", &mut Vec::new()), Err(Unfit::EightBit));
    }

    proptest! {
        /// S20: octets in = octets out through our own decoder, however either side is cut; and
        /// the same octets as [`write_data`] makes of the whole.
        #[test]
        fn what_is_stuffed_decodes_to_itself(
            lines in prop::collection::vec("[.a]{0,4}", 0..12),
            sizes in prop::collection::vec(1usize..7, 1..4),
        ) {
            let content: Vec<u8> = lines.iter().flat_map(|l| [l.as_bytes(), b"\r\n"].concat()).collect();
            let out = stuffed(&content, &sizes, Framing::Dots).unwrap();
            let mut whole = Vec::new();
            write_data(&content, &mut whole);
            prop_assert_eq!(&out, &whole);
            let mut decoder = ContentDecoder::for_data(Tolerance {
                bare_lf: BareLf::Refuse,
                long_lines: LongLines::Refuse,
            });
            let mut decoded = Vec::new();
            prop_assert_eq!(decoder.decode(&out, &mut decoded), out.len());
            prop_assert!(decoder.has_ended());
            prop_assert_eq!(decoded, content);
        }

        /// Whatever is fed in: the end of data appears at the end only, or nothing leaves.
        #[test]
        fn no_content_ends_itself(
            content in prop::collection::vec(prop::sample::select(&b"a.\r\n"[..]), 0..40),
            sizes in prop::collection::vec(1usize..7, 1..4),
        ) {
            if let Ok(out) = stuffed(&content, &sizes, Framing::Dots) {
                let framed = [b"\r\n", &out[..]].concat();
                let end = memchr::memmem::find(&framed, b"\r\n.\r\n");
                prop_assert_eq!(end, Some(framed.len() - 5));
            }
        }
    }
}
