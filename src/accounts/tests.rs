//! Sign-ins against a real database, with hashes that cost next to nothing.

use std::{
    sync::atomic::Ordering,
    time::{Duration, SystemTime},
};

use secrecy::ExposeSecret;

use super::*;
use crate::{
    envelope::AccountTls,
    policy::{sending::AddressPattern, throttle::Limit},
    sasl::{
        Claim, Credentials, Exchange, Lookup, Mechanism, NONCE_OCTETS, ScramClient, Step,
        Surroundings,
    },
    session::{KeysVerdict, SignInVerdict},
    smtp::Domain,
    store::{
        accounts::NewAccount,
        app_passwords::{Narrowing, NewAppPassword},
    },
};

const HOME: &str = "192.0.2.1";
const PASSWORD: &str = "correct horse";

struct Fixture {
    store: Store,
    accounts: Arc<Accounts>,
    _folder: tempfile::TempDir,
}

fn options() -> Options {
    Options {
        argon2_memory_kib: 8,
        argon2_iterations: 1,
        argon2_parallelism: 1,
        ..Options::default()
    }
}

/// Alice, and Dora who is disabled; both with the same password.
async fn fixture(options: Options) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("test.sqlite"))
        .await
        .unwrap();
    let now = SystemTime::now();
    let domain = Domain::parse("example.org").unwrap();
    store.add_domain(&domain, now).await.unwrap();
    for name in ["alice@example.org", "dora@example.org"] {
        let made = hash_password(&PASSWORD.into(), &options, None).unwrap();
        let account = NewAccount {
            name,
            password_hash: &made.hash,
            scram: made.scram.as_ref(),
            address: &Mailbox::parse(name).unwrap(),
        };
        store.add_account(account, now).await.unwrap();
    }
    store.set_enabled("dora@example.org", false).await.unwrap();
    Fixture {
        accounts: Accounts::open(store.clone(), options),
        store,
        _folder: folder,
    }
}

impl Fixture {
    async fn sign_in(&self, peer: &str, name: &str, password: &str) -> String {
        self.sign_in_as(None, peer, name, password).await
    }

    async fn sign_in_as(
        &self,
        authzid: Option<&str>,
        peer: &str,
        name: &str,
        password: &str,
    ) -> String {
        let credentials = Credentials {
            authzid: authzid.map(Into::into),
            authcid: name.into(),
            password: password.into(),
        };
        self.claim(peer, Claim::Password(credentials)).await
    }

    async fn claim(&self, peer: &str, claim: Claim) -> String {
        match self.accounts.sign_in(peer.parse().unwrap(), claim).await {
            SignInVerdict::Granted(identity) | SignInVerdict::Proved { identity, .. } => {
                format!("granted {identity}")
            }
            SignInVerdict::Refused => "refused".into(),
            SignInVerdict::Throttled => "throttled".into(),
            SignInVerdict::Unavailable => "unavailable".into(),
        }
    }

    fn hashes(&self) -> u64 {
        self.accounts.hashes.load(Ordering::Relaxed)
    }
}

const ALICE: &str = "alice@example.org";
const GRANTED: &str = "granted alice@example.org";

/// R4954-4m, R4422-3a, S18.
#[tokio::test]
async fn verdicts() {
    let f = fixture(options()).await;
    for (authzid, name, password, verdict) in [
        (None, ALICE, PASSWORD, GRANTED),
        (None, "ALICE@Example.ORG", PASSWORD, GRANTED),
        (Some(""), ALICE, PASSWORD, GRANTED),
        (Some(ALICE), ALICE, PASSWORD, GRANTED),
        (Some("Alice@EXAMPLE.org"), ALICE, PASSWORD, GRANTED),
        (Some("dora@example.org"), ALICE, PASSWORD, "refused"),
        (Some("bad name"), ALICE, PASSWORD, "refused"),
        (None, ALICE, "wrong", "refused"),
        (None, ALICE, "", "refused"),
        (None, "alice", PASSWORD, "refused"),
        (None, "nobody@example.org", PASSWORD, "refused"),
        (None, "bad name", PASSWORD, "refused"),
        (None, "dora@example.org", PASSWORD, "refused"),
    ] {
        let given = f.sign_in_as(authzid, HOME, name, password).await;
        assert_eq!(given, verdict, "{authzid:?} {name} {password}");
    }
}

