//! The group commit: one task makes what many sessions and deliveries hand in durable together.
//!
//! There is no timer. While one batch is being synced the next one gathers, and three yields give
//! tasks that are ready a chance to join it. Everybody waiting for a batch is answered after it and
//! never before (S6).

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Instant, SystemTime},
};

use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
    time::{Duration, MissedTickBehavior, interval},
};

use super::{
    AttemptRecord, Claim, Content, CustodyError, DueRecipient, Event, LONGEST_RETRY, NewMessage,
    Next, Report, Settlement, Shared, Start, StoredBody, Trace,
    body::{self, Kind},
};
use crate::{
    envelope::{Envelope, Identity, QueueId},
    store::{
        StoreError,
        queue::{Batch, BodyRow, EventRow, MessageRow, Record, Vain},
    },
};

/// Says that the process lives, this often.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Octets of content in one transaction; a batch of more is cut.
const TRANSACTION_OCTETS: usize = 4 * 1024 * 1024;

/// Something to be made durable, and who waits for it.
pub(super) struct Job {
    pub work: Work,
    pub done: oneshot::Sender<Result<(), CustodyError>>,
}

pub(super) enum Work {
    Message(Box<NewMessage>),
    Settle(Box<Settlement>),
    Release(QueueId),
    /// Take no more jobs, and be done when those at hand are.
    Close,
}

/// The task's own state.
pub(super) struct Writer {
    pub shared: Arc<Shared>,
    pub jobs: mpsc::Receiver<Job>,
    pub fresh: mpsc::Sender<Claim>,
    pub next_number: i64,
}

impl Writer {
    /// Runs until the spool is closed or dropped, and every job is answered.
    pub(super) async fn run(mut self) {
        let most = self.shared.options.batch.max(1);
        let mut jobs = Vec::with_capacity(most);
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        heartbeat.tick().await;
        loop {
            tokio::select! {
                count = self.jobs.recv_many(&mut jobs, most) => {
                    if count == 0 {
                        break;
                    }
                }
                _ = heartbeat.tick() => {
                    self.heartbeat().await;
                    continue;
                }
            }
            for _ in 0..3 {
                tokio::task::yield_now().await;
                while jobs.len() < most {
                    let Ok(job) = self.jobs.try_recv() else { break };
                    jobs.push(job);
                }
            }
            self.take(&mut jobs).await;
        }
        let incarnation = self.shared.incarnation;
        if let Err(error) = self.shared.store.end_incarnation(incarnation).await {
            tracing::debug!(%error, "node not signed off");
        }
    }

    /// Commits the jobs in as few transactions as their size allows.
    async fn take(&mut self, jobs: &mut Vec<Job>) {
        let mut waiting: VecDeque<Job> = jobs.drain(..).collect();
        while !waiting.is_empty() {
            let mut batch = Vec::with_capacity(waiting.len());
            let mut octets = 0;
            while let Some(job) = waiting.pop_front() {
                if let Work::Close = job.work {
                    self.jobs.close();
                    batch.push(job);
                    continue;
                }
                octets += job.work.octets();
                batch.push(job);
                if octets >= TRANSACTION_OCTETS {
                    break;
                }
            }
            let batch = self.sync_directory(batch).await;
            match self.commit(batch).await {
                Ok(()) => {}
                // One of them is not like the others: each alone, so that it fails alone.
                Err((StoreError::Conflict, batch)) if batch.len() > 1 => {
                    for job in batch {
                        if let Err((error, batch)) = self.commit(vec![job]).await {
                            self.refuse(batch, &error);
                        }
                    }
                }
                Err((error, batch)) => self.refuse(batch, &error),
            }
        }
    }

