//! One connection from its seat to its line in the log.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{net::TcpStream, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Desk, Kind,
    desk::Place,
    driver::{Driver, Surroundings},
    hangup::Hangup,
    link::Link,
    proxy::{self, Source},
    seats::{Limits, Phase},
    secure::{Failure, facts, handshake},
};
use crate::{
    envelope::Moment,
    session::{self, Channel, Session},
};

/// One connection, seated.
pub(super) struct Visit {
    pub kind: Kind,
    pub desk: Arc<Desk>,
    pub limits: Arc<Limits>,
    pub place: Place,
    /// The server is stopping.
    pub stop: CancellationToken,
    pub tcp: TcpStream,
    pub peer: SocketAddr,
}

impl Visit {
    /// From the proxy's header to the end; whoever stands behind the proxy is the peer from then on.
    pub async fn run_behind_proxy(mut self, header_limit: Duration) {
        let read = Box::pin(proxy::read(&mut self.tcp, &self.place, header_limit));
        let source = tokio::select! {
            () = self.stop.cancelled() => return,
            source = read => source,
        };
        match source {
            Ok(Source::Client(address)) => self.peer = address,
            Ok(Source::Peer) => {}
            Err(failure) => {
                tracing::info!(
                    session = self.place.seat, peer = %self.peer, port = self.kind.name(),
                    result = failure.label(), detail = %failure, "proxy header refused"
                );
                return;
            }
        }
        let (phase, ip) = (first_phase(self.kind), self.peer.ip());
        match self.place.name(&self.limits, ip, phase) {
            Some(place) => self.place = place,
            None => return turn_away(self.kind, &self.desk, &self.tcp, self.peer),
        }
        Box::pin(self.run()).await;
    }

    /// From the client's first octet to the end.
    pub async fn run(self) {
        let Visit {
            kind,
            desk,
            limits,
            place,
            stop,
            tcp,
            peer,
        } = self;
        let start = Instant::now();
        let seat = place.seat;
        let tls = Arc::clone(&desk.tls);
        let options = desk.session_options.load_full();
        let (link, channel) = match kind {
            Kind::StartTls => (Link::Plain(tcp, Vec::new()), Channel::Plain),
            Kind::Implicit => {
                let work = Box::pin(handshake(tcp, tls.acceptor(), &place, limits.handshake));
                let done = tokio::select! {
                    () = stop.cancelled() => return,
                    done = work => done,
                };
                let secured = done.and_then(|stream| {
                    let secured = facts(&tls, &stream)
                        .ok_or_else(|| Failure::Other("no facts".to_owned()))?;
                    Ok((stream, secured))
                });
                match secured {
                    Ok((stream, secured)) => {
                        place.advance(&limits, Phase::Unproven);
                        (Link::Secure(stream), Channel::Secure(secured))
                    }
                    Err(failure) => {
                        tracing::info!(
                            session = seat, %peer, port = kind.name(), result = failure.label(),
                            detail = %failure, "handshake failed"
                        );
                        return;
                    }
                }
            }
        };
        metrics::counter!("gatepost_sessions_total", "port" => kind.name()).increment(1);
        let machine =
            Session::new(channel, options, Moment(start.elapsed())).dated(SystemTime::now());
        let around = Surroundings {
            desk,
            tls,
            limits,
            place,
            peer,
            stop,
        };
        let (cause, machine, messages) =
            Box::pin(Driver::new(around, machine, link, start).run()).await;
        report(seat, peer, kind, &machine, messages, start, &cause);
    }
}

/// How a connection begins once it is known whose it is.
pub(super) fn first_phase(kind: Kind) -> Phase {
    match kind {
        Kind::Implicit => Phase::Handshake,
        Kind::StartTls => Phase::Clear,
    }
}

/// 421 where the client reads plain text; on 465 a close is all that costs nothing.
pub(super) fn turn_away(kind: Kind, desk: &Desk, tcp: &TcpStream, peer: SocketAddr) {
    let port = kind.name();
    metrics::counter!("gatepost_connections_refused_total", "port" => port).increment(1);
    tracing::debug!(%peer, port, "too many connections");
    if kind == Kind::StartTls {
        let mut out = Vec::new();
        session::too_many_connections(&desk.session_options.load().hostname).write(&mut out);
        // A fresh socket takes this much at once or is broken. The runtime's own write would
        // first wait to hear that it may.
        let _ = rustix::net::send(tcp, &out, rustix::net::SendFlags::NOSIGNAL);
    }
}

fn report(
    seat: u64,
    peer: SocketAddr,
    kind: Kind,
    machine: &Session,
    messages: u32,
    start: Instant,
    cause: &Hangup,
) {
    let tls = machine.tls();
    let seconds = start.elapsed().as_secs_f32();
    tracing::info!(
        session = seat,
        %peer,
        port = kind.name(),
        account = machine.identity().map(|by| &*by.name),
        client_name = machine.client_name(),
        tls = tls.map(|tls| tracing::field::display(tls.version)),
        suite = tls.map(|tls| tls.suite),
        group = tls.and_then(|tls| tls.group),
        messages,
        seconds,
        %cause,
        "session ended"
    );
}
