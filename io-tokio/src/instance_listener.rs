//! Connections from instances: TLS, the attach handshake, then reverse HTTP/2.

use std::time::Duration;

use crate::attach::{self, AttachError, Refusal};
use crate::clock::Clock;
use crate::net::{Io, Listener};
use crate::pool::Pool;
use crate::session::Session;
use crate::strangers::Strangers;
use crate::tls::RouterIdentity;

/// Accepts instances for as long as it runs. Without an `identity` it speaks plaintext, which is
/// for development and simulation.
///
/// Whoever has not proved who they are gets little: five seconds, one of a few places (1,024 in
/// all, 32 of one address), no memory beyond a small head, and of the log a few lines.
pub async fn serve<L: Listener>(mut listener: L, identity: Option<RouterIdentity>, pool: Pool) {
    let strangers = Strangers::new(Clock::start());
    loop {
        let (io, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(unsaid) = strangers.may_log() {
                    tracing::warn!(%error, unsaid, "an instance could not be accepted");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = strangers.admit(peer.ip()) else {
            if let Some(unsaid) = strangers.may_log() {
                tracing::warn!(%peer, unsaid, "too many have not attached; closed a connection");
            }
            continue;
        };
        let (identity, pool, strangers) = (identity.clone(), pool.clone(), strangers.clone());
        tokio::spawn(async move {
            let attached = async {
                match identity {
                    None => attach(io, Vec::new(), pool).await.map(Attached::Plain),
                    Some(identity) => {
                        let (io, exporter) = identity.accept(io).await?;
                        attach(io, exporter.to_vec(), pool).await.map(Attached::Tls)
                    }
                }
            };
            let attached = tokio::time::timeout(ATTACH_LIMIT, attached).await;
            drop(place);
            let error = match attached {
                Ok(Ok(Attached::Plain(run))) => return run.await,
                Ok(Ok(Attached::Tls(run))) => return run.await,
                Ok(Err(error)) => error,
                Err(_) => ListenError::TooSlow,
            };
            if let Some(unsaid) = strangers.may_log() {
                tracing::warn!(%peer, %error, unsaid, "attach failed");
            }
        });
    }
}

/// What is left to do once an instance is attached, by kind of connection.
enum Attached<P, T> {
    Plain(P),
    Tls(T),
}

/// Takes a connection through the handshake; what it returns drives the connection to its end.
async fn attach<S: Io>(
    mut io: S,
    exporter: Vec<u8>,
    pool: Pool,
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
    let instance = match pool.claim(claim, exporter).await {
        Ok(instance) => instance,
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
    #[error("the claim was refused: {0:?}")]
    Refused(Refusal),
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
    #[error("it took longer than {ATTACH_LIMIT:?}")]
    TooSlow,
}

const ATTACH_LIMIT: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
