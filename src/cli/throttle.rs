//! `gatepost throttle`: what a running server has counted of wrong passwords.

use anyhow::{Result, bail};
use clap::Subcommand;
use serde_json::json;

use super::answer::{Answer, columns};
use crate::{
    admin::control::{self, Request},
    config::Loaded,
};

/// What to do with the throttle.
#[derive(Debug, Subcommand)]
pub enum ThrottleCommand {
    /// List counters that have something, those that put sign-ins off first.
    List,
    /// Forget everything counted, so that all may sign in again.
    Clear,
}

impl ThrottleCommand {
    /// Does it.
    pub fn run(self, loaded: &Loaded) -> Result<Answer> {
        let data_dir = &loaded.config.data_dir;
        let request = match self {
            ThrottleCommand::List => Request::Throttled,
            ThrottleCommand::Clear => Request::ClearThrottle,
        };
        match control::ask(data_dir, request)? {
            Some(control::Answer::Throttled(counted)) => {
                let word = |is_over: &bool| if *is_over { "put off" } else { "checked" };
                let rows = counted
                    .iter()
                    .map(|(counter, key, [minute, hour, day], is_over)| {
                        [
                            counter.clone(),
                            crate::server::logging::escape(key).to_string(),
                            minute.to_string(),
                            hour.to_string(),
                            day.to_string(),
                            word(is_over).to_owned(),
                        ]
                    });
                Ok(Answer {
                    text: columns(["COUNTER", "OF", "MINUTE", "HOUR", "DAY", "SIGN-INS"], rows),
                    objects: counted
                        .iter()
                        .map(|(counter, key, failures, is_over)| {
                            json!({
                                "counter": counter,
                                "key": key,
                                "failures": failures,
                                "put_off": is_over,
                            })
                        })
                        .collect(),
                })
            }
            Some(control::Answer::Done) => Ok(Answer::done(
                "The throttle has forgotten what it counted.".to_owned(),
                json!({ "done": "throttle cleared" }),
            )),
            Some(control::Answer::Failed(why)) => bail!("the server says: {why}"),
            Some(other) => bail!("the server gave an answer of another kind: {other:?}"),
            None => bail!("no server is running, and only a running one counts"),
        }
    }
}
