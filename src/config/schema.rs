//! Every key of the file, with its meaning and its default.

mod routes;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    fields::table,
    units::{Octets, Resolver, Span},
};

pub use routes::{
    HostTable, Recipients, Route, RouteAddresses, RouteCredential, RouteHost, RouteTls,
};

const fn seconds(n: u64) -> Span {
    Span(Duration::from_secs(n))
}

/// What becomes of a line feed without carriage return in mail data.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BareNewline {
    /// It becomes a full line end.
    Convert,
    /// The message is refused.
    Reject,
}

/// What becomes of lines over 998 octets in the body of a message.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LongLines {
    /// The parts that hold them are encoded.
    Encode,
    /// The message is refused.
    Refuse,
}

/// How well mail is protected on its way out.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SecurityLevel {
    /// TLS where it is offered.
    Opportunistic,
    /// TLS always.
    Encrypted,
    /// TLS with a host that proves to be the right one.
    Verified,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one object a line.
    Json,
}

table! {
    /// The whole file.
    Config {
        /// The server's own name in greetings and trace fields: fully qualified, and what the
        /// certificate says. Has no default.
        hostname: String = String::new(),
        /// Where the database, the spool and the control socket lie. Needs a restart to change.
        data_dir: PathBuf = "/var/lib/gatepost".into(),
        /// The user to become after ports and keys are open; empty: stay as started. Keys must be
        /// readable to that user too, or certificates cannot be reloaded. Needs a restart.
        user: String = String::new(),
        /// Name of this node in claims on queued mail. Needs a restart to change.
        node: String = "main".into(),
        /// Address that mail for `<Postmaster>` goes to; it must have a route and a mailbox.
        /// Empty: postmaster@ the first domain with local mailboxes, or else @ this host.
        postmaster: String = String::new(),
        /// Shown to people whose programs ask for HELP; empty: the postmaster's address.
        contact: String = String::new(),
        /// Where clients come in.
        listeners: Listeners = Listeners::default(),
        /// Certificates with their keys.
        certificates: Vec<Certificate> = Vec::new(),
        /// Where mail goes.
        routes: Vec<Route> = Vec::new(),
        /// How much is taken.
        limits: Limits = Limits::default(),
        /// How long is waited.
        timeouts: Timeouts = Timeouts::default(),
        /// Passwords.
        auth: Auth = Auth::default(),
        /// Tokens in place of passwords.
        oauth: OAuth = OAuth::default(),
        /// Users of somebody else's list.
        directory: Directory = Directory::default(),
        /// Certificates in place of passwords.
        client_certificates: ClientCertificates = ClientCertificates::default(),
        /// What is done where a password seems to be stolen.
        brake: Brake = Brake::default(),
        /// What is done to messages on their way in.
        intake: Intake = Intake::default(),
        /// Whose word is asked on messages.
        filters: Vec<Filter> = Vec::new(),
        /// Hand-off.
        queue: Queue = Queue::default(),
        /// Conversations with other servers.
        delivery: Delivery = Delivery::default(),
        /// Look-ups in the DNS.
        dns: Dns = Dns::default(),
        /// Policies that other domains publish.
        mta_sts: MtaSts = MtaSts::default(),
        /// What mail to other servers must be protected by.
        security: Security = Security::default(),
        /// Reports on TLS to domains that ask for them.
        tls_reports: TlsReports = TlsReports::default(),
        /// Custody.
        spool: Spool = Spool::default(),
        /// Logging.
        log: Log = Log::default(),
        /// Health and metrics.
        http: Http = Http::default(),
    }
}

table! {
    /// Addresses with ports to listen on; any number of each kind, IPv6 in brackets.
    Listeners {
        /// TLS from the first octet (submissions, RFC 8314).
        submissions: Vec<SocketAddr> = vec![([0, 0, 0, 0], 465).into(), (std::net::Ipv6Addr::UNSPECIFIED, 465).into()],
        /// STARTTLS before anything else (submission, RFC 6409).
        submission: Vec<SocketAddr> = vec![([0, 0, 0, 0], 587).into(), (std::net::Ipv6Addr::UNSPECIFIED, 587).into()],
        /// Networks of proxies, such as "10.0.0.0/8" or "2001:db8::/32". A connection from them must
        /// begin with a header of HAProxy's PROXY protocol, version 1 or 2, before TLS and before the
        /// greeting; the client that it names counts as the peer. From elsewhere none is read.
        proxy: Vec<String> = Vec::new(),
    }
}

