//! Domains, accounts and addresses in a real database.

use super::*;

const NOW: SystemTime = UNIX_EPOCH;

struct Fixture {
    store: Store,
    _folder: tempfile::TempDir,
}

async fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("test.sqlite"))
        .await
        .unwrap();
    store.add_domain(&domain("Example.org"), NOW).await.unwrap();
    Fixture {
        store,
        _folder: folder,
    }
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn exact(text: &str) -> AddressPattern {
    AddressPattern::Exact(Mailbox::parse(text).unwrap())
}

async fn add(store: &Store, name: &str) -> Result<AccountId, AccountError> {
    let account = NewAccount {
        name,
        password_hash: &"$hash".into(),
        scram: None,
        address: &Mailbox::parse(name).unwrap(),
    };
    store.add_account(account, NOW).await
}

#[tokio::test]
async fn domains_are_kept_in_canonical_form() {
    let f = fixture().await;
    f.store.add_domain(&domain("ü.example"), NOW).await.unwrap();
    for again in ["EXAMPLE.ORG", "xn--tda.example", "Ü.example"] {
        let result = f.store.add_domain(&domain(again), NOW).await;
        assert!(
            matches!(result, Err(AccountError::AlreadyExists(_))),
            "{again}: {result:?}"
        );
    }
    assert_eq!(
        f.store.domains().await.unwrap(),
        ["example.org", "xn--tda.example"]
    );
    f.store.remove_domain(&domain("ü.EXAMPLE")).await.unwrap();
    let result = f.store.remove_domain(&domain("ü.example")).await;
    assert!(matches!(result, Err(AccountError::NotFound(_))));
}

#[tokio::test]
async fn a_domain_in_use_is_not_removed() {
    let f = fixture().await;
    add(&f.store, "alice@example.org").await.unwrap();
    let result = f.store.remove_domain(&domain("example.org")).await;
    assert!(
        matches!(result, Err(AccountError::InUse { accounts: 1, .. })),
        "{result:?}"
    );
    f.store.remove_account("alice@example.org").await.unwrap();
    f.store.remove_domain(&domain("example.org")).await.unwrap();
}

