//! What the queue needs of its neighbours, so that its tests can play them in memory.

use std::{future::Future, time::SystemTime};

use crate::{
    deliver::{Attempt, Attempted, Deliver},
    envelope::QueueId,
    policy::routes::Route,
    smtp::Domain,
    spool::{Claim, Content, CustodyError, Fresh, Settlement, Spool},
};

/// The keeper of messages; each method as [`Spool`] has it.
pub(super) trait Custody: Send + Sync + 'static {
    fn claim(
        &self,
        now: SystemTime,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Claim>, CustodyError>> + Send;
    fn next_due(&self) -> impl Future<Output = Result<Option<SystemTime>, CustodyError>> + Send;
    fn content(&self, id: &QueueId) -> impl Future<Output = Result<Content, CustodyError>> + Send;
    fn record(
        &self,
        settlement: Settlement,
    ) -> impl Future<Output = Result<(), CustodyError>> + Send;
    fn release(&self, id: &QueueId) -> impl Future<Output = Result<(), CustodyError>> + Send;
    fn hold(&self, hold: bool);
    /// Returns when something was committed that no arrival will bring.
    fn unclaimed(&self) -> impl Future<Output = ()> + Send;
}

impl Custody for Spool {
    async fn claim(&self, now: SystemTime, limit: usize) -> Result<Vec<Claim>, CustodyError> {
        Spool::claim(self, now, limit).await
    }

    async fn next_due(&self) -> Result<Option<SystemTime>, CustodyError> {
        Spool::next_due(self).await
    }

    async fn content(&self, id: &QueueId) -> Result<Content, CustodyError> {
        Spool::content(self, id).await
    }

    async fn record(&self, settlement: Settlement) -> Result<(), CustodyError> {
        Spool::record(self, settlement).await
    }

    async fn release(&self, id: &QueueId) -> Result<(), CustodyError> {
        Spool::release(self, id).await
    }

    fn hold(&self, hold: bool) {
        Spool::hold(self, hold);
    }

    async fn unclaimed(&self) {
        Spool::unclaimed(self).await;
    }
}

/// The way by which fresh messages come, already claimed.
pub(super) trait Arrivals: Send + 'static {
    /// Loses nothing when dropped unfinished; `None` when no more will come.
    fn recv(&mut self) -> impl Future<Output = Option<Claim>> + Send;
}

impl Arrivals for Fresh {
    async fn recv(&mut self) -> Option<Claim> {
        Fresh::recv(self).await
    }
}

/// Those who carry a message to a next hop.
pub(super) trait Carrier: Send + Sync + 'static {
    /// As [`Deliver::site`].
    fn site(&self, route: &Route, domain: &Domain)
    -> impl Future<Output = Option<Box<str>>> + Send;
    /// As [`Deliver::attempt`].
    fn attempt(&self, attempt: Attempt) -> impl Future<Output = Attempted> + Send;
}

impl Carrier for Deliver {
    async fn site(&self, route: &Route, domain: &Domain) -> Option<Box<str>> {
        Deliver::site(self, route, domain).await
    }

    async fn attempt(&self, attempt: Attempt) -> Attempted {
        Deliver::attempt(self, attempt).await
    }
}