    /// Makes the names of body files durable; refuses their messages where that fails.
    async fn sync_directory(&self, batch: Vec<Job>) -> Vec<Job> {
        if !batch.iter().any(|job| job.work.file().is_some()) {
            return batch;
        }
        let disk = self.shared.disk.clone();
        let synced = spawn_blocking(move || disk.sync_directory()).await;
        let error = match synced {
            Ok(Ok(())) => return batch,
            Ok(Err(error)) => CustodyError::from_io("directory of the bodies", &error),
            Err(error) => CustodyError::Failed(error.to_string()),
        };
        tracing::error!(%error, "spool cannot sync its directory");
        *self.shared.trouble() = Some(error.to_string());
        let (with_file, others): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|job| job.work.file().is_some());
        for job in with_file {
            let _ = job.done.send(Err(error.clone()));
        }
        others
    }

    /// One transaction. What failed comes back with the reason, unanswered.
    async fn commit(&mut self, jobs: Vec<Job>) -> Result<(), (StoreError, Vec<Job>)> {
        let started = Instant::now();
        let octets = jobs.iter().map(|job| job.work.octets()).sum();
        let mut batch = Batch::with_capacity(octets);
        let mut permits = VecDeque::new();
        for job in &jobs {
            match &job.work {
                Work::Message(message) => {
                    let permit = match (message.start, message.release_at) {
                        (Start::Now, None) => self.permit(),
                        _ => None,
                    };
                    self.add(&mut batch, message, permit.is_some());
                    permits.push_back(permit);
                }
                Work::Settle(settlement) => {
                    for report in &settlement.reports {
                        let permit = self.permit();
                        self.add_report(&mut batch, report, permit.is_some());
                        permits.push_back(permit);
                    }
                    let attempts = settlement.attempts.iter();
                    attempts.for_each(|attempt| record(&mut batch, attempt));
                    let events = settlement.events.iter();
                    events.for_each(|event| tell(&mut batch, event));
                    for it in &settlement.postponed {
                        batch.postpone(&it.id, it.recipient, it.until);
                    }
                }
                Work::Release(id) => batch.release(id),
                Work::Close => {}
            }
        }
        #[cfg(test)]
        self.shared.disk.rows(&names(&jobs));
        if !batch.is_empty() {
            let shared = &self.shared;
            let committed = match shared.store.commit(batch, shared.incarnation).await {
                Ok(committed) => committed,
                Err(error) => return Err((error, jobs)),
            };
            shared.commits.fetch_add(1, Relaxed);
            *shared.trouble() = None;
            metrics::counter!("gatepost_commits_total").increment(1);
            metrics::histogram!("gatepost_commit_seconds").record(started.elapsed().as_secs_f64());
            metrics::counter!("gatepost_committed_messages_total").increment(permits.len() as u64);
            if !committed.ended_files.is_empty() {
                body::remove(shared.disk.clone(), committed.ended_files);
            }
        }
        for job in jobs {
            match job.work {
                Work::Message(message) => {
                    let size = message.header.len() as u64 + message.body.len();
                    self.shared.room.take(size);
                    let claim = in_custody(&self.shared, *message);
                    self.hand_over(permits.pop_front().flatten(), claim);
                }
                Work::Settle(settlement) => {
                    for report in settlement.reports {
                        let size = report.header.len() as u64 + report.body.len() as u64;
                        self.shared.room.take(size);
                        self.hand_over(permits.pop_front().flatten(), claim_of(report));
                    }
                }
                Work::Release(_) | Work::Close => {}
            }
            // Who went away does not mind.
            let _ = job.done.send(Ok(()));
        }
        Ok(())
    }

    fn hand_over(&self, permit: Option<mpsc::OwnedPermit<Claim>>, claim: Claim) {
        match permit {
            Some(permit) => drop(permit.send(claim)),
            None => self.shared.unclaimed.notify_one(),
        }
    }

    /// A place in the channel to the queue; none while mail is held or the queue has enough.
    fn permit(&self) -> Option<mpsc::OwnedPermit<Claim>> {
        if self.shared.hold.load(Relaxed) {
            return None;
        }
        self.fresh.clone().try_reserve_owned().ok()
    }

    fn add(&mut self, batch: &mut Batch, message: &NewMessage, claimed: bool) {
        let number = self.next_number;
        self.next_number += 1;
        batch.message(&MessageRow {
            number,
            id: &message.id,
            account: message.account.as_ref(),
            report_of: message.report_of.as_ref(),
            message_id: message.message_id.as_deref(),
            envelope: &message.envelope,
            header: &message.header,
            body: match &message.body.0 {
                Kind::Memory(octets) => BodyRow::Inline(octets),
                Kind::File { name, octets } => BodyRow::File {
                    name: name.as_str(),
                    octets: *octets,
                },
            },
            received_at: message.received_at,
            claimed_by: claimed.then_some(self.shared.incarnation),
            is_held: message.start == Start::Held,
            due_at: match message.start {
                Start::At(at) => Some(at),
                Start::Now | Start::Held => None,
            },
            release_at: message.release_at,
            release_request: message.release_request,
            sent: message.sent.as_ref(),
        });
    }

    fn add_report(&mut self, batch: &mut Batch, report: &Report, claimed: bool) {
        let number = self.next_number;
        self.next_number += 1;
        batch.message(&MessageRow {
            number,
            id: &report.id,
            account: report.account.as_ref(),
            report_of: Some(&report.report_of),
            message_id: report.message_id.as_deref(),
            envelope: &report.envelope,
            header: &report.header,
            body: BodyRow::Inline(&report.body),
            received_at: report.made_at,
            claimed_by: claimed.then_some(self.shared.incarnation),
            is_held: false,
            due_at: None,
            release_at: None,
            release_request: None,
            sent: None,
        });
    }

    async fn heartbeat(&self) {
        let shared = &self.shared;
        let seen = shared
            .store
            .heartbeat(shared.incarnation, SystemTime::now());
        match seen.await {
            // The database takes writes again, so nobody needs to keep away.
            Ok(()) => *shared.trouble() = None,
            Err(error) => {
                tracing::warn!(%error, "node gave no sign of life to the database");
                *shared.trouble() = Some(error.to_string());
            }
        }
    }

    fn refuse(&self, jobs: Vec<Job>, error: &StoreError) {
        tracing::error!(%error, jobs = jobs.len(), "spool cannot commit");
        metrics::counter!("gatepost_commit_failures_total").increment(1);
        // A conflict is one message's own.
        if !matches!(error, StoreError::Conflict) {
            *self.shared.trouble() = Some(error.to_string());
        }
        for job in jobs {
            let _ = job.done.send(Err(CustodyError::from_store(error)));
        }
    }
}

