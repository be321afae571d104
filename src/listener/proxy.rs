//! Clients behind a proxy: whose connections begin with a header, and how it is read.
//!
//! Only listed networks are believed. A header from anywhere else is not looked for, so nobody gives
//! himself an address; and a listed proxy without a header is not served, for its clients would
//! share one address, one throttle and one limit.

mod header;

use std::{net::IpAddr, time::Duration};

use tokio::{io::AsyncReadExt, net::TcpStream};

use super::desk::Place;
use crate::policy::throttle::Network;

pub(super) use header::Source;
use header::{BINARY_OCTETS, Header, HeaderError};

/// The proxies whose connections must begin with a header.
#[derive(Clone, Debug)]
pub struct Proxies {
    /// Where they are; none: nobody is a proxy.
    pub networks: Vec<Network>,
    /// From the start of a connection to the end of its header.
    pub header: Duration,
}

impl Proxies {
    /// Whether a connection from `peer` begins with a header.
    pub(super) fn includes(&self, peer: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(peer))
    }
}

/// Why a proxy's connection is not served; the word is a metric's label.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("not finished in time")]
    Timeout,
    #[error("gave way for a newcomer")]
    Shed,
    #[error("the proxy went away")]
    Gone,
    #[error(transparent)]
    Header(#[from] HeaderError),
}

impl Failure {
    pub fn label(&self) -> &'static str {
        match self {
            Failure::Timeout => "timeout",
            Failure::Shed => "shed",
            Failure::Gone => "gone",
            Failure::Header(HeaderError::Missing) => "missing",
            Failure::Header(HeaderError::Malformed(_)) => "malformed",
            Failure::Header(HeaderError::TooLong { .. }) => "too_long",
            Failure::Header(HeaderError::Unsupported) => "unsupported",
        }
    }
}

/// Reads the header and nothing behind it within `limit`, unless its seat is taken away.
pub(super) async fn read(
    tcp: &mut TcpStream,
    place: &Place,
    limit: Duration,
) -> Result<Source, Failure> {
    let work = async {
        let (mut header, mut arrived) = (Header::default(), [0; BINARY_OCTETS]);
        loop {
            let count = tcp.peek(&mut arrived).await.map_err(|_| Failure::Gone)?;
            if count == 0 {
                return Err(Failure::Gone);
            }
            let (taken, source) = header.take(&arrived[..count])?;
            // They have arrived, so this does not wait. What lies behind them stays in the kernel.
            let taken = &mut arrived[..taken];
            tcp.read_exact(taken).await.map_err(|_| Failure::Gone)?;
            if let Some(source) = source {
                return Ok(source);
            }
        }
    };
    let ended = tokio::select! {
        biased;
        () = place.shed.cancelled() => Err(Failure::Shed),
        done = tokio::time::timeout(limit, work) => done.unwrap_or(Err(Failure::Timeout)),
    };
    let label = ended.as_ref().map_or_else(Failure::label, |_| "ok");
    metrics::counter!("gatepost_proxy_headers_total", "result" => label).increment(1);
    ended
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::{
        super::{desk::House, seats::Limits},
        *,
    };

    const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 465\r\n";
    const LONG: Duration = Duration::from_secs(20);

    /// Both ends of a connection, and a seat for it.
    async fn connection() -> (TcpStream, TcpStream, Place) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = TcpStream::connect(address).await.unwrap();
        proxy.set_nodelay(true).unwrap();
        let (tcp, _) = listener.accept().await.unwrap();
        let house = Arc::new(House::new());
        let place = house.admit_unnamed(&Limits::default()).unwrap();
        (proxy, tcp, place)
    }

    #[tokio::test]
    async fn what_stands_behind_the_header_stays_in_the_socket() {
        for behind in [&b"\x16\x03\x01\x02\x00"[..], b"EHLO a\r\n", HEADER] {
            let (mut proxy, mut tcp, place) = connection().await;
            proxy.write_all(&[HEADER, behind].concat()).await.unwrap();
            let source = read(&mut tcp, &place, LONG).await.unwrap();
            assert_eq!(source, Source::Client("192.0.2.7:5000".parse().unwrap()));
            drop(proxy);
            let mut rest = Vec::new();
            tcp.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, behind);
        }
    }

    #[tokio::test]
    async fn a_header_may_come_in_single_octets() {
        let (mut proxy, mut tcp, place) = connection().await;
        let reading = tokio::spawn(async move {
            let source = read(&mut tcp, &place, LONG).await;
            (source, tcp)
        });
        for octet in [HEADER, b"x"].concat() {
            proxy.write_all(&[octet]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (source, mut tcp) = reading.await.unwrap();
        assert!(matches!(source, Ok(Source::Client(_))));
        assert_eq!(tcp.read_u8().await.unwrap(), b'x');
    }

    #[tokio::test]
    async fn a_header_that_does_not_come_is_not_waited_for() {
        let (mut proxy, mut tcp, place) = connection().await;
        proxy.write_all(&HEADER[..20]).await.unwrap();
        let soon = Duration::from_millis(50);
        let ended = read(&mut tcp, &place, soon).await;
        assert!(matches!(ended, Err(Failure::Timeout)));

        let (mut proxy, mut tcp, place) = connection().await;
        proxy.write_all(&HEADER[..20]).await.unwrap();
        drop(proxy);
        let ended = read(&mut tcp, &place, LONG).await;
        assert!(matches!(ended, Err(Failure::Gone)));

        let (_proxy, mut tcp, place) = connection().await;
        place.shed.cancel();
        let ended = read(&mut tcp, &place, LONG).await;
        assert!(matches!(ended, Err(Failure::Shed)));
    }
}