#[tokio::test]
async fn an_account_is_read_as_it_was_added() {
    let f = fixture().await;
    let id = add(&f.store, "alice@example.org").await.unwrap();
    f.store
        .add_address(
            "alice@example.org",
            &AddressPattern::Domain(domain("EXAMPLE.org")),
        )
        .await
        .unwrap();
    let by_name = f
        .store
        .account_by_name("alice@example.org")
        .await
        .unwrap()
        .unwrap();
    let by_id = f.store.account_by_id(id).await.unwrap().unwrap();
    for account in [by_name, by_id] {
        assert_eq!((account.id, account.enabled), (id, true));
        assert_eq!(account.name, "alice@example.org");
        assert_eq!(account.address.to_string(), "alice@example.org");
        assert_eq!(
            account.patterns,
            [
                exact("alice@example.org"),
                AddressPattern::Domain(domain("EXAMPLE.org"))
            ]
        );
        assert_eq!(account.created_at, NOW);
        assert!(!format!("{account:?}").contains("$hash"));
    }
    assert!(f.store.account_by_name("bob").await.unwrap().is_none());
    assert_eq!(f.store.accounts().await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_account_that_cannot_be_added_leaves_nothing_behind() {
    let f = fixture().await;
    let result = add(&f.store, "bob@foreign.example").await;
    assert!(
        matches!(result, Err(AccountError::UnknownDomain(_))),
        "{result:?}"
    );
    assert!(f.store.accounts().await.unwrap().is_empty());
    add(&f.store, "alice@example.org").await.unwrap();
    let result = add(&f.store, "alice@example.org").await;
    assert!(
        matches!(result, Err(AccountError::AlreadyExists(_))),
        "{result:?}"
    );
}

#[tokio::test]
async fn changes_to_what_does_not_exist_are_errors() {
    let f = fixture().await;
    let pattern = exact("x@example.org");
    for result in [
        f.store.set_enabled("nobody", false).await,
        f.store
            .set_password("nobody", &"$new".into(), None, NOW)
            .await,
        f.store.remove_account("nobody").await,
        f.store.add_address("nobody", &pattern).await,
        f.store.remove_address("nobody", &pattern).await,
    ] {
        assert!(
            matches!(result, Err(AccountError::NotFound(_))),
            "{result:?}"
        );
    }
}

#[tokio::test]
async fn addresses_may_be_shared_and_are_taken_away_one_by_one() {
    let f = fixture().await;
    let sales = exact("Sales@example.org");
    for name in ["alice@example.org", "bob@example.org"] {
        add(&f.store, name).await.unwrap();
        f.store.add_address(name, &sales).await.unwrap();
    }
    let again = f
        .store
        .add_address("alice@example.org", &exact("sales@EXAMPLE.org"))
        .await;
    assert!(
        matches!(again, Err(AccountError::AlreadyExists(_))),
        "{again:?}"
    );
    f.store
        .remove_address("alice@example.org", &sales)
        .await
        .unwrap();
    assert!(f.store.has_mailbox("sales@example.org").await.unwrap());
    let own = f
        .store
        .remove_address("alice@example.org", &exact("ALICE@example.org"))
        .await;
    assert!(matches!(own, Err(AccountError::OwnAddress(_))), "{own:?}");
    let gone = f.store.remove_address("alice@example.org", &sales).await;
    assert!(matches!(gone, Err(AccountError::NotFound(_))), "{gone:?}");
}

#[tokio::test]
async fn mailboxes_are_exact_addresses_of_enabled_accounts_and_postmasters() {
    let f = fixture().await;
    add(&f.store, "alice@example.org").await.unwrap();
    add(&f.store, "bob@example.org").await.unwrap();
    f.store.set_enabled("bob@example.org", false).await.unwrap();
    f.store
        .add_address(
            "alice@example.org",
            &AddressPattern::Domain(domain("example.org")),
        )
        .await
        .unwrap();
    for (folded, has) in [
        ("alice@example.org", true),
        ("postmaster@example.org", true),
        ("bob@example.org", false),
        ("carol@example.org", false),
        ("example.org", false),
        ("postmaster@foreign.example", false),
        ("' OR 1 = 1 --", false),
    ] {
        assert_eq!(f.store.has_mailbox(folded).await.unwrap(), has, "{folded}");
    }
}

#[tokio::test]
async fn a_hash_is_upgraded_only_while_the_password_is_the_same() {
    let f = fixture().await;
    let id = add(&f.store, "alice@example.org").await.unwrap();
    let (old, new) = ("$hash".into(), "$better".into());
    assert!(f.store.upgrade_hash(id, &old, &new).await.unwrap());
    assert!(!f.store.upgrade_hash(id, &old, &new).await.unwrap());
    let account = f.store.account_by_id(id).await.unwrap().unwrap();
    assert_eq!(account.password_hash.expose_secret(), "$better");
}

#[tokio::test]
async fn known_networks_are_kept_for_their_time() {
    let f = fixture().await;
    let id = add(&f.store, "alice@example.org").await.unwrap();
    let day = Duration::from_secs(86_400);
    let (home, work) = (
        "192.0.2.1/32".parse().unwrap(),
        "2001:db8::/64".parse().unwrap(),
    );
    for (network, at) in [
        (home, NOW + 2 * day),
        (home, NOW + day),
        (work, NOW + 5 * day),
    ] {
        f.store.record_known_network(id, network, at).await.unwrap();
    }
    let known = f.store.known_networks(id, NOW, 10).await.unwrap();
    assert_eq!(known, [(work, NOW + 5 * day), (home, NOW + 2 * day)]);
    assert_eq!(f.store.known_networks(id, NOW, 1).await.unwrap().len(), 1);
    let pruned = f.store.prune_known_networks(NOW + 3 * day).await.unwrap();
    assert_eq!(pruned, 1);
    let known = f.store.known_networks(id, NOW, 10).await.unwrap();
    assert_eq!(known, [(work, NOW + 5 * day)]);
    // An account that is gone is not brought back by what was noted late.
    f.store.remove_account("alice@example.org").await.unwrap();
    f.store.record_known_network(id, home, NOW).await.unwrap();
    assert!(
        f.store
            .known_networks(id, NOW, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn an_id_is_never_used_again() {
    let f = fixture().await;
    let first = add(&f.store, "alice@example.org").await.unwrap();
    f.store.remove_account("alice@example.org").await.unwrap();
    let second = add(&f.store, "alice@example.org").await.unwrap();
    assert!(second > first);
}

#[tokio::test]
async fn what_an_account_asks_of_tls_is_kept() {
    let f = fixture().await;
    add(&f.store, "alice@example.org").await.unwrap();
    let found = || async {
        let account = f.store.account_by_name("alice@example.org").await;
        account.unwrap().unwrap().protection
    };
    assert_eq!(found().await, AccountProtection::default());
    for level in [
        None,
        Some(Level::Opportunistic),
        Some(Level::Encrypted),
        Some(Level::Verified),
    ] {
        for tls in [
            AccountTls::AsAsked,
            AccountTls::Require,
            AccountTls::MayLower,
        ] {
            let asked = AccountProtection { level, tls };
            f.store
                .set_protection("alice@example.org", asked)
                .await
                .unwrap();
            assert_eq!(found().await, asked);
        }
    }
    let nobody = f
        .store
        .set_protection("bob@example.org", AccountProtection::default());
    assert!(matches!(nobody.await, Err(AccountError::NotFound(_))));
}

#[tokio::test]
async fn every_kind_of_pattern_is_kept_and_taken_away_as_what_it_is() {
    let f = fixture().await;
    let name = "alice@example.org";
    add(&f.store, name).await.unwrap();
    let patterns = [
        AddressPattern::Tagged(Mailbox::parse(name).unwrap()),
        AddressPattern::Domain(domain("example.org")),
        AddressPattern::Subdomains(domain("example.org")),
    ];
    for pattern in &patterns {
        f.store.add_address(name, pattern).await.unwrap();
        let again = f.store.add_address(name, pattern).await;
        assert!(matches!(again, Err(AccountError::AlreadyExists(_))));
    }
    let kept = async || {
        let account = f.store.account_by_name(name).await.unwrap().unwrap();
        let shown = account.patterns.iter().map(AddressPattern::to_string);
        shown.collect::<Vec<_>>()
    };
    assert_eq!(
        kept().await,
        [
            "alice@example.org",
            "alice+*@example.org",
            "*@example.org",
            "*@*.example.org"
        ]
    );
    for pattern in &patterns {
        f.store.remove_address(name, pattern).await.unwrap();
    }
    assert_eq!(kept().await, ["alice@example.org"]);
    let elsewhere = AddressPattern::Subdomains(domain("example.net"));
    let unknown = f.store.add_address(name, &elsewhere).await;
    assert!(matches!(unknown, Err(AccountError::UnknownDomain(_))));
}
