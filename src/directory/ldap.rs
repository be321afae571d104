//! An LDAP server (RFC 4511): whoever can bind with a password has it (RFC 4513 §5.1).
//!
//! The name to bind as is either made from the login name, or found by a search as somebody who may
//! search. What goes into a name or a filter is escaped there (RFC 4514 §2.4, RFC 4515 §3).

use std::{path::PathBuf, sync::Arc, time::Duration};

use hyper::Uri;
use ldap3::{
    LdapConnAsync, LdapConnSettings, Scope, SearchEntry, SearchOptions, dn_escape, drive,
    ldap_escape,
};
use rustls::ClientConfig;
use secrecy::{ExposeSecret, SecretString};

use super::{Found, Question, Trouble};
use crate::{
    smtp::Mailbox,
    tls::{self, TlsError},
    web,
};

/// No such object; invalid credentials (RFC 4511 appendix A.1).
const NO_SUCH_OBJECT: u32 = 32;
const INVALID_CREDENTIALS: u32 = 49;

/// How an LDAP server is asked.
#[derive(Clone, Debug)]
pub struct Ldap {
    /// Read by [`ldap_url`].
    pub url: String,
    /// STARTTLS before anything else.
    pub starttls: bool,
    /// As whom to bind.
    pub who: Search,
    /// The attribute that holds the address; empty: none is asked for.
    pub address_attribute: String,
    /// Authorities to trust beside those of the system.
    pub authorities: Option<PathBuf>,
}

/// How the entry of a login name is found.
#[derive(Clone, Debug)]
pub enum Search {
    /// Its name follows from the login name.
    Name(BindDn),
    /// One entry below a base fits a filter.
    Filter {
        /// Where.
        base: String,
        /// What fits.
        filter: FilterPattern,
        /// Who may search; empty: anybody.
        search_dn: String,
        /// The password of that one.
        search_password: SecretString,
    },
}

/// An entry's name with `{user}`, `{local}` and `{domain}` to be filled in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BindDn(pub String);

/// A filter with the same.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FilterPattern(pub String);

impl BindDn {
    fn fill(&self, name: &str) -> String {
        fill(&self.0, name, |part| dn_escape(part).into_owned())
    }
}

impl FilterPattern {
    fn fill(&self, name: &str) -> String {
        fill(&self.0, name, |part| ldap_escape(part).into_owned())
    }
}

/// In one pass: what was filled in is not looked at again.
fn fill(pattern: &str, name: &str, escape: impl Fn(&str) -> String) -> String {
    let (local, domain) = name.rsplit_once('@').unwrap_or((name, ""));
    let parts = [("{user}", name), ("{local}", local), ("{domain}", domain)];
    let mut filled = String::new();
    let mut rest = pattern;
    'pattern: while let Some(c) = rest.chars().next() {
        for (mark, part) in parts {
            if let Some(behind) = rest.strip_prefix(mark) {
                filled.push_str(&escape(part));
                rest = behind;
                continue 'pattern;
            }
        }
        filled.push(c);
        rest = &rest[c.len_utf8()..];
    }
    filled
}

/// Reads the address of a server; gives it back with whether STARTTLS is needed.
///
/// # Errors
/// In words, where it is none, or one that passwords would travel to in the clear.
pub fn ldap_url(text: &str, starttls: bool) -> Result<(String, bool), String> {
    if text.starts_with("ldapi://") {
        return match starttls {
            true => Err("a Unix socket has no STARTTLS".to_owned()),
            false => Ok((text.to_owned(), false)),
        };
    }
    let uri: Uri = text.parse().map_err(|error| format!("no URL: {error}"))?;
    let host = uri.host().ok_or("a URL with a host is needed")?;
    match uri.scheme_str() {
        Some("ldaps") if starttls => Err("ldaps has no STARTTLS: it begins with TLS".to_owned()),
        Some("ldaps") => Ok((text.to_owned(), false)),
        Some("ldap") if starttls || web::is_this_machine(host) => Ok((text.to_owned(), starttls)),
        Some("ldap") => Err(
            "ldap without STARTTLS is for this machine only; use ldaps, or set starttls".to_owned(),
        ),
        Some(_) | None => Err("a URL begins with ldaps://, ldap:// or ldapi://".to_owned()),
    }
}

pub(super) struct Client {
    ldap: Ldap,
    settings: LdapConnSettings,
}

impl Client {
    pub(super) fn open(ldap: &Ldap, limit: Duration) -> Result<Self, TlsError> {
        let config: ClientConfig = tls::web_settings(ldap.authorities.as_deref())?;
        let settings = LdapConnSettings::new()
            .set_conn_timeout(limit)
            .set_starttls(ldap.starttls)
            .set_config(Arc::new(config));
        Ok(Client {
            ldap: ldap.clone(),
            settings,
        })
    }

