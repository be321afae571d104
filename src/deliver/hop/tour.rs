//! One attempt on its way from host to host, until every recipient is decided.

use std::{net::IpAddr, sync::Arc, time::Duration};

use super::{
    Hops,
    backoff::{Finding, Suspect},
    carry::{Carried, Carry},
    opened::{Ended, Opened},
    pool::{Key, OfRoute},
    way::Way,
};
use crate::{
    client::{Cause, Protocol},
    deliver::{
        Attempt, Attempted, RecipientResult, Standing, Unprotected, deferred,
        smtp::{Connection, OpenCause, OpenFailure, Shown},
    },
    envelope::{Link, Outcome, Status},
    policy::routes::Credential,
    smtp::EnhancedCode,
    spool::Try,
    tls::HandshakeError,
};

/// What holds for every host of a next hop.
#[derive(Clone, Copy, Debug)]
pub(in crate::deliver) struct Terms<'a> {
    pub(in crate::deliver) protocol: Protocol,
    /// As whom to sign in.
    pub(in crate::deliver) credential: Option<&'a Credential>,
    /// Connections at once, by share.
    pub(in crate::deliver) connections: usize,
    /// Messages that one connection carries at most.
    pub(in crate::deliver) messages_per_connection: u32,
    /// How long a connection waits for a further message.
    pub(in crate::deliver) idle: Duration,
    /// There is more than one host.
    pub(in crate::deliver) several: bool,
}

/// How many hosts were found to be of no use for mail that asks for REQUIRETLS.
#[derive(Clone, Copy, Debug, Default)]
struct Findings {
    /// They do not offer it.
    lacking: u32,
    /// They cannot be protected as it asks, and showed it.
    unprotected: u32,
    /// Nobody knows.
    unknown: u32,
}

impl Findings {
    /// The code of the report, where no host will ever do as they are (RFC 8689 §4.2.1).
    fn verdict(self) -> Option<EnhancedCode> {
        match (self.lacking, self.unprotected, self.unknown) {
            (0, 0, _) => None,
            (0, _, 0) => Some(EnhancedCode::new(5, 7, 10)),
            (_, _, 0) => Some(EnhancedCode::new(5, 7, 30)),
            (_, _, _) => None,
        }
    }
}

/// One attempt under way.
pub(in crate::deliver) struct Tour<'a> {
    hops: &'a Hops,
    terms: Terms<'a>,
    attempt: &'a Attempt,
    carry: Carry<'a>,
    in_vain: Vec<Try>,
    /// A host that was not tried, and why; of several the last one.
    passed_over: Option<(Arc<Link>, Status)>,
    /// The last host that could have been spoken to if it were protected as it must be, and why it
    /// was not.
    unprotected: Option<(Arc<Link>, Status, Unprotected)>,
    /// The shortest time after which one of the hosts may be tried again.
    silence: Option<Duration>,
    /// A host could be spoken to.
    answered: bool,
    /// Whoever is left is to be tried anew at once.
    paused: bool,
    /// What became of the hosts, for mail that must be passed on with REQUIRETLS.
    findings: Findings,
    /// A host turned out to be this server: those behind it are no better (RFC 5321 §5.1).
    looped: bool,
    /// Connections that were opened, or were not, since somebody asked.
    opened: Vec<Opened>,
}

impl<'a> Tour<'a> {
    pub(in crate::deliver) fn new(hops: &'a Hops, terms: Terms<'a>, attempt: &'a Attempt) -> Self {
        Tour {
            hops,
            terms,
            attempt,
            carry: Carry::new(attempt, terms.protocol, hops),
            in_vain: Vec::new(),
            passed_over: None,
            unprotected: None,
            silence: None,
            answered: false,
            paused: false,
            findings: Findings::default(),
            looped: false,
            opened: Vec::new(),
        }
    }

    /// The connections that were opened, or were not, since the last such question.
    pub(in crate::deliver) fn opened(&mut self) -> Vec<Opened> {
        std::mem::take(&mut self.opened)
    }

