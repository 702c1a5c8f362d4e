//! Where requests of clients come in: each is given its name and its route, and gets in line at its
//! pool; what becomes of it then is told in `exchange`. What leads to no pool is answered here.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dispatch_model::Prng;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::admission::{Admission, Bounds, Place};
use crate::clock::Clock;
use crate::entry::{Entry, RouterEnd};
use crate::exchange::{CLOSE, Exchange, Failure, answered, text};
use crate::headers::without;
use crate::interim::Interim;
use crate::networks::Networks;
use crate::observe::{AccessLog, Tracer};
use crate::pool::Pool;
use crate::relay::ResponseBody;
use crate::request_head::{self, BadHead, Origin, Target};
use crate::request_id::{self, REQUEST_ID};
use crate::routes::{NoRoute, Routes};
use crate::seldom::Seldom;
use crate::split::Split;
use crate::table::{Destination, Held, Table};
use crate::upgrade::Upgrade;
use crate::upload::Upload;

/// Serves requests from clients.
pub struct Edge {
    table: Table,
    /// Takes note of what no route leads to a pool.
    log: Arc<dyn AccessLog>,
    clock: Clock,
    settings: EdgeSettings,
    admission: Admission,
    seldom: Seldom,
    /// Makes request ids.
    count: AtomicU64,
    router_end: RouterEnd,
}

/// How requests from clients are served.
#[derive(Clone, Debug)]
pub struct EdgeSettings {
    /// Tells the ids of this router's requests from those of others, and from those before its last
    /// start. Default the process's id, which is 1 in every container.
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
    /// Most header lines of a request, where the crumbs of a cookie in HTTP/2 are one. Default 100;
    /// more is 431.
    pub headers_max: usize,
    /// Most bytes of a request's target. Default 16 KiB; more is 414.
    pub target_bytes_max: usize,
    /// Who gives requests their places in traces. Default nobody: what a client says of a trace is
    /// passed on as it is, unless it says nothing (a `traceparent` that is none).
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
    /// that a client that sends nothing holds no slot; at most `idle`, or `total` if that is
    /// shorter. Default true. A body that then trickles in keeps its slot until `total`.
    ///
    /// A request that expects `100-continue` never waits, for its client does; nor does a call of
    /// gRPC, in which the server may be the first to speak.
    pub await_body: bool,
}

impl Patience {
    /// The same for a request of `version` with a body and `headers`. A call of gRPC may be silent
    /// for longer, from its beginning on, and does not wait for its body. Nothing else: what a
    /// client merely says of a body must not get it a slot.
    pub(crate) fn for_request(self, version: Version, headers: &HeaderMap) -> Self {
        let rest = media_type(headers).and_then(|it| after(it, GRPC));
        let is_call = version == Version::HTTP_2
            && rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')));
        if is_call { Self { idle: self.stream_idle, await_body: false, ..self } } else { self }
    }

