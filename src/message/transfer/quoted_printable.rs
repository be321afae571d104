//! Quoted-printable (RFC 2045 §6.7): octets in, lines of 76 out.

use crate::message::transfer::base64::LINE;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Encodes text line by line.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    line: Line,
    /// A blank that may turn out to be the last of its line.
    blank: Option<u8>,
}

impl Encoder {
    pub(super) fn text(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        for &octet in octets {
            if let Some(blank) = self.blank.take() {
                self.line.put(&[blank], out);
            }
            match octet {
                b' ' | b'\t' => self.blank = Some(octet),
                octet if is_plain(octet) => self.line.put(&[octet], out),
                octet => self.line.put(&escaped(octet), out),
            }
        }
    }

    pub(super) fn line_end(&mut self, out: &mut Vec<u8>) {
        self.settle(out);
        self.line.end(out);
    }

    /// Ends the last line, which has no line end of its own.
    pub(super) fn settle(&mut self, out: &mut Vec<u8>) {
        if let Some(blank) = self.blank.take() {
            // A blank at the end of a line is lost on the way (rule 3).
            self.line.put(&escaped(blank), out);
        }
    }
}

/// Folds text that is quoted-printable already but in lines too long, or with raw octets.
///
/// What it decodes to stays the same, also to readers that forgive more than others.
#[derive(Debug, Default)]
pub(super) struct Folder {
    line: Line,
    /// `=` and what stands behind it, until it is known what that means.
    escape: Vec<u8>,
}

impl Folder {
    pub(super) fn text(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        for &octet in octets {
            if self.escape.is_empty() && octet != b'=' {
                self.octet(octet, out);
                continue;
            }
            self.escape.push(octet);
            match self.escape[..] {
                [b'='] | [b'=', b' ' | b'\t', ..] if is_open(&self.escape) => {}
                [b'=', a] if a.is_ascii_hexdigit() => {}
                [b'=', a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                    self.line.put(&[b'=', a, b], out);
                    self.escape.clear();
                }
                // An `=` that escapes nothing stands for itself to every reader.
                _ => self.literal(out),
            }
        }
    }

    pub(super) fn line_end(&mut self, out: &mut Vec<u8>) {
        if !self.escape.is_empty() && self.escape[1..].iter().all(|b| is_blank(*b)) {
            // A soft line break: it stays one.
            out.push(b'=');
            self.escape.clear();
        }
        self.settle(out);
        self.line.end(out);
    }

    pub(super) fn settle(&mut self, out: &mut Vec<u8>) {
        if self.escape == b"=" {
            out.push(b'=');
            self.escape.clear();
        } else if !self.escape.is_empty() {
            self.literal(out);
        }
    }

    fn literal(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.escape);
        self.line.put(&escaped(b'='), out);
        let last = held.len() - 1;
        for (at, &octet) in held.iter().enumerate().skip(1) {
            if octet == b'=' && at == last {
                self.escape.push(octet);
            } else {
                self.octet(octet, out);
            }
        }
    }

    fn octet(&mut self, octet: u8, out: &mut Vec<u8>) {
        if is_plain(octet) || is_blank(octet) {
            self.line.put(&[octet], out);
        } else {
            self.line.put(&escaped(octet), out);
        }
    }
}

/// Blanks behind an `=` are borne as far as a line goes.
fn is_open(escape: &[u8]) -> bool {
    escape.len() < LINE && escape[1..].iter().all(|b| is_blank(*b))
}

