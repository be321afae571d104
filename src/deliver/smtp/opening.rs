//! From a target to a connection that is ready for mail.

use std::{sync::Arc, time::Duration};

use rustls::pki_types::ServerName;
use tokio::time::{Instant, timeout_at};

use super::{
    Connection, Setup, Target, Tls,
    dial::{DialFailure, Dialler},
    driver::{Driver, Pause},
    pieces::Pieces,
    stream::Stream,
    transient,
    wire::Wire,
};
use crate::{
    client::{self, Channel, Client, Extensions},
    envelope::{Link, LinkTls, Proof, Status},
    sasl::NONCE_OCTETS,
    tls::{self, HandshakeError},
};

/// Why there is no connection for mail. No message was told of.
#[derive(Clone, Debug)]
pub struct OpenFailure {
    /// In which way.
    pub cause: OpenCause,
    /// In words; always transient, for no message has been judged.
    pub status: Status,
    /// How far it came.
    pub link: Link,
    /// What the host had shown of itself by then.
    pub shown: Shown,
}

/// What a host shows of itself before any mail.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Shown {
    /// What it offers.
    pub extensions: Extensions,
    /// Its certificate, where there was one that satisfied us and can be read.
    pub certificate: Option<tls::Certificate>,
}

/// In which way a connection did not come about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OpenCause {
    /// The host's name has no address that could be found.
    Resolve,
    /// None of its addresses, or not its socket, could be connected to.
    Connect,
    /// It is this very server.
    Loop,
    /// The handshake failed.
    Tls(HandshakeError),
    /// What was said and heard on the connection.
    Hop(client::Cause),
}

impl Connection {
    /// Looks the host up, connects, encrypts and signs in, each as `setup` has it.
    ///
    /// Every step has a limit of its own, and the whole has one too. Addresses are tried in turn
    /// (RFC 5321 §5.1) until one greets us as `setup` wants it. From the moment on when we may have
    /// signed in, what goes wrong is the host's word: a wrong password is not shown eight times.
    ///
    /// # Errors
    /// [`OpenFailure`] with a transient status; the connection is closed. Where several addresses
    /// failed, it is what the last one said that said anything.
    pub async fn open(target: &Target, setup: &Setup) -> Result<Connection, Box<OpenFailure>> {
        let give_up = Instant::now() + setup.opening_limit;
        match timeout_at(give_up, Dialler::new(target)).await {
            Ok(Ok(dialler)) => open_one_of(dialler, target, setup, give_up).await,
            Ok(Err(failure)) => Err(Opening::new(target, setup, give_up).not_dialled(failure)),
            Err(_) => Err(Opening::new(target, setup, give_up).too_late()),
        }
    }
}

/// Opens a connection to the first address that is as it should be.
pub(super) async fn open_one_of(
    mut dialler: Dialler<'_>,
    target: &Target,
    setup: &Setup,
    give_up: Instant,
) -> Result<Connection, Box<OpenFailure>> {
    let mut heard = None;
    loop {
        let mut opening = Opening::new(target, setup, give_up);
        let failure = match timeout_at(give_up, dialler.next(setup)).await {
            Ok(Ok((wire, address))) => {
                opening.link.address = address;
                match opening.greet(wire).await {
                    Ok(connection) => return Ok(connection),
                    Err(failure) if dialler.is_done() || !failure.is_before_sign_in(setup) => {
                        return Err(failure);
                    }
                    Err(failure) => {
                        heard = Some(failure);
                        continue;
                    }
                }
            }
            Ok(Err(failure)) => opening.not_dialled(failure),
            Err(_) => opening.too_late(),
        };
        return Err(heard.unwrap_or(failure));
    }
}

impl OpenFailure {
    /// Whether the host certainly saw no credentials of ours, so that it costs nothing to try
    /// another address of it.
    fn is_before_sign_in(&self, setup: &Setup) -> bool {
        use client::Cause;
        match &self.cause {
            OpenCause::Resolve | OpenCause::Connect | OpenCause::Loop | OpenCause::Tls(_) => true,
            OpenCause::Hop(Cause::Greeting | Cause::Hello | Cause::Tls) => true,
            OpenCause::Hop(Cause::Ending | Cause::Lost | Cause::Timeout | Cause::Protocol) => {
                setup.options.credentials.is_none()
                    || self.shown.extensions == Extensions::default()
            }
            OpenCause::Hop(Cause::SignIn | Cause::Local) => false,
        }
    }
}

/// A connection on its way.
pub(super) struct Opening<'a> {
    pub setup: &'a Setup,
    pub give_up: Instant,
    pub link: Link,
}

impl<'a> Opening<'a> {
    fn new(target: &Target, setup: &'a Setup, give_up: Instant) -> Self {
        let link = Link {
            host: target.host(),
            address: None,
            tls: None,
            mx: None,
            requiretls: None,
        };
        Opening {
            setup,
            give_up,
            link,
        }
    }

    fn not_dialled(self, failure: DialFailure) -> Box<OpenFailure> {
        match failure {
            DialFailure::Resolve(status) => self.failed(OpenCause::Resolve, status),
            DialFailure::Connect(status) => self.failed(OpenCause::Connect, status),
            DialFailure::Loop(status) => self.failed(OpenCause::Loop, status),
        }
    }

