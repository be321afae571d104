//! Jobs on their way to the mail hosts of a domain: by which hosts it is served has to be looked up
//! before they can wait for them.
//!
//! Domains that are served by the same hosts stand in one line: they share its connections, and what
//! is known of the hosts. Where a domain's hosts are not known it stands in a line of its own, and
//! its attempt finds out why.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::mpsc;

use super::{Dispatcher, Event, Routed};
use crate::{
    policy::routes::Route,
    queue::{
        custody::{Arrivals, Carrier, Custody},
        job::Job,
    },
    spool::Settlement,
};

/// Jobs whose hosts are being looked up, in the order in which they came.
#[derive(Default)]
pub(super) struct Seeking {
    last: u64,
    jobs: BTreeMap<u64, Routed>,
}

impl Seeking {
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    fn add(&mut self, routed: Routed) -> u64 {
        self.last += 1;
        self.jobs.insert(self.last, routed);
        self.last
    }

    /// Takes all of them out; what is found out later is nobody's.
    pub(super) fn drain(&mut self) -> Vec<Routed> {
        std::mem::take(&mut self.jobs).into_values().collect()
    }
}

impl<C: Custody, A: Arrivals, D: Carrier> Dispatcher<C, A, D> {
    /// Has the hosts of a job's domain looked up.
    pub(super) fn seek(&mut self, job: Job, route: Arc<Route>) {
        let Some(first) = job.recipients.first() else {
            return;
        };
        let domain = first.address.domain().clone();
        let (carrier, tell) = (self.carrier.clone(), self.tell.clone());
        let number = self.seeking.add(Routed {
            job,
            route: route.clone(),
        });
        tokio::spawn(async move {
            let looked_up = tokio::spawn(async move { carrier.site(&route, &domain).await });
            // A panic is as good as not knowing.
            let site = looked_up.await.unwrap_or_default();
            // Nobody listens where the queue has stopped.
            let _ = tell.send(Event::Sited(number, site));
        });
    }

    /// The hosts of a job's domain are known, or are known not to be.
    pub(super) fn sited(
        &mut self,
        number: u64,
        site: Option<Box<str>>,
        done: &mpsc::Sender<Settlement>,
    ) {
        let Some(Routed { job, route }) = self.seeking.jobs.remove(&number) else {
            return;
        };
        let domain = job.recipients.first();
        let line = match (site, domain) {
            (Some(site), _) => format!("{} {site}", route.name),
            (None, Some(first)) => {
                format!("{} of {}", route.name, first.address.domain().canonical())
            }
            (None, None) => route.name.clone(),
        };
        self.enqueue(job, route, line.into(), done);
    }
}
