//! Requests that ask for another protocol on their connection: WebSocket, and whatever else
//! HTTP/1.1 clients name in `Upgrade`.
//!
//! ```text
//!  HTTP/1.1 client  GET + Upgrade ──┐          extended CONNECT          ┌─▶ GET + Upgrade
//!                                   ├─▶ router ──────────────▶ extension ┤        app
//!  HTTP/2 client  extended CONNECT ─┘   ◀── 200 + SWITCHED ──            └◀─ 101
//! ```
//!
//! Between router and extension it is an extended CONNECT (RFC 8441), whose stream carries the
//! bytes of both directions. The app may refuse with any answer, 200 included, so that an answer
//! with [`SWITCHED`] means that it did switch, and every other is passed on as it is. Nothing that
//! the client sends before the app's 101 is passed on.
//!
//! The key and the proof of a WebSocket belong to HTTP/1.1. Those of an HTTP/1.1 client pass from
//! end to end; for an HTTP/2 client, which has none, the extension makes a key and checks the
//! proof.
//!
//! An HTTP/2 client whose tunnel is cut sees it end, because hyper's server can show it nothing
//! else; that no WebSocket `Close` came tells it the difference.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::oneshot;

use crate::edge::Patience;
use crate::entry::Entry;
use crate::http2::{Protocol, Receiving, Sending};
use crate::patience::Busy;
use crate::pool::Ticket;
use crate::relay::{ResponseBody, Source};
use crate::request_head::response_headers;
use crate::tunnel::{Passed, TunnelError, tunnel};

/// In an answer to an extended CONNECT: the app has switched, to this protocol.
pub const SWITCHED: HeaderName = HeaderName::from_static("lambda-dispatch-switched");

/// The one protocol that HTTP/2 clients can ask for, and that has a key.
pub const WEBSOCKET: &str = "websocket";

/// What a client asks for.
#[derive(Debug)]
pub(crate) struct Upgrade {
    protocol: String,
    client: OnUpgrade,
    is_h2: bool,
}

impl Upgrade {
    /// The protocol that the request with `head` and `body` asks for, if that can be had. Then
    /// `head` is a plain GET, as it is in HTTP/1.1, and to be treated as one.
    ///
    /// A request that asks in vain, for instance for h2c, is served as if it had not asked.
    pub(crate) fn wanted(head: &mut http::request::Parts, body: &impl Body) -> Option<Self> {
        let is_h2 = head.version == Version::HTTP_2;
        let protocol = if is_h2 {
            let protocol = head.extensions.get::<hyper::ext::Protocol>()?;
            let may = head.method == Method::CONNECT && may_be_asked_for(protocol.as_str());
            may.then(|| protocol.as_str().to_owned())
        } else {
            named(head).filter(|_| body.is_end_stream())
        };
        let protocol = protocol?;
        let client = head.extensions.remove::<OnUpgrade>()?;
        head.method = Method::GET;
        // A CONNECT has no body, and says so by saying nothing.
        if head.headers.contains_key(header::CONTENT_LENGTH) {
            head.headers.remove(header::CONTENT_LENGTH);
        }
        Some(Self { protocol, client, is_h2 })
    }

    /// The head to send to an instance, from that of the GET.
    pub(crate) fn connect(&self, mut get: Request<()>) -> Request<()> {
        *get.method_mut() = Method::CONNECT;
        get.extensions_mut().insert(Protocol::from(self.protocol.as_str()));
        get
    }

    /// Whether the client can be given an answer with `status` that is no switch: to a CONNECT,
    /// success means that there is a tunnel.
    pub(crate) fn can_be_refused_with(&self, status: StatusCode) -> bool {
        !(self.is_h2 && status.is_success())
    }

    /// Answers the client that its connection is switched, and passes bytes on until that ends.
    pub(crate) fn switch(
        self,
        response: Response<Receiving>,
        to: Sending,
        ticket: Ticket,
        mut entry: Entry,
        patience: Patience,
    ) -> Response<ResponseBody> {
        let (parts, from) = response.into_parts();
        let (kept, busy) = oneshot::channel();
        let mut switched = Response::new(ResponseBody::from(Source::Switched(Some(kept))));
        *switched.headers_mut() = response_headers(parts.headers.clone());
        if !self.is_h2 {
            *switched.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = switched.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            if let Some(protocol) = parts.headers.get(SWITCHED) {
                headers.insert(header::UPGRADE, protocol.clone());
            }
        }
        entry.app_responded(switched.status());
        // No connection waits for this task: all tasks may end before it does.
        tokio::spawn(Switched { client: self.client, from, to, ticket, entry, patience }.run(busy));
        switched
    }
}

