//! What octets travel over: a TCP or a Unix socket.

use std::os::fd::AsFd;

use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

/// What the other end has sent and nobody has read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum AtHand {
    Nothing,
    /// So many octets at least; they stay where they are.
    Octets(usize),
    /// It has closed, or the connection broke.
    End,
}

/// A stream that can tell without waiting whether anything has arrived.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {
    /// Asks the kernel itself: the runtime may not have heard of octets that are there. What it
    /// finds is copied into `buffer`.
    fn at_hand(&mut self, buffer: &mut [u8]) -> AtHand;
}

impl Wire for TcpStream {
    fn at_hand(&mut self, buffer: &mut [u8]) -> AtHand {
        peek(self, buffer)
    }
}

impl Wire for UnixStream {
    fn at_hand(&mut self, buffer: &mut [u8]) -> AtHand {
        peek(self, buffer)
    }
}

fn peek(socket: &impl AsFd, buffer: &mut [u8]) -> AtHand {
    match recv(socket, buffer, RecvFlags::DONTWAIT | RecvFlags::PEEK) {
        Ok((0, _)) => AtHand::End,
        Ok((n, _)) => AtHand::Octets(n),
        Err(Errno::AGAIN | Errno::INTR) => AtHand::Nothing,
        Err(_) => AtHand::End,
    }
}