table! {
    /// A certificate with its key; repeat the table for more. Clients choose by name (SNI).
    Certificate {
        /// PEM file: the certificate, then its intermediates.
        cert: PathBuf = PathBuf::new(),
        /// PEM file of the private key, readable to nobody else.
        key: PathBuf = PathBuf::new(),
        /// Serve this one to clients that name no known host; without a mark, the first.
        default: bool = false,
    }
}

/// What becomes of a message whose filter gives no answer.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenAway {
    /// The client is put off.
    Defer,
    /// It goes on without.
    Accept,
    /// It is accepted and held.
    Hold,
}

table! {
    /// A program whose word is asked on every message before it is accepted (milter); repeat the table
    /// for more, which are asked in this order.
    Filter {
        /// What the log calls it.
        name: String = String::new(),
        /// Where it listens: "inet:HOST:PORT" or "unix:/path".
        address: String = String::new(),
        /// How long it may take for a message, below ten minutes: mail programs wait no longer.
        timeout: Span = seconds(120),
        /// Where it gives no answer: "defer" (the client tries again, 451), "accept" (the message goes
        /// on without it), or "hold" (it is accepted and held, see gatepost held).
        when_away: WhenAway = WhenAway::Defer,
    }
}

table! {
    /// How much is taken from whom.
    Limits {
        /// Octets of a message; at least 64 KiB.
        message_size: Octets = Octets(50 << 20),
        /// Recipients of a message; at least 100 (RFC 5321 section 4.5.3.1.8).
        recipients: usize = 1000,
        /// Octets of a message's header section; at least 8 KiB.
        header_size: Octets = Octets(100 << 10),
        /// Header fields of a message; at least 100.
        header_fields: usize = 1000,
        /// Received fields at which a message is taken to loop; at least 30.
        hops: usize = 100,
        /// Connections at once.
        sessions: usize = 10_000,
        /// Connections at once from one IPv4 address or IPv6 /64.
        sessions_per_address: usize = 100,
        /// TLS handshakes at once, and as many proxies' connections whose header is still to come; the
        /// oldest gives way to the newest.
        handshakes: usize = 512,
        /// Messages in one session.
        messages: u32 = 1000,
        /// Failing commands in one session; at least 3.
        errors: u32 = 20,
        /// Failed sign-ins in one session; at least 3.
        sign_in_failures: u32 = 5,
        /// How far off a client may put the delivery of a message (FUTURERELEASE, RFC 4865); "0s": it
        /// may not.
        future_release: Span = seconds(7 * 86_400),
        /// A line feed alone in mail data: "convert" to a full line end, or "reject".
        bare_newline: BareNewline = BareNewline::Convert,
    }
}

table! {
    /// How long is waited, at least one second each: "30s", "5m", "72h".
    Timeouts {
        /// For a TLS handshake.
        handshake: Span = seconds(10),
        /// For the header of a proxy (`listeners.proxy`), from the start of its connection.
        proxy_header: Span = seconds(10),
        /// For the next command (RFC 5321 section 4.5.3.2.7 asks for five minutes).
        idle: Span = seconds(300),
        /// From the first octet of a command line to its last.
        line: Span = seconds(60),
        /// For the next octets of mail data (RFC 5321 section 4.5.3.2.5 asks for three minutes).
        data: Span = seconds(180),
        /// Octets a second that mail data must reach on the whole, after the time in `data`; 0: any.
        data_rate: u32 = 500,
        /// For a whole sign-in.
        sign_in: Span = seconds(60),
        /// For a whole session; mail data under way is not cut off by it, only by `data_rate`.
        session: Span = seconds(3600),
        /// For a client to take a batch of replies.
        write: Span = seconds(60),
        /// For sessions and deliveries to finish when the server stops.
        shutdown: Span = seconds(20),
    }
}

