//! Where questions are answered: the rooms a session needs, and the seats of all listeners.

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::{
    Asked, Proxies, RecipientCheck,
    seats::{Admission, Limits, Phase, Seats},
};
use crate::{
    accounts::Accounts,
    envelope::TlsFacts,
    intake::{Draft, Intake, Submission},
    policy,
    session::{self, MessageVerdict, Question, Verdict},
    smtp::Domain,
    tls,
};

/// Everything that connections share. Options and limits can be exchanged; new sessions take the new.
pub struct Desk {
    accounts: Arc<Accounts>,
    intake: Arc<Intake>,
    recipients: Arc<dyn RecipientCheck>,
    /// Server TLS.
    pub tls: Arc<tls::Server>,
    /// Settings of sessions to come.
    pub session_options: ArcSwap<session::Options>,
    /// Bounds of connections to come.
    pub limits: ArcSwap<Limits>,
    /// Proxies of connections to come.
    pub proxies: ArcSwap<Proxies>,
    pub(super) house: Arc<House>,
}

impl Desk {
    /// Brings the rooms together.
    pub fn new(
        accounts: Arc<Accounts>,
        intake: Arc<Intake>,
        recipients: Arc<dyn RecipientCheck>,
        tls: Arc<tls::Server>,
        session_options: session::Options,
        limits: Limits,
        proxies: Proxies,
    ) -> Arc<Self> {
        Arc::new(Desk {
            accounts,
            intake,
            recipients,
            tls,
            session_options: ArcSwap::from_pointee(session_options),
            limits: ArcSwap::from_pointee(limits),
            proxies: ArcSwap::from_pointee(proxies),
            house: Arc::new(House::new()),
        })
    }

    /// Connections at this moment.
    pub fn sessions(&self) -> usize {
        self.house.book().len()
    }
}

/// The book of seats, shared.
pub(super) struct House(Mutex<Seats<CancellationToken>>);

impl House {
    pub fn new() -> Self {
        House(Mutex::new(Seats::new()))
    }

    fn book(&self) -> MutexGuard<'_, Seats<CancellationToken>> {
        // The book is whole between calls, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a seat and ends the connection that gives way for it; `None` where there is no room.
    pub fn admit(self: &Arc<Self>, limits: &Limits, peer: IpAddr, phase: Phase) -> Option<Place> {
        self.seat(|book, shed| book.admit(limits, peer, phase, shed))
    }

    /// The same for a connection whose proxy has yet to tell its client's address.
    pub fn admit_unnamed(self: &Arc<Self>, limits: &Limits) -> Option<Place> {
        self.seat(|book, shed| book.admit_unnamed(limits, shed))
    }

    fn seat(
        self: &Arc<Self>,
        admit: impl FnOnce(
            &mut Seats<CancellationToken>,
            CancellationToken,
        ) -> Admission<CancellationToken>,
    ) -> Option<Place> {
        let shed = CancellationToken::new();
        match admit(&mut self.book(), shed.clone()) {
            Admission::Seated { seat, gives_way } => {
                if let Some(other) = gives_way {
                    other.cancel();
                }
                metrics::gauge!("gatepost_sessions").increment(1.0);
                Some(Place {
                    house: Arc::clone(self),
                    seat,
                    shed,
                })
            }
            Admission::AddressFull | Admission::HouseFull => None,
        }
    }
}

/// One connection's seat, given back on drop.
pub(super) struct Place {
    house: Arc<House>,
    pub seat: u64,
    /// Cancelled when the seat is taken away.
    pub shed: CancellationToken,
}

impl Place {
    /// Notes whose connection it is, and that it goes on in `phase`; `None`, with the seat given
    /// back, where that address has its share.
    pub fn name(self, limits: &Limits, peer: IpAddr, phase: Phase) -> Option<Place> {
        let admission = self.house.book().name(limits, self.seat, peer, phase);
        match admission {
            Admission::Seated { gives_way, .. } => {
                if let Some(other) = gives_way {
                    other.cancel();
                }
                Some(self)
            }
            Admission::AddressFull | Admission::HouseFull => None,
        }
    }

    pub fn advance(&self, limits: &Limits, phase: Phase) {
        if let Some(other) = self.house.book().advance(limits, self.seat, phase) {
            other.cancel();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.house.book().leave(self.seat);
        metrics::gauge!("gatepost_sessions").decrement(1.0);
    }
}

/// What a driver asks of the rooms behind it.
pub(super) trait Decide: Send + Sync {
    /// Content under way.
    type Draft: Send;
    fn draft(&self) -> Self::Draft;
    fn write(draft: &mut Self::Draft, octets: &[u8]) -> impl Future<Output = ()> + Send;
    /// The verdict on a question; `draft` is what content came before it.
    fn decide(
        &self,
        about: About<'_>,
        question: Question,
        draft: Option<Self::Draft>,
    ) -> impl Future<Output = Verdict> + Send;
    /// A recipient of this domain is about to be asked for.
    fn hint(&self, domain: &Domain);
}

/// Around a question.
pub(super) struct About<'a> {
    pub peer: SocketAddr,
    pub client_name: Option<&'a str>,
    pub tls: Option<&'a TlsFacts>,
}

impl Decide for Desk {
    type Draft = Draft;

    fn hint(&self, domain: &Domain) {
        self.recipients.hint(domain);
    }

    fn draft(&self) -> Draft {
        self.intake.draft()
    }

    async fn write(draft: &mut Draft, octets: &[u8]) {
        draft.write(octets).await;
    }

    async fn decide(&self, about: About<'_>, question: Question, draft: Option<Draft>) -> Verdict {
        match question {
            Question::Keys(lookup) => {
                Verdict::Keys(self.accounts.keys(about.peer.ip(), &lookup).await)
            }
            Question::SignIn { claim, .. } => Verdict::SignIn(
                self.accounts
                    .sign_in(about.peer.ip().to_canonical(), claim)
                    .await,
            ),
            Question::Sender {
                by,
                sender,
                size_octets,
                priority,
            } => {
                let verdict = self
                    .intake
                    .sender(&by, &sender, size_octets, priority)
                    .await;
                Verdict::Sender(verdict)
            }
            Question::Recipient {
                by,
                sender,
                recipient,
                protection,
                before,
            } => {
                let asked = Asked {
                    by: &by,
                    sender: &sender,
                    recipient: &recipient,
                    protection,
                    before,
                };
                Verdict::Recipient(self.recipients.check(asked).await)
            }
            Question::Message {
                by,
                envelope,
                has_long_lines,
                hold,
                deliver_by,
            } => {
                // Content with no octet at all makes no output.
                let draft = draft.unwrap_or_else(|| self.intake.draft());
                let submission = Submission {
                    by,
                    envelope,
                    has_long_lines,
                    hold,
                    deliver_by,
                    peer: about.peer,
                    client_name: about.client_name.unwrap_or_default().to_owned(),
                    tls: about.tls.cloned(),
                };
                let intake = Arc::clone(&self.intake);
                // Its own task: once begun, a message is decided even where the connection goes away.
                let decided = tokio::spawn(async move { intake.accept(draft, submission).await });
                Verdict::Message(decided.await.unwrap_or_else(|error| {
                    tracing::error!(%error, "intake failed");
                    MessageVerdict::Refused(policy::content::unavailable())
                }))
            }
        }
    }
}
