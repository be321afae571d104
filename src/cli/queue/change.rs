//! `gatepost queue retry`, `flush`, `hold`, `release` and `cancel`.
//!
//! The command walks the queue: it asks the running server for one part after the other, and where
//! no server runs it does each part itself.

use std::{process::ExitCode, time::SystemTime};

use anyhow::{Context, Result, bail};
use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use super::{Filters, database, reader};
use crate::{
    admin::control::{self, IDS_MAX, Request},
    cli::{answer::Answer, cannot_open},
    config::Loaded,
    server::logging::escape,
    spool::AtRest,
    store::{
        Store,
        queue::{Change, Cursor, Filter, Tally, Verb},
    },
};

/// Mail by queue id, by what it has, or both; all of it where nothing is given.
#[derive(Args, Clone, Debug, Default)]
pub struct Selected {
    /// Queue ids.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    filters: Filters,
}

impl Selected {
    /// Held mail of an account.
    pub fn held_of(account: String) -> Self {
        Selected {
            ids: Vec::new(),
            filters: Filters::held(Some(account)),
        }
    }
}

/// As [`Selected`], but all of it must be asked for.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("which").args(SELECTING).arg("all").required(true).multiple(true))]
pub struct Cancelled {
    #[command(flatten)]
    pub selected: Selected,
    /// Everything in the queue.
    #[arg(long, conflicts_with_all = SELECTING)]
    all: bool,
}

/// Arguments of which one keeps a command from meaning everything.
const SELECTING: [&str; 8] = [
    "ids",
    "sender",
    "recipient",
    "domain",
    "older",
    "younger",
    "state",
    "account",
];

