//! The resolvers of this system.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

/// Where the system names them.
const PATH: &str = "/etc/resolv.conf";
/// How many of them count, as everywhere.
const MOST: usize = 3;

/// The resolvers of this system; that of this very machine where none is named.
pub(super) fn servers() -> Vec<SocketAddr> {
    let found = parse(&fs::read_to_string(PATH).unwrap_or_default());
    match found.is_empty() {
        true => vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 53))],
        false => found,
    }
}

fn parse(text: &str) -> Vec<SocketAddr> {
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let address = (words.next() == Some("nameserver")).then(|| words.next())??;
        // A zone, as in fe80::1%eth0, would need more than an address.
        address.parse::<IpAddr>().ok()
    });
    addresses
        .take(MOST)
        .map(|address| SocketAddr::new(address, 53))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_three_resolvers_count() {
        let text = "# comment\nsearch example.org\nnameserver 127.0.0.1\n  nameserver\t::1 # local\n\
                    nameserver fe80::1%eth0\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n\
                    options edns0\n";
        let found: Vec<_> = parse(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["127.0.0.1:53", "[::1]:53", "192.0.2.1:53"]);
        assert!(parse("nameservers 192.0.2.1\n").is_empty());
    }
}
