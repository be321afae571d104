//! Networks: an address and how many of its leading bits count.

use std::{fmt, net::IpAddr, str::FromStr};

/// A network in its one form: IPv4-mapped addresses as IPv4, bits behind the prefix zero.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A text that is no network.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("network is not an address or an address with prefix, as 192.0.2.0/24 or 2001:db8::/48")]
pub struct NetworkError;

impl Network {
    /// The network of `address` with `v4` or `v6` leading bits; more bits than there are mean all.
    pub fn of(address: IpAddr, v4: u8, v6: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let prefix = v4.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                Network {
                    address: IpAddr::V4((address.to_bits() & mask).into()),
                    prefix,
                }
            }
            IpAddr::V6(address) => {
                let prefix = v6.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                Network {
                    address: IpAddr::V6((address.to_bits() & mask).into()),
                    prefix,
                }
            }
        }
    }

    /// A place: the IPv4 address itself, or the IPv6 /64, all of which one customer commonly has.
    pub fn place(address: IpAddr) -> Self {
        Self::of(address, 32, 64)
    }

    /// Whether it is all addresses of its family.
    pub fn is_everybody(&self) -> bool {
        self.prefix == 0
    }

    /// Whether `address` belongs to it.
    pub fn contains(&self, address: IpAddr) -> bool {
        Self::of(address, self.prefix, self.prefix) == *self
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    /// Reads `address` or `address/prefix`; bits behind the prefix are dropped.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix: u8 = match prefix {
            Some(digits) if digits.bytes().all(|c| c.is_ascii_digit()) => {
                digits.parse().map_err(|_| NetworkError)?
            }
            Some(_) => return Err(NetworkError),
            None => bits,
        };
        if prefix > bits {
            return Err(NetworkError);
        }
        let mapped = address.is_ipv6() && address.to_canonical().is_ipv4();
        match (mapped, prefix.checked_sub(96)) {
            (true, Some(prefix)) => Ok(Self::of(address, prefix, prefix)),
            // Wider than all mapped addresses: not what anybody means.
            (true, None) => Err(NetworkError),
            (false, _) => Ok(Self::of(address, prefix, prefix)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_written_in_one_form() {
        for (text, shown) in [
            ("192.0.2.77/24", Some("192.0.2.0/24")),
            ("192.0.2.77", Some("192.0.2.77/32")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("2001:db8:1:2::3/48", Some("2001:db8:1::/48")),
            ("::1", Some("::1/128")),
            ("::/0", Some("::/0")),
            ("::ffff:192.0.2.77", Some("192.0.2.77/32")),
            ("::ffff:192.0.2.77/120", Some("192.0.2.0/24")),
            ("::ffff:192.0.2.77/64", None),
            ("192.0.2.0/33", None),
            ("::/129", None),
            ("192.0.2.0/", None),
            ("192.0.2.0/+8", None),
            ("192.0.2/24", None),
            ("", None),
        ] {
            let read = text.parse::<Network>().ok().map(|n| n.to_string());
            assert_eq!(read.as_deref(), shown, "{text}");
        }
    }

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        for (network, address, inside) in [
            ("192.0.2.0/24", "192.0.2.200", true),
            ("192.0.2.0/24", "::ffff:192.0.2.200", true),
            ("192.0.2.0/24", "192.0.3.1", false),
            ("192.0.2.0/24", "2001:db8::1", false),
            ("2001:db8::/48", "2001:db8:0:ffff::1", true),
            ("2001:db8::/48", "2001:db8:1::1", false),
            ("::/0", "192.0.2.1", false),
            ("0.0.0.0/0", "192.0.2.1", true),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(
                network.contains(address.parse().unwrap()),
                inside,
                "{network} {address}"
            );
        }
    }
}
