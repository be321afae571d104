//! Validating resolvers, asked over UDP, and over TCP where an answer does not fit.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_net::{
    NetError,
    client::Client,
    runtime::TokioRuntimeProvider,
    tcp::TcpClientStream,
    udp::UdpClientStream,
    xfer::{DnsHandle as _, DnsRequestSender as _, FirstAnswer as _},
};
use hickory_proto::{
    op::{DnsRequest, DnsRequestOptions, DnsResponse, Query, ResponseCode},
    rr::{self, RData, RecordType},
};
use tokio::time::timeout;

use super::{
    Absence, Data, DnsError, Kind, Options, Record, Reply, Source, Srv, Verdict,
    name::{asked, plain},
    resolv_conf,
    source::Asked,
};
use crate::envelope::Tlsa;

/// Octets that an answer over UDP may have without being cut into pieces (as is usual by now).
const PAYLOAD: u16 = 1232;
/// Records of one answer that are looked at.
const RECORDS_MOST: usize = 256;
/// How long an absence is remembered of which nobody says how long.
const ABSENT_FOR: Duration = Duration::from_secs(30);

/// Resolvers, in the order in which they are asked.
pub(super) struct Resolver {
    servers: Vec<Server>,
    timeout: Duration,
}

#[derive(Clone, Copy)]
struct Server {
    address: SocketAddr,
    is_trusted: bool,
}

/// Whether the resolver may hold an answer back that does not stand up to DNSSEC (the CD bit).
#[derive(Clone, Copy, Eq, PartialEq)]
enum Checking {
    Enabled,
    Disabled,
}

/// Why one resolver gave no answer.
enum NoAnswer {
    Bogus,
    Failed(String),
}

impl Resolver {
    pub(super) fn new(options: &Options) -> Self {
        let servers = match options.servers.is_empty() {
            true => resolv_conf::servers(),
            false => options.servers.clone(),
        };
        let servers = servers.into_iter().map(|address| Server {
            address,
            is_trusted: is_near(address.ip()) || options.trusted.contains(&address.ip()),
        });
        Resolver {
            servers: servers.collect(),
            timeout: options.timeout,
        }
    }

    async fn answer(&self, name: &str, kind: Kind) -> Result<Reply, DnsError> {
        let mut why = "there is no resolver".to_owned();
        for server in &self.servers {
            match self.answer_of(*server, name, kind).await {
                Ok(reply) => return Ok(reply),
                // Another one could only say less.
                Err(NoAnswer::Bogus) => return Err(DnsError::Bogus { name: name.into() }),
                Err(NoAnswer::Failed(text)) => why = format!("{}: {text}", server.address.ip()),
            }
        }
        Err(DnsError::Indeterminate {
            name: name.into(),
            why: why.into(),
        })
    }

    async fn answer_of(&self, server: Server, name: &str, kind: Kind) -> Result<Reply, NoAnswer> {
        let response = self.ask_one(server, name, kind, Checking::Enabled).await?;
        match response.metadata.response_code {
            ResponseCode::NoError | ResponseCode::NXDomain => {
                Ok(reply(&response, kind, server.is_trusted))
            }
            // Whether it is the answer that is wrong, or its servers that are, shows when the
            // resolver is told not to look at signatures.
            ResponseCode::ServFail if server.is_trusted => {
                let unchecked = self.ask_one(server, name, kind, Checking::Disabled).await?;
                match unchecked.metadata.response_code {
                    ResponseCode::NoError | ResponseCode::NXDomain => Err(NoAnswer::Bogus),
                    code => Err(NoAnswer::Failed(code.to_str().to_owned())),
                }
            }
            code => Err(NoAnswer::Failed(code.to_str().to_owned())),
        }
    }

    async fn ask_one(
        &self,
        server: Server,
        name: &str,
        kind: Kind,
        checking: Checking,
    ) -> Result<DnsResponse, NoAnswer> {
        let name = asked(name).ok_or_else(|| NoAnswer::Failed("no such name can be".to_owned()))?;
        let query = Query::query(name, record_type(kind));
        let mut options = DnsRequestOptions::default();
        options.use_edns = true;
        options.edns_payload_len = PAYLOAD;
        // Without DO no resolver says what it found out.
        options.edns_set_dnssec_ok = true;
        options.recursion_desired = true;
        let mut request = DnsRequest::from_query(query.clone(), options);
        request.metadata.checking_disabled = checking == Checking::Disabled;
        let within = async {
            let response = over_udp(server.address, self.timeout, request.clone()).await?;
            match response.metadata.truncation {
                true => over_tcp(server.address, self.timeout, request).await,
                false => Ok(response),
            }
        };
        let late = || format!("no answer within {} s", self.timeout.as_secs());
        // The second try of UDP lies within the time, TCP behind it.
        let response = timeout(self.timeout * 2, within).await;
        let response = response.map_err(|_| NoAnswer::Failed(late()))?;
        let response = response.map_err(|error| match error {
            NetError::Timeout => NoAnswer::Failed(late()),
            other => NoAnswer::Failed(other.to_string()),
        })?;
        match response.queries.as_slice() {
            [only] if *only == query => Ok(response),
            _ => Err(NoAnswer::Failed(
                "the answer is to another question".to_owned(),
            )),
        }
    }
}

