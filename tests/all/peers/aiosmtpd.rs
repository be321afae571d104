//! aiosmtpd, a server in Python, with STARTTLS and AUTH; it writes down what it gets.

use std::{fs, net::SocketAddr};

use serde_json::Value;

use super::{Process, directory};
use crate::{
    clients::{python_with, script},
    faults::skip,
    hop::{Certificate, NAME, PASSWORD},
};

/// A running aiosmtpd that shows the good certificate of scripted hops and needs STARTTLS and AUTH.
pub struct Aiosmtpd {
    pub address: SocketAddr,
    process: Process,
}

impl Aiosmtpd {
    /// None, loudly, where it cannot be had.
    pub fn start() -> Option<Aiosmtpd> {
        let Some(python) = python_with("aiosmtpd") else {
            skip("aiosmtpd is not installed");
            return None;
        };
        let script = script("serve_aiosmtpd.py").display().to_string();
        let (certificate, key) = Certificate::Good.files();
        let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
        let directory = directory("aiosmtpd", &[]);
        let records = directory.path().join("records").display().to_string();
        let arguments = [&script, &records, &certificate, &key, NAME, PASSWORD];
        let mut process = Process::start("aiosmtpd", directory, &python, &arguments);
        let port = process.wait("a port", |process| {
            read(process).first().and_then(|line| line["port"].as_u64())
        });
        Some(Aiosmtpd {
            address: SocketAddr::from(([127, 0, 0, 1], port.try_into().unwrap())),
            process,
        })
    }

    /// The messages so far: `sender`, `sender_parameters`, `recipients`, `recipient_parameters`,
    /// `content`, `login` and `tls`. One is there before aiosmtpd says so.
    pub fn mail(&self) -> Vec<Value> {
        read(&self.process).split_off(1)
    }
}

/// The whole lines of the record: the port, then a message each.
fn read(process: &Process) -> Vec<Value> {
    let text = fs::read_to_string(process.path("records")).unwrap_or_default();
    let lines = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
