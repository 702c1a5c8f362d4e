//! One exchange: a client's request goes to an instance, and the response comes back.
//!
//! ```text
//!   head ──▶ legal? ──▶ wait for the verdict ──▶ stream to the instance ──▶ response head ──▶ body
//!             │ no            │ refuse               │ given back: wait again    │ none: ask the
//!             ▼               ▼                      ▼                           ▼ model what now
//!            4xx           429 503 504                                        502 504
//! ```
//!
//! Whoever drops the exchange, at any moment, has cancelled it: the ticket tells the model, the
//! stream is reset, and the app sees its client leave.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dispatch_model::{Ending, Input, Prng, RefuseReason};
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::admission::Admission;
use crate::clock::Clock;
use crate::entry::Entry;
use crate::headers::{content_length, end_to_end};
use crate::http2::{self, By, Error, Receiving};
use crate::interim::{Hints, Interim};
use crate::networks::Networks;
use crate::observe::{AccessLog, Proof, Tracer};
use crate::pool::{Pool, Ticket, Verdict};
use crate::relay::{Limits, Relayed, ResponseBody, Source};
use crate::request_head::{BadHead, Origin, Target, response_headers};
use crate::request_id::{self, REQUEST_ID};
use crate::routes::{NoRoute, Routes};
use crate::session::{Session, undelivered};
use crate::split::Split;
use crate::stream_body::StreamBody;
use crate::table::{Destination, Held, Table};
use crate::upgrade::{SWITCHED, Upgrade};
use crate::upload::{Sending, Silence, Upload, Uploading};

/// Serves requests from clients.
pub struct Edge {
    table: Table,
    /// Takes note of what no route leads to a pool.
    log: Arc<dyn AccessLog>,
    clock: Clock,
    settings: EdgeSettings,
    admission: Arc<Admission>,
    /// Makes request ids.
    count: AtomicU64,
}

/// How requests from clients are served.
#[derive(Clone, Debug)]
pub struct EdgeSettings {
    /// Tells the ids of this router's requests from those of others. Default the process's id.
    pub boot: u32,
    /// How long a request may take where no route says otherwise. Its `idle` is also how long a
    /// client may leave unread what waits for it, whatever the route.
    pub patience: Patience,
    /// Longest time from the first byte of a request's head to its last. Default 10 s.
    pub head: Duration,
    /// Longest time that a connection may be without a request. Default 75 s, which is longer than
    /// an AWS load balancer waits.
    pub keep_alive: Duration,
    /// Whether clients are told, in `Server-Timing`, how long a request waited for a slot
    /// (`queue`), for its head to be given to the instance (`dispatch`) and for its response
    /// (`app`, the way included). Default false.
    pub server_timing: bool,
    /// Whose word about earlier hops is taken (`X-Forwarded-*`). Default private addresses and
    /// loopback.
    pub trusted_proxies: Networks,
    /// Most connections of clients at once; more are closed. Default 10,000.
    pub connections_max: usize,
    /// Most connections of one client, trusted proxies apart. Default 500.
    pub connections_per_client_max: usize,
    /// Most requests at once on an HTTP/2 connection. Default 100.
    pub h2_streams_max: u32,
    /// Most bytes of a request's head. Default 64 KiB; more is 431.
    pub head_bytes_max: usize,
    /// Most header lines of a request. Default 100; more is 431.
    pub headers_max: usize,
    /// Most bytes of a request's target. Default 16 KiB; more is 414.
    pub target_bytes_max: usize,
    /// Who gives requests their places in traces. Default nobody: what a client says of a trace is
    /// passed on as it is.
    pub tracer: Option<Arc<dyn Tracer>>,
}

