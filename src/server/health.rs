//! Whether mail can be accepted and is delivered in time, and if not, why.

use std::time::{Duration, SystemTime};

use super::Running;

/// Recipients that nobody takes up for so long after they fell due: delivery lags.
const LAG_LIMIT: Duration = Duration::from_secs(300);

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
