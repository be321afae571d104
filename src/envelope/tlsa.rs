//! A TLSA record (RFC 6698 §2.1): which key or certificate a host of this name shows.

use std::fmt;

use data_encoding::HEXLOWER;

/// The fields of a TLSA record as published; whether they make sense is judged elsewhere.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Tlsa {
    /// Certificate usage: 3 is DANE-EE, 2 is DANE-TA.
    pub usage: u8,
    /// 0 for the whole certificate, 1 for its public key.
    pub selector: u8,
    /// 0 for the thing itself, 1 for its SHA-256, 2 for its SHA-512.
    pub matching: u8,
    /// What is matched.
    pub data: Box<[u8]>,
}

impl Tlsa {
    /// DANE-TA: the record names an authority.
    pub const DANE_TA: u8 = 2;
    /// DANE-EE: the record names the host's own certificate or key.
    pub const DANE_EE: u8 = 3;
    /// The whole certificate.
    pub const CERTIFICATE: u8 = 0;
    /// The public key (SubjectPublicKeyInfo).
    pub const PUBLIC_KEY: u8 = 1;
    /// The thing itself.
    pub const EXACT: u8 = 0;
    /// Its SHA-256.
    pub const SHA_256: u8 = 1;
    /// Its SHA-512.
    pub const SHA_512: u8 = 2;
}

impl fmt::Display for Tlsa {
    /// In zone-file form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tlsa {
            usage,
            selector,
            matching,
            data,
        } = self;
        let data = HEXLOWER.encode(data);
        write!(f, "{usage} {selector} {matching} {data}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_in_a_zone_file() {
        let record = Tlsa {
            usage: 3,
            selector: 1,
            matching: 1,
            data: [0xAB, 0x01].into(),
        };
        assert_eq!(record.to_string(), "3 1 1 ab01");
    }
}
