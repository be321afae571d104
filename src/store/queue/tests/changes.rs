//! Filters, changes and history: what an operator's commands do to rows.

use super::*;

/// Messages by number: sender, account, age in seconds, recipients with status, attempts and claim.
struct Given(
    i64,
    &'static str,
    Option<&'static str>,
    i64,
    &'static [(&'static str, &'static str, i64, Option<i64>)],
);

const NOW: i64 = 1_800_000_000_000;

fn now() -> SystemTime {
    time(NOW)
}

fn stored_id(number: i64) -> String {
    format!("{number:026}")
}

async fn execute(store: &Store, statement: &'static str) {
    sqlx::query(statement)
        .execute(store.writer())
        .await
        .unwrap();
}

async fn given(store: &Store, messages: &[Given]) {
    for Given(number, sender, account, age, recipients) in messages {
        let received_at = NOW - age * 1000;
        sqlx::query(
            "INSERT INTO messages (number, id, account, account_name, sender, body_type, smtputf8,
                                   size_octets, received_at, message_id)
             VALUES ($1, $2, 7, $3, $4, '7bit', 0, 10, $5, '<m' || $1 || '@example.org>')",
        )
        .bind(number)
        .bind(stored_id(*number))
        .bind(account)
        .bind(sender)
        .bind(received_at)
        .execute(store.writer())
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO contents
             SELECT $1, CAST('Subject: x' || char(13, 10, 13, 10) AS BLOB), NULL,
                    '1-' || $1, 3",
        )
        .bind(number)
        .execute(store.writer())
        .await
        .unwrap();
        for (place, (address, status, attempts, claimed_by)) in recipients.iter().enumerate() {
            sqlx::query(
                "INSERT INTO recipients (message, number, address, status, next_attempt_at,
                                         attempts, claimed_by)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(number)
            .bind(place as i64)
            .bind(address)
            .bind(status)
            .bind(NOW + 60_000)
            .bind(attempts)
            .bind(claimed_by)
            .execute(store.writer())
            .await
            .unwrap();
        }
    }
}

/// A store with a living process and a dead one; their numbers.
async fn peopled() -> (tempfile::TempDir, Store, i64, i64) {
    let (directory, store) = store().await;
    let (dead, _) = store.begin_incarnation("here", now()).await.unwrap();
    let (living, _) = store.begin_incarnation("here", now()).await.unwrap();
    (directory, store, living.0, dead.0)
}

fn filter(change: impl FnOnce(&mut Filter)) -> Filter {
    let mut filter = Filter::default();
    change(&mut filter);
    filter
}

/// Does all of a change; in how many parts.
async fn done(store: &Store, verb: Verb, filter: Filter) -> (Tally, usize) {
    let change = Change { verb, filter };
    let (mut tally, mut from, mut parts) = (Tally::default(), None, 0);
    loop {
        let part = store.change_queue(&change, from, now()).await.unwrap();
        tally.append(part.tally);
        (from, parts) = (part.next, parts + 1);
        if from.is_none() {
            return (tally, parts);
        }
    }
}

async fn listed(store: &Store, filter: &Filter) -> Vec<(i64, Vec<u32>)> {
    let entries = store.queue_list(filter, now(), 0, 100).await.unwrap();
    let length = store.queue_length(filter, now(), 0).await.unwrap();
    assert_eq!(entries.len() as u64, length);
    let numbers = |entry: &QueueEntry| entry.recipients.iter().map(|to| to.number).collect();
    entries
        .iter()
        .map(|entry| (entry.number, numbers(entry)))
        .collect()
}

/// Status, next attempt and claim of every recipient, by message and place.
async fn rows(store: &Store) -> Vec<(i64, i64, String, i64, Option<i64>)> {
    sqlx::query_as(
        "SELECT message, number, status, next_attempt_at, claimed_by FROM recipients
          ORDER BY message, number",
    )
    .fetch_all(store.reader())
    .await
    .unwrap()
}

async fn count(store: &Store, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement)
        .fetch_one(store.reader())
        .await
        .unwrap()
}

