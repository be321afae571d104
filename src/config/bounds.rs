//! Values that are of the right kind but too small, too large or otherwise unusable.

use std::time::Duration;

use super::{
    options::{Wrong, complain},
    schema::Config,
};
use crate::spool;

/// Least and greatest values, in one table.
pub(super) fn bounds(config: &Config, wrong: &mut Wrong) {
    let (l, t, q) = (&config.limits, &config.timeouts, &config.queue);
    let d = &config.delivery;
    let numbers = [
        ("limits.message_size", l.message_size.0, 65_536, 1 << 40),
        ("limits.recipients", l.recipients as u64, 100, 100_000),
        ("limits.header_size", l.header_size.0, 8_192, 16 << 20),
        ("limits.header_fields", l.header_fields as u64, 100, 100_000),
        ("limits.hops", l.hops as u64, 30, 10_000),
        ("limits.sessions", l.sessions as u64, 1, 1_000_000),
        (
            "limits.sessions_per_address",
            l.sessions_per_address as u64,
            1,
            1_000_000,
        ),
        ("limits.handshakes", l.handshakes as u64, 1, 100_000),
        ("limits.messages", l.messages.into(), 1, u32::MAX.into()),
        ("limits.errors", l.errors.into(), 3, 10_000),
        ("limits.sign_in_failures", l.sign_in_failures.into(), 3, 100),
        ("auth.waiting", config.auth.waiting as u64, 1, 100_000),
        ("auth.workers", config.auth.workers as u64, 0, 4096),
        (
            "directory.at_once",
            config.directory.at_once as u64,
            1,
            1_000,
        ),
        (
            "auth.scram_iterations",
            config.auth.scram_iterations.into(),
            4_096,
            2_000_000,
        ),
        ("queue.attempts", q.attempts as u64, 1, 4096),
        (
            "queue.attempts_per_route",
            q.attempts_per_route as u64,
            1,
            4096,
        ),
        ("spool.inline", config.spool.inline.0, 0, 16 << 20),
        ("dns.entries", config.dns.entries as u64, 100, 10_000_000),
        ("mta_sts.port", config.mta_sts.port.into(), 1, 65_535),
    ];
    for (key, value, least, most) in numbers {
        if value < least || value > most {
            complain(
                wrong,
                key,
                format!("{value} is out of range, from {least} to {most}"),
            );
        }
    }
    let second = Duration::from_secs(1);
    for (key, value) in [
        ("timeouts.handshake", t.handshake),
        ("timeouts.proxy_header", t.proxy_header),
        ("timeouts.idle", t.idle),
        ("timeouts.line", t.line),
        ("timeouts.data", t.data),
        ("timeouts.sign_in", t.sign_in),
        ("timeouts.session", t.session),
        ("timeouts.write", t.write),
        ("timeouts.shutdown", t.shutdown),
        ("queue.retry_first", q.retry_first),
        ("queue.retry_longest", q.retry_longest),
        ("queue.give_up_after", q.give_up_after),
        ("queue.delay_notice", q.delay_notice),
        ("delivery.connect", d.connect),
        ("delivery.opening", d.opening),
        ("delivery.command", d.command),
        ("delivery.handshake", d.handshake),
        ("delivery.block", d.block),
        ("delivery.end_of_data", d.end_of_data),
        ("delivery.transaction", d.transaction),
        ("delivery.back_off", d.back_off),
        ("delivery.back_off_longest", d.back_off_longest),
        ("queue.delay_notice_again", q.delay_notice_again),
        ("security.notice", config.security.notice),
        ("dns.timeout", config.dns.timeout),
        ("mta_sts.timeout", config.mta_sts.timeout),
        (
            "security.give_up_strict_after",
            config.security.give_up_strict_after,
        ),
        ("security.give_up_after", config.security.give_up_after),
    ] {
        if value.0 < second {
            complain(wrong, key, format!("{value} is too short, the least is 1s"));
        }
    }
    let forecast = config.security.forecast;
    if forecast.0 > Duration::from_secs(60) {
        // Clients wait for an answer to RCPT, though not for ever.
        complain(wrong, "security.forecast", "is too long, the most is 60s");
    }
    if config.tls_reports.window.0 > Duration::from_secs(24 * 3600) {
        complain(wrong, "tls_reports.window", "is too long, the most is 24h");
    }
    if q.retry_longest.0 > spool::LONGEST_RETRY {
        complain(wrong, "queue.retry_longest", "is too long, the most is 24h");
    }
    if q.retry_first.0 > q.retry_longest.0 {
        complain(wrong, "queue.retry_first", "is longer than retry_longest");
    }
    if d.back_off.0 > d.back_off_longest.0 {
        complain(
            wrong,
            "delivery.back_off",
            "is longer than back_off_longest",
        );
    }
    let hour = Duration::from_secs(3600);
    if d.back_off_longest.0 > hour {
        complain(
            wrong,
            "delivery.back_off_longest",
            "is too long, the most is 1h",
        );
    }
    if !config.data_dir.is_absolute() {
        complain(wrong, "data_dir", "must be an absolute path");
    }
    if config.node.is_empty() || config.node.len() > 64 || !config.node.is_ascii() {
        complain(wrong, "node", "must be a name of 1 to 64 ASCII characters");
    }
    for (key, text) in [
        ("contact", &config.contact),
        ("tls_reports.contact", &config.tls_reports.contact),
        ("tls_reports.organization", &config.tls_reports.organization),
    ] {
        if text.chars().any(char::is_control) {
            complain(wrong, key, "must be one line without control characters");
        }
    }
    if config.log.level.parse::<tracing::Level>().is_err() {
        let text = "must be \"error\", \"warn\", \"info\", \"debug\" or \"trace\"";
        complain(wrong, "log.level", text);
    }
    for (n, address) in config.http.listen.iter().enumerate() {
        if !address.ip().is_loopback() {
            let text =
                format!("{address} is no loopback address; health and metrics have no password");
            complain(wrong, &format!("http.listen.{n}"), text);
        }
    }
}
