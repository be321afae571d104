//! Which TLSA records can be held against a certificate (RFC 6698 §4.1, RFC 7671 §9, RFC 7672 §3.1).
//!
//! Usages 0 and 1 are of no use for SMTP (RFC 7672 §3.1.3). Pure: certificates are looked at in `tls`.

use crate::envelope::Tlsa;

/// Records of a host that are used at most; each costs a comparison for each certificate shown.
const RECORDS_MOST: usize = 64;
/// Octets of a certificate or a key in a record at most.
const EXACT_MOST: usize = 16 * 1024;

/// What a host's TLSA records are good for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Usable {
    /// These may match.
    Records(Vec<Tlsa>),
    /// None can.
    None,
}

/// Sorts out what cannot be used: other usages, selectors and matching types, digests of a wrong
/// length, and digests that a stronger one of the same usage and selector stands beside.
pub fn usable(published: &[Tlsa]) -> Usable {
    let fit: Vec<_> = published.iter().filter(|it| is_well_formed(it)).collect();
    let is_weaker = |it: &Tlsa| {
        it.matching == Tlsa::SHA_256
            && fit.iter().any(|other| {
                other.matching == Tlsa::SHA_512
                    && (other.usage, other.selector) == (it.usage, it.selector)
            })
    };
    let mut records: Vec<Tlsa> = Vec::new();
    for record in &fit {
        if !is_weaker(record) && !records.contains(record) && records.len() < RECORDS_MOST {
            records.push((*record).clone());
        }
    }
    // The order in which they came says nothing, and the same records are the same to everybody.
    records.sort();
    match records.is_empty() {
        true => Usable::None,
        false => Usable::Records(records),
    }
}

fn is_well_formed(record: &Tlsa) -> bool {
    let octets = record.data.len();
    matches!(record.usage, Tlsa::DANE_TA | Tlsa::DANE_EE)
        && matches!(record.selector, Tlsa::CERTIFICATE | Tlsa::PUBLIC_KEY)
        && match record.matching {
            // Both are sequences in DER.
            Tlsa::EXACT => (2..=EXACT_MOST).contains(&octets) && record.data.first() == Some(&0x30),
            Tlsa::SHA_256 => octets == 32,
            Tlsa::SHA_512 => octets == 64,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(usage: u8, selector: u8, matching: u8, octets: usize) -> Tlsa {
        let mut data = vec![usage; octets];
        if matching == Tlsa::EXACT && octets > 0 {
            data[0] = 0x30;
        }
        Tlsa {
            usage,
            selector,
            matching,
            data: data.into(),
        }
    }

    /// R6698-4.1a, R7672-3.1.3a.
    #[test]
    fn a_record_is_usable_or_not() {
        for (usage, selector, matching, octets, expected) in [
            (3, 1, 1, 32, true),
            (3, 0, 1, 32, true),
            (3, 1, 2, 64, true),
            (3, 0, 0, 500, true),
            (3, 1, 0, 91, true),
            (2, 0, 1, 32, true),
            (2, 1, 1, 32, true),
            (2, 0, 2, 64, true),
            (2, 0, 0, 500, true),
            (0, 0, 1, 32, false),
            (1, 1, 1, 32, false),
            (4, 1, 1, 32, false),
            (255, 1, 1, 32, false),
            (3, 2, 1, 32, false),
            (3, 255, 1, 32, false),
            (3, 1, 3, 32, false),
            (3, 1, 1, 31, false),
            (3, 1, 1, 33, false),
            (3, 1, 1, 0, false),
            (3, 1, 2, 32, false),
            (3, 1, 0, 0, false),
            (3, 1, 0, 1, false),
            (3, 0, 0, EXACT_MOST + 1, false),
        ] {
            let record = record(usage, selector, matching, octets);
            let expected = match expected {
                true => Usable::Records(vec![record.clone()]),
                false => Usable::None,
            };
            assert_eq!(usable(std::slice::from_ref(&record)), expected, "{record}");
        }
        let mut no_der = record(3, 0, 0, 500);
        no_der.data[0] = 0x31;
        assert_eq!(usable(&[no_der]), Usable::None);
        assert_eq!(usable(&[]), Usable::None);
    }

    /// R7672-5a: of two digests of one thing the stronger counts, and the thing itself always.
    #[test]
    fn a_weaker_digest_beside_a_stronger_one_does_not_count() {
        let published = [
            record(3, 1, 1, 32),
            record(3, 1, 2, 64),
            record(3, 1, 0, 91),
            record(3, 0, 1, 32),
            record(2, 1, 1, 32),
            // Malformed, so no reason to leave the other one out.
            record(2, 1, 2, 63),
        ];
        let expected = [
            published[4].clone(),
            published[3].clone(),
            published[2].clone(),
            published[1].clone(),
        ];
        assert_eq!(usable(&published), Usable::Records(expected.to_vec()));
    }

    #[test]
    fn the_same_records_are_the_same_in_any_order_and_number() {
        let (a, b) = (record(3, 1, 1, 32), record(2, 0, 1, 32));
        let one = usable(&[a.clone(), b.clone()]);
        assert_eq!(usable(&[b.clone(), a.clone(), b, a]), one);
        let mut many = Vec::new();
        for n in 0..200_u8 {
            let mut record = record(3, 1, 1, 32);
            record.data[0] = n;
            many.push(record);
        }
        let Usable::Records(records) = usable(&many) else {
            panic!("none");
        };
        assert_eq!(records.len(), RECORDS_MOST);
    }
}
