//! The messages of OAUTHBEARER (RFC 7628) and XOAUTH2: a token goes one way, an objection the other.

use std::str;

use secrecy::SecretString;
use serde_json::json;

use super::{Surroundings, Token, TokenAdvice, exchange::prepared_name};

/// Octets of a token at most: the response around it is limited too.
pub const TOKEN_MAX: usize = 12_000;

/// Where clients look for submission, whatever stands in between (RFC 6409, RFC 8314).
const USUAL_PORTS: [u16; 2] = [465, 587];

/// Ends a pair of key and value.
const SEPARATOR: u8 = 0x01;

/// Which of the two is spoken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Style {
    Bearer,
    XOAuth2,
}

/// Where a client may think that it is.
#[derive(Debug)]
pub(super) struct Place {
    hosts: Vec<String>,
    ports: Vec<u16>,
}

impl Place {
    pub fn of(around: Surroundings<'_>) -> Self {
        let hosts = around.hosts.iter().flatten();
        Place {
            hosts: hosts.map(|host| (*host).to_owned()).collect(),
            ports: around.port.into_iter().chain(USUAL_PORTS).collect(),
        }
    }

    /// Whether a `host` or `port` that the client gave is ours; others are none of our business.
    fn fits(&self, key: &[u8], value: &str) -> bool {
        match key {
            b"host" => {
                let given = value.trim_end_matches('.');
                self.hosts.iter().any(|host| {
                    let host = host.trim_end_matches('.');
                    host.eq_ignore_ascii_case(given)
                })
            }
            b"port" => value.parse().is_ok_and(|port| self.ports.contains(&port)),
            _ => true,
        }
    }
}

/// Reads a client's response; `None` where it is malformed or meant for somebody else.
pub(super) fn token(style: Style, response: &[u8], place: &Place) -> Option<Token> {
    let (first, rest) = split_once(response, SEPARATOR)?;
    let authzid = match style {
        Style::Bearer => bearer_authzid(first)?,
        // What the client says that it is, always there (no gs2 header).
        Style::XOAuth2 => Some(prepared_name(first.strip_prefix(b"user=")?)?),
    };
    // An empty pair ends the list, and nothing follows.
    let pairs = rest.strip_suffix(&[SEPARATOR, SEPARATOR])?;
    let mut found = None;
    for pair in pairs.split(|&octet| octet == SEPARATOR) {
        let (key, value) = split_once(pair, b'=')?;
        let value = str::from_utf8(value).ok()?;
        if key.is_empty() || !key.iter().all(u8::is_ascii_alphabetic) {
            return None;
        }
        if style == Style::Bearer && !place.fits(key, value) {
            return None;
        }
        if key == b"auth" {
            if found.is_some() {
                return None;
            }
            found = Some(bearer(value)?);
        }
    }
    Some(Token {
        authzid,
        token: found?,
    })
}

/// `n,a=name,` or `n,,` (RFC 5801 §4); a channel is never bound.
fn bearer_authzid(header: &[u8]) -> Option<Option<String>> {
    let rest = header
        .strip_prefix(b"n,")
        .or_else(|| header.strip_prefix(b"y,"))?
        .strip_suffix(b",")?;
    if rest.is_empty() {
        return Some(None);
    }
    let name = rest.strip_prefix(b"a=")?;
    if name.contains(&b',') {
        return None;
    }
    let mut decoded = Vec::with_capacity(name.len());
    let mut parts = name.split(|&octet| octet == b'=');
    decoded.extend_from_slice(parts.next()?);
    for part in parts {
        let (octet, rest) = match part.split_at_checked(2)? {
            (b"2C", rest) => (b',', rest),
            (b"3D", rest) => (b'=', rest),
            _ => return None,
        };
        decoded.push(octet);
        decoded.extend_from_slice(rest);
    }
    prepared_name(&decoded).map(Some)
}

/// `Bearer token`, the scheme in any case (RFC 6750 §2.1, RFC 9110 §11.1).
fn bearer(value: &str) -> Option<SecretString> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_matches(' ');
    let is_sound = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~+/=".contains(&octet);
    let sound = (1..=TOKEN_MAX).contains(&token.len()) && token.bytes().all(is_sound);
    (scheme.eq_ignore_ascii_case("bearer") && sound).then(|| SecretString::from(token))
}

