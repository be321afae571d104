//! Next hops that do not answer cost those who do nothing.

use std::{sync::atomic::Ordering, time::Duration};

use super::{memory::*, world::*};
use crate::{
    queue::Options,
    spool::{AttemptRecord, Next},
};

fn silent(after: u64) -> Reaction {
    Reaction::Silent {
        after: Duration::from_secs(after),
        until: Duration::from_secs(300),
    }
}

/// R5321-4.5.4g.
#[tokio::test(start_paused = true)]
async fn mail_for_a_silent_next_hop_costs_one_attempt_in_all() {
    let world = World::new(relays(&["a.example"]), always(|| silent(0)));
    for number in 0..100 {
        world.fresh(number, &["u@a.example"]);
    }
    tokio::time::sleep(Duration::from_secs(250)).await;
    let tried = world.attempts().len();
    assert!(tried <= 32, "{tried} attempts at a dead next hop");
    let records = locked(&world.custody.records);
    let again = |record: &AttemptRecord| matches!(record.next, Next::At(_));
    assert!(records.iter().all(again));
    assert!(records.len() >= 100);
}

/// R5321-4.5.4h: what is refused of one message says nothing of another.
#[tokio::test(start_paused = true)]
async fn a_refusal_is_no_silence() {
    let world = World::new(relays(&["a.example"]), always(|| Reaction::Refuse));
    for number in 0..50 {
        world.fresh(number, &["u@a.example"]);
    }
    world.until_all(State::GivenUp).await;
    assert_eq!(world.attempts().len(), 50);
}

