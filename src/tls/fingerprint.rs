//! Fingerprints of certificates: SHA-256 over the DER, as `openssl x509 -fingerprint -sha256` and
//! everybody else counts it.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use sha2::{Digest, Sha256};

/// Octets of a fingerprint.
const OCTETS: usize = 32;

/// Why a text is no fingerprint.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FingerprintError {
    /// Too few or too many digits.
    #[error("a SHA-256 fingerprint has 64 hexadecimal digits, this has {0} characters")]
    Length(usize),
    /// A character that is no hexadecimal digit.
    #[error("a fingerprint is made of hexadecimal digits, {0:?} is none")]
    NotHex(char),
    /// Colons that do not stand between the octets, all of them.
    #[error("colons in a fingerprint stand between all pairs of digits or nowhere")]
    Colons,
}

/// Reads a fingerprint: 64 hexadecimal digits in any case, with colons between the octets or
/// without.
///
/// # Errors
/// [`FingerprintError`] for anything else.
pub fn parse_fingerprint(text: &str) -> Result<[u8; OCTETS], FingerprintError> {
    let is_foreign = |c: &char| !c.is_ascii_hexdigit() && *c != ':';
    if let Some(foreign) = text.chars().find(is_foreign) {
        return Err(FingerprintError::NotHex(foreign));
    }
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    if digits.len() != 2 * OCTETS {
        return Err(FingerprintError::Length(digits.len()));
    }
    if digits.len() != text.len() && text.split(':').any(|pair| pair.len() != 2) {
        return Err(FingerprintError::Colons);
    }
    let mut octets = [0; OCTETS];
    HEXLOWER_PERMISSIVE
        .decode_mut(digits.as_bytes(), &mut octets)
        .map_err(|_| FingerprintError::Length(digits.len()))?;
    Ok(octets)
}

/// The fingerprint of a certificate in DER.
pub fn fingerprint(der: &[u8]) -> [u8; OCTETS] {
    Sha256::digest(der).into()
}

/// A fingerprint as [`parse_fingerprint`] takes it: 64 digits in lower case.
pub(super) fn hex(fingerprint: &[u8; OCTETS]) -> String {
    HEXLOWER.encode(fingerprint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_in_every_usual_form() {
        let octets = fingerprint(b"a certificate");
        let plain = hex(&octets);
        let pairs: Vec<_> = octets.iter().map(|octet| format!("{octet:02X}")).collect();
        for text in [plain.clone(), plain.to_uppercase(), pairs.join(":")] {
            assert_eq!(parse_fingerprint(&text), Ok(octets), "{text}");
        }
    }

    #[test]
    fn what_is_no_fingerprint_is_refused() {
        let plain = "0123456789abcdef".repeat(4);
        for (text, error) in [
            (String::new(), FingerprintError::Length(0)),
            (plain[1..].to_owned(), FingerprintError::Length(63)),
            (format!("{plain}00"), FingerprintError::Length(66)),
            (plain.replace('f', "g"), FingerprintError::NotHex('g')),
            (format!(" {plain}"), FingerprintError::NotHex(' ')),
            (
                plain.replace('f', "\u{ff46}"),
                FingerprintError::NotHex('\u{ff46}'),
            ),
            (format!("{plain}:"), FingerprintError::Colons),
            (plain.replacen('2', ":2", 1), FingerprintError::Colons),
        ] {
            assert_eq!(parse_fingerprint(&text), Err(error), "{text:?}");
        }
    }
}
