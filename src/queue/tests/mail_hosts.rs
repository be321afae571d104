//! Mail straight to the hosts of its recipients' domains: one line for each site, and the clock of
//! mail that waits for protection.

use std::time::Duration;

use super::{memory::State, world::*};
use crate::{queue::Options, spool::Next};

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// Each domain is an attempt of its own, whatever hosts serve it.
#[tokio::test(start_paused = true)]
async fn recipients_of_one_domain_travel_together_and_others_apart() {
    let world = World::new(mail_hosts(4), always(|| Reaction::Deliver));
    let to = [
        "u@a.host",
        "v@b.host",
        "w@a.host",
        "x@A.HOST",
        "y@c.unknown",
    ];
    world.fresh(1, &to);
    world.until_all(State::Delivered).await;
    let mut groups: Vec<_> = world
        .attempts()
        .iter()
        .map(|it| it.recipients.clone())
        .collect();
    groups.sort();
    assert_eq!(groups, [vec![1, 3, 4], vec![2], vec![5]]);
    assert_delivered_once(&world);
    world.stop().await;
}

/// One host may serve thousands of domains: all of them together get its connections, and no more.
#[tokio::test(start_paused = true)]
async fn domains_of_one_site_share_its_places() {
    let script: Script = Box::new(|_, _| Reaction::Hang(Duration::from_secs(10)));
    let world = World::new(mail_hosts(2), script);
    for number in 0..8 {
        world.fresh(number, &[&format!("u@d{number}.host")]);
    }
    world.fresh(8, &["u@other.elsewhere"]);
    world.until_all(State::Delivered).await;
    let mut at: Vec<_> = world.attempts().iter().map(|it| it.at).collect();
    at.sort_unstable();
    // Two of the site at once, and the other site's at the same time as the first.
    assert_eq!(at, [1, 1, 1, 11, 11, 21, 21, 31, 31]);
    world.stop().await;
}

/// A site that does not answer keeps none of the others' mail waiting.
#[tokio::test(start_paused = true)]
async fn a_silent_site_is_left_alone_for_all_its_domains() {
    let script: Script = Box::new(|_, to| match to.address.domain().as_str() {
        "fine.elsewhere" => Reaction::Deliver,
        _ => Reaction::Silent {
            after: Duration::from_secs(1),
            until: Duration::from_secs(30),
        },
    });
    let world = World::new(mail_hosts(1), script);
    world.fresh(1, &["u@a.host"]);
    world.fresh(2, &["u@b.host"]);
    world.fresh(3, &["u@fine.elsewhere"]);
    world
        .until("the third is delivered", |world| {
            world.custody.states()[2] == State::Delivered
        })
        .await;
    world
        .until("both wait", |world| {
            let states = world.custody.states();
            states[..2].iter().all(|it| matches!(it, State::Due(_)))
        })
        .await;
    let asked = |domain: &str| {
        let attempts = world.attempts();
        attempts
            .iter()
            .filter(|it| it.at < 20 && it.hop == domain)
            .count()
    };
    // One of the two asked, and found out for the other.
    assert_eq!(asked("mx"), 2);
    world.stop().await;
}

fn unprotected(hosts: u32, strict: bool) -> (Options, Script) {
    let script: Script = Box::new(move |_, _| Reaction::Unprotected { hosts, strict });
    (mail_hosts(1), script)
}

/// Times of the delay notices, and of the failure, in seconds.
async fn told(hosts: u32, strict: bool) -> (Vec<u64>, u64) {
    let (options, script) = unprotected(hosts, strict);
    let world = World::new(options, script);
    *world.custody.sender.lock().unwrap() = crate::smtp::Mailbox::parse("a@ours.example").ok();
    world.fresh(1, &["u@a.host"]);
    world.until_all(State::GivenUp).await;
    let records = world.custody.records.lock().unwrap().clone();
    let seconds =
        |at: std::time::SystemTime| at.duration_since(world.clock.epoch).unwrap().as_secs();
    let notices = records.iter().filter(|it| it.tells_delay);
    let notices = notices.map(|it| seconds(it.ended_at)).collect();
    let end = records.iter().find(|it| it.next == Next::Done).unwrap();
    let reports = world.custody.reports.lock().unwrap().clone();
    assert_eq!(
        reports
            .last()
            .map(|report| String::from_utf8_lossy(&report.body).contains("Action: failed")),
        Some(true)
    );
    let end = seconds(end.ended_at);
    world.stop().await;
    (notices, end)
}

/// The first notice within minutes, one a day after it, and an end that comes sooner than that of
/// other mail.
#[tokio::test(start_paused = true)]
async fn the_sender_of_unprotected_mail_is_told_within_minutes_daily_and_at_the_end() {
    let (notices, end) = told(1, false).await;
    let first = notices[0];
    assert!(
        (15 * MINUTE..=15 * MINUTE + 5).contains(&first),
        "{notices:?}"
    );
    assert_eq!(notices.len(), 3, "{notices:?}");
    for (n, at) in notices.iter().enumerate() {
        let due = first + n as u64 * DAY;
        assert!((due..=due + HOUR).contains(at), "{notices:?}");
    }
    assert!((3 * DAY..=3 * DAY + 5).contains(&end), "{end}");

    let (notices, end) = told(1, true).await;
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!((15 * MINUTE..=15 * MINUTE + 5).contains(&notices[0]));
    assert!((DAY..=DAY + 5).contains(&end), "{end}");

    let (notices, _) = told(2, true).await;
    assert!(notices[0] <= 5, "{notices:?}");
}

/// Trouble of another kind in between starts the clock anew.
#[tokio::test(start_paused = true)]
async fn the_clock_counts_from_the_first_unprotected_attempt_in_a_row() {
    let script: Script = Box::new(|_, to| match to.attempts {
        3 => Reaction::Defer,
        _ => Reaction::Unprotected {
            hosts: 1,
            strict: true,
        },
    });
    let world = World::new(mail_hosts(1), script);
    world.fresh(1, &["u@a.host"]);
    world.until_all(State::GivenUp).await;
    let records = world.custody.records.lock().unwrap().clone();
    let since: Vec<_> = records.iter().map(|it| it.unprotected_since).collect();
    assert!(since[0].is_some() && since[1] == since[0] && since[2] == since[0]);
    assert_eq!(since[3], None);
    assert_eq!(since[4], Some(records[4].ended_at));
    let end = records.last().unwrap().ended_at;
    let lived = end.duration_since(records[4].ended_at).unwrap().as_secs();
    assert!((DAY..=DAY + 5).contains(&lived), "{lived}");
    world.stop().await;
}

/// What waits for its site to be found is given back with the rest.
#[tokio::test(start_paused = true)]
async fn jobs_whose_hosts_are_being_looked_up_are_withdrawn_too() {
    let world = World::new(mail_hosts(1), always(|| Reaction::Deliver));
    world.fresh(1, &["u@a.host"]);
    world.queue.withdraw().await;
    assert!(matches!(world.custody.states()[..], [State::Due(_)]));
    world.queue.wake();
    world.until_all(State::Delivered).await;
    assert_delivered_once(&world);
    world.stop().await;
}
