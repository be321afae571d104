//! The operator's doors: a Unix socket for the command line, HTTP on loopback for machines.

pub mod control;
pub mod http;
