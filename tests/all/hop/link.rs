//! The octets of one connection of a scripted next hop: TCP or Unix socket, in the clear or in TLS.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    sync::Arc,
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::io::Interest;

use super::record::Channel;

/// A connected socket; it closes when the last holder lets go.
#[derive(Clone, Debug)]
pub struct Socket(pub Arc<Kind>);

#[derive(Debug)]
pub enum Kind {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Kind {
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Kind::Tcp(socket) => socket.shutdown(how),
            Kind::Unix(socket) => socket.shutdown(how),
        }
    }

    fn patience(&self, patience: Option<Duration>) -> io::Result<()> {
        match self {
            Kind::Tcp(socket) => socket.set_read_timeout(patience),
            Kind::Unix(socket) => socket.set_read_timeout(patience),
        }
    }

    /// Waits for the other side to close, and reads nothing.
    fn wait_for_close(&self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        // What waits to be read stays there, so nothing wakes us but time.
        let pause = || tokio::time::sleep(Duration::from_millis(10));
        runtime.block_on(async {
            match self {
                Kind::Tcp(socket) => {
                    let socket = socket.try_clone()?;
                    socket.set_nonblocking(true)?;
                    let socket = tokio::net::TcpStream::from_std(socket)?;
                    while !socket.ready(Interest::READABLE).await?.is_read_closed() {
                        pause().await;
                    }
                }
                Kind::Unix(socket) => {
                    let socket = socket.try_clone()?;
                    socket.set_nonblocking(true)?;
                    let socket = tokio::net::UnixStream::from_std(socket)?;
                    while !socket.ready(Interest::READABLE).await?.is_read_closed() {
                        pause().await;
                    }
                }
            }
            Ok(())
        })
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &*self.0 {
            Kind::Tcp(socket) => (&*socket).read(buffer),
            Kind::Unix(socket) => (&*socket).read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match &*self.0 {
            Kind::Tcp(socket) => (&*socket).write(octets),
            Kind::Unix(socket) => (&*socket).write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Way {
    Clear(Socket),
    Tls(Box<StreamOwned<ServerConnection, Socket>>),
    Gone,
}

/// One connection, with what was read of it and not yet looked at.
pub struct Link {
    way: Way,
    pub unread: Vec<u8>,
}

impl Link {
    pub fn new(socket: Socket) -> Link {
        Link {
            way: Way::Clear(socket),
            unread: Vec::new(),
        }
    }

    pub fn channel(&self) -> Channel {
        match self.way {
            Way::Clear(_) | Way::Gone => Channel::Clear,
            Way::Tls(_) => Channel::Tls,
        }
    }

    fn socket(&self) -> io::Result<&Kind> {
        match &self.way {
            Way::Clear(socket) => Ok(&socket.0),
            Way::Tls(stream) => Ok(&stream.sock.0),
            Way::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Reads what there is behind what is unread; gives how much, 0 at the end.
    pub fn read(&mut self) -> io::Result<usize> {
        let mut piece = [0; 65_536];
        let count = match &mut self.way {
            Way::Clear(socket) => socket.read(&mut piece)?,
            Way::Tls(stream) => match stream.read(&mut piece) {
                // The end without close_notify is an end here.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
                other => other?,
            },
            Way::Gone => 0,
        };
        self.unread.extend_from_slice(&piece[..count]);
        Ok(count)
    }

    /// How long a read may take.
    pub fn patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.socket()?.patience(patience)
    }

    pub fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        match &mut self.way {
            Way::Clear(socket) => socket.write_all(octets),
            Way::Tls(stream) => {
                stream.write_all(octets)?;
                stream.flush()
            }
            Way::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Does the server's part of a handshake.
    pub fn handshake(&mut self, config: Arc<ServerConfig>) -> io::Result<&ServerConnection> {
        let mut connection = ServerConnection::new(config).map_err(io::Error::other)?;
        let Way::Clear(mut socket) = std::mem::replace(&mut self.way, Way::Gone) else {
            return Err(io::Error::other("within TLS already"));
        };
        while connection.is_handshaking() {
            if let Err(error) = connection.complete_io(&mut socket) {
                self.way = Way::Clear(socket);
                return Err(error);
            }
        }
        self.way = Way::Tls(Box::new(StreamOwned::new(connection, socket)));
        match &self.way {
            Way::Tls(stream) => Ok(&stream.conn),
            Way::Clear(_) | Way::Gone => unreachable!("just set"),
        }
    }

    /// Says the end within TLS.
    pub fn notify(&mut self) -> io::Result<()> {
        if let Way::Tls(stream) = &mut self.way {
            stream.conn.send_close_notify();
            stream.flush()?;
        }
        Ok(())
    }

    /// Closes the sending side.
    pub fn half_close(&self) -> io::Result<()> {
        self.socket()?.shutdown(Shutdown::Write)
    }

    /// Has the connection end with a reset; a Unix socket has none and just ends.
    pub fn reset(&mut self) -> io::Result<()> {
        if let Kind::Tcp(socket) = self.socket()? {
            socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO))?;
        }
        self.way = Way::Gone;
        Ok(())
    }

    /// Reads nothing until the other side closes.
    pub fn wait_for_close(&self) -> io::Result<()> {
        self.socket()?.wait_for_close()
    }
}
