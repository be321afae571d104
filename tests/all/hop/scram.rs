//! SCRAM-SHA-256 from the side of a server that knows the password (RFC 5802 §3, RFC 7677), without
//! channel binding; apart from Gatepost's own, which it is to be held against.

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Our part of the nonce; a test may be foretold.
pub const NONCE: &str = "hop-says-so";
pub const SALT: &[u8] = b"salt of the hop.";
const ITERATIONS: u32 = 4096;

/// An exchange behind the client's first message.
pub struct Exchange {
    pub name: String,
    pub server_first: String,
    client_first_bare: String,
    nonce: String,
    salt: Vec<u8>,
    /// The header that the client's last message repeats.
    header: String,
}

impl Exchange {
    /// None where the message is malformed or asks for channel binding.
    pub fn begin(client_first: &str, nonce: &str, salt: &[u8]) -> Option<Exchange> {
        let header = ["n,,", "y,,"]
            .into_iter()
            .find(|h| client_first.starts_with(h))?;
        let bare = &client_first[header.len()..];
        let (name, client_nonce) = bare.strip_prefix("n=")?.split_once(",r=")?;
        let nonce = format!("{client_nonce}{nonce}");
        Some(Exchange {
            name: name.replace("=2C", ",").replace("=3D", "="),
            server_first: format!("r={nonce},s={},i={ITERATIONS}", BASE64.encode(salt)),
            client_first_bare: bare.to_owned(),
            nonce,
            salt: salt.to_vec(),
            header: header.to_owned(),
        })
    }

    /// The server's last message, where the client has proved that it knows the password.
    pub fn finish(&self, client_final: &str, password: &str) -> Option<String> {
        let (without_proof, proof) = client_final.rsplit_once(",p=")?;
        let binding = BASE64.encode(self.header.as_bytes());
        if without_proof != format!("c={binding},r={}", self.nonce) {
            return None;
        }
        let salted = salted_password(password.as_bytes(), &self.salt, ITERATIONS);
        let auth_message = [&self.client_first_bare, &self.server_first, without_proof].join(",");
        let stored_key = Sha256::digest(hmac(&salted, b"Client Key"));
        let client_signature = hmac(&stored_key, auth_message.as_bytes());
        let proof = BASE64.decode(proof.as_bytes()).ok()?;
        let client_key: Vec<u8> = proof
            .iter()
            .zip(client_signature)
            .map(|(a, b)| a ^ b)
            .collect();
        if proof.len() != 32 || Sha256::digest(client_key) != stored_key {
            return None;
        }
        let server_key = hmac(&salted, b"Server Key");
        let signature = hmac(&server_key, auth_message.as_bytes());
        Some(format!("v={}", BASE64.encode(&signature)))
    }
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// `Hi` of RFC 5802 §2.2.
fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> [u8; 32] {
    let mut block = hmac(password, &[salt, &1u32.to_be_bytes()].concat());
    let mut sum = block;
    for _ in 1..iterations {
        block = hmac(password, &block);
        for (sum, octet) in sum.iter_mut().zip(block) {
            *sum ^= octet;
        }
    }
    sum
}

/// The exchange of RFC 7677 §3.
#[test]
fn the_servers_side_is_that_of_the_rfc() {
    let salt = BASE64.decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let exchange = Exchange::begin(
        "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        &salt,
    )
    .unwrap();
    assert_eq!(
        exchange.server_first,
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
         s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    let client_final = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    let server_final = exchange.finish(client_final, "pencil").unwrap();
    assert_eq!(
        server_final,
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    );
    assert_eq!(exchange.finish(client_final, "pen"), None);
    let other_nonce = client_final.replace("hNlF", "hNlE");
    assert_eq!(exchange.finish(&other_nonce, "pencil"), None);
}