impl Source for Resolver {
    fn ask<'a>(&'a self, name: &'a str, kind: Kind) -> Asked<'a> {
        Box::pin(self.answer(name, kind))
    }
}

/// Whether nobody stands between us and this address.
fn is_near(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

async fn over_udp(
    server: SocketAddr,
    limit: Duration,
    request: DnsRequest,
) -> Result<DnsResponse, NetError> {
    // A socket, and so a port, of its own for each question.
    let mut stream = UdpClientStream::builder(server, TokioRuntimeProvider::new())
        .with_timeout(Some(limit))
        .with_max_retries(1)
        .with_retry_interval_floor(u64::try_from(limit.as_millis() / 2).unwrap_or(u64::MAX))
        .build();
    stream.send_message(request).first_answer().await
}

async fn over_tcp(
    server: SocketAddr,
    limit: Duration,
    request: DnsRequest,
) -> Result<DnsResponse, NetError> {
    let provider = TokioRuntimeProvider::new();
    let (connect, handle) = TcpClientStream::new(server, None, Some(limit), provider);
    let (client, background) =
        Client::<TokioRuntimeProvider>::with_timeout(connect.await?, handle, limit);
    // Ends with the client.
    tokio::spawn(background);
    client.send(request).first_answer().await
}

fn record_type(kind: Kind) -> RecordType {
    match kind {
        Kind::Mx => RecordType::MX,
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
        Kind::Tlsa => RecordType::TLSA,
        Kind::Txt => RecordType::TXT,
        Kind::Ptr => RecordType::PTR,
        Kind::Srv => RecordType::SRV,
        Kind::Cname => RecordType::CNAME,
        Kind::Soa => RecordType::SOA,
    }
}

fn reply(response: &DnsResponse, kind: Kind, is_trusted: bool) -> Reply {
    let records: Vec<_> = response
        .answers
        .iter()
        .take(RECORDS_MOST)
        .filter_map(record)
        .collect();
    let is_there = records.iter().any(|record| record.data.is_of(kind));
    let absence = match (is_there, response.metadata.response_code) {
        (true, _) => None,
        (false, ResponseCode::NXDomain) => Some(Absence::Name),
        (false, _) => Some(Absence::Type),
    };
    let verdict = match is_trusted && response.metadata.authentic_data {
        true => Verdict::Secure,
        false => Verdict::Insecure,
    };
    Reply {
        records,
        absence,
        verdict,
        is_trusted,
        absent_for: absent_for(response),
    }
}

/// RFC 2308 §5.
fn absent_for(response: &DnsResponse) -> Duration {
    let zone = response
        .authorities
        .iter()
        .find_map(|record| match &record.data {
            RData::SOA(zone) => Some(record.ttl.min(zone.minimum)),
            _ => None,
        });
    zone.map_or(ABSENT_FOR, |seconds| Duration::from_secs(seconds.into()))
}

fn record(record: &rr::Record) -> Option<Record> {
    let data = match &record.data {
        RData::MX(mx) => Data::Mx(mx.preference, plain(&mx.exchange)),
        RData::A(address) => Data::Address(IpAddr::V4(address.0)),
        RData::AAAA(address) => Data::Address(IpAddr::V6(address.0)),
        RData::TLSA(tlsa) => Data::Tlsa(Tlsa {
            usage: tlsa.cert_usage.into(),
            selector: tlsa.selector.into(),
            matching: tlsa.matching.into(),
            data: tlsa.cert_data.as_slice().into(),
        }),
        RData::TXT(text) => {
            let octets: Vec<u8> = text
                .txt_data
                .iter()
                .flat_map(|it| it.iter().copied())
                .collect();
            Data::Txt(String::from_utf8_lossy(&octets).into_owned())
        }
        RData::PTR(name) => Data::Name(plain(&name.0)),
        RData::SRV(srv) => Data::Srv(Srv {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: plain(&srv.target),
        }),
        RData::CNAME(name) => Data::Alias(plain(&name.0)),
        RData::SOA(_) => Data::Zone,
        _ => return None,
    };
    Some(Record {
        owner: plain(&record.name),
        ttl: Duration::from_secs(record.ttl.into()),
        data,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R7672-2.1.1a: between us and any other address somebody may stand.
    #[test]
    fn only_resolvers_of_this_machine_and_those_named_are_believed() {
        let servers = [
            "127.0.0.1:53",
            "127.9.9.9:53",
            "[::1]:53",
            "192.0.2.1:53",
            "192.0.2.2:53",
        ];
        let resolver = Resolver::new(&Options {
            servers: servers.map(|it| it.parse().unwrap()).to_vec(),
            trusted: vec!["192.0.2.2".parse().unwrap()],
            ..Options::default()
        });
        let trusted: Vec<_> = resolver.servers.iter().map(|it| it.is_trusted).collect();
        assert_eq!(trusted, [true, true, true, false, true]);
        assert!(is_near("::ffff:127.0.0.1".parse().unwrap()));
    }
}
