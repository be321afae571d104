//! What a real validating resolver says of really signed zones, as `gatepost::dns` reads it.

use std::time::Duration;

use gatepost::{
    dns::{Absence, Dns, DnsError, Options, Validation, Verdict},
    smtp::Domain,
};

use crate::lab::{Lab, Signing, Zone};

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

const HOSTS: &str = "@ MX 10 mx1\nmx1 A 127.0.0.2\n_25._tcp.mx1 TLSA 3 1 1 \
    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n\
    text TXT \"one \" \"two\"\n*.wild A 127.0.0.3\n";

fn zones() -> Vec<Zone> {
    let aliases = format!(
        "{HOSTS}near CNAME mx1\nfar CNAME mx1.insecure.test.\naliased MX 10 near\n_25._tcp.near CNAME \
         _25._tcp.mx1\n"
    );
    vec![
        Zone::signed("secure.test", aliases),
        Zone::new("nsec3.test", Signing::Nsec3, HOSTS),
        Zone::unsigned("insecure.test", HOSTS),
        Zone::new("bogus.test", Signing::OtherKey, HOSTS),
        Zone::new("expired.test", Signing::Expired, HOSTS),
        Zone::silent("silent.test"),
    ]
}

/// R7672-2.1.1b, R7672-2.1.2a, R7672-2.1.3a.
#[tokio::test(flavor = "multi_thread")]
async fn a_validating_resolver_tells_every_kind_of_answer_apart() {
    let Some(lab) = Lab::start(&zones()) else {
        return;
    };
    let dns = Dns::new(Options {
        servers: vec![lab.resolver()],
        timeout: Duration::from_secs(3),
        ..Options::default()
    });
    assert_eq!(dns.validation().await, Validation::Works);

    for (zone, verdict) in [
        ("secure.test", Verdict::Secure),
        ("nsec3.test", Verdict::Secure),
        ("insecure.test", Verdict::Insecure),
    ] {
        let mx = dns.mx(&domain(zone)).await.unwrap();
        assert_eq!((mx.records.len(), mx.verdict), (1, verdict), "{zone}");
        let host = domain(&format!("mx1.{zone}"));
        let addresses = dns.addresses(&host).await.unwrap();
        assert_eq!(addresses.verdict, verdict, "{zone}");
        assert_eq!(addresses.records[0].to_string(), "127.0.0.2");
        let tlsa = dns.tlsa(&host, 25).await.unwrap();
        assert_eq!((tlsa.records.len(), tlsa.verdict), (1, verdict), "{zone}");
        assert_eq!(tlsa.records[0].data.len(), 32);
        let text = dns.txt(&format!("text.{zone}")).await.unwrap();
        assert_eq!(text.records, ["one two"]);
        let wild = dns.addresses(&domain(&format!("any.wild.{zone}"))).await;
        assert_eq!(wild.unwrap().verdict, verdict, "{zone}");
        // Proven absences, of a type and of a name.
        let none = dns.tlsa(&host, 465).await.unwrap();
        assert_eq!(
            (none.absence, none.verdict),
            (Some(Absence::Name), verdict),
            "{zone}"
        );
        let bare = dns.mx(&host).await.unwrap();
        assert_eq!(
            (bare.absence, bare.verdict),
            (Some(Absence::Type), verdict),
            "{zone}"
        );
        let nobody = dns.mx(&domain(&format!("nobody.{zone}"))).await.unwrap();
        assert_eq!(
            (nobody.absence, nobody.verdict),
            (Some(Absence::Name), verdict),
            "{zone}"
        );
    }

    let near = dns.addresses(&domain("near.secure.test")).await.unwrap();
    assert_eq!(
        (near.verdict, &*near.canonical),
        (Verdict::Secure, "mx1.secure.test")
    );
    let tlsa = dns.tlsa(&domain("near.secure.test"), 25).await.unwrap();
    assert_eq!((tlsa.records.len(), tlsa.verdict), (1, Verdict::Secure));
    let far = domain("far.secure.test");
    let addresses = dns.addresses(&far).await.unwrap();
    assert_eq!(
        (addresses.verdict, addresses.records.len()),
        (Verdict::Insecure, 1)
    );
    assert!(dns.is_alias_secure(&far).await.unwrap());
    assert!(
        !dns.is_alias_secure(&domain("mx1.secure.test"))
            .await
            .unwrap()
    );

    // What is wrong is no absence, whatever is asked for.
    for zone in ["bogus.test", "expired.test"] {
        let bogus = |error| matches!(error, DnsError::Bogus { .. });
        let host = domain(&format!("mx1.{zone}"));
        assert!(bogus(dns.mx(&domain(zone)).await.unwrap_err()), "{zone}");
        assert!(bogus(dns.tlsa(&host, 25).await.unwrap_err()), "{zone}");
        assert!(bogus(dns.tlsa(&host, 465).await.unwrap_err()), "{zone}");
        let nobody = domain(&format!("nobody.{zone}"));
        assert!(bogus(dns.mx(&nobody).await.unwrap_err()), "{zone}");
    }
    let silent = dns.mx(&domain("silent.test")).await.unwrap_err();
    assert!(matches!(silent, DnsError::Indeterminate { .. }), "{silent}");
}
