//! Connections from instances: TLS, the attach handshake, then reverse HTTP/2. Or, where that is
//! enabled, the original's wire, which is told apart by ALPN, and without TLS by its first bytes.

use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use crate::admission::{Admission, Bounds, Place};
use crate::attach::{self, AttachError, Refusal};
use crate::clock::Clock;
use crate::invited::Invited;
use crate::net::{Io, Listener};
use crate::seldom::Seldom;
use crate::session::Session;
use crate::tls::{self, RouterIdentity};
use crate::wire_v1::first_bytes::FirstBytes;
use crate::wire_v1::router::V1;

/// Accepts instances for as long as it runs. Without an `identity` it speaks plaintext, which is
/// for development and simulation; with `v1` it also speaks the original's wire.
///
/// Whoever has not proved who they are gets little: five seconds, one of a few places (beside
/// those that are expected, 1,024 in all and 32 of one address), no memory beyond a small head,
/// and of the log a few lines.
pub async fn serve<L: Listener>(
    mut listener: L,
    identity: Option<RouterIdentity>,
    invited: Invited,
    v1: Option<V1>,
) {
    let (strangers, seldom) = (Admission::default(), Seldom::new(Clock::start()));
    loop {
        let (io, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(unsaid) = seldom.may_log() {
                    tracing::warn!(%error, unsaid, "an instance could not be accepted");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = admit(&strangers, peer.ip(), invited.len()) else {
            if let Some(unsaid) = seldom.may_log() {
                tracing::warn!(%peer, unsaid, "too many have not attached; closed a connection");
            }
            continue;
        };
        let v1 = v1.clone().filter(|v1| v1.allows(peer.ip()));
        let (identity, invited) = (identity.clone(), invited.clone());
        let seldom = seldom.clone();
        tokio::spawn(async move {
            // Boxed, so that what only the beginning needs is not kept as long as the connection.
            let greeted = Box::pin(greet(io, identity, invited, v1, place));
            let error = match tokio::time::timeout(ATTACH_LIMIT, greeted).await {
                Ok(Ok(run)) => return run.await,
                Ok(Err(error)) => error,
                Err(_) => ListenError::TooSlow,
            };
            if let Some(unsaid) = seldom.may_log() {
                tracing::warn!(%peer, %error, unsaid, "attach failed");
            }
        });
    }
}

/// What drives a connection to its end.
type Run = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Finds out what is spoken on a connection, and takes it as far as serving.
async fn greet<S: Io>(
    io: S,
    identity: Option<RouterIdentity>,
    invited: Invited,
    v1: Option<V1>,
    place: Place,
) -> Result<Run, ListenError> {
    match (identity, v1) {
        (Some(identity), v1) => {
            let (io, exporter) = identity.accept_either(io).await?;
            match v1 {
                Some(v1) if tls::is_v1(&io) => Ok(Box::pin(v1.serve(io, place))),
                None if tls::is_v1(&io) => Err(ListenError::NotAllowed),
                Some(_) | None => Ok(Box::pin(attach(io, exporter.to_vec(), invited).await?)),
            }
        }
        (None, Some(v1)) => {
            let io = FirstBytes::of(io).await.map_err(AttachError::Io)?;
            if io.are_http2() {
                return Ok(Box::pin(v1.serve(io, place)));
            }
            Ok(Box::pin(attach(io, Vec::new(), invited).await?))
        }
        (None, None) => Ok(Box::pin(attach(io, Vec::new(), invited).await?)),
    }
}

/// A place for somebody at `peer` who has yet to say who they are, while so many instances are
/// `expected`.
///
/// Each stranger costs a socket and a task until it has attached or its time is over, so there are
/// few. Both bounds are above the number of instances that are expected: in AWS hundreds of them
/// share an address, that of a subnet's interface or of a NAT gateway, and come at once in a burst.
/// This machine itself is not counted: in development all instances are here.
fn admit(strangers: &Admission, peer: IpAddr, expected: usize) -> Option<Place> {
    let bounds =
        Bounds { all: STRANGERS_MAX + expected, of_address: STRANGERS_OF_ADDRESS_MAX + expected };
    strangers.admit((!peer.to_canonical().is_loopback()).then_some(peer), bounds)
}

/// Takes a connection through the handshake; what it returns drives the connection to its end.
async fn attach<S: Io>(
    mut io: S,
    exporter: Vec<u8>,
    invited: Invited,
) -> Result<impl Future<Output = ()> + Send + use<S>, ListenError> {
    let claim = match attach::read(&mut io).await {
        Ok(claim) => claim,
        Err(error) => {
            // The handshake has failed already; that the answer may fail too changes nothing.
            drop(attach::refuse(&mut io, Refusal::BadRequest).await);
            return Err(error.into());
        }
    };
    let (slots, lease, cold) = (u32::from(claim.slots), claim.lease, claim.cold);
    let (pool, instance) = match invited.claim(&claim, &exporter) {
        Ok(claimed) => claimed,
        Err(refusal) => {
            attach::refuse(&mut io, refusal).await?;
            return Err(ListenError::Refused(refusal));
        }
    };
    attach::accept(&mut io).await?;
    let (session, connection) = Session::start(instance, slots, io);
    pool.attached(session, slots, lease, Some(cold));
    Ok(connection.run(pool))
}

/// Why a connection did not become an instance's.
#[derive(Debug, thiserror::Error)]
enum ListenError {
    #[error(transparent)]
    Attach(#[from] AttachError),
    #[error("the original's wire is not accepted from this address; see listen.wire_v1")]
    NotAllowed,
    #[error("the claim was refused: {0:?}")]
    Refused(Refusal),
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    #[error("it took longer than {ATTACH_LIMIT:?}")]
    TooSlow,
}

/// Connections that have not attached yet, at once, beside those that are expected.
const STRANGERS_MAX: usize = 1_024;
/// Of them, those from one address.
const STRANGERS_OF_ADDRESS_MAX: usize = 32;
const ATTACH_LIMIT: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(strangers: &Admission, from: &str, expected: usize) -> Vec<Place> {
        let from = from.parse().unwrap();
        (0..3_000).map_while(|_| admit(strangers, from, expected)).collect()
    }

    #[test]
    fn one_address_cannot_take_the_places_of_others() {
        let strangers = Admission::default();
        let places = admitted(&strangers, "10.0.0.1", 0);
        assert_eq!(places.len(), 32);
        assert_eq!(admitted(&strangers, "10.0.0.2", 0).len(), 32);
        let this_machine = admitted(&strangers, "::ffff:127.0.0.1", 0);
        assert_eq!(this_machine.len(), 1_024 - places.len());
    }

    #[test]
    fn as_many_as_are_expected_may_share_an_address() {
        assert_eq!(admitted(&Admission::default(), "10.0.0.1", 1_000).len(), 1_032);
    }
}
