//! The heads that travel inside a channel's bodies: read and written, nothing else.
//!
//! ```text
//! GET /a?b=c HTTP/1.1 CR LF                HTTP/1.1 200 OK CR LF
//! Host: example.com CR LF                  content-type: text/plain CR LF
//! CR LF                                    CR LF
//! ```
//!
//! What is written fits the original's parsers: at most 64 header lines in a request, one line for
//! each name, no byte in a target that `http::Uri` refuses; at most 32 KiB in a response, and a
//! space after each colon. What is read may be anything: a head that is wrong is an error.
//!
//! Names that belong to one hop, or to the wire itself, neither pass in nor out. Bytes of values
//! pass as they are.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{self, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version, request, response};
use thiserror::Error;

use crate::headers::{content_length, end_to_end};

/// Collects the bytes of a head until it is whole.
#[derive(Debug)]
pub struct HeadBuffer {
    bytes: BytesMut,
    bytes_max: usize,
}

impl HeadBuffer {
    /// A buffer for a head of at most `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes: BytesMut::new(), bytes_max }
    }

    /// Takes in what has come next. Gives the head with its empty line, and what follows it, once
    /// the head is whole.
    ///
    /// # Errors
    ///
    /// [`BadHead::TooLong`], as soon as no end can come within the limit.
    pub fn take_in(&mut self, mut piece: Bytes) -> Result<Option<(Bytes, Bytes)>, BadHead> {
        if self.bytes.is_empty()
            && let Some(end) = end_of_head(&piece, 0)
        {
            // The usual case: nothing is copied.
            return if end <= self.bytes_max {
                let head = piece.split_to(end);
                Ok(Some((head, piece)))
            } else {
                Err(BadHead::TooLong)
            };
        }
        let from = self.bytes.len().saturating_sub(END_BYTES_MAX - 1);
        // No more is kept than the longest head and what tells that it is too long.
        let room = (self.bytes_max + 1).saturating_sub(self.bytes.len());
        self.bytes.put_slice(&piece[..room.min(piece.len())]);
        match end_of_head(&self.bytes, from) {
            Some(end) if end <= self.bytes_max => {
                let kept = self.bytes.len();
                let beyond = piece.split_off(room.min(piece.len()));
                let mut all = self.bytes.split();
                let head = all.split_to(end).freeze();
                debug_assert_eq!(head.len() + all.len(), kept);
                if !beyond.is_empty() {
                    all.put_slice(&beyond);
                }
                Ok(Some((head, all.freeze())))
            }
            Some(_) => Err(BadHead::TooLong),
            None if self.bytes.len() > self.bytes_max => Err(BadHead::TooLong),
            None => Ok(None),
        }
    }

    /// Whether nothing has come yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Where the head ends that starts at the beginning, if an empty line begins at `from` or later.
fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    let mut from = from;
    loop {
        let line_feed = from + bytes.get(from..)?.iter().position(|byte| *byte == b'\n')?;
        match bytes.get(line_feed + 1..) {
            Some([b'\n', ..]) => return Some(line_feed + 2),
            Some([b'\r', b'\n', ..]) => return Some(line_feed + 3),
            Some(_) | None => from = line_feed + 1,
        }
    }
}

/// What a head may be wrong with.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadHead {
    /// More than one content-length, or none that is a number.
    #[error("the content-length is not one number")]
    Length,
    /// Not HTTP/1.1.
    #[error("the head is not one of HTTP/1.1")]
    Malformed,
    /// 1xx, or none that HTTP knows.
    #[error("the status is not 200 to 999")]
    Status,
    /// A target that cannot be passed on.
    #[error("the request target is illegal")]
    Target,
    /// No end within the limit.
    #[error("the head is too long")]
    TooLong,
}

/// What the head of a request says of its body, which is raw on this wire whatever that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// It would come in chunks.
    Chunks,
    /// It has so many bytes.
    Length(u64),
    /// Nothing. There is none then if the client speaks HTTP/1.1.
    Nothing,
}

/// Why a head cannot be said on this wire.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Unsayable {
    /// A target below `/_lambda_dispatch/`, where a peer takes it for an order.
    #[error("this path is reserved")]
    Reserved,
    /// `CONNECT`, or a target that is no path, such as `*`.
    #[error("this method or target cannot be passed on")]
    NotAPath,
    /// A request with more header lines than the peer's parser has room for, or a response with
    /// more bytes.
    #[error("the head is too large")]
    TooLarge,
}

