//! Outcomes and what follows from them: all of it, or nothing, and found again after a restart.

use std::time::Duration;

use super::*;
use crate::{
    envelope::{LinkTls, Proof, Recipient, TlsVersion},
    smtp::Notify,
};

fn refused() -> Outcome {
    Outcome::Failed(Status::of_reply(
        EnhancedCode::new(5, 1, 1),
        "550 5.1.1 nobody",
    ))
}

fn report(number: u64, of: u64) -> Report {
    Report {
        id: id(number),
        report_of: id(of),
        account: Some(Identity {
            account: AccountId(7),
            name: "alice".into(),
            app_password: None,
        }),
        message_id: Some("<report@ours.example>".into()),
        envelope: Envelope {
            sender: ReversePath::Null,
            recipients: vec![Mailbox::parse("alice@example.org").unwrap().into()],
            body: BodyType::SevenBit,
            smtputf8: false,
            ret: None,
            envelope_id: None,
            protection: Default::default(),
            timing: Default::default(),
        },
        header: "Subject: report\r\n\r\n".into(),
        body: "told\r\n".into(),
        made_at: now(),
    }
}

fn event(of: u64) -> Event {
    Event {
        kind: EventKind::Undeliverable,
        at: now(),
        account: None,
        id: id(of),
        report_of: None,
        recipient: Mailbox::parse("bob@example.net").unwrap(),
        status: refused().status().clone(),
    }
}

/// How many rows a table has.
async fn rows(house: &House, count: &'static str) -> i64 {
    house.store.count(count).await
}

#[tokio::test]
async fn a_report_comes_into_custody_with_the_end_that_it_tells_of() {
    let mut house = House::new().await;
    house.commit(1, b"x").await.unwrap();
    house.fresh.recv().await.unwrap();
    let settlement = Settlement {
        attempts: vec![
            attempt(1, 0, refused(), Next::Done),
            attempt(1, 1, delivered(), Next::Done),
        ],
        reports: vec![report(2, 1)],
        events: vec![event(1)],
        postponed: Vec::new(),
    };
    house.spool.record(settlement).await.unwrap();

    let claim = house.fresh.recv().await.unwrap();
    assert_eq!(claim.id, id(2));
    assert_eq!(claim.report_of, Some(id(1)));
    assert!(claim.sender.mailbox().is_none());
    assert_eq!(
        octets(&claim.content.unwrap()),
        b"Subject: report\r\n\r\ntold\r\n"
    );
    // Also from the database, after a restart.
    let house = house.killed().await;
    let claims = house.spool.claim(now(), 10).await.unwrap();
    assert_eq!(claims.len(), 1, "the message itself has left");
    assert_eq!(claims[0].report_of, Some(id(1)));
    assert_eq!(claims[0].account.as_ref().unwrap().account, AccountId(7));
    assert_eq!(
        rows(
            &house,
            "SELECT count(*) FROM departed WHERE message_id = '<1@example.org>'"
        )
        .await,
        1
    );
    assert_eq!(rows(&house, "SELECT count(*) FROM events").await, 1);
    assert_eq!(
        rows(
            &house,
            "SELECT count(*) FROM tries WHERE outcome = 'failed' AND said_by = 'hop'"
        )
        .await,
        1
    );
}

/// S3: neither the end without the report nor the report without the end.
#[tokio::test]
async fn a_report_that_cannot_be_stored_takes_the_end_with_it() {
    let house = House::new().await;
    house.commit(1, b"x").await.unwrap();
    house
        .store
        .execute(
            "CREATE TEMP TRIGGER refuse AFTER INSERT ON main.contents
             BEGIN SELECT RAISE(ABORT, 'refused'); END",
        )
        .await;
    let settlement = Settlement {
        attempts: vec![attempt(1, 0, refused(), Next::Done)],
        reports: vec![report(2, 1)],
        ..Settlement::default()
    };
    assert!(house.spool.record(settlement.clone()).await.is_err());
    let left = house.listed(10).await;
    assert_eq!((left.len(), left[0].recipients.len()), (1, 2));
    assert_eq!(rows(&house, "SELECT count(*) FROM tries").await, 0);
    house.store.execute("DROP TRIGGER refuse").await;
    house.spool.record(settlement).await.unwrap();
    let left = house.listed(10).await;
    assert_eq!((left.len(), left[0].recipients.len()), (2, 1));
}

