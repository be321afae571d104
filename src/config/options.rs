//! From the file's values to what each room is started with, and what is wrong with them.

use std::{
    collections::HashMap,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    bounds::bounds,
    directory::directory,
    oauth::oauth,
    passwords::Passwords,
    routes::routes,
    schema::{BareNewline, Config, LongLines, SecurityLevel, ThrottleLimit, WhenAway},
};
use crate::{
    accounts, client, deliver, dns,
    envelope::Level,
    filter::{self, Filter},
    intake, listener,
    policy::{
        brake,
        retry::{Notices, Schedule, Unprotected},
        routes::{DomainPattern, Origin, RouteTable, Transport},
        security::Levels,
        throttle,
    },
    queue,
    reach::sts,
    sasl::{Mechanism, TokenAdvice},
    session,
    smtp::{Domain, Mailbox},
    spool, tls, tlsrpt,
};

/// How connections on a port begin.
pub use crate::listener::Kind as PortKind;

/// What every room is started or reloaded with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Addresses to listen on.
    pub endpoints: Vec<listener::Endpoint>,
    /// Certificates, the default first.
    pub pairs: Vec<tls::PairFiles>,
    /// Sessions.
    pub session: session::Options,
    /// Connections.
    pub connections: listener::Limits,
    /// Whose connections begin with a header.
    pub proxies: listener::Proxies,
    /// Sign-ins.
    pub accounts: accounts::Options,
    /// Whether clients are asked for certificates.
    pub visitors: tls::Visitors,
    /// Messages on their way in.
    pub intake: intake::Options,
    /// Custody.
    pub spool: spool::Options,
    /// Hand-off.
    pub queue: queue::Options,
    /// Transports.
    pub deliver: deliver::Options,
    /// The DNS.
    pub dns: dns::Options,
    /// MTA-STS policies.
    pub sts: sts::Options,
    /// Reports on TLS.
    pub tls_reports: tlsrpt::Options,
    /// What is found out at RCPT.
    pub forecast: Forecast,
}

/// What is found out of recipients' domains while a client waits for the answer to RCPT.
#[derive(Clone, Debug, Default)]
pub struct Forecast {
    /// Our own name: addresses there take messages back.
    pub hostname: Option<Domain>,
    /// What the operator asks of hand-offs.
    pub levels: Levels,
    /// How long the answer may wait; zero for not at all.
    pub within: Duration,
}

/// What waits longer would count as mail of another clock.
const BRAKE_DELAY_MAX: Duration = Duration::from_secs(12 * 3600);

/// Keys, and what is wrong with each.
pub(super) type Wrong = Vec<(String, String)>;

