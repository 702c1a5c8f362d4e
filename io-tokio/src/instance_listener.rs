//! Connections from instances: TLS, the attach handshake, then reverse HTTP/2. Or, where that is
//! enabled, the original's wire, which is told apart by ALPN, and without TLS by its first bytes.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::attach::{self, AttachError, Refusal};
use crate::invited::Invited;
use crate::net::{Io, Listener};
use crate::session::Session;
use crate::tls::{self, RouterIdentity};
use crate::wire_v1::first_bytes::FirstBytes;
use crate::wire_v1::router::V1;

/// Accepts instances for as long as it runs. Without an `identity` it speaks plaintext, which is
/// for development and simulation; with `v1` it also speaks the original's wire.
///
/// Whoever has not proved who they are gets little: a few seconds, one of a bounded number of
/// places, and no memory beyond a small head.
pub async fn serve<L: Listener>(
    mut listener: L,
    identity: Option<RouterIdentity>,
    invited: Invited,
    v1: Option<V1>,
) {
    let places = Arc::new(Semaphore::new(UNAUTHENTICATED_MAX));
    loop {
        let (io, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "an instance could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!(%peer, "too many connections that have not attached; closed one");
            continue;
        };
        let v1 = v1.clone().filter(|v1| v1.allows(peer.ip()));
        let (identity, invited) = (identity.clone(), invited.clone());
        tokio::spawn(async move {
            let greeted = greet(io, identity, invited, v1, place);
            match tokio::time::timeout(ATTACH_LIMIT, greeted).await {
                Ok(Ok(run)) => run.await,
                Ok(Err(error)) => tracing::warn!(%peer, %error, "attach failed"),
                Err(_) => tracing::warn!(%peer, "attach took longer than {ATTACH_LIMIT:?}"),
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
    place: OwnedSemaphorePermit,
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
    let (session, connection) = Session::start(instance, io).await.map_err(ListenError::Http2)?;
    pool.attached(session, slots, lease, cold);
    Ok(connection.run(pool))
}

/// Why a connection did not become an instance's.
#[derive(Debug, thiserror::Error)]
enum ListenError {
    #[error(transparent)]
    Attach(#[from] AttachError),
    #[error("HTTP/2 did not begin: {0}")]
    Http2(h2::Error),
    #[error("the original's wire is not accepted from this address; see listen.wire_v1")]
    NotAllowed,
    #[error("the claim was refused: {0:?}")]
    Refused(Refusal),
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
}

/// Connections that have not attached yet, at once.
const UNAUTHENTICATED_MAX: usize = 1_024;
const ATTACH_LIMIT: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
