//! Parameters beyond ASCII, as in `filename="Übersicht.pdf"`, in their extended form (RFC 2231).
//!
//! Encoded words have no place in a parameter (RFC 2047 §5). Knows only what Content-Type and
//! Content-Disposition share: a value, and `name=value` behind semicolons.

use std::collections::HashSet;

/// Octets of one encoded piece at most, so that lines stay below 78 with the names in use.
const PIECE_MAX: usize = 48;
/// Octets of a parameter's name at most.
const NAME_MAX: usize = 60;

/// Writes a field value anew with every parameter beyond ASCII in extended form; all else stays.
///
/// `None` where what is beyond ASCII is no parameter's value: that cannot be said in ASCII.
pub(super) fn extend_parameters(value: &str) -> Option<String> {
    let segments = segments(value)?;
    let extended: HashSet<String> = segments
        .iter()
        .filter_map(|segment| name(segment)?.split_once('*'))
        .map(|(base, _)| base.to_ascii_lowercase())
        .collect();
    let mut out = String::with_capacity(value.len() * 2);
    for (at, segment) in segments.iter().enumerate() {
        if segment.is_ascii() {
            if at > 0 {
                out.push(';');
            }
            out.push_str(segment);
            continue;
        }
        // The first segment is the field's own value.
        let name = name(segment).filter(|name| at > 0 && is_token(name))?;
        let (_, given) = segment.split_once('=')?;
        let text = text(given)?;
        // Some programs give both forms; the other one says it already.
        if !extended.contains(&name.to_ascii_lowercase()) {
            extend(name, &text, &mut out);
        }
    }
    Some(out)
}

/// The pieces between semicolons outside quoted strings; `None` where a quote is not closed, or a
/// comment could hide one.
fn segments(value: &str) -> Option<Vec<&str>> {
    let (mut found, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in value.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' if !quoted => return None,
            ';' if !quoted => {
                found.push(&value[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&value[start..]);
    (!quoted).then_some(found)
}

fn name(segment: &str) -> Option<&str> {
    segment.split_once('=').map(|(name, _)| name.trim())
}

/// Whether this is the name of a parameter that is not extended yet, and no longer than any in use.
fn is_token(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$&+-.^_`{|}~".contains(&b);
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(fits)
}

/// What a parameter's value says: without quotes, backslashes and folds.
fn text(given: &str) -> Option<String> {
    let given = given.trim();
    let Some(inner) = given.strip_prefix('"') else {
        // Not quoted, as it should be: taken where it cannot be misread.
        let plain = !given.contains(['"', '\\', '\r', '\n']);
        return plain.then(|| given.to_owned());
    };
    let inner = inner.strip_suffix('"')?;
    let mut plain = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return None,
            '\r' | '\n' => {}
            '\\' => plain.extend(chars.next()),
            c => plain.push(c),
        }
    }
    Some(plain)
}

/// Writes `name*=utf-8''…`, or as many numbered parts as it takes, each on a line of its own.
fn extend(name: &str, text: &str, out: &mut String) {
    let mut pieces = vec![String::new()];
    for c in text.chars() {
        let encoded = encoded(c);
        let last = pieces.len() - 1;
        if pieces[last].len() + encoded.len() > PIECE_MAX {
            pieces.push(encoded);
        } else {
            pieces[last].push_str(&encoded);
        }
    }
    let many = pieces.len() > 1;
    for (number, piece) in pieces.iter().enumerate() {
        let part = if many {
            format!("*{number}")
        } else {
            String::new()
        };
        let charset = if number == 0 { "utf-8''" } else { "" };
        out.push_str(&format!(";\r\n {name}{part}*={charset}{piece}"));
    }
}

/// A character as attribute characters and `%` with two digits (RFC 2231 §7).
fn encoded(c: char) -> String {
    if c.is_ascii_alphanumeric() || "!#$&+-.^_`{|}~".contains(c) {
        return c.to_string();
    }
    let mut octets = [0; 4];
    let octets = c.encode_utf8(&mut octets).bytes();
    octets.map(|octet| format!("%{octet:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use mail_parser::{MessageParser, MimeHeaders};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_values_beyond_ascii_are_extended() {
        for (value, expected) in [
            (
                " attachment; filename=\"\u{dc} 1.pdf\"; size=1",
                Some(" attachment;\r\n filename*=utf-8''%C3%9C%201.pdf; size=1"),
            ),
            (
                " text/plain; charset=utf-8;\r\n name=\u{fc}",
                Some(" text/plain; charset=utf-8;\r\n name*=utf-8''%C3%BC"),
            ),
            (
                " attachment; filename=\"a;\u{fc}\\\"b\"",
                Some(" attachment;\r\n filename*=utf-8''a%3B%C3%BC%22b"),
            ),
            (
                " attachment; filename=\"\u{fc}\"; filename*=UTF-8''%C3%BC",
                Some(" attachment; filename*=UTF-8''%C3%BC"),
            ),
            (" text/\u{fc}; name=a", None),
            (" text/plain; n\u{fc}=a", None),
            (" text/plain; \u{fc}", None),
            (" text/plain; name=\"\u{fc}", None),
            (" text/plain; name=\"\u{fc}\"x", None),
            (" text/plain (\"); name=\u{fc}", None),
            (" a; b*=\u{fc}", None),
        ] {
            assert_eq!(extend_parameters(value).as_deref(), expected, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn a_reader_finds_the_name_that_was_meant(name in "[a-z .%'\u{e0}-\u{ff}\u{4e00}-\u{4e20}]{1,200}") {
            prop_assume!(!name.is_ascii() && name.trim() == name);
            let value = extend_parameters(&format!(" attachment; filename=\"{name}\"")).unwrap();
            prop_assert!(value.is_ascii());
            prop_assert!(value.split("\r\n").all(|line| line.len() <= 78), "{}", value);
            let field = format!("Content-Disposition:{value}\r\n\r\n");
            let message = MessageParser::new().parse_headers(field.as_bytes()).unwrap();
            let read = message.content_disposition().and_then(|d| d.attribute("filename"));
            prop_assert_eq!(read, Some(&name[..]));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[a;=\"\\\\*( \r\n\u{fc}]{0,30}") {
            if let Some(value) = extend_parameters(&text) {
                prop_assert!(value.is_ascii());
            }
        }
    }
}
