//! Where a recipient can be reached: routes first, then mailboxes.

use std::{future::Future, pin::Pin, sync::Arc};

use arc_swap::ArcSwap;

use crate::{
    accounts::Accounts,
    envelope::Identity,
    listener::RecipientCheck,
    policy::routes::{LocalRecipients, RouteTable, Transport},
    session::RecipientVerdict,
    smtp::Mailbox,
};

/// Answers from the route table and the accounts.
pub struct Reachable {
    pub(super) routes: ArcSwap<RouteTable>,
    accounts: Arc<Accounts>,
}

impl Reachable {
    pub(super) fn new(routes: RouteTable, accounts: Arc<Accounts>) -> Arc<Self> {
        let routes = ArcSwap::from_pointee(routes);
        Arc::new(Reachable { routes, accounts })
    }

    /// Whether mail for `recipient` has a way to go, whoever sends it.
    pub(super) async fn reach(&self, recipient: &Mailbox) -> RecipientVerdict {
        let recipients = match self.routes.load().lookup(recipient) {
            None => return RecipientVerdict::NoRoute,
            Some(route) => match &route.transport {
                Transport::Maildir { recipients, .. } => *recipients,
            },
        };
        match recipients {
            LocalRecipients::Any => RecipientVerdict::Granted,
            LocalRecipients::Accounts => match self.accounts.has_mailbox(recipient).await {
                Ok(true) => RecipientVerdict::Granted,
                Ok(false) => RecipientVerdict::NoSuchMailbox,
                Err(_) => RecipientVerdict::Unavailable,
            },
        }
    }
}

impl RecipientCheck for Reachable {
    fn check<'a>(
        &'a self,
        _by: &'a Identity,
        recipient: &'a Mailbox,
    ) -> Pin<Box<dyn Future<Output = RecipientVerdict> + Send + 'a>> {
        Box::pin(self.reach(recipient))
    }
}
