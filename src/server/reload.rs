//! Another configuration for a server at work, without ending a session.
//!
//! Everything is read, checked and bound before anything is applied: whatever is wrong with the
//! new one leaves the whole old one in service (S44).

use std::sync::Arc;

use anyhow::Result;

use super::{
    Running,
    pairs::check_pairs,
    recipients::Reachable,
    start::{check_postmaster, not_bound},
};
use crate::config::{self, Loaded};

impl Running {
    /// Reads file and certificates anew and goes on with them. Gives the keys that have changed in
    /// the file but act at the next start only.
    ///
    /// # Errors
    /// Why the old configuration stays, with file, line and key where one is at fault.
    pub async fn reload(&self) -> Result<Vec<String>> {
        // Held to the end: two reloads at once would mix.
        let mut loaded = self.loaded.lock().await;
        let fresh = match &self.file {
            Some(path) => Loaded::read(path)?,
            None => loaded.clone(),
        };
        check_pairs(&fresh)?;
        fresh.check_files()?;
        let options = &fresh.options;
        let reachable = Reachable::new(
            options.queue.routes.clone(),
            options.forecast.clone(),
            Arc::clone(&self.accounts),
            self.reach.clone(),
        );
        check_postmaster(&reachable, &options.session.postmaster).await?;
        if let Some(serving) = self.serving.lock().await.as_mut() {
            let rebound = serving.rebind(&options.endpoints);
            rebound.map_err(|error| not_bound(&fresh, &error))?;
        }
        self.apply(&fresh).await;

        let changed = config::differences(&loaded.config, &fresh.config);
        let waiting: Vec<_> = config::differences(&self.began, &fresh.config)
            .into_iter()
            .filter(|key| config::needs_restart(key))
            .collect();
        *loaded = fresh;
        tracing::info!(changed = changed.join(" "), "configuration reloaded");
        for key in &waiting {
            tracing::warn!(key, "changed in the file, takes effect at the next start");
        }
        Ok(waiting)
    }

    async fn apply(&self, fresh: &Loaded) {
        let options = fresh.options.clone();
        let (server, pairs) = (Arc::clone(&self.tls), options.pairs);
        match tokio::task::spawn_blocking(move || server.reload(&pairs)).await {
            Ok(Ok(())) => {}
            // The files were good a moment ago; the watch looks at them again.
            Ok(Err(errors)) => errors.iter().for_each(|error| {
                tracing::error!(%error, "certificate not reloaded, the old one stays in service");
            }),
            Err(error) => tracing::error!(%error, "certificates not reloaded"),
        }
        self.accounts.reload(options.accounts);
        if let Err(error) = self.dkim.reload().await {
            tracing::error!(%error, "keys that sign mail not read, mail is signed as before");
        }
        self.intake.reload(options.intake);
        let routes = Arc::new(options.queue.routes.clone());
        self.reachable.routes.store(routes);
        self.reachable.forecast.store(Arc::new(options.forecast));
        self.reach.dns().reload(options.dns);
        self.deliver.reload(options.deliver);
        self.spool.hold(options.queue.hold);
        self.queue.reload(options.queue);
        self.desk.session_options.store(Arc::new(options.session));
        self.desk.limits.store(Arc::new(options.connections));
        self.desk.proxies.store(Arc::new(options.proxies));
    }
}
