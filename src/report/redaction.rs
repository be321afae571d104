//! What of a message with REQUIRETLS may stand in a report (RFC 8689 §5).
//!
//! The report goes to the sender by the best link that there is, and may reach a server that promises
//! nothing. So it holds what is needed to know the message again, and nothing that it says.

use crate::message::fields;

/// Fields that say nothing of the content.
const KEPT: [&[u8]; 2] = [b"message-id", b"date"];

/// The header section with nothing left but such fields.
pub(super) fn redacted(header: &[u8]) -> Vec<u8> {
    let Ok(fields) = fields(header) else {
        return Vec::new();
    };
    let is_kept = |name: &[u8]| KEPT.iter().any(|kept| name.eq_ignore_ascii_case(kept));
    let kept = fields
        .iter()
        .filter(|field| is_kept(&header[field.name.clone()]));
    kept.flat_map(|field| header[field.whole.clone()].iter().copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R8689-5a.
    #[test]
    fn nothing_is_left_that_the_message_says() {
        let header = b"Received: from x\r\n by y\r\nFrom: a@b.example\r\nSubject: secret\r\nDATE: Thu, 1 \
                       Jan 2026 00:00:00 +0000\r\nTo: c@d.example\r\nMessage-Id:\r\n <1@b.example>\r\n\
                       X-Date: secret\r\n";
        let left = String::from_utf8(redacted(header)).unwrap();
        assert_eq!(
            left,
            "DATE: Thu, 1 Jan 2026 00:00:00 +0000\r\nMessage-Id:\r\n <1@b.example>\r\n"
        );
        assert!(redacted(b"no field").is_empty());
    }
}
