//! Connections to scripted hosts: over loopback, over Unix sockets, and in memory where the clock is
//! turned by hand.

mod opening;
mod patience;
mod peer;
mod reuse;
mod scram;
mod sending;

use std::{net::SocketAddr, sync::Arc};

use rcgen::{CertificateParams, KeyPair};
use rustls::{ServerConfig, pki_types::ServerName};
use tokio::net::TcpListener;

use super::{opening::Opening, wire::Wire, *};
use crate::{
    client::{Credentials, Fate, Message, Options, Security},
    envelope::{BodyType, Link},
    smtp::{Domain, Mailbox, ReversePath},
    spool::{Content, StoredBody},
    tls::Trust,
};
use peer::{Peer, Pipe};

const HELLO: &str = "
    S: 220 hop.example ESMTP
    C: EHLO client.example
    S: 250-hop.example
    S: 250 PIPELINING
";

fn options(security: Security) -> Options {
    Options {
        security,
        ..Options::new(Domain::parse("client.example").unwrap())
    }
}

fn plain() -> Setup {
    Setup::new(Arc::new(options(Security::Plaintext)), Tls::None)
}

fn credentials() -> Option<Credentials> {
    Some(Credentials {
        name: "alice".into(),
        password: "tulips-and-4-onions".into(),
    })
}

/// Opens over a wire that is there.
async fn greet(wire: impl Wire + 'static, setup: &Setup) -> Result<Connection, Box<OpenFailure>> {
    let link = Link {
        host: "pipe".into(),
        address: None,
        tls: None,
        mx: None,
        requiretls: None,
    };
    let opening = Opening {
        setup,
        give_up: tokio::time::Instant::now() + setup.opening_limit,
        link,
    };
    opening.greet(Box::new(wire)).await
}

/// A connection in memory to a host that plays `script` first.
async fn opened(capacity: usize, script: &str, setup: &Setup) -> (Connection, Peer) {
    let (pipe, mut peer) = Pipe::new(capacity);
    let (connection, ()) = tokio::join!(greet(pipe, setup), peer.play(script));
    (connection.unwrap(), peer)
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn at(address: SocketAddr) -> Target {
    Target::Tcp {
        host: address.ip().to_string().into(),
        port: address.port(),
    }
}

async fn accepted(listener: &TcpListener) -> Peer {
    Peer::new(listener.accept().await.unwrap().0)
}

/// A server's settings with a certificate of its own, and the fingerprint of that.
fn secret() -> (Arc<ServerConfig>, [u8; 32]) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["hop.example".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let fingerprint = tls::fingerprint(certificate.der());
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(tls::provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (Arc::new(config), fingerprint)
}

fn name() -> ServerName<'static> {
    ServerName::try_from("hop.example").unwrap()
}

fn trusting(fingerprint: [u8; 32]) -> Arc<tls::Client> {
    tls::Client::open(Trust::Pins(vec![fingerprint])).unwrap()
}

fn implicit(fingerprint: [u8; 32]) -> Setup {
    let tls = Tls::Implicit(trusting(fingerprint), name());
    Setup::new(Arc::new(options(Security::Proved)), tls)
}

fn starttls(fingerprint: [u8; 32]) -> Setup {
    let tls = Tls::StartTls(trusting(fingerprint), name());
    Setup::new(Arc::new(options(Security::Proved)), tls)
}

fn with_credentials(mut setup: Setup) -> Setup {
    let options = Arc::make_mut(&mut setup.options);
    options.credentials = credentials();
    setup
}

/// A message with this body to these recipients, with a header of its own.
fn message(recipients: &[&str], body: &[u8]) -> (Message, Content) {
    letter(
        recipients,
        StoredBody::Memory(body.to_vec().into()),
        body.len() as u64,
    )
}

fn letter(recipients: &[&str], body: StoredBody, octets: u64) -> (Message, Content) {
    let header = bytes::Bytes::from_static(HEADER);
    let message = Message {
        sender: ReversePath::parse("a@x.example").unwrap(),
        recipients: recipients
            .iter()
            .map(|text| Mailbox::parse(text).unwrap().into())
            .collect(),
        size_octets: header.len() as u64 + octets,
        body: BodyType::SevenBit,
        utf8_header: false,
        ret: None,
        envid: None,
        requiretls: false,
        by: None,
        priority: None,
    };
    (message, Content { header, body })
}

const HEADER: &[u8] = b"Subject: x\r\n\r\n";

/// Fates in short: the kind, the enhanced code and the text.
fn shown(fates: &[Fate]) -> Vec<String> {
    let show = |fate: &Fate| match fate {
        Fate::Accepted(status) => format!("accepted {status}"),
        Fate::Again(status) => format!("again {status}"),
        Fate::Deferred(status) => format!("deferred {status}"),
        Fate::Failed(status) => format!("failed {status}"),
    };
    fates.iter().map(show).collect()
}
