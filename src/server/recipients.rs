//! Where a recipient can be reached: routes first, then mailboxes, then what the recipient's domain
//! publishes.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;

use crate::{
    accounts::Accounts,
    config::Forecast,
    envelope::{AccountProtection, AccountTls, Protection, TlsWish},
    intake::cancels,
    listener::{Asked, RecipientCheck},
    policy::content,
    policy::routes::{LocalRecipients, Mx, Origin, RouteTable, Transport},
    reach::{Outlook, Reach},
    session::RecipientVerdict,
    smtp::{Domain, Mailbox},
};

/// Look-ups that hints begin, under way at once over all sessions; others come with their RCPT.
const HINTS: usize = 256;

/// Answers from the route table, the accounts and the DNS.
pub struct Reachable {
    pub(super) routes: ArcSwap<RouteTable>,
    pub(super) forecast: ArcSwap<Forecast>,
    accounts: Arc<Accounts>,
    reach: Reach,
    hints: Arc<tokio::sync::Semaphore>,
}

impl Reachable {
    pub(super) fn new(
        routes: RouteTable,
        forecast: Forecast,
        accounts: Arc<Accounts>,
        reach: Reach,
    ) -> Arc<Self> {
        Arc::new(Reachable {
            routes: ArcSwap::from_pointee(routes),
            forecast: ArcSwap::from_pointee(forecast),
            accounts,
            reach,
            hints: Arc::new(tokio::sync::Semaphore::new(HINTS)),
        })
    }

    /// Whether mail of this origin for `recipient` has a way to go, and a mailbox where that is ours
    /// to know.
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

    /// How mail to other servers is sent to this recipient, where it goes to mail hosts.
    fn mail_hosts(&self, recipient: &Mailbox, origin: &Origin<'_>) -> Option<Mx> {
        match &self.routes.load().lookup(recipient, origin)?.transport {
            Transport::Mx(mx) => Some(mx.clone()),
            _ => None,
        }
    }

    async fn check(&self, asked: Asked<'_>) -> RecipientVerdict {
        let account = match self.accounts.account(asked.by).await {
            Ok(Some(account)) => account,
            Ok(None) | Err(_) => return RecipientVerdict::Unavailable,
        };
        let hostname = self.forecast.load().hostname.clone();
        if hostname.is_some_and(|host| cancels(asked.recipient, &host).is_some()) {
            // An order, and no mail: no route leads there, and none is needed.
            return RecipientVerdict::Granted;
        }
        if !account.destinations.allow(asked.recipient.domain()) {
            return RecipientVerdict::NotAllowed;
        }
        match self
            .accounts
            .over_limit(&account, asked.before + 1, 0)
            .await
        {
            Ok(None) => {}
            Ok(Some(excess)) => return RecipientVerdict::OverLimit(content::one_more(&excess)),
            Err(_) => return RecipientVerdict::Unavailable,
        }
        let origin = Origin::new(asked.sender, Some(&asked.by.name));
        let verdict = self.reach(asked.recipient, &origin).await;
        if verdict != RecipientVerdict::Granted {
            return verdict;
        }
        match self.mail_hosts(asked.recipient, &origin) {
            Some(mx) => self.foreseen(asked, account.protection, &mx).await,
            None => verdict,
        }
    }

    /// What the DNS tells within the time that a client can be kept waiting.
    async fn foreseen(
        &self,
        asked: Asked<'_>,
        account: AccountProtection,
        mx: &Mx,
    ) -> RecipientVerdict {
        let forecast = self.forecast.load_full();
        if forecast.within.is_zero() {
            return RecipientVerdict::Granted;
        }
        let protection = Protection {
            level: account.level,
            tls: match account.tls {
                AccountTls::Require => TlsWish::Required,
                AccountTls::AsAsked | AccountTls::MayLower => asked.protection.tls,
            },
        };
        let protection = protection.of_hosts(asked.sender);
        // The header of the message may still say that less is enough.
        let may_lower = account.tls == AccountTls::MayLower && protection.tls != TlsWish::Required;
        let domain = asked.recipient.domain();
        let required = forecast.levels.requirement(protection, domain);
        let looks = self
            .reach
            .forecast(domain, required, mx.port, SystemTime::now());
        let outlook = match tokio::time::timeout(forecast.within, looks).await {
            Ok(found) => found.outlook(),
            Err(_) => Outlook::Unknown("no answer in time".to_owned()),
        };
        match outlook {
            Outlook::Fair => RecipientVerdict::Granted,
            Outlook::NoSuchDomain => RecipientVerdict::NoSuchDomain,
            Outlook::NullMx => RecipientVerdict::NullMx,
            Outlook::CannotBeProtected(_) if may_lower => RecipientVerdict::Granted,
            // The sender of other mail hears of it soon enough, and hosts may change meanwhile.
            Outlook::CannotBeProtected(_) if !required.is_strict() => RecipientVerdict::Granted,
            Outlook::CannotBeProtected(why) => RecipientVerdict::CannotBeProtected(why.into()),
            Outlook::Unknown(_) if required.is_strict() && !may_lower => {
                RecipientVerdict::Undetermined
            }
            Outlook::Unknown(_) => RecipientVerdict::Granted,
        }
    }
}

impl RecipientCheck for Reachable {
    fn check<'a>(
        &'a self,
        asked: Asked<'a>,
    ) -> Pin<Box<dyn Future<Output = RecipientVerdict> + Send + 'a>> {
        Box::pin(self.check(asked))
    }

    fn hint(&self, domain: &Domain) {
        let routes = self.routes.load();
        let has_mail_hosts = routes
            .routes()
            .iter()
            .any(|route| matches!(route.transport, Transport::Mx(_)));
        let within = self.forecast.load().within;
        if !has_mail_hosts || within == Duration::ZERO {
            return;
        }
        let Ok(turn) = Arc::clone(&self.hints).try_acquire_owned() else {
            return;
        };
        let (reach, domain) = (self.reach.clone(), domain.clone());
        tokio::spawn(async move {
            let _turn = turn;
            let _ = tokio::time::timeout(within, reach.hint(&domain)).await;
        });
    }
}