/// How long a request may take once its head is complete, its wait for a slot apart: what can be
/// different for each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Longest time from the end of a request, or from its dispatch if that is later, to the
    /// response's head. Default 60 s.
    pub first_byte: Duration,
    /// Longest silence within a request or a response. Default 60 s.
    pub idle: Duration,
    /// Longest silence, in both directions, of what is meant to stay open: a connection that was
    /// upgraded (WebSocket), and events (`text/event-stream`, gRPC). Default 5 min.
    pub stream_idle: Duration,
    /// Longest time from the end of the head to the end of the response, the wait for a slot
    /// included. Default none.
    pub total: Option<Duration>,
    /// Whether a request with a body gets in line only when the first bytes of that are there, so
    /// that a slow client holds no slot; at most `idle`, or `total` if that is shorter. Default
    /// true.
    ///
    /// A request that expects `100-continue` never waits, for its client does.
    pub await_body: bool,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            stream_idle: Duration::from_secs(300),
            total: None,
            await_body: true,
        }
    }
}

impl Default for EdgeSettings {
    fn default() -> Self {
        Self {
            boot: std::process::id(),
            patience: Patience::default(),
            head: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            server_timing: false,
            trusted_proxies: Networks::private().and_loopback(),
            connections_max: 10_000,
            connections_per_client_max: 500,
            h2_streams_max: 100,
            head_bytes_max: 64 << 10,
            headers_max: 100,
            target_bytes_max: 16 << 10,
            tracer: None,
        }
    }
}

impl Edge {
    /// An edge in front of one `pool`.
    #[must_use]
    pub fn new(pool: Pool, log: Arc<dyn AccessLog>, clock: Clock, settings: EdgeSettings) -> Self {
        let to = Destination { pool, log: Arc::clone(&log), patience: settings.patience };
        let (table, _) = Table::new(&Routes::all_to(Split::all_to(to)));
        Self::over(table, log, clock, settings)
    }

    /// An edge over the routes of `table`. What none of them is for is noted in `log`.
    pub(crate) fn over(
        table: Table,
        log: Arc<dyn AccessLog>,
        clock: Clock,
        settings: EdgeSettings,
    ) -> Self {
        let admission = Admission::new(
            settings.connections_max,
            settings.connections_per_client_max,
            settings.trusted_proxies.clone(),
            clock.clone(),
        );
        Self { table, log, clock, settings, admission, count: AtomicU64::new(0) }
    }

    /// Where requests go.
    pub(crate) const fn table(&self) -> &Table {
        &self.table
    }

    pub(crate) const fn settings(&self) -> &EdgeSettings {
        &self.settings
    }

    pub(crate) const fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// Answers for a request that stands for a refused one.
    pub(crate) fn refuse(
        &self,
        request: Request<Incoming>,
        peer: IpAddr,
        bad: BadHead,
    ) -> Response<ResponseBody> {
        let head = request.into_parts().0;
        let mut entry = self.entry(&head, peer, self.number());
        let mut response = text(bad.status, bad.why);
        response.headers_mut().insert(header::CONNECTION, CLOSE);
        answered(response, &mut entry, "bad_request")
    }

    /// The number of the next request.
    fn number(&self) -> u64 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    fn entry(&self, head: &http::request::Parts, peer: IpAddr, count: u64) -> Entry {
        let id = request_id::name(self.settings.boot, count);
        Entry::new(head, peer, id, self.clock.clone(), Arc::clone(&self.log))
    }

