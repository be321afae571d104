//! Every combination of requirement and facts.

use super::*;

const REQUIREMENTS: [Requirement; 5] = [
    requirement(Level::Opportunistic, false, true),
    requirement(Level::Encrypted, false, true),
    requirement(Level::Verified, false, true),
    requirement(Level::Verified, true, true),
    requirement(Level::Opportunistic, false, false),
];

const fn requirement(level: Level, passed_on: bool, published_counts: bool) -> Requirement {
    Requirement {
        level,
        passed_on,
        published_counts,
    }
}

fn facts() -> Vec<Facts> {
    let mut all = Vec::new();
    for mx_secure in [false, true] {
        for tlsa in [
            TlsaFacts::None,
            TlsaFacts::Usable,
            TlsaFacts::Unusable,
            TlsaFacts::Failed,
        ] {
            for sts in [
                StsFacts::None,
                StsFacts::Testing { named: false },
                StsFacts::Testing { named: true },
                StsFacts::Enforced { named: false },
                StsFacts::Enforced { named: true },
            ] {
                all.push(Facts {
                    mx_secure,
                    tlsa,
                    sts,
                });
            }
        }
    }
    all
}

/// One word for each cell: `dane`, `name`, `tls`, `any`, or why not.
fn word(result: Result<Plan, Shortfall>) -> &'static str {
    match result {
        Ok(plan) => match (plan.encryption, plan.identity) {
            (Encryption::Always, Identity::Dane) => "dane",
            (Encryption::Always, Identity::WebPki) => "name",
            (Encryption::Always, Identity::Anyone) => "tls",
            (Encryption::IfOffered, Identity::Anyone) => "any",
            (Encryption::IfOffered, _) => "WRONG",
        },
        Err(Shortfall::TlsaFailed) => "-tlsa",
        Err(Shortfall::NotInPolicy) => "-sts",
        Err(Shortfall::MxNotProved) => "-mx",
    }
}

/// The whole table: rows are the facts in the order of [`facts`], columns the requirements.
///
/// R7672-2.2a, R7672-2.2b, R7672-2.2c, R7672-2.1.2b, R8461-5a, R8461-5b, R8461-2a, R8689-4.2.1a,
/// R8689-4.2.2a.
#[test]
fn every_combination_has_its_plan() {
    #[rustfmt::skip]
    let expected = [
        // opportunistic, encrypted, verified, REQUIRETLS, TLS-Required: No
        // MX not signed, no TLSA
        ["any",   "tls",   "-mx",   "-mx",   "any"], // no policy
        ["any",   "tls",   "-mx",   "-mx",   "any"], // testing, not named
        ["any",   "tls",   "name",  "name",  "any"], // testing, named
        ["-sts",  "-sts",  "-sts",  "-sts",  "any"], // enforced, not named
        ["name",  "name",  "name",  "name",  "any"], // enforced, named
        // MX not signed, usable TLSA
        ["dane",  "dane",  "-mx",   "-mx",   "any"],
        ["dane",  "dane",  "-mx",   "-mx",   "any"],
        ["dane",  "dane",  "dane",  "dane",  "any"],
        ["-sts",  "-sts",  "-sts",  "-sts",  "any"],
        ["dane",  "dane",  "dane",  "dane",  "any"],
        // MX not signed, TLSA of no use
        ["tls",   "tls",   "-mx",   "-mx",   "any"],
        ["tls",   "tls",   "-mx",   "-mx",   "any"],
        ["tls",   "tls",   "name",  "name",  "any"],
        ["-sts",  "-sts",  "-sts",  "-sts",  "any"],
        ["name",  "name",  "name",  "name",  "any"],
        // MX not signed, TLSA look-up failed
        ["-tlsa", "-tlsa", "-tlsa", "-tlsa", "any"],
        ["-tlsa", "-tlsa", "-tlsa", "-tlsa", "any"],
        ["-tlsa", "-tlsa", "-tlsa", "-tlsa", "any"],
        ["-tlsa", "-tlsa", "-tlsa", "-tlsa", "any"],
        ["-tlsa", "-tlsa", "-tlsa", "-tlsa", "any"],
        // MX signed, no TLSA
        ["any",   "tls",   "name",  "name",  "any"],
        ["any",   "tls",   "name",  "name",  "any"],
        ["any",   "tls",   "name",  "name",  "any"],
        ["-sts",  "-sts",  "-sts",  "-sts",  "any"],
        ["name",  "name",  "name",  "name",  "any"],
        // MX signed, usable TLSA
        ["dane",  "dane",  "dane",  "dane",  "any"],
        ["dane",  "dane",  "dane",  "dane",  "any"],
        ["dane",  "dane",  "dane",  "dane",  "any"],
        ["-sts",  "-sts",  "-sts",  "-sts",  "any"],
        ["dane",  "dane",  "dane",  "dane",  "any"],
        // MX signed, TLSA of no use
        ["tls",   "tls",   "name",  "name",  "any"],
        ["tls",   "tls",   "name",  "name",  "any"],
        ["tls",   "tls",   "name",  "name",  "any"],
        ["-sts",  "-sts",  "-sts",  "-sts",  "any"],
        ["name",  "name",  "name",  "name",  "any"],
        // MX signed, TLSA look-up failed
        ["-tlsa", "-tlsa", "-tlsa", "-tlsa", "any"],
        ["-tlsa", "-tlsa", "-tlsa", "-tlsa", "any"],
        ["-tlsa", "-tlsa", "-tlsa", "-tlsa", "any"],
        ["-tlsa", "-tlsa", "-tlsa", "-tlsa", "any"],
        ["-tlsa", "-tlsa", "-tlsa", "-tlsa", "any"],
    ];
    let all = facts();
    assert_eq!(all.len(), expected.len());
    for (facts, row) in all.into_iter().zip(expected) {
        let found = REQUIREMENTS.map(|required| word(plan(required, facts)));
        assert_eq!(found, row, "{facts:?}");
    }
}

