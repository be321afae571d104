//! What senders hear, and when.

use std::{sync::atomic::Ordering, time::Duration};

use super::{memory::*, world::*};
use crate::{
    envelope::Reporting,
    queue::Options,
    smtp::{Mailbox, Notify},
    spool::EventKind,
};

const DAY: u64 = 24 * 3600;

/// A world whose messages are alice's.
fn world(options: Options, script: Script) -> World {
    let world = World::new(options, script);
    *locked(&world.custody.sender) = Some(Mailbox::parse("alice@ours.example").unwrap());
    world
}

/// Kind of each report by its Subject, and the recipients it tells of.
fn reports(world: &World) -> Vec<(String, usize)> {
    let reports = locked(&world.custody.reports);
    let told = reports.iter().map(|report| {
        let header = String::from_utf8(report.header.to_vec()).unwrap();
        let body = String::from_utf8(report.body.to_vec()).unwrap();
        assert!(report.envelope.sender.mailbox().is_none());
        assert_eq!(
            report.envelope.recipients[0].mailbox.to_string(),
            "alice@ours.example"
        );
        let subject = header
            .lines()
            .find_map(|line| line.strip_prefix("Subject: "));
        let recipients = body.matches("Final-Recipient:").count();
        (subject.unwrap().to_owned(), recipients)
    });
    told.collect()
}

fn failure(recipients: usize) -> (String, usize) {
    ("Your message could not be delivered".into(), recipients)
}

