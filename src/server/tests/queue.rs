//! Mail in custody as an operator meets it at a running server.

use super::*;
use crate::store::queue::{Change, Filter, RecipientState, Tally, Verb};

/// One message, due since 1970.
const OVERDUE: [&str; 2] = [
    "INSERT INTO messages (number, id, account_name, sender, body_type, smtputf8, size_octets,
                           received_at)
     VALUES (1, '00000000000000000000000001', 'ann', '', '7bit', 0, 10, 0)",
    "INSERT INTO recipients (message, number, address, status, next_attempt_at)
     VALUES (1, 0, 'bob@example.org', 'due', 0)",
];

async fn start() -> (Place, Arc<Running>) {
    let mut place = Place::new();
    place.more = "[queue]\nhold = true\n".into();
    let running = place.start().await.unwrap();
    for statement in OVERDUE {
        running.store.execute(statement).await;
    }
    (place, running)
}

async fn change(place: &Place, verb: Verb, filter: Filter) -> Tally {
    let change = Box::new(Change { verb, filter });
    let request = Request::ChangeQueue { change, from: None };
    match ask(place, request).await.unwrap() {
        Some(Answer::QueueChanged { tally, next: None }) => tally,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn changes_are_asked_for_at_the_control_socket() {
    let (place, running) = start().await;
    let someone = |name: &str| Filter {
        account: Some(name.into()),
        ids: vec!["00000000000000000000000001".into(), "x".into()],
        ..Filter::default()
    };
    let other = change(&place, Verb::Hold, someone("dan")).await;
    assert_eq!(
        (other.recipients, &other.unknown[..]),
        (0, &["x".into()][..])
    );
    let held = change(&place, Verb::Hold, someone("ann")).await;
    assert_eq!((held.recipients, held.messages), (1, 1));
    assert_eq!(running.queue_counts().await.unwrap().held, 1);
    let states = Filter {
        states: vec![RecipientState::Due],
        ..Filter::default()
    };
    let cancelled = change(&place, Verb::Cancel, states).await;
    assert_eq!(cancelled, Tally::default());
    let cancelled = change(&place, Verb::Cancel, Filter::default()).await;
    assert_eq!((cancelled.recipients, cancelled.messages), (1, 1));
    assert_eq!(running.queue_counts().await.unwrap().messages, 0);
    running.stop().await;
}

/// As many ids as one request may have fit into its line.
#[tokio::test]
async fn a_request_may_name_a_thousand_messages() {
    let (place, running) = start().await;
    let ids = (0..control::IDS_MAX as u128).map(|n| ulid::Ulid(u128::MAX - n).to_string());
    let filter = Filter {
        ids: ids.collect(),
        ..Filter::default()
    };
    let tally = change(&place, Verb::Cancel, filter).await;
    assert_eq!(tally.unknown.len(), control::IDS_MAX);
    running.stop().await;
}

#[tokio::test]
async fn health_tells_when_delivery_lags() {
    let (place, running) = start().await;
    let [told] = &running.delays().await[..] else {
        panic!("one delay");
    };
    assert!(told.starts_with("queue.hold keeps mail back"), "{told}");
    assert!(running.lag().await.unwrap() > std::time::Duration::from_secs(1_000_000));
    // It is no reason to refuse mail.
    assert!(running.troubles().await.is_empty());
    change(&place, Verb::Hold, Filter::default()).await;
    assert!(running.delays().await.is_empty());
    assert_eq!(running.lag().await, Some(std::time::Duration::ZERO));
    running.stop().await;
}
