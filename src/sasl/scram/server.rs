//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS from the side of the server.
//!
//! ```text
//! client-first ──► first ──► ServerFirst (whose keys are needed)
//!                            ServerFirst::challenge(ring, nonce) ──► server-first
//! client-final ──► ServerFinal::check ──► ServerAnswer (whose proof it was, server-final)
//! ```
//!
//! Channel binding is `tls-exporter` (RFC 9266), and `tls-server-end-point` (RFC 5929 §4) for
//! clients that know no better.

use std::fmt;

use subtle::ConstantTimeEq;

use super::{Ring, ScramKeys};
use crate::sasl::{NAME_MAX, decode_base64, encode_base64, prepare};

/// Random octets that the server adds to the client's nonce.
pub const SERVER_NONCE_OCTETS: usize = 18;
/// Octets of a client's nonce at most; those seen have between 16 and 44.
const CLIENT_NONCE_MAX: usize = 512;

/// What of a channel an exchange can be bound to.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Bindings {
    /// RFC 9266 §2: keying material of this connection alone.
    pub exporter: Option<[u8; 32]>,
    /// RFC 5929 §4: hash of the server's certificate, where it is known which one was shown.
    pub server_end_point: Option<Box<[u8]>>,
}

impl fmt::Debug for Bindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bindings")
            .field("exporter", &self.exporter.is_some())
            .field("server_end_point", &self.server_end_point.is_some())
            .finish()
    }
}

impl Bindings {
    fn of(&self, kind: &str) -> Option<&[u8]> {
        match kind {
            "tls-exporter" => self.exporter.as_ref().map(|octets| &octets[..]),
            "tls-server-end-point" => self.server_end_point.as_deref(),
            _ => None,
        }
    }
}

/// How the client is to treat the channel, by the mechanism it chose and what was on offer.
#[derive(Clone, Copy, Debug)]
pub(in crate::sasl) enum Demand<'a> {
    /// SCRAM-SHA-256-PLUS: bound to one of these.
    Bound(&'a Bindings),
    /// SCRAM-SHA-256 where -PLUS was on offer too: who says that it was not has been deceived.
    UnboundByChoice,
    /// SCRAM-SHA-256, and no more was on offer.
    Unbound,
}

/// A client that said who it is.
pub(in crate::sasl) struct ServerFirst {
    /// Authorization identity, prepared.
    pub authzid: Option<String>,
    /// Authentication identity, prepared.
    pub authcid: String,
    nonce: String,
    bare: String,
    /// What `c=` must hold, decoded.
    binding: Vec<u8>,
}

/// Reads a client-first message; `None` where it breaks RFC 5802 §7 or the demand.
pub(in crate::sasl) fn first(message: &[u8], demand: Demand<'_>) -> Option<ServerFirst> {
    let text = std::str::from_utf8(message).ok()?;
    let (flag, rest) = text.split_once(',')?;
    let (authzid, bare) = rest.split_once(',')?;
    let data: &[u8] = match (demand, flag) {
        (Demand::Bound(bindings), _) => bindings.of(flag.strip_prefix("p=")?)?,
        (Demand::UnboundByChoice | Demand::Unbound, "n") | (Demand::Unbound, "y") => &[],
        _ => return None,
    };
    let header = &text[..text.len() - bare.len()];
    let authzid = match authzid {
        "" => None,
        given => Some(name(given.strip_prefix("a=")?)?),
    };
    let mut attributes = bare.split(',');
    let authcid = name(attributes.next()?.strip_prefix("n=")?)?;
    let nonce = attributes.next()?.strip_prefix("r=")?;
    if nonce.len() > CLIENT_NONCE_MAX || !is_printable(nonce) || !attributes.all(is_extension) {
        return None;
    }
    Some(ServerFirst {
        authzid,
        authcid,
        nonce: nonce.to_owned(),
        bare: bare.to_owned(),
        binding: [header.as_bytes(), data].concat(),
    })
}

