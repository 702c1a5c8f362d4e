//! The router's half: connections of extensions, and what is asked for on them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dispatch_model::InstanceId;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::instance::{Channel, Instance, bridge, ended};
use super::link::Link;
use crate::admission::Place;
use crate::http2::{self, Config, Receiving, Responder, Sending};
use crate::invited::Invited;
use crate::net::Io;
use crate::networks::Networks;
use crate::pool::Pool;
use crate::session::{RESPONSE_BYTES_MIN, Session, link_window};

/// Accepts instances on the original's wire. Cheap to clone.
#[derive(Clone, Debug)]
pub struct V1(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    invited: Invited,
    allowed: Networks,
    instances: Mutex<HashMap<String, Arc<Instance>>>,
}

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked<'p> {
    Channel { instance: &'p str, channel: &'p str },
    Close { instance: &'p str },
    Ping { instance: &'p str },
}

impl V1 {
    /// Accepts instances that are `invited` and come from an address in `allowed`.
    #[must_use]
    pub fn new(invited: Invited, allowed: Networks) -> Self {
        Self(Arc::new(Shared { invited, allowed, instances: Mutex::default() }))
    }

    /// Whether somebody at `peer` may speak this wire.
    #[must_use]
    pub fn allows(&self, peer: IpAddr) -> bool {
        self.0.allowed.contains(peer)
    }

    /// Serves a connection until it ends. `place` is given back once an instance came on it; a
    /// connection on which none does is closed after some seconds.
    pub(crate) async fn serve<S: Io>(self, io: S, place: Place) {
        let mut connection = http2::server(io, CONFIG);
        let (link, pulse) = Link::new(connection.pinger());
        let visit = Arc::new(Visit::new(link));
        let (mut place, mut asked) = (Some(place), JoinSet::new());
        let mut pulse = std::pin::pin!(pulse.run());
        // One for all that a stranger may ask.
        let mut too_late = std::pin::pin!(tokio::time::sleep(HANDSHAKE_TIME));
        loop {
            let is_stranger = place.is_some();
            tokio::select! {
                biased;
                () = visit.attached.notified() => {
                    // Until now all streams together had HTTP/2's 64 KiB.
                    connection.set_connection_window(visit.window.load(Ordering::Relaxed));
                    place = None;
                }
                () = &mut too_late, if is_stranger => break,
                accepted = connection.accept() => match accepted {
                    // Answered elsewhere, so that one write carries many answers.
                    Some(Ok((request, respond))) => {
                        asked.spawn(self.clone().answer(request, respond, Arc::clone(&visit)));
                    }
                    Some(Err(_)) | None => break,
                },
                Some(_) = asked.join_next() => {}
                () = &mut pulse => {}
                () = tokio::time::sleep(IDLE_TIME), if asked.is_empty() && !is_stranger => break,
            }
            if visit.refused.load(Ordering::Relaxed) > REFUSALS_MAX {
                tracing::warn!("closed a connection that asked for unknown instances only");
                break;
            }
        }
        visit.link.end();
    }

    async fn answer(self, request: Request<Receiving>, respond: Responder, visit: Arc<Visit>) {
        let (parts, body) = request.into_parts();
        let status = match (&parts.method, read_path(parts.uri.path())) {
            (&Method::POST, Some(Asked::Channel { instance, channel })) => {
                if !is_named(&parts.headers, instance) {
                    StatusCode::BAD_REQUEST
                } else if let Some(instance) = self.claimed(instance, &visit)
                    && let Some(open) = instance.open(&visit.link)
                {
                    let id = channel.to_owned();
                    return match say_and_go_on(respond) {
                        Ok(down) => open.serve(Channel { id, up: body, down }).await,
                        Err(error) => tracing::debug!(%error, "a channel ended at once"),
                    };
                } else {
                    StatusCode::CONFLICT
                }
            }
            (&Method::GET, Some(Asked::Ping { instance })) => match self.attached(instance) {
                Some(_) => StatusCode::OK,
                None => StatusCode::CONFLICT,
            },
            (&Method::GET, Some(Asked::Close { instance })) => {
                if let Some(instance) = self.attached(instance) {
                    tracing::debug!(instance = instance.name(), "asks to leave");
                    instance.asks_to_leave().await;
                } else {
                    visit.refuse();
                }
                StatusCode::OK
            }
            _ => StatusCode::NOT_FOUND,
        };
        if status.is_client_error() {
            visit.refuse();
        }
        say(status, respond, body).await;
    }

    /// The instance of that name, if it is attached.
    fn attached(&self, name: &str) -> Option<Arc<Instance>> {
        self.instances().get(name).cloned()
    }

    /// The instance of that name, which may attach now if the router has invoked one.
    fn claimed(&self, name: &str, visit: &Visit) -> Option<Arc<Instance>> {
        let mut instances = self.instances();
        let instance = match instances.get(name) {
            Some(instance) => Arc::clone(instance),
            None => {
                let (pool, id, slots) = self.0.invited.claim_by_name(name)?;
                let link = Arc::clone(&visit.link);
                let name = name.to_owned();
                let instance =
                    Arc::new(Instance::new(name.clone(), id, pool.downgrade(), slots, link));
                instances.insert(name, Arc::clone(&instance));
                tokio::spawn(self.clone().attach(Arc::clone(&instance), pool, id, slots));
                instance
            }
        };
        drop(instances);
        visit.refused.store(0, Ordering::Relaxed);
        visit.admit(instance.slots());
        Some(instance)
    }

    /// Attaches an instance, and is its bridge until it ends.
    async fn attach(self, instance: Arc<Instance>, pool: Pool, id: InstanceId, slots: u32) {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let (session, connection) = Session::start(id, slots, near);
        let there = Arc::clone(&instance);
        let ask = move || {
            let there = Arc::clone(&there);
            async move { there.answers_a_ping().await }
        };
        tokio::spawn(connection.run_with_pings(ask, pool.clone()));
        // An extension of the original says neither when it must end, which it does by asking
        // to leave in time, nor whether it has just been started.
        pool.attached(session, slots, LEASE, None);
        bridge(Arc::clone(&instance), far, pool).await;
        self.instances().remove(instance.name());
    }

    fn instances(&self) -> MutexGuard<'_, HashMap<String, Arc<Instance>>> {
        self.0.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection, as the requests on it see it.
#[derive(Debug)]
struct Visit {
    link: Arc<Link>,
    /// Requests in vain since the last that was not.
    refused: AtomicU32,
    /// How many bytes all of its streams may send; 0 before an instance came on it.
    window: AtomicU32,
    /// That has changed.
    attached: Notify,
}

impl Visit {
    fn new(link: Link) -> Self {
        Self {
            link: Arc::new(link),
            refused: AtomicU32::new(0),
            window: AtomicU32::new(0),
            attached: Notify::new(),
        }
    }

    /// A request was in vain.
    fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// An instance came on it.
    fn admit(&self, slots: u32) {
        let window = link_window(slots);
        if self.window.fetch_max(window, Ordering::Relaxed) < window {
            self.attached.notify_one();
        }
    }
}

/// Whether the headers name that very instance, once.
fn is_named(headers: &HeaderMap, instance: &str) -> bool {
    let mut names = headers.get_all("x-lambda-id").iter();
    names.next().is_some_and(|name| name == instance) && names.next().is_none()
}

/// Reads a path, in either of its two forms. What pool it names is not looked at: the instance's
/// name alone says which it is.
fn read_path(path: &str) -> Option<Asked<'_>> {
    let path = path.strip_prefix("/api/chunked/")?;
    let words: Vec<_> = path.split('/').collect();
    let asked = match words[..] {
        ["request", instance, channel]
        | ["request", "poolId", _, "lambdaId", instance, "channelId", channel] => {
            Asked::Channel { instance, channel }
        }
        ["ping", instance] | ["ping", "poolId", _, "lambdaId", instance] => {
            Asked::Ping { instance }
        }
        ["close", instance] | ["close", "poolId", _, "lambdaId", instance] => {
            Asked::Close { instance }
        }
        _ => return None,
    };
    let is_name = |text: &str| (1..=NAME_BYTES_MAX).contains(&text.len());
    let is_right = match asked {
        Asked::Channel { instance, channel } => is_name(instance) && is_name(channel),
        Asked::Close { instance } | Asked::Ping { instance } => is_name(instance),
    };
    is_right.then_some(asked)
}

/// Answers 200 and leaves the body open.
fn say_and_go_on(respond: Responder) -> Result<Sending, http2::Error> {
    let mut response = Response::new(());
    let octets = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, octets);
    respond.send_response(&response, false)
}

