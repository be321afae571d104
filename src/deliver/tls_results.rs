//! How sessions with mail hosts ended, told to whoever reports on them to the hosts' domains (RFC 8460).
//!
//! Delivery waits for nobody here: what finds no room is not counted.

use tokio::sync::mpsc;

use super::{
    hop::{Ended, Opened},
    smtp::OpenCause,
};
use crate::{
    client::Cause,
    dns::DnsError,
    envelope::Proof,
    policy::{
        security::{Shortfall, StsFacts, TlsaFacts},
        sts::StsMode,
        tlsrpt::{AppliedPolicy, PolicyKind, TlsResult, TlsSession},
    },
    reach::{Host, MxHost, NoHosts, StsState, sts::FetchKind, sts_facts},
    smtp::Domain,
    tls::{CertificateFault, HandshakeError},
};

/// Who counts; nobody by default.
#[derive(Clone, Debug, Default)]
pub struct TlsResults(Option<mpsc::Sender<TlsSession>>);

impl TlsResults {
    /// Results go here.
    pub fn to(counter: mpsc::Sender<TlsSession>) -> Self {
        TlsResults(Some(counter))
    }

    fn tell(&self, session: TlsSession) {
        if let Some(counter) = &self.0 {
            let _ = counter.try_send(session);
        }
    }
}

/// The sessions of one attempt.
pub(super) struct Witness<'a> {
    pub(super) results: &'a TlsResults,
    /// The recipients' domain, as policies and records are published under.
    pub(super) domain: String,
    pub(super) sts: &'a StsState,
}

impl<'a> Witness<'a> {
    pub(super) fn new(results: &'a TlsResults, domain: &Domain, sts: &'a StsState) -> Self {
        let witness = Witness {
            results,
            domain: domain.canonical(),
            sts,
        };
        if let (None, Some(trouble)) = (sts.policy(), sts.trouble()) {
            let result = match trouble.kind {
                FetchKind::Fetch => TlsResult::StsPolicyFetchError,
                FetchKind::Invalid => TlsResult::StsPolicyInvalid,
                FetchKind::WebPki => TlsResult::StsWebPkiInvalid,
            };
            witness.failed(PolicyKind::Sts, "", result, &trouble.text, None);
        }
        witness
    }

    /// The hosts of the domain could not be found, and that is not for want of trying.
    pub(super) fn nowhere(results: &TlsResults, domain: &Domain, why: &NoHosts) {
        if let NoHosts::Unknown(_, DnsError::Bogus { .. }) = why {
            let witness = Witness {
                results,
                domain: domain.canonical(),
                sts: &StsState::none(),
            };
            let result = TlsResult::DnssecInvalid;
            witness.failed(PolicyKind::Tlsa, "", result, "MX records", None);
        }
    }

    /// A host was not connected to.
    pub(super) fn refused(&self, host: &MxHost, why: Shortfall) {
        let (kind, result, reason) = match why {
            Shortfall::TlsaFailed => (PolicyKind::Tlsa, TlsResult::DnssecInvalid, "TLSA records"),
            Shortfall::NotInPolicy => (
                PolicyKind::Sts,
                TlsResult::ValidationFailure,
                "the policy does not name the host",
            ),
            // That is what we asked, and nothing that the domain has promised.
            Shortfall::MxNotProved => return,
        };
        let text = match kind {
            PolicyKind::Sts => self.sts.text().unwrap_or_default(),
            PolicyKind::Tlsa | PolicyKind::None => "",
        };
        self.failed(kind, text, result, reason, Some(host));
    }

    /// A connection to a host was opened, or was not.
    pub(super) fn saw(&self, host: &MxHost, found: &Host, opened: &Opened) {
        let applied = self.applied(found);
        let (result, reason) = match &opened.ended {
            Ended::Ready(proof) => self.ready(host, found, applied.kind, *proof),
            Ended::Failed(cause) => match failure(cause) {
                Some(result) => (result, opened.said.as_str()),
                // Nobody came as far as TLS.
                None => return,
            },
        };
        self.results.tell(match result {
            TlsResult::Success => TlsSession::success(&self.domain, applied),
            result => TlsSession {
                host: host.text().into(),
                receiving: opened.address,
                sending: opened.source,
                ..TlsSession::failure(&self.domain, applied, result, reason)
            },
        });
    }

