//! The few facts of an X.509 certificate that an operator asks about (RFC 5280).
//!
//! A walk over DER with bounds checked everywhere; it proves nothing. Whether a name fits is asked of
//! rustls, whose verifier clients use too.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, SystemTime},
};

/// Warn when a certificate ends within this time.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// RSA keys below this many bits are refused (RFC 9325 §4.5).
const RSA_BITS_MIN: usize = 2048;

/// The version that has extensions (RFC 5280 §4.1.2.1).
pub(super) const VERSION_3: u8 = 3;

const OID_SAN: &[u8] = &[0x55, 0x1d, 0x11];
const OID_BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const OID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// MD2, MD5 and SHA-1 with RSA, ECDSA or DSA.
const OIDS_BROKEN_HASH: &[&[u8]] = &[
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x02],
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04],
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05],
    &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01],
    &[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x03],
];
/// RSA (PKCS #1) and ECDSA with SHA-2. Ed25519 hashes in its own way, and RSA-PSS says its hash
/// elsewhere.
const OIDS_SIGNATURE: &[(&[u8], SignatureHash)] = &[
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b],
        SignatureHash::Sha256,
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c],
        SignatureHash::Sha384,
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d],
        SignatureHash::Sha512,
    ),
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],
        SignatureHash::Sha256,
    ),
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03],
        SignatureHash::Sha384,
    ),
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04],
        SignatureHash::Sha512,
    ),
];

/// The facts of one certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    /// X.509 version, counted from 1; all but the oldest tools make 3.
    pub version: u8,
    /// Valid from.
    pub not_before: SystemTime,
    /// Valid until.
    pub not_after: SystemTime,
    /// DNS names and addresses of the subjectAltName extension.
    pub names: Vec<String>,
    /// Mail addresses of the same extension.
    pub mail_addresses: Vec<String>,
    /// Issuer and subject are the same.
    pub self_signed: bool,
    /// Marked as an authority: clients refuse it as a server's own certificate.
    pub is_authority: bool,
    /// Bits of the modulus where the key is RSA.
    pub rsa_bits: Option<usize>,
    /// Signed with SHA-1 or older.
    pub broken_hash: bool,
    /// The one hash of its signature, where there is one.
    pub signature_hash: Option<SignatureHash>,
}

/// The hash within a signature.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SignatureHash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Certificate {
    /// Reads a certificate; `None` where it is not well-formed.
    pub fn parse(der: &[u8]) -> Option<Self> {
        let mut outer = Der(Der(der).expect(SEQUENCE)?);
        let mut tbs = Der(outer.expect(SEQUENCE)?);
        let mut signature = Der(outer.expect(SEQUENCE)?);
        let algorithm = signature.expect(OID)?;
        let broken_hash = OIDS_BROKEN_HASH.contains(&algorithm);
        let signature_hash = OIDS_SIGNATURE
            .iter()
            .find(|(oid, _)| *oid == algorithm)
            .map(|(_, hash)| *hash);

        // The field counts from 0 and may be left out (RFC 5280 §4.1.2.1).
        let version = match tbs.optional(CONTEXT_0) {
            None => 1,
            Some(field) => match Der(field).expect(INTEGER)? {
                [version] => version.checked_add(1)?,
                _ => return None,
            },
        };
        tbs.expect(INTEGER)?;
        tbs.expect(SEQUENCE)?;
        let issuer = tbs.expect(SEQUENCE)?;
        let mut validity = Der(tbs.expect(SEQUENCE)?);
        let (not_before, not_after) = (validity.time()?, validity.time()?);
        let subject = tbs.expect(SEQUENCE)?;
        let rsa_bits = rsa_bits(tbs.expect(SEQUENCE)?);

        let (mut names, mut mail_addresses) = (Vec::new(), Vec::new());
        let mut is_authority = false;
        tbs.optional(CONTEXT_1_PRIMITIVE);
        tbs.optional(CONTEXT_2_PRIMITIVE);
        if let Some(extensions) = tbs.optional(CONTEXT_3) {
            let mut extensions = Der(Der(extensions).expect(SEQUENCE)?);
            while !extensions.0.is_empty() {
                let mut extension = Der(extensions.expect(SEQUENCE)?);
                let oid = extension.expect(OID)?;
                extension.optional(BOOLEAN);
                let value = extension.expect(OCTET_STRING)?;
                if oid == OID_SAN {
                    (names, mail_addresses) = alternative_names(value)?;
                } else if oid == OID_BASIC_CONSTRAINTS {
                    let mut constraints = Der(Der(value).expect(SEQUENCE)?);
                    is_authority = constraints
                        .optional(BOOLEAN)
                        .is_some_and(|flag| flag != [0]);
                }
            }
        }
        Some(Certificate {
            version,
            not_before,
            not_after,
            names,
            mail_addresses,
            self_signed: issuer == subject,
            is_authority,
            rsa_bits,
            broken_hash,
            signature_hash,
        })
    }

    /// Why the certificate must not be served (R9325-4.5a), if so.
    pub fn weakness(&self) -> Option<String> {
        match self.rsa_bits {
            Some(bits) if bits < RSA_BITS_MIN => {
                return Some(format!("RSA key of {bits} bits, at least {RSA_BITS_MIN}"));
            }
            Some(_) | None => {}
        }
        self.broken_hash
            .then(|| "signed with SHA-1 or an older hash".to_owned())
    }

    /// What an operator should know, one sentence each.
    pub fn warnings(&self, now: SystemTime) -> Vec<String> {
        let mut warnings = Vec::new();
        if now >= self.not_after {
            warnings.push("the certificate has expired".to_owned());
        } else if now + SOON >= self.not_after {
            warnings.push("the certificate expires within 14 days".to_owned());
        }
        if now < self.not_before {
            warnings.push("the certificate is not valid yet; is the clock right?".to_owned());
        }
        if self.is_authority {
            warnings.push(
                "the certificate is an authority's own (CA:TRUE); clients refuse it".to_owned(),
            );
        } else if self.self_signed {
            warnings.push("the certificate is self-signed; clients will not trust it".to_owned());
        }
        if self.names.is_empty() {
            warnings.push("the certificate names no host (subjectAltName)".to_owned());
        }
        warnings
    }
}

