//! A request that asks for another protocol: an extended CONNECT from the router, an HTTP/1.1
//! Upgrade to the app, and then bytes in both directions (see [`io_tokio::upgrade`]).

use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Response, request};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use io_tokio::http2::{Protocol, Receiving, Responder};
use io_tokio::request_id::RequestId;
use io_tokio::tunnel::{Passed, TunnelError, tunnel};
use io_tokio::upgrade::{SWITCHED, WEBSOCKET, websocket_accept, websocket_key};

use crate::relay::{AppFault, Ending, bad_gateway, router_headers};
use crate::stream::{Answer, Way};

/// What the app is asked for.
#[derive(Debug)]
pub(crate) struct Upgrade {
    protocol: HeaderValue,
    /// What proves that the app understood our key; `None` if the client has a key of its own.
    proof: Option<String>,
}

impl Upgrade {
    /// What an extended CONNECT asks for; `head` is then the GET that asks the app for it, but for
    /// the headers of [`ask`](Self::ask). `None` if it is none, or cannot be asked for.
    pub(crate) fn of(head: &mut request::Parts) -> Option<Self> {
        let protocol = head.extensions.remove::<Protocol>()?;
        let protocol = HeaderValue::from_str(protocol.as_str()).ok()?;
        if head.method != Method::CONNECT {
            return None;
        }
        head.method = Method::GET;
        Some(Self { protocol, proof: None })
    }

    /// Adds the headers that ask the app.
    pub(crate) fn ask(&mut self, headers: &mut HeaderMap) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, self.protocol.clone());
        let is_websocket = is(&self.protocol, WEBSOCKET.as_bytes());
        if is_websocket
            && !headers.contains_key(header::SEC_WEBSOCKET_KEY)
            && let Some(key) = websocket_key()
        {
            self.proof = Some(websocket_accept(&key));
            headers.insert(header::SEC_WEBSOCKET_KEY, key);
        }
    }

    /// Passes on that the app switched, and then bytes until both directions have ended.
    pub(crate) async fn pass_on(
        self,
        mut response: Response<Incoming>,
        from: Receiving,
        respond: Responder,
        id: &RequestId,
    ) -> Ending {
        let fail = |respond| {
            let respond = Answer { way: Way::Stream(respond), is_bodiless: false };
            bad_gateway(respond, AppFault::Switched, id);
            Ending::Own
        };
        let Some(headers) = self.answer(response.headers()) else {
            tracing::warn!(
                request_id = %id, "the app switched to a protocol that it was not asked for"
            );
            return fail(respond);
        };
        let app = match hyper::upgrade::on(&mut response).await {
            Ok(app) => TokioIo::new(app),
            Err(error) => {
                tracing::warn!(
                    request_id = %id, %error, "the app did not finish to switch protocols"
                );
                return fail(respond);
            }
        };
        let mut switched = Response::new(());
        *switched.headers_mut() = headers;
        let to = match respond.send_response(&switched, false) {
            Ok(to) => to,
            Err(error) => {
                tracing::debug!(request_id = %id, %error, "the answer cannot be passed on");
                return Ending::Own;
            }
        };
        match tunnel(app, from, to, &Passed::default()).await {
            Ok(()) | Err(TunnelError::Stream) => {}
            Err(error) => tracing::debug!(request_id = %id, %error, "the app broke off"),
        }
        Ending::Own
    }

    /// The headers for the router, if the app did as it was asked.
    fn answer(&self, headers: &HeaderMap) -> Option<HeaderMap> {
        let switched = headers.get(header::UPGRADE)?;
        if !is(switched, self.protocol.as_bytes()) {
            return None;
        }
        let mut kept = router_headers(headers.clone());
        kept.remove(header::CONTENT_LENGTH);
        if let Some(proof) = &self.proof {
            let given = kept.remove(header::SEC_WEBSOCKET_ACCEPT)?;
            if given != proof.as_str() {
                return None;
            }
        }
        kept.insert(SWITCHED, switched.clone());
        Some(kept)
    }
}

fn is(value: &HeaderValue, name: &[u8]) -> bool {
    value.as_bytes().eq_ignore_ascii_case(name)
}
