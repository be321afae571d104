//! The accept loop: never stops for an error, never spins on one (S35).

use std::{fs::File, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Desk, Kind,
    connection::{Visit, first_phase, turn_away},
};

/// One listening socket's work.
pub(super) struct Entrance {
    pub kind: Kind,
    pub desk: Arc<Desk>,
    /// This socket closes.
    pub closing: CancellationToken,
    /// The server stops, sessions too.
    pub stop: CancellationToken,
    pub tracker: TaskTracker,
}

impl Entrance {
    /// Accepts until `closing`.
    pub async fn serve(self, socket: TcpListener) {
        let mut trouble = Trouble::default();
        let mut reserve = File::open("/dev/null").ok();
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.closing.cancelled() => return,
                accepted = socket.accept() => accepted,
            };
            let error = match accepted {
                Ok((tcp, peer)) => {
                    trouble.over();
                    self.welcome(tcp, peer);
                    continue;
                }
                Err(error) => error,
            };
            if is_the_clients(&error) {
                continue;
            }
            metrics::counter!("gatepost_accept_errors_total").increment(1);
            if is_out_of_descriptors(&error) && reserve.take().is_some() {
                // The descriptor kept for this moment turns one client away at once, so that it
                // need not wait in vain.
                if let Ok(turned_away) = tokio::time::timeout(Duration::ZERO, socket.accept()).await
                {
                    drop(turned_away);
                }
            }
            let (wait, suppressed) = trouble.next(Instant::now());
            if let Some(suppressed) = suppressed {
                tracing::error!(%error, suppressed, "accepting fails, trying again");
            }
            tokio::select! {
                () = self.closing.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            if reserve.is_none() {
                reserve = File::open("/dev/null").ok();
            }
        }
    }

    fn welcome(&self, tcp: TcpStream, peer: SocketAddr) {
        // A socket passed in may take both families; IPv4 is IPv4 there too.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let (kind, desk) = (self.kind, &self.desk);
        metrics::counter!("gatepost_connections_total", "port" => kind.name()).increment(1);
        let limits = desk.limits.load_full();
        let proxies = desk.proxies.load();
        let header = proxies.includes(peer.ip()).then_some(proxies.header);
        let admitted = match header {
            Some(_) => desk.house.admit_unnamed(&limits),
            None => desk.house.admit(&limits, peer.ip(), first_phase(kind)),
        };
        let Some(place) = admitted else {
            turn_away(kind, desk, &tcp, peer);
            return;
        };
        // Replies are batched by us; the kernel has nothing to gain by waiting.
        let _ = tcp.set_nodelay(true);
        let visit = Visit {
            kind,
            desk: Arc::clone(desk),
            limits,
            place,
            stop: self.stop.clone(),
            tcp,
            peer,
        };
        match header {
            Some(limit) => self.tracker.spawn(Box::pin(visit.run_behind_proxy(limit))),
            None => self.tracker.spawn(Box::pin(visit.run())),
        };
    }
}

/// The connection was gone before we took it; the next one is not harmed.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    Errno::from_io_error(error).is_some_and(|errno| errno == Errno::MFILE || errno == Errno::NFILE)
}

/// Waits after failing accepts and how often they are told.
#[derive(Default)]
struct Trouble {
    failures: u32,
    told: Option<Instant>,
    untold: u32,
}

impl Trouble {
    /// How long to wait, and where it is to be logged, how many errors went unlogged before.
    fn next(&mut self, now: Instant) -> (Duration, Option<u32>) {
        let wait =
            Duration::from_millis(50 << self.failures.min(4)).min(Duration::from_millis(500));
        self.failures = self.failures.saturating_add(1);
        let quiet = self
            .told
            .is_some_and(|told| now.duration_since(told) < Duration::from_secs(1));
        if quiet {
            self.untold = self.untold.saturating_add(1);
            return (wait, None);
        }
        self.told = Some(now);
        (wait, Some(std::mem::take(&mut self.untold)))
    }

    fn over(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S35.
    #[test]
    fn failing_accepts_wait_longer_and_are_told_once_a_second() {
        let (mut trouble, start) = (Trouble::default(), Instant::now());
        let mut rows = Vec::new();
        for at in [0, 50, 150, 350, 750, 1250] {
            let (wait, told) = trouble.next(start + Duration::from_millis(at));
            rows.push((wait.as_millis(), told));
        }
        assert_eq!(
            rows,
            [
                (50, Some(0)),
                (100, None),
                (200, None),
                (400, None),
                (500, None),
                (500, Some(4))
            ]
        );
        trouble.over();
        assert_eq!(trouble.next(start).0.as_millis(), 50);
    }

    #[test]
    fn errors_are_sorted_by_whose_they_are() {
        let of = io::Error::from_raw_os_error;
        let errno = |e: rustix::io::Errno| of(e.raw_os_error());
        assert!(is_the_clients(&errno(rustix::io::Errno::CONNABORTED)));
        assert!(is_out_of_descriptors(&errno(rustix::io::Errno::MFILE)));
        assert!(!is_the_clients(&errno(rustix::io::Errno::MFILE)));
        assert!(!is_out_of_descriptors(&errno(rustix::io::Errno::NOBUFS)));
    }
}