/// S26: whatever is wrong, one hash is computed; and a repeat costs none, whatever is wrong.
#[tokio::test]
async fn every_refusal_costs_one_hash_and_its_repeat_none() {
    let f = fixture(options()).await;
    for (name, password) in [
        (ALICE, "wrong password"),
        ("nobody@example.org", PASSWORD),
        ("dora@example.org", PASSWORD),
        ("dora@example.org", "wrong password"),
        ("bad name", PASSWORD),
    ] {
        for hashes in [1, 0] {
            let before = f.hashes();
            assert_eq!(f.sign_in(HOME, name, password).await, "refused");
            assert_eq!(f.hashes() - before, hashes, "{name} {password}");
        }
    }
    let before = f.hashes();
    assert_eq!(
        f.sign_in("192.0.2.2", ALICE, "wrong password").await,
        "refused"
    );
    assert_eq!(
        f.hashes() - before,
        1,
        "a repeat is known at its place only"
    );
}

#[tokio::test]
async fn a_good_sign_in_is_remembered_for_its_time() {
    for (remember, hashes) in [(Duration::from_secs(600), 1), (Duration::ZERO, 3)] {
        let f = fixture(Options {
            remember,
            ..options()
        })
        .await;
        for _ in 0..3 {
            assert_eq!(f.sign_in(HOME, ALICE, PASSWORD).await, GRANTED);
        }
        assert_eq!(f.hashes(), hashes, "{remember:?}");
    }
}

/// A remembered sign-in asks the store nothing: it works where the store is gone.
#[tokio::test]
async fn a_remembered_sign_in_does_not_touch_the_store() {
    let f = fixture(options()).await;
    assert_eq!(f.sign_in(HOME, ALICE, PASSWORD).await, GRANTED);
    f.accounts.settle().await;
    f.store.cut_off().await;
    assert_eq!(f.sign_in(HOME, ALICE, PASSWORD).await, GRANTED);
    f.accounts.changed();
    assert_eq!(f.sign_in(HOME, ALICE, PASSWORD).await, "unavailable");
}

#[tokio::test]
async fn many_at_once_share_one_hash() {
    let f = fixture(options()).await;
    let mut sessions = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let accounts = Arc::clone(&f.accounts);
        sessions.spawn(async move {
            let credentials = Credentials {
                authzid: None,
                authcid: ALICE.into(),
                password: PASSWORD.into(),
            };
            accounts
                .sign_in(HOME.parse().unwrap(), Claim::Password(credentials))
                .await
        });
    }
    while let Some(verdict) = sessions.join_next().await {
        assert!(matches!(verdict.unwrap(), SignInVerdict::Granted(_)));
    }
    assert_eq!(f.hashes(), 1);
    assert_eq!(f.accounts.outcomes.in_flight(), 0);
}

#[tokio::test]
async fn a_change_acts_at_once() {
    let f = fixture(options()).await;
    assert_eq!(f.sign_in(HOME, ALICE, PASSWORD).await, GRANTED);
    let new = hash_password(&"battery staple".into(), &options(), None).unwrap();
    f.store
        .set_password(ALICE, &new.hash, None, SystemTime::now())
        .await
        .unwrap();
    f.accounts.changed();
    assert_eq!(f.sign_in(HOME, ALICE, PASSWORD).await, "refused");
    assert_eq!(f.sign_in(HOME, ALICE, "battery staple").await, GRANTED);
    f.store.set_enabled(ALICE, false).await.unwrap();
    f.accounts.changed();
    assert_eq!(f.sign_in(HOME, ALICE, "battery staple").await, "refused");
    f.store.remove_account(ALICE).await.unwrap();
    f.accounts.changed();
    assert_eq!(f.sign_in(HOME, ALICE, "battery staple").await, "refused");
}

/// S27: nobody waits in a line without end.
#[tokio::test]
async fn a_full_waiting_line_answers_at_once() {
    let f = fixture(Options {
        waiting: 0,
        ..options()
    })
    .await;
    let settings = f.accounts.settings.load_full();
    let all = u32::try_from(settings.options.hashes_at_once()).unwrap();
    let busy = settings.workers.acquire_many(all).await.unwrap();
    assert_eq!(f.sign_in(HOME, ALICE, PASSWORD).await, "unavailable");
    drop(busy);
    assert_eq!(f.sign_in(HOME, ALICE, PASSWORD).await, GRANTED);
}