async fn various() -> (tempfile::TempDir, Store) {
    let (directory, store, living, dead) = peopled().await;
    let messages = [
        Given(
            1,
            "Ann@Example.org",
            Some("ann"),
            10,
            &[
                ("bob@example.net", "due", 0, None),
                ("Cleo@xn--r8jz45g.jp", "due", 2, None),
            ],
        ),
        Given(
            2,
            "",
            Some("ann"),
            4000,
            &[("ann@example.org", "held", 1, None)],
        ),
        Given(
            3,
            "dan@sub.example.org",
            Some("dan"),
            90_000,
            &[
                ("\"x@example.net\"@other.example", "due", 0, None),
                ("bob@例え.jp", "due", 1, None),
                ("eve@example.net", "aside", 0, None),
            ],
        ),
    ];
    given(&store, &messages).await;
    // One claim of the living, one of the dead.
    for (claimed_by, message) in [(living, 1), (dead, 3)] {
        sqlx::query("UPDATE recipients SET claimed_by = $1 WHERE message = $2 AND number = 0")
            .bind(claimed_by)
            .bind(message)
            .execute(store.writer())
            .await
            .unwrap();
    }
    (directory, store)
}

#[tokio::test]
async fn a_filter_finds_what_it_means_and_nothing_else() {
    use RecipientState::{Aside, Claimed, Deferred, Due, Held};
    let (_directory, store) = various().await;
    let party = |text: &str| Some(text.parse::<Party>().unwrap());
    let ago = |seconds| Some(now() - Duration::from_secs(seconds));
    type Found<'a> = &'a [(i64, &'a [u32])];
    let table: [(&str, Filter, Found<'_>); 22] = [
        (
            "nothing asked",
            Filter::default(),
            &[(1, &[0, 1]), (2, &[0]), (3, &[0, 1, 2])],
        ),
        (
            "case is folded",
            filter(|it| it.sender = party("aNN@exampLe.ORG")),
            &[(1, &[0, 1])],
        ),
        (
            "null sender",
            filter(|it| it.sender = party("<>")),
            &[(2, &[0])],
        ),
        (
            "a domain has nothing below it",
            filter(|it| it.sender = party("example.org")),
            &[(1, &[0, 1])],
        ),
        (
            "another domain",
            filter(|it| it.sender = party("@sub.example.org")),
            &[(3, &[0, 1, 2])],
        ),
        (
            "only such recipients",
            filter(|it| it.recipient = party("example.net")),
            &[(1, &[0]), (3, &[2])],
        ),
        (
            "one recipient",
            filter(|it| it.recipient = party("eve@example.net")),
            &[(3, &[2])],
        ),
        (
            "both spellings of a domain",
            filter(|it| it.recipient = party("例え.jp")),
            &[(1, &[1]), (3, &[1])],
        ),
        (
            "wildcards are no wildcards",
            filter(|it| it.recipient = party("%@example.net")),
            &[],
        ),
        (
            "older",
            filter(|it| it.received_before = ago(3600)),
            &[(2, &[0]), (3, &[0, 1, 2])],
        ),
        (
            "younger",
            filter(|it| it.received_after = ago(3600)),
            &[(1, &[0, 1])],
        ),
        (
            "a span of ages",
            filter(|it| (it.received_before, it.received_after) = (ago(3600), ago(86_400))),
            &[(2, &[0])],
        ),
        (
            "account",
            filter(|it| it.account = Some("dan".into())),
            &[(3, &[0, 1, 2])],
        ),
        (
            "claims of the living",
            filter(|it| it.states = vec![Claimed]),
            &[(1, &[0])],
        ),
        (
            "claims of the dead are due",
            filter(|it| it.states = vec![Due]),
            &[(3, &[0])],
        ),
        (
            "deferred",
            filter(|it| it.states = vec![Deferred]),
            &[(1, &[1]), (3, &[1])],
        ),
        (
            "either state",
            filter(|it| it.states = vec![Held, Aside]),
            &[(2, &[0]), (3, &[2])],
        ),
        (
            "an id",
            filter(|it| it.ids = vec![stored_id(2)]),
            &[(2, &[0])],
        ),
        (
            "ids, in order of arrival, each once",
            filter(|it| it.ids = [3, 1, 3, 9].map(stored_id).to_vec()),
            &[(1, &[0, 1]), (3, &[0, 1, 2])],
        ),
        (
            "all conditions hold together",
            filter(|it| {
                it.ids = [1, 3].map(stored_id).to_vec();
                it.states = vec![Deferred];
                it.account = Some("dan".into());
            }),
            &[(3, &[1])],
        ),
        (
            "sender and recipient",
            filter(|it| (it.sender, it.recipient) = (party("example.org"), party("例え.jp"))),
            &[(1, &[1])],
        ),
        (
            "no message has both",
            filter(|it| (it.sender, it.states) = (party("<>"), vec![Due])),
            &[],
        ),
    ];
    for (shows, filter, expected) in table {
        let found = listed(&store, &filter).await;
        let found: Vec<_> = found
            .iter()
            .map(|(number, places)| (*number, &places[..]))
            .collect();
        assert_eq!(found, expected, "{shows}");
    }
}

#[tokio::test]
async fn a_list_goes_on_behind_the_last_message() {
    let (_directory, store) = various().await;
    let anything = Filter::default();
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = store.queue_list(&anything, now(), after, 1).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.number;
        seen.push(after);
    }
    assert_eq!(seen, [1, 2, 3]);
    assert_eq!(store.queue_length(&anything, now(), 1).await.unwrap(), 2);
}

#[tokio::test]
async fn counts_tell_states_and_ages() {
    let (_directory, store) = various().await;
    let counts = store.queue_counts(now()).await.unwrap();
    let expected = QueueCounts {
        later: 0,
        messages: 3,
        by_age: [1, 0, 1, 1],
        due: 1,
        deferred: 2,
        claimed: 1,
        held: 1,
        aside: 1,
    };
    assert_eq!(counts, expected);
    let oldest = store.oldest_due().await.unwrap();
    assert_eq!(oldest, Some(time(NOW + 60_000)));
    execute(&store, "DELETE FROM recipients").await;
    assert_eq!(store.oldest_due().await.unwrap(), None);
}

/// Whatever is asked for, a claim of the living is respected and told of.
#[tokio::test]
async fn each_verb_changes_what_it_concerns_and_no_living_claim() {
    use Verb::{Hold, Release, Retry};
    let later = NOW + 60_000;
    type Rows<'a> = [(&'a str, i64); 6];
    let table: [(Verb, [u64; 3], Rows<'_>); 3] = [
        (
            Hold,
            [3, 2, 1],
            [
                ("due", later),
                ("held", later),
                ("held", later),
                ("held", later),
                ("held", later),
                ("aside", later),
            ],
        ),
        (
            Release,
            [1, 1, 0],
            [
                ("due", later),
                ("due", later),
                ("due", NOW),
                ("due", later),
                ("due", later),
                ("aside", later),
            ],
        ),
        (
            Retry,
            [3, 2, 1],
            [
                ("due", later),
                ("due", NOW),
                ("held", later),
                ("due", NOW),
                ("due", NOW),
                ("aside", later),
            ],
        ),
    ];
    for (verb, counts, expected) in table {
        let (_directory, store) = various().await;
        let before = rows(&store).await;
        let (tally, _) = done(&store, verb, Filter::default()).await;
        assert_eq!(
            [tally.recipients, tally.messages, tally.under_way],
            counts,
            "{verb:?}"
        );
        let after = rows(&store).await;
        for ((row, before), expected) in after.iter().zip(&before).zip(expected) {
            assert_eq!((row.2.as_str(), row.3), expected, "{verb:?} {row:?}");
            let untouched = (&row.2, row.3) == (&before.2, before.3);
            assert_eq!(row.4, before.4.filter(|_| untouched), "{verb:?} {row:?}");
        }
    }
}

/// What is due is let be, and keeps its place in the line.
#[tokio::test]
async fn a_retry_changes_nothing_that_is_due() {
    let (_directory, store) = various().await;
    execute(
        &store,
        "UPDATE recipients SET next_attempt_at = 5 WHERE message = 3",
    )
    .await;
    let (tally, _) = done(&store, Verb::Retry, Filter::default()).await;
    assert_eq!((tally.recipients, tally.due_already), (1, 2));
    let of_third = rows(&store).await.into_iter().filter(|row| row.0 == 3);
    assert!(of_third.map(|row| row.3).all(|due_at| due_at == 5));
}

/// With the last recipient a message leaves, as after a delivery, and its account is told.
#[tokio::test]
async fn cancelled_mail_leaves_and_what_is_under_way_stays() {
    let (_directory, store) = various().await;
    let change = Change {
        verb: Verb::Cancel,
        filter: Filter::default(),
    };
    let part = store.change_queue(&change, None, now()).await.unwrap();
    assert_eq!(part.next, None);
    let tally = &part.tally;
    assert_eq!((tally.recipients, tally.messages), (5, 3));
    assert_eq!((tally.under_way, tally.missed), (1, 0));
    let place = |number, recipient: &str| Place {
        queue_id: stored_id(number),
        recipient: recipient.into(),
    };
    assert_eq!(tally.let_be, [place(1, "bob@example.net")]);
    assert_eq!(part.cancelled.len(), 5);
    assert_eq!(part.cancelled[1], place(2, "ann@example.org"));
    assert_eq!(part.ended_files, ["1-2", "1-3"]);
    assert_eq!(rows(&store).await.len(), 1);
    assert_eq!(count(&store, "SELECT count(*) FROM messages").await, 1);
    assert_eq!(count(&store, "SELECT count(*) FROM contents").await, 1);

    let trace = store.trace(&stored_id(3), now()).await.unwrap().unwrap();
    let message = trace.message.unwrap();
    assert_eq!(message.departed_at, Some(now()));
    assert_eq!(message.account_name.as_deref(), Some("dan"));
    assert_eq!(message.sender, "dan@sub.example.org");
    assert_eq!(message.received_at, time(NOW - 90_000_000));
    let tries: Vec<_> = trace.tries.iter().map(|it| it.outcome.as_str()).collect();
    assert_eq!(tries, ["cancelled"; 3]);
    let events = store.events(Some("dan"), 10).await.unwrap();
    let told: Vec<_> = events.iter().map(|it| it.recipient.as_str()).collect();
    assert_eq!(
        told,
        [
            "eve@example.net",
            "bob@例え.jp",
            "\"x@example.net\"@other.example"
        ]
    );
    assert!(events.iter().all(|it| it.kind == "cancelled"));
    assert_eq!(trace.events.len(), 3);
}

/// Exactly one of them has the recipient, whoever comes first.
#[tokio::test]
async fn a_claim_decides_between_delivery_and_cancel() {
    let (_directory, store, living, _) = peopled().await;
    given(
        &store,
        &[Given(
            1,
            "",
            None,
            1,
            &[
                ("a@example.org", "due", 0, None),
                ("b@example.org", "due", 0, None),
            ],
        )],
    )
    .await;
    let due = now() + Duration::from_secs(3600);
    let first = filter(|it| it.recipient = Some("a@example.org".parse().unwrap()));
    let (tally, _) = done(&store, Verb::Cancel, first).await;
    assert_eq!(tally.recipients, 1);
    let claimed = store
        .claim_due(Incarnation(living), due, Duration::from_secs(86_400), 10)
        .await
        .unwrap();
    let served: Vec<_> = claimed[0].recipients.iter().map(|to| to.number).collect();
    assert_eq!(served, [1], "what was cancelled is not served");
    let (tally, _) = done(&store, Verb::Cancel, Filter::default()).await;
    assert_eq!((tally.recipients, tally.under_way), (0, 1));
    assert_eq!(rows(&store).await.len(), 1);
}

/// Between the look and the change delivery goes on: what was found may be claimed or gone by then.
#[tokio::test]
async fn what_changed_since_the_look_is_told_apart() {
    let (_directory, store, living, _) = peopled().await;
    let recipients = &[
        ("a@example.org", "due", 0, None),
        ("b@example.org", "due", 0, None),
        ("c@example.org", "due", 0, None),
        ("d@example.org", "due", 0, None),
    ];
    given(&store, &[Given(1, "", None, 1, recipients)]).await;
    sqlx::query("UPDATE recipients SET claimed_by = $1 WHERE number = 1")
        .bind(living)
        .execute(store.writer())
        .await
        .unwrap();
    execute(
        &store,
        "UPDATE recipients SET status = 'held' WHERE number = 2",
    )
    .await;
    execute(&store, "DELETE FROM recipients WHERE number = 3").await;
    let mut part = Part::default();
    let mut transaction = store.writer().begin().await.unwrap();
    let found = [(1, 0), (1, 1), (1, 2), (1, 3)];
    let wanted = change::Wanted {
        states: &[RecipientState::Due, RecipientState::Claimed],
        due_after: None,
    };
    let taken = change::take(&mut transaction, &found, wanted, now(), &mut part).await;
    assert_eq!(taken.unwrap(), [(1, 0)]);
    assert_eq!((part.tally.under_way, part.tally.missed), (1, 2));
}

#[tokio::test]
async fn ids_that_nobody_has_are_told() {
    let (_directory, store) = various().await;
    let ids = filter(|it| it.ids = vec![stored_id(2), "nothing".into()]);
    let (tally, _) = done(&store, Verb::Release, ids).await;
    assert_eq!(tally.recipients, 1);
    assert_eq!(tally.unknown, ["nothing"]);
}

/// Each transaction is bounded; a message that lies in two parts counts once, and mail that comes
/// in the meantime is not touched.
#[tokio::test]
async fn a_long_walk_goes_in_parts() {
    let (_directory, store) = store().await;
    fill(&store, 2500).await;
    execute(
        &store,
        "INSERT INTO recipients (message, number, address, status, next_attempt_at)
         SELECT number, 1, 'b@example.org', 'due', 0 FROM messages",
    )
    .await;
    let change = Change {
        verb: Verb::Hold,
        filter: Filter::default(),
    };
    let first = store.change_queue(&change, None, now()).await.unwrap();
    assert_eq!((first.tally.recipients, first.tally.messages), (1000, 500));
    given(
        &store,
        &[Given(9000, "", None, 0, &[("new@x.y", "due", 0, None)])],
    )
    .await;
    let (mut from, mut recipients, mut messages) = (first.next, 1000, 500);
    while from.is_some() {
        let part = store.change_queue(&change, from, now()).await.unwrap();
        assert!(part.tally.recipients <= 1000);
        recipients += part.tally.recipients;
        messages += part.tally.messages;
        from = part.next;
    }
    assert_eq!((recipients, messages), (5000, 2500));
    let left = listed(&store, &filter(|it| it.states = vec![RecipientState::Due])).await;
    assert_eq!(left, [(9000, vec![0])]);
}

#[tokio::test]
async fn a_message_cut_by_the_end_of_a_part_counts_once() {
    let (_directory, store) = store().await;
    fill(&store, 1).await;
    execute(
        &store,
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1499)
         INSERT INTO recipients (message, number, address, status, next_attempt_at)
         SELECT 1, n, 'b@example.org', 'due', 0 FROM n",
    )
    .await;
    for (verb, parts) in [(Verb::Hold, 2), (Verb::Release, 2), (Verb::Cancel, 2)] {
        let (tally, made) = done(&store, verb, Filter::default()).await;
        assert_eq!((tally.recipients, tally.messages), (1500, 1), "{verb:?}");
        assert_eq!(made, parts);
    }
    assert_eq!(count(&store, "SELECT count(*) FROM messages").await, 0);
    assert_eq!(count(&store, "SELECT count(*) FROM departed").await, 1);
}