table! {
    /// Passwords and the work of checking them.
    Auth {
        /// Memory of one argon2id hash; at least 8 MiB outside of tests.
        argon2_memory: Octets = Octets(19 << 20),
        /// Passes over that memory.
        argon2_iterations: u32 = 2,
        /// Lanes.
        argon2_parallelism: u32 = 1,
        /// Hashes at once; 0: one for each core.
        workers: usize = 0,
        /// Sign-ins that may wait for a worker; the next is put off (454).
        waiting: usize = 256,
        /// How long a checked password is remembered; "0s": never.
        remember: Span = seconds(600),
        /// Offer SCRAM-SHA-256 and, on TLS 1.3, SCRAM-SHA-256-PLUS: mail programs that know them then
        /// never show the password. Passwords set while this is on can be proved so; others cannot,
        /// and a program that prefers SCRAM is refused until its password is set anew.
        scram: bool = false,
        /// Iterations of the keys of passwords set from here on; the mail program spends them at each
        /// sign-in, a thief of the database at each guess.
        scram_iterations: u32 = 600_000,
        /// Offer LOGIN, for printers and programs that know nothing else.
        login: bool = true,
        /// How many wrong guesses are looked at.
        throttle: Throttle = Throttle::default(),
    }
}

table! {
    /// Failed sign-ins after which further ones are put off (454), by minute, hour and day.
    Throttle {
        /// From one address.
        address: ThrottleLimit = ThrottleLimit { minute: 12, hour: 60, day: 200 },
        /// From one network (IPv4 /24, IPv6 /48).
        network: ThrottleLimit = ThrottleLimit { minute: 36, hour: 180, day: 600 },
        /// At one name.
        name: ThrottleLimit = ThrottleLimit { minute: 24, hour: 100, day: 300 },
        /// Networks that are neither counted nor stopped, such as "192.0.2.0/24".
        exempt: Vec<String> = Vec::new(),
    }
}

table! {
    /// One counter's limits.
    ThrottleLimit {
        /// Within any minute.
        minute: u32 = 12,
        /// Within any hour.
        hour: u32 = 60,
        /// Within any day.
        day: u32 = 200,
    }
}

table! {
    /// Tokens of an identity provider, by which programs sign in (OAUTHBEARER and XOAUTH2). Off while
    /// there is neither `keys` nor `introspection`.
    OAuth {
        /// Who issues the tokens, to the letter: their claim "iss".
        issuer: String = String::new(),
        /// Who the tokens are for: their claim "aud" must hold one of these.
        audience: Vec<String> = Vec::new(),
        /// The issuer's keys (JWKS): a URL, or the path of a file.
        keys: String = String::new(),
        /// URL that is asked about tokens that are no JWT (RFC 7662).
        introspection: String = String::new(),
        /// Who we are there.
        client_id: String = String::new(),
        /// Absolute path of a file that holds our secret there and nothing else, or "credential:NAME"
        /// for one that systemd hands over (LoadCredential=).
        client_secret_file: String = String::new(),
        /// How long its word on a token is remembered.
        remember: Span = seconds(60),
        /// The claim that holds the account's login name.
        claim: String = "email".into(),
        /// Put behind names without a domain; empty: nothing.
        domain: String = String::new(),
        /// What a token's scope must hold, words with spaces between; empty: anything.
        scope: String = String::new(),
        /// Where the issuer describes itself; told to programs whose token was refused.
        discovery: String = String::new(),
        /// How long the issuer may take to answer.
        timeout: Span = seconds(10),
        /// PEM file of authorities to trust beside those of the system.
        ca: PathBuf = PathBuf::new(),
    }
}

table! {
    /// Somebody else's list of users, asked about passwords that are not known here and never written
    /// to. A first good sign-in makes an account, which may then be given rights, limits and app
    /// passwords like any other.
    Directory {
        /// "dovecot", "ldap" or "https"; empty: none.
        kind: String = String::new(),
        /// Whether a first good sign-in makes an account; false: only those sign in who were added with
        /// gatepost user add --directory.
        create: bool = true,
        /// Put behind names without a domain, to make their address; empty: nothing.
        domain: String = String::new(),
        /// How long its word on a password is remembered: so long may one work that was changed.
        remember: Span = seconds(60),
        /// How long it may take to answer.
        timeout: Span = seconds(10),
        /// Questions at once; a quarter is kept for those who come from where they are known.
        at_once: usize = 16,
        /// dovecot: the socket of its auth service for clients.
        socket: PathBuf = "/run/dovecot/auth-client".into(),
        /// ldap: "ldaps://ldap.example.org", "ldap://…" (with STARTTLS, or on this machine) or
        /// "ldapi://%2frun%2fslapd%2fldapi". https: "https://…", asked by POST.
        url: String = String::new(),
        /// ldap: TLS before anything else, on ldap://.
        starttls: bool = false,
        /// ldap: the entry to bind as, with {user}, {local} and {domain} filled in, such as
        /// "uid={local},ou=people,dc=example,dc=org". Empty: it is searched for.
        bind_dn: String = String::new(),
        /// ldap: where it is searched for.
        base: String = String::new(),
        /// ldap: what its one entry fits.
        filter: String = "(mail={user})".into(),
        /// ldap: who may search; empty: anybody.
        search_dn: String = String::new(),
        /// ldap: absolute path of a file that holds the password for that, or "credential:NAME".
        search_password_file: String = String::new(),
        /// ldap: the attribute that holds the address; empty: none does.
        address_attribute: String = "mail".into(),
        /// https: absolute path of a file that holds a bearer token to show, or "credential:NAME".
        token_file: String = String::new(),
        /// ldap, https: PEM file of authorities to trust beside those of the system.
        ca: PathBuf = PathBuf::new(),
    }
}

