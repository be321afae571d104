//! Signatures, the last thing that is done to a message (RFC 6376 §5.3).

use super::{
    Refusal,
    encode::{Finished, blocking},
};
use crate::{dkim::Signers, spool::Spool};

/// The same message with the signatures of those who sign on top. The body is read where it lies.
pub(super) async fn sign(
    spool: &Spool,
    signers: Signers,
    message: Finished,
) -> Result<Finished, Refusal> {
    if signers.is_empty() {
        return Ok(message);
    }
    let source = spool.place_of(&message.body);
    let unsigned = message.header;
    let signed = blocking(move || {
        let mut body = source.open()?;
        signers.sign(&unsigned, &mut *body)
    });
    let header = signed
        .await?
        .map_err(|error| Refusal::Signing(error.to_string()))?;
    Ok(Finished { header, ..message })
}