/// Fills the rooms' options, or says which keys are wrong and why.
pub(super) fn resolve(config: &Config, passwords: &Passwords) -> Result<Options, Wrong> {
    let mut wrong = Wrong::new();
    bounds(config, &mut wrong);
    let hostname = hostname(config, &mut wrong);
    let routes = routes(config, passwords, &mut wrong);
    let postmaster = postmaster(config, routes.as_ref(), &mut wrong);
    let endpoints = endpoints(config, &mut wrong);
    let proxies = networks("listeners.proxy", &config.listeners.proxy, &mut wrong);
    let pairs = pairs(config, &mut wrong);
    let accounts = accounts(config, passwords, &mut wrong);
    let levels = levels(config, &mut wrong);
    let filters = filters(config, &mut wrong);
    let reporter = reporter(config, &mut wrong);
    let own_ports = endpoints.iter().map(|it| it.address.port()).collect();
    let (Some(hostname), Some(routes), Some(postmaster), Some(reporter), true) =
        (hostname, routes, postmaster, reporter, wrong.is_empty())
    else {
        return Err(wrong);
    };
    let (limits, timeouts) = (&config.limits, &config.timeouts);
    let contact = match config.contact.as_str() {
        "" => postmaster.to_string(),
        contact => contact.to_owned(),
    };
    Ok(Options {
        endpoints,
        pairs,
        session: session::Options {
            hostname: hostname.clone(),
            message_size: limits.message_size.0,
            recipients: limits.recipients,
            messages: limits.messages,
            errors: limits.errors,
            sign_in_failures: limits.sign_in_failures,
            mechanisms: mechanisms(config, accounts.oauth.is_some()),
            advice: TokenAdvice {
                scope: config.oauth.scope.clone(),
                discovery: config.oauth.discovery.clone(),
            },
            future_release: limits.future_release.0,
            tolerance: crate::smtp::Tolerance {
                bare_lf: match limits.bare_newline {
                    BareNewline::Convert => crate::smtp::BareLf::Convert,
                    BareNewline::Reject => crate::smtp::BareLf::Refuse,
                },
                long_lines: match config.intake.long_lines {
                    LongLines::Encode => crate::smtp::LongLines::Encode,
                    LongLines::Refuse => crate::smtp::LongLines::Refuse,
                },
            },
            contact: contact.clone(),
            postmaster,
            greeting: "ESMTP Gatepost ready".to_owned(),
            idle: timeouts.idle.0,
            line: timeouts.line.0,
            data: timeouts.data.0,
            data_rate: timeouts.data_rate,
            sign_in: timeouts.sign_in.0,
            session: timeouts.session.0,
        },
        connections: listener::Limits {
            sessions: limits.sessions,
            per_address: limits.sessions_per_address,
            handshakes: limits.handshakes,
            handshake: timeouts.handshake.0,
            write: timeouts.write.0,
            finish: timeouts.shutdown.0,
        },
        proxies: listener::Proxies {
            networks: proxies,
            header: timeouts.proxy_header.0,
        },
        accounts,
        visitors: tls::Visitors {
            asked: config.client_certificates.ask || config.client_certificates.require,
            required: config.client_certificates.require,
            authorities: path(&config.client_certificates.ca),
        },
        intake: intake::Options {
            hostname: hostname.clone(),
            header_octets: limits.header_size.0 as usize,
            header_fields: limits.header_fields,
            hops: limits.hops,
            contact: contact.clone(),
            reveal_client: config.intake.reveal_client,
            filters,
        },
        spool: spool::Options {
            directory: config.data_dir.join("spool"),
            inline_octets: config.spool.inline.0 as usize,
            batch: 256,
            reserve_octets: config.spool.reserve.0,
            reserve_inodes: config.spool.reserve_inodes,
            fresh: 1024,
            node: config.node.clone(),
        },
        queue: queue::Options {
            routes,
            schedule: Schedule {
                first: config.queue.retry_first.0,
                longest: config.queue.retry_longest.0,
                give_up_after: config.queue.give_up_after.0,
            },
            notices: Notices {
                first: config.queue.delay_notice.0,
                every: config.queue.delay_notice_again.0,
            },
            unprotected: Unprotected {
                notice: config.security.notice.0,
                give_up_strict: config.security.give_up_strict_after.0,
                give_up: config.security.give_up_after.0,
                ..Unprotected::default()
            },
            hostname: hostname.clone(),
            attempts: config.queue.attempts,
            attempts_per_hop: config.queue.attempts_per_route,
            waiting: 256,
            hold: config.queue.hold,
            stop_within: timeouts.shutdown.0,
        },
        deliver: deliver::Options {
            hostname: hostname.as_str().to_owned(),
            maildir_writers: config.queue.attempts,
            hops: hops(config, &hostname, own_ports),
            levels: levels.clone(),
        },
        dns: dns::Options {
            servers: config.dns.servers.iter().map(|it| it.0).collect(),
            trusted: config.dns.trusted.clone(),
            timeout: config.dns.timeout.0,
            entries: config.dns.entries,
            ..dns::Options::default()
        },
        sts: sts::Options {
            enabled: config.mta_sts.enabled,
            timeout: config.mta_sts.timeout.0,
            port: config.mta_sts.port,
            authorities: (!config.mta_sts.ca.as_os_str().is_empty())
                .then(|| config.mta_sts.ca.clone()),
            ..sts::Options::default()
        },
        tls_reports: tlsrpt::Options {
            enabled: config.tls_reports.enabled,
            organization: match config.tls_reports.organization.as_str() {
                "" => hostname.canonical(),
                organization => organization.to_owned(),
            },
            contact: match config.tls_reports.contact.as_str() {
                "" => contact,
                contact => contact.to_owned(),
            },
            from: reporter,
            hostname: hostname.clone(),
            window: config.tls_reports.window.0,
            authorities: (!config.tls_reports.ca.as_os_str().is_empty())
                .then(|| config.tls_reports.ca.clone()),
        },
        forecast: Forecast {
            hostname: Some(hostname),
            levels,
            within: config.security.forecast.0,
        },
    })
}