/// Answers with a status, before the request's body ends: the original's extension ends it only
/// when it has seen the answer.
async fn say(status: StatusCode, respond: Responder, mut body: Receiving) {
    let mut response = Response::new(());
    *response.status_mut() = status;
    if respond.send_response(&response, true).is_ok() {
        drop(timeout(HANDSHAKE_TIME, ended(&mut body)).await);
    }
}

const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// The original's extension gives a connection up when it was idle for 5 s, unless it is frozen.
const IDLE_TIME: Duration = Duration::from_secs(30);
const REFUSALS_MAX: u32 = 16;
const NAME_BYTES_MAX: usize = 64;
/// No invoke lasts longer than 15 min.
const LEASE: Duration = Duration::from_secs(900);

const CONFIG: Config = Config {
    // The same whatever its slots, for a connection has said it before anybody knows whose it is.
    stream_window: RESPONSE_BYTES_MIN,
    connection_window: 64 << 10,
    frame_bytes: 64 << 10,
    head_bytes: 16 << 10,
    // As many channels as a payload can ask for, pings and closes, for two invokes.
    streams_max: 600,
};
const PIPE_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use tokio::io::duplex;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::admission::{Admission, Bounds};
    use crate::http2::Opener;

    const CLOSE: &str = "/api/chunked/close/i";

    /// A stranger on a connection, and the task that serves it.
    fn stranger() -> (Opener, JoinHandle<()>) {
        let (near, far) = duplex(64 << 10);
        let place = Admission::default().admit(None, Bounds { all: 1, of_address: 1 }).unwrap();
        let v1 = V1::new(Invited::default(), Networks::none().and_loopback());
        let (opener, mut connection) = http2::client(near, CONFIG);
        tokio::spawn(async move { connection.run().await });
        (opener, tokio::spawn(v1.serve(far, place)))
    }

    async fn close(opener: &Opener) -> Option<StatusCode> {
        let request = Request::get(format!("http://router{CLOSE}")).body(()).unwrap();
        let (response, _body) = opener.open(&request, true).ok()?;
        Some(response.response().await.ok()?.status())
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_attach_loses_the_place_however_often_they_ask_for_something() {
        let (opener, serving) = stranger();
        let asking = async {
            while close(&opener).await == Some(StatusCode::OK) {
                tokio::time::sleep(Duration::from_secs(4)).await;
            }
        };
        timeout(Duration::from_secs(20), asking).await.expect("it is closed");
        serving.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_only_that_unknown_instances_be_closed_is_sent_away() {
        let (opener, serving) = stranger();
        let mut answered = 0;
        while close(&opener).await == Some(StatusCode::OK) {
            answered += 1;
            assert!(answered <= 2 * REFUSALS_MAX, "it goes on");
        }
        serving.await.unwrap();
    }

    #[test]
    fn both_forms_of_a_path_are_read_and_no_other() {
        let channel = Some(Asked::Channel { instance: "i", channel: "c" });
        assert_eq!(read_path("/api/chunked/request/i/c"), channel);
        let long = "/api/chunked/request/poolId/p/lambdaId/i/channelId/c";
        assert_eq!(read_path(long), channel);
        let ping = Some(Asked::Ping { instance: "i" });
        assert_eq!(read_path("/api/chunked/ping/i"), ping);
        assert_eq!(read_path("/api/chunked/ping/poolId/p/lambdaId/i"), ping);
        let close = Some(Asked::Close { instance: "i" });
        assert_eq!(read_path(CLOSE), close);
        assert_eq!(read_path("/api/chunked/close/poolId/p/lambdaId/i"), close);
        for other in ["/", "/reset", "/api/chunked/ping/", "/api/chunked/request/i", "/ping/i"] {
            assert_eq!(read_path(other), None, "{other}");
        }
    }
}