    fn too_late(self) -> Box<OpenFailure> {
        let text = format!("cannot connect to {} in time", self.link.host);
        self.failed(OpenCause::Connect, transient(4, 1, text))
    }

    /// From a connected socket on.
    pub(super) async fn greet(
        mut self,
        wire: Box<dyn Wire>,
    ) -> Result<Connection, Box<OpenFailure>> {
        let mut driver = match self.begin(wire).await {
            Ok(driver) => driver,
            Err((cause, status)) => return Err(self.failed(cause, status)),
        };
        loop {
            match driver.drive(&mut Pieces::none()).await {
                Pause::Ready => {
                    driver.give_up = None;
                    return Ok(Connection::new(driver, self.link));
                }
                Pause::StartTls => {
                    if let Err((cause, status)) = self.start_tls(&mut driver).await {
                        return Err(self.failed(cause, status));
                    }
                }
                Pause::Closed => {
                    let failure = driver.failure.take();
                    let shown = driver.shown();
                    driver.close().await;
                    let (cause, status) = match failure {
                        Some(failure) => (failure.cause, failure.status),
                        None => (client::Cause::Local, internal()),
                    };
                    let mut failed = self.failed(OpenCause::Hop(cause), status);
                    failed.shown = shown;
                    return Err(failed);
                }
            }
        }
    }

    async fn begin(&mut self, wire: Box<dyn Wire>) -> Result<Driver, (OpenCause, Status)> {
        let options = &self.setup.options;
        let (stream, channel) = match &self.setup.tls {
            Tls::Implicit(client, name) => {
                let by = self.give_up.min(after(options.timeouts.handshake));
                self.handshake(wire, client, name, by).await?
            }
            Tls::StartTls(..) | Tls::None => (Stream::Plain(wire), Channel::Plain),
        };
        let mut nonce = [0; NONCE_OCTETS];
        if getrandom::fill(&mut nonce).is_err() {
            return Err((OpenCause::Hop(client::Cause::Local), internal()));
        }
        let start = Instant::now();
        let machine = Client::new(channel, Arc::clone(options), nonce, Default::default());
        let mut driver = Driver::new(machine, stream, start);
        driver.give_up = Some(self.give_up);
        Ok(driver)
    }

    /// RFC 3207 §4.2: nothing may follow the reply in the clear, neither here nor in the kernel (S9).
    async fn start_tls(&mut self, driver: &mut Driver) -> Result<(), (OpenCause, Status)> {
        if let Some(octets) = driver.stream.behind_starttls() {
            let now = driver.now();
            if octets.is_empty() {
                driver.machine.eof(now);
            } else {
                driver.machine.receive(now, &octets);
            }
            return Ok(());
        }
        let Tls::StartTls(client, name) = &self.setup.tls else {
            let text = "STARTTLS is asked for, and whom to trust is not set up";
            let cause = OpenCause::Hop(client::Cause::Local);
            return Err((cause, transient(3, 5, text)));
        };
        let by = driver.deadline().unwrap_or(self.give_up);
        let Some(wire) = driver.stream.take_plain() else {
            return Err((OpenCause::Hop(client::Cause::Local), internal()));
        };
        let (stream, channel) = self.handshake(wire, client, name, by).await?;
        driver.stream = stream;
        driver.machine.secured(driver.now(), channel);
        Ok(())
    }

    async fn handshake(
        &mut self,
        wire: Box<dyn Wire>,
        client: &tls::Client,
        name: &ServerName<'static>,
        by: Instant,
    ) -> Result<(Stream, Channel), (OpenCause, Status)> {
        let secured = match timeout_at(by, client.handshake(wire, name.clone())).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let status = status_of(&error);
                return Err((OpenCause::Tls(error), status));
            }
            Err(_) => {
                let text = "the TLS handshake was not finished in time";
                let cause = OpenCause::Hop(client::Cause::Timeout);
                return Err((cause, transient(4, 2, text)));
            }
        };
        let Some(facts) = client.facts(secured.get_ref().1, name) else {
            return Err((OpenCause::Hop(client::Cause::Local), internal()));
        };
        let channel = channel_of(&facts);
        self.link.tls = Some(facts);
        Ok((Stream::Secure(secured), channel))
    }

    fn failed(self, cause: OpenCause, status: Status) -> Box<OpenFailure> {
        Box::new(OpenFailure {
            cause,
            status,
            link: self.link,
            shown: Shown::default(),
        })
    }
}

fn after(wait: Duration) -> Instant {
    Instant::now() + wait
}

fn channel_of(facts: &LinkTls) -> Channel {
    match facts.proof {
        Proof::None => Channel::Unproved,
        Proof::WebPki | Proof::GivenCa | Proof::Pin | Proof::DaneEe | Proof::DaneTa => {
            Channel::Proved
        }
    }
}

/// Encryption that is not to be had is 4.7.10, encryption that failed is 4.7.5.
fn status_of(error: &HandshakeError) -> Status {
    let (subject, detail) = match error {
        HandshakeError::NoTls(_) => (7, 10),
        HandshakeError::Gone => (4, 2),
        HandshakeError::Certificate(_)
        | HandshakeError::Alert(_)
        | HandshakeError::Incompatible(_)
        | HandshakeError::Other(_) => (7, 5),
    };
    transient(subject, detail, error.to_string())
}

fn internal() -> Status {
    transient(3, 0, "internal error while connecting to the next hop")
}
