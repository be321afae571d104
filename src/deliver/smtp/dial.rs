//! From a target to a connected socket.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use tokio::{
    net::{TcpSocket, TcpStream, UnixStream, lookup_host},
    time::{sleep, timeout},
};

use super::{Setup, Target, transient, wire::Wire};
use crate::envelope::Status;

/// How long the look-up of a name may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(30);
/// Addresses of one host that are tried at most.
const ADDRESSES: usize = 8;
/// How soon a Unix socket whose queue is full is tried again: the system does not wait for us.
const BUSY: Duration = Duration::from_millis(100);

/// Why there is no connection. The statuses are transient.
#[derive(Debug)]
pub(super) enum DialFailure {
    /// The name has no address that could be found.
    Resolve(Status),
    /// No address could be reached.
    Connect(Status),
    /// What answered is a listener of ours.
    Loop(Status),
}

/// A connected socket, and its address where it has one.
pub(super) type Dialled = (Box<dyn Wire>, Option<SocketAddr>);

/// Where a target can be connected to, and what of that was not tried yet.
pub(super) enum Dialler<'a> {
    Unix(Option<&'a Path>),
    Tcp {
        host: &'a str,
        rest: std::vec::IntoIter<SocketAddr>,
    },
}

impl<'a> Dialler<'a> {
    /// Finds the addresses of a target.
    pub(super) async fn new(target: &'a Target) -> Result<Self, DialFailure> {
        match target {
            Target::Unix(path) => Ok(Dialler::Unix(Some(path))),
            Target::Tcp { host, port } => {
                let addresses = match host.parse::<IpAddr>() {
                    Ok(address) => vec![SocketAddr::new(address, *port)],
                    Err(_) => look_up(host, lookup_host((&**host, *port))).await?,
                };
                Ok(Self::of(host, addresses))
            }
            Target::Found {
                host,
                addresses,
                port,
            } => {
                let addresses = addresses.iter().take(ADDRESSES);
                let addresses = addresses.map(|address| SocketAddr::new(*address, *port));
                Ok(Self::of(host, addresses.collect()))
            }
        }
    }

    pub(super) fn of(host: &'a str, addresses: Vec<SocketAddr>) -> Self {
        let rest = addresses.into_iter();
        Dialler::Tcp { host, rest }
    }

    /// Whether there is anything left to try.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Dialler::Unix(path) => path.is_none(),
            Dialler::Tcp { rest, .. } => rest.as_slice().is_empty(),
        }
    }

    /// Connects to the next address that takes a connection.
    pub(super) async fn next(&mut self, setup: &Setup) -> Result<Dialled, DialFailure> {
        let limit = setup.connect_timeout;
        match self {
            Dialler::Unix(path) => {
                let Some(path) = path.take() else {
                    return Err(unreachable("it again"));
                };
                match unix(path, limit).await {
                    Ok(socket) => Ok((Box::new(socket), None)),
                    Err(why) => Err(unreachable(&format!("{}: {why}", path.display()))),
                }
            }
            Dialler::Tcp { host, rest } => {
                let connect = |address| tcp(address, setup.sources.to(&address));
                match in_turn(rest, limit, connect).await {
                    Ok((socket, address)) if is_own(&socket, address, setup) => {
                        Err(DialFailure::Loop(transient(
                            4,
                            6,
                            format!("{host} is this server itself ({address})"),
                        )))
                    }
                    Ok((socket, address)) => Ok((Box::new(socket), Some(address))),
                    Err(why) if host.parse::<IpAddr>().is_ok() => Err(unreachable(&why)),
                    Err(why) => Err(unreachable(&format!("{host}: {why}"))),
                }
            }
        }
    }
}

/// Whether a connection has come back to us: from an address of this machine to the same one, where
/// we listen on that port.
fn is_own(socket: &TcpStream, to: SocketAddr, setup: &Setup) -> bool {
    let from = socket.local_addr();
    setup.own_ports.contains(&to.port()) && from.is_ok_and(|from| from.ip() == to.ip())
}

fn unreachable(why: &str) -> DialFailure {
    DialFailure::Connect(transient(4, 1, format!("cannot connect to {why}")))
}

