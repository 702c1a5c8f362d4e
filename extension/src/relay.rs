//! One request: from the router's stream, or channel (see [`stream`](crate::stream)), to the app
//! and back.
//!
//! What is passed on is passed on as it came: the raw path, headers with their order, repeats and
//! bytes, bodies chunk by chunk, trailers. Changed is only what HTTP/1.1 and HTTP/2 say
//! differently: `:authority` becomes `Host`, cookie crumbs become one line, hop-by-hop headers go.
//!
//! How it can end, as the router sees it:
//!
//! | what happened | the stream |
//! |---|---|
//! | the app answered | its answer |
//! | nothing of the request reached the app | `REFUSED_STREAM`: may be given to another instance |
//! | the head of its answer is too long | 502 |
//! | its answer is in a transfer coding other than `chunked`, or has lengths that differ | 502 |
//! | the app broke off before its answer | 502 with `lambda-dispatch-error: app-connection` |
//! | its answer is not HTTP, or no switch that was asked for | the same with `app-answer` |
//! | the app broke off within its answer | `INTERNAL_ERROR`: cut, never a clean end |
//! | the router reset the stream | the connection to the app is closed at once |
//!
//! 1xx answers are passed on as they come. A client that expects `100-continue` gets that from the
//! app, or from us where the app says nothing for a second or, speaking HTTP/2, cannot be heard.
//!
//! Nothing of one request can touch another.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::time::Duration;

use dispatch_model::lifecycle::Input;
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http::{header, request, response};
use http_body::Body;
use hyper::body::Incoming;
use io_tokio::headers::{content_length, end_to_end, list_bytes, without};
use io_tokio::http2::{Error, Sending};
use io_tokio::interim::{INTERIM_MAX, continues};
use io_tokio::lifecycle_driver::Inputs;
use io_tokio::net::Connector;
use io_tokio::request_id::RequestId;
use io_tokio::session::ANSWER_HEAD_BYTES_MAX;
use io_tokio::stream_body::{SendError, send_body};
use io_tokio::wire_v1::body::Raw;
use io_tokio::wire_v1::head::write_response;
use tokio::time::Sleep;

use crate::app::{App, AppError, Interims, Line, RequestBody};
use crate::compression::{Compressed, Plan, Wish};
use crate::hold;
use crate::stream::{Answer, Upload, Way};
use crate::upgrade::Upgrade;

/// What a request's end shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nobody listens on the app's port.
    AppGone,
    /// The link broke under it.
    LinkLost,
    /// Nothing beyond itself: answered, refused, cut or given up by the router.
    Own,
}

/// Tells the machine that a request has ended, and what that has shown; `None` if it was given up.
pub(crate) async fn tell_end(ending: Option<Ending>, inputs: &Inputs) {
    inputs.tell(Input::RequestEnded).await;
    if ending == Some(Ending::AppGone) {
        inputs.tell(Input::AppExited).await;
    }
}

/// Relays one request, until both directions have ended.
///
/// What is rare is boxed, here and below: every request carries this future with it, and each move
/// of it is a copy.
pub(crate) async fn relay<C: Connector>(
    request: Request<Upload>,
    respond: Answer,
    app: &App<C>,
    compress: bool,
    inputs: &Inputs,
) -> Ending {
    let line = Line::default();
    let ending = {
        let mut work = pin!(relay_over(&line, request, respond, app, compress, inputs));
        poll_fn(|cx| line.poll_beside(work.as_mut(), cx)).await
    };
    app.give_back(line);
    ending
}

