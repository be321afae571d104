//! Whether mail can be accepted, and if not, why.

use std::time::SystemTime;

use super::Running;

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
        if let Err(error) = self.spool.counts().await {
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
}
