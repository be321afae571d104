//! A client that sends exactly the octets it is told to, over real sockets and real TLS.

use std::{
    io::{self, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, client::Resumption,
    pki_types::ServerName,
};

/// How long a reply may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(20);

pub enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Gone,
}

/// One connection, with what was read of it and not yet looked at.
pub struct Client {
    wire: Wire,
    unread: Vec<u8>,
    early_data: bool,
}

pub fn roots(ca: &Path) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let pem = std::fs::File::open(ca).unwrap();
    for certificate in rustls_pemfile::certs(&mut BufReader::new(pem)) {
        roots.add(certificate.unwrap()).unwrap();
    }
    roots
}

pub fn trust(ca: &Path) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(ca))
        .with_no_client_auth();
    // A resumed session would not show what certificate is in service.
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

impl Client {
    /// Connects without TLS.
    pub fn plain(address: SocketAddr) -> io::Result<Client> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Client {
            wire: Wire::Plain(socket),
            unread: Vec::new(),
            early_data: false,
        })
    }

    /// Connects with TLS from the first octet.
    pub fn implicit(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<Client> {
        let mut client = Client::plain(address)?;
        client.handshake(config)?;
        Ok(client)
    }

    /// Turns the connection into an encrypted one.
    pub fn handshake(&mut self, config: Arc<ClientConfig>) -> io::Result<()> {
        self.handshake_as("localhost", config)
    }

    /// The same, with a server of this name expected.
    pub fn handshake_as(&mut self, name: &str, config: Arc<ClientConfig>) -> io::Result<()> {
        assert!(
            self.unread.is_empty(),
            "octets before the handshake: {:?}",
            self.unread
        );
        let Wire::Plain(mut socket) = std::mem::replace(&mut self.wire, Wire::Gone) else {
            panic!("no plain connection");
        };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        self.early_data = connection.early_data().is_some();
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        self.wire = Wire::Tls(Box::new(StreamOwned::new(connection, socket)));
        Ok(())
    }

    pub fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        match &mut self.wire {
            Wire::Plain(socket) => socket.write_all(octets),
            Wire::Tls(stream) => {
                stream.write_all(octets)?;
                stream.flush()
            }
            Wire::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Closes the sending side; replies can still come.
    pub fn half_close(&mut self) -> io::Result<()> {
        match &mut self.wire {
            Wire::Plain(socket) => socket.shutdown(Shutdown::Write),
            Wire::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.conn.complete_io(&mut stream.sock).map(drop)
            }
            Wire::Gone => Ok(()),
        }
    }

    /// Closes the sending side of the connection itself, and says nothing of it within TLS.
    pub fn cut(&mut self) -> io::Result<()> {
        match &self.wire {
            Wire::Plain(socket) => socket.shutdown(Shutdown::Write),
            Wire::Tls(stream) => stream.sock.shutdown(Shutdown::Write),
            Wire::Gone => Ok(()),
        }
    }

    fn read_some(&mut self) -> io::Result<usize> {
        let mut piece = [0; 16_384];
        let count = match &mut self.wire {
            Wire::Plain(socket) => socket.read(&mut piece)?,
            Wire::Tls(stream) => match stream.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
                other => other?,
            },
            Wire::Gone => 0,
        };
        self.unread.extend_from_slice(&piece[..count]);
        Ok(count)
    }

    /// One reply as its lines without CRLF.
    pub fn reply(&mut self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("closed instead of a reply, after {lines:?}"),
                ),
                _ => error,
            })?;
            let last = line.as_bytes().get(3) != Some(&b'-');
            lines.push(line);
            if last {
                return Ok(lines);
            }
        }
    }

    /// One line without its CRLF.
    pub fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let rest = self.unread.split_off(end + 2);
                let line = std::mem::replace(&mut self.unread, rest);
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.read_some()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Sends a line and returns the code of its reply, with the text of the last line.
    pub fn ask(&mut self, line: &str) -> io::Result<String> {
        self.send(format!("{line}\r\n").as_bytes())?;
        Ok(self.reply()?.pop().unwrap_or_default())
    }

    /// Waits for the end of the connection, and gives what came before it.
    pub fn closed(&mut self) -> io::Result<Vec<u8>> {
        while match self.read_some() {
            Ok(count) => count > 0,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => false,
            Err(error) => return Err(error),
        } {}
        Ok(std::mem::take(&mut self.unread))
    }

    /// Whether the last handshake could have carried data of ours at its start.
    pub fn early_data_was_possible(&self) -> bool {
        self.early_data
    }

    /// The facts of the handshake, for tests of TLS.
    pub fn tls(&self) -> Option<&ClientConnection> {
        match &self.wire {
            Wire::Tls(stream) => Some(&stream.conn),
            Wire::Plain(_) | Wire::Gone => None,
        }
    }
}