async fn relay_over<C: Connector>(
    line: &Line<C::Io>,
    request: Request<Upload>,
    mut respond: Answer,
    app: &App<C>,
    compress: bool,
    inputs: &Inputs,
) -> Ending {
    let (mut head, upload) = request.into_parts();
    let id = &RequestId::of(&head.headers);
    // Of what the app does not know it is not asked: the CONNECT is then a method like others.
    let mut upgrade = if app.knows_upgrade() { Upgrade::of(&mut head) } else { None };
    let wish = if compress { Wish::of(&head.method, &head.headers) } else { Wish::NONE };
    let Some(()) = make_app_head(&mut head) else {
        let text = if app.knows_upgrade() {
            "This method is not supported.\n"
        } else {
            "An app that speaks HTTP/2 is not asked for another protocol.\n"
        };
        respond.say(StatusCode::NOT_IMPLEMENTED, text, None, id);
        return Ending::Own;
    };
    let (body, mut tunnel) = match (&mut upgrade, upload) {
        (Some(upgrade), Upload::Stream(stream)) => {
            upgrade.ask(&mut head.headers);
            (RequestBody::EMPTY, Some(stream))
        }
        (_, upload) => (RequestBody::new(upload, content_length(&head.headers)), None),
    };
    let interims = Interims::default();
    let mut before = Before { expectation: Expectation::of(&head), left: INTERIM_MAX };
    let mut sending = pin!(app.send(line, head, body, &interims));
    let answered = loop {
        tokio::select! {
            biased;
            // The router does not want an answer any more; leaving here closes the connection.
            error = poll_fn(|cx| respond.poll_broken(cx)) => {
                tracing::debug!(request_id = %id, %error, "the router wants no answer any more");
                let is_reset = matches!(error, Error::Reset { .. });
                return if is_reset { Ending::Own } else { Ending::LinkLost };
            }
            // Before the interims, which are added here and wake nobody.
            answered = &mut sending => break answered,
            head = interims.next() => before.pass_on(head, &mut respond, id),
            () = before.expectation.over() => pass_on_interim(continues(), &mut respond, id),
        }
    };
    while let Some(head) = interims.take() {
        before.pass_on(head, &mut respond, id);
    }
    match answered {
        Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            match (upgrade.zip(tunnel.take()), respond) {
                (Some((upgrade, from)), Answer { way: Way::Stream(respond), .. }) => {
                    return Box::pin(upgrade.pass_on(response, from, respond, id)).await;
                }
                (_, respond) => {
                    tracing::warn!(
                        request_id = %id, "the app switched protocols without being asked"
                    );
                    bad_gateway(respond, AppFault::Switched, id);
                }
            }
        }
        Ok(response) => {
            // Told when the response begins, for its end may never be seen, and again when it ends.
            let hold = hold::asked(response.headers(), id).map(|span| Input::HoldAsked { span });
            if let Some(hold) = hold {
                inputs.tell(hold).await;
            }
            let ending = pass_on(response, respond, wish, id).await;
            if let Some(hold) = hold {
                inputs.tell(hold).await;
            }
            return ending;
        }
        Err(error) => return unanswered(error, respond, id),
    }
    Ending::Own
}

/// Gives a request back, if the app saw nothing of it, or answers for the app.
fn unanswered(error: AppError, respond: Answer, id: &RequestId) -> Ending {
    match error {
        AppError::Unreachable(error) => {
            tracing::warn!(
                request_id = %id,
                %error,
                "cannot connect to the app; the request goes back to the router"
            );
            respond.refuse(id);
            if error.kind() == std::io::ErrorKind::ConnectionRefused {
                return Ending::AppGone;
            }
        }
        AppError::Unprocessed(_) => {
            let error = chain(&error);
            tracing::info!(request_id = %id, error, "the request goes back to the router");
            respond.refuse(id);
        }
        AppError::Broken(ref cause) => {
            if !cause.is_parse() {
                tracing::warn!(request_id = %id, error = chain(&error), "no answer from the app");
                bad_gateway(respond, AppFault::Closed, id);
                return Ending::Own;
            }
            tracing::warn!(request_id = %id, error = chain(cause), "the app's answer is not HTTP");
            if cause.is_parse_too_large() {
                respond.say(StatusCode::BAD_GATEWAY, HEAD_TOO_LONG, None, id);
            } else {
                bad_gateway(respond, AppFault::NotHttp, id);
            }
        }
    }
    Ending::Own
}

