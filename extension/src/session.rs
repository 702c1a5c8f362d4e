//! One link to the router, from dialling to its end.
//!
//! The extension dials, attaches, and then is the HTTP/2 *server*: each stream that the router
//! opens is a request. When [`Session::run`] returns, nothing of the link is left: every relay has
//! ended and every connection to the app is closed, which is what lets the environment freeze.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use dispatch_model::lifecycle::{Input, LinkEnd};
use http::Request;
use io_tokio::attach::{self, AttachError, Hello};
use io_tokio::clock::Clock;
use io_tokio::http2::{self, Config, Reason, Receiving, Responder, ServerConnection};
use io_tokio::lifecycle_driver::Inputs;
use io_tokio::net::{Connector, Io, authority};
use io_tokio::payload::CheckedOffer;
use io_tokio::request_id::RequestId;
use io_tokio::tls;
use io_tokio::wire_v1::offer::V1Offer;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::app::{AllClosed, App};
use crate::hooks::Hooks;
use crate::invokes::CurrentOffer;
use crate::memory::HeldBack;
use crate::network::Network;
use crate::relay::{Ending, forbid, relay, tell_end};
use crate::settings::AppProtocol;
use crate::signs_of_life::SignsOfLife;
use crate::stream::{Answer, Upload, Way};
use crate::wire_v1;

/// What the router offered, and to whom.
#[derive(Clone, Debug)]
pub(crate) struct Attachment {
    /// This instance.
    pub(crate) instance: String,
    /// How many requests at a time.
    pub(crate) slots: u8,
    /// Where and how.
    pub(crate) offer: Offer,
}

/// How a router may be reached.
#[derive(Clone, Debug)]
pub(crate) enum Offer {
    /// As is told here.
    Attach(CheckedOffer),
    /// Over the original's wire.
    V1(V1Offer),
}

/// What may be asked of a link. The sender's end means: drop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkOrder {
    /// No new requests; close when the last one has ended.
    Goaway,
    /// Ask for a sign of life.
    Ping,
}

/// One link.
#[derive(Debug)]
pub(crate) struct Session<C> {
    pub(crate) network: Network<C>,
    pub(crate) clock: Clock,
    pub(crate) app_port: u16,
    pub(crate) app_protocol: AppProtocol,
    pub(crate) compress: bool,
    /// Paths of the app that no client may ask for.
    pub(crate) hooks: Hooks,
    pub(crate) attachment: Attachment,
    /// Where the offer is kept for another attempt, until one succeeds.
    pub(crate) kept: CurrentOffer,
    pub(crate) lease: Duration,
    pub(crate) cold: bool,
    pub(crate) inputs: Inputs,
    pub(crate) orders: mpsc::Receiver<LinkOrder>,
}

impl<C: Connector> Session<C> {
    /// Dials, attaches and serves until the link ends.
    pub(crate) async fn run(mut self) -> LinkEnd {
        let offer = match self.attachment.offer.clone() {
            Offer::Attach(offer) => offer,
            Offer::V1(offer) => return wire_v1::run(self, offer).await,
        };
        let connected = tokio::select! {
            biased;
            () = dropped(&mut self.orders) => return LinkEnd::Lost,
            connected = self.network.router.connect(&offer.host, offer.port) => connected,
        };
        let io = match connected {
            Ok(io) => io,
            Err(error) => {
                let (host, port) = (&offer.host, offer.port);
                tracing::warn!(%error, host, port, "cannot connect to the router");
                return LinkEnd::Unreachable;
            }
        };
        let Some(pins) = offer.pins.clone() else { return self.attach(io, &offer, &[]).await };
        let secured = tokio::select! {
            biased;
            () = dropped(&mut self.orders) => return LinkEnd::Lost,
            secured = tls::dial(io, &pins) => secured,
        };
        match secured {
            Ok((stream, exporter)) => self.attach(stream, &offer, &exporter).await,
            Err(error) => {
                tracing::warn!(%error, "the router cannot be trusted");
                LinkEnd::Unreachable
            }
        }
    }

    async fn attach<S: Io>(mut self, mut io: S, offer: &CheckedOffer, exporter: &[u8]) -> LinkEnd {
        let Attachment { instance, slots, .. } = &self.attachment;
        let hello = Hello {
            host: authority(&offer.host, offer.port),
            instance: instance.clone(),
            slots: u16::from(*slots),
            lease: self.lease,
            cold: self.cold,
        };
        let attached = tokio::select! {
            biased;
            () = dropped(&mut self.orders) => return LinkEnd::Lost,
            attached = attach::request(&mut io, &hello, &offer.token, exporter) => attached,
        };
        if let Err(error) = attached {
            tracing::warn!(%error, "cannot attach to the router");
            let AttachError::Refused { status } = error else { return LinkEnd::Unreachable };
            return if status < 500 { LinkEnd::Refused } else { LinkEnd::Unavailable };
        }
        // The token has done its work: it is not kept for whoever might read this memory.
        self.kept.clear();
        self.inputs.tell(Input::Attached).await;
        let (io, signs) = SignsOfLife::of(io, self.clock.clone());
        let connection = http2::server(io, config(*slots));
        tracing::info!(instance = hello.instance, lease = ?self.lease, "attached");
        self.serve(connection, signs).await
    }

