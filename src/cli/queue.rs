//! `gatepost queue`: mail in custody, with a running server or without one.
//!
//! Whatever only reads goes to the database, beside a server too. Changes are made by the server
//! where one runs.

pub(super) mod change;
mod export;
mod filters;
pub(super) mod list;
mod show;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

pub use self::filters::account;
use self::{
    change::{Cancelled, Selected},
    filters::Filters,
};
use super::{answer::Answer, as_service, cannot_open};
use crate::{
    config::Loaded,
    envelope::QueueId,
    server::DATABASE,
    store::{
        Store, StoreError,
        queue::{QueueRecipient, RecipientState, Verb},
    },
};

/// What to do with the queue.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// List messages that are not handed on yet, oldest first.
    List(QueueList),
    /// Show a message: its envelope, its options, its header section.
    Show {
        /// Its queue id.
        id: String,
    },
    /// Try mail at once that is due later.
    Retry(Selected),
    /// Try all mail at once that is due later.
    Flush,
    /// Keep mail back until it is released.
    Hold(Selected),
    /// Let held mail go.
    Release(Selected),
    /// Take mail out of the queue for good; its sender gets no report.
    Cancel(Cancelled),
    /// Write a message out, octet for octet as it is in custody.
    Export {
        /// Its queue id.
        id: String,
        /// A new file, readable to its owner alone; otherwise standard output.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// What to list, and how much of it.
#[derive(Args, Debug)]
pub struct QueueList {
    #[command(flatten)]
    filters: Filters,
    /// Messages at most; more are said to be there.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..1_000_000))]
    limit: u32,
}

impl QueueCommand {
    /// Does it, and prints what came of it.
    pub async fn run(self, config: &Path, json: bool) -> Result<ExitCode> {
        let (verb, selected) = match self {
            QueueCommand::Export { id, output } => {
                return export::export(&known_as(&id), output.as_deref(), config, json).await;
            }
            QueueCommand::List(list) => {
                let filter = list.filters.filter(Vec::new(), SystemTime::now());
                let database = database(&as_service(config)?);
                list::list(&filter, list.limit, &database, json).await?;
                return Ok(ExitCode::SUCCESS);
            }
            QueueCommand::Show { id } => {
                let database = database(&as_service(config)?);
                let answer: Answer = show::show(&known_as(&id), &database).await?;
                answer.print(json)?;
                return Ok(ExitCode::SUCCESS);
            }
            QueueCommand::Flush => (Verb::Retry, Selected::default()),
            QueueCommand::Retry(selected) => (Verb::Retry, selected),
            QueueCommand::Hold(selected) => (Verb::Hold, selected),
            QueueCommand::Release(selected) => (Verb::Release, selected),
            QueueCommand::Cancel(cancelled) => (Verb::Cancel, cancelled.selected),
        };
        change::change(verb, selected, &as_service(config)?, json).await
    }
}

/// Lists held mail.
pub(super) async fn list_held(
    account: Option<String>,
    loaded: &Loaded,
    json: bool,
) -> Result<ExitCode> {
    let filter = Filters::held(account).filter(Vec::new(), SystemTime::now());
    list::list(&filter, 1000, &database(loaded), json).await?;
    Ok(ExitCode::SUCCESS)
}

/// The database of a configuration.
pub(super) fn database(loaded: &Loaded) -> PathBuf {
    loaded.config.data_dir.join(DATABASE)
}

/// Opens the database for reading beside a server; none where nothing was ever accepted.
pub(super) async fn reader(database: &Path) -> Result<Option<Store>> {
    match Store::open_read_only(database).await {
        Ok(store) => Ok(Some(store)),
        Err(StoreError::NotFound) => Ok(None),
        Err(error) => Err(error).with_context(|| cannot_open(database)),
    }
}

/// A queue id as it is stored; what is none may be that of a damaged message.
pub(super) fn known_as(id: &str) -> String {
    QueueId::parse(id).map_or_else(|_| id.to_owned(), |id| id.to_string())
}

/// When a recipient is tried next, where that is the clock's matter.
pub(super) fn next_attempt(to: &QueueRecipient) -> Option<String> {
    match to.state {
        RecipientState::Due | RecipientState::Deferred | RecipientState::Later => {
            Some(super::timestamp(to.next_attempt_at))
        }
        RecipientState::Claimed | RecipientState::Held | RecipientState::Aside => None,
    }
}

/// Code and text of the last attempt in one.
pub(super) fn last_words(to: &QueueRecipient) -> String {
    [to.last_code.as_deref(), to.last_text.as_deref()]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ")
}
