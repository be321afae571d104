//! Fresh connections, as those see them who count how TLS goes.

use std::net::IpAddr;

use crate::{deliver::smtp::OpenCause, envelope::Proof};

/// How a fresh connection came about, or did not.
#[derive(Clone, Debug)]
pub(in crate::deliver) struct Opened {
    pub(in crate::deliver) ended: Ended,
    /// The host's address, where there was one.
    pub(in crate::deliver) address: Option<IpAddr>,
    /// Ours, where it was chosen.
    pub(in crate::deliver) source: Option<IpAddr>,
    /// What was said of it.
    pub(in crate::deliver) said: String,
}

/// How the opening of a connection ended.
#[derive(Clone, Debug)]
pub(in crate::deliver) enum Ended {
    /// It is ready for mail; how the host proved its identity, where the channel is encrypted.
    Ready(Option<Proof>),
    Failed(OpenCause),
}
