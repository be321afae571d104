//! A connection that carries no mail, to see whether one could.

use super::{Options, setup::Setups, way::Way};
use crate::{
    client::{Cause, Protocol},
    deliver::smtp::{Connection, OpenCause, Shown},
    envelope::{Link, Status},
    policy::routes::{Credential, Hop, Host},
    smtp::EnhancedCode,
};

/// What a host answered up to where a message could begin.
#[derive(Clone, Debug)]
pub struct Answered {
    /// How far the connection came, and how it was encrypted.
    pub link: Link,
    /// What the host showed of itself.
    pub shown: Shown,
    /// Why no message could be sent; none where one could, behind a sign-in where there is a
    /// credential.
    pub refused: Option<(OpenCause, Status)>,
}

/// Connects as an attempt would: look-up, TLS with its proof, EHLO or LHLO, sign-in; then says QUIT.
///
/// Neither kept connections nor earlier failures of the host matter.
pub async fn probe(
    hop: &Hop,
    host: &Host,
    protocol: Protocol,
    credential: Option<&Credential>,
    options: &Options,
) -> Answered {
    let (setups, way) = (Setups::default(), Way::to(hop, host));
    let (target, setup) = match setups.of(&way, protocol, credential, options).await {
        Ok(setup) => setup,
        Err(error) => {
            let status = Status::new(EnhancedCode::new(4, 3, 5), error.to_string());
            return Answered {
                link: way.link(),
                shown: Shown::default(),
                refused: Some((OpenCause::Hop(Cause::Local), status)),
            };
        }
    };
    match Connection::open(&target, &setup).await {
        Ok(connection) => {
            let answered = Answered {
                link: connection.link().clone(),
                shown: connection.shown(),
                refused: None,
            };
            connection.quit().await;
            answered
        }
        Err(failure) => Answered {
            link: failure.link,
            shown: failure.shown,
            refused: Some((failure.cause, failure.status)),
        },
    }
}
