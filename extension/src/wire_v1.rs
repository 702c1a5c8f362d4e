//! The link to a router of the original; see [`io_tokio::wire_v1`] for what is spoken on it.
//!
//! ```text
//!  router ◀── POST … ── channel ── relay ─▶ ┐
//!  router ◀── POST … ── channel ── relay ─▶ ├ app
//!  router ◀── POST … ── channel ── relay ─▶ ┘
//! ```
//!
//! Each channel waits for a request and relays it, with what relays a stream of our own wire. The
//! machine's orders become what the wire has: a ping is `GET …/ping`, a goaway is `GET …/close`,
//! after which the router releases the channels.
//!
//! A channel that is reset is opened again, for it says only that a client is gone. All channels
//! end when the router has told one of them to leave, or one cannot be opened again; those that
//! carry a request finish it. A router that does not release the others in time is not waited for.

use std::sync::Arc;
use std::time::Duration;

use dispatch_model::lifecycle::{Input, LinkEnd};
use http::{Method, Request, StatusCode, header};
use io_tokio::chance::Chance;
use io_tokio::clock::Clock;
use io_tokio::http2::{self, ClientConnection, Config, Opener, share_of};
use io_tokio::lifecycle_driver::Inputs;
use io_tokio::net::{Connector, Io, authority};
use io_tokio::wire_v1::any_certificate;
use io_tokio::wire_v1::offer::V1Offer;
use tokio::sync::{OnceCell, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::app::App;
use crate::hooks::Hooks;
use crate::invokes::CurrentOffer;
use crate::session::{LinkOrder, Session, dropped};
use channel::{Channel, ChannelEnd};

mod channel;

/// What the channels of a link share.
struct Link<C: Connector> {
    instance: String,
    /// `http://host:port`, for the paths.
    origin: String,
    pool: String,
    clock: Clock,
    router: Opener,
    app: App<C>,
    compress: bool,
    /// Paths of the app that no client may ask for.
    hooks: Hooks,
    /// Channels that end are not opened again, and those that wait do so not much longer.
    leaves: watch::Sender<bool>,
    /// The machine has heard of the link.
    attached: OnceCell<()>,
    kept: CurrentOffer,
    inputs: Inputs,
}

/// Dials the router, opens channels and serves until all of them have ended.
pub(crate) async fn run<C: Connector>(mut session: Session<C>, offer: V1Offer) -> LinkEnd {
    let dialled = async {
        let io = session.network.router.connect(&offer.host, offer.port).await;
        io.inspect_err(|error| {
            let (host, port) = (&offer.host, offer.port);
            tracing::warn!(%error, host, port, "cannot connect to the router");
        })
    };
    let io = tokio::select! {
        biased;
        () = dropped(&mut session.orders) => return LinkEnd::Lost,
        io = dialled => io,
    };
    let Ok(io) = io else { return LinkEnd::Unreachable };
    if !offer.tls {
        return serve(session, &offer, io).await;
    }
    let secured = tokio::select! {
        biased;
        () = dropped(&mut session.orders) => return LinkEnd::Lost,
        secured = any_certificate::dial(io) => secured,
    };
    match secured {
        Ok(io) => serve(session, &offer, io).await,
        Err(error) => {
            tracing::warn!(%error, "the router speaks no TLS that this extension speaks");
            LinkEnd::Unreachable
        }
    }
}

async fn serve<C: Connector, S: Io>(session: Session<C>, offer: &V1Offer, io: S) -> LinkEnd {
    let slots = session.attachment.slots.min(CHANNELS_MAX);
    let (router, connection) = http2::client(io, config(slots));
    let router_connection = Driven::new(connection);
    let (local, clock) = (session.network.local, session.clock);
    let (app, closed) = App::new(local, session.app_port, session.app_protocol, clock.clone());
    let scheme = if offer.tls { "https" } else { "http" };
    let link = Arc::new(Link {
        instance: session.attachment.instance,
        origin: format!("{scheme}://{}", authority(&offer.host, offer.port)),
        pool: offer.pool.clone(),
        clock,
        router,
        app,
        compress: session.compress,
        hooks: session.hooks,
        leaves: watch::Sender::new(false),
        attached: OnceCell::new(),
        kept: session.kept,
        inputs: session.inputs,
    });
    let mut chance = Chance::System;
    let channels = (0..slots)
        .map(|_| Channel::new(Arc::clone(&link), chance.name()).run())
        .collect::<JoinSet<_>>();
    let end = lead(&link, channels, session.orders).await;
    drop(link);
    if end == LinkEnd::Closed {
        // Nothing is running: this lets the router hear the last words.
        drop(timeout(LAST_WORDS, router_connection.gently()).await);
    } else {
        drop(router_connection);
    }
    closed.wait().await;
    end
}

/// Carries out orders until every channel has ended.
async fn lead<C: Connector>(
    link: &Arc<Link<C>>,
    mut channels: JoinSet<ChannelEnd>,
    mut orders: mpsc::Receiver<LinkOrder>,
) -> LinkEnd {
    let mut errands = JoinSet::new();
    let mut worst = LinkEnd::Closed;
    loop {
        let end = tokio::select! {
            biased;
            order = orders.recv() => match order {
                None => return LinkEnd::Lost,
                Some(LinkOrder::Goaway) => {
                    errands.spawn(close(Arc::clone(link)));
                    continue;
                }
                Some(LinkOrder::Ping) => {
                    errands.spawn(ping(Arc::clone(link)));
                    continue;
                }
            },
            Some(done) = errands.join_next() => match done {
                Ok(Errand::Done) => continue,
                Ok(Errand::Leave(end)) => Some(end),
                Err(_) => Some(ChannelEnd::Broken),
            },
            ended = channels.join_next() => match ended {
                Some(ended) => Some(ended.unwrap_or(ChannelEnd::Broken)),
                None => return worst,
            },
        };
        if let Some(end) = end {
            worst = worse(worst, end.seen_by(link.attached.initialized()));
            link.leaves.send_replace(true);
        }
    }
}

/// What an errand to the router has shown.
#[derive(Debug)]
enum Errand {
    Done,
    Leave(ChannelEnd),
}

/// Tells the router that this instance wants to leave. It may hold its answer for a while, in which
/// requests still come.
async fn close<C: Connector>(link: Arc<Link<C>>) -> Errand {
    match timeout(CLOSE_TIME, link.get("close")).await {
        Ok(Some(status)) => tracing::debug!(%status, "the router lets this instance go"),
        Ok(None) | Err(_) => tracing::warn!("the router did not hear that this instance leaves"),
    }
    Errand::Leave(ChannelEnd::Released)
}

/// Asks the router for a sign of life.
async fn ping<C: Connector>(link: Arc<Link<C>>) -> Errand {
    match link.get("ping").await {
        Some(StatusCode::OK) => {
            link.inputs.tell(Input::Heard).await;
            Errand::Done
        }
        Some(StatusCode::CONFLICT) => Errand::Leave(ChannelEnd::Released),
        // It was started anew, and knows nothing of this instance.
        Some(StatusCode::NOT_FOUND) => Errand::Leave(ChannelEnd::Broken),
        // The machine decides how long it waits.
        Some(_) | None => Errand::Done,
    }
}

impl<C: Connector> Link<C> {
    /// The head of a request to the router, but for its date.
    fn request(&self, method: Method, path: &str) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = method;
        if let Ok(uri) = format!("{}{path}", self.origin).parse() {
            *request.uri_mut() = uri;
        }
        let headers = request.headers_mut();
        for (name, value) in [("x-pool-id", &self.pool), ("x-lambda-id", &self.instance)] {
            if let Ok(value) = value.parse() {
                headers.insert(name, value);
            }
        }
        request
    }

    /// The same with the date, for its router warns of one that is missing or old.
    fn dated(&self, mut request: Request<()>) -> Request<()> {
        if let Ok(date) = httpdate::fmt_http_date(self.clock.wall()).try_into() {
            request.headers_mut().insert(header::DATE, date);
        }
        request
    }

    /// Asks for `what` and waits for the whole answer.
    async fn get(&self, what: &str) -> Option<StatusCode> {
        let path = format!("/api/chunked/{what}/{}", self.instance);
        let request = self.dated(self.request(Method::GET, &path));
        let (response, _) = self.router.open(&request, true).ok()?;
        let (parts, mut body) = response.response().await.ok()?.into_parts();
        while let Some(piece) = body.data().await {
            piece.ok()?;
        }
        Some(parts.status)
    }
}

