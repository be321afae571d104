//! Every combination in tables, and the table against a search that reads all routes.

use proptest::prelude::*;

use super::*;
use crate::{
    policy::routes::{Credential, Hop, Host, LocalRecipients, Place, Trust},
    smtp::{Domain, ReversePath},
};

fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text).unwrap()
}

fn origin_pattern(text: &str) -> OriginPattern {
    match text.strip_prefix("account:") {
        Some(name) => OriginPattern::Account(name.into()),
        None if text.contains('@') => OriginPattern::Address(mailbox(text)),
        None => OriginPattern::Domain(Domain::parse(text).unwrap()),
    }
}

/// A route with these domains for mail of these origins.
fn route(name: &str, domains: &[&str], origins: &[&str]) -> Route {
    Route {
        name: name.into(),
        domains: domains
            .iter()
            .map(|text| DomainPattern::parse(text).unwrap())
            .collect(),
        origins: origins.iter().map(|text| origin_pattern(text)).collect(),
        transport: Transport::Maildir {
            path: "/m/{address}".into(),
            recipients: LocalRecipients::Any,
            sent_folder: "Sent".into(),
        },
    }
}

fn relay(name: &str, hosts: usize, credentials: &[Option<&str>]) -> Route {
    let host = Host {
        place: Place::Unix("/run/mta".into()),
        encryption: crate::policy::routes::Encryption::Plaintext,
        order: 0,
        weight: 1,
    };
    let credential = |origin: &Option<&str>| Credential {
        origin: origin.map(origin_pattern),
        name: "ann".into(),
        password: Arc::default(),
    };
    Route {
        transport: Transport::Relay(Hop {
            hosts: vec![host; hosts],
            trust: Trust::System,
            credentials: credentials.iter().map(credential).collect(),
            connections: 1,
            messages_per_connection: 1,
            idle: std::time::Duration::ZERO,
        }),
        ..route(name, &["*"], &[])
    }
}

/// The name of the route for `recipient`, of mail from `sender` (empty: a report) by `account`.
fn found(table: &RouteTable, recipient: &str, sender: &str, account: Option<&str>) -> String {
    let sender = ReversePath::parse(sender).unwrap();
    let origin = Origin::new(&sender, account);
    let recipient = mailbox(recipient);
    let found = table.lookup(&recipient, &origin);
    let shared = table.shared(&recipient, &origin);
    assert_eq!(found.map(|it| &it.name), shared.as_ref().map(|it| &it.name));
    found.map_or("-".to_owned(), |route| route.name.clone())
}

#[test]
fn the_most_specific_domain_wins() {
    let table = RouteTable::new(vec![
        route("rest", &["*"], &[]),
        route("ours", &["ours.example", "ü.example"], &[]),
        route("below", &["*.ours.example", "*.ü.example"], &[]),
        route("deep", &["*.deep.ours.example"], &[]),
        route("one", &["one.deep.ours.example"], &[]),
        route("literal", &["[192.0.2.1]", "[IPv6:2001:db8::1]"], &[]),
    ])
    .unwrap();
    for (recipient, name) in [
        ("a@ours.example", "ours"),
        ("a@OURS.Example", "ours"),
        ("a@xn--tda.example", "ours"),
        ("a@Ü.example", "ours"),
        ("a@sub.ours.example", "below"),
        ("a@SUB.Ours.Example", "below"),
        ("a@a.b.c.ours.example", "below"),
        ("a@sub.xn--tda.example", "below"),
        // `*.deep` is not deep itself.
        ("a@deep.ours.example", "below"),
        ("a@two.deep.ours.example", "deep"),
        ("a@x.two.deep.ours.example", "deep"),
        ("a@one.deep.ours.example", "one"),
        ("a@x.one.deep.ours.example", "deep"),
        // Labels count, not letters.
        ("a@notours.example", "rest"),
        ("a@example", "rest"),
        ("a@[192.0.2.1]", "literal"),
        ("a@[192.0.2.2]", "rest"),
        ("a@[IPv6:2001:DB8:0::1]", "literal"),
    ] {
        assert_eq!(found(&table, recipient, "", None), name, "{recipient}");
    }
    let few = RouteTable::new(vec![route("below", &["*.ours.example"], &[])]).unwrap();
    assert_eq!(found(&few, "a@ours.example", "", None), "-");
    assert_eq!(found(&few, "a@elsewhere.example", "", None), "-");
}

