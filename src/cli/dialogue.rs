//! A small client that submits one message over real TLS and keeps what was said.
//!
//! For the demonstration and for tests: it verifies the server against one given authority, sends
//! each command alone and waits for its reply. It is no delivery client. Speaks RFC 5321, 3207, 4954.

use std::{fmt, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use data_encoding::BASE64;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{
    listener::Kind,
    smtp::write_data,
    tls::{self, TlsError},
};

/// For each step of the dialogue.
const PATIENCE: Duration = Duration::from_secs(30);
/// A reply line longer than this is not read on.
const LINE_MAX: usize = 4096;
/// Lines of one reply at most.
const LINES_MAX: usize = 128;

/// What to submit, and where.
#[derive(Clone, Debug)]
pub struct Submit {
    /// The server.
    pub address: SocketAddr,
    /// How the connection is secured.
    pub kind: Kind,
    /// The name that the server must prove.
    pub server_name: String,
    /// PEM file of the authority to trust, and no other.
    pub ca: PathBuf,
    /// Login name.
    pub login: String,
    /// Password; never shown.
    pub password: SecretString,
    /// Reverse-path without brackets.
    pub sender: String,
    /// Forward-paths without brackets.
    pub recipients: Vec<String>,
    /// Header section, blank line and body with CRLF; not yet dot-stuffed.
    pub message: String,
}

/// What was said, line by line.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Dialogue {
    /// `C:` and `S:` lines and, in parentheses, events; the password is masked.
    pub lines: Vec<String>,
    /// The last reply to the message.
    pub accepted: String,
}

impl fmt::Display for Dialogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Why a message was not submitted.
#[derive(Debug, thiserror::Error)]
pub enum DialogueError {
    /// The authority's file cannot be used.
    #[error("failed to read the authority: {0}")]
    Authority(#[from] TlsError),
    /// The server's name is none.
    #[error("`{0}` is no host name or address")]
    Name(String),
    /// Connecting, the handshake or the connection failed.
    #[error("connection failed: {0}")]
    Io(#[from] std::io::Error),
    /// TLS settings.
    #[error("TLS failed: {0}")]
    Tls(#[from] rustls::Error),
    /// The server was silent for too long.
    #[error("the server gave no answer within {} s", PATIENCE.as_secs())]
    Silence,
    /// Not what a server says.
    #[error("not an SMTP reply: {0}")]
    Garbled(String),
    /// The server said no.
    #[error("{command} was answered with {reply}")]
    Refused {
        /// The command, its secrets masked.
        command: String,
        /// The reply's lines.
        reply: String,
    },
}

/// One reply as read: its code and the text of each line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReadReply {
    /// Three digits.
    pub code: u16,
    /// Text behind code and separator.
    pub lines: Vec<String>,
}

impl fmt::Display for ReadReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.lines.join(" / "))
    }
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A connection that remembers what was said on it.
pub struct Connection {
    stream: BufReader<Box<dyn Duplex>>,
    /// So far.
    pub dialogue: Dialogue,
}

impl Connection {
    /// Connects without TLS.
    ///
    /// # Errors
    /// [`DialogueError`] where nobody answers.
    pub async fn plain(address: SocketAddr) -> Result<Self, DialogueError> {
        let tcp = patiently(TcpStream::connect(address)).await??;
        Ok(Connection {
            stream: BufReader::new(Box::new(tcp)),
            dialogue: Dialogue::default(),
        })
    }

    /// Makes the handshake on a connection, plain until then; nothing that was read before counts.
    ///
    /// # Errors
    /// [`DialogueError`] where the server does not prove `server_name` to the authority in `ca`.
    pub async fn secure(
        self,
        config: Arc<ClientConfig>,
        server_name: &str,
    ) -> Result<Self, DialogueError> {
        let name = ServerName::try_from(server_name.to_owned())
            .map_err(|_| DialogueError::Name(server_name.to_owned()))?;
        let mut dialogue = self.dialogue;
        let connect = TlsConnector::from(config).connect(name, self.stream.into_inner());
        let tls = patiently(connect).await??;
        let connection = tls.get_ref().1;
        let version = match connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
            Some(_) | None => "TLS 1.2",
        };
        let group = connection
            .negotiated_key_exchange_group()
            .map(|group| format!("{:?}", group.name()));
        dialogue.lines.push(format!(
            "({version}, {}, {server_name} proved its name)",
            group.as_deref().unwrap_or("resumed")
        ));
        Ok(Connection {
            stream: BufReader::new(Box::new(tls)),
            dialogue,
        })
    }

    /// Sends octets as they are and records nothing.
    ///
    /// # Errors
    /// [`DialogueError`] where the connection is broken.
    pub async fn send_raw(&mut self, octets: &[u8]) -> Result<(), DialogueError> {
        let stream = self.stream.get_mut();
        patiently(async {
            stream.write_all(octets).await?;
            stream.flush().await
        })
        .await??;
        Ok(())
    }

    /// Sends one command line.
    ///
    /// # Errors
    /// [`DialogueError`] where the connection is broken.
    pub async fn send_line(&mut self, line: &str) -> Result<(), DialogueError> {
        self.dialogue.lines.push(format!("C: {line}"));
        self.send_raw(format!("{line}\r\n").as_bytes()).await
    }

    /// Reads one whole reply.
    ///
    /// # Errors
    /// [`DialogueError`] for silence, the end of the connection and what is no reply.
    pub async fn read_reply(&mut self) -> Result<ReadReply, DialogueError> {
        let mut reply = ReadReply {
            code: 0,
            lines: Vec::new(),
        };
        while reply.lines.len() < LINES_MAX {
            let line = patiently(read_line(&mut self.stream)).await??;
            self.dialogue.lines.push(format!("S: {line}"));
            let garbled = || DialogueError::Garbled(line.clone());
            let (code, rest) = line.split_at_checked(3).ok_or_else(garbled)?;
            reply.code = code.parse().map_err(|_| garbled())?;
            let (is_last, text) = match rest.as_bytes().first() {
                None => (true, ""),
                Some(b' ') => (true, &rest[1..]),
                Some(b'-') => (false, &rest[1..]),
                Some(_) => return Err(garbled()),
            };
            reply.lines.push(text.to_owned());
            if is_last {
                return Ok(reply);
            }
        }
        Err(DialogueError::Garbled("a reply without end".to_owned()))
    }

    /// Sends a command and reads its reply, whatever it is.
    ///
    /// # Errors
    /// As [`Self::send_line`] and [`Self::read_reply`].
    pub async fn command(&mut self, line: &str) -> Result<ReadReply, DialogueError> {
        self.send_line(line).await?;
        self.read_reply().await
    }

    async fn expect(&mut self, line: &str) -> Result<ReadReply, DialogueError> {
        let reply = self.command(line).await?;
        positive(line, reply)
    }

    /// AUTH PLAIN with its initial response; the password is not recorded.
    ///
    /// # Errors
    /// As [`Self::send_line`] and [`Self::read_reply`].
    pub async fn sign_in(
        &mut self,
        login: &str,
        password: &SecretString,
    ) -> Result<ReadReply, DialogueError> {
        let response = BASE64.encode(format!("\0{login}\0{}", password.expose_secret()).as_bytes());
        self.dialogue
            .lines
            .push(format!("C: AUTH PLAIN (sign-in of {login}, not shown)"));
        self.send_raw(format!("AUTH PLAIN {response}\r\n").as_bytes())
            .await?;
        self.read_reply().await
    }
}

