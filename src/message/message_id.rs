//! The name that a message gives itself (RFC 5322 §3.6.4).

use super::fields;

/// Octets of a Message-ID that is repeated anywhere.
const MAX: usize = 500;

/// The Message-ID of a header section, with or without its blank line, in its angle brackets; none
/// where there is none, or anything odd about it.
pub fn message_id(header: &[u8]) -> Option<&str> {
    let header = match header.strip_suffix(b"\r\n\r\n") {
        Some(fields) => &header[..fields.len() + 2],
        None => header,
    };
    let fields = fields(header).ok()?;
    let field = fields
        .iter()
        .find(|field| header[field.name.clone()].eq_ignore_ascii_case(b"message-id"))?;
    let id = std::str::from_utf8(&header[field.value.clone()]).ok()?;
    let id = id.trim_matches([' ', '\t', '\r', '\n']);
    let inner = id.strip_prefix('<')?.strip_suffix('>')?;
    let is_plain = id.len() <= MAX
        && inner.contains('@')
        && inner
            .bytes()
            .all(|octet| octet.is_ascii_graphic() && !b"<>()\"\\,;".contains(&octet));
    is_plain.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_id_is_repeated() {
        for (header, id) in [
            ("From: a\r\nMESSAGE-id:\t<a.b@c>\r\n", Some("<a.b@c>")),
            ("Message-ID:\r\n <a@b>\r\n\r\n", Some("<a@b>")),
            ("Subject: <a@b>\r\n", None),
            ("Message-ID: a@b\r\n", None),
            ("Message-ID: <a@b> (x)\r\n", None),
            ("Message-ID: <a\u{fc}@b>\r\n", None),
            ("Message-ID: <ab>\r\n", None),
        ] {
            assert_eq!(message_id(header.as_bytes()), id, "{header:?}");
        }
        let long = format!("Message-ID: <{}@b>\r\n", "a".repeat(MAX));
        assert_eq!(message_id(long.as_bytes()), None);
    }
}
