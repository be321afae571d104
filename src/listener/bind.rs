//! Sockets that listen, and their exchange while the server runs.

use std::{io, net::SocketAddr, sync::Arc};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Activated, Desk, accept};

/// Connections the kernel keeps for us until they are accepted.
const BACKLOG: i32 = 4096;

/// How a listener begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The handshake comes first (submissions, 465; RFC 8314 §3.3).
    Implicit,
    /// STARTTLS (submission, 587; RFC 3207).
    StartTls,
}

impl Kind {
    /// The service's registered name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Implicit => "submissions",
            Kind::StartTls => "submission",
        }
    }
}

/// Where to listen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// Address and port; port 0 takes any that is free.
    pub address: SocketAddr,
    /// How connections begin there.
    pub kind: Kind,
}

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on {address}: {source}")]
pub struct BindError {
    /// Where.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

struct Bound {
    endpoint: Endpoint,
    /// Its number where it was passed in.
    passed: Option<usize>,
    local: SocketAddr,
    socket: TcpListener,
}

/// Bound sockets that nobody serves yet. Connections already queue at them.
pub struct Listeners {
    bound: Vec<Bound>,
    activated: Activated,
}

impl Listeners {
    /// Binds all of them or none, but for those that a socket was passed in for. Must run inside the
    /// runtime.
    ///
    /// # Errors
    /// [`BindError`] for the first address that cannot be had.
    pub fn open(endpoints: &[Endpoint], activated: Activated) -> Result<Self, BindError> {
        let bound = open(endpoints, &activated, &[])?;
        Ok(Listeners { bound, activated })
    }

    /// The addresses in fact listened on, in the order given.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.bound.iter().map(|bound| bound.local).collect()
    }

    /// Accepts until `stop` is cancelled, which also asks every session to end. Tasks run in
    /// `tracker`; how long to wait for them is the caller's choice.
    pub fn serve(self, desk: Arc<Desk>, stop: CancellationToken, tracker: TaskTracker) -> Serving {
        let mut serving = Serving {
            desk,
            stop,
            tracker,
            activated: self.activated,
            open: Vec::new(),
        };
        serving.start(self.bound);
        serving
    }
}

struct Open {
    endpoint: Endpoint,
    passed: Option<usize>,
    local: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Listeners at work.
pub struct Serving {
    desk: Arc<Desk>,
    stop: CancellationToken,
    tracker: TaskTracker,
    activated: Activated,
    open: Vec<Open>,
}

impl Serving {
    /// The addresses listened on.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.open.iter().map(|open| open.local).collect()
    }

    /// Addresses that should be listened on and are not: their task has ended.
    pub fn ended(&self) -> Vec<SocketAddr> {
        let ended = self.open.iter().filter(|open| open.task.is_finished());
        ended.map(|open| open.local).collect()
    }

    /// Listens on `endpoints` from here on: new ones are bound before old ones close, those in both
    /// stay open, and sessions are not touched.
    ///
    /// # Errors
    /// [`BindError`] where a new address cannot be had; nothing is changed then.
    pub fn rebind(&mut self, endpoints: &[Endpoint]) -> Result<(), BindError> {
        let new: Vec<Endpoint> = endpoints
            .iter()
            .filter(|wanted| !self.open.iter().any(|open| open.endpoint == **wanted))
            .copied()
            .collect();
        let kept = self
            .open
            .iter()
            .filter(|open| endpoints.contains(&open.endpoint));
        let in_use: Vec<usize> = kept.filter_map(|open| open.passed).collect();
        let bound = open(&new, &self.activated, &in_use)?;
        self.open.retain(|open| {
            let wanted = endpoints.contains(&open.endpoint);
            if !wanted {
                open.stop.cancel();
            }
            wanted
        });
        self.start(bound);
        let in_use: Vec<usize> = self.open.iter().filter_map(|open| open.passed).collect();
        for address in self.activated.idle(&in_use) {
            tracing::warn!(%address, "socket passed in is not served, connections wait there");
        }
        Ok(())
    }

    fn start(&mut self, bound: Vec<Bound>) {
        for Bound {
            endpoint,
            passed,
            local,
            socket,
        } in bound
        {
            let stop = self.stop.child_token();
            let entrance = accept::Entrance {
                kind: endpoint.kind,
                desk: Arc::clone(&self.desk),
                closing: stop.clone(),
                stop: self.stop.clone(),
                tracker: self.tracker.clone(),
            };
            let task = self.tracker.spawn(entrance.serve(socket));
            tracing::info!(
                address = %local, service = endpoint.kind.name(), passed_in = passed.map(|_| true),
                "listening"
            );
            self.open.push(Open {
                endpoint,
                passed,
                local,
                stop,
                task,
            });
        }
    }
}

fn open(
    endpoints: &[Endpoint],
    activated: &Activated,
    in_use: &[usize],
) -> Result<Vec<Bound>, BindError> {
    let given = activated.assign(endpoints, in_use);
    let open = |(endpoint, passed): (&Endpoint, Option<usize>)| {
        let address = endpoint.address;
        let socket = match passed {
            Some(number) => activated.open(number),
            None => bind(address),
        };
        let bound = socket.and_then(|socket| {
            Ok(Bound {
                endpoint: *endpoint,
                passed,
                local: socket.local_addr()?,
                socket,
            })
        });
        bound.map_err(|source| BindError { address, source })
    };
    endpoints.iter().zip(given).map(open).collect()
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` and `0.0.0.0` are two endpoints.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn binds_all_or_none_and_tells_where() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let endpoint = |address| Endpoint {
            address,
            kind: Kind::Implicit,
        };
        let open_own = |endpoints: &[Endpoint]| Listeners::open(endpoints, Activated::default());
        let listeners = open_own(&[endpoint(any), endpoint(any)]).unwrap();
        let addresses = listeners.local_addrs();
        assert!(addresses.iter().all(|address| address.port() != 0));
        let taken = open_own(&[endpoint(any), endpoint(addresses[0])]);
        assert_eq!(taken.err().map(|e| e.address), Some(addresses[0]));
    }
}