    /// What the session was held against: DANE goes before MTA-STS (RFC 8461 §2).
    fn applied(&self, found: &Host) -> AppliedPolicy {
        match (found.tlsa, self.sts.policy()) {
            (TlsaFacts::None, Some(_)) => {
                AppliedPolicy::new(PolicyKind::Sts, self.sts.text().unwrap_or_default())
            }
            (TlsaFacts::None, None) => AppliedPolicy::new(PolicyKind::None, ""),
            (TlsaFacts::Usable | TlsaFacts::Unusable | TlsaFacts::Failed, _) => {
                let records: Vec<_> = found.records.iter().map(ToString::to_string).collect();
                AppliedPolicy::new(PolicyKind::Tlsa, &records.join("\n"))
            }
        }
    }

    /// A session is there; whether it is what the policy asks for, also where that was only testing.
    fn ready(
        &self,
        host: &MxHost,
        found: &Host,
        kind: PolicyKind,
        proof: Option<Proof>,
    ) -> (TlsResult, &'static str) {
        let Some(proof) = proof else {
            return (TlsResult::StartTlsNotSupported, "");
        };
        let testing = self
            .sts
            .policy()
            .is_some_and(|policy| policy.mode == StsMode::Testing);
        match kind {
            PolicyKind::Tlsa if found.tlsa == TlsaFacts::Unusable => {
                (TlsResult::TlsaInvalid, "no record can be used")
            }
            PolicyKind::Sts if testing => match (sts_facts(self.sts, &host.name), proof) {
                (StsFacts::Testing { named: false }, _) => (
                    TlsResult::ValidationFailure,
                    "the policy does not name the host",
                ),
                (_, Proof::None) => (
                    TlsResult::CertificateNotTrusted,
                    "the certificate does not prove the host's name",
                ),
                (_, _) => (TlsResult::Success, ""),
            },
            PolicyKind::Tlsa | PolicyKind::Sts | PolicyKind::None => (TlsResult::Success, ""),
        }
    }

    fn failed(
        &self,
        kind: PolicyKind,
        text: &str,
        result: TlsResult,
        reason: &str,
        host: Option<&MxHost>,
    ) {
        let policy = AppliedPolicy::new(kind, text);
        self.results.tell(TlsSession {
            host: host.map(MxHost::text).unwrap_or_default().into(),
            ..TlsSession::failure(&self.domain, policy, result, reason)
        });
    }
}

/// What kind of failure of TLS this is, where it is one.
fn failure(cause: &OpenCause) -> Option<TlsResult> {
    let fault = match cause {
        OpenCause::Hop(Cause::Tls) => return Some(TlsResult::StartTlsNotSupported),
        OpenCause::Tls(HandshakeError::Certificate(fault)) => fault,
        OpenCause::Tls(_) => return Some(TlsResult::ValidationFailure),
        OpenCause::Resolve | OpenCause::Connect | OpenCause::Loop | OpenCause::Hop(_) => {
            return None;
        }
    };
    Some(match fault {
        CertificateFault::WrongName { .. } => TlsResult::CertificateHostMismatch,
        CertificateFault::Expired { .. } | CertificateFault::NotYetValid { .. } => {
            TlsResult::CertificateExpired
        }
        CertificateFault::UnknownIssuer { .. }
        | CertificateFault::OtherKey { .. }
        | CertificateFault::SelfSigned { .. }
        | CertificateFault::Authority { .. } => TlsResult::CertificateNotTrusted,
        CertificateFault::NotInTlsa { .. }
        | CertificateFault::NotPinned { .. }
        | CertificateFault::KeyNotHeld
        | CertificateFault::Version(_)
        | CertificateFault::Other(_) => TlsResult::ValidationFailure,
    })
}
