//! Base64 (RFC 2045 §6.8): octets in, lines of 76 out.

use data_encoding::BASE64;

/// Characters of an encoded line (RFC 2045 §6.7, §6.8).
pub(super) const LINE: usize = 76;
/// Octets that fill a line.
const BLOCK: usize = LINE / 4 * 3;

/// Encodes octets; lines stand between CRLF, none behind the last.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    block: Vec<u8>,
    began: bool,
}

impl Encoder {
    pub(super) fn octets(&mut self, mut octets: &[u8], out: &mut Vec<u8>) {
        while !octets.is_empty() {
            if self.block.len() == BLOCK {
                self.write(out);
            }
            let (front, rest) = octets.split_at(octets.len().min(BLOCK - self.block.len()));
            self.block.extend_from_slice(front);
            octets = rest;
        }
    }

    pub(super) fn settle(&mut self, out: &mut Vec<u8>) {
        if !self.block.is_empty() {
            self.write(out);
        }
    }

    fn write(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.began, true) {
            out.extend_from_slice(b"\r\n");
        }
        let start = out.len();
        out.resize(start + BASE64.encode_len(self.block.len()), 0);
        BASE64.encode_mut(&self.block, &mut out[start..]);
        self.block.clear();
    }
}

/// Octets as lines of base64, with CRLF between them and none behind the last.
pub fn lines(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len() * 7 / 5);
    let mut encoder = Encoder::default();
    encoder.octets(octets, &mut out);
    encoder.settle(&mut out);
    out
}

/// Puts what is base64 already into lines, without what does not belong to it.
///
/// Readers pass over such octets (RFC 2045 §6.8), so it decodes to the same.
#[derive(Debug, Default)]
pub(super) struct Folder {
    column: usize,
}

impl Folder {
    pub(super) fn octets(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        let belongs = |octet: &u8| octet.is_ascii_alphanumeric() || b"+/=".contains(octet);
        for octet in octets.iter().filter(|octet| belongs(octet)) {
            if self.column == LINE {
                out.extend_from_slice(b"\r\n");
                self.column = 0;
            }
            out.push(*octet);
            self.column += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_fill_lines_of_76() {
        for length in [0, 1, 56, 57, 58, 113, 114, 115, 1000] {
            let octets: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let mut encoder = Encoder::default();
            let mut out = Vec::new();
            for piece in octets.chunks(7) {
                encoder.octets(piece, &mut out);
            }
            encoder.settle(&mut out);
            let text = String::from_utf8(out).unwrap();
            assert!(!text.ends_with("\r\n"));
            let lines: Vec<_> = text.split("\r\n").collect();
            assert!(lines.iter().rev().skip(1).all(|line| line.len() == LINE));
            assert_eq!(BASE64.decode(lines.concat().as_bytes()).unwrap(), octets);

            let mut folder = Folder::default();
            let mut folded = Vec::new();
            for piece in text.replace("\r\n", " \u{fc}\t").as_bytes().chunks(5) {
                folder.octets(piece, &mut folded);
            }
            assert_eq!(String::from_utf8(folded).unwrap(), text);
        }
    }
}