table! {
    /// Certificates of clients, by which they sign in (EXTERNAL, on TLS 1.3); `gatepost user
    /// certificate` says which one opens which account.
    /// Needs a restart to change.
    ClientCertificates {
        /// Ask clients for one; they may come without. Some mail programs then bother their users.
        ask: bool = false,
        /// Serve nobody without one; where `ca` is set, one that it vouches for.
        require: bool = false,
        /// PEM file of authorities: a certificate that one of them signed opens the account whose
        /// login name is a mail address in it. Empty: only those certificates that were added.
        ca: PathBuf = PathBuf::new(),
    }
}

table! {
    /// The brake of accounts whose password seems to be stolen: their mail to other domains becomes
    /// slow, then is held, then put off. docs/operations.md tells which signals count.
    Brake {
        /// Judge accounts; `gatepost user brake NAME off` excepts one.
        enabled: bool = true,
        /// How long an account is watched before it is judged.
        learn: Span = seconds(7 * 86_400),
        /// Recipients within an hour that are usual for everybody; more is judged by what was usual
        /// for the account.
        usual_hour: u64 = 20,
        /// The same within a day.
        usual_day: u64 = 50,
        /// Recipients never written to before, within an hour, that are usual for everybody.
        usual_new: u64 = 10,
        /// How long slow mail waits; at most 12 hours.
        delay: Span = seconds(600),
    }
}

table! {
    /// What is done to messages on their way in.
    Intake {
        /// Show the client's address and EHLO name in the Received field.
        reveal_client: bool = false,
        /// Lines over 998 octets in the body: "encode" the parts that hold them (quoted-printable or
        /// base64), or "refuse" the message.
        long_lines: LongLines = LongLines::Encode,
    }
}

table! {
    /// Hand-off to the next hop.
    Queue {
        /// Accept mail but hand nothing on, for maintenance.
        hold: bool = false,
        /// Wait after the first failed attempt; doubled after each further one.
        retry_first: Span = seconds(60),
        /// Longest wait between attempts; at most 24 hours.
        retry_longest: Span = seconds(4 * 3600),
        /// Age at which a message that cannot be handed on is given up, and its sender told; RFC 5321
        /// section 4.5.4.1 asks for four to five days.
        give_up_after: Span = seconds(5 * 86_400),
        /// Age at which the sender of a message still waiting is told of the delay.
        delay_notice: Span = seconds(3600),
        /// Time between one such notice and the next.
        delay_notice_again: Span = seconds(86_400),
        /// Attempts at once; up to as many again while some of them do not move.
        attempts: usize = 64,
        /// Attempts at once on one route.
        attempts_per_route: usize = 32,
    }
}

table! {
    /// Conversations with other servers (routes of the transports "relay" and "lmtp"). The waits are
    /// those of RFC 5321 section 4.5.3.2.
    Delivery {
        /// For one address to answer a connection.
        connect: Span = seconds(30),
        /// For a connection to be ready for mail: look-up, greeting, TLS, sign-in.
        opening: Span = seconds(300),
        /// For the answer to each command.
        command: Span = seconds(300),
        /// For a TLS handshake.
        handshake: Span = seconds(60),
        /// For the other side to take a piece of the message.
        block: Span = seconds(180),
        /// For the answer to the end of the message; too short, and it comes twice.
        end_of_data: Span = seconds(600),
        /// For a message as a whole, up to its end.
        transaction: Span = seconds(4 * 3600),
        /// How long a host that cannot be spoken to is left alone; doubled after each further
        /// failure.
        back_off: Span = seconds(30),
        /// The most that this grows to.
        back_off_longest: Span = seconds(600),
    }
}