/// The first addresses of a name, as the system gives them.
async fn look_up(
    host: &str,
    found: impl Future<Output = io::Result<impl Iterator<Item = SocketAddr>>>,
) -> Result<Vec<SocketAddr>, DialFailure> {
    let why = match timeout(LOOKUP_TIMEOUT, found).await {
        Ok(Ok(found)) => {
            // What a route says of "localhost" holds on this machine only (RFC 6761 §6.3).
            let anywhere = !host.eq_ignore_ascii_case("localhost");
            let mut addresses = Vec::new();
            for address in found.filter(|it| anywhere || it.ip().is_loopback()) {
                // Some systems give one more than once.
                if addresses.len() < ADDRESSES && !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            if !addresses.is_empty() {
                return Ok(addresses);
            }
            "it has none".to_owned()
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", LOOKUP_TIMEOUT.as_secs()),
    };
    let text = format!("cannot find an address of {host}: {why}");
    Err(DialFailure::Resolve(transient(4, 3, text)))
}

/// The first of these addresses that answers in time, those behind it left; else why none did.
async fn in_turn<S, F>(
    addresses: &mut impl Iterator<Item = SocketAddr>,
    limit: Duration,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<(S, SocketAddr), String>
where
    F: Future<Output = io::Result<S>>,
{
    let mut accidents = Vec::new();
    for address in addresses {
        let why = match timeout(limit, connect(address)).await {
            Ok(Ok(socket)) => return Ok((socket, address)),
            Ok(Err(error)) => error.to_string(),
            Err(_) => no_answer(limit),
        };
        accidents.push(format!("{address}: {why}"));
    }
    Err(accidents.join("; "))
}

async fn tcp(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(address).await?;
    // Commands are collected before they are written.
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn unix(path: &Path, limit: Duration) -> Result<UnixStream, String> {
    let connect = async {
        loop {
            match UnixStream::connect(path).await {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(BUSY).await,
                done => return done,
            }
        }
    };
    match timeout(limit, connect).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err(no_answer(limit)),
    }
}

fn no_answer(limit: Duration) -> String {
    format!("no answer within {} s", limit.as_secs())
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::Instant;

    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::new(IpAddr::from([192, 0, 2, last]), 25)
    }

    fn text(failure: DialFailure) -> String {
        match failure {
            DialFailure::Resolve(status) => format!("resolve {status}"),
            DialFailure::Connect(status) => format!("connect {status}"),
            DialFailure::Loop(status) => format!("loop {status}"),
        }
    }

    /// The first that answers is taken; those before it had their time.
    #[tokio::test(start_paused = true)]
    async fn addresses_are_tried_in_turn() {
        let limit = Duration::from_secs(30);
        let connect = |at: SocketAddr| async move {
            match at {
                at if at == address(1) => pending().await,
                at if at == address(2) => Err(io::ErrorKind::ConnectionRefused.into()),
                at => Ok(at),
            }
        };
        let began = Instant::now();
        let all = [address(1), address(2), address(3), address(4)];
        let mut rest = all.into_iter();
        let (socket, connected) = in_turn(&mut rest, limit, connect).await.unwrap();
        assert_eq!((socket, connected), (address(3), address(3)));
        assert_eq!(began.elapsed(), limit);
        assert_eq!(rest.as_slice(), [address(4)]);
        assert_eq!(
            in_turn(&mut all.into_iter().take(2), limit, connect)
                .await
                .unwrap_err(),
            "192.0.2.1:25: no answer within 30 s; 192.0.2.2:25: connection refused"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_without_an_address_is_named() {
        type Found = std::vec::IntoIter<SocketAddr>;
        let failed = io::Error::other("failed to lookup address information");
        for (found, expected) in [
            (
                Err(failed),
                "resolve 4.4.3 cannot find an address of hop.example: failed to lookup address \
                 information",
            ),
            (
                Ok(Vec::new()),
                "resolve 4.4.3 cannot find an address of hop.example: it has none",
            ),
        ] {
            let found = ready(found.map(Vec::into_iter));
            assert_eq!(
                text(look_up("hop.example", found).await.unwrap_err()),
                expected
            );
        }
        let began = Instant::now();
        let silent = look_up("hop.example", pending::<io::Result<Found>>()).await;
        assert_eq!(
            text(silent.unwrap_err()),
            "resolve 4.4.3 cannot find an address of hop.example: no answer within 30 s"
        );
        assert_eq!(began.elapsed(), LOOKUP_TIMEOUT);
    }

    /// A name with a thousand addresses does not keep us for hours.
    #[tokio::test]
    async fn only_the_first_addresses_count() {
        let many = [address(0)].into_iter().chain((0..200).map(address));
        let found = look_up("hop.example", ready(Ok(many))).await.unwrap();
        assert_eq!(found, (0..8).map(address).collect::<Vec<_>>());
    }

    /// The kernel refuses at once where the queue of a Unix socket is full; a second later there is
    /// room.
    #[tokio::test]
    async fn a_busy_unix_socket_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lmtp");
        let listener = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
        let listener = listener.unwrap();
        listener
            .bind(&socket2::SockAddr::unix(&path).unwrap())
            .unwrap();
        listener.listen(0).unwrap();
        let first = UnixStream::connect(&path).await.unwrap();
        let refused = UnixStream::connect(&path).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        let short = unix(&path, Duration::from_millis(1)).await.unwrap_err();
        assert_eq!(short, "no answer within 0 s");

        let limit = Duration::from_secs(60);
        let (second, accepted) = tokio::join!(unix(&path, limit), async {
            tokio::task::spawn_blocking(move || listener.accept().map(|_| listener)).await
        });
        assert!(second.is_ok() && accepted.unwrap().is_ok());
        drop(first);
    }
}