/// S28: guesses over the limit are not hashed, from one address or at one name.
#[tokio::test]
async fn guessing_is_stopped_before_it_is_hashed() {
    let f = fixture(options()).await;
    for n in 0..12 {
        let verdict = f.sign_in(HOME, &format!("u{n}"), "guess").await;
        assert_eq!(verdict, "refused", "{n}");
    }
    let before = f.hashes();
    assert_eq!(f.sign_in(HOME, ALICE, "guess").await, "throttled");
    // Not even a right one: else the remembered sign-ins could be guessed at without limit.
    assert_eq!(f.sign_in(HOME, ALICE, PASSWORD).await, "throttled");
    assert_eq!(f.hashes(), before);
    assert_eq!(f.sign_in("198.51.100.1", ALICE, PASSWORD).await, GRANTED);
}

/// S29: the owner gets in from where they are known, whatever others do, restart or not.
#[tokio::test]
async fn a_known_place_gets_in_while_the_account_is_under_attack() {
    let mut f = fixture(options()).await;
    assert_eq!(f.sign_in(HOME, ALICE, PASSWORD).await, GRANTED);
    f.accounts.settle().await;
    for restart in [false, true] {
        if restart {
            f.accounts = Accounts::open(f.store.clone(), options());
        }
        let mut stopped = 0;
        for n in 0..100 {
            let from = format!("10.0.{n}.1");
            let verdict = f.sign_in(&from, ALICE, &format!("guess {n}")).await;
            stopped += u32::from(verdict == "throttled");
        }
        assert!(stopped > 50, "{stopped}");
        assert_eq!(f.sign_in("10.1.0.1", ALICE, PASSWORD).await, "throttled");
        assert_eq!(f.sign_in(HOME, ALICE, PASSWORD).await, GRANTED);
    }
}

#[tokio::test]
async fn exempt_networks_and_limits_are_taken_on_reload() {
    let f = fixture(options()).await;
    let limit = Limit {
        minute: 1,
        hour: 1,
        day: 1,
    };
    let mut new = options();
    new.throttle.address = limit;
    f.accounts.reload(new.clone());
    assert_eq!(f.sign_in(HOME, ALICE, "wrong").await, "refused");
    assert_eq!(f.sign_in(HOME, ALICE, PASSWORD).await, "throttled");
    new.exempt = vec!["192.0.2.0/24".parse().unwrap()];
    f.accounts.reload(new);
    assert_eq!(f.sign_in(HOME, ALICE, PASSWORD).await, GRANTED);
}

#[tokio::test]
async fn an_outdated_hash_is_made_anew_behind_the_reply() {
    let f = fixture(options()).await;
    let new = Options {
        argon2_memory_kib: 16,
        ..options()
    };
    f.accounts.reload(new);
    assert_eq!(f.sign_in(HOME, ALICE, "wrong").await, "refused");
    f.accounts.settle().await;
    let stored = || async { f.store.account_by_name(ALICE).await.unwrap().unwrap() };
    let before = stored().await;
    assert!(before.password_hash.expose_secret().contains("m=8,"));
    assert_eq!(f.sign_in(HOME, ALICE, PASSWORD).await, GRANTED);
    f.accounts.settle().await;
    let after = stored().await;
    assert!(after.password_hash.expose_secret().contains("m=16,"));
    assert_eq!(after.password_changed_at, before.password_changed_at);
    let hashes = f.hashes();
    assert_eq!(f.sign_in(HOME, ALICE, PASSWORD).await, GRANTED);
    assert_eq!(f.hashes(), hashes);
}

#[tokio::test]
async fn accounts_and_mailboxes_are_as_they_stand() {
    let f = fixture(options()).await;
    let stored = f.store.account_by_name(ALICE).await.unwrap().unwrap();
    let sales = Mailbox::parse("sales@example.org").unwrap();
    let alice = Identity {
        account: stored.id,
        name: ALICE.into(),
        app_password: None,
    };
    let nobody = Identity {
        account: AccountId(-1),
        ..alice.clone()
    };
    let account = f.accounts.account(&alice).await.unwrap().unwrap();
    assert_eq!(account.address.to_string(), ALICE);
    assert!(account.rights.may_send_as(&account.address));
    assert!(!account.rights.may_send_as(&sales));
    assert!(!f.accounts.has_mailbox(&sales).await.unwrap());
    f.store
        .add_address(ALICE, &AddressPattern::Exact(sales.clone()))
        .await
        .unwrap();
    assert!(!f.accounts.has_mailbox(&sales).await.unwrap(), "remembered");
    f.accounts.changed();
    assert!(f.accounts.has_mailbox(&sales).await.unwrap());
    let account = f.accounts.account(&alice).await.unwrap().unwrap();
    assert!(account.rights.may_send_as(&sales));
    assert!(f.accounts.account(&nobody).await.unwrap().is_none());
}