/// Why a token was refused, in words for programs (RFC 7628 §3.2.2).
pub(super) fn objection(style: Style, advice: &TokenAdvice) -> Vec<u8> {
    let mut said = match style {
        Style::Bearer => json!({ "status": "invalid_token" }),
        Style::XOAuth2 => json!({ "status": "401", "schemes": "bearer" }),
    };
    for (key, value) in [
        ("scope", &advice.scope),
        ("openid-configuration", &advice.discovery),
    ] {
        if !value.is_empty() {
            said[key] = json!(value);
        }
    }
    said.to_string().into_bytes()
}

fn split_once(octets: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = octets.iter().position(|&octet| octet == at)?;
    Some((&octets[..position], &octets[position + 1..]))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn read(style: Style, response: &str) -> String {
        let place = Place {
            hosts: vec!["mail.example.org".into()],
            ports: vec![465, 587],
        };
        match token(style, response.as_bytes(), &place) {
            Some(token) => format!(
                "{} {}",
                token.authzid.as_deref().unwrap_or("-"),
                token.token.expose_secret()
            ),
            None => "none".to_owned(),
        }
    }

    /// R7628-3.1a, R7628-3.2a.
    #[test]
    fn bearers_are_read() {
        for (response, shown) in [
            ("n,,\x01auth=Bearer a.b-c==\x01\x01", "- a.b-c=="),
            (
                "n,a=alice@example.org,\x01auth=bearer xyz\x01\x01",
                "alice@example.org xyz",
            ),
            ("n,a=a=2Cb=3Dc,\x01auth=Bearer x\x01\x01", "a,b=c x"),
            ("y,,\x01auth=Bearer x\x01\x01", "- x"),
            (
                "n,,\x01host=Mail.example.org.\x01port=587\x01auth=Bearer x\x01\x01",
                "- x",
            ),
            ("n,,\x01auth=Bearer x\x01colour=blue\x01\x01", "- x"),
            ("n,,\x01host=other.example\x01auth=Bearer x\x01\x01", "none"),
            ("n,,\x01port=25\x01auth=Bearer x\x01\x01", "none"),
            ("n,,\x01colour=blue\x01\x01", "none"),
            ("n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01", "none"),
            ("n,,\x01auth=Basic x\x01\x01", "none"),
            ("n,,\x01auth=Bearer \x01\x01", "none"),
            ("n,,\x01auth=Bearer a b\x01\x01", "none"),
            ("n,,\x01auth=Bearer x\x01", "none"),
            ("n,,\x01auth=Bearer x\x01\x01\x01", "none"),
            ("n,,\x01auth=Bearer x\x01\x01more", "none"),
            ("n,,\x01\x01", "none"),
            ("n,a=a=2Zb,\x01auth=Bearer x\x01\x01", "none"),
            ("n,a=a=,\x01auth=Bearer x\x01\x01", "none"),
            ("n,a=,\x01auth=Bearer x\x01\x01", "none"),
            ("p=tls-exporter,,\x01auth=Bearer x\x01\x01", "none"),
            ("\x01", "none"),
            ("", "none"),
        ] {
            assert_eq!(read(Style::Bearer, response), shown, "{response:?}");
        }
    }

    #[test]
    fn the_older_form_is_read() {
        for (response, shown) in [
            (
                "user=alice@example.org\x01auth=Bearer x\x01\x01",
                "alice@example.org x",
            ),
            ("user=\x01auth=Bearer x\x01\x01", "none"),
            ("auth=Bearer x\x01\x01", "none"),
            ("user=alice\x01\x01", "none"),
            ("n,,\x01auth=Bearer x\x01\x01", "none"),
        ] {
            assert_eq!(read(Style::XOAuth2, response), shown, "{response:?}");
        }
    }

    /// R7628-3.2.2a.
    #[test]
    fn objections_are_json() {
        let advice = TokenAdvice {
            scope: "mail \"x\"".into(),
            discovery: "https://id.example/.well-known/openid-configuration".into(),
        };
        let said = objection(Style::Bearer, &advice);
        let read: serde_json::Value = serde_json::from_slice(&said).unwrap();
        assert_eq!(read["status"], "invalid_token");
        assert_eq!(read["scope"], "mail \"x\"");
        assert_eq!(read["openid-configuration"], advice.discovery);
        assert_eq!(
            objection(Style::XOAuth2, &TokenAdvice::default()),
            br#"{"schemes":"bearer","status":"401"}"#
        );
    }
}
