//! Deadlines (RFC 2852), and what is urgent (RFC 6710).

use std::time::Duration;

use super::{memory::*, world::*};
use crate::{
    envelope::{Deadline, Reporting, Timing},
    queue::Options,
    smtp::{DeliverBy, Mailbox, Notify, Priority},
};

/// A world whose messages are alice's and ask for this.
fn world(options: Options, by: &str, script: Script) -> World {
    let world = World::new(options, script);
    *locked(&world.custody.sender) = Some(Mailbox::parse("alice@ours.example").unwrap());
    let by = DeliverBy::parse(by).unwrap();
    *locked(&world.custody.timing) = Timing {
        priority: Priority::new(4),
        deadline: Some(Deadline::of(by, world.clock.now())),
    };
    world
}

/// Action and status of each report.
fn told(world: &World) -> Vec<(String, String)> {
    let reports = locked(&world.custody.reports);
    let told = reports.iter().map(|report| {
        let body = String::from_utf8(report.body.to_vec()).unwrap();
        assert!(body.contains("\r\nDeliver-By-Date: "), "{body}");
        assert!(body.contains("\r\nArrival-Date: "), "{body}");
        let field = |name: &str| {
            let mut lines = body.lines();
            lines
                .find_map(|line| line.strip_prefix(name))
                .unwrap()
                .to_owned()
        };
        (field("Action: "), field("Status: "))
    });
    told.collect()
}

fn row(action: &str, status: &str) -> (String, String) {
    (action.to_owned(), status.to_owned())
}

/// R2852-4.1.3a, R2852-5a.
#[tokio::test(start_paused = true)]
async fn mail_goes_back_at_its_deadline() {
    let world = world(options(), "100;R", always(|| Reaction::Defer));
    world.fresh(1, &["u@a.example"]);
    world.until_all(State::GivenUp).await;
    // Attempts at 0 and 60 s; none at the deadline.
    assert_eq!(world.attempts().len(), 2);
    assert!((100..102).contains(&world.clock.seconds()));
    assert_eq!(told(&world), [row("failed", "5.4.7")]);
}

/// R2852-4.1.3a: also where nobody knows yet whether the next hop is there at all.
#[tokio::test(start_paused = true)]
async fn mail_for_a_silent_hop_goes_back_at_its_deadline() {
    let world = world(
        options(),
        "100;R",
        always(|| Reaction::Silent {
            after: Duration::ZERO,
            until: Duration::from_secs(3600),
        }),
    );
    world.fresh(1, &["u@a.example"]);
    world.until_all(State::GivenUp).await;
    assert!((100..102).contains(&world.clock.seconds()));
    assert_eq!(told(&world), [row("failed", "5.4.7")]);
}

/// R2852-4.1.2a.
#[tokio::test(start_paused = true)]
async fn a_refusal_before_the_deadline_is_one_like_any_other() {
    let world = world(options(), "100;R", always(|| Reaction::Refuse));
    world.fresh(1, &["u@a.example"]);
    world.until_all(State::GivenUp).await;
    assert_eq!(told(&world), [row("failed", "5.2.0")]);
}

/// R2852-4.1.3b: told at the deadline and tried on.
#[tokio::test(start_paused = true)]
async fn mail_that_is_late_is_told_of_and_tried_on() {
    let world = world(options(), "100;N", always(|| Reaction::Defer));
    world.fresh_asking(1, &["u@a.example"], Notify::parse("DELAY"));
    tokio::time::sleep(Duration::from_secs(99)).await;
    assert!(told(&world).is_empty());
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(told(&world), [row("delayed", "4.4.7")]);
    let ats: Vec<_> = world.attempts().iter().map(|tried| tried.at).collect();
    assert_eq!(ats, [0, 60, 100]);
    tokio::time::sleep(Duration::from_secs(3000)).await;
    assert_eq!(told(&world).len(), 1, "once");
    assert!(world.attempts().len() > 4);
}

/// R2852-4.1.3b: whoever does not want to hear of delays does not.
#[tokio::test(start_paused = true)]
async fn who_asked_for_failures_hears_of_no_deadline() {
    let world = world(options(), "0;N", always(|| Reaction::Defer));
    world.fresh_asking(1, &["u@a.example"], Notify::parse("FAILURE"));
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(told(&world).is_empty());
}

/// R2852-4.1.4b, R2852-4.1.4.2a.
#[tokio::test(start_paused = true)]
async fn a_traced_relay_is_told_unless_nothing_is_to_be() {
    let traced = || always(|| Reaction::Relay(Reporting::Traced));
    for (notify, expected) in [
        (None, 1),
        (Some("FAILURE"), 1),
        (Some("SUCCESS"), 1),
        (Some("NEVER"), 0),
    ] {
        let world = world(options(), "100;NT", traced());
        world.fresh_asking(1, &["u@a.example"], notify.and_then(Notify::parse));
        world.until_all(State::Delivered).await;
        let told = told(&world);
        assert_eq!(told.len(), expected, "{notify:?}");
        assert!(told.iter().all(|it| it.0 == "relayed"), "{told:?}");
    }
}

/// R6710-4.6a.
#[tokio::test(start_paused = true)]
async fn a_report_is_as_urgent_as_what_it_tells_of() {
    let world = world(options(), "100;N", always(|| Reaction::Refuse));
    world.fresh(1, &["u@a.example"]);
    world.until_all(State::GivenUp).await;
    let reports = locked(&world.custody.reports);
    let timing = reports[0].envelope.timing;
    assert_eq!((timing.priority, timing.deadline), (Priority::new(4), None));
}