/// S27: however many strangers guess, whoever comes from a known place waits for a hash or two.
#[tokio::test]
async fn owners_overtake_strangers() {
    let f = fixture(Options {
        workers: 1,
        // Long enough that nothing else counts.
        argon2_memory_kib: 1_024,
        remember: Duration::ZERO,
        ..options()
    })
    .await;
    assert_eq!(f.sign_in(HOME, ALICE, PASSWORD).await, GRANTED);
    let f = Arc::new(f);
    let before = f.hashes();
    let guesses: Vec<_> = (0..30)
        .map(|n| {
            let f = Arc::clone(&f);
            let (peer, guess) = (format!("10.{n}.0.1"), format!("guess {n}"));
            tokio::spawn(async move { f.sign_in(&peer, ALICE, &guess).await })
        })
        .collect();
    while f.hashes() == before {
        tokio::task::yield_now().await;
    }
    assert_eq!(f.sign_in(HOME, ALICE, PASSWORD).await, GRANTED);
    let hashes = f.hashes() - before;
    assert!(hashes <= 5, "{hashes} hashes were computed first");
    for guess in guesses {
        assert!(["refused", "throttled"].contains(&guess.await.unwrap().as_str()));
    }
}

/// What a client that knows `password` makes of the keys that it is given.
async fn prove(f: &Fixture, name: &str, password: &str) -> Claim {
    let (mut client, first) = ScramClient::start(name, &[3; NONCE_OCTETS]).unwrap();
    let (mut server, step) = Exchange::start(
        Mechanism::ScramSha256,
        Some(&first),
        Surroundings::default(),
    );
    let Step::Need(lookup) = step else {
        panic!("{step:?}")
    };
    let KeysVerdict::Given { ring, random } = f.accounts.keys(HOME.parse().unwrap(), &lookup).await
    else {
        panic!("no keys");
    };
    let Step::Challenge(challenge) = server.keys(ring, &random) else {
        panic!("no challenge");
    };
    let derivation = client.challenged(&challenge, &password.into()).unwrap();
    match server.respond(&client.derived(&derivation.run())) {
        Step::Done(claim) => claim,
        other => panic!("{other:?}"),
    }
}

impl Fixture {
    async fn prove(&self, name: &str, password: &str) -> String {
        let claim = prove(self, name, password).await;
        self.claim(HOME, claim).await
    }
}

fn with_scram() -> Options {
    Options {
        scram: true,
        scram_iterations: 4_096,
        ..options()
    }
}

/// R5802-2.2a, R4954-4m.
#[tokio::test]
async fn a_password_can_be_proved_instead_of_shown() {
    let f = fixture(with_scram()).await;
    assert_eq!(f.prove(ALICE, PASSWORD).await, GRANTED);
    assert_eq!(f.prove("Alice@EXAMPLE.org", PASSWORD).await, GRANTED);
    assert_eq!(f.prove(ALICE, "wrong password").await, "refused");
    assert_eq!(f.prove("nobody@example.org", PASSWORD).await, "refused");
    assert_eq!(f.prove("dora@example.org", PASSWORD).await, "refused");
    assert_eq!(f.hashes(), 0, "nothing is hashed for a proof");
    assert_eq!(f.sign_in(HOME, ALICE, PASSWORD).await, GRANTED);
}

/// S26.
#[tokio::test]
async fn a_name_without_keys_looks_like_one_with_keys() {
    let f = fixture(with_scram()).await;
    let new = hash_password(&PASSWORD.into(), &options(), None).unwrap();
    let now = SystemTime::now();
    f.store
        .set_password("dora@example.org", &new.hash, None, now)
        .await
        .unwrap();
    let ring = async |name: &str| {
        let lookup = Lookup {
            authcid: name.into(),
            first: None,
        };
        match f.accounts.keys(HOME.parse().unwrap(), &lookup).await {
            KeysVerdict::Given { ring, .. } => (ring.salt, ring.iterations, ring.keys.len()),
            KeysVerdict::Relayed { .. } | KeysVerdict::Unavailable => panic!("unavailable"),
        }
    };
    let alice = ring(ALICE).await;
    let mut salts = vec![alice.0.clone()];
    for name in ["dora@example.org", "nobody@example.org", "no body", "x"] {
        let given = ring(name).await;
        assert_eq!(given, ring(name).await, "{name}: stays the same");
        let seen = (given.0.len(), given.1, given.2);
        assert_eq!(seen, (alice.0.len(), alice.1, alice.2), "{name}");
        assert!(!salts.contains(&given.0), "{name}");
        salts.push(given.0);
    }
    // It also stays the same over a restart, or a restart would tell.
    let again = Accounts::open(f.store.clone(), with_scram());
    let lookup = Lookup {
        authcid: "nobody@example.org".into(),
        first: None,
    };
    let KeysVerdict::Given { ring, .. } = again.keys(HOME.parse().unwrap(), &lookup).await else {
        panic!("unavailable");
    };
    assert_eq!(ring.salt, salts[2]);
}