impl Unsayable {
    /// The status to answer such a request with.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::NotAPath => StatusCode::NOT_IMPLEMENTED,
            Self::Reserved => StatusCode::NOT_FOUND,
            Self::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        }
    }
}

/// Writes the head of a request as the original's extension can read it. `Expect` stays behind, for
/// this wire cannot say that a body may come: whoever has a channel for the request says it.
///
/// # Errors
///
/// See [`Unsayable`].
pub fn write_request(head: &request::Parts, has_body: bool) -> Result<Bytes, Unsayable> {
    let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    if head.method == Method::CONNECT || !target.starts_with('/') {
        return Err(Unsayable::NotAPath);
    }
    if target.starts_with(RESERVED_PREFIX) {
        return Err(Unsayable::Reserved);
    }
    let headers = passing(head.headers.clone());
    let mut text = Vec::with_capacity(512);
    text.extend_from_slice(head.method.as_str().as_bytes());
    text.push(b' ');
    write_target(&mut text, target);
    text.extend_from_slice(b" HTTP/1.1\r\n");
    let mut lines = 0;
    if !headers.contains_key(header::HOST) {
        let authority = head.uri.authority().map_or("localhost", Authority::as_str);
        write_line(&mut text, b"host", authority.as_bytes());
        lines += 1;
    }
    // The original's extension keeps only the last line of a name.
    let is_said = |name: &&HeaderName| **name != header::TE && **name != header::EXPECT;
    for name in headers.keys().filter(is_said) {
        let separator: &[u8] = if name == header::COOKIE { b"; " } else { b", " };
        let values: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        write_line(&mut text, name.as_str().as_bytes(), &values.join(separator));
        lines += 1;
    }
    if !headers.contains_key(header::CONTENT_LENGTH) {
        // The body is never framed: these words are for the extension's HTTP client, which sends a
        // body to the app only if the head says that there is one.
        let wants_length = [Method::POST, Method::PUT, Method::PATCH].contains(&head.method);
        if has_body {
            write_line(&mut text, b"transfer-encoding", b"chunked");
            lines += 1;
        } else if wants_length {
            write_line(&mut text, b"content-length", b"0");
            lines += 1;
        }
    }
    text.extend_from_slice(b"\r\n");
    if lines > REQUEST_LINES_MAX { Err(Unsayable::TooLarge) } else { Ok(text.into()) }
}

/// Writes the head of a response as the original's router can read it.
///
/// The original's extension also writes `X-Lambda-Id` and `X-Channel-Id`, which the original's
/// router shows to every client although they are the keys to the instance. Nobody needs them, so
/// they are not written.
///
/// # Errors
///
/// [`Unsayable::TooLarge`].
pub fn write_response(head: response::Parts) -> Result<Bytes, Unsayable> {
    let mut text = Vec::with_capacity(512);
    text.extend_from_slice(b"HTTP/1.1 ");
    text.extend_from_slice(head.status.as_str().as_bytes());
    if let Some(reason) = head.status.canonical_reason() {
        text.push(b' ');
        text.extend_from_slice(reason.as_bytes());
    }
    text.extend_from_slice(b"\r\n");
    for (name, value) in &passing(head.headers) {
        write_line(&mut text, name.as_str().as_bytes(), value.as_bytes());
    }
    text.extend_from_slice(b"\r\n");
    if text.len() > RESPONSE_BYTES_MAX { Err(Unsayable::TooLarge) } else { Ok(text.into()) }
}

/// The head that tells an extension to leave, on a channel where it waits for a request.
#[must_use]
pub fn goaway(instance: &str, channel: &str) -> Bytes {
    let lines = format!("X-Lambda-Id: {instance}\r\nX-Channel-Id: {channel}\r\n\r\n");
    Bytes::from(format!("{GOAWAY_LINE}{lines}"))
}

