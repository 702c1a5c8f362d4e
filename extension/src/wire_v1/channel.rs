//! One channel: opened, given a request, answered, opened again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dispatch_model::lifecycle::Input;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use io_tokio::http2::{Error, Receiving, Sending};
use io_tokio::net::Connector;
use io_tokio::request_id::RequestId;
use io_tokio::wire_v1::body::{NoHead, Raw, read_head};
use io_tokio::wire_v1::head::{Announced, BadHead, REQUEST_BYTES_MAX, is_goaway, read_request};
use tokio::time::timeout;

use super::Link;
use crate::relay::{forbid, relay, tell_end};
use crate::stream::{Answer, Lent, Upload, Way};

/// A channel.
pub(super) struct Channel<C: Connector> {
    link: Arc<Link<C>>,
    id: String,
    /// What opens it, but for the date.
    request: Request<()>,
}

/// Why a channel is not opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChannelEnd {
    /// The router is gone, or does not know this instance any more.
    Broken,
    /// The router does not want it: 4xx.
    Refused,
    /// The router has let it go.
    Released,
    /// The router cannot take it now: 5xx.
    Unavailable,
}

impl<C: Connector> Channel<C> {
    pub(super) fn new(link: Arc<Link<C>>, id: String) -> Self {
        let path = format!("/api/chunked/request/{}/{id}", link.instance);
        let mut request = link.request(Method::POST, &path);
        let headers = request.headers_mut();
        let octets = HeaderValue::from_static("application/octet-stream");
        headers.insert(header::CONTENT_TYPE, octets);
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.insert(CHANNEL_ID, id);
        }
        Self { link, id, request }
    }

    /// Serves one request after the other.
    pub(super) async fn run(self) -> ChannelEnd {
        loop {
            if *self.link.leaves.borrow() {
                return ChannelEnd::Released;
            }
            let (mut down, up) = match self.open().await {
                Ok(opened) => opened,
                Err(end) => return end,
            };
            let head = tokio::select! {
                biased;
                head = read_head(&mut down, REQUEST_BYTES_MAX) => head,
                () = self.not_released() => {
                    tracing::debug!("the router did not release a channel");
                    end(up);
                    return ChannelEnd::Released;
                }
            };
            match head {
                Ok((head, _)) if is_goaway(&head, &self.link.instance, &self.id) => {
                    end(up);
                    return ChannelEnd::Released;
                }
                Ok((head, rest)) => match read_request(&head) {
                    Ok(request) => self.relay(request, Raw::new(rest, down), up).await,
                    Err(error) => refuse(up, error),
                },
                Err(NoHead::Bad(error)) => refuse(up, error),
                Err(NoHead::Ended) => {
                    end(up);
                    return ChannelEnd::Released;
                }
                Err(error) => {
                    tracing::debug!(%error, "a channel broke");
                    return ChannelEnd::Broken;
                }
            }
        }
    }

    /// Opens the channel; the router answers at once.
    async fn open(&self) -> Result<(Receiving, Sending), ChannelEnd> {
        let link = &self.link;
        let broken = |error: Error| {
            tracing::warn!(%error, "a channel to the router cannot be opened");
            ChannelEnd::Broken
        };
        let request = link.dated(self.request.clone());
        let (response, up) = link.router.open(&request, false).map_err(broken)?;
        let response = response.response().await.map_err(broken)?;
        let status = response.status();
        if status != StatusCode::OK {
            tracing::debug!(%status, "the router does not open a channel");
            end(up);
            return Err(match status {
                StatusCode::CONFLICT if link.attached.initialized() => ChannelEnd::Released,
                _ if status.is_server_error() => ChannelEnd::Unavailable,
                _ => ChannelEnd::Refused,
            });
        }
        let tell = || async {
            tracing::info!(instance = link.instance, "attached over the original's wire");
            link.kept.clear();
            link.inputs.tell(Input::Attached).await;
        };
        // Whoever comes second waits too: no request may be heard of before this is.
        link.attached.get_or_init(tell).await;
        Ok((response.into_body(), up))
    }

    /// Returns when the link leaves and the router has had time enough to release this channel.
    async fn not_released(&self) {
        let mut leaves = self.link.leaves.subscribe();
        if leaves.wait_for(|leaves| *leaves).await.is_ok() {
            tokio::time::sleep(RELEASE_TIME).await;
        }
    }

    /// Passes a request on and its answer back.
    async fn relay(&self, request: Request<Announced>, body: Raw, up: Sending) {
        let link = &self.link;
        let answer = Answer::to(request.method(), Way::Channel(up));
        if link.hooks.are_at(request.uri().path()) {
            let id = RequestId::of(request.headers());
            return forbid(answer, &id);
        }
        let length = match (request.body(), request.method()) {
            (Announced::Length(0) | Announced::Chunks, _) => None,
            (Announced::Length(length), _) => Some(*length),
            // The stream often ends some time after the head: that is not to be waited for.
            (Announced::Nothing, &Method::GET | &Method::HEAD) => Some(0),
            // The body of a client that speaks HTTP/2 to the router need not be announced.
            (Announced::Nothing, _) => None,
        };
        let (body, returned) = Lent::new(body.of_length(length));
        let request = request.map(|_| Upload::Channel(body));
        link.inputs.tell(Input::RequestStarted).await;
        let ending = relay(request, answer, &link.app, link.compress, &link.inputs).await;
        tell_end(Some(ending), &link.inputs).await;
        // The answer may have come before the end of the request. If that were reset now, a router
        // of the original could cut what it has of the answer.
        let rest = async {
            // An app that does not read it may keep it for longer than that.
            let Ok(mut body) = returned.await else { return };
            while let Some(Ok(_)) = body.frame().await {}
        };
        drop(timeout(REST_TIME, rest).await);
    }
}

/// Ends a channel on which nothing was said.
fn end(mut up: Sending) {
    if let Err(error) = up.send_data(Bytes::new(), true) {
        tracing::debug!(%error, "a channel has ended already");
    }
}

/// Answers a request that is none.
fn refuse(up: Sending, error: BadHead) {
    tracing::warn!(%error, "the router sent a request that is none");
    let status = if error == BadHead::TooLong {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    } else {
        StatusCode::BAD_REQUEST
    };
    let answer = Answer { way: Way::Channel(up), is_bodiless: false };
    answer.say(status, "The request is malformed.\n", None, &RequestId::default());
}

const CHANNEL_ID: HeaderName = HeaderName::from_static("x-channel-id");
/// A router of the original releases waiting channels once a second.
const RELEASE_TIME: Duration = Duration::from_secs(3);
const REST_TIME: Duration = Duration::from_secs(1);
