//! Why TLS cannot be set up.

use std::{io, path::PathBuf};

/// Why TLS could not be set up; the text names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("{path}: {source}", path = .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds no certificate.
    #[error("{} holds no certificate in PEM form", .0.display())]
    NoCertificate(PathBuf),
    /// The file holds no private key.
    #[error("{} holds no private key in PEM form", .0.display())]
    NoKey(PathBuf),
    /// The certificate is not well-formed.
    #[error("the certificate in {} cannot be read", .0.display())]
    Malformed(PathBuf),
    /// Key and certificate do not belong together, or the key is of an unknown kind.
    #[error("{path} and its key cannot be used: {source}", path = .path.display())]
    Mismatch {
        /// The certificate's file.
        path: PathBuf,
        /// What the TLS library said.
        source: rustls::Error,
    },
    /// RFC 9325 §4.5.
    #[error("the certificate in {path} is too weak: {reason}", path = .path.display())]
    Weak {
        /// The certificate's file.
        path: PathBuf,
        /// What is weak.
        reason: String,
    },
    /// No pair is configured.
    #[error("no certificate is configured")]
    NoPairs,
    /// There is nobody whom the system trusts.
    #[error(
        "this system has no root certificates that could be read{reason}; install ca-certificates, or name an authority"
    )]
    NoRoots {
        /// What reading them brought up, with a colon before it; may be empty.
        reason: String,
    },
    /// A file of authorities holds a certificate that cannot be one.
    #[error("certificate {number} in {path} cannot be used as an authority: {source}", path = .path.display())]
    Authority {
        /// Which file.
        path: PathBuf,
        /// Its place in the file, from 1.
        number: usize,
        /// What the TLS library said.
        source: rustls::Error,
    },
    /// A certificate is to be pinned, and none is given.
    #[error("no fingerprint is given to pin a certificate by")]
    NoPins,
    /// The TLS library refused the settings.
    #[error("TLS settings refused: {0}")]
    Settings(#[from] rustls::Error),
    /// A development certificate could not be made or written.
    #[error("failed to make a development certificate in {path}: {reason}", path = .path.display())]
    Development {
        /// The directory.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
}
