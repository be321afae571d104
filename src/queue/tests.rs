//! The queue in simulated time, with custody and next hops played in memory.

mod ends;
mod haste;
mod living;
mod mail_hosts;
mod memory;
mod reports;
mod world;

use std::sync::{Mutex, atomic::Ordering};

use tokio::sync::mpsc;

use self::{memory::*, world::*};
use super::*;
use crate::{
    envelope::Outcome,
    policy::routes::{LocalRecipients, Origin, Transport},
    smtp::{EnhancedCode, Mailbox},
};

#[tokio::test(start_paused = true)]
async fn fresh_and_due_mail_is_delivered_once() {
    let world = World::new(options(), always(|| Reaction::Deliver));
    for number in 0..500 {
        world.fresh(number, &["u@a.example", "u@b.example"]);
    }
    for number in 500..2_000 {
        world.due(number, &["u@a.example", "v@a.example"], number as u64 % 3);
    }
    world.until_all(State::Delivered).await;
    let counts = deliveries(&world.attempts());
    assert_eq!(counts.len(), 4_000);
    assert!(counts.values().all(|count| *count == 1));
    assert_eq!(locked(&world.custody.records).len(), 4_000);
    assert!(
        world.clock.seconds() < 10,
        "took {} s",
        world.clock.seconds()
    );
}

