//! Where a recipient can be reached: routes first, then mailboxes.

use std::{future::Future, pin::Pin, sync::Arc};

use arc_swap::ArcSwap;

use crate::{
    accounts::Accounts,
    envelope::Identity,
    listener::RecipientCheck,
    policy::routes::{LocalRecipients, Origin, RouteTable},
    session::RecipientVerdict,
    smtp::{Mailbox, ReversePath},
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

    /// Whether mail of this origin for `recipient` has a way to go.
    pub(super) async fn reach(&self, recipient: &Mailbox, origin: &Origin<'_>) -> RecipientVerdict {
        let recipients = match self.routes.load().lookup(recipient, origin) {
            None => return RecipientVerdict::NoRoute,
            Some(route) => route.transport.recipients(),
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
        by: &'a Identity,
        sender: &'a ReversePath,
        recipient: &'a Mailbox,
    ) -> Pin<Box<dyn Future<Output = RecipientVerdict> + Send + 'a>> {
        Box::pin(async move {
            let origin = Origin::new(sender, Some(&by.name));
            self.reach(recipient, &origin).await
        })
    }
}