#[tokio::test]
async fn a_proof_is_worth_nothing_once_its_password_is_gone() {
    let f = fixture(with_scram()).await;
    let claim = prove(&f, ALICE, PASSWORD).await;
    let new = hash_password(&"battery staple".into(), &with_scram(), None).unwrap();
    let now = SystemTime::now();
    f.store
        .set_password(ALICE, &new.hash, new.scram.as_ref(), now)
        .await
        .unwrap();
    f.accounts.changed();
    assert_eq!(f.claim(HOME, claim).await, "refused");
    assert_eq!(f.prove(ALICE, "battery staple").await, GRANTED);
    let claim = prove(&f, ALICE, "battery staple").await;
    f.accounts.reload(options());
    assert_eq!(f.claim(HOME, claim).await, "refused", "SCRAM is off");
}

/// S28.
#[tokio::test]
async fn proofs_that_fail_are_guesses() {
    let f = fixture(with_scram()).await;
    for n in 0..12 {
        let verdict = f.prove(&format!("u{n}"), "guess").await;
        assert_eq!(verdict, "refused");
    }
    assert_eq!(f.prove(ALICE, PASSWORD).await, "throttled");
    assert_eq!(f.sign_in(HOME, ALICE, PASSWORD).await, "throttled");
}

#[tokio::test]
async fn keys_are_unavailable_where_the_store_is() {
    let f = fixture(with_scram()).await;
    f.store.cut_off().await;
    let lookup = Lookup {
        authcid: ALICE.into(),
        first: None,
    };
    let verdict = f.accounts.keys(HOME.parse().unwrap(), &lookup).await;
    assert!(matches!(verdict, KeysVerdict::Unavailable));
}

impl Fixture {
    /// Makes an app password for alice.
    async fn app(&self, label: &str, narrowing: Narrowing) -> String {
        let alice = self.store.account_by_name(ALICE).await.unwrap().unwrap();
        let made = make_app_password(&self.store, &alice, 4_096).await.unwrap();
        let new = NewAppPassword {
            label,
            keyed_hash: made.keyed_hash,
            salt: &made.salt,
            iterations: made.iterations,
            keys: &made.keys,
            narrowing: &narrowing,
            per_day: None,
        };
        let now = SystemTime::now();
        self.store.add_app_password(ALICE, new, now).await.unwrap();
        self.accounts.changed();
        made.password.expose_secret().to_owned()
    }