    /// Serves one request, whose interim responses go to `interim` if the client can be sent any.
    pub(crate) async fn serve(
        &self,
        request: Request<Incoming>,
        origin: &Origin,
        interim: &Interim,
    ) -> Response<ResponseBody> {
        let (mut head, body) = request.into_parts();
        let count = self.number();
        let mut entry = self.entry(&head, origin.peer, count);
        let upgrade = Upgrade::wanted(&mut head, &body);
        let routed = Target::of(&head, origin, &self.settings)
            .map_err(|bad| (bad.status, bad.why, "bad_request"))
            .and_then(|target| {
                let to = self.route(&target, &mut head.headers, origin.peer, count);
                Ok((target, to.map_err(|no| (no.status(), no.why(), no.name()))?))
            });
        let (target, to) = match routed {
            Ok(routed) => routed,
            Err((status, why, reason)) => {
                let mut response = text(status, why);
                let is_bad = reason == "bad_request" || !body.is_end_stream();
                if is_bad && head.version < Version::HTTP_2 {
                    // The rest may be a body that nobody will read; and whoever sends nonsense may
                    // mean something else by what follows it as well.
                    response.headers_mut().insert(header::CONNECTION, CLOSE);
                }
                return answered(response, &mut entry, reason);
            }
        };
        let (expects, bytes) = (expects_continue(&head), head_bytes(&head));
        let get = target.forward(&mut head, origin, &self.settings);
        let mut forwarded = match &upgrade {
            Some(upgrade) => upgrade.connect(get),
            None => get,
        };
        self.label(&mut forwarded, &mut entry, count);
        entry.routed(Arc::clone(to.pool.name()), Arc::clone(&to.log));
        let patience = to.patience;
        let hints = (head.version == Version::HTTP_11).then(|| interim.begin());
        let mut upload = (!body.is_end_stream()).then(|| Upload::new(body, entry.upload()));
        let awaits = patience.await_body && !expects;
        if let Some(body) = upload.as_mut().filter(|_| awaits) {
            let limit = patience.total.map_or(patience.idle, |total| total.min(patience.idle));
            let failure = match timeout(limit, body.begin()).await {
                Ok(Ok(any)) => {
                    if !any {
                        upload = None;
                    }
                    None
                }
                Ok(Err(error)) => Some(Failure::of_body(&error)),
                Err(_) => Some(Failure::ClientSilent),
            };
            if let Some(failure) = failure {
                return failure.answered(&mut entry, head.version < Version::HTTP_2);
            }
        }
        entry.queued();
        let held = upload.as_ref().map_or(0, Upload::held_bytes);
        let ticket = to.pool.arrive(bytes.saturating_add(held));
        // It is in line: its pool may leave the table now.
        drop(to);
        let mut exchange = Exchange {
            ticket,
            entry,
            patience,
            upload,
            sending: None,
            reusable: true,
            expects,
            hints,
            upgrade,
            tunnel: None,
        };
        let outcome = exchange.run_in_time(&forwarded).await;
        exchange.answer(outcome, &head, self.settings.server_timing)
    }

    /// Tells the app what the request is called, and what its place is in a trace.
    fn label(&self, forwarded: &mut Request<()>, entry: &mut Entry, count: u64) {
        if let Some(id) = request_id::header_value(entry.request_id(), count) {
            forwarded.headers_mut().insert(REQUEST_ID, id);
        }
        if let Some(tracer) = &self.settings.tracer {
            entry.traced(tracer.begin(forwarded));
        }
    }

    /// Where request number `count` goes. What its `headers` say for us about that does not go with
    /// it.
    fn route(
        &self,
        target: &Target,
        headers: &mut HeaderMap,
        peer: IpAddr,
        count: u64,
    ) -> Result<Arc<Held>, NoRoute> {
        self.table.read(|routes| {
            let aliases = routes.aliases();
            let is_trusted = aliases.is_some() && self.settings.trusted_proxies.contains(peer);
            let split = routes.find(target.host(), target.path(), headers, is_trusted)?;
            if let Some(aliases) = aliases.filter(|aliases| headers.contains_key(&aliases.name)) {
                *headers = end_to_end(std::mem::take(headers), |name, _| *name != aliases.name);
            }
            let chance = Prng::new(u64::from(self.settings.boot) << 32 ^ count).next_u64();
            split.choose(chance).map(Arc::clone).ok_or(NoRoute::Path)
        })
    }
}

impl std::fmt::Debug for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edge").field("settings", &self.settings).finish_non_exhaustive()
    }
}

