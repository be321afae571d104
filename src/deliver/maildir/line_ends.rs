//! From CRLF to the LF that files in a Maildir have.

use std::io::{self, Write};

/// Writes what it is given with each CRLF as LF; any other octet, a lone CR too, stays.
pub(super) struct LineEnds<W> {
    inner: W,
    /// A CR came last: whether it stays depends on what follows.
    held: bool,
}

impl<W: Write> LineEnds<W> {
    pub(super) fn new(inner: W) -> Self {
        LineEnds { inner, held: false }
    }

    /// Takes the next octets, cut anywhere.
    pub(super) fn write(&mut self, mut octets: &[u8]) -> io::Result<()> {
        if self.held && !octets.is_empty() {
            self.held = false;
            if octets[0] != b'\n' {
                self.inner.write_all(b"\r")?;
            }
        }
        while let Some(at) = memchr::memchr(b'\r', octets) {
            self.inner.write_all(&octets[..at])?;
            match octets.get(at + 1) {
                Some(b'\n') => {}
                Some(_) => self.inner.write_all(b"\r")?,
                None => self.held = true,
            }
            octets = &octets[at + 1..];
        }
        self.inner.write_all(octets)
    }

    /// Writes out what was held back.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if self.held {
            self.inner.write_all(b"\r")?;
        }
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn converted(pieces: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut ends = LineEnds::new(&mut out);
        for piece in pieces {
            ends.write(piece).unwrap();
        }
        ends.finish().unwrap();
        out
    }

    #[test]
    fn only_crlf_changes() {
        for (from, to) in [
            ("", ""),
            ("a\r\nb\r\n", "a\nb\n"),
            ("\r\n\r\n", "\n\n"),
            ("a\rb", "a\rb"),
            ("a\r\r\nb", "a\r\nb"),
            ("a\nb", "a\nb"),
            ("end\r", "end\r"),
        ] {
            assert_eq!(converted(&[from.as_bytes()]), to.as_bytes(), "{from:?}");
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(text in "[ab\r\n]{0,20}", cut in 0_usize..21) {
            let cut = cut.min(text.len());
            let (head, tail) = text.as_bytes().split_at(cut);
            prop_assert_eq!(converted(&[head, b"", tail]), text.replace("\r\n", "\n").into_bytes());
        }
    }
}