/// A client's connection that is being switched.
struct Switched {
    client: OnUpgrade,
    from: Receiving,
    to: Sending,
    ticket: Ticket,
    entry: Entry,
    patience: Patience,
}

impl Switched {
    /// Passes bytes on to the end of it. `busy` keeps the connection from being idle.
    async fn run(self, busy: oneshot::Receiver<Busy>) {
        let Self { client, from, to, ticket, mut entry, patience } = self;
        let passed = Arc::<Passed>::default();
        let instance = entry.instance();
        let why_cut = || instance.map_or("truncated", |it| ticket.pool().why_cut(it));
        let pump = async {
            let client = TokioIo::new(client.await.map_err(|_| "client_gone")?);
            tunnel(client, from, to, &passed).await.map_err(|error| match error {
                TunnelError::Connection(_) => "client_gone",
                TunnelError::Stream => why_cut(),
            })
        };
        let left = patience.total.map(|total| entry.left(total));
        let reason = tokio::select! {
            biased;
            ended = pump => ended.err().unwrap_or("served"),
            () = silence(&passed, patience.stream_idle) => "idle_timeout",
            () = passes(left) => "total_timeout",
        };
        entry.tunnelled(passed.to_stream(), passed.from_stream());
        entry.finish(reason);
        ticket.served();
        drop(busy);
    }
}

/// Returns when nothing was passed on for `limit`, or an eighth more.
async fn silence(passed: &Passed, limit: Duration) {
    let mut quiet = 0;
    let mut before = 0;
    while quiet < 9 {
        tokio::time::sleep(limit / 8).await;
        let now = passed.to_stream() + passed.from_stream();
        quiet = if now == before { quiet + 1 } else { 0 };
        before = now;
    }
}

async fn passes(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// The protocol that an HTTP/1.1 request names.
fn named(head: &http::request::Parts) -> Option<String> {
    let mut lines = head.headers.get_all(header::UPGRADE).iter();
    let protocol = lines.next()?.to_str().ok()?;
    let has_key = head.headers.contains_key(header::SEC_WEBSOCKET_KEY);
    let asks = lines.next().is_none()
        && may_be_asked_for(protocol)
        && head.version == Version::HTTP_11
        && head.method == Method::GET
        && has_token(&head.headers, "upgrade")
        && (has_key || !protocol.eq_ignore_ascii_case(WEBSOCKET));
    asks.then(|| protocol.to_owned())
}

/// One name, and not that of the protocol that our own links speak.
fn may_be_asked_for(protocol: &str) -> bool {
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&b);
    !protocol.is_empty() && protocol.bytes().all(is_name) && !protocol.eq_ignore_ascii_case("h2c")
}

fn has_token(headers: &HeaderMap, token: &str) -> bool {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|it| it.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// A fresh `Sec-WebSocket-Key`. `None` if the operating system has no chance to give.
#[must_use]
pub fn websocket_key() -> Option<HeaderValue> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).ok()?;
    HeaderValue::try_from(STANDARD.encode(bytes)).ok()
}

/// The `Sec-WebSocket-Accept` that proves that `key` was understood (RFC 6455, 4.2.2).
#[must_use]
pub fn websocket_accept(key: &HeaderValue) -> String {
    let mut proof = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    proof.update(key.as_bytes());
    proof.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(proof.finish())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Empty;

    use super::*;

    #[test]
    fn the_proof_is_that_of_the_standards_example() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(websocket_accept(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(websocket_key().unwrap().len(), 24);
        assert_ne!(websocket_key(), websocket_key());
    }

    #[test]
    fn what_cannot_be_had_is_not_asked_for() {
        let asks = |lines: &[(&str, &str)]| {
            let mut request = Request::builder();
            for (name, value) in lines {
                request = request.header(*name, *value);
            }
            named(&request.body(()).unwrap().into_parts().0)
        };
        let connection = ("connection", "keep-alive, Upgrade");
        let key = ("sec-websocket-key", "x");
        let websocket = ("upgrade", "WebSocket");
        assert_eq!(asks(&[connection, websocket, key]).unwrap(), "WebSocket");
        assert_eq!(asks(&[connection, ("upgrade", "foo/2")]).unwrap(), "foo/2");
        for vain in [
            &[websocket, key][..],
            &[connection, websocket],
            &[connection, key],
            &[connection, ("upgrade", "h2c")],
            &[connection, ("upgrade", "")],
            &[connection, ("upgrade", "a, b")],
            &[connection, ("upgrade", "a"), ("upgrade", "b")],
        ] {
            assert_eq!(asks(vain), None, "{vain:?}");
        }
        let mut plain = Request::new(()).into_parts().0;
        assert!(Upgrade::wanted(&mut plain, &Empty::<Bytes>::new()).is_none());
    }
}
