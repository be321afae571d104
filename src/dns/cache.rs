//! What was answered, for as long as it may be remembered; and who asks the same at the same time.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{Data, DnsError, Kind, Options, Reply, Source};

/// What failed is asked anew after this, not sooner: many may want to know the same.
const FAILED_FOR: Duration = Duration::from_secs(5);
/// Nothing is asked more often than this, whatever its publisher wishes.
const SHORTEST: Duration = Duration::from_secs(1);
/// An absence is not remembered for longer (RFC 2308 §5 suggests one to three hours).
const ABSENT_LONGEST: Duration = Duration::from_secs(900);

/// An answer, and until when it holds.
#[derive(Debug)]
pub(super) struct Kept {
    reply: Reply,
    pub(super) until: Instant,
}

impl Deref for Kept {
    type Target = Reply;

    fn deref(&self) -> &Reply {
        &self.reply
    }
}

impl Kept {
    /// What this name stands for, where the answer says so.
    pub(super) fn alias_of(&self, name: &str) -> Option<&str> {
        self.reply
            .records
            .iter()
            .find_map(|record| match &record.data {
                Data::Alias(target) if *record.owner == *name => Some(&**target),
                _ => None,
            })
    }
}

type Outcome = Result<Arc<Kept>, DnsError>;
type Question = (Box<str>, Kind);

enum Entry {
    Known(Outcome, Instant),
    /// Somebody has asked; everybody waits for the same answer.
    Asked(watch::Receiver<Option<Outcome>>),
}

/// Answers of one source.
#[derive(Clone)]
pub(super) struct Cache(Arc<Shared>);

struct Shared {
    source: Arc<dyn Source>,
    entries: Mutex<HashMap<Question, Entry>>,
    most: usize,
    longest: Duration,
}

impl Cache {
    pub(super) fn new(source: Arc<dyn Source>, options: &Options) -> Self {
        Cache(Arc::new(Shared {
            source,
            entries: Mutex::default(),
            most: options.entries.max(1),
            longest: options.longest,
        }))
    }

    /// How many questions are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.entries().len()
    }

    /// The answer, from memory or from the source.
    ///
    /// The question is asked to its end even where nobody waits for it any more: it may be wanted
    /// again in a moment.
    pub(super) async fn ask(&self, name: &str, kind: Kind) -> Outcome {
        let question: Question = (name.into(), kind);
        let mut waits = {
            let mut entries = self.0.entries();
            match entries.get(&question) {
                Some(Entry::Known(outcome, until)) if *until > Instant::now() => {
                    return outcome.clone();
                }
                Some(Entry::Asked(receiver)) => receiver.clone(),
                Some(Entry::Known(..)) | None => {
                    let (sender, receiver) = watch::channel(None);
                    self.0.make_room(&mut entries);
                    entries.insert(question.clone(), Entry::Asked(receiver.clone()));
                    let shared = self.0.clone();
                    tokio::spawn(async move { shared.find(question, sender).await });
                    receiver
                }
            }
        };
        let lost = || DnsError::Indeterminate {
            name: name.into(),
            why: "internal error while asking".into(),
        };
        match waits.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or_else(|| Err(lost())),
            Err(_) => Err(lost()),
        }
    }
}

impl Shared {
    async fn find(self: Arc<Self>, question: Question, sender: watch::Sender<Option<Outcome>>) {
        let (name, kind) = (question.0.clone(), question.1);
        // A panic of the source's must not leave the question open for ever.
        let shared = self.clone();
        let asked = tokio::spawn(async move { shared.source.ask(&name, kind).await });
        let outcome = asked.await.unwrap_or_else(|_| {
            Err(DnsError::Indeterminate {
                name: question.0.clone(),
                why: "internal error while asking".into(),
            })
        });
        let said = match &outcome {
            Ok(reply) if reply.absence.is_some() => "absent",
            Ok(_) => "found",
            Err(DnsError::Bogus { .. }) => "bogus",
            Err(DnsError::Indeterminate { .. }) => "failed",
        };
        metrics::counter!("gatepost_dns_questions_total", "kind" => kind.as_str(), "outcome" => said)
            .increment(1);
        if let Err(error) = &outcome {
            tracing::debug!(name = &*question.0, kind = kind.as_str(), %error, "no DNS answer");
        }
        let now = Instant::now();
        let until = now
            + outcome
                .as_ref()
                .map_or(FAILED_FOR, |reply| self.keeps(reply));
        let outcome = outcome.map(|reply| Arc::new(Kept { reply, until }));
        self.entries()
            .insert(question, Entry::Known(outcome.clone(), until));
        // Whoever asked may have gone away.
        let _ = sender.send(Some(outcome));
    }

    /// How long a reply is remembered: as its shortest-lived part has it.
    fn keeps(&self, reply: &Reply) -> Duration {
        let absent = reply.absence.map(|_| reply.absent_for.min(ABSENT_LONGEST));
        let ttls = reply.records.iter().map(|record| record.ttl);
        let shortest = ttls.chain(absent).min().unwrap_or(FAILED_FOR);
        shortest.clamp(SHORTEST, self.longest.max(SHORTEST))
    }

    /// Forgets what has expired where there is no room, and then a part of the rest.
    fn make_room(&self, entries: &mut HashMap<Question, Entry>) {
        if entries.len() < self.most {
            return;
        }
        let now = Instant::now();
        entries.retain(|_, entry| match entry {
            Entry::Known(_, until) => *until > now,
            Entry::Asked(_) => true,
        });
        let mut surplus = match entries.len() < self.most {
            true => 0,
            false => self.most / 4 + 1,
        };
        entries.retain(|_, entry| match entry {
            Entry::Known(..) if surplus > 0 => {
                surplus -= 1;
                false
            }
            Entry::Known(..) | Entry::Asked(_) => true,
        });
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Question, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