#[test]
fn within_a_domain_the_most_specific_origin_wins() {
    let table = RouteTable::new(vec![
        route("everybody", &["to.example"], &[]),
        route("domain", &["to.example"], &["shop.example", "ü.example"]),
        route("address", &["to.example"], &["Boss@shop.example"]),
        route("account", &["to.example"], &["account:ann"]),
    ])
    .unwrap();
    for (sender, account, name) in [
        ("", None, "everybody"),
        ("x@other.example", None, "everybody"),
        ("x@sub.shop.example", None, "everybody"),
        ("x@SHOP.example", None, "domain"),
        ("x@xn--tda.example", None, "domain"),
        ("boss@Shop.example", None, "address"),
        ("BOSS@shop.example", Some("bob"), "address"),
        ("boss@shop.example", Some("ann"), "account"),
        ("x@shop.example", Some("ann"), "account"),
        ("", Some("ann"), "account"),
        ("x@other.example", Some("bob"), "everybody"),
        // A login name is compared as it is stored.
        ("x@other.example", Some("ANN"), "everybody"),
    ] {
        let name_found = found(&table, "b@to.example", sender, account);
        assert_eq!(name_found, name, "{sender} {account:?}");
    }
}

/// The domain counts before the origin; where a level is for others, the next one is asked.
#[test]
fn a_level_for_others_passes_the_question_on() {
    let table = RouteTable::new(vec![
        route("exact", &["a.b.example"], &["one.example"]),
        route("near", &["*.b.example"], &["two.example"]),
        route("far", &["*.example"], &["three.example"]),
        route("any", &["*"], &["four.example", "account:ann"]),
        route("all", &["*"], &[]),
    ])
    .unwrap();
    for (recipient, sender, account, name) in [
        ("r@a.b.example", "x@one.example", None, "exact"),
        ("r@a.b.example", "x@two.example", None, "near"),
        ("r@a.b.example", "x@three.example", None, "far"),
        ("r@a.b.example", "x@four.example", None, "any"),
        ("r@a.b.example", "x@five.example", None, "all"),
        ("r@a.b.example", "", None, "all"),
        ("r@c.b.example", "x@one.example", None, "all"),
        ("r@c.b.example", "x@two.example", None, "near"),
        ("r@b.example", "x@two.example", None, "all"),
        // The account is more specific, but only of the last level.
        ("r@a.b.example", "x@one.example", Some("ann"), "exact"),
        ("r@a.b.example", "x@five.example", Some("ann"), "any"),
    ] {
        let name_found = found(&table, recipient, sender, account);
        assert_eq!(name_found, name, "{recipient} {sender} {account:?}");
    }
    let few = RouteTable::new(vec![route("some", &["*"], &["one.example"])]).unwrap();
    assert_eq!(found(&few, "r@a.example", "x@two.example", None), "-");
}

#[test]
fn the_reason_names_the_patterns_as_they_were_written() {
    let table = RouteTable::new(vec![
        route(
            "one",
            &["x.example", "*.B.Example"],
            &["y.example", "account:ann"],
        ),
        route("all", &["*"], &[]),
    ])
    .unwrap();
    let sender = mailbox("a@z.example");
    let reason = |recipient: &str, account| {
        let origin = Origin {
            sender: Some(&sender),
            account,
        };
        let recipient = mailbox(recipient);
        let found = table.explain(&recipient, &origin).unwrap();
        let origin = found.origin.map(ToString::to_string);
        (found.route.name.clone(), found.domain.to_string(), origin)
    };
    assert_eq!(
        reason("r@a.b.example", Some("ann")),
        (
            "one".into(),
            "*.B.Example".into(),
            Some("account ann".into())
        )
    );
    assert_eq!(
        reason("r@a.b.example", Some("bob")),
        ("all".into(), "*".into(), None)
    );
}