    /// Whether no further host is to be visited.
    pub(in crate::deliver) fn is_over(&self) -> bool {
        self.is_decided() || self.looped
    }

    fn is_decided(&self) -> bool {
        self.carry.is_done() || self.paused
    }

    /// Whether the message waits because a host was not protected as it must be.
    pub(in crate::deliver) fn is_unprotected(&self) -> bool {
        self.unprotected.is_some() && !self.is_decided()
    }

    /// Hands over to this host whatever it takes. Connections to it count to `share`.
    pub(in crate::deliver) async fn visit(&mut self, way: &Way, share: &Arc<str>) {
        let suspects = self.suspects(way);
        for suspect in &suspects {
            if let Some((left, why)) = self.hops.backoff.left(suspect) {
                let text = format!("left alone for {} s more: {}", left.as_secs() + 1, why.text);
                let status = Status { text, ..why };
                let link = Arc::new(way.link());
                self.findings.unknown += 1;
                if let Finding::Protection(_) = suspect.finding {
                    self.falls_short(way, link.clone(), &status);
                }
                self.passed_over = Some((link, status));
                self.is_silent(suspect, left);
                return;
            }
        }
        let key = Key {
            route: OfRoute(self.attempt.route.clone()),
            share: share.clone(),
            lane: way.lane.clone(),
            login: self.login(),
        };
        let mut kept = self.hops.pool.take(&key);
        loop {
            let was_kept = kept.is_some();
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => match self.open(way, share).await {
                    Ok(connection) => {
                        let proof = connection.link().tls.as_ref().map(|tls| tls.proof);
                        self.note(way, connection.link(), Ended::Ready(proof), "");
                        connection
                    }
                    Err(failure) => return self.not_open(way, &failure),
                },
            };
            let origin = if was_kept { "kept" } else { "opened" };
            metrics::counter!("gatepost_hop_connections_total", "route_kind" => self.attempt.route.transport.kind(), "origin" => origin)
                .increment(1);
            for suspect in &suspects {
                self.hops.backoff.answered(suspect);
            }
            self.answered = true;
            let carried = self.carry.with(&mut connection, way).await;
            if connection.transactions() < self.terms.messages_per_connection {
                self.hops.pool.put(key.clone(), connection, self.terms.idle);
            } else {
                self.hops.pool.retire(share, connection);
            }
            match carried {
                Carried::Through => return,
                Carried::Turn => {
                    self.paused = true;
                    return;
                }
                // It had been closed behind our back, or takes no further transaction: nothing of
                // the message was said on it that a new one could say twice.
                Carried::Anew => {}
                Carried::CannotPassOn(link, status) => {
                    match link.tls {
                        Some(_) => self.findings.lacking += 1,
                        None => self.findings.unprotected += 1,
                    }
                    self.falls_short(way, link.clone(), &status);
                    return self.in_vain(link, status);
                }
                Carried::Lost(_, _) if was_kept => {}
                Carried::Lost(link, status) => {
                    self.findings.unknown += 1;
                    return self.in_vain(link, status);
                }
                Carried::Broke(status) => {
                    // The next attempt is another host's, where there is one.
                    if self.terms.several {
                        let [place, _, _] = suspects;
                        self.hops.backoff.failed_with(place, &status);
                    }
                    return;
                }
            }
        }
    }

    /// A host that may not have the message, whatever it might prove.
    pub(in crate::deliver) fn refuse(&mut self, way_link: Link, status: Status, why: Unprotected) {
        // A later look-up may find what this one did not.
        match status.code == EnhancedCode::new(4, 7, 5) {
            true => self.findings.unprotected += 1,
            false => self.findings.unknown += 1,
        }
        let link = Arc::new(way_link);
        self.answered = true;
        self.unprotected = Some((link.clone(), status.clone(), self.counted(why)));
        self.in_vain(link, status);
    }

    /// A host that cannot be spoken to for reasons found out before.
    pub(in crate::deliver) fn pass_over(&mut self, link: Link, status: Status, wait: Duration) {
        self.findings.unknown += 1;
        let wait = self.silence.map_or(wait, |other| other.min(wait));
        self.silence = Some(wait);
        self.in_vain(Arc::new(link), status);
    }

    async fn open(&self, way: &Way, share: &Arc<str>) -> Result<Connection, Box<OpenFailure>> {
        let most = self.terms.connections;
        self.hops.pool.make_room(share, most).await;
        let setup = self.hops.setups.of(
            way,
            self.terms.protocol,
            self.terms.credential,
            &self.hops.options,
        );
        match setup.await {
            Ok((target, setup)) => {
                Connection::open(&target, &setup)
                    .await
                    .map_err(|mut failure| {
                        failure.link.mx = way.mx;
                        failure
                    })
            }
            Err(error) => Err(Box::new(OpenFailure {
                cause: OpenCause::Hop(Cause::Local),
                status: Status::new(EnhancedCode::new(4, 3, 5), error.to_string()),
                link: way.link(),
                shown: Shown::default(),
            })),
        }
    }

    fn note(&mut self, way: &Way, link: &Link, ended: Ended, said: &str) {
        let address = link.address.map(|address| address.ip());
        let source = address.and_then(|address| match address.is_ipv4() {
            true => way.sources.ipv4.map(IpAddr::V4),
            false => way.sources.ipv6.map(IpAddr::V6),
        });
        self.opened.push(Opened {
            ended,
            address,
            source,
            said: said.to_owned(),
        });
    }

    fn not_open(&mut self, way: &Way, failure: &OpenFailure) {
        let ended = Ended::Failed(failure.cause.clone());
        self.note(way, &failure.link, ended, &failure.status.text);
        let [place, login, protection] = self.suspects(way);
        let is_unprotected = is_for_want_of_protection(&failure.cause);
        match is_positive(&failure.cause) {
            true => self.findings.unprotected += 1,
            false => self.findings.unknown += 1,
        }
        // A login that is refused is no word on the host: others may sign in there. Nor is a mail
        // host of many domains to be left alone because it cannot prove what one of them asks.
        self.looped |= failure.cause == OpenCause::Loop && way.mx.is_some();
        let (suspect, answers) = match failure.cause {
            OpenCause::Hop(Cause::SignIn) => (login, true),
            _ if is_unprotected && way.required.is_some() => (protection, true),
            _ => (place, false),
        };
        tracing::warn!(
            route = self.attempt.route.name,
            host = %way.lane.place,
            login = self.login().as_deref(),
            cause = ?failure.cause,
            reason = failure.status.text,
            "next hop cannot be used"
        );
        metrics::counter!("gatepost_hop_failures_total", "route_kind" => self.attempt.route.transport.kind())
            .increment(1);
        let wait = self
            .hops
            .backoff
            .failed_with(suspect.clone(), &failure.status);
        self.answered |= answers;
        self.is_silent(&suspect, wait);
        let link = Arc::new(failure.link.clone());
        if is_unprotected {
            self.falls_short(way, link.clone(), &failure.status);
        }
        self.in_vain(link, failure.status.clone());
    }

    /// Notes that this host is not protected as it must be.
    fn falls_short(&mut self, way: &Way, link: Arc<Link>, status: &Status) {
        let why = self.counted(Unprotected {
            required: way.required,
            hosts: 1,
        });
        self.unprotected = Some((link, status.clone(), why));
    }

    /// With the hosts counted that fell short before.
    fn counted(&self, why: Unprotected) -> Unprotected {
        let before = self.unprotected.as_ref().map_or(0, |(_, _, it)| it.hosts);
        Unprotected {
            hosts: before.saturating_add(why.hosts),
            ..why
        }
    }

    fn is_silent(&mut self, suspect: &Suspect, wait: Duration) {
        if suspect.finding != Finding::Anybody {
            self.answered = true;
        }
        let wait = self.silence.map_or(wait, |other| other.min(wait));
        self.silence = Some(wait);
    }

    fn in_vain(&mut self, link: Arc<Link>, status: Status) {
        self.in_vain.push(Try {
            link,
            ended_at: std::time::SystemTime::now(),
            status,
        });
    }

    fn login(&self) -> Option<Box<str>> {
        self.terms
            .credential
            .map(|credential| credential.name.as_str().into())
    }

    /// The host, the login there, and the protection that is asked of it.
    fn suspects(&self, way: &Way) -> [Suspect; 3] {
        [
            Finding::Anybody,
            Finding::Login(self.login().unwrap_or_default()),
            Finding::Protection(way.lane.channel.clone()),
        ]
        .map(|finding| Suspect {
            route: self.attempt.route.name.as_str().into(),
            place: way.lane.place.clone(),
            finding,
        })
    }

    /// Whoever is not decided is deferred: for want of protection where a host fell short, else for
    /// the reason of the last host that was tried.
    pub(in crate::deliver) fn end(mut self) -> Attempted {
        let last = match (&self.unprotected, self.is_decided()) {
            (_, true) => None,
            (Some((link, status, _)), false) => {
                let told = |it: &Try| it.link == *link && it.status == *status;
                if let Some(at) = self.in_vain.iter().rposition(told) {
                    self.in_vain.remove(at);
                }
                Some((link.clone(), status.clone()))
            }
            (None, false) => self.in_vain.pop().map(|last| (last.link, last.status)),
        };
        let unprotected = self.unprotected.take().map(|(_, _, why)| why);
        let rest = match last.or(self.passed_over) {
            // Nobody comes before us, and nobody may come behind us.
            Some((link, status)) if self.looped && self.in_vain.is_empty() => RecipientResult {
                outcome: Outcome::Failed(Status {
                    code: EnhancedCode::new(5, 4, 6),
                    ..status
                }),
                link: Some(link),
                unprotected: None,
            },
            // More attempts would find the same hosts (RFC 8689 §4.2.1: then a report is due).
            Some((link, status))
                if self.attempt.must_pass_requiretls_on()
                    && let Some(code) = self.findings.verdict() =>
            {
                RecipientResult {
                    outcome: Outcome::Failed(Status { code, ..status }),
                    link: Some(link),
                    unprotected,
                }
            }
            Some((link, status)) => RecipientResult {
                outcome: Outcome::Deferred(status),
                link: Some(link),
                unprotected,
            },
            None => RecipientResult {
                outcome: deferred(4, 4, "the route has no host"),
                link: None,
                unprotected: None,
            },
        };
        Attempted {
            results: self.carry.results((!self.paused).then_some(&rest)),
            in_vain: self.in_vain.into(),
            standing: match self.silence {
                Some(wait) if !self.answered => Standing::Silent(wait),
                _ => Standing::Answers,
            },
        }
    }
}