fn rsa_bits(public_key_info: &[u8]) -> Option<usize> {
    let mut info = Der(public_key_info);
    let mut algorithm = Der(info.expect(SEQUENCE)?);
    if algorithm.expect(OID)? != OID_RSA {
        return None;
    }
    // The first octet of a bit string counts its unused bits.
    let key = info.expect(BIT_STRING)?.get(1..)?;
    let modulus = Der(Der(key).expect(SEQUENCE)?).expect(INTEGER)?;
    let start = modulus.iter().position(|octet| *octet != 0)?;
    let leading = usize::try_from(modulus.get(start)?.leading_zeros()).ok()?;
    Some((modulus.len() - start) * 8 - leading)
}

/// Names of hosts and their addresses, and addresses of mail.
fn alternative_names(value: &[u8]) -> Option<(Vec<String>, Vec<String>)> {
    let mut entries = Der(Der(value).expect(SEQUENCE)?);
    let (mut names, mut mail_addresses) = (Vec::new(), Vec::new());
    let text = |content: &[u8]| content.iter().map(|octet| char::from(*octet)).collect();
    while !entries.0.is_empty() {
        let (tag, content) = entries.next()?;
        match tag {
            0x81 if content.is_ascii() => mail_addresses.push(text(content)),
            0x82 if content.is_ascii() => names.push(text(content)),
            0x87 => {
                let address = <[u8; 4]>::try_from(content)
                    .map(|octets| IpAddr::from(Ipv4Addr::from(octets)))
                    .or_else(|_| {
                        <[u8; 16]>::try_from(content)
                            .map(|octets| IpAddr::from(Ipv6Addr::from(octets)))
                    });
                names.extend(address.ok().map(|address| address.to_string()));
            }
            _ => {}
        }
    }
    Some((names, mail_addresses))
}

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const CONTEXT_0: u8 = 0xa0;
const CONTEXT_1_PRIMITIVE: u8 = 0x81;
const CONTEXT_2_PRIMITIVE: u8 = 0x82;
const CONTEXT_3: u8 = 0xa3;