struct Exchange {
    ticket: Ticket,
    entry: Entry,
    patience: Patience,
    /// The request's body, while no instance is sent it.
    upload: Option<Upload>,
    /// The rest of the body, still on its way when the response began.
    sending: Option<Sending>,
    /// Whether the body, as far as it was taken, is still there to be sent again.
    reusable: bool,
    /// The client sends its body only when it is told to.
    expects: bool,
    /// Where 1xx responses go, if the client can be sent any.
    hints: Option<Hints>,
    /// What the client wants its connection to become.
    upgrade: Option<Upgrade>,
    /// The way to the instance for what the client sends then.
    tunnel: Option<http2::Sending>,
}

/// Why there is no response to relay.
#[derive(Clone, Copy)]
enum Failure {
    /// The client's body is broken.
    ClientBody,
    /// The client went away in the middle of its body.
    ClientGone,
    /// The client stopped in the middle of its body.
    ClientSilent,
    /// It has had all the time that a request may take.
    OutOfTime,
    /// The model decided so.
    Refused { reason: RefuseReason, retry_after_s: u16 },
}

/// How one attempt ended without a response.
enum Attempt {
    ClientBody(hyper::Error),
    ClientSilent,
    /// With the ground on which another instance may have it, if the model says so.
    Ended(Ending, Proof),
}

impl Failure {
    fn of_body(error: &hyper::Error) -> Self {
        if has_gone(error) { Self::ClientGone } else { Self::ClientBody }
    }

    /// Answers for ourselves; `closes` if what comes next on the connection is not a request.
    fn answered(self, entry: &mut Entry, closes: bool) -> Response<ResponseBody> {
        let (mut response, reason) = match self {
            Self::ClientGone => {
                // Nobody will read it.
                entry.finish("client_gone");
                (text(StatusCode::BAD_REQUEST, "the request body is cut"), "client_gone")
            }
            Self::ClientSilent => {
                let why = "the request body did not come in time";
                (text(StatusCode::REQUEST_TIMEOUT, why), "request_timeout")
            }
            Self::ClientBody => {
                (text(StatusCode::BAD_REQUEST, "the request body is broken"), "bad_request")
            }
            Self::OutOfTime => {
                let status = StatusCode::GATEWAY_TIMEOUT;
                (text(status, phrase(status)), "total_timeout")
            }
            Self::Refused { reason, retry_after_s } => {
                let status = StatusCode::from_u16(reason.status())
                    .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let mut response = text(status, phrase(status));
                if retry_after_s > 0 {
                    response.headers_mut().insert(header::RETRY_AFTER, retry_after_s.into());
                }
                (response, reason.name())
            }
        };
        if closes {
            response.headers_mut().insert(header::CONNECTION, CLOSE);
        }
        answered(response, entry, reason)
    }
}

impl Exchange {
    /// Answers the client with what came of the request, and how long that took if it `is_timed`.
    fn answer(
        self,
        outcome: Result<Response<Receiving>, Failure>,
        head: &http::request::Parts,
        is_timed: bool,
    ) -> Response<ResponseBody> {
        let timing = if is_timed { self.entry.timing() } else { None };
        let mut response = match outcome {
            Ok(response) => self.relay(response, head),
            Err(failure) => self.fail(failure, head),
        };
        if let Some(timing) = timing {
            // Beside the app's own, if it has one.
            response.headers_mut().append(SERVER_TIMING, timing);
        }
        response
    }

    /// Has the request served within the time that it may take in all.
    async fn run_in_time(&mut self, request: &Request<()>) -> Result<Response<Receiving>, Failure> {
        let Some(total) = self.patience.total else { return self.run(request).await };
        let left = self.entry.left(total);
        // Boxed, or every request would carry it twice.
        timeout(left, Box::pin(self.run(request))).await.unwrap_or(Err(Failure::OutOfTime))
    }

