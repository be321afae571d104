//! Good and bad files, and the example.

use super::{
    example::{offers, sample},
    fields::Table,
    *,
};

const LEAST: &str = r#"hostname = "mail.example.org"
[[certificates]]
cert = "/c.pem"
key = "/k.pem"
[[routes]]
name = "local"
domains = ["example.org"]
path = "/m/{address}"
"#;

#[test]
fn the_example_is_the_defaults() {
    let text = example();
    let loaded = Loaded::parse("example", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(loaded.config, sample());
}

/// A newcomer who takes the marks away has what the lines say.
#[test]
fn the_routes_that_the_example_offers_are_good() {
    let uncovered: String = example()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => format!("{rest}\n"),
            Some(_) | None => format!("{line}\n"),
        })
        .collect();
    let loaded = Loaded::parse_with("example", &uncovered, &Passwords::Leave)
        .unwrap_or_else(|error| panic!("{error}\n{uncovered}"));
    let mut expected = sample();
    expected.routes.extend(offers().map(|(_, route)| route));
    assert_eq!(loaded.config, expected);
}

/// What people copy from the documentation is good, as a whole or beside a local route.
#[test]
fn the_examples_of_the_documentation_are_good() {
    let head = LEAST.split("[[routes]]").next().unwrap();
    let around = format!("postmaster = \"postmaster@boxes.example\"\n{head}");
    let boxes =
        "[[routes]]\nname = \"boxes\"\ndomains = [\"boxes.example\"]\npath = \"/m/{local}\"";
    for (page, text, count) in [
        ("routes.md", include_str!("../../docs/routes.md"), 12),
        ("README.md", include_str!("../../README.md"), 2),
        (
            "security-of-delivery.md",
            include_str!("../../docs/security-of-delivery.md"),
            1,
        ),
    ] {
        let blocks = fenced(text);
        assert_eq!(blocks.len(), count, "{page}");
        for block in blocks {
            let whole = match block.contains("hostname = ") {
                true => block.to_owned(),
                false => format!("{around}{block}\n{boxes}\n"),
            };
            let loaded = Loaded::parse_with(page, &whole, &Passwords::Leave);
            loaded.unwrap_or_else(|error| panic!("{error}\n{whole}"));
        }
    }
}

/// The blocks of TOML in a page, and what a shell would write into the configuration.
fn fenced(page: &str) -> Vec<&str> {
    let between = |text: &'static str, end: &'static str| {
        page.split(text)
            .skip(1)
            .filter_map(move |rest| rest.split(end).next())
    };
    between("\n```toml\n", "\n```")
        .chain(between("gatepost.toml <<'EOF'\n", "\nEOF\n"))
        .collect()
}

/// Every key of a route is explained where routes are.
#[test]
fn the_page_on_routes_has_every_key() {
    let page = include_str!("../../docs/routes.md");
    for key in Route::KEYS.iter().filter(|key| **key != "credentials") {
        assert!(page.contains(&format!("\n| `{key}` |")), "{key}");
    }
    for key in RouteCredential::KEYS.iter().chain(HostTable::KEYS) {
        assert!(page.contains(key), "{key}");
    }
}

#[test]
fn every_key_is_in_the_example() {
    let text = example();
    let tables = [
        Listeners::KEYS,
        Certificate::KEYS,
        Route::KEYS,
        RouteCredential::KEYS,
        Limits::KEYS,
        Timeouts::KEYS,
        Auth::KEYS,
        Throttle::KEYS,
        Intake::KEYS,
        Queue::KEYS,
        schema::OAuth::KEYS,
        schema::ClientCertificates::KEYS,
        schema::Brake::KEYS,
        schema::Dns::KEYS,
        schema::MtaSts::KEYS,
        schema::Security::KEYS,
        schema::TlsReports::KEYS,
        Spool::KEYS,
        Log::KEYS,
        Http::KEYS,
    ];
    for key in tables.concat() {
        let places = [
            format!("\n{key} = "),
            format!("\n#{key} = "),
            format!("[auth.{key}]"),
            format!("[[routes.{key}]]"),
        ];
        assert!(places.iter().any(|place| text.contains(place)), "{key}");
    }
    for key in Config::KEYS {
        let places = [format!("\n{key} = "), format!("[{key}]")];
        assert!(places.iter().any(|place| text.contains(place)), "{key}");
    }
}

#[test]
fn the_least_file_is_enough() {
    let loaded = Loaded::parse("f", LEAST).unwrap();
    assert_eq!(
        loaded.options.session.postmaster.to_string(),
        "postmaster@example.org"
    );
    assert_eq!(loaded.options.endpoints.len(), 4);
}

#[test]
fn nobody_is_a_proxy_who_is_not_listed() {
    let proxies = Loaded::parse("f", LEAST).unwrap().options.proxies;
    assert!(proxies.networks.is_empty());
    let listed = format!("{LEAST}[listeners]\nproxy = [\"10.0.0.0/8\", \"2001:db8::/32\"]\n");
    let proxies = Loaded::parse("f", &listed).unwrap().options.proxies;
    let shown: Vec<_> = proxies.networks.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.0.0.0/8", "2001:db8::/32"]);
}

/// S1, S32.
#[test]
fn a_stranger_gets_no_more_time_and_room_than_decided() {
    let options = Loaded::parse("f", LEAST).unwrap().options;
    assert_eq!(options.intake.header_octets, 100 << 10);
    assert_eq!(options.intake.header_fields, 1000);
    assert_eq!(options.connections.handshake.as_secs(), 10);
    assert_eq!(options.proxies.header.as_secs(), 10);
    assert_eq!(options.session.idle.as_secs(), 300);
    assert_eq!(options.session.line.as_secs(), 60);
    assert_eq!(options.session.data_rate, 500);
    assert_eq!(options.session.session.as_secs(), 3600);
}