    pub(super) async fn check(&self, question: &Question) -> Result<Option<Found>, Trouble> {
        let url = &self.ldap.url;
        let trouble = |error| Trouble::of(url, error);
        let connected = LdapConnAsync::with_settings(self.settings.clone(), url);
        let (connection, mut ldap) = connected.await.map_err(trouble)?;
        drive!(connection);
        let dn = match &self.ldap.who {
            Search::Name(pattern) => pattern.fill(&question.name),
            Search::Filter {
                base,
                filter,
                search_dn,
                search_password,
            } => {
                if !search_dn.is_empty() {
                    let password = search_password.expose_secret();
                    let bound = ldap.simple_bind(search_dn, password).await;
                    let bound = bound.and_then(ldap3::LdapResult::success);
                    bound.map_err(|error| Trouble::of("bind to search", error))?;
                }
                let filter = filter.fill(&question.name);
                // Two would do for nobody, so that no more are asked for.
                let most = SearchOptions::new().sizelimit(2);
                let found = ldap
                    .with_search_options(most)
                    .search(base, Scope::Subtree, &filter, vec!["1.1"])
                    .await
                    .map_err(trouble)?;
                let is_cut = found.1.rc == 4;
                let mut entries = match is_cut || found.1.rc == 0 {
                    true => found.0.into_iter().map(SearchEntry::construct),
                    false => return Err(Trouble::of("search", found.1)),
                };
                match (entries.next(), entries.next()) {
                    (Some(entry), None) if !is_cut => entry.dn,
                    (None, _) => return Ok(None),
                    (Some(_), _) => {
                        return Err(Trouble("more than one entry fits the filter".to_owned()));
                    }
                }
            }
        };
        let password = question.password.expose_secret();
        let bound = ldap.simple_bind(&dn, password).await.map_err(trouble)?;
        match bound.rc {
            0 => {}
            NO_SUCH_OBJECT | INVALID_CREDENTIALS => return Ok(None),
            _ => return Err(Trouble::of("bind", bound)),
        }
        let attribute = &self.ldap.address_attribute;
        let mut found = Found::default();
        if !attribute.is_empty() {
            let read = ldap
                .search(&dn, Scope::Base, "(objectClass=*)", vec![attribute])
                .await;
            // Some may bind and not read themselves.
            if let Ok((entries, _)) = read.and_then(ldap3::SearchResult::success) {
                let mut entries = entries.into_iter().map(SearchEntry::construct);
                found.address = entries.next().and_then(|entry| address(&entry, attribute));
            }
        }
        // It ends the connection; whether it arrives is no matter.
        let _ = ldap.unbind().await;
        Ok(Some(found))
    }
}

/// The first value that is an address. Attribute names know no case.
fn address(entry: &SearchEntry, attribute: &str) -> Option<Mailbox> {
    let mut attributes = entry.attrs.iter();
    let (_, values) = attributes.find(|(name, _)| name.eq_ignore_ascii_case(attribute))?;
    values.iter().find_map(|value| Mailbox::parse(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S18.
    #[test]
    fn names_cannot_break_out_of_names_and_filters() {
        let filter = FilterPattern("(&(mail={user})(ou={domain}))".to_owned());
        for (name, filled) in [
            ("a@b.example", "(&(mail=a@b.example)(ou=b.example))"),
            ("*", "(&(mail=\\2a)(ou=))"),
            (
                "a)(uid=*@b.example",
                "(&(mail=a\\29\\28uid=\\2a@b.example)(ou=b.example))",
            ),
            (
                "{domain}@b.example",
                "(&(mail={domain}@b.example)(ou=b.example))",
            ),
        ] {
            assert_eq!(filter.fill(name), filled, "{name}");
        }
        let dn = BindDn("uid={local},dc={domain},o=x".to_owned());
        for (name, filled) in [
            ("a@b.example", "uid=a,dc=b.example,o=x"),
            ("a,o=y@b.example", "uid=a\\2co\\3dy,dc=b.example,o=x"),
            ("alice", "uid=alice,dc=,o=x"),
        ] {
            assert_eq!(dn.fill(name).to_lowercase(), filled, "{name}");
        }
    }

    #[test]
    fn passwords_do_not_travel_in_the_clear() {
        for (url, starttls, fits) in [
            ("ldaps://ldap.example", false, true),
            ("ldaps://ldap.example:1636", false, true),
            ("ldaps://ldap.example", true, false),
            ("ldap://ldap.example", true, true),
            ("ldap://ldap.example", false, false),
            ("ldap://127.0.0.1:3389", false, true),
            ("ldap://[::1]", false, true),
            ("ldap://localhost.ldap.example", false, false),
            ("ldapi://%2frun%2fslapd%2fldapi", false, true),
            ("ldapi://%2frun%2fslapd%2fldapi", true, false),
            ("https://ldap.example", false, false),
            ("ldap.example", false, false),
            ("", false, false),
        ] {
            assert_eq!(ldap_url(url, starttls).is_ok(), fits, "{url} {starttls}");
        }
    }
}
