//! Whom a host's certificate must satisfy: the keys `ca` and `pins`.

use data_encoding::HEXLOWER_PERMISSIVE;

use super::Complaints;
use crate::{
    config::{options::is_plain, schema::Route},
    policy::routes::Trust,
};

/// Fingerprints of one route.
const PINS_MAX: usize = 16;

/// Reads both keys; with neither, the system's authorities.
pub(super) fn trust(route: &Route, complaints: &mut Complaints<'_>) -> Trust {
    let mut pins = Vec::new();
    for (n, text) in route.pins.iter().enumerate() {
        match fingerprint(text) {
            Some(pin) => pins.push(pin),
            None => {
                let text = format!(
                    "\"{text}\" is no SHA-256 fingerprint: 64 hexadecimal digits, as `openssl \
                     x509 -noout -fingerprint -sha256` prints them behind \"=\""
                );
                complaints.about(&format!("pins.{n}"), text);
            }
        }
    }
    if route.pins.len() > PINS_MAX {
        complaints.about("pins", format!("are more than {PINS_MAX}"));
    }
    let has_ca = !route.ca.as_os_str().is_empty();
    if has_ca && !is_plain(&route.ca) {
        complaints.about("ca", "must be an absolute path");
    }
    match (has_ca, route.pins.is_empty()) {
        (true, false) => {
            let text = "stand beside ca, which would not matter; keep one of them";
            complaints.about("pins", text);
            Trust::System
        }
        (true, true) => Trust::Authorities(route.ca.clone()),
        (false, false) => Trust::Pins(pins),
        (false, true) => Trust::System,
    }
}

/// 32 octets in hexadecimal digits, with a colon between every two or none.
fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits = match text.contains(':') {
        true if text.split(':').any(|pair| pair.len() != 2) => return None,
        true => text.replace(':', ""),
        false => text.to_owned(),
    };
    let octets = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()?;
    octets.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_with_colons_or_without() {
        let plain = "00".repeat(31) + "aB";
        let colons = ["00"; 31].join(":") + ":Ab";
        for text in [&plain, &colons] {
            assert_eq!(fingerprint(text).unwrap()[31], 0xab, "{text}");
        }
        for text in [
            "",
            "00",
            &plain[2..],
            &format!("{plain}00"),
            &plain.replace("aB", "xy"),
            &colons.replacen(':', "", 1),
            &format!("{colons}:"),
            &format!("sha256:{plain}"),
            &plain.replacen('0', " ", 1),
        ] {
            assert_eq!(fingerprint(text), None, "{text}");
        }
    }
}
