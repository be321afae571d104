//! Names as they are asked and compared: lower case, ASCII, without the last dot.

use std::net::IpAddr;

use hickory_proto::rr::Name;

/// A name from the network in the form in which names are compared here.
pub(super) fn plain(name: &Name) -> Box<str> {
    let text = name.to_ascii().to_ascii_lowercase();
    text.strip_suffix('.').unwrap_or(&text).into()
}

/// A name as the library wants it; `None` where no name can be so.
pub(super) fn asked(name: &str) -> Option<Name> {
    let mut parsed = Name::from_ascii(name).ok()?;
    parsed.set_fqdn(true);
    Some(parsed)
}

/// The name under which the names of an address stand.
pub(super) fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let mut name = String::new();
            for octet in address.octets().into_iter().rev() {
                name.push_str(&format!("{:x}.{:x}.", octet & 15, octet >> 4));
            }
            name + "ip6.arpa"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_turned_around() {
        let of = |text: &str| reverse(text.parse().unwrap());
        assert_eq!(of("192.0.2.1"), "1.2.0.192.in-addr.arpa");
        assert_eq!(
            of("2001:db8::1"),
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }

    #[test]
    fn names_lose_their_dot_and_their_case() {
        for (text, expected) in [
            ("MX.Example.Org.", "mx.example.org"),
            (".", ""),
            ("_25._tcp.MX.example", "_25._tcp.mx.example"),
        ] {
            let name = Name::from_ascii(text).unwrap();
            assert_eq!(&*plain(&name), expected);
        }
        assert_eq!(asked("").unwrap(), Name::root());
        assert!(asked("mx.example").unwrap().is_fqdn());
        assert!(asked("a..example").is_none());
    }
}