/// What may still come before the answer.
struct Before {
    expectation: Expectation,
    /// How many more interim answers are passed on.
    left: usize,
}

impl Before {
    fn pass_on(&mut self, head: Response<()>, respond: &mut Answer, id: &RequestId) {
        let is_wanted = if head.status() == StatusCode::CONTINUE {
            self.expectation.is_met()
        } else {
            let room = self.left > 0;
            self.left = self.left.saturating_sub(1);
            room
        };
        if is_wanted {
            pass_on_interim(head, respond, id);
        }
    }
}

/// Whether the client waits for a word before it sends its body, and how long we wait for it.
enum Expectation {
    /// The app says it, or nobody after a while.
    Open(Pin<Box<Sleep>>),
    /// There is none, or it is met.
    None,
}

impl Expectation {
    fn of(head: &request::Parts) -> Self {
        match head.headers.get(header::EXPECT) {
            Some(value) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
                Self::Open(Box::pin(tokio::time::sleep(CONTINUE_PATIENCE)))
            }
            _ => Self::None,
        }
    }

    /// The app said it. Whether anybody waited for that.
    fn is_met(&mut self) -> bool {
        matches!(std::mem::replace(self, Self::None), Self::Open(_))
    }

    /// Returns when the app had its time to say it. Many never do, and wait for the body.
    async fn over(&mut self) {
        match self {
            Self::Open(patience) => patience.await,
            Self::None => std::future::pending().await,
        }
        *self = Self::None;
    }
}

fn pass_on_interim(mut head: Response<()>, respond: &mut Answer, id: &RequestId) {
    let headers = std::mem::take(head.headers_mut());
    *head.headers_mut() = router_headers(headers);
    if is_too_long(head.headers()) {
        tracing::warn!(request_id = %id, "the head of an interim answer of the app is too long");
        return;
    }
    if let Err(error) = respond.send_interim(&head) {
        tracing::debug!(request_id = %id, %error, "an interim answer cannot be passed on");
    }
}

async fn pass_on(
    response: Response<Incoming>,
    respond: Answer,
    wish: Wish,
    id: &RequestId,
) -> Ending {
    let (mut head, body) = response.into_parts();
    // What a length frames is in no coding.
    if body.size_hint().exact().is_none() && take_off_chunks(&mut head.headers).is_none() {
        tracing::warn!(request_id = %id, "the app's answer is in more than chunks");
        respond.say(StatusCode::BAD_GATEWAY, ODD_CODING, None, id);
        return Ending::Own;
    }
    if make_length_one(&mut head.headers).is_none() {
        tracing::warn!(request_id = %id, "the app's answer has lengths that are none, or differ");
        respond.say(StatusCode::BAD_GATEWAY, ODD_LENGTH, None, id);
        return Ending::Own;
    }
    let plan = Plan::new(wish, head.status, &head.headers, body.size_hint().exact());
    head.headers = plan.headers(router_headers(head.headers));
    if is_too_long(&head.headers) {
        tracing::warn!(request_id = %id, "the head of the app's answer is too long");
        respond.say(StatusCode::BAD_GATEWAY, HEAD_TOO_LONG, None, id);
        return Ending::Own;
    }
    let Answer { way, is_bodiless } = respond;
    let respond = match way {
        Way::Channel(up) => {
            let response = router_response(head);
            return pass_on_channel(response, body, plan, up, is_bodiless, id).await;
        }
        Way::Stream(respond) => respond,
    };
    let ends = body.is_end_stream();
    let stream = match respond.send_response(&router_response(head), ends) {
        Ok(stream) => stream,
        // The stream was reset meanwhile.
        Err(error) => {
            tracing::debug!(request_id = %id, %error, "the answer cannot be passed on");
            return Ending::Own;
        }
    };
    if ends {
        return Ending::Own;
    }
    match plan.coding() {
        None => ending(send_body(body, stream).await, id),
        Some(coding) => {
            let sent = Box::pin(send_body(Compressed::new(body, coding), stream)).await;
            ending(sent, id)
        }
    }
}

