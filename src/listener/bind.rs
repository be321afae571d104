//! Sockets that listen, and their exchange while the server runs.

use std::{io, net::SocketAddr, sync::Arc};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Desk, accept};

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
    local: SocketAddr,
    socket: TcpListener,
}

/// Bound sockets that nobody serves yet. Connections already queue at them.
pub struct Listeners(Vec<Bound>);

impl Listeners {
    /// Binds all of them or none. Must run inside the runtime.
    ///
    /// # Errors
    /// [`BindError`] for the first address that cannot be had.
    pub fn bind(endpoints: &[Endpoint]) -> Result<Self, BindError> {
        endpoints
            .iter()
            .map(|endpoint| {
                bind(*endpoint).map_err(|source| BindError {
                    address: endpoint.address,
                    source,
                })
            })
            .collect::<Result<_, _>>()
            .map(Listeners)
    }

    /// The addresses in fact listened on, in the order given.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|bound| bound.local).collect()
    }

    /// Accepts until `stop` is cancelled, which also asks every session to end. Tasks run in
    /// `tracker`; how long to wait for them is the caller's choice.
    pub fn serve(self, desk: Arc<Desk>, stop: CancellationToken, tracker: TaskTracker) -> Serving {
        let mut serving = Serving {
            desk,
            stop,
            tracker,
            open: Vec::new(),
        };
        serving.start(self.0);
        serving
    }
}

struct Open {
    endpoint: Endpoint,
    local: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Listeners at work.
pub struct Serving {
    desk: Arc<Desk>,
    stop: CancellationToken,
    tracker: TaskTracker,
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
        let bound = Listeners::bind(&new)?;
        self.open.retain(|open| {
            let wanted = endpoints.contains(&open.endpoint);
            if !wanted {
                open.stop.cancel();
            }
            wanted
        });
        self.start(bound.0);
        Ok(())
    }

    fn start(&mut self, bound: Vec<Bound>) {
        for Bound {
            endpoint,
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
            tracing::info!(address = %local, service = endpoint.kind.name(), "listening");
            self.open.push(Open {
                endpoint,
                local,
                stop,
                task,
            });
        }
    }
}

fn bind(endpoint: Endpoint) -> io::Result<Bound> {
    let address = endpoint.address;
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
    let socket = TcpListener::from_std(socket.into())?;
    Ok(Bound {
        endpoint,
        local: socket.local_addr()?,
        socket,
    })
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
        let listeners = Listeners::bind(&[endpoint(any), endpoint(any)]).unwrap();
        let addresses = listeners.local_addrs();
        assert!(addresses.iter().all(|address| address.port() != 0));
        let taken = Listeners::bind(&[endpoint(any), endpoint(addresses[0])]);
        assert_eq!(taken.err().map(|e| e.address), Some(addresses[0]));
    }
}
