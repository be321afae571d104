//! Sockets that were opened before the server was started: systemd's socket activation
//! (sd_listen_fds(3)), and which endpoint is served on which of them.
//!
//! The configuration alone says what is served where. A passed socket stands in for binding an
//! endpoint; it never adds one.

use std::{
    env, io,
    net::{SocketAddr, TcpListener},
    process,
};

use listenfd::ListenFd;

use super::Endpoint;

/// The first descriptor that is passed.
const FIRST: usize = 3;

/// Sockets passed in at the start. They stay open as long as the server runs, served or not, so
/// that a reload can go back to one.
#[derive(Debug, Default)]
pub struct Activated(Vec<Passed>);

#[derive(Debug)]
struct Passed {
    local: SocketAddr,
    /// FileDescriptorName=, where one is given.
    name: Option<String>,
    socket: TcpListener,
}

/// Sockets were passed in that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// No socket that listens for TCP connections.
    #[error("failed to take descriptor {descriptor} that was passed in: {source}")]
    Unusable {
        /// Its number.
        descriptor: usize,
        /// What is wrong with it.
        source: io::Error,
    },
    /// Connections would wait there for ever.
    #[error("socket {address} was passed in{}, but no endpoint has this address or name", named(.name))]
    Unwanted {
        /// Where it listens.
        address: SocketAddr,
        /// What it is called.
        name: Option<String>,
    },
}

fn named(name: &Option<String>) -> String {
    match name {
        Some(name) => format!(" as \"{}\"", name.escape_debug()),
        None => String::new(),
    }
}

impl Activated {
    /// Takes the sockets that the environment tells of; none where it speaks of another process.
    /// They are given once. To be called before other threads look at the environment.
    ///
    /// # Errors
    /// [`ActivationError::Unusable`] for the first that is no listening TCP socket.
    pub fn from_environment() -> Result<Self, ActivationError> {
        let process = env::var("LISTEN_PID").ok().and_then(|id| id.parse().ok());
        if process != Some(process::id()) {
            return Ok(Activated::default());
        }
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').filter(|_| !names.is_empty());
        let mut descriptors = ListenFd::from_env();
        let mut passed = Vec::new();
        for n in 0..descriptors.len() {
            let taken = take(&mut descriptors, n).map_err(|source| ActivationError::Unusable {
                descriptor: FIRST + n,
                source,
            });
            let (local, socket) = taken?;
            let name = names.next().map(str::to_owned);
            passed.push(Passed {
                local,
                name,
                socket,
            });
        }
        Ok(Activated(passed))
    }

    /// Whether each socket has an endpoint.
    ///
    /// # Errors
    /// [`ActivationError::Unwanted`] for the first that has none.
    pub fn check(&self, endpoints: &[Endpoint]) -> Result<(), ActivationError> {
        let given = self.assign(endpoints, &[]);
        let unwanted = (0..self.0.len()).find(|n| !given.contains(&Some(*n)));
        match unwanted.and_then(|n| self.0.get(n)) {
            None => Ok(()),
            Some(passed) => Err(ActivationError::Unwanted {
                address: passed.local,
                name: passed.name.clone(),
            }),
        }
    }

    /// For each endpoint the number of its socket, where it has one; those `in_use` have no part.
    pub(super) fn assign(&self, endpoints: &[Endpoint], in_use: &[usize]) -> Vec<Option<usize>> {
        let (numbers, free): (Vec<_>, Vec<_>) = self
            .0
            .iter()
            .enumerate()
            .filter(|(n, _)| !in_use.contains(n))
            .map(|(n, passed)| (n, (passed.local, passed.name.as_deref())))
            .unzip();
        let given = assign(endpoints, &free);
        given
            .into_iter()
            .map(|n| numbers.get(n?).copied())
            .collect()
    }

    /// A socket to accept from. Must run inside the runtime.
    pub(super) fn open(&self, number: usize) -> io::Result<tokio::net::TcpListener> {
        let passed = self.0.get(number).ok_or(io::ErrorKind::NotFound)?;
        tokio::net::TcpListener::from_std(passed.socket.try_clone()?)
    }

    /// Where those listen that are not among `in_use`.
    pub(super) fn idle(&self, in_use: &[usize]) -> impl Iterator<Item = SocketAddr> {
        let all = self.0.iter().enumerate();
        all.filter(|(n, _)| !in_use.contains(n))
            .map(|(_, passed)| passed.local)
    }
}

fn take(descriptors: &mut ListenFd, n: usize) -> io::Result<(SocketAddr, TcpListener)> {
    let socket = descriptors
        .take_tcp_listener(n)?
        .ok_or(io::ErrorKind::NotFound)?;
    if !rustix::net::sockopt::socket_acceptconn(&socket)? {
        return Err(io::Error::other("it does not listen"));
    }
    socket.set_nonblocking(true)?;
    Ok((socket.local_addr()?, socket))
}

