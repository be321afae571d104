//! Settings of the keeper.

use std::time::Duration;

use super::password::{PasswordError, params};
use crate::{
    directory, oauth,
    policy::{
        brake,
        throttle::{Limits, Network},
    },
};

/// Settings; `config` fills them.
#[derive(Clone, Debug)]
pub struct Options {
    /// Memory of one hash in KiB.
    pub argon2_memory_kib: u32,
    /// Passes over that memory.
    pub argon2_iterations: u32,
    /// Lanes.
    pub argon2_parallelism: u32,
    /// Hashes at once; more than there are cores is cut to that.
    pub workers: usize,
    /// Sign-ins that may wait for a worker; the next gets 454 (S27).
    ///
    /// A quarter of the line is kept for those who come from a place they are known at.
    pub waiting: usize,
    /// How long the outcome of a hash is remembered; zero: not at all.
    pub remember: Duration,
    /// Limits of guessing.
    pub throttle: Limits,
    /// Passwords may be proved (SCRAM), and those set from here on can be.
    pub scram: bool,
    /// Iteration count of the keys that are made for that.
    pub scram_iterations: u32,
    /// Whose tokens are taken.
    pub oauth: Option<oauth::Options>,
    /// Who knows passwords that we do not.
    pub directory: Option<directory::Options>,
    /// What tells a stolen password from its owner.
    pub brake: brake::Options,
    /// Networks whose guesses are neither counted nor stopped.
    pub exempt: Vec<Network>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            argon2_memory_kib: 19_456,
            argon2_iterations: 2,
            argon2_parallelism: 1,
            workers: cores(),
            waiting: 256,
            remember: Duration::from_secs(600),
            throttle: Limits::default(),
            scram: false,
            scram_iterations: 600_000,
            oauth: None,
            directory: None,
            brake: brake::Options::default(),
            exempt: Vec::new(),
        }
    }
}

impl Options {
    /// Looks whether argon2 can work with the parameters.
    ///
    /// # Errors
    /// [`PasswordError::Hash`] with what is wrong.
    pub fn check(&self) -> Result<(), PasswordError> {
        params(self).map(|_| ())
    }

    pub(super) fn hashes_at_once(&self) -> usize {
        self.workers.clamp(1, cores())
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
