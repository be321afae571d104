//! Drives one session: octets in, replies out, questions to the desk, until it closes.

use std::{future::poll_fn, net::SocketAddr, pin::Pin, sync::Arc, task::Poll};

use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    desk::{About, Decide, Place},
    hangup::Hangup,
    link::{Fed, Link},
    seats::{Limits, Phase},
    secure::{facts, handshake},
};
use crate::{
    envelope::{Identity, Moment, TlsFacts},
    session::{MessageVerdict, Output, Question, Secured, Session, Verdict},
    smtp::Reply,
    tls,
};

/// Replies are written when so many octets wait, even where input goes on.
const OUT_MAX: usize = 16 * 1024;

/// What a driver needs of a session; the tests put a script in its place.
pub(super) trait Machine: Send {
    fn receive(&mut self, now: Moment, octets: &[u8]) -> usize;
    fn eof(&mut self, now: Moment);
    fn secured(&mut self, now: Moment, secured: Secured);
    fn answer(&mut self, now: Moment, verdict: Verdict);
    fn timeout(&mut self, now: Moment);
    fn shutdown(&mut self, now: Moment);
    fn poll(&mut self) -> Option<Output>;
    fn deadline(&self) -> Option<Moment>;
    fn wants_input(&self) -> bool;
    fn identity(&self) -> Option<&Identity>;
    fn client_name(&self) -> Option<&str>;
    fn tls(&self) -> Option<&TlsFacts>;
}

impl Machine for Session {
    fn receive(&mut self, now: Moment, octets: &[u8]) -> usize {
        self.receive(now, octets)
    }

    fn eof(&mut self, now: Moment) {
        self.eof(now);
    }

    fn secured(&mut self, now: Moment, secured: Secured) {
        self.secured(now, secured);
    }

    fn answer(&mut self, now: Moment, verdict: Verdict) {
        self.answer(now, verdict);
    }

    fn timeout(&mut self, now: Moment) {
        self.timeout(now);
    }

    fn shutdown(&mut self, now: Moment) {
        self.shutdown(now);
    }

    fn poll(&mut self) -> Option<Output> {
        self.poll()
    }

    fn deadline(&self) -> Option<Moment> {
        self.deadline()
    }

    fn wants_input(&self) -> bool {
        self.wants_input()
    }

    fn identity(&self) -> Option<&Identity> {
        self.identity()
    }

    fn client_name(&self) -> Option<&str> {
        self.client_name()
    }

    fn tls(&self) -> Option<&TlsFacts> {
        self.tls()
    }
}

/// What a connection has around it.
pub(super) struct Surroundings<D> {
    pub desk: Arc<D>,
    pub tls: Arc<tls::Server>,
    pub limits: Arc<Limits>,
    pub place: Place,
    pub peer: SocketAddr,
    /// The server is stopping.
    pub stop: CancellationToken,
}

/// One session at work.
pub(super) struct Driver<M, D: Decide> {
    around: Surroundings<D>,
    machine: Box<M>,
    link: Link,
    /// The machine's zero.
    start: Instant,
    /// Replies not yet written; holds no memory while the session is idle.
    out: Vec<u8>,
    /// Boxed: most sessions have none most of the time.
    draft: Option<Box<D::Draft>>,
    /// Content was given up, and what the client hears of it is still to come.
    aborted: bool,
    /// Its seat is that of somebody who signed in.
    is_signed_in: bool,
    /// Messages accepted.
    messages: u32,
    ended: bool,
    stopping: Stopping,
}

/// How far a stop of the server has come for this session.
#[derive(Clone, Copy)]
enum Stopping {
    No,
    /// A transaction may finish until then.
    Until(Instant),
    /// Said for the last time.
    Told,
}

enum Event {
    Fed(std::io::Result<Fed>),
    Deadline,
    Stop,
    Shed,
}

impl<M: Machine, D: Decide> Driver<M, D> {
    pub fn new(around: Surroundings<D>, machine: M, link: Link, start: Instant) -> Box<Self> {
        Box::new(Driver {
            around,
            machine: Box::new(machine),
            link,
            start,
            out: Vec::new(),
            draft: None,
            aborted: false,
            is_signed_in: false,
            messages: 0,
            ended: false,
            stopping: Stopping::No,
        })
    }