impl ServerFirst {
    /// Goes on with the keys of the name; gives the server-first message too.
    pub fn challenge(
        self,
        ring: Ring,
        random: &[u8; SERVER_NONCE_OCTETS],
    ) -> (ServerFinal, Vec<u8>) {
        let nonce = format!("{}{}", self.nonce, encode_base64(random));
        let salt = encode_base64(&ring.salt);
        let message = format!("r={nonce},s={salt},i={}", ring.iterations);
        let next = ServerFinal {
            authzid: self.authzid,
            authcid: self.authcid,
            nonce,
            binding: self.binding,
            said: format!("{},{message},", self.bare),
            ring,
        };
        (next, message.into_bytes())
    }
}

/// A client that is to prove who it is.
pub(in crate::sasl) struct ServerFinal {
    pub authzid: Option<String>,
    pub authcid: String,
    nonce: String,
    binding: Vec<u8>,
    /// Both first messages, as both sides sign them.
    said: String,
    ring: Ring,
}

/// A proof that was good.
#[derive(Debug)]
pub struct ServerAnswer {
    /// Which of the ring's keys it was made with.
    pub label: i64,
    /// Those keys.
    pub keys: ScramKeys,
    /// The server-final message, our own proof.
    pub message: Vec<u8>,
}

impl ServerFinal {
    /// Reads a client-final message; `None` where it is malformed, bound to another channel, or its
    /// proof is of no password of the ring.
    pub fn check(&self, message: &[u8]) -> Option<ServerAnswer> {
        let text = std::str::from_utf8(message).ok()?;
        let (without_proof, proof) = text.rsplit_once(",p=")?;
        let mut attributes = without_proof.split(',');
        let binding = decode_base64(attributes.next()?.strip_prefix("c=")?.as_bytes())?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        let proof: [u8; 32] = decode_base64(proof.as_bytes())?.try_into().ok()?;
        let is_bound = bool::from(binding.ct_eq(&self.binding));
        if !is_bound || nonce != self.nonce || !attributes.all(is_extension) {
            return None;
        }
        let auth_message = format!("{}{without_proof}", self.said);
        let auth_message = auth_message.as_bytes();
        let mut found = None;
        // All of them, so that the time tells no place in the ring.
        for labelled in &self.ring.keys {
            if labelled.keys.proves(&proof, auth_message).into() {
                found = Some(labelled);
            }
        }
        found.map(|labelled| ServerAnswer {
            label: labelled.label,
            keys: labelled.keys.clone(),
            message: format!(
                "v={}",
                encode_base64(&labelled.keys.signature(auth_message))
            )
            .into_bytes(),
        })
    }
}

/// `saslname` (RFC 5802 §7), prepared.
fn name(text: &str) -> Option<String> {
    let mut parts = text.split('=');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (sign, rest) = if let Some(rest) = part.strip_prefix("2C") {
            (',', rest)
        } else {
            ('=', part.strip_prefix("3D")?)
        };
        name.push(sign);
        name.push_str(rest);
    }
    if name.len() > NAME_MAX {
        return None;
    }
    prepare(&name).filter(|name| name.len() <= NAME_MAX)
}

/// `printable` (RFC 5802 §7), at least one; a comma cannot be in it any more.
fn is_printable(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| (b'!'..=b'~').contains(&b))
}