/// The author of reports on TLS.
fn reporter(config: &Config, wrong: &mut Wrong) -> Option<Mailbox> {
    let text = match config.tls_reports.from.as_str() {
        "" => format!("tls-reports@{}", config.hostname),
        from => from.to_owned(),
    };
    match Mailbox::parse(&text) {
        Ok(mailbox) => Some(mailbox),
        // What is wrong with the host's own name is told there.
        Err(_) if config.tls_reports.from.is_empty() => None,
        Err(error) => {
            complain(wrong, "tls_reports.from", format!("is no address: {error}"));
            None
        }
    }
}

/// What is asked of hand-offs to mail hosts.
fn levels(config: &Config, wrong: &mut Wrong) -> Levels {
    let security = &config.security;
    let mut domains = Vec::new();
    for (key, listed, level) in [
        ("security.verified", &security.verified, Level::Verified),
        ("security.encrypted", &security.encrypted, Level::Encrypted),
    ] {
        for (n, text) in listed.iter().enumerate() {
            match DomainPattern::parse(text) {
                Ok(pattern) => domains.push((pattern, level)),
                Err(error) => {
                    complain(wrong, &format!("{key}.{n}"), format!("\"{text}\": {error}"))
                }
            }
        }
    }
    let site = match security.level {
        SecurityLevel::Opportunistic => Level::Opportunistic,
        SecurityLevel::Encrypted => Level::Encrypted,
        SecurityLevel::Verified => Level::Verified,
    };
    Levels::new(site, domains)
}

/// How hosts of next hops are spoken to.
fn hops(config: &Config, hostname: &Domain, own_ports: Arc<[u16]>) -> deliver::hop::Options {
    let delivery = &config.delivery;
    let command = delivery.command.0;
    deliver::hop::Options {
        hello_name: hostname.clone(),
        connect: delivery.connect.0,
        opening: delivery.opening.0,
        timeouts: client::Timeouts {
            greeting: command,
            hello: command,
            handshake: delivery.handshake.0,
            sign_in: command,
            mail: command,
            rcpt: command,
            data: command,
            block: delivery.block.0,
            end_of_data: delivery.end_of_data.0,
            transaction: delivery.transaction.0,
            ..client::Timeouts::default()
        },
        waits: deliver::hop::Waits {
            first: delivery.back_off.0,
            longest: delivery.back_off_longest.0,
        },
        scratch: config.data_dir.join("spool").join("scratch"),
        own_ports,
    }
}

pub(super) fn complain(wrong: &mut Wrong, key: &str, text: impl Into<String>) {
    wrong.push((key.to_owned(), text.into()));
}

fn hostname(config: &Config, wrong: &mut Wrong) -> Option<Domain> {
    let text = match Domain::parse(&config.hostname) {
        _ if config.hostname.is_empty() => {
            "is missing: the server's own name, such as \"mail.example.org\"".to_owned()
        }
        Ok(name) if name.literal().is_some() => "must be a name, not an address".to_owned(),
        Ok(name) if !name.as_str().is_ascii() => "must be written in ASCII (xn--)".to_owned(),
        Ok(name) if name.is_fully_qualified() || name.as_str() == "localhost" => return Some(name),
        Ok(_) => "must be fully qualified, such as \"mail.example.org\"".to_owned(),
        Err(error) => error.to_string(),
    };
    complain(wrong, "hostname", text);
    None
}