/// What is still to be read of a DER value's content.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut len = usize::from(first);
        if first >= 0x80 {
            let count = usize::from(first & 0x7f);
            if !(1..=4).contains(&count) {
                return None;
            }
            let (octets, after) = rest.split_at_checked(count)?;
            len = octets
                .iter()
                .fold(0, |len, octet| (len << 8) | usize::from(*octet));
            rest = after;
        }
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next()
            .filter(|(found, _)| *found == tag)
            .map(|(_, content)| content)
    }

    fn optional(&mut self, tag: u8) -> Option<&'a [u8]> {
        (self.0.first() == Some(&tag)).then(|| self.expect(tag))?
    }

    /// RFC 5280 §4.1.2.5: always in UTC with seconds.
    fn time(&mut self) -> Option<SystemTime> {
        let (tag, content) = self.next()?;
        let digits = content.strip_suffix(b"Z")?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let number = |part: &[u8]| {
            part.iter()
                .fold(0_i16, |number, digit| number * 10 + i16::from(digit - b'0'))
        };
        let (year, rest) = match (tag, digits.len()) {
            (UTC_TIME, 12) => {
                let (year, rest) = digits.split_at(2);
                let year = number(year);
                (if year >= 50 { 1900 + year } else { 2000 + year }, rest)
            }
            (GENERALIZED_TIME, 14) => {
                let (year, rest) = digits.split_at(4);
                (number(year), rest)
            }
            _ => return None,
        };
        let part = |at: usize| i8::try_from(number(&rest[at..at + 2])).ok();
        let at =
            jiff::civil::DateTime::new(year, part(0)?, part(2)?, part(4)?, part(6)?, part(8)?, 0)
                .ok()?;
        let at = jiff::tz::TimeZone::UTC.to_timestamp(at).ok()?;
        // Years before 1970 are no certificate's.
        let seconds = u64::try_from(at.as_second()).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};

    use super::*;

    fn day(days: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(days * 24 * 3600)
    }

    fn made(authority: bool) -> Vec<u8> {
        let mut params = CertificateParams::new(
            ["mail.example.org", "*.example.net", "192.0.2.7", "::1"].map(String::from),
        )
        .unwrap();
        params.not_before = day(20_000).into();
        // After 2050 a certificate changes its form of time.
        params.not_after = day(30_000).into();
        if authority {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    /// R8314-4.4a.
    #[test]
    fn the_facts_of_a_certificate_are_read() {
        let leaf = Certificate::parse(&made(false)).unwrap();
        assert_eq!(leaf.not_before, day(20_000));
        assert_eq!(leaf.not_after, day(30_000));
        assert_eq!(
            leaf.names,
            ["mail.example.org", "*.example.net", "192.0.2.7", "::1"]
        );
        assert!(leaf.self_signed && !leaf.is_authority && !leaf.broken_hash);
        assert_eq!(leaf.rsa_bits, None);
        assert_eq!(leaf.version, VERSION_3);
        assert!(Certificate::parse(&made(true)).unwrap().is_authority);
    }

    #[test]
    fn no_cut_or_changed_certificate_panics() {
        let der = made(false);
        for len in 0..der.len() {
            assert_eq!(Certificate::parse(&der[..len]), None, "{len}");
        }
        for at in 0..der.len() {
            for value in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut changed = der.clone();
                changed[at] = value;
                let _ = Certificate::parse(&changed);
            }
        }
    }

    /// R9325-4.5a.
    #[test]
    fn weak_keys_and_hashes_are_found() {
        let mut leaf = Certificate::parse(&made(false)).unwrap();
        assert_eq!(leaf.weakness(), None);
        leaf.rsa_bits = Some(1024);
        assert!(leaf.weakness().unwrap().contains("1024"));
        leaf.rsa_bits = Some(2048);
        assert_eq!(leaf.weakness(), None);
        leaf.broken_hash = true;
        assert!(leaf.weakness().unwrap().contains("SHA-1"));
    }

    #[test]
    fn the_bits_of_an_rsa_key_are_counted() {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let certificate = CertificateParams::new(vec!["a.example".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        assert_eq!(
            Certificate::parse(certificate.der()).unwrap().rsa_bits,
            Some(2048)
        );
    }

    #[test]
    fn the_operator_is_warned_in_time() {
        let leaf = Certificate::parse(&made(false)).unwrap();
        for (now, word) in [
            (19_999, "not valid yet"),
            (29_987, "within 14 days"),
            (30_000, "has expired"),
        ] {
            assert!(
                leaf.warnings(day(now)).iter().any(|w| w.contains(word)),
                "{now}"
            );
        }
        let authority = Certificate::parse(&made(true)).unwrap();
        assert!(authority.warnings(day(25_000))[0].contains("CA:TRUE"));
    }
}
