//! DANE (RFC 6698, RFC 7671, RFC 7672): records against certificates, in real handshakes.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer},
    version::{TLS12, TLS13},
};
use sha2::{Digest, Sha256, Sha512};

use super::{
    tests::{
        Authority, BOTH, Made, NAME, expired, greet, meet, nothing, params, self_signed, server,
    },
    *,
};
use crate::tls::{CertificateFault, Whose, dane::public_key};

/// Usage, selector and matching type of a record for this certificate.
fn record(fields: (u8, u8, u8), certificate: &CertificateDer<'_>) -> Tlsa {
    let (usage, selector, matching) = fields;
    let selected = match selector {
        Tlsa::CERTIFICATE => certificate.to_vec(),
        _ => public_key(certificate).unwrap(),
    };
    let data = match matching {
        Tlsa::EXACT => selected,
        Tlsa::SHA_256 => Sha256::digest(selected).to_vec(),
        _ => Sha512::digest(selected).to_vec(),
    };
    Tlsa {
        usage,
        selector,
        matching,
        data: data.into(),
    }
}

fn client(records: Vec<Tlsa>, names: &[&str]) -> Arc<Client> {
    let names = names.iter().map(|name| (*name).to_owned());
    Client::open(Trust::dane(records, names)).unwrap()
}

async fn proof(client: &Client, made: &Made) -> Result<Proof, HandshakeError> {
    let met = meet(client, server(made, BOTH), NAME).await;
    met.map(|link| link.proof)
}

const KINDS: [(u8, u8); 6] = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)];

/// R7672-2.2a, R7672-9.1a: every selector and matching type, on TLS 1.2 and 1.3, and nobody else's
/// certificate.
#[tokio::test]
async fn a_record_of_the_hosts_own_proves_it_whatever_it_says() {
    let (ours, theirs) = (self_signed(nothing), self_signed(nothing));
    for (selector, matching) in KINDS {
        let fields = (Tlsa::DANE_EE, selector, matching);
        let client = client(vec![record(fields, &ours.certificate)], &[]);
        for versions in [&[&TLS12][..], &[&TLS13]] {
            let link = meet(&client, server(&ours, versions), NAME).await.unwrap();
            assert_eq!(link.proof, Proof::DaneEe, "{fields:?}");
        }
        let refused = proof(&client, &theirs).await.unwrap_err();
        assert!(
            matches!(
                &refused,
                HandshakeError::Certificate(CertificateFault::NotInTlsa { .. })
            ),
            "{fields:?}: {refused:?}"
        );
    }
}

/// R7672-3.1.1a: names and dates of the host's own certificate do not matter.
#[tokio::test]
async fn names_and_dates_do_not_matter_where_the_key_is_published() {
    let old = self_signed(|params| {
        expired(params);
        params.subject_alt_names.clear();
    });
    let by_key = client(vec![record((3, 1, 1), &old.certificate)], &[]);
    assert_eq!(proof(&by_key, &old).await, Ok(Proof::DaneEe));
}

/// RFC 7671 §8.1: while keys are changed both are published, and each is as good.
#[tokio::test]
async fn one_record_of_several_is_enough() {
    let (old, new) = (self_signed(nothing), self_signed(nothing));
    let records = [&old, &new].map(|made| record((3, 1, 1), &made.certificate));
    let both = client(records.to_vec(), &[]);
    for made in [&old, &new] {
        assert_eq!(proof(&both, made).await, Ok(Proof::DaneEe));
    }
    let other = self_signed(nothing);
    assert!(proof(&both, &other).await.is_err());
}

/// Somebody who shows the certificate and has not its key proves nothing.
#[tokio::test]
async fn a_certificate_without_its_key_is_refused() {
    let ours = self_signed(nothing);
    let thief = Made {
        certificate: ours.certificate.clone(),
        key: self_signed(nothing).key,
        between: None,
    };
    let client = client(vec![record((3, 1, 1), &ours.certificate)], &[]);
    for versions in [&[&TLS12][..], &[&TLS13]] {
        assert!(meet(&client, server(&thief, versions), NAME).await.is_err());
    }
}

