//! Connections from clients: HTTP/1.1, HTTP/2 over TLS, and HTTP/2 in plain text by prior
//! knowledge.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::header;
use http::{Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::admission::Place;
use crate::edge::Edge;
use crate::exchange::CLOSE;
use crate::framing::HeadLimits;
use crate::guard::{Guarded, Passage};
use crate::interim::{Interim, WithInterim};
use crate::net::{Io, Listener};
use crate::patience::{Activity, Busy, Limits, Patient};
use crate::relay::ResponseBody;
use crate::request_head::Origin;
use crate::stalled::Streams;

/// Accepts clients until `stop` says how long to wait for last requests, then lets their requests
/// finish: connections close after their response, HTTP/2 clients are told to go away. Returns when
/// the last has closed.
///
/// A client that is busy always has a request on its way, and closing the connection under that
/// would lose it. HTTP/2 has a goaway that loses nothing, which is said at once. In HTTP/1 every
/// response says at first that it is the last on its connection, and only after that time those
/// that are idle even then are closed.
pub async fn serve<L: Listener>(
    mut listener: L,
    tls: Option<TlsAcceptor>,
    edge: Arc<Edge>,
    stop: watch::Receiver<Option<Duration>>,
) {
    let (close, _) = broadcast::channel(1);
    let (open, mut all_closed) = mpsc::channel(1);
    let start = |io, peer| {
        let Some(place) = edge.admit(peer) else { return };
        let end = End { stopped: stop.clone(), close: close.subscribe(), _open: open.clone() };
        let edge = Arc::clone(&edge);
        match &tls {
            None => {
                tokio::spawn(connection(io, Origin::new(peer, false), edge, place, end));
            }
            Some(tls) => {
                let handshake = timeout(HANDSHAKE_LIMIT, tls.accept(io));
                tokio::spawn(async move {
                    if let Ok(Ok(io)) = handshake.await {
                        connection(io, Origin::new(peer, true), edge, place, end).await;
                    }
                });
            }
        }
    };
    let mut stop = stop.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(Option::is_some) => break,
            accepted = listener.accept() => accepted,
        };
        let (io, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(unsaid) = edge.seldom().may_log() {
                    tracing::warn!(%error, unsaid, "a client could not be accepted");
                }
                // Most often out of descriptors: let some close.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        start(io, peer.ip());
    }
    // Who has connected before now has been taken, as far as it can tell.
    while let Ok(Ok((io, peer))) = timeout(Duration::ZERO, listener.accept()).await {
        start(io, peer.ip());
    }
    drop(listener);
    drop(open);
    // There may be nobody.
    close.send(()).ok();
    let last_requests = stop.borrow().unwrap_or_default();
    if timeout(last_requests, all_closed.recv()).await.is_ok() {
        return;
    }
    drop(close);
    while all_closed.recv().await.is_some() {}
}

/// What a connection hears of its listener's end, and the listener of its.
///
/// The order to close is a channel's end, because that wakes whoever waits for it in order; the
/// listeners of a watch, and with it those of hyper's own GracefulShutdown, are woken by chance.
struct End {
    /// Every response is the last.
    stopped: watch::Receiver<Option<Duration>>,
    /// Says once that the connection is to close if its client can be told, and ends when it is to
    /// close in any case, as soon as it can.
    close: broadcast::Receiver<()>,
    /// Dropped when the connection has closed.
    _open: mpsc::Sender<Infallible>,
}

/// Serves one connection, which has its `place` until it has closed, as what it may have switched
/// to. An error is the client's: it has gone, or spoke nonsense and was told so.
fn connection<S: Io>(
    io: S,
    origin: Origin,
    edge: Arc<Edge>,
    place: Place,
    end: End,
) -> impl Future<Output = ()> + Send {
    let builder = builder(&edge);
    let settings = edge.settings();
    let limits =
        Limits { idle: settings.keep_alive, head: settings.head, read: settings.patience.idle };
    let heads = HeadLimits {
        bytes: settings.head_bytes_max,
        headers: settings.headers_max,
        target: settings.target_bytes_max,
    };
    let (activity, passage, interim) =
        (Activity::default(), Passage::new(place), Interim::default());
    let io = WithInterim::new(Patient::new(io, limits, activity.clone()), interim.clone());
    let io = Guarded::new(io, heads, activity.clone(), passage.clone());
    let peer = origin.peer;
    let (stopped, requests) = (end.stopped.clone(), activity.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let refusal = passage.refusal(requests.begun());
        let (edge, mut busy, stopped) = (Arc::clone(&edge), requests.begin(), stopped.clone());
        let (origin, passage, interim) = (origin.clone(), passage.clone(), interim.clone());
        async move {
            let version = request.version();
            let mut response = match refusal {
                Some(bad) => edge.refuse(request, peer, bad),
                None => edge.serve(request, &origin, &interim).await,
            };
            let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            if switches {
                passage.switch();
            }
            // A connection that is switched says so with the same header.
            if version < Version::HTTP_2 && !switches && stopped.borrow().is_some() {
                response.headers_mut().insert(header::CONNECTION, CLOSE);
            }
            if version == Version::HTTP_10 {
                fit_to_http_1_0(&mut response, &mut busy);
            }
            if response.status().canonical_reason().is_none() {
                // HTTP/1 has a place for one, where hyper would say `<none>`.
                response.extensions_mut().insert(NO_PHRASE);
            }
            response.body_mut().keep(busy);
            Ok::<_, Infallible>(response)
        }
    });
    async move {
        // All of it, not only what is used: the listener waits for the rest.
        let mut end = end;
        let mut connection =
            pin!(builder.serve_connection_with_upgrades(TokioIo::new(io), service).into_owned());
        let ended = match until_told(connection.as_mut(), &mut end, &activity).await {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "client connection ended");
        }
    }
}

