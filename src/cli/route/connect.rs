//! `gatepost route test --connect`: what the hosts of a route answer, up to the sign-in.

use std::time::Duration;

use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use crate::{
    cli::timestamp,
    client::Protocol,
    deliver::hop::{Answered, Options, probe},
    envelope::Proof,
    policy::routes::{Credential, Host, Transport},
};

/// A person waits no longer for one host.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connects to these hosts of a route, one after another, as a message would.
pub(super) async fn connect(
    transport: &Transport,
    hosts: &[&Host],
    credential: Option<&Credential>,
    options: &Options,
) -> Vec<Answered> {
    let (hop, protocol) = match transport {
        Transport::Lmtp { hop, .. } => (hop, Protocol::Lmtp),
        Transport::Relay(hop) => (hop, Protocol::Smtp),
        Transport::Maildir { .. } | Transport::Mx(_) | Transport::Discard => return Vec::new(),
    };
    let options = Options {
        opening: options.opening.min(PATIENCE),
        ..options.clone()
    };
    let mut answers = Vec::new();
    for host in hosts {
        answers.push(probe(hop, host, protocol, credential, &options).await);
    }
    answers
}

/// For a person: what there is to say, line by line.
pub(super) fn lines(answered: &Answered, user: Option<&str>) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if let Some(address) = answered.link.address {
        lines.push(("connected to", address.to_string()));
    }
    if let Some(tls) = &answered.link.tls {
        lines.push(("TLS", format!("{} with {}", tls.version, tls.suite)));
        let fingerprint = HEXLOWER.encode(&tls.fingerprint);
        lines.push(("certificate", format!("SHA-256 {fingerprint}")));
        lines.push(("proof", proof(tls.proof).to_owned()));
    }
    if let Some(certificate) = &answered.shown.certificate {
        lines.push(("names", certificate.names.join(" ")));
        lines.push(("valid until", timestamp(certificate.not_after)));
    }
    let offers = answered.shown.extensions.keywords();
    if !offers.is_empty() {
        lines.push(("offers", offers.join(", ")));
    }
    match (&answered.refused, user) {
        (Some((_, status)), _) => lines.push(("refused", status.to_string())),
        (None, Some(user)) => lines.push(("ready", format!("signed in as {user}"))),
        (None, None) => lines.push(("ready", "without a sign-in".to_owned())),
    }
    lines
}

fn proof(proof: Proof) -> &'static str {
    match proof {
        Proof::None => "none",
        Proof::WebPki => "an authority of this system vouches for its name",
        Proof::GivenCa => "an authority of the route vouches for its name",
        Proof::Pin => "the certificate is pinned",
        Proof::DaneEe => "a TLSA record names its certificate or key (DANE-EE)",
        Proof::DaneTa => "a TLSA record names the authority that vouches for it (DANE-TA)",
    }
}

/// For a program.
pub(super) fn object(answered: &Answered, user: Option<&str>) -> Value {
    let tls = answered.link.tls.as_ref().map(|tls| {
        json!({
            "version": tls.version.to_string(),
            "suite": tls.suite,
            "fingerprint": HEXLOWER.encode(&tls.fingerprint),
            "proof": tls.proof.as_str(),
        })
    });
    let certificate = answered.shown.certificate.as_ref().map(|certificate| {
        json!({
            "names": certificate.names,
            "not_after": timestamp(certificate.not_after),
        })
    });
    let refused = answered.refused.as_ref();
    json!({
        "address": answered.link.address.map(|address| address.to_string()),
        "tls": tls,
        "certificate": certificate,
        "offers": answered.shown.extensions.keywords(),
        "ready": refused.is_none(),
        "signed_in": refused.is_none() && user.is_some(),
        "refused": refused.map(|(_, status)| status.to_string()),
    })
}
