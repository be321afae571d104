//! TLS at both ends: for clients the certificate pairs, their choice by name and their reload; for
//! next hops whom we trust, and in which words we do not.
//!
//! TLS 1.3 and 1.2 with AEAD suites and ephemeral keys only, the post-quantum group first (RFC 9325);
//! no early data, and certificates of clients only where the operator asks for them. To clients we speak no protocol but `smtp` in ALPN
//! (S10); to next hops we name none, for few of them know any. The room knows nothing of sockets,
//! of SMTP or of delivery. Speaks RFC 8446, 5246, 6066 (SNI), 7301, 5280, 9525, 6698 and 7672 (DANE).

mod certificate;
mod client;
mod dane;
pub mod dev;
mod error;
mod fingerprint;
mod handshake;
mod pairs;
mod pem;
mod printable;
mod server;
#[cfg(test)]
mod tests;
mod verifier;
mod visitor;

pub use certificate::Certificate;
pub use client::{Client, Stream, Trust, web_settings};
pub use dane::tlsa;
pub use error::TlsError;
pub use fingerprint::{FingerprintError, fingerprint, parse_fingerprint};
pub use handshake::{HandshakeError, Overheard};
pub use pairs::PairFiles;
pub use pem::{Pem, read_pem};
pub use server::{Server, exporter, facts, provider};
pub use verifier::{CertificateFault, Whose};
pub use visitor::{Visitor, Visitors};

use std::time::SystemTime;

/// What `check` says about one pair: the leaf's facts and words of warning for the operator.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The leaf.
    pub certificate: Certificate,
    /// One sentence each; empty where all is well.
    pub warnings: Vec<String>,
}

/// Loads a pair as the server would and looks at it more closely (R8314-4.4a, R9325-4.5a).
///
/// # Errors
/// [`TlsError`] where the server would refuse the pair.
pub fn inspect(files: &PairFiles, now: SystemTime) -> Result<Inspection, TlsError> {
    let pair = pairs::Pair::load(files)?;
    let mut warnings = pair.certificate.warnings(now);
    warnings.extend(pem::permission_warning(&files.key));
    Ok(Inspection {
        certificate: pair.certificate,
        warnings,
    })
}