/// The same on a channel, where the head is the first of the bytes.
async fn pass_on_channel(
    response: Response<()>,
    body: Incoming,
    plan: Plan,
    up: Sending,
    is_bodiless: bool,
    id: &RequestId,
) -> Ending {
    let head = match write_response(response.into_parts().0) {
        Ok(head) => head,
        Err(error) => {
            tracing::warn!(
                request_id = %id, %error, "the app's answer does not fit the original's wire"
            );
            let respond = Answer { way: Way::Channel(up), is_bodiless };
            respond.say(StatusCode::BAD_GATEWAY, HEAD_TOO_LONG, None, id);
            return Ending::Own;
        }
    };
    match plan.coding() {
        None => ending(send_body(Raw::before(head, body), up).await, id),
        Some(coding) => {
            let body = Raw::before(head, Box::pin(Compressed::new(body, coding)));
            ending(Box::pin(send_body(body, up)).await, id)
        }
    }
}

fn ending<E: std::error::Error + 'static>(
    sent: Result<u64, SendError<E>>,
    id: &RequestId,
) -> Ending {
    match sent {
        Ok(_) => Ending::Own,
        Err(SendError::Closed(_)) => Ending::LinkLost,
        Err(SendError::Body(error)) => {
            let error = chain(&error);
            tracing::warn!(request_id = %id, error, "the app broke off within its answer");
            Ending::Own
        }
        // The router wants no more of it, which is no news.
        Err(_) => Ending::Own,
    }
}

/// Makes `head` what the app is to see; `None` for what cannot be said in HTTP/1.1.
fn make_app_head(head: &mut request::Parts) -> Option<()> {
    if head.method == Method::CONNECT {
        return None;
    }
    let mut headers = end_to_end(std::mem::take(&mut head.headers), |_, _| true);
    if !headers.contains_key(header::HOST) {
        let authority = head.uri.authority().map_or("localhost", |authority| authority.as_str());
        let rest = std::mem::take(&mut headers);
        headers.insert(header::HOST, HeaderValue::from_str(authority).ok()?);
        headers.extend(rest);
    }
    if headers.get_all(header::COOKIE).iter().nth(1).is_some() {
        let joined = joined_cookies(&headers)?;
        headers.insert(header::COOKIE, joined);
    }
    let target = head.uri.path_and_query().cloned();
    head.uri = Uri::from(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
    head.version = Version::HTTP_11;
    head.headers = headers;
    Some(())
}

/// HTTP/2 splits cookies into crumbs, HTTP/1.1 knows only one line (RFC 9113, 8.2.3).
fn joined_cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let crumbs: Vec<_> =
        headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    HeaderValue::from_bytes(&crumbs.join(&b"; "[..])).ok()
}

/// The app's headers as the router is to see them.
pub(crate) fn router_headers(headers: HeaderMap) -> HeaderMap {
    // Such names are ours to say.
    let is_ours = |name: &HeaderName| name.as_str().starts_with("lambda-dispatch-");
    end_to_end(headers, |name, _| !is_ours(name))
}

/// Makes the head of an answer what it is without chunks, which hyper has taken off: they overrule
/// a length beside them (RFC 9112, 6.3). `None` if there is another coding, which is still on, and
/// of which nobody would be told.
fn take_off_chunks(headers: &mut HeaderMap) -> Option<()> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Some(()) };
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return None;
    }
    if headers.contains_key(header::CONTENT_LENGTH) {
        *headers = without(headers, &header::CONTENT_LENGTH);
    }
    Some(())
}

/// Leaves of a length that is said again the first, for clients of HTTP/2 take no other. `None` if
/// it is no number or differs from another, which hyper looks at only where there is a body.
fn make_length_one(headers: &mut HeaderMap) -> Option<()> {
    let mut lengths = headers
        .get_all(header::CONTENT_LENGTH)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii);
    let Some(length) = lengths.next() else { return Some(()) };
    let is_repeated = match lengths.next() {
        None => false,
        Some(other) if other == length && lengths.all(|other| other == length) => true,
        Some(_) => return None,
    };
    let digits = std::str::from_utf8(length).ok().filter(|_| length.iter().all(u8::is_ascii_digit));
    let number: u64 = digits?.parse().ok()?;
    if is_repeated {
        headers.insert(header::CONTENT_LENGTH, number.into());
    }
    Some(())
}

