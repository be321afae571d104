//! What is valid and can still not be what anybody wants.

use super::{Finding, Level, Loaded};
use crate::{
    directory::{Options, Service},
    policy::{
        routes::{DomainPattern, Transport},
        throttle::Network,
    },
};

pub(super) fn cautions(loaded: &Loaded) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (n, text) in loaded.config.listeners.proxy.iter().enumerate() {
        if text.parse::<Network>().is_ok_and(|it| it.is_everybody()) {
            let key = format!("listeners.proxy.{n}");
            let text = "anybody may say from where he comes, and no throttle holds him; \
                        list the addresses of your proxies only";
            findings.push(loaded.finding(&key, text, Level::Warning));
        }
    }
    let directory = loaded.options.accounts.directory.as_ref();
    let knows_no_proofs = |it: &Options| !matches!(it.service, Service::Dovecot(_));
    if directory.is_some_and(knows_no_proofs) && loaded.config.auth.scram {
        let text = "programs that prefer SCRAM fail with passwords of the directory, which knows no \
                    proofs; app passwords work with it";
        findings.push(loaded.finding("auth.scram", text, Level::Warning));
    }
    for (n, route) in loaded.options.queue.routes.routes().iter().enumerate() {
        let takes_all = route.domains.contains(&DomainPattern::Any) && route.origins.is_empty();
        if takes_all && matches!(route.transport, Transport::Discard) {
            let key = format!("routes.{n}.transport");
            let text = "mail for everybody elsewhere is accepted and thrown away";
            findings.push(loaded.finding(&key, text, Level::Warning));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(proxy: &str, routes: &str) -> Vec<String> {
        let text = format!(
            "hostname = \"mail.example.org\"\n\
             [listeners]\nproxy = {proxy}\n\
             [[certificates]]\ncert = \"/c.pem\"\nkey = \"/k.pem\"\n\
             [[routes]]\nname = \"local\"\ndomains = [\"example.org\"]\npath = \"/m/{{address}}\"\n\
             {routes}"
        );
        let loaded = Loaded::parse("f", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let findings = loaded.cautions().into_iter();
        findings.map(|finding| finding.key).collect()
    }

    #[test]
    fn who_trusts_everybody_as_a_proxy_is_warned() {
        assert!(keys("[\"10.0.0.0/8\", \"::1\"]", "").is_empty());
        assert_eq!(
            keys("[\"10.0.0.0/8\", \"0.0.0.0/0\", \"::/0\"]", ""),
            ["listeners.proxy.1", "listeners.proxy.2"]
        );
        assert_eq!(keys("[\"::ffff:0.0.0.0/96\"]", ""), ["listeners.proxy.0"]);
    }

    #[test]
    fn who_throws_all_mail_away_is_warned() {
        let route = |domain: &str, more: &str| {
            format!(
                "[[routes]]\nname = \"away\"\ndomains = [\"{domain}\"]\n{more}\
                 transport = \"discard\"\n"
            )
        };
        assert!(keys("[]", &route("test.example", "")).is_empty());
        assert!(keys("[]", &route("*", "senders = [\"test.example\"]\n")).is_empty());
        assert_eq!(keys("[]", &route("*", "")), ["routes.1.transport"]);
    }
}