/// Settings of a client that trusts the authority in `ca` and no other.
///
/// # Errors
/// [`DialogueError`] where the file cannot be used.
pub fn trusting(ca: &std::path::Path) -> Result<Arc<ClientConfig>, DialogueError> {
    let mut roots = RootCertStore::empty();
    let certificates = tls::read_pem(ca)?.certificates;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate(ca.to_owned()).into());
    }
    for certificate in certificates {
        roots.add(certificate)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(tls::provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Submits one message and says goodbye.
///
/// # Errors
/// [`DialogueError`] for the first step that did not succeed.
pub async fn submit(options: Submit) -> Result<Dialogue, DialogueError> {
    let config = trusting(&options.ca)?;
    let mut connection = Connection::plain(options.address).await?;
    match options.kind {
        Kind::Implicit => {
            connection = connection.secure(config, &options.server_name).await?;
            let greeting = connection.read_reply().await?;
            positive("connecting", greeting)?;
        }
        Kind::StartTls => {
            let greeting = connection.read_reply().await?;
            positive("connecting", greeting)?;
            connection.expect("EHLO localhost").await?;
            connection.expect("STARTTLS").await?;
            connection = connection.secure(config, &options.server_name).await?;
        }
    }
    connection.expect("EHLO localhost").await?;
    let signed_in = connection
        .sign_in(&options.login, &options.password)
        .await?;
    positive("AUTH PLAIN", signed_in)?;
    connection
        .expect(&format!("MAIL FROM:<{}>", options.sender))
        .await?;
    for recipient in &options.recipients {
        connection.expect(&format!("RCPT TO:<{recipient}>")).await?;
    }
    connection.expect("DATA").await?;
    let sent = stuffed(&options.message);
    for line in String::from_utf8_lossy(&sent).lines() {
        connection.dialogue.lines.push(format!("C: {line}"));
    }
    connection.send_raw(&sent).await?;
    let reply = connection.read_reply().await?;
    let accepted = positive("the message", reply)?;
    connection.dialogue.accepted = accepted.lines.join(" ");
    connection.expect("QUIT").await?;
    Ok(connection.dialogue)
}

/// Mail data with its end, every leading dot doubled (RFC 5321 §4.5.2).
fn stuffed(message: &str) -> Vec<u8> {
    let content: String = message.lines().flat_map(|line| [line, "\r\n"]).collect();
    let mut out = Vec::with_capacity(content.len() + 16);
    write_data(content.as_bytes(), &mut out);
    out
}

fn positive(command: &str, reply: ReadReply) -> Result<ReadReply, DialogueError> {
    if (200..400).contains(&reply.code) {
        Ok(reply)
    } else {
        Err(DialogueError::Refused {
            command: command.to_owned(),
            reply: reply.to_string(),
        })
    }
}

async fn read_line(stream: &mut BufReader<Box<dyn Duplex>>) -> Result<String, DialogueError> {
    let mut line = Vec::new();
    loop {
        let arrived = stream.fill_buf().await?;
        if arrived.is_empty() {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        let end = memchr::memchr(b'\n', arrived);
        let taken = end.map_or(arrived.len(), |at| at + 1);
        line.extend_from_slice(&arrived[..taken]);
        stream.consume(taken);
        if end.is_some() {
            let text = String::from_utf8_lossy(&line);
            return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
        }
        if line.len() > LINE_MAX {
            return Err(DialogueError::Garbled("a line without end".to_owned()));
        }
    }
}

async fn patiently<F: Future>(work: F) -> Result<F::Output, DialogueError> {
    timeout(PATIENCE, work)
        .await
        .map_err(|_| DialogueError::Silence)
}

#[cfg(test)]
mod tests;