    /// Has the request served, by as many instances as the model says.
    async fn run(&mut self, request: &Request<()>) -> Result<Response<Receiving>, Failure> {
        let mut verdict = self.ticket.verdict().await;
        let mut ground = None;
        loop {
            let session = match verdict {
                Verdict::Serve { session, waited, cold_exposed } => {
                    self.entry.given_again(ground.take());
                    self.entry.dispatched(session.instance, waited, cold_exposed);
                    session
                }
                Verdict::Refuse { reason, retry_after_s } => {
                    return Err(Failure::Refused { reason, retry_after_s });
                }
            };
            verdict = match self.attempt(&session, request).await {
                Ok(response) => return Ok(response),
                Err(Attempt::ClientBody(error)) => {
                    return Err(Failure::of_body(&error));
                }
                Err(Attempt::ClientSilent) => return Err(Failure::ClientSilent),
                Err(Attempt::Ended(ending, proof)) => {
                    ground = Some(proof);
                    self.entry.taken_back();
                    self.ticket.failed(ending).await
                }
            };
        }
    }

    /// Sends the request to an instance and waits for the head of its response.
    async fn attempt(
        &mut self,
        session: &Session,
        request: &Request<()>,
    ) -> Result<Response<Receiving>, Attempt> {
        let is_whole = self.upload.is_none() && self.upgrade.is_none();
        let opened = session.open(request, is_whole);
        let Ok((response, stream)) = opened else {
            // It said goaway, or is gone, of which the model will hear as well.
            self.note_goaway(session);
            return Err(Attempt::Ended(Ending::Undelivered, Proof::Unsent));
        };
        self.entry.sent();
        let had_body = self.upload.is_some();
        let mut upload = if self.upgrade.is_some() {
            self.tunnel = Some(stream);
            Uploading::None
        } else {
            match self.upload.take() {
                // Until the app has the head, nobody knows whether it wants the body.
                Some(upload) if self.expects => Uploading::Held(upload, stream),
                upload => Uploading::start(upload, stream),
            }
        };
        let hints = self.hints.as_ref();
        let interim = |head: &Response<()>| {
            if let Some(hints) = hints {
                hints.send(head);
            }
        };
        match upload.wait_for_head(response, self.patience, interim).await {
            Ok(response) => {
                match upload {
                    Uploading::Sending(rest) => self.sending = Some(rest),
                    Uploading::Held(unwanted, _) => self.upload = Some(unwanted),
                    Uploading::Done(_) | Uploading::None => {}
                }
                Ok(response)
            }
            Err(Silence::App) => Err(Attempt::Ended(Ending::TimedOut, Proof::None)),
            Err(Silence::Broken(error)) => Err(Attempt::ClientBody(error)),
            Err(Silence::Client) => Err(Attempt::ClientSilent),
            Err(Silence::Stream(error)) => {
                tracing::debug!(
                    request_id = self.entry.request_id(),
                    instance = %session.instance,
                    %error,
                    "no response"
                );
                if matches!(error, Error::GoAway { by: By::Peer, .. }) {
                    self.note_goaway(session);
                }
                // The stream may have ended because the client's body did.
                self.upload = upload.recover().await.map_err(Attempt::ClientBody)?;
                self.reusable = match &mut self.upload {
                    Some(upload) => upload.rewind(),
                    None => !had_body,
                };
                Err(match undelivered(&error).filter(|_| self.reusable) {
                    Some(proof) => Attempt::Ended(Ending::Undelivered, proof),
                    None => {
                        let repeatable = !had_body && request.method().is_safe();
                        Attempt::Ended(Ending::Unknown { repeatable }, Proof::None)
                    }
                })
            }
        }
    }

    fn note_goaway(&self, session: &Session) {
        self.ticket.pool().tell(Input::GoAwayReceived { instance: session.instance });
    }

