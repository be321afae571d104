//! Stops and kills.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use proptest::prelude::*;

use super::{memory::*, world::*};
use crate::{queue::Options, smtp::Mailbox, spool::Next};

#[tokio::test(start_paused = true)]
async fn a_stop_finishes_what_is_under_way_and_releases_the_rest() {
    let few = Options {
        attempts: 2,
        ..options()
    };
    let world = World::new(few, always(|| Reaction::Hang(Duration::from_secs(5))));
    for number in 0..10 {
        world.fresh(number, &["u@a.example"]);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.cancel.cancel();
    world.fresh(10, &["u@a.example"]);
    world.queue.stopped().await;
    assert_eq!(world.attempts().len(), 2);
    assert_eq!(deliveries(&world.attempts()).len(), 2);
    let states = world.custody.states();
    assert_eq!(
        states
            .iter()
            .filter(|state| **state == State::Delivered)
            .count(),
        2
    );
    assert!(
        !states.contains(&State::Claimed),
        "a claim was kept: {states:?}"
    );
    assert!((5..7).contains(&world.clock.seconds()));
}

#[tokio::test(start_paused = true)]
async fn a_stop_cuts_off_attempts_that_outlast_the_limit() {
    let world = World::new(
        options(),
        always(|| Reaction::Hang(Duration::from_secs(3600))),
    );
    world.fresh(1, &["u@a.example"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.stop().await;
    assert!((20..30).contains(&world.clock.seconds()));
    assert_eq!(*locked(&world.custody.released), [id(1)]);
    assert!(!world.custody.states().contains(&State::Claimed));
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_ever_for_a_failing_spool() {
    let world = World::new(options(), always(|| Reaction::Deliver));
    world
        .custody
        .failing_records
        .store(usize::MAX, Ordering::SeqCst);
    world.fresh(1, &["u@a.example"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.stop().await;
    assert!(world.clock.seconds() < 30);
}

/// One life of the queue that ends without warning after so many milliseconds.
fn life(custody: &Arc<Memory>, millis: u64) -> Vec<Tried> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let runtime = runtime.unwrap();
    let hops = runtime.block_on(async {
        // Every third recipient is refused, for good.
        let slow: Script = Box::new(|_, recipient| match recipient.number % 3 {
            0 => Reaction::RefuseLate(Duration::from_millis(3)),
            _ => Reaction::Hang(Duration::from_millis(3)),
        });
        let few = Options {
            attempts: 3,
            ..options()
        };
        let world = World::with(custody.clone(), few, slow);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        world.hops.clone()
    });
    drop(runtime);
    custody.free_claims(SystemTime::UNIX_EPOCH);
    std::mem::take(&mut *locked(&hops.attempts))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Kill -9 at any moment: each recipient is served, and twice only where the record of the
    /// first time was lost.
    #[test]
    fn a_kill_at_any_moment_loses_nobody(kills in proptest::collection::vec(0_u64..60, 1..5)) {
        let custody = Arc::new(Memory::default());
        for number in 0..20 {
            let due = State::Due(SystemTime::UNIX_EPOCH);
            let received_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
            let addresses = ["u@a.example", "u@b.example", "v@a.example", "v@b.example"];
            custody.add(&id(number), &addresses, received_at, due);
        }
        *locked(&custody.sender) = Some(Mailbox::parse("alice@ours.example").unwrap());
        let mut seen = Vec::new();
        for millis in &kills {
            seen.extend(life(&custody, *millis));
        }
        seen.extend(life(&custody, 10_000));
        let ended = |state| custody.states().into_iter().filter(|it| *it == state).count();
        prop_assert_eq!((ended(State::Delivered), ended(State::GivenUp)), (60, 20));
        let counts = deliveries(&seen);
        prop_assert_eq!(counts.len(), 60);
        // Three attempts and one commit may be under way when the process dies.
        let twice: usize = counts.values().map(|count| count - 1).sum();
        prop_assert!(twice <= 6 * kills.len(), "{} duplicates in {} kills", twice, kills.len());
        let records = locked(&custody.records);
        let done = records.iter().filter(|record| record.next == Next::Done).count();
        prop_assert_eq!(done, 80);
        // Whoever was refused is told of once: the report is recorded with the end that it tells of.
        let reports = locked(&custody.reports);
        let told: usize = reports
            .iter()
            .map(|report| String::from_utf8_lossy(&report.body).matches("Final-Recipient:").count())
            .sum();
        prop_assert_eq!(told, 20);
    }
}