fn postmaster(config: &Config, routes: Option<&RouteTable>, wrong: &mut Wrong) -> Option<Mailbox> {
    let text = match config.postmaster.as_str() {
        "" => {
            let domain = routes.and_then(first_local_domain);
            format!("postmaster@{}", domain.unwrap_or(&config.hostname))
        }
        address => address.to_owned(),
    };
    match Mailbox::parse(&text) {
        Ok(address) => {
            if routes.is_some_and(|routes| routes.lookup(&address, &Origin::default()).is_none()) {
                complain(
                    wrong,
                    "postmaster",
                    format!("no route takes mail for {address}"),
                );
            }
            Some(address)
        }
        // What is wrong with the host's own name was said there.
        Err(_) if config.postmaster.is_empty() => None,
        Err(error) => {
            complain(wrong, "postmaster", error.to_string());
            None
        }
    }
}

/// Where a postmaster is looked for first: a smarthost's domains are other people's.
fn first_local_domain(routes: &RouteTable) -> Option<&str> {
    let routes = routes.routes().iter();
    let local = routes.filter(|route| {
        matches!(
            route.transport,
            Transport::Maildir { .. } | Transport::Lmtp { .. }
        )
    });
    let mut domains = local.flat_map(|route| &route.domains);
    domains.find_map(|domain| match domain {
        DomainPattern::Exact(domain) => Some(domain.as_str()),
        DomainPattern::Below(_) | DomainPattern::Any => None,
    })
}

fn endpoints(config: &Config, wrong: &mut Wrong) -> Vec<listener::Endpoint> {
    let lists = [
        (
            "submissions",
            PortKind::Implicit,
            &config.listeners.submissions,
        ),
        (
            "submission",
            PortKind::StartTls,
            &config.listeners.submission,
        ),
    ];
    let mut seen = HashMap::new();
    let mut endpoints = Vec::new();
    for (name, kind, addresses) in lists {
        for (n, address) in addresses.iter().enumerate() {
            let key = format!("listeners.{name}.{n}");
            if address.port() != 0
                && let Some(first) = seen.insert(*address, key.clone())
            {
                complain(wrong, &key, format!("{address} stands at {first} too"));
            }
            endpoints.push(listener::Endpoint {
                address: *address,
                kind,
            });
        }
    }
    if endpoints.is_empty() {
        complain(wrong, "listeners", "no address to listen on");
    }
    endpoints
}

fn networks(key: &str, listed: &[String], wrong: &mut Wrong) -> Vec<throttle::Network> {
    let mut networks = Vec::new();
    for (n, network) in listed.iter().enumerate() {
        match network.parse::<throttle::Network>() {
            Ok(network) => networks.push(network),
            Err(error) => complain(wrong, &format!("{key}.{n}"), error.to_string()),
        }
    }
    networks
}

fn pairs(config: &Config, wrong: &mut Wrong) -> Vec<tls::PairFiles> {
    if config.certificates.is_empty() {
        complain(wrong, "certificates", "no certificate: TLS is all there is");
    }
    let mut default = None;
    for (n, pair) in config.certificates.iter().enumerate() {
        for (key, path) in [("cert", &pair.cert), ("key", &pair.key)] {
            if !is_plain(path) {
                complain(
                    wrong,
                    &format!("certificates.{n}.{key}"),
                    "must be an absolute path",
                );
            }
        }
        if pair.default && default.replace(n).is_some() {
            complain(
                wrong,
                &format!("certificates.{n}.default"),
                "another certificate is the default already",
            );
        }
    }
    let mut pairs: Vec<_> = config
        .certificates
        .iter()
        .map(|pair| tls::PairFiles {
            chain: pair.cert.clone(),
            key: pair.key.clone(),
        })
        .collect();
    if let Some(n) = default {
        pairs[..=n].rotate_right(1);
    }
    pairs
}

/// Absolute and without steps upwards: the working directory of a service means nothing.
pub(super) fn is_plain(path: &Path) -> bool {
    path.is_absolute() && !path.components().any(|part| part == Component::ParentDir)
}

