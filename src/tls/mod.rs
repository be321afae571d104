//! Server TLS: certificate pairs, their choice by name, their reload, and the settings of a handshake.
//!
//! TLS 1.3 and 1.2 with AEAD suites and ephemeral keys only, the post-quantum group first (RFC 9325);
//! no early data, no client certificates, no protocol but `smtp` in ALPN (S10). The room knows
//! nothing of sockets, of SMTP or of delivery. Speaks RFC 8446, 5246, 6066 (SNI), 7301 and 5280.

mod certificate;
pub mod dev;
mod error;
mod pairs;
mod pem;
mod server;
#[cfg(test)]
mod tests;

pub use certificate::Certificate;
pub use error::TlsError;
pub use pairs::PairFiles;
pub use pem::{Pem, read_pem};
pub use server::{Server, facts, provider};

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