/// Where few match, a part ends at what it has looked at.
#[tokio::test]
async fn a_search_for_little_goes_in_parts_too() {
    let (_directory, store) = store().await;
    fill(&store, 45_000).await;
    execute(
        &store,
        "UPDATE recipients SET address = 'rare@example.org' WHERE message = 44000",
    )
    .await;
    let rare = filter(|it| it.recipient = Some("rare@example.org".parse().unwrap()));
    let (tally, parts) = done(&store, Verb::Hold, rare).await;
    assert_eq!((tally.recipients, parts), (1, 3));
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_listed_and_cancelled() {
    let (_directory, store) = various().await;
    execute(
        &store,
        "UPDATE messages SET sender = CAST(x'ff40' AS TEXT), id = CAST(x'fe' AS TEXT)
          WHERE number = 3",
    )
    .await;
    execute(
        &store,
        "UPDATE recipients SET address = CAST(x'ff' AS TEXT) WHERE message = 3",
    )
    .await;
    let listed = store.queue_list(&Filter::default(), now(), 2, 9).await;
    assert_eq!(listed.unwrap()[0].sender, "\u{fffd}@");
    let aside = filter(|it| it.states = vec![RecipientState::Aside]);
    let (tally, _) = done(&store, Verb::Cancel, aside).await;
    assert_eq!(tally.recipients, 1);
    assert!(store.events(None, 10).await.unwrap().len() == 1);
}

#[tokio::test]
async fn a_trace_is_found_by_message_id_and_tells_of_reports() {
    let (_directory, store) = various().await;
    // The report of message 3 has left; a first report of message 2 is still here.
    execute(
        &store,
        "UPDATE messages SET report_of = printf('%026d', 3), message_id = NULL WHERE number = 2",
    )
    .await;
    execute(
        &store,
        "INSERT INTO departed (id, message_id, sender, size_octets, received_at, departed_at,
                               report_of)
         VALUES ('R', NULL, '', 5, 1, 2, printf('%026d', 3)),
                ('ZZ', '<m3@example.org>', 'x@y.example', 5, 1, 2, NULL)",
    )
    .await;
    execute(
        &store,
        "INSERT INTO tries (queue_id, recipient, address, next_hop, started_at, ended_at, outcome,
                            text, said_by, host, peer, tls_version, tls_suite, tls_fingerprint,
                            tls_proof)
         VALUES ('R', 0, 'a@b.example', 'hop', 1, 2, 'delivered', 'new/1', 'us',
                 NULL, NULL, NULL, NULL, NULL, NULL),
                ('R', 0, 'a@b.example', 'hop', 1, 1, 'in vain', 'no', 'us',
                 NULL, NULL, NULL, NULL, NULL, NULL),
                (printf('%026d', 3), 1, 'b@c.example', 'hop', 1, 9, 'deferred', 'later', 'hop',
                 'mx2', '192.0.2.1:25', 'TLSv1.3', 'S', 'ab', 'webpki'),
                (printf('%026d', 3), 1, 'b@c.example', 'hop', 1, 9, 'in vain', 'refused', 'us',
                 'mx1', NULL, NULL, NULL, NULL, NULL)",
    )
    .await;
    let found = store.trace_message_id("<m3@example.org>", now()).await;
    let traces = found.unwrap();
    let ids: Vec<_> = traces.iter().map(|trace| trace.id.as_str()).collect();
    assert_eq!(ids, ["ZZ", &stored_id(3)], "newest first");
    let trace = &traces[1];
    assert_eq!(trace.waiting.len(), 3);
    let [before, last] = &trace.tries[..] else {
        panic!("two tries");
    };
    assert_eq!(
        (before.outcome.as_str(), before.host.as_deref()),
        ("in vain", Some("mx1"))
    );
    assert_eq!(before.tls, None);
    assert_eq!(last.peer.as_deref(), Some("192.0.2.1:25"));
    assert_eq!(last.tls.as_ref().unwrap().proof, "webpki");
    let [gone, here] = &trace.reports[..] else {
        panic!("two reports");
    };
    assert_eq!(gone.id, "R");
    assert_eq!(gone.last, Some(("delivered".into(), "new/1".into())));
    assert!(gone.departed_at.is_some() && gone.waiting.is_empty());
    assert_eq!(here.id, stored_id(2));
    assert_eq!(here.waiting[0].state, RecipientState::Held);
    assert!(store.trace("nothing", now()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_message_is_shown_with_its_header_and_read_as_it_is() {
    let (_directory, store) = various().await;
    let shown = store.queue_message(&stored_id(1), now()).await.unwrap();
    let shown = shown.unwrap();
    assert_eq!(shown.entry.recipients.len(), 2);
    assert_eq!(shown.header.as_deref(), Some(&b"Subject: x\r\n\r\n"[..]));
    assert_eq!(shown.message_id.as_deref(), Some("<m1@example.org>"));
    let content = store.stored_content(&stored_id(1)).await.unwrap().unwrap();
    assert_eq!(content.body_file.as_deref(), Some("1-1"));
    execute(&store, "DELETE FROM contents WHERE message = 1").await;
    let shown = store.queue_message(&stored_id(1), now()).await.unwrap();
    assert_eq!(shown.unwrap().header, None);
    assert!(store.stored_content(&stored_id(1)).await.unwrap().is_none());
    assert!(store.queue_message("x", now()).await.unwrap().is_none());
}

#[tokio::test]
async fn events_are_newest_first_and_of_one_account() {
    let (_directory, store) = store().await;
    execute(
        &store,
        "INSERT INTO events (at, account, account_name, kind, queue_id, recipient, text)
         VALUES (1, 7, 'ann', 'undeliverable', 'A', 'a@b.example', 'first'),
                (2, 8, 'dan', 'cancelled', 'B', 'a@b.example', 'second'),
                (3, 7, 'ann', 'cancelled', 'C', 'a@b.example', 'third')",
    )
    .await;
    let texts = async |account, limit| -> Vec<String> {
        let events = store.events(account, limit).await.unwrap();
        events.into_iter().map(|event| event.text).collect()
    };
    assert_eq!(texts(None, 2).await, ["third", "second"]);
    assert_eq!(texts(Some("ann"), 9).await, ["third", "first"]);
}

/// Whatever walks the queue does so along its key, and whatever changes it goes by keys.
#[tokio::test]
async fn statements_of_the_tools_keep_to_keys_and_indexes() {
    let (_directory, store) = store().await;
    fill(&store, 2000).await;
    let along_the_key = [
        list::LIST,
        list::LENGTH,
        change::statements::END,
        change::statements::WALK,
        history::statements::EVENTS,
    ];
    let by_key = [
        list::LIST_BY_ID,
        list::LENGTH_BY_ID,
        list::RECIPIENTS,
        counts::OLDEST_DUE,
        change::statements::BY_ID,
        change::statements::STATES,
        change::statements::HOLD,
        change::statements::RELEASE,
        change::statements::RETRY,
        change::statements::ENDING,
        change::statements::TRIES,
        change::statements::EVENTS,
        change::statements::END_RECIPIENTS,
        change::statements::ENDED_FILES,
        change::statements::DEPARTED,
        change::statements::END_MESSAGES,
        history::statements::MESSAGE,
        history::statements::WAITING,
        history::statements::TRIES,
        history::statements::LAST_TRY,
        history::statements::REPORTS,
        history::statements::EVENTS_OF_ACCOUNT,
    ];
    for (statement, may_walk) in along_the_key
        .map(|statement| (statement, true))
        .into_iter()
        .chain(by_key.map(|statement| (statement, false)))
    {
        let explain = format!("EXPLAIN QUERY PLAN {statement}");
        let rows = sqlx::query(sqlx::AssertSqlSafe(explain))
            .fetch_all(store.writer())
            .await
            .unwrap();
        for row in rows {
            let step: String = row.get("detail");
            let is_small = step.contains("VIRTUAL TABLE") || step.contains("nodes");
            let is_along_key = may_walk && step == "SCAN events";
            let walk = step.starts_with("SCAN") && !is_small && !is_along_key;
            assert!(!walk, "{step}\nin {statement}");
            let sorts = may_walk && step.contains("TEMP B-TREE");
            assert!(!sorts, "{step}\nin {statement}");
        }
    }
}
