//! Attacks against a clock turned by hand.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

struct Sim {
    throttle: Throttle,
    now: Moment,
    guess: u128,
}

impl Sim {
    fn new() -> Self {
        Sim {
            throttle: Throttle::new(Limits::default()),
            now: Moment(Duration::from_secs(1_000)),
            guess: 0,
        }
    }

    /// A new wrong password; whether it was checked.
    fn wrong(&mut self, address: IpAddr, standing: Standing, name: &str) -> bool {
        self.guess += 1;
        self.again(address, standing, name)
    }

    /// The last wrong password once more.
    fn again(&mut self, address: IpAddr, standing: Standing, name: &str) -> bool {
        let attempt = Attempt {
            address,
            standing,
            name,
        };
        let checked = self.throttle.allows(self.now, &attempt);
        if checked {
            self.throttle.failed(self.now, &attempt, self.guess);
        }
        checked
    }

    fn allows(&self, address: IpAddr, standing: Standing, name: &str) -> bool {
        self.throttle.allows(
            self.now,
            &Attempt {
                address,
                standing,
                name,
            },
        )
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }
}

fn v4(n: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + n).into()
}

const MILLI: Duration = Duration::from_millis(1);

/// S28: at most two guesses a second, over any ten seconds and longer.
#[test]
fn one_address_gets_few_guesses_checked() {
    for names in [1, 1000] {
        let mut sim = Sim::new();
        let mut checked = 0;
        for n in 0..25 * 20 {
            checked += u32::from(sim.wrong(v4(1), Standing::Stranger, &format!("u{}", n % names)));
            sim.pass(50 * MILLI);
            assert!(checked <= 20, "{checked} within 25 s");
        }
        assert!(checked >= 10, "{checked}");
    }
}

/// S28: the day's limit holds against patience.
#[test]
fn a_patient_address_is_stopped_by_the_day() {
    let mut sim = Sim::new();
    let mut checked = 0;
    for n in 0..24 * 60 * 2 {
        checked += u32::from(sim.wrong(v4(1), Standing::Stranger, &format!("u{n}")));
        sim.pass(30_000 * MILLI);
    }
    assert!((150..=400).contains(&checked), "{checked}");
}

#[test]
fn ten_typing_mistakes_in_a_row_are_forgiven() {
    for standing in [Standing::Stranger, Standing::Known] {
        let mut sim = Sim::new();
        for n in 0..10 {
            assert!(sim.wrong(v4(1), standing, "alice"), "mistake {n}");
            sim.pass(1_000 * MILLI);
        }
        assert!(sim.allows(v4(1), standing, "alice"));
    }
}

/// S29: nobody is locked out for good.
#[test]
fn a_stopped_address_may_try_again_within_two_minutes() {
    let mut sim = Sim::new();
    while sim.wrong(v4(1), Standing::Stranger, "alice") {}
    sim.pass(120_000 * MILLI);
    assert!(sim.allows(v4(1), Standing::Stranger, "alice"));
}

/// S28, S29: 2,400 guesses at one account from 800 addresses in 25 s; the owner always gets in.
#[test]
fn distributed_guessing_at_one_account_is_stopped_and_its_owner_is_not() {
    let mut sim = Sim::new();
    let owner = v4(0x00ff_0000);
    let mut checked = 0;
    for n in 0..2_400u32 {
        // One address in each of 800 networks.
        let from = v4((n % 800) << 8);
        checked += u32::from(sim.wrong(from, Standing::Stranger, "alice"));
        assert!(
            sim.allows(owner, Standing::Known, "alice"),
            "owner out at {n}"
        );
        sim.pass(Duration::from_micros(10_400));
    }
    assert!(checked < 100, "{checked} of 2400 checked");
    assert!(!sim.allows(owner, Standing::Stranger, "alice"));
    // Others are not concerned.
    assert!(sim.allows(owner, Standing::Stranger, "bob"));
}

