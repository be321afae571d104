//! What a domain publishes, read from a DNS that says what it is told to.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::{
    dns::{
        Data, Kind,
        fake::{Fake, Insecure, Secure},
    },
    envelope::Tlsa,
    policy::security::TlsaFacts,
};

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

fn ip(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn reach(fake: &std::sync::Arc<Fake>) -> Reach {
    Reach::new(fake.dns(), None)
}

async fn names(fake: &std::sync::Arc<Fake>, of: &str) -> Result<Vec<String>, NoHosts> {
    let hosts = reach(fake).hosts(&domain(of)).await?;
    let turn = hosts.in_turn(|_| 0).into_iter().map(MxHost::text);
    Ok(turn.collect())
}

/// R5321-5.1a, R5321-5.1b, R5321-5.1c, R5321-5.1d, R5321-5.1e, R5321-5.1f, R7505-3a.
#[tokio::test]
async fn a_domain_names_its_hosts_or_is_its_own_or_has_none() {
    let fake = Fake::new();
    fake.mx(
        "many.example",
        &[(20, "b.example"), (10, "a.example")],
        Insecure,
    );
    fake.address("many.example", ip(1), Insecure);
    fake.address("own.example", ip(1), Insecure);
    fake.mx("null.example", &[(0, "")], Insecure);
    fake.mx("both.example", &[(0, ""), (10, "a.example")], Insecure);
    fake.mx("odd.example", &[(10, "m\\032x.example")], Insecure);
    fake.mx("under.example", &[(10, "_dc-mx.example")], Insecure);
    fake.address("odd.example", ip(1), Insecure);
    fake.txt("bare.example", &["x"]);
    fake.bogus("bogus.example", Kind::Mx);
    fake.address("broken.example", ip(1), Insecure);
    fake.bogus("broken.example", Kind::A);
    fake.alias("alias.example", "many.example", Insecure);
    fake.alias("ownalias.example", "own.example", Insecure);

    assert_eq!(
        names(&fake, "many.example").await.unwrap(),
        ["a.example", "b.example"]
    );
    assert_eq!(
        names(&fake, "alias.example").await.unwrap(),
        ["a.example", "b.example"]
    );
    assert_eq!(names(&fake, "own.example").await.unwrap(), ["own.example"]);
    assert_eq!(
        names(&fake, "ownalias.example").await.unwrap(),
        ["own.example"]
    );
    assert_eq!(
        names(&fake, "under.example").await.unwrap(),
        ["_dc-mx.example"]
    );
    // One that names hosts beside the root does not mean it (RFC 7505 §3).
    assert_eq!(names(&fake, "both.example").await.unwrap(), ["a.example"]);
    for of in [
        "null.example",
        "odd.example",
        "bare.example",
        "nobody.example",
    ] {
        let error = names(&fake, of).await.unwrap_err();
        let expected = match of {
            "null.example" => NoHosts::NullMx(domain(of)),
            "nobody.example" => NoHosts::NoSuchDomain(domain(of)),
            _ => NoHosts::NoHost(domain(of)),
        };
        assert_eq!(error, expected);
        assert!(!error.is_transient());
    }
    for of in ["bogus.example", "broken.example"] {
        let error = names(&fake, of).await.unwrap_err();
        assert!(
            matches!(error, NoHosts::Unknown(..)) && error.is_transient(),
            "{error}"
        );
    }
    let literal = reach(&fake).hosts(&domain("[192.0.2.9]")).await.unwrap();
    assert_eq!(literal.list[0].text(), "192.0.2.9");
    assert!(!literal.secure);
}

/// R5321-5.1g: equals by chance, each host once.
#[tokio::test]
async fn hosts_of_one_preference_are_tried_by_chance() {
    let fake = Fake::new();
    let list = [
        (10, "a.example"),
        (10, "b.example"),
        (5, "c.example"),
        (20, "a.example"),
    ];
    fake.mx("many.example", &list, Insecure);
    let hosts = reach(&fake).hosts(&domain("many.example")).await.unwrap();
    let turn = |first: u32| -> Vec<String> {
        let turn = hosts.in_turn(|below| first.min(below - 1));
        turn.into_iter().map(MxHost::text).collect()
    };
    assert_eq!(turn(0), ["c.example", "a.example", "b.example"]);
    assert_eq!(turn(1), ["c.example", "b.example", "a.example"]);
    assert_eq!(hosts.site(), "c.example");
}

/// R7672-2.1.2a, R7672-2.1.3a, R7672-2.2.1c: the list is vouched for only where every step to it is.
#[tokio::test]
async fn a_list_is_secure_only_where_every_step_is() {
    let fake = Fake::new();
    for (name, verdict) in [("signed.example", Secure), ("plain.example", Insecure)] {
        fake.mx(name, &[(10, "mx.example")], verdict);
    }
    fake.address("own.example", ip(1), Insecure);
    fake.say("own.example", Kind::Mx, Vec::new(), Secure);
    for (alias, target, verdict, secure) in [
        ("ss.example", "signed.example", Secure, true),
        ("is.example", "signed.example", Insecure, false),
        ("si.example", "plain.example", Secure, false),
        ("so.example", "own.example", Secure, true),
    ] {
        fake.alias(alias, target, verdict);
        let hosts = reach(&fake).hosts(&domain(alias)).await.unwrap();
        assert_eq!(hosts.secure, secure, "{alias}");
        assert_eq!(hosts.canonical, domain(target));
    }
}

fn record(last: u8) -> Tlsa {
    Tlsa {
        usage: 3,
        selector: 1,
        matching: 1,
        data: [last; 32].into(),
    }
}

async fn host(fake: &std::sync::Arc<Fake>, name: &str) -> Result<Host, HostFault> {
    let reach = reach(fake);
    let hosts = reach.hosts(&domain("d.example")).await.unwrap();
    let mx = MxHost {
        name: domain(name),
        preference: 10,
    };
    reach.host(&hosts, &mx, 25).await
}

/// R5321-5.1k, R7672-2.2.2a, R7672-2.2.3a, R7672-2.2.3b, R7672-2.1.2b: addresses first; where those are not signed
/// nobody is asked for TLSA; the end of the aliases first, then the name itself, never one between.
#[tokio::test]
async fn records_are_looked_for_where_they_may_stand() {
    let fake = Fake::new();
    fake.mx("d.example", &[(10, "mx.example")], Secure);
    fake.address("mx.example", ip(1), Secure);
    let found = host(&fake, "mx.example").await.unwrap();
    assert_eq!(
        (found.tlsa, found.base),
        (TlsaFacts::None, domain("mx.example"))
    );

    fake.tlsa("_25._tcp.mx.example", &[record(1)], Secure);
    let found = host(&fake, "mx.example").await.unwrap();
    assert_eq!(found.tlsa, TlsaFacts::Usable);
    assert_eq!(found.records, [record(1)]);
    assert_eq!(found.names, [domain("mx.example"), domain("d.example")]);

    fake.tlsa("_25._tcp.mx.example", &[record(1)], Insecure);
    assert_eq!(
        host(&fake, "mx.example").await.unwrap().tlsa,
        TlsaFacts::None
    );
    let unusable = Tlsa {
        usage: 1,
        ..record(1)
    };
    fake.tlsa("_25._tcp.mx.example", &[unusable], Secure);
    assert_eq!(
        host(&fake, "mx.example").await.unwrap().tlsa,
        TlsaFacts::Unusable
    );
    fake.bogus("_25._tcp.mx.example", Kind::Tlsa);
    let found = host(&fake, "mx.example").await.unwrap();
    assert_eq!(found.tlsa, TlsaFacts::Failed);
    assert!(found.trouble.is_some());

    // Addresses that are not signed: the question alone may break things.
    fake.address("plain.example", ip(2), Insecure);
    fake.bogus("_25._tcp.plain.example", Kind::Tlsa);
    assert_eq!(
        host(&fake, "plain.example").await.unwrap().tlsa,
        TlsaFacts::None
    );
    let asked = |name: &str| fake.asked().iter().any(|(asked, _)| asked == name);
    assert!(!asked("_25._tcp.plain.example"));

    // Aliases: end, then beginning, and nothing between.
    fake.alias("first.example", "between.example", Secure);
    fake.alias("between.example", "end.example", Secure);
    fake.address("end.example", ip(3), Secure);
    fake.tlsa("_25._tcp.first.example", &[record(1)], Secure);
    fake.tlsa("_25._tcp.between.example", &[record(2)], Secure);
    let found = host(&fake, "first.example").await.unwrap();
    assert_eq!(
        (found.records, found.base),
        (vec![record(1)], domain("first.example"))
    );
    fake.tlsa("_25._tcp.end.example", &[record(3)], Secure);
    let found = host(&fake, "first.example").await.unwrap();
    assert_eq!(
        (found.records, found.base),
        (vec![record(3)], domain("end.example"))
    );
    assert!(!asked("_25._tcp.between.example"));

    // The alias is signed, and what it leads to is not.
    fake.alias("half.example", "plain.example", Secure);
    fake.tlsa("_25._tcp.half.example", &[record(4)], Secure);
    let found = host(&fake, "half.example").await.unwrap();
    assert_eq!(
        (found.records, found.base),
        (vec![record(4)], domain("half.example"))
    );
    fake.alias("none.example", "plain.example", Insecure);
    fake.tlsa("_25._tcp.none.example", &[record(5)], Secure);
    assert_eq!(
        host(&fake, "none.example").await.unwrap().tlsa,
        TlsaFacts::None
    );
}

#[tokio::test]
async fn a_host_needs_an_address_that_somebody_can_have() {
    let fake = Fake::new();
    fake.mx("d.example", &[(10, "mx.example")], Insecure);
    let fault = host(&fake, "mx.example").await.unwrap_err();
    assert_eq!(fault, HostFault::NoAddress("mx.example".into()));
    fake.say("mx.example", Kind::Aaaa, Vec::new(), Insecure);
    let odd = ["0.0.0.0", "224.0.0.1", "255.255.255.255", "192.0.2.1"];
    let odd = odd.map(|it| Data::Address(it.parse().unwrap()));
    fake.say("mx.example", Kind::A, odd.to_vec(), Insecure);
    assert_eq!(host(&fake, "mx.example").await.unwrap().addresses, [ip(1)]);
    fake.bogus("mx.example", Kind::A);
    let fault = host(&fake, "mx.example").await.unwrap_err();
    assert!(matches!(fault, HostFault::Unknown(..)), "{fault}");
    // Only a list that could not be forged lends its names to certificates.
    fake.address("mx.example", ip(1), Secure);
    let found = host(&fake, "mx.example").await.unwrap();
    assert_eq!(found.names, [domain("mx.example")]);
}