#[tokio::test]
async fn what_the_sender_asked_survives_a_restart() {
    let house = House::new().await;
    let mut message = house.message(1, b"x").await;
    let original = OriginalRecipient::parse("rfc822;Old+2Bx@example.net");
    message.envelope.recipients = vec![Recipient {
        notify: Notify::parse("SUCCESS,DELAY"),
        original: original.clone(),
        ..Mailbox::parse("bob@example.net").unwrap().into()
    }];
    house.spool.commit(message).await.unwrap();
    let house = house.killed().await;
    let told = AttemptRecord {
        tells_delay: true,
        ..attempt(1, 0, deferred(), Next::At(now()))
    };
    house.spool.claim(now(), 10).await.unwrap();
    house.spool.record(vec![told].into()).await.unwrap();
    let quiet = attempt(1, 0, deferred(), Next::At(now()));
    house.spool.record(vec![quiet].into()).await.unwrap();
    let claims = house.spool.claim(now(), 10).await.unwrap();
    let claim = &claims[0];
    assert_eq!(claim.ret, Some(Return::Headers));
    assert_eq!(claim.envelope_id, EnvelopeId::parse("Q+2B1"));
    assert_eq!(&*claim.account.as_ref().unwrap().name, "alice");
    let recipient = &claim.recipients[0];
    assert_eq!(recipient.notify, Notify::parse("SUCCESS,DELAY"));
    assert_eq!(recipient.original, original);
    assert_eq!(recipient.attempts, 2);
    assert_eq!(
        recipient.delay_told_at,
        Some(now()),
        "told once, and remembered"
    );
}

#[tokio::test]
async fn every_host_that_was_tried_is_written_down() {
    let house = House::new().await;
    house.commit(1, b"x").await.unwrap();
    let link = |host: &str, tls| {
        Arc::new(Link {
            host: host.into(),
            address: "192.0.2.1:465".parse().ok(),
            tls,
            mx: Some(crate::envelope::MxProof::Dnssec),
            requiretls: None,
        })
    };
    let tls = LinkTls {
        version: TlsVersion::V13,
        suite: "TLS_AES_256_GCM_SHA384".into(),
        fingerprint: [0xab; 32],
        proof: Proof::WebPki,
    };
    let vain = Try {
        link: link("first.example", None),
        ended_at: now(),
        status: Status::new(EnhancedCode::new(4, 4, 1), "refused"),
    };
    let relayed = Status::of_reply(EnhancedCode::new(2, 0, 0), "250 2.0.0 taken");
    let record = AttemptRecord {
        link: Some(link("second.example", Some(tls))),
        in_vain: [vain].into(),
        ..attempt(
            1,
            0,
            Outcome::Relayed(relayed, crate::envelope::Reporting::None),
            Next::Done,
        )
    };
    house.spool.record(vec![record].into()).await.unwrap();
    for row in [
        "SELECT count(*) FROM tries
          WHERE number = 1 AND outcome = 'relayed' AND host = 'second.example'
            AND peer = '192.0.2.1:465' AND tls_version = 'TLSv1.3' AND tls_proof = 'webpki'
            AND tls_fingerprint LIKE 'abab%' AND text = '250 2.0.0 taken'",
        "SELECT count(*) FROM tries
          WHERE number = 2 AND outcome = 'in vain' AND host = 'first.example'
            AND tls_version IS NULL AND code = '4.4.1' AND said_by = 'us'",
        "SELECT count(*) FROM recipients WHERE number = 1 AND attempts = 0",
    ] {
        assert_eq!(rows(&house, row).await, 1, "{row}");
    }
}

#[tokio::test]
async fn a_postponed_recipient_was_not_tried() {
    let house = House::new().await;
    house.spool.hold(true);
    house.commit(1, b"x").await.unwrap();
    house.spool.hold(false);
    house.spool.claim(now(), 10).await.unwrap();
    let until = now() + Duration::from_secs(60);
    let settlement = Settlement {
        postponed: vec![Postponed {
            id: id(1),
            recipient: 1,
            until,
        }],
        ..Settlement::default()
    };
    house.spool.record(settlement).await.unwrap();
    assert_eq!(house.spool.next_due().await.unwrap(), Some(until));
    let claims = house.spool.claim(until, 10).await.unwrap();
    let numbers: Vec<_> = claims[0]
        .recipients
        .iter()
        .map(|it| (it.number, it.attempts))
        .collect();
    assert_eq!(numbers, [(1, 0)], "the other one is still claimed");
    assert_eq!(rows(&house, "SELECT count(*) FROM tries").await, 0);
}
