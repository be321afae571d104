//! Hosts as the operator writes them: `name:port`, `[address]:port`, `unix:/path`.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    path::Path,
};

use crate::{
    config::options::is_plain,
    policy::routes::Place,
    smtp::{AddressError, Domain},
};

/// Octets that the path of a Unix socket may have (`sun_path` of the system, without its NUL).
const SOCKET_PATH_MAX: usize = 107;

/// Why a text names no host.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum HostError {
    #[error("is empty; write such as \"smtp.provider.example:465\"")]
    Empty,
    #[error("\"{0}\" names no port; write such as \"{0}:465\" (TLS at once) or \"{0}:587\"")]
    NoPort(String),
    #[error("\"{0}\" is no port from 1 to 65535")]
    Port(String),
    #[error("an IPv6 address stands in brackets, such as \"[2001:db8::1]:587\"")]
    NoBrackets,
    #[error("\"[{0}]\" holds no IPv6 address")]
    Ipv6(String),
    #[error("\"{0}\" is neither a host name nor an address")]
    Name(String),
    #[error("\"{0}\" must be written in ASCII (xn--)")]
    Ascii(String),
    #[error("a Unix socket is written \"unix:{0}\"")]
    NoUnix(String),
    #[error("\"{0}\" must be an absolute path of at most {SOCKET_PATH_MAX} octets")]
    Socket(String),
}

/// Reads one host.
pub(super) fn place(text: &str) -> Result<Place, HostError> {
    if text.is_empty() {
        return Err(HostError::Empty);
    }
    if text.starts_with('/') {
        return Err(HostError::NoUnix(text.to_owned()));
    }
    if let Some(path) = text.strip_prefix("unix:") {
        return match is_plain(Path::new(path)) && path.len() <= SOCKET_PATH_MAX {
            true => Ok(Place::Unix(path.into())),
            false => Err(HostError::Socket(path.to_owned())),
        };
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(HostError::NoBrackets);
    }
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            if address.parse::<Ipv6Addr>().is_err() {
                return Err(HostError::Ipv6(address.to_owned()));
            }
            (address, port.strip_prefix(':'))
        }
        None => match text.rsplit_once(':') {
            Some((name, port)) => (host_name(name)?, Some(port)),
            None => (host_name(text)?, None),
        },
    };
    let port = port.ok_or_else(|| HostError::NoPort(text.to_owned()))?;
    match port.parse() {
        Ok(number) if number > 0 && port.bytes().all(|c| c.is_ascii_digit()) => Ok(Place::Tcp {
            host: host.to_owned(),
            port: number,
        }),
        Ok(_) | Err(_) => Err(HostError::Port(port.to_owned())),
    }
}

/// Passes a host name or an IPv4 address.
fn host_name(text: &str) -> Result<&str, HostError> {
    if text.matches(':').count() > 1 && text.chars().all(|c| c == ':' || c.is_ascii_hexdigit()) {
        return Err(HostError::NoBrackets);
    }
    let wrong = |_: AddressError| HostError::Name(text.to_owned());
    let name = Domain::parse(text).map_err(wrong)?;
    // No name ends in a number: it is an address, or a slip in one.
    let last = text.rsplit('.').next().unwrap_or(text);
    let is_number = last.bytes().all(|c| c.is_ascii_digit());
    match text.is_ascii() {
        false => Err(HostError::Ascii(text.to_owned())),
        true if name.literal().is_some() => Err(HostError::Name(text.to_owned())),
        true if is_number && text.parse::<Ipv4Addr>().is_err() => {
            Err(HostError::Name(text.to_owned()))
        }
        true => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_people_write_them() {
        let tcp = |host: &str, port| Place::Tcp {
            host: host.into(),
            port,
        };
        for (text, place_read) in [
            (
                "smtp.provider.example:465",
                tcp("smtp.provider.example", 465),
            ),
            ("localhost:25", tcp("localhost", 25)),
            ("dovecot:24", tcp("dovecot", 24)),
            ("127.0.0.1:24", tcp("127.0.0.1", 24)),
            ("[2001:db8::1]:587", tcp("2001:db8::1", 587)),
            ("[::1]:65535", tcp("::1", 65535)),
            (
                "unix:/run/dovecot/lmtp",
                Place::Unix("/run/dovecot/lmtp".into()),
            ),
        ] {
            assert_eq!(place(text).as_ref(), Ok(&place_read), "{text}");
            assert_eq!(place_read.to_string(), text);
        }
    }

    #[test]
    fn a_host_that_is_none_is_explained() {
        let long = format!("unix:/{}", "x".repeat(SOCKET_PATH_MAX));
        for (text, words) in [
            ("", "is empty"),
            ("smtp.provider.example", "\"smtp.provider.example:465\""),
            ("127.0.0.1", "\"127.0.0.1:465\""),
            ("[::1]", "\"[::1]:465\""),
            ("[::1]587", "names no port"),
            ("smtp.provider.example:", "no port from"),
            ("smtp.provider.example:0", "no port from"),
            ("smtp.provider.example:65536", "no port from"),
            ("smtp.provider.example:+25", "no port from"),
            ("smtp.provider.example:smtp", "no port from"),
            ("2001:db8::1", "in brackets"),
            ("2001:db8::1:587", "in brackets"),
            ("2001:db8:0:0:0:0:0:1:587", "in brackets"),
            ("[192.0.2.1]:25", "no IPv6 address"),
            ("[fe80::1%eth0]:25", "no IPv6 address"),
            ("192.0.2.256:25", "neither"),
            ("smtps://smtp.provider.example:465", "neither"),
            ("user@smtp.provider.example:465", "neither"),
            (":25", "neither"),
            ("b\u{fc}cher.example:25", "xn--"),
            ("/run/dovecot/lmtp", "\"unix:/run/dovecot/lmtp\""),
            ("unix:run/dovecot/lmtp", "absolute"),
            ("unix:/run/../lmtp", "absolute"),
            ("unix:", "absolute"),
            (&*long, "107 octets"),
        ] {
            let error = place(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
