//! Custody in memory.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use crate::{
    envelope::{BodyType, Outcome, QueueId, Timing},
    queue::custody::Custody,
    smtp::{Mailbox, Notify, ReversePath},
    spool::{
        AttemptRecord, Claim, Content, CustodyError, DueRecipient, Event, Next, Report, Settlement,
        StoredBody,
    },
};

/// Custody in memory, which outlives the queue as a database does.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) rows: Mutex<BTreeMap<(QueueId, u32), Row>>,
    pub(super) records: Mutex<Vec<AttemptRecord>>,
    pub(super) reports: Mutex<Vec<Report>>,
    pub(super) events: Mutex<Vec<Event>>,
    /// Of every message; null where there is none.
    pub(super) sender: Mutex<Option<Mailbox>>,
    pub(super) timing: Mutex<Timing>,
    pub(super) released: Mutex<Vec<QueueId>>,
    pub(super) looks: AtomicUsize,
    /// So many calls of each kind fail.
    pub(super) failing_records: AtomicUsize,
    pub(super) failing_looks: AtomicUsize,
    pub(super) failing_contents: AtomicUsize,
    /// Records of this message are always refused.
    pub(super) poison: Mutex<Option<QueueId>>,
    pub(super) held: AtomicBool,
}

pub(super) struct Row {
    pub(super) address: Mailbox,
    pub(super) received_at: SystemTime,
    pub(super) attempts: u32,
    pub(super) delay_told_at: Option<SystemTime>,
    pub(super) unprotected_since: Option<SystemTime>,
    pub(super) notify: Option<Notify>,
    pub(super) state: State,
}

impl Row {
    fn due(&self, number: u32) -> DueRecipient {
        DueRecipient {
            attempts: self.attempts,
            delay_told_at: self.delay_told_at,
            unprotected_since: self.unprotected_since,
            notify: self.notify,
            ..DueRecipient::fresh(number, self.address.clone().into())
        }
    }
}

