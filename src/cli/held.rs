//! `gatepost held`: mail that waits for an operator, and the brake that holds it.

use std::{process::ExitCode, time::SystemTime};

use anyhow::Result;
use clap::Subcommand;

use super::{
    accounts::{changed, login, open},
    queue::{
        change::{Selected, change},
        list_held,
    },
};
use crate::{
    config::Loaded,
    store::{brakes::Verdict, queue::Verb},
};

/// What to do with held mail.
#[derive(Debug, Subcommand)]
pub enum HeldCommand {
    /// List it, of one account or of all.
    List {
        /// The account's login name.
        account: Option<String>,
    },
    /// It was the owner's: send it, and let the brake go. As much is usual from now on.
    Release {
        /// The account's login name.
        account: String,
    },
    /// It was not the owner's: drop it without a report, and let the brake go. Set a new password
    /// first.
    Discard {
        /// The account's login name.
        account: String,
    },
}

impl HeldCommand {
    /// Does it.
    pub async fn run(self, loaded: &Loaded, json: bool) -> Result<ExitCode> {
        let (account, verdict, verb) = match self {
            HeldCommand::List { account } => return list_held(account, loaded, json).await,
            HeldCommand::Release { account } => (account, Verdict::Owners, Verb::Release),
            HeldCommand::Discard { account } => (account, Verdict::NotOwners, Verb::Cancel),
        };
        let name = login(&account)?;
        let store = open(loaded).await?;
        store
            .let_brake_go(&name, verdict, SystemTime::now())
            .await?;
        changed(store, loaded).await?;
        change(verb, Selected::held_of(name), loaded, json).await
    }
}