/// R5321-6.1a, R5321-3.6.3a, R5321-3.3i, R5321-4.1.1.4c, R5321-4.4j, R3464-3a: one report for all that
/// failed, whatever their next hops, to the reverse-path and nobody that the header names.
#[tokio::test(start_paused = true)]
async fn the_sender_hears_once_of_all_recipients_that_failed() {
    let world = world(
        options(),
        Box::new(|hop, _| match hop {
            "a.example" => Reaction::Refuse,
            _ => Reaction::RefuseLate(Duration::from_secs(10)),
        }),
    );
    world.fresh(1, &["u@a.example", "v@a.example", "u@b.example"]);
    world.until_all(State::GivenUp).await;
    assert_eq!(reports(&world), [failure(3)]);
    assert_eq!(world.attempts().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_next_hop_that_hangs_does_not_keep_the_sender_from_hearing_of_another() {
    let world = world(
        options(),
        Box::new(|hop, _| match hop {
            "a.example" => Reaction::Refuse,
            _ => Reaction::RefuseLate(Duration::from_secs(600)),
        }),
    );
    world.fresh(1, &["u@a.example", "u@b.example"]);
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(reports(&world), [failure(1)]);
    world.until_all(State::GivenUp).await;
    assert_eq!(reports(&world), [failure(1), failure(1)]);
}

/// What was delivered is recorded at once, whatever else is still to be told of the message.
#[tokio::test(start_paused = true)]
async fn a_delivery_does_not_wait_for_failures_to_be_told() {
    let world = world(
        options(),
        Box::new(|hop, recipient| match (hop, recipient.number) {
            ("a.example", 1) => Reaction::Deliver,
            ("a.example", _) => Reaction::Refuse,
            _ => Reaction::RefuseLate(Duration::from_secs(20)),
        }),
    );
    world.fresh(1, &["u@a.example", "v@a.example", "u@b.example"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let states = world.custody.states();
    assert_eq!(states, [State::Delivered, State::Claimed, State::Claimed]);
}

/// R5321-4.5.4d, R3461-4.1b: after an hour, then each day, and in the end for good.
#[tokio::test(start_paused = true)]
async fn delays_are_told_after_an_hour_then_daily_and_the_end_as_a_failure() {
    let world = world(options(), always(|| Reaction::Defer));
    world.fresh(1, &["u@a.example"]);
    world
        .until("an hour passed", |world| world.clock.seconds() > 3600)
        .await;
    tokio::time::sleep(Duration::from_secs(1800)).await;
    let delay = ("Your message is delayed".to_owned(), 1);
    assert_eq!(reports(&world), std::slice::from_ref(&delay));
    world.until_all(State::GivenUp).await;
    let told = reports(&world);
    assert!((5 * DAY..5 * DAY + 60).contains(&world.clock.seconds()));
    assert_eq!(told.last(), Some(&failure(1)));
    let delays = told.iter().filter(|report| **report == delay).count();
    assert!((4..=5).contains(&delays), "{told:?}");
    assert_eq!(told.len(), delays + 1);
    let text = String::from_utf8(locked(&world.custody.reports).last().unwrap().body.to_vec());
    let text = text.unwrap();
    assert!(
        text.contains("Status: 4.4.7") && text.contains("says the script"),
        "{text}"
    );
}

/// R5321-4.5.4e.
#[tokio::test(start_paused = true)]
async fn other_schedules_are_obeyed() {
    let quick = Options {
        notices: crate::policy::retry::Notices {
            first: Duration::from_secs(120),
            every: Duration::from_secs(600),
        },
        schedule: crate::policy::retry::Schedule {
            give_up_after: Duration::from_secs(1800),
            ..Default::default()
        },
        ..options()
    };
    let world = world(quick, always(|| Reaction::Defer));
    world.fresh(1, &["u@a.example"]);
    world.until_all(State::GivenUp).await;
    assert!((1800..1810).contains(&world.clock.seconds()));
    // Attempts at 0, 60, 180, 420, 900 and 1800 s.
    let subjects: Vec<_> = reports(&world)
        .into_iter()
        .map(|(subject, _)| subject)
        .collect();
    let delayed = "Your message is delayed";
    assert_eq!(
        subjects,
        [delayed, delayed, "Your message could not be delivered"]
    );
}

/// R3461-5.2.2b, R3461-5.2.2d.
#[tokio::test(start_paused = true)]
async fn what_was_not_asked_for_is_not_told() {
    let world = world(options(), always(|| Reaction::Refuse));
    world.fresh_asking(1, &["u@a.example"], Notify::parse("NEVER"));
    world.fresh_asking(2, &["u@a.example"], Notify::parse("SUCCESS,DELAY"));
    world.until_all(State::GivenUp).await;
    assert!(reports(&world).is_empty());
    assert!(locked(&world.custody.events).is_empty());
}

/// R3461-5.2.2c, R3461-5.2.2e, R3464-2.3.3b.
#[tokio::test(start_paused = true)]
async fn success_is_told_where_it_was_asked_for_and_nobody_else_tells_it() {
    for (reaction, told) in [
        (
            (|| Reaction::Deliver) as fn() -> Reaction,
            Some("Action: delivered"),
        ),
        (|| Reaction::Relay(Reporting::None), Some("Action: relayed")),
        (|| Reaction::Relay(Reporting::Promised), None),
    ] {
        let world = world(options(), always(reaction));
        world.fresh_asking(1, &["u@a.example"], Notify::parse("SUCCESS"));
        world.until_all(State::Delivered).await;
        let reports = locked(&world.custody.reports);
        assert_eq!(reports.len(), usize::from(told.is_some()));
        if let Some(action) = told {
            let body = String::from_utf8(reports[0].body.to_vec()).unwrap();
            assert!(body.contains(action), "{body}");
        }
    }
}

/// R5321-6.1b, R3461-6.1a, R3464-2c: never a report for a report.
#[tokio::test(start_paused = true)]
async fn mail_without_a_sender_ends_in_an_event() {
    let world = World::new(options(), always(|| Reaction::Refuse));
    world.fresh(1, &["u@a.example"]);
    world.until_all(State::GivenUp).await;
    assert!(locked(&world.custody.reports).is_empty());
    let events = locked(&world.custody.events);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].kind, EventKind::Undeliverable);
    assert_eq!(events[0].status.code.to_string(), "5.2.0");
}

/// Without its content a message cannot be reported on, so it does not end.
#[tokio::test(start_paused = true)]
async fn who_cannot_be_told_of_yet_is_tried_again() {
    let world = world(
        options(),
        always(|| Reaction::Silent {
            after: Duration::ZERO,
            until: Duration::from_secs(600),
        }),
    );
    world.custody.failing_contents.store(0, Ordering::SeqCst);
    world.due(1, &["u@a.example"], 0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // From here on it is deferred without an attempt, so its content is read for the report alone.
    world.custody.failing_contents.store(3, Ordering::SeqCst);
    world.until_all(State::GivenUp).await;
    assert_eq!(world.custody.failing_contents.load(Ordering::SeqCst), 0);
    assert_eq!(reports(&world).last(), Some(&failure(1)));
}
