//! The server's half of SCRAM-SHA-256 (RFC 5802, RFC 7677).

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::peer::Peer;
use crate::sasl::{decode_base64, encode_base64};

fn hi(password: &str, salt: &[u8], iterations: u32) -> [u8; 32] {
    let mut block = hmac(password.as_bytes(), &[salt, &1_u32.to_be_bytes()].concat());
    let mut key = block;
    for _ in 1..iterations {
        block = hmac(password.as_bytes(), &block);
        key.iter_mut()
            .zip(block)
            .for_each(|(sum, octet)| *sum ^= octet);
    }
    key
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().into()
}

pub fn decoded(text: &str) -> String {
    String::from_utf8(decode_base64(text.as_bytes()).unwrap()).unwrap()
}

/// Plays it; true where the client knew the password.
pub async fn scram(peer: &mut Peer, password: &str) -> bool {
    let command = peer.hear().await;
    let client_first = decoded(command.strip_prefix("AUTH SCRAM-SHA-256 ").unwrap());
    let bare = client_first.strip_prefix("n,,").unwrap();
    let nonce = bare.split_once(",r=").unwrap().1;
    let salt = b"a salt";
    let server_first = format!("r={nonce}more,s={},i=4096", encode_base64(salt));
    peer.say(&format!(
        "334 {}\r\n",
        encode_base64(server_first.as_bytes())
    ))
    .await;

    let client_final = decoded(&peer.hear().await);
    let (without_proof, proof) = client_final.split_once(",p=").unwrap();
    let auth_message = format!("{bare},{server_first},{without_proof}");
    let salted = hi(password, salt, 4_096);
    let stored: [u8; 32] = Sha256::digest(hmac(&salted, b"Client Key")).into();
    let mut client_key = hmac(&stored, auth_message.as_bytes());
    let proof = decode_base64(proof.as_bytes()).unwrap();
    client_key
        .iter_mut()
        .zip(proof)
        .for_each(|(key, octet)| *key ^= octet);
    let knows: [u8; 32] = Sha256::digest(client_key).into();

    let signature = hmac(&hmac(&salted, b"Server Key"), auth_message.as_bytes());
    let server_final = format!("v={}", encode_base64(&signature));
    peer.say(&format!(
        "334 {}\r\n",
        encode_base64(server_final.as_bytes())
    ))
    .await;
    assert_eq!(peer.hear().await, "");
    peer.say("235 2.7.0 welcome\r\n").await;
    knows == stored
}
