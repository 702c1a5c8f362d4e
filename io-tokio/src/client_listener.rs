//! Connections from clients: HTTP/1.1, HTTP/2 over TLS, and HTTP/2 in plain text by prior
//! knowledge.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::exchange::Edge;
use crate::net::{Io, Listener};
use crate::patience::{Activity, Limits, Patient};

/// Accepts clients until `stop` becomes true, then lets their requests finish: connections close
/// after their response, HTTP/2 clients are told to go away. Returns when the last has closed.
pub async fn serve<L: Listener>(
    mut listener: L,
    tls: Option<TlsAcceptor>,
    edge: Arc<Edge>,
    mut stop: watch::Receiver<bool>,
) {
    let connections = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        let (io, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a client could not be accepted");
                // Most often out of descriptors: let some close.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (edge, watcher, peer) = (Arc::clone(&edge), connections.watcher(), peer.ip());
        match &tls {
            None => {
                tokio::spawn(connection(io, peer, false, edge, watcher));
            }
            Some(tls) => {
                let handshake = tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(io));
                tokio::spawn(async move {
                    if let Ok(Ok(io)) = handshake.await {
                        connection(io, peer, true, edge, watcher).await;
                    }
                });
            }
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// Serves one connection. An error is the client's: it has gone, or spoke nonsense and was told so.
fn connection<S: Io>(
    io: S,
    peer: IpAddr,
    is_tls: bool,
    edge: Arc<Edge>,
    watcher: Watcher,
) -> impl Future<Output = ()> + Send {
    let builder = builder(&edge);
    let limits = Limits { idle: edge.settings().keep_alive, head: edge.settings().head };
    let activity = Activity::default();
    let io = Patient::new(io, limits, activity.clone());
    let service = service_fn(move |request| {
        let (edge, busy) = (Arc::clone(&edge), activity.begin());
        async move {
            let mut response = edge.serve(request, peer, is_tls).await;
            response.body_mut().keep(busy);
            Ok::<_, Infallible>(response)
        }
    });
    async move {
        let connection = builder.serve_connection(TokioIo::new(io), service).into_owned();
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%peer, %error, "client connection ended");
        }
    }
}

/// hyper reads a head into one buffer, whose size is therefore the limit of a head.
fn builder(edge: &Edge) -> auto::Builder<TokioExecutor> {
    let settings = edge.settings();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // Patient keeps the time.
        .header_read_timeout(None)
        .max_buf_size(settings.head_bytes_max)
        .max_headers(settings.headers_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.h2_streams_max)
        .max_header_list_size(u32::try_from(settings.head_bytes_max).unwrap_or(u32::MAX))
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .max_send_buf_size(H2_SEND_BUFFER)
        .keep_alive_interval(settings.keep_alive)
        .keep_alive_timeout(H2_PONG_LIMIT);
    builder
}

const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const H2_STREAM_WINDOW: u32 = 256 << 10;
const H2_CONNECTION_WINDOW: u32 = 1 << 20;
const H2_SEND_BUFFER: usize = 128 << 10;
const H2_PONG_LIMIT: Duration = Duration::from_secs(20);