fn path(path: &Path) -> Option<PathBuf> {
    (!path.as_os_str().is_empty()).then(|| path.to_owned())
}

/// Mail programs wait ten minutes for the answer to a message (RFC 5321 §4.5.3.2.6).
const FILTER_LIMIT_MAX: Duration = Duration::from_secs(590);

fn filters(config: &Config, wrong: &mut Wrong) -> Vec<Filter> {
    let mut filters = Vec::new();
    for (n, table) in config.filters.iter().enumerate() {
        let key = |name: &str| format!("filters.{n}.{name}");
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if table.name.is_empty() || !table.name.chars().all(is_name) {
            complain(wrong, &key("name"), "must be letters, digits, -, _ and .");
        }
        if table.timeout.0.is_zero() || table.timeout.0 > FILTER_LIMIT_MAX {
            complain(
                wrong,
                &key("timeout"),
                "must be above 0 and below ten minutes",
            );
        }
        let Some(address) = filter::Address::parse(&table.address) else {
            let text = "must be \"inet:HOST:PORT\" or \"unix:/path\"";
            complain(wrong, &key("address"), text);
            continue;
        };
        filters.push(Filter {
            name: table.name.clone(),
            address,
            limit: table.timeout.0,
            when_away: match table.when_away {
                WhenAway::Defer => filter::WhenAway::Defer,
                WhenAway::Accept => filter::WhenAway::Accept,
                WhenAway::Hold => filter::WhenAway::Hold,
            },
            body_max: usize::try_from(config.limits.message_size.0).unwrap_or(usize::MAX),
        });
    }
    filters
}

fn mechanisms(config: &Config, takes_tokens: bool) -> Vec<Mechanism> {
    let is_on = |mechanism: &Mechanism| match mechanism {
        // Dovecot, which is to go on with the exchanges of its users, can bind to no channel of ours.
        Mechanism::ScramSha256Plus => config.auth.scram && config.directory.kind != "dovecot",
        Mechanism::ScramSha256 => config.auth.scram,
        Mechanism::Plain => true,
        Mechanism::Login => config.auth.login,
        Mechanism::OAuthBearer | Mechanism::XOAuth2 => takes_tokens,
        Mechanism::External => config.client_certificates.ask || config.client_certificates.require,
    };
    Mechanism::ALL.into_iter().filter(is_on).collect()
}

fn accounts(config: &Config, passwords: &Passwords, wrong: &mut Wrong) -> accounts::Options {
    let auth = &config.auth;
    let limit = |limit: ThrottleLimit| throttle::Limit {
        minute: limit.minute,
        hour: limit.hour,
        day: limit.day,
    };
    let exempt = networks("auth.throttle.exempt", &auth.throttle.exempt, wrong);
    let options = accounts::Options {
        argon2_memory_kib: u32::try_from(auth.argon2_memory.0 / 1024).unwrap_or(u32::MAX),
        argon2_iterations: auth.argon2_iterations,
        argon2_parallelism: auth.argon2_parallelism,
        workers: match auth.workers {
            0 => accounts::Options::default().workers,
            workers => workers,
        },
        waiting: auth.waiting,
        remember: auth.remember.0,
        throttle: throttle::Limits {
            address: limit(auth.throttle.address.clone()),
            network: limit(auth.throttle.network.clone()),
            name: limit(auth.throttle.name.clone()),
        },
        scram: auth.scram,
        oauth: oauth(config, passwords, wrong),
        directory: directory(config, passwords, wrong),
        scram_iterations: auth.scram_iterations,
        brake: brake::Options {
            enabled: config.brake.enabled,
            learn: config.brake.learn.0,
            usual_hour: config.brake.usual_hour,
            usual_day: config.brake.usual_day,
            usual_new: config.brake.usual_new,
            delay: config.brake.delay.0.min(BRAKE_DELAY_MAX),
            ..brake::Options::default()
        },
        exempt,
    };
    if let Err(error) = options.check() {
        complain(wrong, "auth.argon2_memory", error.to_string());
    }
    options
}