#[test]
fn routes_that_contradict_each_other_are_named() {
    let error = |routes| RouteTable::new(routes).unwrap_err().to_string();
    for (routes, text) in [
        (
            vec![
                route("one", &["ü.example"], &[]),
                route("two", &["XN--TDA.example"], &[]),
            ],
            "routes one and two both name the domain xn--tda.example",
        ),
        (
            vec![
                route("one", &["*.a.example"], &[]),
                route("two", &["b.example", "*.A.example"], &[]),
            ],
            "routes one and two both name the domain *.a.example",
        ),
        (
            vec![
                route("one", &["[IPv6:2001:db8::1]"], &[]),
                route("two", &["[IPv6:2001:db8:0::1]"], &[]),
            ],
            "routes one and two both name the domain [2001:db8::1]",
        ),
        (
            vec![route("one", &["*"], &[]), route("two", &["*"], &[])],
            "routes one and two are both the default (*)",
        ),
        (
            vec![
                route("one", &["*"], &["shop.example"]),
                route("two", &["*"], &["SHOP.example"]),
            ],
            "routes one and two both take mail of SHOP.example for the domain *",
        ),
        (
            vec![
                route("one", &["a.example"], &["boss@shop.example"]),
                route("two", &["a.example"], &["x.example", "Boss@shop.example"]),
            ],
            "routes one and two both take mail of Boss@shop.example for the domain a.example",
        ),
        (
            vec![
                route("one", &["a.example"], &["account:ann"]),
                route("two", &["a.example"], &["account:ann"]),
            ],
            "routes one and two both take mail of account ann for the domain a.example",
        ),
        (
            vec![route("one", &["a.example", "A.example"], &[])],
            "route one names the domain a.example twice",
        ),
        (
            vec![route("one", &["*", "*"], &["x.example", "y.example"])],
            "route one names the domain * twice",
        ),
        (
            vec![route("one", &["*"], &["x.example", "X.example"])],
            "route one names X.example twice among its senders",
        ),
        (
            vec![
                route("one", &["a.example"], &[]),
                route("one", &["b.example"], &[]),
            ],
            "two routes are called one",
        ),
        (vec![route("one", &[], &[])], "route one names no domain"),
        (vec![relay("one", 0, &[])], "route one names no host"),
        (
            vec![relay(
                "one",
                1,
                &[Some("x.example"), None, Some("X.example")],
            )],
            "route one has two sign-ins for mail of X.example",
        ),
        (
            vec![relay("one", 1, &[None, None])],
            "route one has two sign-ins for mail of everybody",
        ),
    ] {
        assert_eq!(error(routes), text);
    }
}

#[test]
fn routes_that_only_look_alike_make_a_table() {
    for routes in [
        vec![
            route("one", &["a.example"], &[]),
            route("two", &["*.a.example"], &[]),
            route("three", &["b.a.example"], &[]),
        ],
        vec![
            route("one", &["*"], &["x.example"]),
            route("two", &["*"], &["a@x.example"]),
            route("three", &["*"], &["account:a@x.example"]),
            route("four", &["*"], &[]),
        ],
        vec![relay(
            "one",
            1,
            &[Some("x.example"), None, Some("account:a")],
        )],
    ] {
        let names: Vec<_> = routes.iter().map(|route| route.name.clone()).collect();
        let table = RouteTable::new(routes).unwrap();
        let held: Vec<_> = table.routes().iter().map(|it| it.name.clone()).collect();
        assert_eq!(held, names);
    }
}

