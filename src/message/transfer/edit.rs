//! The fields of a header section that tell of an encoding.

use super::recoder::Fate;
use crate::message::fields;

/// Writes `section` with the fields that `fate` asks for; all others stay where and as they are.
pub(super) fn write(section: &[u8], fate: &Fate, out: &mut Vec<u8>) {
    if fate.label.is_none() && fate.content_type.is_none() && !fate.adds_mime_version {
        out.extend_from_slice(section);
        return;
    }
    let (lines, blank) = match section.strip_suffix(b"\r\n") {
        Some(lines) if lines.is_empty() || lines.ends_with(b"\r\n") => (lines, &b"\r\n"[..]),
        _ => (section, &b""[..]),
    };
    let mut label = fate.label;
    // Sections that do not parse have no fate but to stay.
    for field in fields(lines).unwrap_or_default() {
        let name = &lines[field.name];
        if fate.label.is_some() && name.eq_ignore_ascii_case(b"Content-Transfer-Encoding") {
            if let Some(label) = label.take() {
                add(out, "Content-Transfer-Encoding", label);
            }
        } else {
            out.extend_from_slice(&lines[field.whole]);
        }
    }
    if fate.adds_mime_version {
        add(out, "MIME-Version", "1.0");
    }
    if let Some(content_type) = fate.content_type {
        add(out, "Content-Type", content_type);
    }
    if let Some(label) = label {
        add(out, "Content-Transfer-Encoding", label);
    }
    out.extend_from_slice(blank);
}

fn add(out: &mut Vec<u8>, name: &str, value: &str) {
    for piece in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(piece.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::transfer::recoder::Treatment;

    #[test]
    fn fields_are_replaced_in_their_place_and_added_at_the_end() {
        for (section, label, content_type, adds_mime_version, expected) in [
            ("A: b\r\n\r\n", None, None, false, "A: b\r\n\r\n"),
            (
                "content-transfer-encoding :\r\n 8bit\r\nA: b\r\n\r\n",
                Some("base64"),
                None,
                false,
                "Content-Transfer-Encoding: base64\r\nA: b\r\n\r\n",
            ),
            (
                "Content-Transfer-Encoding: 8bit\r\nContent-Transfer-Encoding: 7bit\r\n\r\n",
                Some("7bit"),
                None,
                false,
                "Content-Transfer-Encoding: 7bit\r\n\r\n",
            ),
            (
                "A: b\r\n\r\n",
                Some("base64"),
                Some("text/plain; charset=utf-8"),
                true,
                "A: b\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
                 Content-Transfer-Encoding: base64\r\n\r\n",
            ),
            (
                "\r\n",
                Some("8bit"),
                None,
                false,
                "Content-Transfer-Encoding: 8bit\r\n\r\n",
            ),
        ] {
            let fate = Fate {
                body: Treatment::Keep,
                epilogue: Treatment::Keep,
                label,
                content_type,
                adds_mime_version,
            };
            let mut out = Vec::new();
            write(section.as_bytes(), &fate, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{section:?}");
        }
    }
}