/// R7672-3.1.2a, R7672-3.2.3a: an authority's record needs a chain to it, a name and a date.
#[tokio::test]
async fn a_record_of_an_authority_proves_whom_it_vouches_for() {
    let authority = Authority::new();
    let root = read_pem(&authority.path()).unwrap().certificates.remove(0);
    let issued = |change: fn(&mut CertificateParams)| Made {
        between: Some(root.clone()),
        ..authority.issue(change)
    };
    let good = issued(nothing);
    let stranger = Made {
        between: Some(root.clone()),
        ..Authority::new().issue(nothing)
    };
    for (selector, matching) in KINDS {
        let fields = (Tlsa::DANE_TA, selector, matching);
        let with = |names: &[&str]| client(vec![record(fields, &root)], names);
        for names in [
            &[NAME][..],
            &["other.example", NAME],
            &["a.example.net"],
            &["other.example", "MX.example.org"],
        ] {
            let client = with(names);
            assert_eq!(proof(&client, &good).await, Ok(Proof::DaneTa), "{fields:?}");
        }
        for names in [
            &["other.example"][..],
            &["example.net"],
            &["a.b.example.net"],
            &[],
        ] {
            assert!(proof(&with(names), &good).await.is_err(), "{names:?}");
        }
        let refused = proof(&with(&[NAME]), &issued(expired)).await.unwrap_err();
        assert!(
            matches!(
                &refused,
                HandshakeError::Certificate(CertificateFault::Expired {
                    whose: Whose::Host,
                    ..
                })
            ),
            "{refused:?}"
        );
        assert!(proof(&with(&[NAME]), &stranger).await.is_err());
        // The host's own certificate is no authority.
        let own = client(vec![record(fields, &good.certificate)], &[NAME]);
        let lone = Made {
            between: None,
            ..authority.issue(nothing)
        };
        assert!(proof(&own, &lone).await.is_err());
    }
}

/// R7671-5.1a: an authority that is published whole need not be shown; of others a record alone is
/// not enough to check a signature by.
#[tokio::test]
async fn an_authority_that_is_not_shown_must_be_published_whole() {
    let authority = Authority::new();
    let root = read_pem(&authority.path()).unwrap().certificates.remove(0);
    let alone = authority.issue(nothing);
    for (selector, matching) in KINDS {
        let client = client(vec![record((2, selector, matching), &root)], &[NAME]);
        let is_whole = (selector, matching) == (Tlsa::CERTIFICATE, Tlsa::EXACT);
        assert_eq!(
            proof(&client, &alone).await.is_ok(),
            is_whole,
            "2 {selector} {matching}"
        );
    }
}

/// An authority between root and host may be the one that is published.
#[tokio::test]
async fn an_authority_in_between_is_as_good_as_a_root() {
    let root = Authority::new();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, "between");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let between: CertificateDer<'static> = params.signed_by(&key, &root.issuer).unwrap().into();
    let issuer = Issuer::new(params, key);
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = self::params(nothing).signed_by(&leaf_key, &issuer).unwrap();
    let made = Made {
        certificate: leaf.into(),
        key: PrivateKeyDer::try_from(leaf_key.serialize_der()).unwrap(),
        between: Some(between.clone()),
    };
    let client = client(vec![record((2, 1, 1), &between)], &[NAME]);
    assert_eq!(proof(&client, &made).await, Ok(Proof::DaneTa));
}

/// The host's own record goes first, and is enough beside one of an authority that proves nothing.
#[tokio::test]
async fn kinds_of_records_may_stand_side_by_side() {
    let ours = self_signed(nothing);
    let authority = Authority::new();
    let root = read_pem(&authority.path()).unwrap().certificates.remove(0);
    let records = vec![
        record((2, 0, 1), &root),
        record((3, 1, 2), &ours.certificate),
    ];
    let client = client(records, &["other.example"]);
    assert_eq!(proof(&client, &ours).await, Ok(Proof::DaneEe));
}

/// A session that is taken up again was proved by the same records: another set of records has a
/// client, and so tickets, of its own.
#[tokio::test]
async fn a_resumed_session_proves_no_less() {
    let (ours, theirs) = (self_signed(nothing), self_signed(nothing));
    let good = client(vec![record((3, 1, 1), &ours.certificate)], &[]);
    let bad = client(vec![record((3, 1, 1), &theirs.certificate)], &[]);
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let shown = server(&ours, versions);
        for _ in 0..3 {
            let (link, _) = greet(&good, shown.clone(), NAME).await.unwrap();
            assert_eq!(link.proof, Proof::DaneEe);
        }
        assert!(greet(&bad, shown.clone(), NAME).await.is_err());
    }
}

/// What the operator is shown, to be published.
#[test]
fn a_record_is_made_of_a_certificate() {
    let made = self_signed(nothing);
    let tlsa = crate::tls::tlsa(&made.certificate).unwrap();
    assert_eq!(tlsa, record((3, 1, 1), &made.certificate));
    assert!(crate::tls::tlsa(&CertificateDer::from(vec![0x30, 0])).is_none());
}