#[test]
fn what_vouches_for_the_mx_is_what_there_is() {
    for facts in facts() {
        for required in REQUIREMENTS {
            let Ok(plan) = plan(required, facts) else {
                continue;
            };
            let named = matches!(
                facts.sts,
                StsFacts::Testing { named: true } | StsFacts::Enforced { named: true }
            );
            let expected = match (required.published_counts, facts.mx_secure, named) {
                (false, _, _) => MxProof::None,
                (true, true, _) => MxProof::Dnssec,
                (true, false, true) => MxProof::Sts,
                (true, false, false) => MxProof::None,
            };
            assert_eq!(plan.mx, expected, "{required:?} {facts:?}");
            assert_eq!(plan.passed_on, required.passed_on);
        }
    }
}

/// The strictest of site, domain, account and message counts.
#[test]
fn the_strictest_wins() {
    for site in Level::ALL {
        for domain in [None].into_iter().chain(Level::ALL.map(Some)) {
            for account in [None].into_iter().chain(Level::ALL.map(Some)) {
                let of = |tls| {
                    let level = account;
                    Requirement::of(Protection { level, tls }, site, domain)
                };
                let strictest = [Some(site), domain, account];
                let strictest = strictest.into_iter().flatten().max().unwrap();
                assert_eq!(
                    of(TlsWish::Unsaid),
                    requirement(strictest, false, true),
                    "{site} {domain:?} {account:?}"
                );
                assert_eq!(
                    of(TlsWish::Required),
                    requirement(Level::Verified, true, true)
                );
                let lowered = of(TlsWish::Optional);
                match domain {
                    None => assert_eq!(lowered, requirement(Level::Opportunistic, false, false)),
                    Some(level) => assert_eq!(lowered, requirement(level, false, true)),
                }
            }
        }
    }
}

#[test]
fn only_verified_mail_is_strict() {
    let strict = REQUIREMENTS.map(Requirement::is_strict);
    assert_eq!(strict, [false, false, true, true, false]);
    let words = REQUIREMENTS.map(|it| it.to_string());
    assert_eq!(
        words,
        [
            "opportunistic",
            "encrypted",
            "verified",
            "REQUIRETLS",
            "opportunistic"
        ]
    );
}

/// R8689-4.1a, R8689-4.1b, R8689-4.1c.
#[test]
fn the_envelope_counts_before_the_header_and_the_account_before_both() {
    use AccountTls::{AsAsked, MayLower, Require};
    use TlsWish::{Optional, Required, Unsaid};
    for (account, asked, lowered, expected) in [
        (AsAsked, false, false, Some(Unsaid)),
        (AsAsked, true, false, Some(Required)),
        (AsAsked, true, true, Some(Required)),
        (AsAsked, false, true, None),
        (Require, false, false, Some(Required)),
        (Require, false, true, Some(Required)),
        (MayLower, false, false, Some(Unsaid)),
        (MayLower, false, true, Some(Optional)),
        (MayLower, true, true, Some(Required)),
    ] {
        let account = AccountProtection {
            level: Some(Level::Verified),
            tls: account,
        };
        let found = protection(account, asked, lowered);
        assert_eq!(
            found.map(|it| it.tls),
            expected,
            "{account:?} {asked} {lowered}"
        );
        assert!(found.is_none_or(|it| it.level == Some(Level::Verified)));
    }
}