/// Reads the head of a request, as a router has written it, and what it says of the body.
///
/// # Errors
///
/// See [`BadHead`].
pub fn read_request(head: &[u8]) -> Result<Request<Announced>, BadHead> {
    let mut lines = vec![httparse::EMPTY_HEADER; count_lines(head)];
    let mut parsed = httparse::Request::new(&mut lines);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) | Err(_) => return Err(BadHead::Malformed),
    }
    let (Some(method), Some(target), Some(1)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(BadHead::Malformed);
    };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| BadHead::Malformed)?;
    let target = PathAndQuery::try_from(target).map_err(|_| BadHead::Target)?;
    if method == Method::CONNECT || !target.as_str().starts_with('/') {
        return Err(BadHead::Target);
    }
    let chunks = header::TRANSFER_ENCODING.as_str();
    let in_chunks = parsed.headers.iter().any(|line| line.name.eq_ignore_ascii_case(chunks));
    let headers = read_headers(parsed.headers)?;
    let announced = match content_length(&headers) {
        Some(length) => Announced::Length(length),
        None if in_chunks => Announced::Chunks,
        None => Announced::Nothing,
    };
    let mut request = Request::new(announced);
    *request.method_mut() = method;
    // Where the app sees the request addressed to is what Host says.
    *request.uri_mut() = Uri::from(target);
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Reads the head of a response, as an extension has written it.
///
/// # Errors
///
/// See [`BadHead`].
pub fn read_response(head: &[u8]) -> Result<Response<()>, BadHead> {
    let mut lines = vec![httparse::EMPTY_HEADER; count_lines(head)];
    let mut parsed = httparse::Response::new(&mut lines);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) | Err(_) => return Err(BadHead::Malformed),
    }
    let status = parsed.code.ok_or(BadHead::Malformed)?;
    let status = StatusCode::from_u16(status).map_err(|_| BadHead::Status)?;
    if status.is_informational() {
        return Err(BadHead::Status);
    }
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = read_headers(parsed.headers)?;
    Ok(response)
}

/// Whether `head` is the router's own order to leave. A client's request for that path has more
/// lines, or not these.
#[must_use]
pub fn is_goaway(head: &[u8], instance: &str, channel: &str) -> bool {
    // Nearly all heads are none, which their first line tells.
    let line = head.get(..GOAWAY_LINE.len());
    line.is_some_and(|line| line.eq_ignore_ascii_case(GOAWAY_LINE.as_bytes()))
        && head.eq_ignore_ascii_case(&goaway(instance, channel))
}

fn read_headers(lines: &[httparse::Header<'_>]) -> Result<HeaderMap, BadHead> {
    let mut headers = HeaderMap::with_capacity(lines.len());
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| BadHead::Malformed)?;
        let value = HeaderValue::from_bytes(line.value).map_err(|_| BadHead::Malformed)?;
        headers.append(name, value);
    }
    if headers.contains_key(header::TRANSFER_ENCODING) {
        // The body is raw, whatever is said; but then a length was not what framed it.
        headers.remove(header::CONTENT_LENGTH);
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        let digits = !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
        if !digits || length.len() > LENGTH_DIGITS_MAX || lengths.next().is_some() {
            return Err(BadHead::Length);
        }
    }
    Ok(passing(headers))
}

/// The headers that are a message's and not the wire's.
fn passing(headers: HeaderMap) -> HeaderMap {
    end_to_end(headers, |name, _| !is_the_wires(name))
}

fn is_the_wires(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("lambda-dispatch-") || WIRE_NAMES.contains(&name)
}

fn write_line(text: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    text.extend_from_slice(name);
    text.extend_from_slice(b": ");
    text.extend_from_slice(value);
    text.extend_from_slice(b"\r\n");
}

/// Writes a target, with the bytes escaped that the original's extension dies of.
fn write_target(text: &mut Vec<u8>, target: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in target.bytes() {
        if byte <= b' ' || byte >= 0x7f || b"\"<>`".contains(&byte) {
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            text.extend_from_slice(&[b'%', digits[0], digits[1]]);
        } else {
            text.push(byte);
        }
    }
}

/// As many headers as a head can have at most: no more are read, and none is missed.
fn count_lines(head: &[u8]) -> usize {
    head.iter().filter(|byte| **byte == b'\n').count()
}

/// Longest head of a response, as the original's router reads it.
pub const RESPONSE_BYTES_MAX: usize = 32 << 10;
/// Longest head of a request. The original sends at most 32 KiB, our router what it takes.
pub const REQUEST_BYTES_MAX: usize = 256 << 10;

/// How the router's order to leave begins.
const GOAWAY_LINE: &str = "GET /_lambda_dispatch/goaway HTTP/1.1\r\n";
const RESERVED_PREFIX: &str = "/_lambda_dispatch/";
/// What the original's extension has room for.
const REQUEST_LINES_MAX: usize = 64;
/// More do not fit a number of bytes.
const LENGTH_DIGITS_MAX: usize = 19;
/// The longest end of a head: LF CR LF.
const END_BYTES_MAX: usize = 3;
const WIRE_NAMES: [&str; 3] = ["x-pool-id", "x-lambda-id", "x-channel-id"];

#[cfg(test)]
mod tests;