/// Sockets go to the endpoint that has their address. Those left over go by their name, if that is
/// the name of a service, to an endpoint of that service that has none yet: one of their own
/// address family before others, in the order listed.
fn assign(endpoints: &[Endpoint], sockets: &[(SocketAddr, Option<&str>)]) -> Vec<Option<usize>> {
    let mut given: Vec<Option<usize>> = endpoints
        .iter()
        .map(|endpoint| {
            let same = |(local, _): &(SocketAddr, _)| *local == endpoint.address;
            sockets.iter().position(same)
        })
        .collect();
    for (n, (local, name)) in sockets.iter().enumerate() {
        if given.contains(&Some(n)) {
            continue;
        }
        let open = given
            .iter_mut()
            .zip(endpoints)
            .filter(|(given, endpoint)| given.is_none() && *name == Some(endpoint.kind.name()));
        let nearest =
            open.min_by_key(|(_, endpoint)| endpoint.address.is_ipv4() != local.is_ipv4());
        if let Some((given, _)) = nearest {
            *given = Some(n);
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::{super::Kind::*, *};

    fn endpoints(listed: &[(&str, super::super::Kind)]) -> Vec<Endpoint> {
        let endpoint = |(address, kind): &(&str, _)| Endpoint {
            address: address.parse().unwrap(),
            kind: *kind,
        };
        listed.iter().map(endpoint).collect()
    }

    #[test]
    fn sockets_go_to_their_address_and_then_by_their_name() {
        let usual = endpoints(&[
            ("0.0.0.0:465", Implicit),
            ("[::]:465", Implicit),
            ("0.0.0.0:587", StartTls),
            ("[::]:587", StartTls),
        ]);
        // What is passed, and which endpoints are served on it.
        type Passed = &'static [(&'static str, Option<&'static str>)];
        let rows: [(Passed, [Option<usize>; 4]); 9] = [
            (&[], [None; 4]),
            (
                &[("[::]:587", None), ("0.0.0.0:465", None)],
                [Some(1), None, None, Some(0)],
            ),
            // An address is worth more than a name.
            (
                &[("[::]:465", Some("submission"))],
                [None, Some(0), None, None],
            ),
            (
                &[("127.0.0.1:1465", Some("submissions"))],
                [Some(0), None, None, None],
            ),
            (
                &[("[::1]:1465", Some("submissions"))],
                [None, Some(0), None, None],
            ),
            (
                &[
                    ("127.0.0.1:1", Some("submission")),
                    ("0.0.0.0:587", Some("submission")),
                ],
                [None, None, Some(1), Some(0)],
            ),
            // More than are wanted, and none of ours.
            (
                &[
                    ("127.0.0.1:1", Some("submissions")),
                    ("127.0.0.1:2", Some("submissions")),
                    ("127.0.0.1:3", Some("submissions")),
                ],
                [Some(0), Some(1), None, None],
            ),
            (&[("127.0.0.1:465", None)], [None; 4]),
            (&[("127.0.0.1:465", Some("gatepost.socket"))], [None; 4]),
        ];
        for (passed, expected) in rows {
            let sockets: Vec<_> = passed
                .iter()
                .map(|(local, name)| (local.parse().unwrap(), *name))
                .collect();
            assert_eq!(assign(&usual, &sockets), expected, "{passed:?}");
        }
        // Any free port is no address to be known by.
        let any = endpoints(&[("127.0.0.1:0", Implicit)]);
        let socket = "127.0.0.1:1465".parse().unwrap();
        assert_eq!(assign(&any, &[(socket, None)]), [None]);
        assert_eq!(assign(&any, &[(socket, Some("submissions"))]), [Some(0)]);
    }

    fn activated(names: &[Option<&str>]) -> Activated {
        let passed = names.iter().map(|name| {
            let socket = TcpListener::bind("127.0.0.1:0").unwrap();
            Passed {
                local: socket.local_addr().unwrap(),
                name: name.map(str::to_owned),
                socket,
            }
        });
        Activated(passed.collect())
    }

    #[test]
    fn a_socket_that_nobody_wants_is_named() {
        let listed = endpoints(&[("127.0.0.1:0", Implicit)]);
        assert!(activated(&[Some("submissions")]).check(&listed).is_ok());
        for (names, words) in [
            (&[None][..], "127.0.0.1:"),
            (&[Some("http")], "as \"http\""),
            (
                &[Some("submissions"), Some("submission")],
                "as \"submission\"",
            ),
        ] {
            let error = activated(names).check(&listed).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_socket_in_use_is_not_given_again() {
        let activated = activated(&[Some("submissions"), Some("submissions")]);
        let listed = endpoints(&[("127.0.0.1:0", Implicit)]);
        assert_eq!(activated.assign(&listed, &[]), [Some(0)]);
        assert_eq!(activated.assign(&listed, &[0]), [Some(1)]);
        assert_eq!(activated.assign(&listed, &[0, 1]), [None]);
        assert_eq!(activated.idle(&[1]).count(), 1);
    }
}