    /// Runs to the end of the connection and closes it. Gives the cause and the machine for the log.
    pub async fn run(mut self: Box<Self>) -> (Hangup, Box<M>, u32) {
        let cause = match self.drive().await {
            Ok(cause) | Err(cause) => cause,
        };
        self.draft = None;
        if matches!(cause, Hangup::Closed | Hangup::Left) {
            let link = std::mem::replace(&mut self.link, Link::Gone);
            Box::pin(link.close()).await;
        }
        (cause, self.machine, self.messages)
    }

    fn now(&self) -> Moment {
        Moment(self.start.elapsed())
    }

    async fn drive(&mut self) -> Result<Hangup, Hangup> {
        let mut sleep: Pin<Box<Sleep>> = Box::pin(sleep_until(self.start));
        loop {
            // What is busy lives in its own box, so that an idle session does not carry its size.
            if Box::pin(self.obey()).await? {
                Box::pin(self.flush()).await?;
                return Ok(if self.ended {
                    Hangup::Left
                } else {
                    Hangup::Closed
                });
            }
            if self.ended {
                // Everything received has been answered, and nothing more can come.
                Box::pin(self.flush()).await?;
                return Ok(Hangup::Left);
            }
            // Replies leave together, once no more input is at hand.
            let event = match self.feed_at_hand().await {
                Some(fed) => Event::Fed(fed),
                None => {
                    if !self.out.is_empty() {
                        Box::pin(self.flush()).await?;
                    }
                    self.wait(&mut sleep).await
                }
            };
            match event {
                Event::Fed(Ok(Fed::Taken(0))) if self.machine.wants_input() => {
                    return Err(Hangup::Stuck);
                }
                Event::Fed(Ok(Fed::Taken(_))) => {}
                Event::Fed(Ok(Fed::End)) => {
                    self.ended = true;
                    self.machine.eof(self.now());
                }
                Event::Fed(Err(error)) => return Err(Hangup::Broken(error)),
                Event::Deadline => self.machine.timeout(self.now()),
                Event::Stop => {
                    self.stopping = match self.stopping {
                        Stopping::No => Stopping::Until(Instant::now() + self.around.limits.finish),
                        Stopping::Until(_) | Stopping::Told => Stopping::Told,
                    };
                    self.machine.shutdown(self.now());
                }
                Event::Shed => return Err(Hangup::Shed),
            }
        }
    }

    /// Input that has already arrived.
    async fn feed_at_hand(&mut self) -> Option<std::io::Result<Fed>> {
        if !self.machine.wants_input() {
            return None;
        }
        let now = self.now();
        let Driver { link, machine, .. } = self;
        poll_fn(|cx| {
            let fed = link.poll_feed(cx, &mut |octets| machine.receive(now, octets));
            Poll::Ready(match fed {
                Poll::Ready(fed) => Some(fed),
                Poll::Pending => None,
            })
        })
        .await
    }

    /// Until something happens.
    async fn wait(&mut self, sleep: &mut Pin<Box<Sleep>>) -> Event {
        // A moment beyond the clock's range is none.
        let deadline = self
            .machine
            .deadline()
            .and_then(|at| self.start.checked_add(at.0));
        let stop_at = match self.stopping {
            Stopping::Until(at) => Some(at),
            Stopping::No | Stopping::Told => None,
        };
        let (wake, woken_by) = match (deadline, stop_at) {
            (Some(deadline), Some(stop)) if stop < deadline => (Some(stop), Event::Stop),
            (None, Some(stop)) => (Some(stop), Event::Stop),
            (deadline, _) => (deadline, Event::Deadline),
        };
        if let Some(at) = wake
            && sleep.deadline() != at
        {
            sleep.as_mut().reset(at);
        }
        let start = self.start;
        let Driver {
            link,
            machine,
            around,
            stopping,
            ..
        } = self;
        let hungry = machine.wants_input();
        let fed = poll_fn(|cx| {
            if !hungry {
                return Poll::Pending;
            }
            link.poll_feed(cx, &mut |octets| {
                machine.receive(Moment(start.elapsed()), octets)
            })
        });
        tokio::select! {
            biased;
            () = around.place.shed.cancelled() => Event::Shed,
            () = around.stop.cancelled(), if matches!(stopping, Stopping::No) => Event::Stop,
            () = sleep.as_mut(), if wake.is_some() => woken_by,
            fed = fed => Event::Fed(fed),
        }
    }

