//! What the time of a refusal tells a stranger about an account, and what a flood of guesses does to
//! the sign-ins of others. `cargo bench --bench sign_in`; takes a minute or two.
//!
//! The first table compares refusals: each case against a wrong password of a known account. Samples
//! of all cases are taken in turn, every one with a password and an address of its own, so that
//! nothing is remembered. `d` is Cohen's effect size (below 0.2: small), `auc` how often a sample of
//! the case took longer than one of the first case (0.5: nothing can be told).
//!
//! The second one is the time from a claim to its verdict, by kind of client, with nobody else there
//! and while strangers keep the hash workers and their line busy.

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use gatepost::{
    accounts::{Accounts, Options, hash_password},
    policy::throttle::{Limit, Limits},
    sasl::{
        Claim, Credentials, Exchange, Mechanism, NONCE_OCTETS, ScramClient, Step, Surroundings,
    },
    session::{KeysVerdict, SignInVerdict},
    smtp::{Domain, Mailbox},
    store::{Store, accounts::NewAccount},
};

const PASSWORD: &str = "correct horse battery staple";
/// Samples of each case of a hashed refusal.
const HASHED: usize = 400;
/// The same where nothing is hashed.
const PROVED: usize = 20_000;
/// Strangers who guess at once.
const GUESSERS: usize = 400;
/// Sign-ins that are timed beside them.
const OTHERS: usize = 200;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// An address that nobody has come from.
fn stranger() -> IpAddr {
    let number = NEXT.fetch_add(1, Relaxed).wrapping_mul(0x9e37_79b9) >> 8;
    IpAddr::V4(Ipv4Addr::from(0x0a00_0000 | number))
}

fn shown(name: &str, password: &str) -> Claim {
    Claim::Password(Credentials {
        authzid: None,
        authcid: name.to_owned(),
        password: password.into(),
    })
}

async fn house(folder: &std::path::Path) -> Arc<Accounts> {
    let store = Store::open(&folder.join("bench.sqlite"))
        .await
        .expect("a store");
    let now = SystemTime::now();
    let domain = Domain::parse("example.org").expect("a domain");
    store.add_domain(&domain, now).await.expect("a new domain");
    let much = Limit {
        minute: u32::MAX,
        hour: u32::MAX,
        day: u32::MAX,
    };
    let mut options = Options {
        scram_iterations: 4_096,
        throttle: Limits {
            address: much,
            network: much,
            name: much,
        },
        ..Options::default()
    };
    for (name, scram) in [("alice", true), ("dora", true), ("nokeys", false)] {
        options.scram = scram;
        let made = hash_password(&PASSWORD.into(), &options, None).expect("a hash");
        let name = format!("{name}@example.org");
        let account = NewAccount {
            name: &name,
            password_hash: &made.hash,
            scram: made.scram.as_ref(),
            address: &Mailbox::parse(&name).expect("an address"),
        };
        store
            .add_account(account, now)
            .await
            .expect("a new account");
    }
    let disabled = store.set_enabled("dora@example.org", false).await;
    disabled.expect("an account");
    options.scram = true;
    Accounts::open(store, options)
}

/// A whole exchange with a wrong password; the time that the server takes of it.
async fn unproved(accounts: &Accounts, name: &str) -> f64 {
    let (mut client, first) = ScramClient::start(name, &[3; NONCE_OCTETS]).expect("a name");
    let began = Instant::now();
    let around = Surroundings::default();
    let (mut server, step) = Exchange::start(Mechanism::ScramSha256, Some(&first), around);
    let Step::Need(lookup) = step else {
        panic!("{step:?}")
    };
    let KeysVerdict::Given { ring, random } = accounts.keys(stranger(), &lookup).await else {
        panic!("no keys")
    };
    let Step::Challenge(challenge) = server.keys(ring, &random) else {
        panic!("no challenge")
    };
    let so_far = began.elapsed();
    let derivation = client
        .challenged(&challenge, &"wrong".into())
        .expect("a challenge");
    let proof = client.derived(&derivation.run());
    let began = Instant::now();
    let Step::Done(claim) = server.respond(&proof) else {
        panic!("no claim")
    };
    let verdict = accounts.sign_in(stranger(), claim).await;
    assert_eq!(black_box(verdict), SignInVerdict::Refused);
    (so_far + began.elapsed()).as_secs_f64() * 1e6
}

/// A refusal of a password that nobody has tried.
async fn refused(accounts: &Accounts, name: &str) -> f64 {
    let password = format!("wrong {}", NEXT.fetch_add(1, Relaxed));
    let claim = shown(name, &password);
    let began = Instant::now();
    let verdict = accounts.sign_in(stranger(), claim).await;
    assert_eq!(black_box(verdict), SignInVerdict::Refused);
    began.elapsed().as_secs_f64() * 1e6
}

fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / samples.len() as f64
}

fn variance(samples: &[f64]) -> f64 {
    let mean = mean(samples);
    let squares = samples.iter().map(|it| (it - mean).powi(2));
    squares.sum::<f64>() / (samples.len() - 1) as f64
}

/// Without the slowest hundredth: what the machine did meanwhile.
fn trimmed(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.truncate(sorted.len() - sorted.len() / 100);
    sorted
}

/// How often one of `samples` is larger than one of `others`.
fn auc(samples: &[f64], others: &[f64]) -> f64 {
    let mut larger = 0.0;
    let mut below = 0;
    // Both are sorted.
    for sample in samples {
        while below < others.len() && others[below] < *sample {
            below += 1;
        }
        larger += below as f64;
    }
    larger / (samples.len() as f64 * others.len() as f64)
}

