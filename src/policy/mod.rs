//! Decisions, as pure functions and tables: who may send as whom, how often one may guess, which
//! way mail goes, how well it must be protected, when it is tried again, and what a client hears of a
//! refusal.
//!
//! No I/O, no clock, no randomness, no logging: whoever asks brings time and random octets, and
//! writes down what came of it.

pub mod allowance;
pub mod brake;
pub mod content;
pub mod dane;
pub mod retry;
pub mod routes;
pub mod security;
pub mod sending;
pub mod sts;
pub mod throttle;
pub mod tlsrpt;