#[test]
fn mistakes_are_explained_with_their_place() {
    // What is put behind the good file; line, key and words expected.
    for (more, line, key, words) in [
        (
            "[limits]\nmesage_size = 1\n",
            10,
            "limits.mesage_size",
            "\"message_size\"",
        ),
        (
            "[limits]\nmessage_size = 100\n",
            10,
            "limits.message_size",
            "65536",
        ),
        (
            "[limits]\nrecipients = 99\n",
            10,
            "limits.recipients",
            "100",
        ),
        (
            "[limits]\nsign_in_failures = 2\n",
            10,
            "limits.sign_in_failures",
            "3",
        ),
        (
            "[limits]\nmessage_size = \"5 MiX\"\n",
            10,
            "limits.message_size",
            "no size",
        ),
        (
            "[limits]\nbare_newline = \"rejekt\"\n",
            10,
            "limits.bare_newline",
            "reject",
        ),
        ("[timeouts]\nidle = \"5\"\n", 10, "timeouts.idle", "no time"),
        ("[timeouts]\nidle = \"999ms\"\n", 10, "timeouts.idle", "1s"),
        ("[timeout]\nidle = \"5m\"\n", 9, "timeout", "\"timeouts\""),
        (
            "[http]\nlisten = [\"192.0.2.1:80\"]\n",
            10,
            "http.listen.0",
            "loopback",
        ),
        (
            "[auth.throttle]\nexemt = []\n",
            10,
            "auth.throttle.exemt",
            "\"exempt\"",
        ),
        (
            "[listeners]\nsubmission = [\"[::]:25\"]\nsubmissions = [\"[::]:25\"]\n",
            11,
            "listeners.submission.0",
            "too",
        ),
        (
            "[listeners]\nproxy = [\"10.0.0.0/8\", \"10.0.0.0/33\"]\n",
            10,
            "listeners.proxy.1",
            "192.0.2.0/24",
        ),
        (
            "[timeouts]\nproxy_header = \"0s\"\n",
            10,
            "timeouts.proxy_header",
            "1s",
        ),
        (
            "[[routes]]\nname = \"b\"\ndomains = [\"*\"]\ntransport = \"mx\"\nhosts = [\"a:25\"]\n",
            13,
            "routes.1.hosts",
            "means nothing",
        ),
        (
            "[dns]\nservers = [\"localhost\"]\n",
            10,
            "dns.servers",
            "no resolver",
        ),
        (
            "[security]\nverified = [\"bank.example\", \"*.*.example\"]\n",
            10,
            "security.verified.1",
            "*.*.example",
        ),
        (
            "[security]\nlevel = \"secure\"\n",
            10,
            "security.level",
            "verified",
        ),
        (
            "[security]\nforecast = \"2m\"\n",
            10,
            "security.forecast",
            "60s",
        ),
        ("[mta_sts]\nport = 0\n", 10, "mta_sts.port", "from 1"),
        (
            "[tls_reports]\nfrom = \"nobody\"\n",
            10,
            "tls_reports.from",
            "no address",
        ),
        (
            "[tls_reports]\nwindow = \"25h\"\n",
            10,
            "tls_reports.window",
            "too long",
        ),
        (
            "[[routes]]\nname = \"b\"\ndomains = [\"EXAMPLE.org\"]\npath = \"/m/{local}\"\n",
            9,
            "routes.1",
            "example.org",
        ),
        ("[log]\nlevel = \"loud\"\n", 10, "log.level", "info"),
        ("x = = 1\n", 9, "", ""),
    ] {
        let error = Loaded::parse("f", &format!("{LEAST}{more}")).unwrap_err();
        let first = &error.0[0];
        if !key.is_empty() {
            assert_eq!(first.key, key, "{more}: {error}");
        }
        // A list in one line has all its items there.
        assert!(
            first.line.abs_diff(line) <= usize::from(key.starts_with("listeners")),
            "{more}: {error}"
        );
        assert!(first.text.contains(words), "{more}: {error}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_their_order() {
    let text = format!("{LEAST}[limits]\nrecipients = 1\nerrors = 0\n[timeouts]\nidle = \"0s\"\n");
    let error = Loaded::parse("f", &text).unwrap_err();
    let keys: Vec<_> = error.0.iter().map(|finding| finding.key.as_str()).collect();
    assert_eq!(
        keys,
        ["limits.recipients", "limits.errors", "timeouts.idle"]
    );
    assert!(
        error.0[0]
            .to_string()
            .starts_with("f:10:1: error: limits.recipients: ")
    );
}

#[test]
fn a_host_without_a_name_is_refused() {
    for name in [
        "",
        "mail",
        "[192.0.2.1]",
        "a..b",
        "mail_.",
        "b\u{fc}cher.example",
    ] {
        let text = LEAST.replace("mail.example.org", name);
        let error = Loaded::parse("f", &text).unwrap_err();
        assert_eq!(
            (error.0[0].key.as_str(), error.0[0].line),
            ("hostname", 1),
            "{name}"
        );
    }
}

#[test]
fn the_marked_certificate_is_served_first() {
    let text =
        format!("{LEAST}[[certificates]]\ncert = \"/d.pem\"\nkey = \"/e.pem\"\ndefault = true\n");
    let pairs = Loaded::parse("f", &text).unwrap().options.pairs;
    assert_eq!(pairs[0].chain, Path::new("/d.pem"));
    assert_eq!(pairs[1].chain, Path::new("/c.pem"));
}