/// Does it and tells in one line what was done.
pub async fn change(
    verb: Verb,
    selected: Selected,
    loaded: &Loaded,
    json: bool,
) -> Result<ExitCode> {
    let filter = selected.filters.filter(selected.ids, SystemTime::now());
    let names_messages = !filter.ids.is_empty();
    let account = filter.account.clone();
    let mut walk = Walk {
        loaded,
        rest: None,
        tally: Tally::default(),
    };
    let done = walk.all(verb, filter).await;
    if let Some((store, _)) = walk.rest.take() {
        store.close().await;
    }
    let tally = walk.tally;
    if let Err(error) = done {
        if tally.recipients == 0 {
            return Err(error);
        }
        // A part of which no answer came may have been done.
        let done = sentence(verb, &tally);
        let text =
            format!("stopped half-way, and one part more may be done than is told here. {done}");
        return Err(error.context(text));
    }
    let found = tally.recipients + tally.under_way + tally.due_already;
    if found == 0
        && let Some(name) = account
        && !has_account(&name, loaded).await?
    {
        bail!(
            "nothing was done: no account has the name {}",
            escape(&name)
        );
    }
    let mut text = sentence(verb, &tally);
    if verb == Verb::Retry && loaded.config.queue.hold {
        text.push_str(" Nothing is tried while queue.hold is set.");
    }
    Answer::done(text, object(verb, &tally)).print(json)?;
    Ok(match names_messages && tally.recipients == 0 {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// A slip in the name must not pass for an account without mail.
async fn has_account(name: &str, loaded: &Loaded) -> Result<bool> {
    let Some(store) = reader(&database(loaded)).await? else {
        return Ok(false);
    };
    let found = store.account_by_name(name).await;
    store.close().await;
    Ok(found?.is_some())
}

/// A change on its way.
struct Walk<'a> {
    loaded: &'a Loaded,
    /// Custody, once no server was found.
    rest: Option<(Store, AtRest)>,
    tally: Tally,
}

impl Walk<'_> {
    async fn all(&mut self, verb: Verb, mut filter: Filter) -> Result<()> {
        filter.ids.sort_unstable();
        filter.ids.dedup();
        let mut ids = std::mem::take(&mut filter.ids);
        loop {
            let behind = ids.split_off(ids.len().min(IDS_MAX));
            let change = Change {
                verb,
                filter: Filter {
                    ids,
                    ..filter.clone()
                },
            };
            let mut from = None;
            loop {
                from = self.part(&change, from).await?;
                if from.is_none() {
                    break;
                }
            }
            if behind.is_empty() {
                return Ok(());
            }
            ids = behind;
        }
    }

    async fn part(&mut self, change: &Change, from: Option<Cursor>) -> Result<Option<Cursor>> {
        let request = Request::ChangeQueue {
            change: Box::new(change.clone()),
            from,
        };
        match control::ask(&self.loaded.config.data_dir, request)? {
            Some(control::Answer::QueueChanged { tally, next }) => {
                self.tally.append(tally);
                return Ok(next);
            }
            Some(answer) => bail!("the running server answered {answer:?}"),
            None => {}
        }
        if self.rest.is_none() {
            self.rest = at_rest(self.loaded).await?;
        }
        let Some((_, rest)) = &self.rest else {
            // Nothing was ever accepted.
            self.tally.unknown.extend_from_slice(&change.filter.ids);
            return Ok(None);
        };
        let part = rest.change(change, from, SystemTime::now()).await?;
        self.tally.append(part.tally);
        Ok(part.next)
    }
}

async fn at_rest(loaded: &Loaded) -> Result<Option<(Store, AtRest)>> {
    let path = database(loaded);
    if !path.exists() {
        return Ok(None);
    }
    let store = Store::open(&path).await;
    let store = store.with_context(|| cannot_open(&path))?;
    let (spool, node) = (&loaded.options.spool.directory, &loaded.config.node);
    let rest = AtRest::open(store.clone(), spool, node).await?;
    Ok(Some((store, rest)))
}

/// What was done, in the past tense.
fn done(verb: Verb) -> (&'static str, &'static str) {
    match verb {
        Verb::Hold => ("Held", "held"),
        Verb::Release => ("Released", "released"),
        Verb::Retry => ("Brought forward", "brought forward"),
        Verb::Cancel => ("Cancelled", "cancelled"),
    }
}

fn sentence(verb: Verb, tally: &Tally) -> String {
    let mut text = done(verb).0.to_owned();
    match tally.recipients {
        0 => text.push_str(" nothing"),
        recipients => text.push_str(&format!(
            " {} of {}",
            counted(recipients, "recipient"),
            counted(tally.messages, "message")
        )),
    }
    match tally.under_way {
        0 => {}
        1 => text.push_str("; 1 is being delivered at this moment"),
        recipients => text.push_str(&format!(
            "; {recipients} are being delivered at this moment"
        )),
    }
    match tally.due_already {
        0 => {}
        1 => text.push_str("; 1 was due already"),
        recipients => text.push_str(&format!("; {recipients} were due already")),
    }
    if tally.missed > 0 {
        text.push_str(&format!("; {} ended in the meantime", tally.missed));
    }
    if !tally.unknown.is_empty() {
        text.push_str(&format!(
            "; not in the queue: {}",
            escape(&tally.unknown.join(" "))
        ));
    }
    text + "."
}

fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

fn object(verb: Verb, tally: &Tally) -> Value {
    json!({
        "done": done(verb).1,
        "recipients": tally.recipients,
        "messages": tally.messages,
        "under_way": tally.under_way,
        "let_be": tally.let_be,
        "due_already": tally.due_already,
        "missed": tally.missed,
        "unknown": tally.unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_tells_what_was_done_and_what_was_not() {
        let tally = |recipients, messages, under_way, missed, unknown: &[&str]| Tally {
            recipients,
            messages,
            under_way,
            missed,
            unknown: unknown.iter().map(|id| (*id).to_owned()).collect(),
            ..Tally::default()
        };
        for (verb, tally, line) in [
            (
                Verb::Hold,
                tally(3, 2, 1, 0, &[]),
                "Held 3 recipients of 2 messages; 1 is being delivered at this moment.",
            ),
            (
                Verb::Cancel,
                tally(1, 1, 2, 1, &[]),
                "Cancelled 1 recipient of 1 message; 2 are being delivered at this moment; \
                 1 ended in the meantime.",
            ),
            (
                Verb::Release,
                tally(0, 0, 0, 0, &["x", "\u{1b}[2J"]),
                "Released nothing; not in the queue: x \\u{1b}[2J.",
            ),
            (
                Verb::Retry,
                Tally {
                    due_already: 3,
                    ..tally(2, 1, 0, 0, &[])
                },
                "Brought forward 2 recipients of 1 message; 3 were due already.",
            ),
        ] {
            assert_eq!(sentence(verb, &tally), line);
        }
    }
}
