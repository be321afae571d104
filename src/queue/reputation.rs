//! What is known of next hops: which answer, which do not, and until when it is no use to try.
//!
//! Pure. It lives as long as the process; after a restart every next hop is unknown once.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// No next hop is left alone for longer; what says otherwise was written under another clock.
const LONGEST_SILENCE: Duration = Duration::from_secs(3600);

/// Silence after which old mail is given up without an attempt of its own.
const LONG_SILENCE: Duration = Duration::from_secs(600);

/// How much a next hop may ask of what all share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Class {
    /// It answered when it was last tried.
    Proven,
    /// It was not tried yet.
    Unproven,
    /// It did not answer when it was last tried.
    Suspect,
}

impl Class {
    /// In the order in which they are served.
    pub(super) const ALL: [Class; 3] = [Class::Proven, Class::Unproven, Class::Suspect];
}

/// Next hops that were tried.
#[derive(Debug, Default)]
pub(super) struct Reputations(HashMap<Arc<str>, Reputation>);

#[derive(Debug)]
enum Reputation {
    Answers,
    /// It did not answer.
    Silent {
        /// When that was first found out.
        since: SystemTime,
        /// Not to be tried before.
        until: SystemTime,
    },
}

impl Reputations {
    pub(super) fn answered(&mut self, hop: &Arc<str>) {
        self.0.insert(hop.clone(), Reputation::Answers);
    }

    pub(super) fn silent(&mut self, hop: &Arc<str>, now: SystemTime, until: SystemTime) {
        let since = match self.0.get(hop) {
            Some(Reputation::Silent { since, .. }) => (*since).min(now),
            _ => now,
        };
        self.0
            .insert(hop.clone(), Reputation::Silent { since, until });
    }

    /// Whether it has been silent for so long that old mail may be given up for it: not at once
    /// after a start, when it may be our own network that is not there yet.
    pub(super) fn is_silent_for_long(&self, hop: &str, now: SystemTime) -> bool {
        match self.0.get(hop) {
            Some(Reputation::Silent { since, .. }) => now
                .duration_since(*since)
                .is_ok_and(|silence| silence >= LONG_SILENCE),
            _ => false,
        }
    }

    pub(super) fn class(&self, hop: &str) -> Class {
        match self.0.get(hop) {
            None => Class::Unproven,
            Some(Reputation::Answers) => Class::Proven,
            Some(Reputation::Silent { .. }) => Class::Suspect,
        }
    }

    /// Until when there is no use in trying; none where there is now.
    pub(super) fn silent_until(&self, hop: &str, now: SystemTime) -> Option<SystemTime> {
        match self.0.get(hop) {
            Some(Reputation::Silent { until, .. })
                if now < *until && *until <= now + LONGEST_SILENCE =>
            {
                Some(*until)
            }
            _ => None,
        }
    }

    /// Everybody is to be tried again at once.
    pub(super) fn forgive(&mut self) {
        self.0
            .retain(|_, reputation| matches!(reputation, Reputation::Answers));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn a_silent_hop_is_left_alone_for_a_time_and_then_suspected() {
        let mut reputations = Reputations::default();
        let hop: Arc<str> = "hop".into();
        assert_eq!(reputations.class("hop"), Class::Unproven);
        reputations.silent(&hop, at(0), at(60));
        assert_eq!(reputations.silent_until("hop", at(59)), Some(at(60)));
        assert_eq!(reputations.silent_until("hop", at(60)), None);
        assert_eq!(reputations.class("hop"), Class::Suspect);
        reputations.answered(&hop);
        assert_eq!(reputations.class("hop"), Class::Proven);
        assert_eq!(reputations.silent_until("hop", at(0)), None);
    }

    #[test]
    fn a_clock_stepped_back_leaves_nobody_alone_for_ever() {
        let mut reputations = Reputations::default();
        reputations.silent(&"hop".into(), at(0), at(100_000));
        assert_eq!(reputations.silent_until("hop", at(0)), None);
    }

    #[test]
    fn the_forgiven_are_unknown() {
        let mut reputations = Reputations::default();
        reputations.silent(&"dead".into(), at(0), at(60));
        reputations.answered(&"living".into());
        reputations.forgive();
        assert_eq!(reputations.class("dead"), Class::Unproven);
        assert_eq!(reputations.class("living"), Class::Proven);
    }
}