#[tokio::test(start_paused = true)]
async fn fresh_mail_does_not_wait_for_a_look_at_the_spool() {
    let world = World::new(options(), always(|| Reaction::Deliver));
    tokio::time::sleep(Duration::from_secs(30)).await;
    let looks = world.custody.looks.load(Ordering::SeqCst);
    world.fresh(1, &["u@a.example"]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(world.custody.all(State::Delivered));
    assert!(world.custody.looks.load(Ordering::SeqCst) <= looks + 1);
}

/// A fresh message that found the channel full lies unclaimed in the spool.
#[tokio::test(start_paused = true)]
async fn mail_that_found_the_channel_full_is_fetched_soon() {
    let world = World::new(options(), always(|| Reaction::Deliver));
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.fresh(1, &["u@a.example"]);
    world.due(2, &["u@a.example"], 0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(world.custody.all(State::Delivered));
}

/// R5321-4.5.4a, R5321-4.5.4b.
#[tokio::test(start_paused = true)]
async fn deferred_recipients_are_tried_again_on_schedule() {
    let world = World::new(
        options(),
        Box::new(|_, recipient| match recipient.attempts {
            0..4 => Reaction::Defer,
            _ => Reaction::Deliver,
        }),
    );
    world.fresh(1, &["u@a.example"]);
    world.until_all(State::Delivered).await;
    let times: Vec<u64> = world.attempts().iter().map(|tried| tried.at).collect();
    for (time, expected) in times.iter().zip([0, 60, 180, 420, 900]) {
        assert!((expected..=expected + 5).contains(time), "{times:?}");
    }
    assert_eq!(times.len(), 5);
}

/// The spool was last looked at before the outcome was recorded.
#[tokio::test(start_paused = true)]
async fn a_recipient_deferred_between_looks_is_tried_again_in_time() {
    let quick = Options {
        schedule: Schedule {
            first: Duration::from_secs(5),
            ..Schedule::default()
        },
        ..options()
    };
    let world = World::new(
        quick,
        Box::new(|_, recipient| match recipient.attempts {
            0 => Reaction::DeferLate(Duration::from_secs(3)),
            _ => Reaction::Deliver,
        }),
    );
    world.fresh(1, &["u@a.example"]);
    world.until_all(State::Delivered).await;
    assert!(
        (8..=9).contains(&world.clock.seconds()),
        "at {} s",
        world.clock.seconds()
    );
}

/// R5321-4.5.4d.
#[tokio::test(start_paused = true)]
async fn a_recipient_deferred_for_five_days_is_given_up() {
    let world = World::new(options(), always(|| Reaction::Defer));
    world.fresh(1, &["u@a.example"]);
    world.until_all(State::GivenUp).await;
    let day = 24 * 3600;
    assert!((5 * day..5 * day + 60).contains(&world.clock.seconds()));
    let attempts = world.attempts().len();
    assert!((30..50).contains(&attempts), "{attempts} attempts");
    tokio::time::sleep(Duration::from_secs(day)).await;
    assert_eq!(
        world.attempts().len(),
        attempts,
        "tried after it was given up"
    );
}

/// R5321-4.5.4i.
#[tokio::test(start_paused = true)]
async fn recipients_of_one_message_go_together_by_next_hop() {
    let world = World::new(options(), always(|| Reaction::Deliver));
    let mut addresses = vec!["u@a.example"; 60];
    addresses.extend(["u@b.example", "v@b.example"]);
    world.fresh(1, &addresses);
    world.until_all(State::Delivered).await;
    let mut sizes: Vec<_> = world
        .attempts()
        .iter()
        .map(|tried| (tried.hop.clone(), tried.recipients.len()))
        .collect();
    sizes.sort();
    let expected = [("a.example", 10), ("a.example", 50), ("b.example", 2)];
    assert_eq!(sizes, expected.map(|(hop, count)| (hop.to_owned(), count)));
}

#[tokio::test(start_paused = true)]
async fn a_recipient_without_a_route_waits_for_one() {
    let world = World::new(options(), always(|| Reaction::Deliver));
    world.fresh(1, &["u@c.example", "u@a.example"]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let waiting = locked(&world.custody.records)
        .iter()
        .find_map(|r| match &r.outcome {
            Outcome::Deferred(status) => Some((r.next_hop.clone(), status.code.to_string())),
            Outcome::Delivered(_) | Outcome::Relayed(..) | Outcome::Failed(_) => None,
        });
    assert_eq!(waiting, Some(("none".into(), "4.4.4".into())));
    world.queue.reload(Options {
        routes: table(&["c.example"]),
        ..options()
    });
    world.until_all(State::Delivered).await;
    assert!(world.clock.seconds() < 70);
}

#[tokio::test(start_paused = true)]
async fn mail_that_waits_follows_the_routes_of_a_reload() {
    let few = Options {
        attempts: 1,
        ..options()
    };
    let world = World::new(
        few.clone(),
        always(|| Reaction::Hang(Duration::from_secs(5))),
    );
    world.fresh(1, &["u@a.example"]);
    world.fresh(2, &["u@a.example"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut route = table(&["a.example"])
        .lookup(&Mailbox::parse("u@a.example").unwrap(), &Origin::default())
        .unwrap()
        .clone();
    route.name = "elsewhere".into();
    world.queue.reload(Options {
        routes: RouteTable::new(vec![route]).unwrap(),
        ..few
    });
    world.until_all(State::Delivered).await;
    let hops: Vec<_> = world
        .attempts()
        .into_iter()
        .map(|tried| tried.hop)
        .collect();
    assert_eq!(hops, ["a.example", "elsewhere"]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_an_attempt_defers_its_recipients() {
    let world = World::new(
        options(),
        Box::new(|_, recipient| match recipient.attempts {
            0 => Reaction::Panic,
            _ => Reaction::Deliver,
        }),
    );
    world.fresh(1, &["u@a.example", "v@a.example"]);
    world.until_all(State::Delivered).await;
    assert_eq!(world.attempts().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_read_is_deferred() {
    let world = World::new(options(), always(|| Reaction::Deliver));
    world.custody.failing_contents.store(1, Ordering::SeqCst);
    world.due(1, &["u@a.example"], 0);
    world.until_all(State::Delivered).await;
    let first = locked(&world.custody.records)[0].outcome.clone();
    assert!(matches!(first, Outcome::Deferred(s) if s.code == EnhancedCode::new(4, 3, 0)));
}

/// R5321-4.5.4j.
#[tokio::test(start_paused = true)]
async fn a_slow_next_hop_keeps_nobody_else_waiting() {
    let few = Options {
        attempts: 4,
        attempts_per_hop: 2,
        ..options()
    };
    let world = World::new(
        few,
        Box::new(|hop, _| match hop {
            "a.example" => Reaction::Hang(Duration::from_secs(3600)),
            _ => Reaction::Deliver,
        }),
    );
    for number in 0..100 {
        world.fresh(number, &["u@a.example"]);
    }
    for number in 100..200 {
        world.fresh(number, &["u@b.example"]);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(deliveries(&world.attempts()).len(), 100);
    assert_eq!(
        world
            .attempts()
            .iter()
            .filter(|tried| tried.hop == "a.example")
            .count(),
        2
    );
}

#[tokio::test(start_paused = true)]
async fn on_hold_nothing_moves() {
    let held = Options {
        hold: true,
        ..options()
    };
    let world = World::new(held, always(|| Reaction::Deliver));
    world.fresh(1, &["u@a.example"]);
    world.due(2, &["u@a.example"], 0);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(world.attempts().is_empty());
    assert!(
        world.custody.held.load(Ordering::SeqCst),
        "custody does not know of the hold"
    );
    world.queue.reload(options());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(world.custody.all(State::Delivered));
    assert!(!world.custody.held.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn outcomes_survive_a_failing_spool() {
    let world = World::new(options(), always(|| Reaction::Deliver));
    world.custody.failing_records.store(7, Ordering::SeqCst);
    for number in 0..20 {
        world.fresh(number, &["u@a.example"]);
    }
    world.until_all(State::Delivered).await;
    assert_delivered_once(&world);
    assert_eq!(locked(&world.custody.records).len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_spool_that_takes_no_outcomes_is_asked_for_no_more_work() {
    for domain in ["a.example", "unroutable.example"] {
        let world = World::new(options(), always(|| Reaction::Deliver));
        world
            .custody
            .failing_records
            .store(usize::MAX, Ordering::SeqCst);
        for number in 0..5_000 {
            world.due(number, &[&format!("u@{domain}")], 0);
        }
        tokio::time::sleep(Duration::from_secs(600)).await;
        let claimed = |state: &State| *state == State::Claimed;
        let count = world.custody.states().into_iter().filter(claimed).count();
        assert!(count < 2_000, "{count} claimed for {domain}");
        world.custody.failing_records.store(0, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert!(
            !world.custody.states().contains(&State::Claimed),
            "{domain}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_refused_keeps_no_other() {
    let world = World::new(options(), always(|| Reaction::Deliver));
    *locked(&world.custody.poison) = Some(id(0));
    for number in 0..100 {
        world.fresh(number, &["u@a.example"]);
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    for number in 100..200 {
        world.fresh(number, &["u@a.example"]);
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let done = world
        .custody
        .states()
        .into_iter()
        .filter(|state| *state == State::Delivered);
    assert_eq!(done.count(), 199);
    *locked(&world.custody.poison) = None;
    world.until_all(State::Delivered).await;
    assert_eq!(world.attempts().len(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_failed_look_is_repeated() {
    let world = World::new(options(), always(|| Reaction::Deliver));
    world.custody.failing_looks.store(2, Ordering::SeqCst);
    world.due(1, &["u@a.example"], 0);
    world.until_all(State::Delivered).await;
    assert!(world.clock.seconds() <= 11);
}

#[tokio::test(start_paused = true)]
async fn an_idle_queue_looks_once_a_minute_and_when_woken() {
    let world = World::new(options(), always(|| Reaction::Deliver));
    tokio::time::sleep(Duration::from_secs(3630)).await;
    let looks = world.custody.looks.load(Ordering::SeqCst);
    assert!((55..=62).contains(&looks), "{looks} looks in an hour");
    world.due(1, &["u@a.example"], 0);
    world.queue.wake();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(world.custody.all(State::Delivered));
}

/// The first of two wakes starts a look that reads the spool before the message comes.
#[tokio::test(start_paused = true)]
async fn a_wake_during_a_look_is_not_lost() {
    let world = World::new(options(), always(|| Reaction::Deliver));
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.queue.wake();
    tokio::time::sleep(Duration::from_millis(5)).await;
    world.due(1, &["u@a.example"], 0);
    world.queue.wake();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(world.custody.all(State::Delivered));
}

#[tokio::test(start_paused = true)]
async fn what_falls_due_is_fetched_then() {
    let world = World::new(options(), always(|| Reaction::Deliver));
    world.due(1, &["u@a.example"], 20);
    world.until_all(State::Delivered).await;
    assert!(
        (20..=21).contains(&world.clock.seconds()),
        "at {} s",
        world.clock.seconds()
    );
}

#[tokio::test(start_paused = true)]
async fn a_clock_stepped_back_does_not_stop_the_queue() {
    let world = World::new(options(), always(|| Reaction::Deliver));
    tokio::time::sleep(Duration::from_secs(5)).await;
    *locked(&world.clock.stepped_back) = Duration::from_secs(24 * 3600);
    world.due(1, &["u@a.example"], 0);
    world.until_all(State::Delivered).await;
    assert!(
        world.clock.seconds() <= 66,
        "after {} s",
        world.clock.seconds()
    );
}

#[tokio::test]
async fn a_real_maildir_is_filled() {
    let root = tempfile::tempdir().unwrap();
    let mut route = table(&["a.example"])
        .lookup(&Mailbox::parse("u@a.example").unwrap(), &Origin::default())
        .unwrap()
        .clone();
    route.transport = Transport::Maildir {
        path: format!("{}/{{domain}}/{{local}}", root.path().display()),
        recipients: LocalRecipients::Any,
        sent_folder: "Sent".into(),
    };
    let options = Options {
        routes: RouteTable::new(vec![route]).unwrap(),
        ..options()
    };
    let deliver = crate::deliver::Options {
        hostname: "mx.ours.example".into(),
        maildir_writers: 4,
        hops: crate::deliver::hop::Options {
            hello_name: Domain::parse("mx.ours.example").unwrap(),
            connect: Duration::from_secs(1),
            opening: Duration::from_secs(1),
            timeouts: Default::default(),
            waits: Default::default(),
            scratch: root.path().join("scratch"),
            own_ports: Arc::default(),
        },
        levels: Default::default(),
    };
    let reach = crate::reach::Reach::new(crate::dns::Dns::new(Default::default()), None);
    let deliver = Deliver::new(deliver, reach, crate::dkim::Dkim::silent());
    let custody = Arc::new(Memory::default());
    for number in 0..20 {
        let due = State::Due(SystemTime::UNIX_EPOCH);
        custody.add(
            &id(number),
            &["u@a.example", "v@a.example"],
            SystemTime::now(),
            due,
        );
    }
    let surroundings = Surroundings {
        now: Box::new(SystemTime::now),
        random: Box::new(|| 0),
        octets: Box::new(|| [7; 16]),
        id: Box::new(|| ulid::Ulid(0xffff)),
        dkim: crate::dkim::Dkim::silent(),
    };
    let (_fresh, arrivals) = mpsc::channel(1);
    let cancel = CancellationToken::new();
    let (arrivals, kept) = (Channel(arrivals), custody.clone());
    let queue = Queue::start_with(
        options,
        deliver,
        kept,
        arrivals,
        cancel.clone(),
        surroundings,
    );
    let all = async {
        while !custody.all(State::Delivered) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all)
        .await
        .unwrap();
    cancel.cancel();
    queue.stopped().await;
    for local in ["u", "v"] {
        let new = root.path().join("a.example").join(local).join("new");
        assert_eq!(std::fs::read_dir(new).unwrap().count(), 20, "{local}");
    }
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        locked(&self.0).extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn each_outcome_is_one_line_in_the_log() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .without_time()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let world = World::new(
        options(),
        Box::new(|_, recipient| match recipient.attempts {
            0 => Reaction::Defer,
            _ => Reaction::Deliver,
        }),
    );
    world.fresh(1, &["u@a.example"]);
    world.until_all(State::Delivered).await;
    let text = String::from_utf8(locked(&log.0).clone()).unwrap();
    let lines: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once("delivery attempt "))
        .collect();
    let id = id(1);
    let fields = |delay: &str, rest: &str| {
        format!(
            "queue_id={id} to=u@a.example relay=\"a.example\" next_hop=\"a.example\" delay={delay} {rest}"
        )
    };
    let first = fields(
        "0.0",
        "attempts=1 dsn=4.2.0 status=\"deferred\" reason=\"says the script\"",
    );
    assert_eq!(lines[0].1, first);
    assert!(
        lines[1]
            .1
            .ends_with("attempts=2 dsn=2.0.0 status=\"delivered\" reason=\"here\"")
    );
    assert_eq!(lines.len(), 2);
}
