//! A policy host: HTTPS with one answer for whatever is asked; it keeps what is posted.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use rustls::{ServerConnection, StreamOwned};

use crate::hop::Certificate;

/// A server of one file; it ends when dropped.
pub struct PolicyHost {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    posted: Arc<Mutex<Vec<Vec<u8>>>>,
    stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl PolicyHost {
    /// One that answers with this text as a policy.
    pub fn start(certificate: Certificate, policy: &str) -> PolicyHost {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<_>>> = Arc::default();
        let answer = plain(policy);
        let stopping = Arc::new(AtomicBool::new(false));
        let (noted, ends) = (asked.clone(), stopping.clone());
        let posted: Arc<Mutex<Vec<_>>> = Arc::default();
        let kept = posted.clone();
        let config = certificate.server();
        let acceptor = std::thread::spawn(move || {
            loop {
                let socket = listener.accept().expect("a policy host accepts").0;
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let connection = ServerConnection::new(config.clone()).unwrap();
                // Whoever does not trust us goes away in the middle.
                let _ = serve(StreamOwned::new(connection, socket), &noted, &kept, &answer);
            }
        });
        PolicyHost {
            address,
            asked,
            posted,
            stopping,
            acceptor: Some(acceptor),
        }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Bodies that came.
    pub fn posted(&self) -> Vec<Vec<u8>> {
        self.posted.lock().unwrap().clone()
    }

    /// Request lines and hosts that were asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for PolicyHost {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn plain(policy: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{policy}",
        policy.len()
    )
}

fn serve(
    mut stream: StreamOwned<ServerConnection, TcpStream>,
    asked: &Mutex<Vec<String>>,
    posted: &Mutex<Vec<Vec<u8>>>,
    answer: &str,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        stream.read_exact(&mut octet)?;
        request.push(octet[0]);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let length = request.lines().find_map(|line| {
        let lower = line.to_ascii_lowercase();
        lower.strip_prefix("content-length: ")?.parse().ok()
    });
    if let Some(length) = length {
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        posted.lock().unwrap().push(body);
    }
    let mut lines = request.lines();
    let first = lines.next().unwrap_or_default().to_owned();
    let host = lines.find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("host: ")
            .map(str::to_owned)
    });
    asked
        .lock()
        .unwrap()
        .push(format!("{first} {}", host.unwrap_or_default()));
    stream.write_all(answer.as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()
}
