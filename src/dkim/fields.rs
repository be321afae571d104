//! Which fields a signature covers (RFC 6376 §5.4).

use crate::message::Field;

/// Fields that say who speaks to whom of what. One more of each is covered than there is: whoever
/// adds another breaks the signature (RFC 6376 §8.15).
const SEALED: [&str; 14] = [
    "From",
    "Reply-To",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-Disposition",
    "TLS-Required",
];

/// Fields that others may rightly add, a mailing list above all; covered as far as they are there.
const COVERED: [&str; 17] = [
    "Sender",
    "Content-Description",
    "Content-ID",
    "Content-Language",
    "Resent-Date",
    "Resent-From",
    "Resent-Sender",
    "Resent-To",
    "Resent-Cc",
    "Resent-Message-ID",
    "List-Id",
    "List-Help",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Post",
    "List-Archive",
    "Autocrypt",
];

/// The names that a signature lists. Trace fields and Bcc are never among them (RFC 6376 §5.4).
pub(super) fn covered(header: &[u8], fields: &[Field]) -> Vec<&'static str> {
    let is_there = |name: &&str| {
        let is_it =
            |field: &Field| header[field.name.clone()].eq_ignore_ascii_case(name.as_bytes());
        fields.iter().any(is_it)
    };
    let mut names = Vec::with_capacity(SEALED.len() + 8);
    for name in SEALED {
        names.push(name);
        if is_there(&name) {
            // What mail-auth does not find is what it lists beyond those it has found.
            names.push(name);
        }
    }
    names.extend(COVERED.into_iter().filter(|name| is_there(name)));
    names
}
