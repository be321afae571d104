//! Whether mail can be accepted and is delivered in time, and if not, why.

use std::time::{Duration, SystemTime};

use super::Running;
use crate::{config, policy::routes::Transport, reach::Reach};

/// Recipients that nobody takes up for so long after they fell due: delivery lags.
const LAG_LIMIT: Duration = Duration::from_secs(300);
/// How long the resolver is waited for.
const LOOK: Duration = Duration::from_secs(1);

impl Running {
    /// What keeps mail from being accepted, one clause each; empty where all is well.
    pub async fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        if self.doors.is_cancelled() {
            troubles.push("the server is stopping".to_owned());
        } else if let Some(serving) = self.serving.lock().await.as_ref() {
            let ended = serving.ended().into_iter();
            troubles.extend(ended.map(|address| format!("nobody listens on {address}")));
        }
        if let Err(error) = self.spool.room_for(0) {
            troubles.push(error.to_string());
        }
        if let Some(trouble) = self.spool.trouble() {
            troubles.push(format!("the last commit failed: {trouble}"));
        }
        if let Err(error) = self.spool.oldest_due().await {
            troubles.push(error.to_string());
        }
        let now = SystemTime::now();
        for pair in self.tls.certificates() {
            if pair.not_after <= now {
                let names = pair.names.join(", ");
                troubles.push(format!("the certificate of {names} has expired"));
            }
        }
        troubles
    }

    /// What keeps mail from being as well protected as was asked for; nothing where that is not known
    /// at once.
    pub async fn unprotected(&self) -> Option<String> {
        let options = self.loaded.lock().await.options.clone();
        let looks = unprotected(&options, &self.reach);
        tokio::time::timeout(LOOK, looks).await.ok().flatten()
    }

    /// What keeps mail that was accepted from being delivered in time, one clause each.
    pub async fn delays(&self) -> Vec<String> {
        match self.lag().await {
            Some(lag) if lag > LAG_LIMIT => {
                let reason = match self.spool.is_held() {
                    true => "queue.hold keeps mail back",
                    false => "delivery lags",
                };
                let seconds = lag.as_secs();
                vec![format!(
                    "{reason}: the oldest recipient was due {seconds} s ago"
                )]
            }
            Some(_) | None => Vec::new(),
        }
    }

    /// How long ago the oldest recipient fell due that nobody has taken up; zero where none has,
    /// none where the database does not tell.
    pub async fn lag(&self) -> Option<Duration> {
        let oldest = self.spool.oldest_due().await.ok()?;
        let lag = oldest.and_then(|due| SystemTime::now().duration_since(due).ok());
        Some(lag.unwrap_or_default())
    }
}

/// Why verified delivery is not to be had, where a route and a level ask for it.
async fn unprotected(options: &config::Options, reach: &Reach) -> Option<String> {
    if !has_mail_hosts(options) || !options.forecast.levels.has_strict() {
        return None;
    }
    let why = reach.dns().validation().await.why_not()?;
    Some(format!(
        "mail that must be verified waits unless MTA-STS vouches for its hosts: {why}"
    ))
}

/// Says once, at the start, what is not to be had without a resolver that validates.
pub(super) async fn warn_of_resolver(options: config::Options, reach: Reach) {
    if !has_mail_hosts(&options) {
        return;
    }
    let Some(why) = reach.dns().validation().await.why_not() else {
        return tracing::info!("the resolver validates DNSSEC: DANE is in use");
    };
    match options.forecast.levels.has_strict() {
        true => tracing::error!(
            why,
            "mail that must be verified will wait: DANE and DNSSEC are not to be had"
        ),
        false => tracing::warn!(
            why,
            "DANE is not in use; mail is encrypted, and MTA-STS is obeyed"
        ),
    }
}

fn has_mail_hosts(options: &config::Options) -> bool {
    let mut routes = options.queue.routes.routes().iter();
    routes.any(|route| matches!(route.transport, Transport::Mx(_)))
}