    async fn serve<S: Io>(
        self,
        mut connection: ServerConnection<S>,
        mut signs: SignsOfLife,
    ) -> LinkEnd {
        drop(self.attachment);
        let (app, closed) =
            App::new(self.network.local, self.app_port, self.app_protocol, self.clock);
        let mut serving = Serving {
            app: Arc::new(app),
            closed,
            compress: self.compress,
            hooks: self.hooks,
            inputs: self.inputs,
            relays: JoinSet::new(),
            draining: false,
            held_back: None,
        };
        let pinger = connection.pinger();
        let mut orders = self.orders;
        let end = loop {
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    None => break LinkEnd::Lost,
                    Some(LinkOrder::Goaway) => {
                        serving.draining = true;
                        connection.leave();
                    }
                    // The answer is a sign of life like others.
                    Some(LinkOrder::Ping) => pinger.send(),
                },
                accepted = connection.accept() => match accepted {
                    Some(Ok((request, respond))) => serving.start(request, respond).await,
                    Some(Err(error)) => {
                        tracing::warn!(%error, "the link to the router broke");
                        break LinkEnd::Lost;
                    }
                    None => break LinkEnd::Closed,
                },
                Some(ending) = serving.relays.join_next() => {
                    tell_end(ending.ok(), &serving.inputs).await;
                }
                () = sign(&mut signs) => {
                    serving.inputs.tell(Input::Heard).await;
                    serving.rest();
                }
            }
        };
        drop(connection);
        serving.finish(end, orders).await
    }
}

/// The requests of a link.
struct Serving<C: Connector> {
    app: Arc<App<C>>,
    closed: AllClosed,
    compress: bool,
    hooks: Hooks,
    inputs: Inputs,
    relays: JoinSet<Ending>,
    draining: bool,
    /// There if something was served since memory was given back.
    held_back: Option<HeldBack>,
}

impl<C: Connector> Serving<C> {
    async fn start(&mut self, request: Request<Receiving>, mut respond: Responder) {
        if self.draining {
            let id = RequestId::of(request.headers());
            tracing::debug!(request_id = %id, "the request goes back, for this instance leaves");
            respond.send_reset(Reason::REFUSED_STREAM);
            return;
        }
        let respond = Answer::to(request.method(), Way::Stream(respond));
        if self.hooks.are_at(request.uri().path()) {
            forbid(respond, &RequestId::of(request.headers()));
            return;
        }
        self.held_back.get_or_insert_with(HeldBack::new);
        self.inputs.tell(Input::RequestStarted).await;
        let request = request.map(Upload::Stream);
        let (app, compress) = (Arc::clone(&self.app), self.compress);
        let inputs = self.inputs.clone();
        // Not within the loop that accepts, so that one write carries many answers.
        // Boxed, since a task is moved several times before it runs, and this one is large.
        let relayed =
            Box::pin(async move { relay(request, respond, &app, compress, &inputs).await });
        self.relays.spawn(relayed);
    }

    /// Gives back the memory that requests needed, if none runs: at one call what holds it, at the
    /// next the pages, which are free for long enough then.
    ///
    /// Called when something else has woken the process, for a parked instance has no timer.
    fn rest(&mut self) {
        if self.relays.is_empty() && !self.app.rest() {
            self.held_back = None;
        }
    }

    /// Waits until nothing is left. What ran on a link that has ended sees that and ends too; on
    /// one that was dropped it is ended here.
    async fn finish(mut self, end: LinkEnd, mut orders: mpsc::Receiver<LinkOrder>) -> LinkEnd {
        let mut end = end;
        if end != LinkEnd::Closed {
            self.relays.abort_all();
        }
        while !self.relays.is_empty() {
            tokio::select! {
                biased;
                Some(ending) = self.relays.join_next() => {
                    let ending = ending.ok();
                    if ending == Some(Ending::LinkLost) {
                        end = LinkEnd::Lost;
                    }
                    tell_end(ending, &self.inputs).await;
                }
                () = dropped(&mut orders) => {
                    end = LinkEnd::Lost;
                    self.relays.abort_all();
                }
            }
        }
        drop(self.app);
        self.closed.wait().await;
        end
    }
}

/// Returns when the link is no longer wanted. Other orders are for a link that has been attached.
pub(crate) async fn dropped(orders: &mut mpsc::Receiver<LinkOrder>) {
    while orders.recv().await.is_some() {}
}

/// Returns when the router gave a sign of life, if it is polled after what reads it.
async fn sign(signs: &mut SignsOfLife) {
    poll_fn(|_| if signs.take() { Poll::Ready(()) } else { Poll::Pending }).await;
}

fn config(slots: u8) -> Config {
    let connection_window = (u32::from(slots) * STREAM_WINDOW_BYTES).max(CONNECTION_WINDOW_BYTES);
    Config {
        stream_window: STREAM_WINDOW_BYTES,
        connection_window,
        frame_bytes: FRAME_BYTES_MAX,
        head_bytes: HEADER_BYTES_MAX,
        streams_max: u32::from(slots),
    }
}

/// How much of a request's body may wait for the app. All streams together never fill the
/// connection's window, so that one that stalls stops no other.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// Four times HTTP/2's default; takes a quarter off the CPU of large bodies.
const FRAME_BYTES_MAX: u32 = 64 * 1024;
/// More than the router admits from its clients, together with what it adds: heads of 192 KiB, in
/// which each of at most 1,000 headers counts for 28 bytes more than in HTTP/1.1.
const HEADER_BYTES_MAX: u32 = 256 * 1024;