    /// Passes on the response of an instance.
    fn relay(
        self,
        response: Response<Receiving>,
        request: &http::request::Parts,
    ) -> Response<ResponseBody> {
        let Self { ticket, mut entry, patience, upload, sending, upgrade, tunnel, .. } = self;
        if let Some((upgrade, mut to)) = upgrade.zip(tunnel) {
            if response.headers().contains_key(SWITCHED) {
                return upgrade.switch(response, to, ticket, entry, patience);
            }
            // Refused: nothing will come.
            to.send_data(Bytes::new(), true).ok();
            if !upgrade.can_be_refused_with(response.status()) {
                ticket.served();
                return answered(
                    text(StatusCode::BAD_GATEWAY, "bad gateway"),
                    &mut entry,
                    "failed",
                );
            }
        }
        let (mut parts, stream) = response.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            // Nobody asked for it: Upgrade is not passed on.
            drop(ticket);
            return answered(text(StatusCode::BAD_GATEWAY, "bad gateway"), &mut entry, "failed");
        }
        entry.app_responded(parts.status, &parts.headers);
        let length = content_length(&parts.headers).filter(|_| request.method != Method::HEAD);
        let body = StreamBody::new(stream, length);
        let body =
            Relayed::new(body, ticket, entry, sending, Limits::new(patience, &parts.headers));
        let mut relayed = Response::new(Source::Relayed(Box::new(body)).into());
        *relayed.status_mut() = parts.status;
        *relayed.headers_mut() = response_headers(std::mem::take(&mut parts.headers));
        if upload.is_some() && request.version < Version::HTTP_2 {
            // Nobody knows whether the client sends its body all the same.
            relayed.headers_mut().insert(header::CONNECTION, CLOSE);
        }
        relayed
    }

    fn fail(mut self, failure: Failure, request: &http::request::Parts) -> Response<ResponseBody> {
        let silent = matches!(failure, Failure::ClientSilent | Failure::OutOfTime);
        let unread = self.upload.as_ref().is_some_and(|upload| !upload.is_end_stream());
        failure.answered(&mut self.entry, (unread || silent) && request.version < Version::HTTP_2)
    }
}

/// Whether a client's body ended because the client did, and not because it is nonsense.
fn has_gone(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return !matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::InvalidInput);
        }
        source = error.source();
    }
    error.is_incomplete_message() || error.is_closed() || error.is_canceled()
}

/// Whether the client sends its body only when it is told to. In HTTP/1.0 there is no such thing.
fn expects_continue(head: &http::request::Parts) -> bool {
    let expects = head.headers.get(header::EXPECT);
    head.version >= Version::HTTP_11
        && expects.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// The memory that a head holds, about.
fn head_bytes(head: &http::request::Parts) -> u32 {
    let headers: usize =
        head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
    u32::try_from(headers + head.uri.path().len() + 1024).unwrap_or(u32::MAX)
}

/// A short answer of our own. It says nothing about what is behind us.
pub(crate) fn text(status: StatusCode, why: &str) -> Response<ResponseBody> {
    let line = Bytes::from(format!("{} {why}\n", status.as_u16()));
    let mut response = Response::new(ResponseBody::from(Source::Text(Some(line))));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn phrase(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_GATEWAY => "bad gateway",
        StatusCode::GATEWAY_TIMEOUT => "gateway timeout",
        StatusCode::TOO_MANY_REQUESTS => "too many requests",
        _ => "service unavailable, try again later",
    }
}

fn answered(
    response: Response<ResponseBody>,
    entry: &mut Entry,
    reason: &'static str,
) -> Response<ResponseBody> {
    entry.responded(response.status().as_u16());
    entry.add_bytes_out(usize::try_from(response.body().size_hint().lower()).unwrap_or(0));
    entry.finish(reason);
    response
}

const SERVER_TIMING: header::HeaderName = header::HeaderName::from_static("server-timing");
const CLOSE: HeaderValue = HeaderValue::from_static("close");