impl ChannelEnd {
    const fn seen_by(self, is_attached: bool) -> LinkEnd {
        match (self, is_attached) {
            (Self::Released, true) => LinkEnd::Closed,
            (Self::Released | Self::Refused, false) => LinkEnd::Refused,
            (Self::Unavailable, false) => LinkEnd::Unavailable,
            (Self::Broken, _) | (Self::Refused | Self::Unavailable, true) => LinkEnd::Lost,
        }
    }
}

const fn worse(one: LinkEnd, other: LinkEnd) -> LinkEnd {
    match one {
        LinkEnd::Closed => other,
        LinkEnd::Lost | LinkEnd::Refused | LinkEnd::Unavailable | LinkEnd::Unreachable => one,
    }
}

/// A connection that a task drives, as long as this is kept.
#[derive(Debug)]
struct Driven(JoinHandle<()>);

impl Driven {
    fn new<S: Io>(mut connection: ClientConnection<S>) -> Self {
        Self(tokio::spawn(async move {
            if let Err(error) = connection.run().await {
                tracing::debug!(%error, "a connection of the original's wire ended");
            }
        }))
    }

    /// Waits until nothing is left to do on it.
    async fn gently(mut self) -> Result<(), tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How much of a request's body may wait for the app is such that all channels together never fill
/// the connection's window: one that stalls stops no other.
fn config(slots: u8) -> Config {
    Config {
        stream_window: share_of(CONNECTION_WINDOW_BYTES, slots.into()).min(256 << 10),
        connection_window: CONNECTION_WINDOW_BYTES,
        frame_bytes: 64 << 10,
        head_bytes: 256 << 10,
        // A router opens none.
        streams_max: 0,
    }
}

const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// The original's router takes 100 streams on a connection; a ping and a close need one each.
const CHANNELS_MAX: u8 = 98;
/// The original's router holds its answer to a close for up to 5 s.
const CLOSE_TIME: Duration = Duration::from_secs(10);
const LAST_WORDS: Duration = Duration::from_secs(1);