fn is_blank(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

/// Whether an octet needs no escape, unless it is a blank.
pub(super) fn is_plain(octet: u8) -> bool {
    matches!(octet, 33..=126) && octet != b'='
}

fn escaped(octet: u8) -> [u8; 3] {
    let digit = |value: u8| HEX[usize::from(value)];
    [b'=', digit(octet >> 4), digit(octet & 15)]
}

/// A line being written.
#[derive(Debug, Default)]
struct Line {
    octets: usize,
    /// Its first octet is one.
    has_hyphen: bool,
}

impl Line {
    /// Writes what must not be divided, behind a soft line break where the line is full.
    fn put(&mut self, mut token: &[u8], out: &mut Vec<u8>) {
        // No line begins with two hyphens, so that none becomes a delimiter by what was escaped or
        // broken in it.
        if token == b"-" && self.octets == 1 && self.has_hyphen {
            token = b"=2D";
        }
        // The last column is kept for the `=` of a soft line break.
        if self.octets + token.len() >= LINE {
            out.extend_from_slice(b"=\r\n");
            self.octets = 0;
        }
        if self.octets == 0 {
            self.has_hyphen = token == b"-";
        }
        out.extend_from_slice(token);
        self.octets += token.len();
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n");
        self.octets = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(text: &str) -> String {
        let mut encoder = Encoder::default();
        let mut out = Vec::new();
        let mut lines = text.split("\r\n");
        encoder.text(lines.next().unwrap_or_default().as_bytes(), &mut out);
        for line in lines {
            encoder.line_end(&mut out);
            encoder.text(line.as_bytes(), &mut out);
        }
        encoder.settle(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn fold(text: &[u8]) -> String {
        let mut folder = Folder::default();
        let mut out = Vec::new();
        for (at, line) in text.split(|b| *b == b'\n').enumerate() {
            if at > 0 {
                folder.line_end(&mut out);
            }
            for piece in line.chunks(3) {
                folder.text(piece, &mut out);
            }
        }
        folder.settle(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// R2045-6.7a.
    #[test]
    fn text_is_escaped_where_it_must_be() {
        for (text, encoded) in [
            ("", ""),
            ("plain text.\r\n", "plain text.\r\n"),
            ("a=b", "a=3Db"),
            ("Gr\u{fc}n", "Gr=C3=BCn"),
            ("end \r\n", "end=20\r\n"),
            ("end\t", "end=09"),
            ("two  \r\n \r\n", "two =20\r\n=20\r\n"),
            ("bare\rcr\nlf\u{0}", "bare=0Dcr=0Alf=00"),
        ] {
            assert_eq!(encode(text), encoded, "{text:?}");
        }
    }

    #[test]
    fn lines_end_softly_at_76() {
        let encoded = encode(&"x".repeat(200));
        let lines: Vec<_> = encoded.split("=\r\n").collect();
        assert_eq!(
            lines.iter().map(|l| l.len()).collect::<Vec<_>>(),
            [75, 75, 50]
        );
        let encoded = encode(&"\u{fc}".repeat(100));
        assert!(encoded.lines().all(|line| line.len() <= 76));
        // Neither a line break of ours nor an escape makes a delimiter.
        let encoded = encode(&format!("{}--x", "x".repeat(75)));
        assert_eq!(encoded, format!("{}=\r\n-=2Dx", "x".repeat(75)));
        assert_eq!(
            encode("--\u{fc}\r\n-- \r\n- -"),
            "-=2D=C3=BC\r\n-=2D=20\r\n- -"
        );
        assert_eq!(fold(b"--\xfc"), "-=2D=FC");
    }

    #[test]
    fn folding_keeps_what_is_encoded() {
        let long = "=C3=BC".repeat(200);
        for (text, folded) in [
            (&b"a=3Db"[..], "a=3Db"),
            (b"soft=\nbreak", "soft=\r\nbreak"),
            (b"soft= \t\nbreak", "soft=\r\nbreak"),
            (b"lost \nblank", "lost \r\nblank"),
            (b"raw \xfc", "raw =FC"),
            (b"a=b c==3D=", "a=3Db c=3D=3D="),
            (b"= x", "=3D x"),
            (b"==\n", "=3D=\r\n"),
        ] {
            assert_eq!(fold(text), folded, "{:?}", String::from_utf8_lossy(text));
        }
        let folded = fold(long.as_bytes());
        assert!(folded.lines().all(|line| line.len() <= 76));
        assert_eq!(folded.replace("=\r\n", ""), long);
    }
}