    /// The same for a response with `headers`: what is meant to stay open, by its media type, may
    /// be silent for longer.
    pub(crate) fn for_response(self, headers: &HeaderMap) -> Self {
        let stays_open = media_type(headers)
            .is_some_and(|it| [EVENTS, GRPC].into_iter().any(|stream| after(it, stream).is_some()));
        if stays_open { Self { idle: self.stream_idle, ..self } } else { self }
    }
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
        let (admission, seldom) = (Admission::default(), Seldom::new(clock.clone()));
        let (count, router_end) = (AtomicU64::new(0), RouterEnd::default());
        Self { table, log, clock, settings, admission, seldom, count, router_end }
    }

    /// The router ends now: who is cut from now on was not left by its client.
    pub(crate) fn end(&self) {
        self.router_end.comes();
    }

    /// Where requests go.
    pub(crate) const fn table(&self) -> &Table {
        &self.table
    }

    pub(crate) const fn settings(&self) -> &EdgeSettings {
        &self.settings
    }

    /// A place for a connection from `peer`, unless there are too many. Trusted proxies stand for
    /// many clients and are bounded only in all.
    pub(crate) fn admit(&self, peer: IpAddr) -> Option<Place> {
        let settings = &self.settings;
        let bounds = Bounds {
            all: settings.connections_max,
            of_address: settings.connections_per_client_max,
        };
        let client = (!settings.trusted_proxies.contains(peer)).then_some(peer);
        let place = self.admission.admit(client, bounds);
        if place.is_none()
            && let Some(unsaid) = self.seldom.may_log()
        {
            tracing::warn!(
                %peer,
                unsaid,
                "too many connections: limits.connections and limits.connections_per_client"
            );
        }
        place
    }

    /// Bounds what is logged of clients that could not connect.
    pub(crate) const fn seldom(&self) -> &Seldom {
        &self.seldom
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
        let client = request_head::client(&head.headers, peer, &self.settings.trusted_proxies);
        let (clock, log, router_end) =
            (self.clock.clone(), Arc::clone(&self.log), self.router_end.clone());
        Entry::new(head, peer, client, id, clock, log, router_end)
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
        let bytes = head_bytes(&head);
        let get = target.forward(&mut head, origin, &self.settings);
        // Not what the client says of it, if that is not passed on: nobody would answer.
        let expects =
            head.version >= Version::HTTP_11 && get.headers().contains_key(header::EXPECT);
        let mut forwarded = match &upgrade {
            Some(upgrade) => upgrade.connect(get),
            None => get,
        };
        self.label(&mut forwarded, &mut entry, count);
        entry.routed(Arc::clone(to.pool.name()), Arc::clone(&to.log));
        let hints = (head.version == Version::HTTP_11).then(|| interim.begin());
        let mut upload = (!body.is_end_stream()).then(|| Upload::new(body, entry.upload()));
        let mut patience = to.patience;
        if upload.is_some() {
            patience = patience.for_request(head.version, forwarded.headers());
        }
        // Nothing is read of a body whose client waits for the word that it may come.
        if !expects && let Err(failure) = begin(&mut upload, patience).await {
            return failure.answered(&mut entry, head.version < Version::HTTP_2);
        }
        entry.queued();
        let held = upload.as_ref().filter(|_| !expects).map_or(0, Upload::held_bytes);
        let ticket = to.pool.arrive(bytes.saturating_add(held));
        // It is in line: its pool may leave the table now.
        drop(to);
        let mut exchange = Exchange::new(ticket, entry, patience, upload, expects, hints, upgrade);
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
                *headers = without(headers, &aliases.name);
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

/// Takes what is there of a body before its request gets in line, so that it counts for what it is,
/// and waits for the first of it where `patience` says so. A body of nothing is none.
async fn begin(upload: &mut Option<Upload>, patience: Patience) -> Result<(), Failure> {
    let Some(body) = upload else { return Ok(()) };
    let begun = if patience.await_body {
        let limit = patience.total.map_or(patience.idle, |total| total.min(patience.idle));
        timeout(limit, body.begin()).await.map_err(|_| Failure::ClientSilent)?
    } else {
        body.take_what_is_there().await
    };
    if !begun.map_err(|error| Failure::of_body(&error))? {
        *upload = None;
    }
    Ok(())
}

/// The memory that a head holds, about.
fn head_bytes(head: &http::request::Parts) -> u32 {
    let headers: usize =
        head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
    u32::try_from(headers + head.uri.path().len() + 1024).unwrap_or(u32::MAX)
}

/// What a message says that it is.
fn media_type(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes)
}

/// What follows `start` in `media_type`, if it begins so, in capitals or not.
fn after<'a>(media_type: &'a [u8], start: &str) -> Option<&'a [u8]> {
    let (begun, rest) = media_type.split_at_checked(start.len())?;
    begun.eq_ignore_ascii_case(start.as_bytes()).then_some(rest)
}

const EVENTS: &str = "text/event-stream";
/// So begin the media types of its kin as well, such as gRPC-Web.
const GRPC: &str = "application/grpc";

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(media_type: &str) -> HeaderMap {
        let value = media_type.parse().unwrap();
        std::iter::once((header::CONTENT_TYPE, value)).collect()
    }

    #[test]
    fn a_request_is_no_call_of_grpc_by_the_beginning_of_a_name() {
        let patience = Patience::default();
        let as_call =
            Patience { idle: patience.stream_idle, await_body: false, ..Patience::default() };
        for call in ["application/grpc", "Application/gRPC+proto", "application/grpc;a=1"] {
            assert_eq!(patience.for_request(Version::HTTP_2, &headers(call)), as_call, "{call}");
            assert_eq!(patience.for_request(Version::HTTP_11, &headers(call)), patience, "{call}");
        }
        for other in ["application/grpc-web", "application/grpcs", "text/event-stream", "a"] {
            assert_eq!(patience.for_request(Version::HTTP_2, &headers(other)), patience, "{other}");
        }
        assert_eq!(patience.for_request(Version::HTTP_2, &HeaderMap::new()), patience);
    }

    #[test]
    fn a_response_that_is_meant_to_stay_open_may_be_silent_for_longer() {
        let patience = Patience::default();
        let open = Patience { idle: patience.stream_idle, ..Patience::default() };
        for stream in ["text/event-stream; charset=utf-8", "application/grpc-web+proto"] {
            assert_eq!(patience.for_response(&headers(stream)), open, "{stream}");
        }
        for other in ["text/event", "text/html"] {
            assert_eq!(patience.for_response(&headers(other)), patience, "{other}");
        }
    }
}
