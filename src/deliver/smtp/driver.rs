//! Drives one machine over one stream: octets in both directions at once, and the clock.

use std::{future::poll_fn, task::Poll};

use tokio::{
    select,
    task::spawn_blocking,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    connection::Reach, opening::Shown, outgoing::Outgoing, pieces::Pieces, stream::Stream,
    transient,
};
use crate::{
    client::{Cause, Client, Failure, Fate, Message, NeedsSevenBit, Output},
    envelope::Moment,
    sasl::Derivation,
};

/// Octets of replies read at once.
const READ: usize = 4096;

/// A machine, its stream and what lies between them.
pub(super) struct Driver {
    pub machine: Client,
    pub stream: Stream,
    /// The machine's zero.
    start: Instant,
    out: Outgoing,
    /// When the opening is given up; none behind it.
    pub give_up: Option<Instant>,
    /// What became of the recipients of the transaction under way.
    pub fates: Option<Vec<Fate>>,
    /// Why the connection is of no use.
    pub failure: Option<Failure>,
    /// How far the transaction under way has come.
    pub reach: Reach,
}

/// Why driving pauses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Pause {
    /// The handshake is due.
    StartTls,
    /// A transaction may begin.
    Ready,
    /// The connection is of no further use.
    Closed,
}

enum Event {
    /// Everything is with the kernel.
    Written,
    /// The machine was given what came.
    Read,
    /// Nothing more can be read, or nothing written.
    End,
    Deadline,
}

impl Driver {
    /// A driver of a machine whose zero is `start`.
    pub fn new(machine: Client, stream: Stream, start: Instant) -> Self {
        Driver {
            machine,
            stream,
            start,
            out: Outgoing::default(),
            give_up: None,
            fates: None,
            failure: None,
            reach: Reach::NoContent,
        }
    }

    pub fn now(&self) -> Moment {
        Moment(self.start.elapsed())
    }

    /// When to give up waiting unless something happens.
    pub fn deadline(&self) -> Option<Instant> {
        // A moment beyond the clock's range is none.
        let machine = self.machine.deadline();
        let machine = machine.and_then(|at| self.start.checked_add(at.0));
        [machine, self.give_up].into_iter().flatten().min()
    }

    /// Begins a transaction, after [`Pause::Ready`].
    pub fn begin(&mut self, message: Message) -> Result<(), NeedsSevenBit> {
        self.fates = None;
        // One without content has no piece by which its end would show.
        self.reach = match message.size_octets {
            0 => Reach::SomeContent,
            _ => Reach::NoContent,
        };
        self.machine.begin(self.now(), message)
    }

    /// Does what the machine says until it pauses.
    pub async fn drive(&mut self, pieces: &mut Pieces) -> Pause {
        let mut wants_content = false;
        loop {
            while let Some(output) = self.machine.poll() {
                match output {
                    Output::Send(octets) => self.out.push(octets),
                    Output::SendSecret(secret) => self.out.push_secret(secret),
                    Output::StartTls => return Pause::StartTls,
                    Output::Derive(derivation) => self.derive(derivation).await,
                    Output::NeedContent => wants_content = true,
                    Output::Done(fates) => {
                        self.fates = Some(self.held_against_what_was_said(fates))
                    }
                    Output::Failed(failure) => self.failure = Some(failure),
                    // An answer overtook what it answers: nobody knows what the hop makes of the rest.
                    Output::Ready if !self.out.is_empty() => return Pause::Closed,
                    Output::Ready => return Pause::Ready,
                    Output::Close => return Pause::Closed,
                }
            }
            if wants_content && self.out.is_empty() {
                wants_content = false;
                self.feed(pieces).await;
                continue;
            }
            let Some(deadline) = self.deadline() else {
                return Pause::Closed;
            };
            match self.exchange(deadline).await {
                Event::Written | Event::Read => {}
                Event::End => self.machine.eof(self.now()),
                Event::Deadline if self.give_up.is_some_and(|at| at <= Instant::now()) => {
                    let text = "the next hop was not ready for mail in time";
                    // What was found out before says more.
                    self.failure.get_or_insert_with(|| Failure {
                        cause: Cause::Timeout,
                        status: transient(4, 2, text),
                    });
                    return Pause::Closed;
                }
                Event::Deadline => self.machine.timeout(self.now()),
            }
        }
    }

    /// Writes what waits and reads what comes, until one of them is done. Where nothing can be
    /// written any more, what the hop said before it went is read all the same.
    async fn exchange(&mut self, deadline: Instant) -> Event {
        let Driver {
            machine,
            stream,
            start,
            out,
            ..
        } = self;
        let io = poll_fn(|cx| {
            let written = match out.is_empty() {
                true => Poll::Pending,
                false => out.poll_write(cx, stream),
            };
            let mut buffer = [0; READ];
            match stream.poll_read(cx, &mut buffer) {
                Poll::Ready(0) => Poll::Ready(Event::End),
                Poll::Ready(n) => {
                    machine.receive(Moment(start.elapsed()), &buffer[..n]);
                    Poll::Ready(Event::Read)
                }
                Poll::Pending => written.map(|written| match written {
                    Ok(()) => Event::Written,
                    Err(error) => {
                        tracing::debug!(%error, "connection to the next hop broke");
                        Event::End
                    }
                }),
            }
        });
        select! {
            biased;
            event = io => event,
            () = sleep_until(deadline) => Event::Deadline,
        }
    }

    /// Gives the machine the next piece. A message that cannot be read is never ended.
    async fn feed(&mut self, pieces: &mut Pieces) {
        let piece = match self.deadline() {
            Some(at) => timeout_at(at, pieces.next()).await,
            None => Ok(pieces.next().await),
        };
        let now = self.now();
        match piece {
            Ok(Ok(piece)) => {
                self.reach = Reach::SomeContent;
                self.machine.content(now, &piece);
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "message cannot be read from the spool");
                let why = format!("the message cannot be read from the spool: {error}");
                self.machine.abort(now, &why);
            }
            Err(_) => {
                let why = "the message could not be read from the spool in time";
                self.machine.abort(now, why);
            }
        }
    }

    /// Works a key out where it blocks nobody.
    async fn derive(&mut self, derivation: Derivation) {
        let work = spawn_blocking(move || derivation.run());
        let key = match self.give_up {
            Some(at) => timeout_at(at, work).await,
            None => Ok(work.await),
        };
        let now = self.now();
        match key {
            Ok(Ok(key)) => self.machine.derived(now, &key),
            Ok(Err(_)) => self.machine.abort(now, "internal error while signing in"),
            Err(_) => self.machine.abort(now, "the sign-in took too long"),
        }
    }

    /// A hop cannot take a message whose end has not left us yet, whatever it says.
    fn held_against_what_was_said(&self, fates: Vec<Fate>) -> Vec<Fate> {
        if self.out.is_empty() {
            return fates;
        }
        let fates = fates.into_iter().map(|fate| match fate {
            Fate::Accepted(status) => {
                let text = format!("answered before the message was sent: {}", status.text);
                Fate::Deferred(transient(5, 0, text))
            }
            Fate::Again(_) | Fate::Deferred(_) | Fate::Failed(_) => fate,
        });
        fates.collect()
    }

    /// What the hop has shown of itself so far.
    pub fn shown(&self) -> Shown {
        Shown {
            extensions: self.machine.extensions().clone(),
            certificate: self.stream.certificate(),
        }
    }

    /// Ends the connection: with a farewell where everything is said, else without another octet.
    pub async fn close(self) {
        if self.out.is_empty() {
            self.stream.close().await;
        }
    }
}
