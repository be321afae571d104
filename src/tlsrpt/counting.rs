//! Sessions that are alike, added up until they are written down.

use std::{
    collections::HashMap,
    mem,
    sync::{MutexGuard, PoisonError},
};

use super::TlsReports;
use crate::{
    policy::tlsrpt::{Day, TlsSession},
    store::tls_reports::Counted,
};

/// Kinds of sessions at which counts are written down before their time.
const FULL: usize = 1_000;
/// Kinds of sessions that are kept while the store cannot be written to.
const MOST: usize = 20_000;

/// What was not written down yet.
#[derive(Debug, Default)]
pub(super) struct Counts(HashMap<(Day, TlsSession), u32>);

impl Counts {
    /// Counts a session; whether it is time to write.
    pub(super) fn add(&mut self, day: Day, session: TlsSession) -> bool {
        self.add_many(day, session, 1);
        self.0.len() >= FULL
    }

    fn add_many(&mut self, day: Day, session: TlsSession, count: u32) {
        let key = (day, session);
        if self.0.len() >= MOST && !self.0.contains_key(&key) {
            return;
        }
        let counted = self.0.entry(key).or_default();
        *counted = counted.saturating_add(count);
    }

    /// Everything, in the order of days and domains.
    fn take(&mut self) -> Vec<Counted> {
        let all = mem::take(&mut self.0).into_iter();
        let mut all: Vec<_> = all
            .map(|((day, session), count)| Counted {
                day,
                session,
                count,
            })
            .collect();
        all.sort_by(|a, b| (a.day, &a.session.domain).cmp(&(b.day, &b.session.domain)));
        all
    }
}

impl TlsReports {
    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what was counted; what cannot be written waits for the next time.
    pub(super) async fn write_down(&self) {
        let counted = self.counts().take();
        if counted.is_empty() {
            return;
        }
        if let Err(error) = self.store.add_tls_results(&counted).await {
            tracing::warn!(%error, "TLS results could not be written down");
            let mut counts = self.counts();
            for it in counted {
                counts.add_many(it.day, it.session, it.count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tlsrpt::{AppliedPolicy, PolicyKind};

    #[test]
    fn alike_sessions_are_one_count_and_kinds_are_bounded() {
        let session =
            |domain: &str| TlsSession::success(domain, AppliedPolicy::new(PolicyKind::None, ""));
        let mut counts = Counts::default();
        assert!(!counts.add(Day(1), session("a.example")));
        assert!(!counts.add(Day(1), session("a.example")));
        assert!(!counts.add(Day(2), session("a.example")));
        let taken: Vec<_> = counts.take().iter().map(|it| (it.day, it.count)).collect();
        assert_eq!(taken, [(Day(1), 2), (Day(2), 1)]);
        assert!(counts.take().is_empty());
        for n in 0..MOST + 10 {
            let is_full = counts.add(Day(1), session(&format!("d{n}.example")));
            assert_eq!(is_full, n + 1 >= FULL);
        }
        assert_eq!(counts.take().len(), MOST);
    }
}