table! {
    /// Look-ups in the DNS, for routes of the transport "mx". DANE and verified delivery need a
    /// resolver that validates DNSSEC and is on this machine, such as unbound.
    Dns {
        /// Resolvers, "127.0.0.1" or "[::1]:5353"; empty: those of /etc/resolv.conf.
        servers: Vec<Resolver> = Vec::new(),
        /// Resolvers on other machines whose word on DNSSEC is believed. Whoever is on the way to one
        /// of them can forge it.
        trusted: Vec<IpAddr> = Vec::new(),
        /// For one resolver to answer one question.
        timeout: Span = seconds(5),
        /// Answers that are remembered at most.
        entries: usize = 10_000,
    }
}

table! {
    /// MTA-STS policies of recipients' domains (RFC 8461), for routes of the transport "mx". Needs a
    /// restart to change.
    MtaSts {
        /// Look for policies, and obey them.
        enabled: bool = true,
        /// For a policy to be fetched.
        timeout: Span = seconds(60),
        /// The port of policy hosts; another one is for laboratories.
        port: u16 = 443,
        /// PEM file of authorities to trust beside those of the system, for laboratories.
        ca: PathBuf = PathBuf::new(),
    }
}

table! {
    /// How well mail is protected on its way to the mail hosts of recipients' domains (routes of the
    /// transport "mx"). Of the levels that apply, the site's, the domain's, the account's and the
    /// message's own, the strictest counts. docs/security-of-delivery.md tells what each one means.
    Security {
        /// The site's level: "encrypted" (TLS always, and the host must prove itself wherever its
        /// domain publishes DANE or an enforced MTA-STS policy), "verified" (the host must prove
        /// itself always), or "opportunistic" (TLS only where it is offered).
        level: SecurityLevel = SecurityLevel::Encrypted,
        /// Recipient domains whose mail must be verified: "bank.example", or "*.bank.example" for
        /// every domain below it.
        verified: Vec<String> = Vec::new(),
        /// Recipient domains whose mail must be encrypted where the site's level asks for less.
        encrypted: Vec<String> = Vec::new(),
        /// How long RCPT waits to find out whether the domain can take the message at all; what is
        /// not known by then is found out later. "0s": RCPT asks nobody.
        forecast: Span = seconds(2),
        /// Time after which the sender of mail that waits for a protected host is told; sooner where
        /// several hosts were found unprotected.
        notice: Span = seconds(900),
        /// Time after which such mail is given up where it must be verified.
        give_up_strict_after: Span = seconds(86_400),
        /// The same for other mail.
        give_up_after: Span = seconds(3 * 86_400),
    }
}

table! {
    /// Reports on TLS to the recipients' domains that ask for them (RFC 8460), for routes of the
    /// transport "mx". Needs a restart to change.
    TlsReports {
        /// Count how sessions with mail hosts end, and report it once a day.
        enabled: bool = true,
        /// Who reports, in words; empty: the host's name.
        organization: String = String::new(),
        /// Whom their readers may ask; empty: as `contact`.
        contact: String = String::new(),
        /// Author of reports by mail; empty: tls-reports@ this host. Without a key (DKIM) of its domain,
        /// or of one above it, none are sent by mail.
        from: String = String::new(),
        /// Reports on a day go out at a random moment within this time after its end, in UTC.
        window: Span = seconds(4 * 3600),
        /// PEM file of authorities to trust beside those of the system, for laboratories.
        ca: PathBuf = PathBuf::new(),
    }
}

table! {
    /// Custody: mail answered with 250 and not yet handed on. Needs a restart to change.
    Spool {
        /// Bodies up to this size travel in the database, larger ones in files.
        inline: Octets = Octets(64 << 10),
        /// Free space that must remain; below it mail is put off (452).
        reserve: Octets = Octets(256 << 20),
        /// Free inodes that must remain.
        reserve_inodes: u64 = 1000,
    }
}

table! {
    /// Logs go to standard error. Needs a restart to change.
    Log {
        /// "json" or "text".
        format: LogFormat = LogFormat::Json,
        /// "error", "warn", "info", "debug" or "trace".
        level: String = "info".into(),
    }
}

table! {
    /// HTTP with /healthz and /metrics. Needs a restart to change.
    Http {
        /// Loopback addresses with ports to listen on; none: no HTTP.
        listen: Vec<SocketAddr> = vec![([127, 0, 0, 1], 9465).into()],
    }
}