/// Whether a host has shown that it cannot be protected, and not merely failed to be.
fn is_positive(cause: &OpenCause) -> bool {
    match cause {
        OpenCause::Hop(Cause::Tls) => true,
        OpenCause::Tls(HandshakeError::Certificate(_) | HandshakeError::NoTls(_)) => true,
        OpenCause::Tls(HandshakeError::Incompatible(_)) => true,
        OpenCause::Tls(
            HandshakeError::Alert(_) | HandshakeError::Gone | HandshakeError::Other(_),
        ) => false,
        OpenCause::Resolve | OpenCause::Connect | OpenCause::Loop | OpenCause::Hop(_) => false,
    }
}

/// Whether a host was reached that is not protected, or has not proved, what was asked of it.
fn is_for_want_of_protection(cause: &OpenCause) -> bool {
    match cause {
        OpenCause::Hop(Cause::Tls) => true,
        OpenCause::Tls(error) => match error {
            HandshakeError::Certificate(_)
            | HandshakeError::Alert(_)
            | HandshakeError::Incompatible(_)
            | HandshakeError::NoTls(_)
            | HandshakeError::Gone
            | HandshakeError::Other(_) => true,
        },
        OpenCause::Resolve | OpenCause::Connect | OpenCause::Loop | OpenCause::Hop(_) => false,
    }
}