/// `attr-val` of an extension that may be ignored (RFC 5802 §5.1): not the mandatory `m`.
fn is_extension(text: &str) -> bool {
    match text.as_bytes() {
        [name, b'=', _, ..] => name.is_ascii_alphabetic() && *name != b'm' && !text.contains('\0'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sasl::{Derivation, LabelledKeys, ScramClient};

    const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    fn keys(password: &str, salt: &[u8], iterations: u32) -> ScramKeys {
        Derivation::new(password.into(), salt.to_vec(), iterations)
            .run()
            .keys()
    }

    fn ring(passwords: &[&str]) -> Ring {
        let salt = decode_base64(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let labelled = |(label, password): (i64, &&str)| LabelledKeys {
            label,
            keys: keys(password, &salt, 4_096),
        };
        Ring {
            keys: (0..).zip(passwords).map(labelled).collect(),
            iterations: 4_096,
            salt: salt.into(),
        }
    }

    /// The exchange of RFC 7677 §3 as the server sees it; its server nonce is no base64, so it is put
    /// in by hand.
    fn rfc_7677(passwords: &[&str]) -> ServerFinal {
        let begun = first(FIRST.as_bytes(), Demand::Unbound).unwrap();
        assert_eq!(begun.authcid, "user");
        let (mut next, _) = begun.challenge(ring(passwords), &[0; SERVER_NONCE_OCTETS]);
        next.nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".into();
        next.said = format!(
            "n=user,r=rOprNGfwEbeRWgbNEkqO,r={},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,",
            next.nonce
        );
        next
    }

    #[test]
    fn the_exchange_of_rfc_7677() {
        let answer = rfc_7677(&["other", "pencil"]).check(FINAL.as_bytes());
        let answer = answer.unwrap();
        assert_eq!(answer.label, 1);
        assert_eq!(
            answer.message,
            b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
        assert!(rfc_7677(&["other"]).check(FINAL.as_bytes()).is_none());
        assert!(rfc_7677(&[]).check(FINAL.as_bytes()).is_none());
    }

    /// R5802-5.1c, R5802-6d.
    #[test]
    fn an_altered_final_message_fails() {
        for (from, to) in [
            ("c=biws", "c=eSws"),
            ("c=biws", "c=biwsYQ=="),
            ("c=biws", "c="),
            ("c=biws", "c=biw"),
            ("c=biws,", ""),
            ("$k0", "$k1"),
            ("r=rOpr", "r=Opr"),
            ("p=dHzb", "p=eHzb"),
            ("p=dHzb", "p=AAAAdHzb"),
            (",p=", ",m=x,p="),
            (",p=", ",p"),
            ("p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "p="),
        ] {
            let altered = FINAL.replace(from, to);
            assert_ne!(altered, FINAL);
            let answer = rfc_7677(&["pencil"]).check(altered.as_bytes());
            assert!(answer.is_none(), "{altered}");
        }
        assert!(rfc_7677(&["pencil"]).check(b"\xff").is_none());
    }

    /// R5802-5a, R5802-5.1a, R5802-5.1b, R5802-5.1e.
    #[test]
    fn first_messages() {
        for (message, name) in [
            ("n,,n=user,r=abc", Some("user")),
            ("y,,n=user,r=abc", Some("user")),
            ("n,a=other,n=user,r=abc", Some("user")),
            ("n,,n=a=2Cb=3Dc,r=abc", Some("a,b=c")),
            ("n,,n=a=3D,r=abc", Some("a=")),
            ("n,,n=I\u{ad}X,r=abc", Some("IX")),
            ("n,,n=user,r=abc,z=1,x=yes", Some("user")),
            ("n,,n=user,r=abc,m=1", None),
            ("n,,m=1,n=user,r=abc", None),
            ("n,,n=user,r=abc,zz=1", None),
            ("n,,n=user,r=abc,z=", None),
            ("n,,n=user,r=abc,", None),
            ("n,,n=user,r=", None),
            ("n,,n=user,r=a b", None),
            ("n,,n=user,r=a\u{e4}b", None),
            ("n,,n=user,r=a\x7fb", None),
            ("n,,n=user", None),
            ("n,,n=,r=abc", None),
            ("n,,n=a=2X,r=abc", None),
            ("n,,n=a=2c,r=abc", None),
            ("n,,n=a=,r=abc", None),
            ("n,,n=\u{7},r=abc", None),
            ("n,,r=abc,n=user", None),
            ("n,other,n=user,r=abc", None),
            ("n,a=,n=user,r=abc", None),
            ("n,n=user,r=abc", None),
            ("x,,n=user,r=abc", None),
            ("N,,n=user,r=abc", None),
            (",,n=user,r=abc", None),
            ("p=tls-exporter,,n=user,r=abc", None),
            ("", None),
        ] {
            let read = first(message.as_bytes(), Demand::Unbound);
            assert_eq!(read.map(|it| it.authcid).as_deref(), name, "{message:?}");
        }
        let long = |n: usize| format!("n,,n=user,r={}", "a".repeat(n));
        assert!(first(long(512).as_bytes(), Demand::Unbound).is_some());
        assert!(first(long(513).as_bytes(), Demand::Unbound).is_none());
        assert!(first(b"n,,n=\xff,r=abc", Demand::Unbound).is_none());
    }

    /// R5802-6b, R5802-6c, R9266-3a.
    #[test]
    fn a_downgrade_is_refused_and_so_is_a_binding_that_there_is_not() {
        let both = Bindings {
            exporter: Some([1; 32]),
            server_end_point: Some(Box::new([2; 32])),
        };
        let exporter = Bindings {
            server_end_point: None,
            ..both.clone()
        };
        for (flag, demand, taken) in [
            ("n", Demand::Unbound, true),
            ("y", Demand::Unbound, true),
            ("n", Demand::UnboundByChoice, true),
            ("y", Demand::UnboundByChoice, false),
            ("p=tls-exporter", Demand::UnboundByChoice, false),
            ("p=tls-exporter", Demand::Bound(&both), true),
            ("p=tls-server-end-point", Demand::Bound(&both), true),
            ("p=tls-server-end-point", Demand::Bound(&exporter), false),
            ("p=tls-unique", Demand::Bound(&both), false),
            ("p=", Demand::Bound(&both), false),
            ("p", Demand::Bound(&both), false),
            ("n", Demand::Bound(&both), false),
            ("y", Demand::Bound(&both), false),
        ] {
            let message = format!("{flag},,n=user,r=abc");
            let read = first(message.as_bytes(), demand);
            assert_eq!(read.is_some(), taken, "{flag} {demand:?}");
        }
    }

    /// R9266-2a: the proof covers the channel's own octets.
    #[test]
    fn a_proof_made_for_another_channel_fails() {
        for (channel, taken) in [([1; 32], true), ([9; 32], false)] {
            let bindings = Bindings {
                exporter: Some([1; 32]),
                server_end_point: None,
            };
            let begun = first(b"p=tls-exporter,,n=user,r=abc", Demand::Bound(&bindings)).unwrap();
            let (next, said) = begun.challenge(ring(&["pencil"]), &[7; SERVER_NONCE_OCTETS]);
            let said = String::from_utf8(said).unwrap();
            let nonce = said[2..].split(',').next().unwrap();
            let binding = [&b"p=tls-exporter,,"[..], &channel].concat();
            let without_proof = format!("c={},r={nonce}", encode_base64(&binding));
            let auth_message = format!("n=user,r=abc,{said},{without_proof}");
            let derived = Derivation::new("pencil".into(), ring(&[]).salt.to_vec(), 4_096).run();
            let mut proof =
                super::super::keys::hmac(derived.keys().stored_key(), auth_message.as_bytes());
            for (octet, key) in proof.iter_mut().zip(derived.client_key().iter()) {
                *octet ^= key;
            }
            let last = format!("{without_proof},p={}", encode_base64(&proof));
            assert_eq!(next.check(last.as_bytes()).is_some(), taken);
        }
    }

    #[test]
    fn our_client_and_our_server_prove_themselves_to_each_other() {
        let password = "p\u{ad}assword\u{a0}\u{2168}";
        let (mut client, said) = ScramClient::start("a,b=c", &[3; 24]).unwrap();
        let begun = first(&said, Demand::UnboundByChoice).unwrap();
        assert_eq!(begun.authcid, "a,b=c");
        let ring = ring(&["password IX"]);
        let (server, said) = begun.challenge(ring, &[5; SERVER_NONCE_OCTETS]);
        let derivation = client.challenged(&said, &password.into()).unwrap();
        let answer = server.check(&client.derived(&derivation.run())).unwrap();
        assert_eq!(client.verified(&answer.message), Ok(()));
    }

    proptest! {
        #[test]
        fn no_message_of_a_client_panics(
            one in "([nyp],,)?(n=[a-z=,23CD]{0,6})?(,r=[!-~]{0,6})?[a-z,=]{0,6}",
            two in "(c=[a-zA-Z=]{0,6})?(,r=[!-~]{0,30})?(,p=[A-Za-z0-9=,]{0,46})?",
        ) {
            if let Some(begun) = first(one.as_bytes(), Demand::Unbound) {
                let (next, _) = begun.challenge(
                    Ring { salt: Box::new([1]), iterations: 1, keys: Vec::new() },
                    &[1; SERVER_NONCE_OCTETS],
                );
                prop_assert!(next.check(two.as_bytes()).is_none());
            }
        }
    }
}