fn compare(title: &str, names: &[&str], samples: &[Vec<f64>]) {
    println!(
        "\n{title}: microseconds of {} refusals each",
        samples[0].len()
    );
    println!(
        "{:<28}{:>10}{:>10}{:>10}{:>8}{:>8}",
        "case", "median", "mean", "sd", "d", "auc"
    );
    let first = trimmed(&samples[0]);
    for (name, samples) in names.iter().zip(samples) {
        let samples = trimmed(samples);
        let pooled = ((variance(&samples) + variance(&first)) / 2.0).sqrt();
        println!(
            "{name:<28}{:>10.1}{:>10.1}{:>10.1}{:>8.3}{:>8.3}",
            samples[samples.len() / 2],
            mean(&samples),
            variance(&samples).sqrt(),
            (mean(&samples) - mean(&first)) / pooled,
            auc(&samples, &first),
        );
    }
}

async fn what_time_tells(accounts: &Accounts) {
    let cases = [
        "alice@example.org",
        "nobody@example.org",
        "dora@example.org",
        "no name",
    ];
    let names = [
        "wrong password",
        "unknown name",
        "disabled account",
        "name of no grammar",
    ];
    let mut samples = vec![Vec::new(); cases.len()];
    for round in 0..HASHED {
        for at in 0..cases.len() {
            // Each case comes at each place of a round equally often.
            let at = (at + round) % cases.len();
            samples[at].push(refused(accounts, cases[at]).await);
        }
    }
    compare("PLAIN and LOGIN", &names, &samples);
    let cases = [
        "alice@example.org",
        "nobody@example.org",
        "nokeys@example.org",
    ];
    let names = ["wrong proof", "unknown name", "account without keys"];
    let mut samples = vec![Vec::new(); cases.len()];
    for round in 0..PROVED {
        for at in 0..cases.len() {
            let at = (at + round) % cases.len();
            samples[at].push(unproved(accounts, cases[at]).await);
        }
    }
    compare("SCRAM-SHA-256", &names, &samples);
}

async fn timed(accounts: &Accounts, peer: IpAddr, claim: impl Fn() -> Claim) -> Vec<f64> {
    let mut samples = Vec::new();
    for _ in 0..OTHERS {
        let began = Instant::now();
        let verdict = accounts.sign_in(peer, claim()).await;
        assert!(matches!(verdict, SignInVerdict::Granted(_)), "{verdict:?}");
        samples.push(began.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    samples.sort_by(f64::total_cmp);
    samples
}

async fn timed_all(accounts: &Accounts, home: IpAddr, title: &str) {
    let name = "alice@example.org";
    let remembered = timed(accounts, home, || shown(name, PASSWORD)).await;
    let mut hashed = Vec::new();
    for _ in 0..OTHERS {
        // Forgets what was checked, as a restart or a change of an account does.
        accounts.changed();
        let began = Instant::now();
        let verdict = accounts.sign_in(home, shown(name, PASSWORD)).await;
        assert!(matches!(verdict, SignInVerdict::Granted(_)), "{verdict:?}");
        hashed.push(began.elapsed().as_secs_f64() * 1e3);
    }
    hashed.sort_by(f64::total_cmp);
    for (what, samples) in [
        ("password remembered", remembered),
        ("password hashed", hashed),
    ] {
        let at = |part: usize| samples[(samples.len() - 1) * part / 100];
        println!(
            "{title:<16}{what:<24}{:>10.3}{:>10.3}{:>10.3}",
            at(50),
            at(99),
            at(100)
        );
    }
}

async fn what_a_flood_does(accounts: &Arc<Accounts>) {
    let home: IpAddr = "192.0.2.1".parse().expect("an address");
    println!("\nsign-ins of an owner from a known place: milliseconds of {OTHERS} each");
    println!(
        "{:<16}{:<24}{:>10}{:>10}{:>10}",
        "", "", "p50", "p99", "longest"
    );
    timed_all(accounts, home, "nobody else").await;
    accounts.settle().await;
    let stop = Arc::new(AtomicBool::new(false));
    let put_off = Arc::new(AtomicU32::new(0));
    let guessers: Vec<_> = (0..GUESSERS)
        .map(|_| {
            let (accounts, stop) = (Arc::clone(accounts), Arc::clone(&stop));
            let put_off = Arc::clone(&put_off);
            tokio::spawn(async move {
                while !stop.load(Relaxed) {
                    let password = format!("guess {}", NEXT.fetch_add(1, Relaxed));
                    let claim = shown("alice@example.org", &password);
                    if accounts.sign_in(stranger(), claim).await == SignInVerdict::Unavailable {
                        put_off.fetch_add(1, Relaxed);
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    timed_all(accounts, home, &format!("{GUESSERS} guessers")).await;
    stop.store(true, Relaxed);
    for guesser in guessers {
        guesser.await.expect("a guesser");
    }
    println!(
        "guesses put off because the line was full: {}",
        put_off.load(Relaxed)
    );
}

fn main() {
    // Cargo passes --bench; tests of all targets pass nothing and want nothing done.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let folder = tempfile::tempdir().expect("a directory");
        let accounts = house(folder.path()).await;
        what_time_tells(&accounts).await;
        what_a_flood_does(&accounts).await;
    });
}