impl Work {
    fn octets(&self) -> usize {
        match self {
            Work::Message(message) => {
                message.header.len()
                    + match &message.body.0 {
                        Kind::Memory(octets) => octets.len(),
                        Kind::File { .. } => 0,
                    }
            }
            Work::Settle(settlement) => {
                let reports = settlement.reports.iter();
                reports.map(|it| it.header.len() + it.body.len()).sum()
            }
            Work::Release(_) | Work::Close => 0,
        }
    }

    fn file(&self) -> Option<&str> {
        match self {
            Work::Message(message) => match &message.body.0 {
                Kind::Memory(_) => None,
                Kind::File { name, .. } => Some(name.as_str()),
            },
            Work::Settle(_) | Work::Release(_) | Work::Close => None,
        }
    }
}

#[cfg(test)]
fn names(jobs: &[Job]) -> Vec<String> {
    let names = jobs.iter().filter_map(|job| job.work.file());
    names.map(str::to_owned).collect()
}

fn record(batch: &mut Batch, attempt: &AttemptRecord) {
    batch.record(&Record {
        id: &attempt.id,
        recipient: attempt.recipient,
        next_hop: &attempt.next_hop,
        link: attempt.link.as_deref(),
        started_at: attempt.started_at,
        ended_at: attempt.ended_at,
        outcome: &attempt.outcome,
        next: match attempt.next {
            Next::At(at) => Next::At(at.min(attempt.ended_at + LONGEST_RETRY)),
            next => next,
        },
        tells_delay: attempt.tells_delay,
        unprotected_since: attempt.unprotected_since,
        in_history: attempt.trace == Trace::Kept,
    });
    for (at, tried) in attempt.in_vain.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| attempt.in_vain.get(at));
        batch.in_vain(&Vain {
            id: &attempt.id,
            recipient: attempt.recipient,
            next_hop: &attempt.next_hop,
            link: &tried.link,
            started_at: before.map_or(attempt.started_at, |before| before.ended_at),
            ended_at: tried.ended_at,
            status: &tried.status,
        });
    }
}

fn tell(batch: &mut Batch, event: &Event) {
    batch.event(&EventRow {
        kind: event.kind,
        at: event.at,
        account: event.account.as_ref(),
        id: &event.id,
        report_of: event.report_of.as_ref(),
        recipient: &event.recipient,
        status: &event.status,
    });
}

/// A report as the queue gets it.
fn claim_of(report: Report) -> Claim {
    claim(
        Claimed {
            id: report.id,
            account: report.account,
            report_of: Some(report.report_of),
            received_at: report.made_at,
            content: Content {
                header: report.header,
                body: StoredBody::Memory(report.body),
            },
        },
        report.envelope,
    )
}

/// What a claim has beside the envelope.
struct Claimed {
    id: QueueId,
    account: Option<Identity>,
    report_of: Option<QueueId>,
    received_at: SystemTime,
    content: Content,
}

fn claim(claimed: Claimed, envelope: Envelope) -> Claim {
    let recipients = envelope.recipients.into_iter().zip(0..);
    Claim {
        id: claimed.id,
        account: claimed.account,
        report_of: claimed.report_of,
        sender: envelope.sender,
        body: envelope.body,
        smtputf8: envelope.smtputf8,
        ret: envelope.ret,
        envelope_id: envelope.envelope_id,
        protection: envelope.protection,
        timing: envelope.timing,
        received_at: claimed.received_at,
        released_at: claimed.received_at,
        release_request: None,
        recipients: recipients
            .map(|(recipient, number)| DueRecipient::fresh(number, recipient))
            .collect(),
        content: Some(claimed.content),
    }
}

/// The message as the queue gets it. Its rows are durable: its file stays.
fn in_custody(shared: &Shared, message: NewMessage) -> Claim {
    let body = match message.body.0 {
        Kind::Memory(octets) => StoredBody::Memory(octets),
        Kind::File { name, octets } => StoredBody::File {
            path: shared.bodies.join(name.keep()),
            octets,
        },
    };
    claim(
        Claimed {
            id: message.id,
            account: message.account,
            report_of: message.report_of,
            received_at: message.received_at,
            content: Content {
                header: message.header.into(),
                body,
            },
        },
        message.envelope,
    )
}
