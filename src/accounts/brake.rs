//! The brake at work: habits from the store, judgements, and the step that stays until an operator
//! looks at it.

use std::time::{Duration, Instant, SystemTime};

use super::{Account, Accounts, Unavailable, lock, volumes::seconds};
use crate::{
    envelope::AccountId,
    policy::{
        allowance::{self, Counts, DAY, HOUR, Scope},
        brake::{self, Doing, Habits, Judgement, Step},
    },
    store::limits::Sent,
};

/// How long what was read of an account's past is believed.
const BELIEVED: Duration = Duration::from_secs(60);
/// How long a network is new.
const NEW_FOR: Duration = Duration::from_secs(48 * 3600);

/// What the store knows of an account's past.
#[derive(Clone, Copy, Debug)]
pub(super) struct Past {
    read_at: Instant,
    habits: Habits,
    /// Recipients that failed within the last day.
    failed: u64,
    is_elsewhere: bool,
    /// When it sent something first, as far as that is kept.
    first: Option<u32>,
}

/// What the brake says of a message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Braked {
    /// How far it is pulled.
    pub step: Step,
    /// It was pulled by this very message, for this reason.
    pub pulled_for: Option<String>,
    /// How long slow mail waits.
    pub delay: Duration,
}

impl Accounts {
    /// What is to become of a message that was counted.
    ///
    /// # Errors
    /// [`Unavailable`] where the store fails.
    pub async fn brake(&self, account: &Account, sent: &Sent) -> Result<Braked, Unavailable> {
        let options = self.settings.load().options.brake.clone();
        let delay = options.delay;
        let kept = &account.brake;
        if !options.enabled || !kept.enabled {
            return Ok(Braked::default());
        }
        if kept.step != Step::Free || sent.counts.outside == 0 {
            return Ok(Braked {
                step: kept.step,
                pulled_for: None,
                delay,
            });
        }
        let judged = self.judge(account, sent, &options).await?;
        let pulled_for = match judged.step {
            Step::Free | Step::Slow => None,
            step => {
                let (reason, now) = (judged.reason(), SystemTime::now());
                let pulled = self
                    .store
                    .pull_brake(account.id, step, &reason, now)
                    .await?;
                lock(&self.memory).forget_accounts();
                pulled.then_some(reason)
            }
        };
        if judged.step != Step::Free {
            metrics::counter!("gatepost_brake_total", "step" => judged.step.as_str()).increment(1);
            tracing::warn!(
                account = %account.name,
                step = judged.step.as_str(),
                signals = judged.reason(),
                "account is braked"
            );
        }
        Ok(Braked {
            step: judged.step,
            pulled_for,
            delay,
        })
    }

    async fn judge(
        &self,
        account: &Account,
        sent: &Sent,
        options: &brake::Options,
    ) -> Result<Judgement, Unavailable> {
        let past = self.past(account).await?;
        let learned = u32::try_from(options.learn.as_secs() / 600).unwrap_or(u32::MAX);
        let is_learned =
            past.first.is_some_and(|first| first + learned <= sent.slot) || options.learn.is_zero();
        if !is_learned {
            return Ok(Judgement::default());
        }
        let from = account.brake.judged_from;
        let within = |before: u32| -> Counts {
            let mut volumes = lock(&self.volumes);
            let all = volumes.within(
                &Scope::Account(account.id),
                sent.slot,
                before.min(sent.slot.saturating_sub(from)),
            );
            let (outside, first_time) = match from + before >= sent.slot {
                true => account.brake.judged_less,
                false => (0, 0),
            };
            Counts {
                outside: all.outside.saturating_sub(outside),
                first_time: all.first_time.saturating_sub(first_time),
                ..all
            }
        };
        let mut doing = Doing {
            hour: within(HOUR),
            day: within(DAY),
            new_network: past.is_elsewhere,
        };
        doing.day.failed = past.failed;
        Ok(brake::judge(past.habits, &doing, options))
    }

    async fn past(&self, account: &Account) -> Result<Past, Unavailable> {
        let id: AccountId = account.id;
        let known = lock(&self.volumes).past(id);
        if let Some(past) = known.filter(|past| past.read_at.elapsed() < BELIEVED) {
            return Ok(past);
        }
        let now = allowance::slot(seconds());
        let slots = self.store.sent_volumes(&Scope::Account(id), 0).await?;
        let brake = &account.brake;
        let unlike = |slot: u32| {
            let unlike = brake.unlike;
            unlike.is_some_and(|(from, to)| (from..=to).contains(&slot))
        };
        let last_day = slots
            .iter()
            .filter(|(slot, _)| slot + DAY >= now && *slot >= brake.judged_from);
        // What was released was the owner's, however lately.
        let released = brake.judged_from + DAY > now && brake.unlike.is_none();
        let measured_at = if released {
            brake.judged_from + DAY + 1
        } else {
            now
        };
        let past = Past {
            read_at: Instant::now(),
            habits: Habits::of(&slots, measured_at, unlike),
            failed: last_day.map(|(_, counts)| counts.failed).sum(),
            is_elsewhere: {
                let since = SystemTime::now().checked_sub(NEW_FOR);
                let since = since.unwrap_or(SystemTime::UNIX_EPOCH);
                self.store.is_elsewhere(id, since).await?
            },
            first: slots.first().map(|(slot, _)| *slot),
        };
        lock(&self.volumes).keep_past(id, past);
        Ok(past)
    }
}
