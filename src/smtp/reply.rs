//! Replies: a code, an enhanced status code and text (RFC 5321 §4.2, RFC 2034, RFC 3463).

use std::{borrow::Cow, fmt};

/// Octets of a reply line at most, CRLF included (RFC 5321 §4.5.3.1.5).
const LINE_MAX: usize = 512;

/// An enhanced status code: class, subject, detail (RFC 3463 §2).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct EnhancedCode {
    /// 2 success, 4 transient, 5 permanent.
    pub class: u8,
    /// What it is about.
    pub subject: u16,
    /// What exactly.
    pub detail: u16,
}

impl EnhancedCode {
    /// `class.subject.detail`.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        EnhancedCode {
            class,
            subject,
            detail,
        }
    }

    /// Reads `d.ddd.ddd` without leading zeros.
    pub fn parse(text: &str) -> Option<Self> {
        let number = |part: &str| {
            let plain = (1..=3).contains(&part.len())
                && part.bytes().all(|b| b.is_ascii_digit())
                && (part.len() == 1 || !part.starts_with('0'));
            plain.then(|| part.parse::<u16>().ok()).flatten()
        };
        let mut parts = text.split('.');
        let class = match parts.next()? {
            "2" => 2,
            "4" => 4,
            "5" => 5,
            _ => return None,
        };
        let (subject, detail) = (number(parts.next()?)?, number(parts.next()?)?);
        parts.next().is_none().then_some(EnhancedCode {
            class,
            subject,
            detail,
        })
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// One reply of one or more lines.
///
/// Text is made safe as it is written: what is not printable ASCII becomes `?`, and a line that
/// would pass 512 octets goes on in the next one, so no caller can break the protocol.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub struct Reply {
    /// Three digits, the first 2 to 5.
    pub code: u16,
    /// Absent in the greeting, in answers to EHLO and HELO, and in every 3yz (RFC 2034 §4).
    pub enhanced: Option<EnhancedCode>,
    /// At least one.
    pub lines: Vec<Cow<'static, str>>,
}

impl Reply {
    /// A reply of one line with an enhanced code, whose class is the first digit of `code`.
    pub fn new(code: u16, subject: u16, detail: u16, text: impl Into<Cow<'static, str>>) -> Self {
        let class = u8::try_from(code / 100).unwrap_or(5);
        Reply {
            code,
            enhanced: Some(EnhancedCode::new(class, subject, detail)),
            lines: vec![text.into()],
        }
    }

    /// A reply of one line that may carry no enhanced code: greeting, EHLO, HELO, 3yz.
    pub fn bare(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Reply {
            code,
            enhanced: None,
            lines: vec![text.into()],
        }
    }

    /// Whether it says yes so far (2yz, 3yz).
    pub fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// Appends the octets to send.
    pub fn write(&self, out: &mut Vec<u8>) {
        let enhanced = self
            .enhanced
            .map(|code| format!("{code} "))
            .unwrap_or_default();
        // code, separator, enhanced code, CRLF
        let room = LINE_MAX - 3 - 1 - enhanced.len() - 2;
        let mut pieces: Vec<&[u8]> = Vec::with_capacity(self.lines.len());
        for line in &self.lines {
            if line.len() <= room {
                pieces.push(line.as_bytes());
            } else {
                pieces.extend(line.as_bytes().chunks(room));
            }
        }
        let last = pieces.len().saturating_sub(1);
        for (at, piece) in pieces.iter().enumerate() {
            let separator = if at == last { ' ' } else { '-' };
            out.extend_from_slice(format!("{:03}{separator}{enhanced}", self.code).as_bytes());
            out.extend(piece.iter().map(|b| match b {
                b' '..=b'~' => *b,
                _ => b'?',
            }));
            out.extend_from_slice(b"\r\n");
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut octets = Vec::new();
        self.write(&mut octets);
        f.write_str(String::from_utf8_lossy(&octets).trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// R2034-4a, R2034-4c, R4954-4d.
    #[test]
    fn replies_as_they_are_sent() {
        assert_eq!(
            written(&Reply::new(250, 1, 0, "Sender OK")),
            "250 2.1.0 Sender OK\r\n"
        );
        assert_eq!(written(&Reply::bare(334, "")), "334 \r\n");
        let list = Reply {
            lines: vec!["a".into(), "b".into()],
            ..Reply::bare(250, "")
        };
        assert_eq!(written(&list), "250-a\r\n250 b\r\n");
        let help = Reply {
            lines: vec!["a".into(), "b".into()],
            ..Reply::new(214, 0, 0, "")
        };
        assert_eq!(written(&help), "214-2.0.0 a\r\n214 2.0.0 b\r\n");
    }

    /// R5321-4.5.3.1e, R6531-3.7.4a.
    #[test]
    fn no_line_is_too_long_and_no_octet_is_unsafe() {
        let text = written(&Reply::new(
            550,
            7,
            1,
            "é\r\nx\0".to_string() + &"y".repeat(2_000),
        ));
        assert!(text.is_ascii());
        assert!(text.split_terminator("\r\n").count() > 1);
        for line in text.split_inclusive("\r\n") {
            assert!(line.len() <= 512, "{}", line.len());
            assert!(line.starts_with("550-5.7.1 ") || line.starts_with("550 5.7.1 "));
        }
    }

    /// R3463-2a.
    #[test]
    fn enhanced_codes_are_read_strictly() {
        assert_eq!(
            EnhancedCode::parse("5.7.30"),
            Some(EnhancedCode::new(5, 7, 30))
        );
        for bad in [
            "", "5", "5.7", "3.1.1", "5.07.1", "5.7.1.1", "5.7.1234", "5.7.x", "a.b.c",
        ] {
            assert_eq!(EnhancedCode::parse(bad), None, "{bad}");
        }
    }
}