/// Memory would grow with the product.
#[test]
fn domains_and_origins_without_end_are_refused() {
    let many: Vec<String> = (0..1001).map(|n| format!("d{n}.example")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let error = RouteTable::new(vec![route("one", &many, &many)]).unwrap_err();
    assert_eq!(
        error,
        RouteError::TooManyPairs {
            route: "one".into()
        }
    );
}

/// What the table must answer, found by reading every route: the domain first, then the origin.
fn slowly<'a>(routes: &'a [Route], recipient: &Mailbox, origin: &Origin<'_>) -> Option<&'a str> {
    let asked = recipient.domain().as_str().to_ascii_lowercase();
    let mut best: Option<((usize, u8), &str)> = None;
    for route in routes {
        for pattern in &route.domains {
            let near = match pattern {
                DomainPattern::Exact(domain) if domain.as_str() == asked => usize::MAX,
                DomainPattern::Below(domain) if asked.ends_with(&format!(".{domain}")) => {
                    domain.as_str().len()
                }
                DomainPattern::Any => 0,
                DomainPattern::Exact(_) | DomainPattern::Below(_) => continue,
            };
            let ranks: Vec<u8> = match route.origins.is_empty() {
                true => vec![0],
                false => route
                    .origins
                    .iter()
                    .filter_map(|it| it.rank(origin))
                    .collect(),
            };
            for rank in ranks {
                if best.is_none_or(|(found, _)| found < (near, rank)) {
                    best = Some(((near, rank), &route.name));
                }
            }
        }
    }
    best.map(|(_, name)| name)
}

/// Few names, so that they meet: `a`, `b.a`, `a.b.a` and so on.
fn domain() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof![Just("a"), Just("b")], 1..4)
        .prop_map(|labels| labels.join("."))
}

fn any_route() -> impl Strategy<Value = (Vec<String>, Vec<String>)> {
    let pattern = prop_oneof![
        4 => domain(),
        3 => domain().prop_map(|domain| format!("*.{domain}")),
        1 => Just("*".to_owned()),
    ];
    let origin = prop_oneof![
        domain(),
        domain().prop_map(|domain| format!("x@{domain}")),
        prop_oneof![
            Just("account:ann".to_owned()),
            Just("account:bob".to_owned())
        ],
    ];
    (
        proptest::collection::vec(pattern, 1..3),
        proptest::collection::vec(origin, 0..3),
    )
}

proptest! {
    #[test]
    fn the_table_answers_as_a_search_of_all_routes(
        drawn in proptest::collection::vec(any_route(), 1..12),
        questions in proptest::collection::vec(
            (domain(), proptest::option::of(domain()), 0usize..3), 1..20),
    ) {
        let mut routes: Vec<Route> = Vec::new();
        for (n, (domains, origins)) in drawn.iter().enumerate() {
            let domains: Vec<&str> = domains.iter().map(String::as_str).collect();
            let origins: Vec<&str> = origins.iter().map(String::as_str).collect();
            routes.push(route(&format!("r{n}"), &domains, &origins));
            // What contradicts the others is for another test.
            if RouteTable::new(routes.clone()).is_err() {
                routes.pop();
            }
        }
        let table = RouteTable::new(routes.clone()).unwrap();
        for (to, from, account) in &questions {
            let recipient = mailbox(&format!("r@{to}"));
            let sender = from.as_ref().map(|domain| mailbox(&format!("x@{domain}")));
            let origin = Origin {
                sender: sender.as_ref(),
                account: [None, Some("ann"), Some("bob")][*account],
            };
            let found = table.explain(&recipient, &origin);
            prop_assert_eq!(
                found.map(|it| it.route.name.as_str()),
                slowly(&routes, &recipient, &origin)
            );
            if let Some(found) = found {
                let fits = found.origin.map(|it| it.rank(&origin));
                prop_assert!(fits != Some(None));
            }
        }
    }
}
