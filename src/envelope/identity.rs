//! Who signed in.

use std::{fmt, sync::Arc};

/// The store's key of an account.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AccountId(pub i64);

/// The store's key of an app password.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AppPasswordId(pub i64);

/// The proven authorization identity of a session (RFC 4954 §4).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// The account that signed in.
    pub account: AccountId,
    /// Its login name, in prepared form.
    pub name: Arc<str>,
    /// The app password that it signed in with, if it was one: it may do less than its account.
    pub app_password: Option<AppPasswordId>,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