/// Whether a head with `headers` is more than the router takes.
fn is_too_long(headers: &HeaderMap) -> bool {
    list_bytes(headers) + STATUS_BYTES > ANSWER_HEAD_BYTES_MAX as usize
}

fn router_response(head: response::Parts) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response
}

/// Refuses what no client may ask of the app.
pub(crate) fn forbid(respond: Answer, id: &RequestId) {
    let text = "This path is not for clients.\n";
    respond.say(StatusCode::FORBIDDEN, text, None, id);
}

/// Answers for an app that gave no answer.
pub(crate) fn bad_gateway(respond: Answer, fault: AppFault, id: &RequestId) {
    let (name, text) = match fault {
        AppFault::Closed => {
            ("app-connection", "The app closed the connection before it answered.\n")
        }
        AppFault::NotHttp => {
            ("app-answer", "The app's answer is not HTTP; the extension's log says more.\n")
        }
        AppFault::Switched => {
            ("app-answer", "The app switched protocols otherwise than it was asked.\n")
        }
    };
    respond.say(StatusCode::BAD_GATEWAY, text, Some(name), id);
}

/// What an app did instead of giving an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AppFault {
    /// It closed the connection.
    Closed,
    /// It said something that is no answer.
    NotHttp,
    /// It went on in a protocol that nobody had asked for.
    Switched,
}

/// An error and its causes on one line; hyper says what happened only in the cause.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

const ODD_CODING: &str = "The app's answer is in a transfer coding other than chunked.\n";
const ODD_LENGTH: &str = "The app's answer has a Content-Length that is none, or several.\n";
const HEAD_TOO_LONG: &str = "The head of the app's answer is too long.\n";
/// What `:status` counts for in a head.
const STATUS_BYTES: usize = ":status200".len() + 32;
/// How long an app may take to say whether it wants a body; RFC 9110, 10.1.1: nobody should wait
/// for ever.
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> request::Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn app_head(mut head: request::Parts) -> request::Parts {
        make_app_head(&mut head).unwrap();
        head
    }

    #[test]
    fn the_app_sees_the_raw_path_and_the_clients_authority() {
        let head = parts("https://example.com/a%2Fb//..;x?q=%20&q=2", &[("x-a", "1")]);
        let head = app_head(head);
        assert_eq!(head.uri.to_string(), "/a%2Fb//..;x?q=%20&q=2");
        assert_eq!(head.headers[header::HOST], "example.com");
        assert_eq!(head.version, Version::HTTP_11);
        let named = parts("https://example.com/", &[("host", "other.com")]);
        assert_eq!(app_head(named).headers[header::HOST], "other.com");
    }

    #[test]
    fn cookie_crumbs_become_one_line_in_their_place() {
        let head = parts("/", &[("a", "1"), ("cookie", "x=1"), ("b", "2"), ("cookie", "y=2")]);
        let headers = app_head(head).headers;
        let lines: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(lines, ["host", "a", "cookie", "b"]);
        assert_eq!(headers[header::COOKIE], "x=1; y=2");
    }

    #[test]
    fn the_app_cannot_speak_in_our_name() {
        let mut headers = HeaderMap::new();
        let switched = ("lambda-dispatch-switched", "x");
        let error = ("lambda-dispatch-error", "x");
        let wait = ("lambda-dispatch-wait-until", "1s");
        for (name, value) in [("a", "1"), error, switched, wait, ("b", "2"), ("c", "3")] {
            headers.append(name, value.parse().unwrap());
        }
        let kept = router_headers(headers);
        let names: Vec<_> = kept.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }
}