/// Runs `connection` to its end, which it returns, or until it is to close.
async fn until_told<C: Future>(
    mut connection: Pin<&mut C>,
    end: &mut End,
    activity: &Activity,
) -> Option<C::Output> {
    {
        let mut stop = pin!(end.close.recv());
        let mut is_heard = false;
        let is_stopped = || end.stopped.has_changed().unwrap_or(true);
        let ended = poll_fn(|cx| {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(Some(ended));
            }
            // Asked once, it wakes this task. Only from the stop on there can be an answer.
            if !std::mem::replace(&mut is_heard, true) || is_stopped() {
                return stop.as_mut().poll(cx).map(|_| None);
            }
            Poll::Pending
        });
        if let Some(ended) = ended.await {
            return Some(ended);
        }
    }
    let mut close = pin!(end.close.recv());
    poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(Some(ended));
        }
        let is_told = activity.is_h2() || close.as_mut().poll(cx).is_ready();
        if is_told { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}

/// What has no end of its own ends with its connection, and says so.
fn fit_to_http_1_0(response: &mut Response<ResponseBody>, busy: &mut Busy) {
    let body = response.body();
    let has_end = body.is_end_stream() || body.size_hint().exact().is_some();
    if !has_end && !response.headers().contains_key(header::CONTENT_LENGTH) {
        busy.end_with_connection();
        response.headers_mut().insert(header::CONNECTION, CLOSE);
    }
    if response.headers().contains_key(header::CONNECTION) {
        // To one of HTTP/1.1 hyper would add that the connection is kept, if the client asked so.
        *response.version_mut() = Version::HTTP_10;
    }
}

/// Heads of HTTP/1 are measured before hyper sees them; it has to be able to take what passed.
fn builder(edge: &Edge) -> auto::Builder<Streams> {
    let settings = edge.settings();
    let mut builder = auto::Builder::new(Streams { limit: settings.patience.idle });
    builder
        .http1()
        .timer(TokioTimer::new())
        // Patient keeps the time.
        .header_read_timeout(None)
        .max_buf_size(settings.head_bytes_max);
    // Named only where needed, since hyper then prepares for them anew with each head.
    if settings.headers_max > HYPERS_HEADERS_MAX {
        builder.http1().max_headers(settings.headers_max);
    }
    // Each stream may fill its own window while nobody reads it, for it waits for a slot or its app
    // is slow, and the others still have theirs. What waits is bounded by the pool's queue.
    let connection_window =
        H2_STREAM_WINDOW.saturating_mul(settings.h2_streams_max).min(H2_WINDOW_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.h2_streams_max)
        .max_header_list_size(u32::try_from(settings.head_bytes_max).unwrap_or(u32::MAX))
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(connection_window)
        .max_send_buf_size(H2_SEND_BUFFER)
        .keep_alive_interval(settings.keep_alive)
        .keep_alive_timeout(H2_PONG_LIMIT)
        .enable_connect_protocol();
    builder
}

/// How many header lines hyper takes if it is not told.
const HYPERS_HEADERS_MAX: usize = 100;
const NO_PHRASE: ReasonPhrase = ReasonPhrase::from_static(b"");
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const H2_STREAM_WINDOW: u32 = 256 << 10;
/// By the standard (RFC 9113, 6.9.1).
const H2_WINDOW_MAX: u32 = (1 << 31) - 1;
const H2_SEND_BUFFER: usize = 128 << 10;
const H2_PONG_LIMIT: Duration = Duration::from_secs(20);
