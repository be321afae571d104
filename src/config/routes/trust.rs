//! Whom a host's certificate must satisfy: the keys `ca` and `pins`.

use super::Complaints;
use crate::{
    config::{options::is_plain, schema::Route},
    policy::routes::Trust,
    tls::parse_fingerprint,
};

/// Fingerprints of one route.
const PINS_MAX: usize = 16;

/// Reads both keys; with neither, the system's authorities.
pub(super) fn trust(route: &Route, complaints: &mut Complaints<'_>) -> Trust {
    let mut pins = Vec::new();
    for (n, text) in route.pins.iter().enumerate() {
        match parse_fingerprint(text) {
            Ok(pin) => pins.push(pin),
            Err(error) => {
                let text = format!(
                    "{error}; `openssl x509 -noout -fingerprint -sha256 -in FILE` prints it \
                     behind \"=\""
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
