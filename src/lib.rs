//! Gatepost: a mail submission server (RFC 6409). This page is the map; read it first.
//!
//! People's mail programs hand their outgoing mail to Gatepost on port 465 (implicit TLS) or 587
//! (STARTTLS). They sign in, hand over a message, and get a `250` once it is on stable storage.
//! From then on Gatepost answers for it until it is handed off.
//!
//! # The way of a message
//!
//! bytes → `listener` → `session` → decisions (`accounts`, `policy`, `reach`) → `intake` (fix-ups,
//! `filter`, `dkim`) → `spool` (custody) → `queue` → `deliver` (`reach`, `client`) → outcome → `report` → back into
//! the `spool` as mail to the sender
//!
//! # The house
//!
//! Rooms stand on floors; imports go down, and within a floor only where the room's page says so.
//!
//! | floor | rooms | what they are |
//! |---|---|---|
//! | desk | `cli` `server` `config` `admin` | know everybody, known by nobody |
//! | hands | `listener` `intake` `queue` `deliver` `tlsrpt` | tasks that move mail, and tell of it |
//! | keepers | `store` `spool` `accounts` `oauth` `directory` `web` `filter` `dkim` `dns` `reach` `tls` | each owns one thing of the outside world |
//! | machines | `session` `client` `policy` `report` | pure: no I/O, no clock, no randomness, no logging |
//! | words | `smtp` `sasl` `envelope` `message` | plain octets and values: parse and write |
//!
//! # What always holds
//!
//! 1. Words and machines know no tokio, sockets, files, SQL, clock or randomness: `now`, random
//!    octets and answers are arguments. Their time is [`envelope::Moment`].
//! 2. Only `store` contains SQL or names sqlx, and none of sqlx's types leave it.
//! 3. The `250` behind a message is sent only when the spool's commit has returned, and that
//!    means: the message is on stable storage.
//! 4. Nothing below the desk imports `config`: a room has its own `Options`.
//! 5. `listener` never learns of transports, `deliver` never of clients; `intake` and `queue` meet
//!    only in the spool.
//! 6. Texts for clients are made in `session` and `policy` only.
//! 7. The pure rooms neither log nor count; their drivers see every output and do both.
//! 8. What a hand-off must prove is decided in `policy::security` and nowhere else; `deliver` proves it
//!    or the host gets nothing. Certificates are held against TLSA records in `tls`, beside the other
//!    ways of proving a name: all of them answer to one verifier.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod accounts;
pub mod admin;
pub mod cli;
pub mod client;
pub mod config;
pub mod deliver;
pub mod directory;
pub mod dkim;
pub mod dns;
pub mod envelope;
pub mod filter;
pub mod intake;
pub mod listener;
pub mod message;
pub mod oauth;
pub mod policy;
pub mod queue;
pub mod reach;
pub mod report;
pub mod sasl;
pub mod server;
pub mod session;
pub mod smtp;
pub mod spool;
pub mod store;
pub mod tls;
pub mod tlsrpt;
pub mod web;