/// A claim of nobody yet.
fn claim(id: &QueueId, received_at: SystemTime) -> Claim {
    Claim {
        id: id.clone(),
        account: None,
        report_of: None,
        sender: ReversePath::Null,
        body: BodyType::SevenBit,
        smtputf8: false,
        ret: None,
        envelope_id: None,
        protection: Default::default(),
        timing: Default::default(),
        received_at,
        released_at: received_at,
        release_request: None,
        recipients: Vec::new(),
        content: None,
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum State {
    Due(SystemTime),
    Claimed,
    Delivered,
    /// Failed or expired.
    GivenUp,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

/// Whether a call is one of those that are to fail.
pub(super) fn fails(left: &AtomicUsize) -> Result<(), CustodyError> {
    match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)) {
        Ok(_) => Err(CustodyError::Failed("as the test wants it".into())),
        Err(_) => Ok(()),
    }
}

impl Memory {
    pub(super) fn add(
        &self,
        id: &QueueId,
        addresses: &[&str],
        received_at: SystemTime,
        state: State,
    ) {
        let mut rows = locked(&self.rows);
        for (number, address) in (1..).zip(addresses) {
            let row = Row {
                address: Mailbox::parse(address).unwrap(),
                received_at,
                attempts: 0,
                delay_told_at: None,
                unprotected_since: None,
                notify: None,
                state,
            };
            rows.insert((id.clone(), number), row);
        }
    }

    fn sender(&self) -> ReversePath {
        match &*locked(&self.sender) {
            Some(mailbox) => ReversePath::Mailbox(mailbox.clone()),
            None => ReversePath::Null,
        }
    }

    pub(super) fn states(&self) -> Vec<State> {
        locked(&self.rows).values().map(|row| row.state).collect()
    }

    pub(super) fn all(&self, state: State) -> bool {
        self.states().iter().all(|other| *other == state)
    }

    /// What a restart does: claims of the dead incarnation are free.
    pub(super) fn free_claims(&self, now: SystemTime) {
        for row in locked(&self.rows).values_mut() {
            if row.state == State::Claimed {
                row.state = State::Due(now);
            }
        }
    }

    pub(super) fn claim_due(&self, now: SystemTime, limit: usize) -> Vec<Claim> {
        let mut claims: Vec<Claim> = Vec::new();
        for ((id, number), row) in locked(&self.rows).iter_mut() {
            if !matches!(row.state, State::Due(due) if due <= now) {
                continue;
            }
            if claims.last().is_none_or(|last| last.id != *id) {
                if claims.len() == limit {
                    break;
                }
                claims.push(Claim {
                    recipients: Vec::new(),
                    sender: self.sender(),
                    timing: *locked(&self.timing),
                    ..claim(id, row.received_at)
                });
            }
            row.state = State::Claimed;
            claims.last_mut().unwrap().recipients.push(row.due(*number));
        }
        claims
    }

    pub(super) fn claim_of(&self, id: &QueueId, content: Option<Content>) -> Claim {
        let rows = locked(&self.rows);
        let mine = rows
            .iter()
            .filter(|((other, _), row)| other == id && row.state == State::Claimed);
        let recipients: Vec<_> = mine.map(|((_, number), row)| row.due(*number)).collect();
        let received_at = rows[&(id.clone(), recipients[0].number)].received_at;
        Claim {
            recipients,
            content,
            sender: self.sender(),
            timing: *locked(&self.timing),
            ..claim(id, received_at)
        }
    }
}

pub(super) fn content() -> Content {
    Content {
        header: "From: somebody@else.example\r\nSubject: x\r\n\r\n".into(),
        body: StoredBody::Memory("".into()),
    }
}

impl Custody for Memory {
    async fn claim(&self, now: SystemTime, limit: usize) -> Result<Vec<Claim>, CustodyError> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        fails(&self.failing_looks)?;
        tokio::time::sleep(Duration::from_millis(1)).await;
        let claims = self.claim_due(now, limit);
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok(claims)
    }

    async fn next_due(&self) -> Result<Option<SystemTime>, CustodyError> {
        let rows = locked(&self.rows);
        let due = rows.values().filter_map(|row| match row.state {
            State::Due(time) => Some(time),
            State::Claimed | State::Delivered | State::GivenUp => None,
        });
        Ok(due.min())
    }

    async fn content(&self, _id: &QueueId) -> Result<Content, CustodyError> {
        fails(&self.failing_contents)?;
        Ok(content())
    }

    async fn record(&self, settlement: Settlement) -> Result<(), CustodyError> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        fails(&self.failing_records)?;
        let Settlement {
            attempts,
            reports,
            events,
            postponed,
        } = settlement;
        let poison = locked(&self.poison).clone();
        if attempts
            .iter()
            .any(|record| Some(&record.id) == poison.as_ref())
        {
            return Err(CustodyError::Failed("this one is refused".into()));
        }
        let mut rows = locked(&self.rows);
        for record in attempts {
            let row = rows
                .get_mut(&(record.id.clone(), record.recipient))
                .unwrap();
            assert_eq!(row.state, State::Claimed, "recorded without a claim");
            row.attempts += 1;
            if record.tells_delay {
                row.delay_told_at = Some(record.ended_at);
            }
            row.unprotected_since = record.unprotected_since;
            row.state = match record.next {
                Next::Done => match record.outcome {
                    Outcome::Delivered(_) | Outcome::Relayed(..) => State::Delivered,
                    Outcome::Deferred(_) | Outcome::Failed(_) => State::GivenUp,
                },
                Next::At(time) => State::Due(time),
                Next::Held => panic!("the queue holds nobody by itself"),
            };
            locked(&self.records).push(record);
        }
        for it in postponed {
            let row = rows.get_mut(&(it.id, it.recipient)).unwrap();
            assert_eq!(row.state, State::Claimed, "postponed without a claim");
            row.state = State::Due(it.until);
        }
        locked(&self.reports).extend(reports);
        locked(&self.events).extend(events);
        Ok(())
    }

    async fn release(&self, id: &QueueId) -> Result<(), CustodyError> {
        locked(&self.released).push(id.clone());
        for ((other, _), row) in locked(&self.rows).iter_mut() {
            if other == id && row.state == State::Claimed {
                row.state = State::Due(SystemTime::UNIX_EPOCH);
            }
        }
        Ok(())
    }

    fn hold(&self, hold: bool) {
        self.held.store(hold, Ordering::SeqCst);
    }

    /// Nothing is ever committed here behind the arrivals' back.
    async fn unclaimed(&self) {
        std::future::pending().await
    }
}