#[test]
fn one_network_gets_few_guesses_checked() {
    for (what, address) in [
        ("/24", (|n| v4(n % 256)) as fn(u32) -> IpAddr),
        ("/48", |n| {
            Ipv6Addr::new(0x2001, 0xdb8, 0, n as u16, 0, 0, 0, 1).into()
        }),
    ] {
        let mut sim = Sim::new();
        let checked = (0..1_000)
            .filter(|&n| sim.wrong(address(n), Standing::Stranger, &format!("u{n}")))
            .count();
        assert_eq!(checked, 36, "{what}");
        assert!(
            sim.allows(address(2_000), Standing::Known, "x"),
            "known place in {what}"
        );
    }
}

#[test]
fn an_ipv6_customer_is_one_address() {
    let mut sim = Sim::new();
    let checked = (0..100u16)
        .filter(|&n| {
            let from = Ipv6Addr::new(0x2001, 0xdb8, 1, 2, n, n, n, n);
            sim.wrong(from.into(), Standing::Known, "alice")
        })
        .count();
    assert_eq!(checked, 12);
}

#[test]
fn mapped_and_plain_ipv4_are_one_address() {
    let mut sim = Sim::new();
    while sim.wrong(v4(1), Standing::Stranger, "alice") {}
    let mapped = Ipv4Addr::from_bits(0x0a00_0001).to_ipv6_mapped();
    assert!(!sim.allows(mapped.into(), Standing::Stranger, "bob"));
}

/// A program that tries each mechanism, or retries all day with an old password.
#[test]
fn one_wrong_password_counts_once() {
    let mut sim = Sim::new();
    sim.wrong(v4(1), Standing::Stranger, "alice");
    for n in 0..1_000 {
        assert!(sim.again(v4(1), Standing::Stranger, "alice"), "repeat {n}");
        sim.pass(60_000 * MILLI);
    }
    assert!(sim.wrong(v4(1), Standing::Stranger, "alice"));
}

/// S27, S28: one wrong password from ever new places costs a hash each time.
#[test]
fn a_guess_repeated_across_a_network_counts_for_the_network() {
    let mut sim = Sim::new();
    sim.guess = 1;
    let from = |n: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, n, 0, 0, 0, 1).into();
    let checked = (0..1_000)
        .filter(|&n| sim.again(from(n), Standing::Stranger, "alice"))
        .count();
    assert_eq!(checked, 36);
    // For the name it is one wrong password still.
    assert!(sim.allows(v4(1), Standing::Stranger, "alice"));
}

#[test]
fn a_known_place_keeps_its_own_limit() {
    let mut sim = Sim::new();
    let checked = (0..100)
        .filter(|_| sim.wrong(v4(1), Standing::Known, "alice"))
        .count();
    assert_eq!(checked, 12);
    // What happens there does not slow others down.
    assert!(sim.allows(v4(2), Standing::Stranger, "alice"));
    // Nor do others, whether they guess from the same address or at the same name.
    for n in 0..100 {
        sim.wrong(v4(3), Standing::Stranger, &format!("user{n}"));
        sim.wrong(v4(4 + n), Standing::Stranger, "bob");
    }
    assert!(!sim.allows(v4(3), Standing::Stranger, "bob"));
    assert!(sim.allows(v4(3), Standing::Known, "bob"));
}

#[test]
fn exempt_networks_are_neither_stopped_nor_counted() {
    let mut sim = Sim::new();
    for _ in 0..1_000 {
        assert!(sim.wrong(v4(1), Standing::Exempt, "alice"));
    }
    assert!(sim.allows(v4(1), Standing::Stranger, "alice"));
}

#[test]
fn memory_is_bounded_and_an_attack_under_way_is_remembered() {
    let mut sim = Sim::new();
    for n in 0..3 * ENTRIES as u32 {
        sim.wrong(v4(n << 8), Standing::Stranger, &format!("u{n}"));
        if n % 1_000 == 0 {
            sim.wrong(v4(0x00ff_ff00), Standing::Stranger, "alice");
        }
    }
    let sizes = [
        sim.throttle.addresses.len(),
        sim.throttle.networks.len(),
        sim.throttle.names.len(),
        sim.throttle.guesses.len(),
        sim.throttle.repeats.len(),
    ];
    assert_eq!(sizes, [ENTRIES; 5]);
    assert!(!sim.allows(v4(0x00ff_ff00), Standing::Stranger, "alice"));
}
