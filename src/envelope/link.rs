//! How an attempt travelled: the evidence that log, trace and reports show.

use std::net::SocketAddr;

use super::TlsVersion;

/// How the host at the other end proved to be the one that was meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Proof {
    /// It did not.
    None,
    /// Its certificate names it and leads to a root of this system (RFC 6125, RFC 5280).
    WebPki,
    /// Its certificate names it and leads to an authority that the operator gave.
    GivenCa,
    /// Its certificate is one that the operator gave by its SHA-256 fingerprint.
    Pin,
    /// A TLSA record that DNSSEC vouches for names its certificate or key (DANE-EE, RFC 7672 §3.1.1).
    DaneEe,
    /// A TLSA record that DNSSEC vouches for names an authority behind its certificate, which names
    /// the host (DANE-TA, RFC 7672 §3.1.2).
    DaneTa,
}

impl Proof {
    /// Every way.
    pub const ALL: [Proof; 6] = [
        Proof::None,
        Proof::WebPki,
        Proof::GivenCa,
        Proof::Pin,
        Proof::DaneEe,
        Proof::DaneTa,
    ];

    /// The word for it in logs, traces and rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Proof::None => "none",
            Proof::WebPki => "webpki",
            Proof::GivenCa => "ca",
            Proof::Pin => "pin",
            Proof::DaneEe => "dane-ee",
            Proof::DaneTa => "dane-ta",
        }
    }

    /// Reads [`Proof::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        Proof::ALL.into_iter().find(|proof| proof.as_str() == word)
    }
}

/// What vouches for a host's being a mail host of the recipient's domain.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum MxProof {
    /// Nothing: the MX record could have been forged.
    None,
    /// DNSSEC vouches for the MX record (RFC 7672 §2.2.1).
    Dnssec,
    /// The domain's MTA-STS policy names the host (RFC 8461 §4.1).
    Sts,
    /// Nobody could tell: the resolver does not validate, and DANE was not in use.
    Unchecked,
}

impl MxProof {
    /// Every way.
    pub const ALL: [MxProof; 4] = [
        MxProof::None,
        MxProof::Dnssec,
        MxProof::Sts,
        MxProof::Unchecked,
    ];

    /// The word for it in logs, traces and rows.
    pub fn as_str(self) -> &'static str {
        match self {
            MxProof::None => "none",
            MxProof::Dnssec => "dnssec",
            MxProof::Sts => "mta-sts",
            MxProof::Unchecked => "unchecked",
        }
    }

    /// Reads [`MxProof::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        MxProof::ALL
            .into_iter()
            .find(|proof| proof.as_str() == word)
    }
}

/// How a link to a next hop was encrypted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LinkTls {
    /// Negotiated version.
    pub version: TlsVersion,
    /// The registered name of the cipher suite.
    pub suite: Box<str>,
    /// SHA-256 of the certificate that the host showed, in DER.
    pub fingerprint: [u8; 32],
    /// How the host proved its name.
    pub proof: Proof,
}

/// The link to one host of a next hop.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    /// The host as the route names it: a name, an address, or the path of a socket.
    pub host: Box<str>,
    /// What was connected to; none before there was a connection, and for a Unix socket.
    pub address: Option<SocketAddr>,
    /// How it was encrypted, where it was.
    pub tls: Option<LinkTls>,
    /// For a mail host of the recipient's domain: what vouches for its being one.
    pub mx: Option<MxProof>,
    /// For a message that asks for it: whether REQUIRETLS was passed on (RFC 8689 §4.2.1).
    pub requiretls: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_proof_is_read_back_from_its_word() {
        for proof in Proof::ALL {
            assert_eq!(Proof::parse(proof.as_str()), Some(proof));
        }
        assert_eq!(Proof::parse("dane"), None);
        for proof in MxProof::ALL {
            assert_eq!(MxProof::parse(proof.as_str()), Some(proof));
        }
    }
}