    /// Does what the machine says until it says nothing more; true where it is to end.
    async fn obey(&mut self) -> Result<bool, Hangup> {
        self.note_sign_in();
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Send(reply) => {
                    self.note_refusal(&reply);
                    reply.write(&mut self.out);
                    if self.out.len() >= OUT_MAX {
                        self.flush().await?;
                    }
                }
                Output::StartTls(reply) => Box::pin(self.start_tls(reply)).await?,
                Output::Ask(question) => Box::pin(self.ask(question)).await?,
                Output::Hint(domain) => self.around.desk.hint(&domain),
                Output::Content(octets) => {
                    let desk = &self.around.desk;
                    let draft = self.draft.get_or_insert_with(|| Box::new(desk.draft()));
                    D::write(draft, &octets).await;
                }
                Output::ContentAbort => {
                    self.draft = None;
                    self.aborted = true;
                }
                Output::CredentialsInClear => {
                    let peer = self.around.peer;
                    tracing::warn!(%peer, "credentials seen in the clear");
                }
                Output::Close => return Ok(true),
            }
        }
        Ok(false)
    }

    /// A message that the session itself refused is told of as one that the intake refused
    /// (RFC 6409 §5.2).
    fn note_refusal(&mut self, reply: &Reply) {
        if !std::mem::take(&mut self.aborted) || reply.is_positive() {
            return;
        }
        metrics::counter!("gatepost_messages_refused_total", "class" => "content").increment(1);
        let account = self
            .machine
            .identity()
            .map(|identity| identity.name.clone());
        tracing::info!(
            account = account.as_deref(),
            peer = %self.around.peer,
            cause = %reply,
            "message refused"
        );
    }

    async fn ask(&mut self, question: Question) -> Result<(), Hangup> {
        let draft = match &question {
            Question::Message { .. } => self.draft.take(),
            Question::Keys(_)
            | Question::SignIn { .. }
            | Question::Sender { .. }
            | Question::Recipient { .. } => None,
        };
        let about = About {
            peer: self.around.peer,
            client_name: self.machine.client_name(),
            tls: self.machine.tls(),
        };
        let verdict = self
            .around
            .desk
            .decide(about, question, draft.map(|draft| *draft))
            .await;
        if let Verdict::Message(MessageVerdict::Accepted(_)) = verdict {
            self.messages += 1;
        }
        let now = self.now();
        self.machine.answer(now, verdict);
        self.note_sign_in();
        Ok(())
    }

    /// Whoever has signed in keeps its seat. Some do so by an answer, some by what they say behind it.
    fn note_sign_in(&mut self) {
        if self.is_signed_in || self.machine.identity().is_none() {
            return;
        }
        self.is_signed_in = true;
        let around = &self.around;
        around.place.advance(&around.limits, Phase::SignedIn);
    }

    /// RFC 3207 §4.2: nothing may follow STARTTLS in the clear, neither here nor in the kernel.
    async fn start_tls(&mut self, ready: Reply) -> Result<(), Hangup> {
        // Replies to commands before it belong to the plain connection.
        self.flush().await?;
        if let Some(octets) = self.link.behind_starttls() {
            let now = self.now();
            if octets.is_empty() {
                self.ended = true;
                self.machine.eof(now);
            } else {
                self.machine.receive(now, &octets);
            }
            return Ok(());
        }
        ready.write(&mut self.out);
        self.flush().await?;
        let Link::Plain(tcp, _) = std::mem::replace(&mut self.link, Link::Gone) else {
            return Err(Hangup::Stuck);
        };
        let around = &self.around;
        around.place.advance(&around.limits, Phase::Handshake);
        let stream = handshake(
            tcp,
            around.tls.acceptor(),
            &around.place,
            around.limits.handshake,
        )
        .await
        .map_err(Hangup::Handshake)?;
        around.place.advance(&around.limits, Phase::Unproven);
        let secured = facts(&around.tls, &stream).ok_or(Hangup::Stuck)?;
        self.link = Link::Secure(stream);
        let now = self.now();
        self.machine.secured(now, secured);
        Ok(())
    }

    /// Writes what waits; a client that does not read is given up after a time.
    async fn flush(&mut self) -> Result<(), Hangup> {
        if self.out.is_empty() {
            return Ok(());
        }
        // Taken, so that an idle session holds no buffer.
        let out = std::mem::take(&mut self.out);
        let limit = self.around.limits.write;
        let written = tokio::select! {
            biased;
            () = self.around.place.shed.cancelled() => return Err(Hangup::Shed),
            written = timeout(limit, self.link.write_all(&out)) => written,
        };
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Hangup::Broken(error)),
            Err(_) => Err(Hangup::Unread(limit)),
        }
    }
}