    /// Who signs in with this password.
    async fn identity(&self, password: &str) -> Identity {
        let claim = Claim::Password(Credentials {
            authzid: None,
            authcid: ALICE.into(),
            password: password.into(),
        });
        match self.accounts.sign_in(HOME.parse().unwrap(), claim).await {
            SignInVerdict::Granted(identity) => identity,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn app_passwords_sign_in_without_a_slow_hash_and_can_be_proved() {
    let f = fixture(with_scram()).await;
    let phone = f.app("phone", Narrowing::default()).await;
    let tablet = f.app("tablet", Narrowing::default()).await;
    for password in [&phone, &tablet] {
        assert_eq!(f.sign_in(HOME, ALICE, password).await, GRANTED);
        assert_eq!(f.prove(ALICE, password).await, GRANTED);
    }
    // As somebody copies it by hand.
    let by_hand = phone.replace('-', " ").to_uppercase();
    assert_eq!(f.sign_in(HOME, ALICE, &by_hand).await, GRANTED);
    assert_eq!(f.hashes(), 0);
    for password in [PASSWORD, "wrong"] {
        let right = password == PASSWORD;
        let verdict = if right { GRANTED } else { "refused" };
        assert_eq!(f.sign_in(HOME, ALICE, password).await, verdict);
        assert_eq!(f.prove(ALICE, password).await, verdict);
    }
    assert_eq!(f.sign_in(HOME, "dora@example.org", &phone).await, "refused");
    f.accounts.settle().await;
    let alice = f.store.account_by_name(ALICE).await.unwrap().unwrap();
    let stored = f.store.app_passwords(alice.id).await.unwrap();
    let uses: Vec<_> = stored.iter().map(|app| (&*app.label, app.uses)).collect();
    assert_eq!(uses, [("phone", 3), ("tablet", 2)]);
    let (_, from) = stored[0].last_used.unwrap();
    assert_eq!(from, HOME.parse().unwrap());
}

#[tokio::test]
async fn an_app_password_serves_within_its_network_and_time() {
    let f = fixture(with_scram()).await;
    let home = Narrowing {
        networks: vec!["192.0.2.0/24".parse().unwrap()],
        ..Narrowing::default()
    };
    let printer = f.app("printer", home).await;
    assert_eq!(f.sign_in("192.0.2.77", ALICE, &printer).await, GRANTED);
    for _ in 0..20 {
        let verdict = f.sign_in("198.51.100.1", ALICE, &printer).await;
        assert_eq!(verdict, "refused", "right, but from elsewhere: no guess");
    }
    let ended = Narrowing {
        expires_at: Some(SystemTime::now() - Duration::from_secs(1)),
        ..Narrowing::default()
    };
    let guest = f.app("guest", ended).await;
    assert_eq!(f.sign_in(HOME, ALICE, &guest).await, "refused");
    assert_eq!(f.prove(ALICE, &guest).await, "refused");
    let soon = Narrowing {
        expires_at: Some(SystemTime::now() + Duration::from_millis(2_500)),
        ..Narrowing::default()
    };
    let soon = f.app("soon", soon).await;
    let identity = f.identity(&soon).await;
    let account = async || f.accounts.account(&identity).await.unwrap();
    assert!(account().await.unwrap().ends_at.is_some());
}

#[tokio::test]
async fn an_account_is_seen_as_far_as_its_app_password_reaches() {
    let f = fixture(options()).await;
    let scanner: Mailbox = Mailbox::parse("scanner@example.org").unwrap();
    let pattern = AddressPattern::Exact(scanner.clone());
    f.store.add_address(ALICE, &pattern).await.unwrap();
    let narrowing = Narrowing {
        send_as: vec![scanner.clone()],
        to: vec![Domain::parse("example.org").unwrap()],
        require_tls: true,
        hold: false,
        ..Narrowing::default()
    };
    let password = f.app("scanner", narrowing).await;
    let identity = f.identity(&password).await;
    let account = f.accounts.account(&identity).await.unwrap().unwrap();
    let own = Mailbox::parse(ALICE).unwrap();
    assert_eq!(account.address, scanner, "From: where there is none");
    assert!(account.rights.may_send_as(&scanner) && !account.rights.may_send_as(&own));
    let to = |domain: &str| account.destinations.allow(&Domain::parse(domain).unwrap());
    assert!(to("example.org") && !to("example.net"));
    assert_eq!(account.protection.tls, AccountTls::Require);
    // What the account itself may do no longer, the app password may not either.
    f.store.remove_address(ALICE, &pattern).await.unwrap();
    f.accounts.changed();
    let account = f.accounts.account(&identity).await.unwrap().unwrap();
    assert!(!account.rights.may_send_as(&scanner));
    f.store.remove_app_password(ALICE, "scanner").await.unwrap();
    f.accounts.changed();
    assert!(f.accounts.account(&identity).await.unwrap().is_none());
    assert_eq!(f.sign_in(HOME, ALICE, &password).await, "refused");
}

#[tokio::test]
async fn an_account_may_take_app_passwords_only() {
    let f = fixture(with_scram()).await;
    let phone = f.app("phone", Narrowing::default()).await;
    assert_eq!(f.sign_in(HOME, ALICE, PASSWORD).await, GRANTED);
    f.store.set_app_passwords_only(ALICE, true).await.unwrap();
    f.accounts.changed();
    assert_eq!(f.sign_in(HOME, ALICE, PASSWORD).await, "refused");
    assert_eq!(f.prove(ALICE, PASSWORD).await, "refused");
    assert_eq!(f.sign_in(HOME, ALICE, &phone).await, GRANTED);
    assert_eq!(f.prove(ALICE, &phone).await, GRANTED);
}