#[tokio::test(start_paused = true)]
async fn a_next_hop_that_comes_back_is_tried_with_one_job_and_then_with_all() {
    let world = World::new(
        relays(&["a.example"]),
        Box::new(|_, recipient| match recipient.attempts {
            0 => silent(0),
            _ => Reaction::Hang(Duration::from_secs(5)),
        }),
    );
    for number in 0..20 {
        world.fresh(number, &["u@a.example"]);
    }
    world.until_all(State::Delivered).await;
    let attempts = world.attempts();
    let back: Vec<_> = attempts
        .iter()
        .filter(|it| !it.delivered.is_empty())
        .map(|it| it.at)
        .collect();
    assert_eq!(back.len(), 20);
    assert!(back[1] >= back[0] + 5, "{back:?}");
    assert!(back[19] <= back[1] + 5, "{back:?}");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_dead_next_hops_do_not_slow_the_living() {
    let dead: Vec<_> = (0..10_000).map(|n| format!("dead{n}.example")).collect();
    let mut domains: Vec<&str> = dead.iter().map(String::as_str).collect();
    domains.push("living.example");
    let world = World::new(
        relays(&domains),
        Box::new(|hop, _| match hop {
            "living.example" => Reaction::Deliver,
            _ => silent(30),
        }),
    );
    world.fresh(100_000, &["u@living.example"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (number, domain) in dead.iter().enumerate() {
        world.due(number, &[&format!("u@{domain}")], 0);
    }
    world.queue.wake();
    tokio::time::sleep(Duration::from_secs(120)).await;
    for number in 0..200 {
        world.fresh(200_000 + number, &["u@living.example"]);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let late: Vec<_> = world
        .attempts()
        .into_iter()
        .filter(|it| it.hop == "living.example")
        .enumerate()
        .filter(|(nth, it)| *nth > 0 && it.at > 121 + *nth as u64)
        .collect();
    assert!(late.is_empty(), "{late:?}");
    assert_eq!(deliveries(&world.attempts()).len(), 201);
}

/// What waits at a start does not wait for more than the first answer.
#[tokio::test(start_paused = true)]
async fn a_new_next_hop_that_answers_is_served_without_a_pause() {
    let world = World::new(
        relays(&["a.example"]),
        always(|| Reaction::Hang(Duration::from_millis(20))),
    );
    for number in 0..1_000 {
        world.due(number, &["u@a.example"], 0);
    }
    world.queue.wake();
    // A thousand at 20 ms each, 32 at a time, take 0.6 s.
    world.until_all(State::Delivered).await;
    let seconds = world.clock.seconds();
    assert!(seconds <= 1, "{seconds} s");
    assert_delivered_once(&world);
}

#[tokio::test(start_paused = true)]
async fn a_slow_next_hop_with_a_long_queue_leaves_room_for_others() {
    let slow = Options {
        attempts_per_hop: 2,
        ..relays(&["slow.example", "quick.example"])
    };
    let world = World::new(
        slow,
        Box::new(|hop, _| match hop {
            "slow.example" => Reaction::Hang(Duration::from_secs(10)),
            _ => Reaction::Deliver,
        }),
    );
    for number in 0..900 {
        world.fresh(number, &["u@slow.example"]);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.fresh(5_000, &["u@quick.example"]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(world.attempts().iter().any(|it| it.hop == "quick.example"));
    // All of them are served in the end, and about as fast as the slow one works.
    world.until_all(State::Delivered).await;
    let seconds = world.clock.seconds();
    assert!((4_500..7_000).contains(&seconds), "{seconds} s");
    assert_delivered_once(&world);
}

#[tokio::test(start_paused = true)]
async fn what_is_withdrawn_is_free_and_stays_so_until_somebody_wakes_the_queue() {
    let few = Options {
        attempts: 1,
        ..options()
    };
    let world = World::new(few, always(|| Reaction::Hang(Duration::from_secs(60))));
    for number in 0..10 {
        world.fresh(number, &["u@a.example"]);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.queue.withdraw().await;
    let claimed = |world: &World| {
        let states = world.custody.states().into_iter();
        states.filter(|state| *state == State::Claimed).count()
    };
    assert_eq!(claimed(&world), 1, "more than the one under way");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(claimed(&world), 1, "claimed again at once");
    world.queue.wake();
    world.until_all(State::Delivered).await;
    assert_delivered_once(&world);
}

#[tokio::test(start_paused = true)]
async fn a_silent_next_hop_is_tried_at_once_where_somebody_asks() {
    let world = World::new(
        relays(&["a.example"]),
        Box::new(|_, recipient| match recipient.attempts {
            0 => silent(0),
            _ => Reaction::Deliver,
        }),
    );
    world.fresh(1, &["u@a.example"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // What an operator's retry does to the rows.
    for row in locked(&world.custody.rows).values_mut() {
        row.state = State::Due(world.clock.now());
    }
    world.queue.try_all();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(world.custody.all(State::Delivered));
}

/// Hops that let us in and then say nothing, each with more than its places.
#[tokio::test(start_paused = true)]
async fn hops_that_hang_do_not_slow_the_living() {
    for (hops, messages) in [(4, 100), (6, 60), (8, 100), (100, 5)] {
        let hang: Vec<_> = (0..hops).map(|n| format!("hang{n}.example")).collect();
        let mut domains: Vec<&str> = hang.iter().map(String::as_str).collect();
        domains.push("living.example");
        let options = Options {
            attempts_per_hop: 16,
            ..relays(&domains)
        };
        let world = World::new(
            options,
            Box::new(|hop, _| match hop {
                "living.example" => Reaction::Deliver,
                _ => Reaction::DeferLate(Duration::from_secs(600)),
            }),
        );
        world.fresh(100_000, &["u@living.example"]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        for number in 0..messages {
            for (nth, domain) in hang.iter().enumerate() {
                world.fresh(nth * 1_000 + number, &[&format!("u@{domain}")]);
            }
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        for number in 0..100 {
            world.fresh(200_000 + number, &["u@living.example"]);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let delivered = deliveries(&world.attempts()).len();
        assert!(
            delivered >= 100,
            "{delivered} of 101 behind {hops} x {messages}"
        );
        world.stop().await;
    }
}

/// A machine that was off for a week starts before its network does.
#[tokio::test(start_paused = true)]
async fn old_mail_is_not_given_up_for_a_hop_that_others_found_silent() {
    let world = World::new(
        relays(&["a.example"]),
        Box::new(|_, recipient| match recipient.attempts {
            0 => silent(1),
            _ => Reaction::Deliver,
        }),
    );
    let old = world.clock.now() - Duration::from_secs(6 * 24 * 3600);
    for number in 0..100 {
        let due = State::Due(world.clock.now());
        world.custody.add(&id(number), &["u@a.example"], old, due);
    }
    world.queue.wake();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let given_up = world
        .custody
        .states()
        .into_iter()
        .filter(|it| *it == State::GivenUp)
        .count();
    let attempts = world.attempts().len();
    assert!(
        given_up <= attempts && attempts <= 32,
        "{given_up} of {attempts} that were tried"
    );
    tokio::time::sleep(Duration::from_secs(900)).await;
    let states = world.custody.states();
    assert!(
        states
            .iter()
            .all(|state| matches!(state, State::Delivered | State::GivenUp)),
        "{states:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_withdrawn_from_a_failing_spool_is_free_in_the_end() {
    let few = Options {
        attempts: 1,
        ..options()
    };
    let world = World::new(few, always(|| Reaction::Hang(Duration::from_secs(5))));
    for number in 0..10 {
        world.fresh(number, &["u@a.example"]);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.custody.failing_records.store(3, Ordering::SeqCst);
    world.queue.withdraw().await;
    world.queue.wake();
    world.until_all(State::Delivered).await;
    assert_delivered_once(&world);
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_waits_for_the_look_under_way() {
    let world = World::new(
        options(),
        always(|| Reaction::Hang(Duration::from_secs(60))),
    );
    tokio::time::sleep(Duration::from_secs(10)).await;
    for number in 0..100 {
        world.due(number, &["u@a.example"], 0);
    }
    world.queue.wake();
    // The look has begun; what it finds comes ten milliseconds later.
    tokio::time::sleep(Duration::from_millis(5)).await;
    world.queue.withdraw().await;
    let claimed = world
        .custody
        .states()
        .into_iter()
        .filter(|it| *it == State::Claimed)
        .count();
    assert_eq!((claimed, world.attempts().len()), (0, 0));
}
