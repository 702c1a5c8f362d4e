//! One exchange: a client's request goes to an instance, and the response comes back.
//!
//! ```text
//!   in line ──▶ verdict ──▶ stream to the instance ──▶ response head ──▶ body
//!                 │ refuse     │ given back: wait again    │ none: ask the
//!                 ▼            ▼                           ▼ model what now
//!            429 503 504                                502 504
//! ```
//!
//! Whoever drops the exchange, at any moment, has cancelled it: the ticket tells the model, the
//! stream is reset, and the app sees its client leave.

use std::io::{self, ErrorKind};

use bytes::Bytes;
use dispatch_model::{Ending, Input, RefuseReason};
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;
use tokio::time::timeout;

use crate::edge::Patience;
use crate::entry::Entry;
use crate::headers::{ERROR, content_length};
use crate::http2::{self, By, Error, Receiving};
use crate::interim::Hints;
use crate::observe::Proof;
use crate::pool::{Ticket, Verdict};
use crate::relay::{Limits, Relayed, ResponseBody, Source};
use crate::request_head::response_headers;
use crate::session::{Session, undelivered};
use crate::stream_body::StreamBody;
use crate::upgrade::{SWITCHED, Upgrade};
use crate::upload::{Sending, Silence, Upload, Uploading};

/// A request that has got in line.
pub(crate) struct Exchange {
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
pub(crate) enum Failure {
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
    pub(crate) fn of_body(error: &hyper::Error) -> Self {
        if has_gone(error) { Self::ClientGone } else { Self::ClientBody }
    }

    /// Answers for ourselves; `closes` if what comes next on the connection is not a request.
    pub(crate) fn answered(self, entry: &mut Entry, closes: bool) -> Response<ResponseBody> {
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
    pub(crate) const fn new(
        ticket: Ticket,
        entry: Entry,
        patience: Patience,
        upload: Option<Upload>,
        expects: bool,
        hints: Option<Hints>,
        upgrade: Option<Upgrade>,
    ) -> Self {
        Self {
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
        }
    }

    /// Answers the client with what came of the request, and how long that took if it `is_timed`.
    pub(crate) fn answer(
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
    pub(crate) async fn run_in_time(
        &mut self,
        request: &Request<()>,
    ) -> Result<Response<Receiving>, Failure> {
        let Some(total) = self.patience.total else { return self.run(request).await };
        let left = self.entry.left(total);
        // Boxed, or every request would carry it twice.
        timeout(left, Box::pin(self.run(request))).await.unwrap_or(Err(Failure::OutOfTime))
    }

    /// Has the request served, by as many instances as the model says.
    async fn run(&mut self, request: &Request<()>) -> Result<Response<Receiving>, Failure> {
        let mut verdict = self.verdict().await?;
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
                    self.ticket.failed(ending);
                    self.verdict().await?
                }
            };
        }
    }

    /// The model's word, unless the client's body breaks before it comes.
    async fn verdict(&mut self) -> Result<Verdict, Failure> {
        let Some(upload) = self.upload.as_mut().filter(|_| !self.expects) else {
            return Ok(self.ticket.verdict().await);
        };
        tokio::select! {
            biased;
            verdict = self.ticket.verdict() => Ok(verdict),
            error = upload.broken() => Err(Failure::of_body(&error)),
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
        let unknown = Ending::Unknown { repeatable: !had_body && request.method().is_safe() };
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
                if self.stands_for_none(&response) {
                    return Err(Attempt::Ended(unknown, Proof::None));
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
                    None => Attempt::Ended(unknown, Proof::None),
                })
            }
        }
    }

    /// Whether the extension says with `response` that the app has seen the request and broke off.
    fn stands_for_none(&self, response: &Response<Receiving>) -> bool {
        let error = response.headers().get(ERROR);
        if let Some(error) = error {
            let request_id = self.entry.request_id();
            tracing::info!(request_id, ?error, "the app left without an answer");
        }
        error.is_some()
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
        entry.app_responded(parts.status);
        let body = match parts.status {
            _ if request.method == Method::HEAD => StreamBody::bodiless(stream),
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => StreamBody::bodiless(stream),
            _ => StreamBody::new(stream, content_length(&parts.headers)),
        };
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

/// A response that is all there is, noted. To a HEAD it is its head.
pub(crate) fn answered(
    mut response: Response<ResponseBody>,
    entry: &mut Entry,
    reason: &'static str,
) -> Response<ResponseBody> {
    if entry.is_head() {
        // hyper knows that only in HTTP/1, and then says no length.
        let length = response.body().size_hint().lower();
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        *response.body_mut() = Source::Text(None).into();
    }
    entry.responded(response.status().as_u16());
    entry.add_bytes_out(usize::try_from(response.body().size_hint().lower()).unwrap_or(0));
    entry.finish(reason);
    response
}

const SERVER_TIMING: header::HeaderName = header::HeaderName::from_static("server-timing");
pub(crate) const CLOSE: HeaderValue = HeaderValue::from_static("close");
