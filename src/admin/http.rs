//! `/healthz` and `/metrics`, on loopback only: they have no password.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, OnceLock},
};

use anyhow::{Context, Result};
use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    server::Running,
    store::queue::{QueueCounts, RecipientState},
};

static METRICS: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Sends counters to Prometheus' text form; one recorder serves the whole process.
fn metrics() -> Option<&'static PrometheusHandle> {
    METRICS
        .get_or_init(|| PrometheusBuilder::new().install_recorder().ok())
        .as_ref()
}

/// Binds all addresses; counting begins here.
///
/// # Errors
/// The first address that cannot be had.
pub fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>> {
    metrics();
    addresses
        .iter()
        .map(|address| {
            let socket = TcpListener::bind(address)
                .with_context(|| format!("http.listen: failed to listen on {address}"))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })
        .collect()
}

/// Serves until `stop`.
pub async fn serve(socket: TcpListener, server: Arc<Running>, stop: CancellationToken) {
    let socket = match tokio::net::TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(%error, "http not served"),
    };
    let pages = Router::new()
        .route("/healthz", get(healthz))
        .route("/metrics", get(render))
        .with_state(server);
    let stopped = async move { stop.cancelled().await };
    if let Err(error) = axum::serve(socket, pages)
        .with_graceful_shutdown(stopped)
        .await
    {
        tracing::error!(%error, "http ended");
    }
}

async fn healthz(State(server): State<Arc<Running>>) -> impl IntoResponse {
    let troubles = server.troubles().await;
    if !troubles.is_empty() {
        return (StatusCode::SERVICE_UNAVAILABLE, troubles.join("\n") + "\n");
    }
    let mut delays = server.delays().await;
    delays.extend(server.unprotected().await);
    let text = match delays.is_empty() {
        true => "ok\n".to_owned(),
        false => format!("degraded\n{}\n", delays.join("\n")),
    };
    (StatusCode::OK, text)
}

async fn render(State(server): State<Arc<Running>>) -> impl IntoResponse {
    metrics::gauge!("gatepost_spool_free_octets").set(server.spool_free_octets() as f64);
    if let Some(lag) = server.lag().await {
        metrics::gauge!("gatepost_queue_lag_seconds").set(lag.as_secs_f64());
    }
    if let Ok(counts) = server.queue_counts().await {
        show(&counts);
    }
    match metrics() {
        Some(metrics) => (StatusCode::OK, metrics.render()),
        None => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
    }
}

/// Messages by age, recipients by state.
fn show(counts: &QueueCounts) {
    for (age, messages) in ["5m", "1h", "1d", "older"].into_iter().zip(counts.by_age) {
        metrics::gauge!("gatepost_queue_messages", "age" => age).set(messages as f64);
    }
    for (state, recipients) in [
        (RecipientState::Due, counts.due),
        (RecipientState::Deferred, counts.deferred),
        (RecipientState::Claimed, counts.claimed),
        (RecipientState::Held, counts.held),
        (RecipientState::Aside, counts.aside),
        (RecipientState::Later, counts.later),
    ] {
        let gauge = metrics::gauge!("gatepost_queue_recipients", "state" => state.as_str());
        gauge.set(recipients as f64);
    }
}
