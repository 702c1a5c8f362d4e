//! The attach handshake: how an instance makes itself known on a fresh connection.
//!
//! The extension connects (TCP, then TLS 1.3 unless plaintext is allowed) and sends exactly this,
//! lines ending in CR LF:
//!
//! ```text
//! GET /_lambda_dispatch/attach HTTP/1.1
//! Host: 10.0.0.1:5004
//! Connection: Upgrade
//! Upgrade: lambda-dispatch/2
//! Authorization: LD2 <instance>.<64 hex digits>
//! Lambda-Dispatch-Slots: 10
//! Lambda-Dispatch-Lease-Ms: 59000
//! Lambda-Dispatch-Cold: 1
//! ```
//!
//! and an empty line. The digits are `HMAC-SHA256(token, "ld2|" <instance> "|" <exporter>)`. The
//! token came with the invoke; the exporter is 32 bytes that both ends derive from this one TLS
//! connection (label `EXPORTER-lambda-dispatch-attach`, no context), so that what is overheard on
//! one connection opens no other. On plaintext it is empty. The lease is how much longer the
//! instance may be used: a duration, because absolute times never cross the wire.
//!
//! The router answers with one of
//!
//! ```text
//! HTTP/1.1 101 Switching Protocols            HTTP/1.1 401 Unauthorized
//! Connection: Upgrade                         Content-Length: 0
//! Upgrade: lambda-dispatch/2                  Connection: close
//! ```
//!
//! (400, 401, 409 or 503; then it closes). After 101 the roles turn: the router sends the HTTP/2
//! client preface as its next bytes, the extension is the HTTP/2 server.
//!
//! A head is at most 4 KiB. How long to wait for one is the caller's decision.

use std::time::Duration;

use ring::hmac;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::hex;
use crate::secret::Secret;

/// What an instance says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The router's authority, for the `Host` line: `10.0.0.1:5004`.
    pub host: String,
    /// The id that came with the invoke.
    pub instance: String,
    /// How many requests it runs at a time, at least 1.
    pub slots: u16,
    /// How much longer it may be used, in whole milliseconds.
    pub lease: Duration,
    /// Whether this is the environment's first invoke.
    pub cold: bool,
}

/// What somebody who attaches claims to be, before [`HelloClaim::verify`].
#[derive(Clone, PartialEq, Eq)]
pub struct HelloClaim {
    /// The id it was invoked with; ASCII letters, digits, `-` and `_`.
    pub instance: String,
    mac: [u8; 32],
    /// How many requests it runs at a time, at least 1.
    pub slots: u16,
    /// How much longer it may be used.
    pub lease: Duration,
    /// Whether this is its environment's first invoke.
    pub cold: bool,
}

impl HelloClaim {
    /// Whether it was made with `token` on the connection of `exporter`; takes the same time
    /// whatever is wrong.
    #[must_use]
    pub fn verify(&self, token: &Secret, exporter: &[u8]) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
        hmac::verify(&key, &signed(&self.instance, exporter), &self.mac).is_ok()
    }
}

/// Without the proof, which without TLS would let others in.
impl std::fmt::Debug for HelloClaim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { instance, mac: _, slots, lease, cold } = self;
        f.debug_struct("HelloClaim")
            .field("instance", instance)
            .field("slots", slots)
            .field("lease", lease)
            .field("cold", cold)
            .finish_non_exhaustive()
    }
}

/// Why an attach is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not an attach request: 400.
    BadRequest,
    /// The instance claims more slots than it was asked for: 409.
    Conflict,
    /// The router is shutting down, or full: 503.
    Unavailable,
    /// Unknown, attached or ended instance, or a wrong token (never said which): 401.
    Unauthorized,
}

impl Refusal {
    const fn status(self) -> &'static str {
        match self {
            Self::BadRequest => "400 Bad Request",
            Self::Conflict => "409 Conflict",
            Self::Unavailable => "503 Service Unavailable",
            Self::Unauthorized => "401 Unauthorized",
        }
    }
}

/// Why an attach did not come about.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The peer ended the connection first.
    #[error("the peer closed the connection during the attach handshake")]
    Closed,
    /// The connection broke.
    #[error("the connection broke during the attach handshake: {0}")]
    Io(#[from] std::io::Error),
    /// The peer does not speak this protocol.
    #[error("the attach handshake is malformed: {0}")]
    Malformed(&'static str),
    /// The router said no.
    #[error("the router refused the attach with status {status}")]
    Refused {
        /// The status of its answer.
        status: u16,
    },
    /// The peer's head does not end.
    #[error("the attach handshake is longer than {HEAD_BYTES_MAX} bytes")]
    TooLong,
}

/// Attaches: the extension's side. After `Ok` the next byte on `io` is the router's HTTP/2 preface.
///
/// # Errors
///
/// [`AttachError::Refused`] if the router says no, the others if it is not a router.
pub async fn request<S: AsyncRead + AsyncWrite + Unpin>(
    io: &mut S,
    hello: &Hello,
    token: &Secret,
    exporter: &[u8],
) -> Result<(), AttachError> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
    let mac = hmac::sign(&key, &signed(&hello.instance, exporter));
    let head = format!(
        "GET {ATTACH_PATH} HTTP/1.1\r\n\
         Host: {host}\r\n\
         Connection: Upgrade\r\n\
         Upgrade: {PROTOCOL}\r\n\
         Authorization: LD2 {instance}.{mac}\r\n\
         Lambda-Dispatch-Slots: {slots}\r\n\
         Lambda-Dispatch-Lease-Ms: {lease_ms}\r\n\
         Lambda-Dispatch-Cold: {cold}\r\n\r\n",
        host = hello.host,
        instance = hello.instance,
        mac = hex::encode(mac.as_ref()),
        slots = hello.slots,
        lease_ms = hello.lease.as_millis(),
        cold = u8::from(hello.cold),
    );
    io.write_all(head.as_bytes()).await?;
    io.flush().await?;

    // Byte by byte, because what follows the head belongs to HTTP/2. It is some 90 bytes, once.
    let mut head = Vec::with_capacity(128);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == HEAD_BYTES_MAX {
            return Err(AttachError::TooLong);
        }
        head.push(io.read_u8().await.map_err(closed)?);
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(&head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) | Err(_) => {
            return Err(AttachError::Malformed("the answer is not an HTTP/1.1 response"));
        }
    }
    match response.code {
        Some(101) if is(find(response.headers, "upgrade")?, PROTOCOL) => Ok(()),
        Some(101) => Err(AttachError::Malformed("the answer upgrades to another protocol")),
        Some(status) => Err(AttachError::Refused { status }),
        None => Err(AttachError::Malformed("the answer has no status")),
    }
}

/// Reads the request of somebody who attaches: the router's side.
///
/// # Errors
///
/// Everything but an io error deserves [`refuse`] with [`Refusal::BadRequest`].
pub async fn read<S: AsyncRead + Unpin>(io: &mut S) -> Result<HelloClaim, AttachError> {
    let mut head = Vec::with_capacity(512);
    loop {
        let room = HEAD_BYTES_MAX - head.len();
        if room == 0 {
            return Err(AttachError::TooLong);
        }
        if (&mut *io).take(room as u64).read_buf(&mut head).await? == 0 {
            return Err(AttachError::Closed);
        }
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&head) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {
                return claim(&request);
            }
            Ok(httparse::Status::Complete(_)) => {
                return Err(AttachError::Malformed("bytes follow the request before its answer"));
            }
            Ok(httparse::Status::Partial) => {}
            Err(_) => return Err(AttachError::Malformed("not an HTTP/1.1 request")),
        }
    }
}

fn claim(request: &httparse::Request<'_, '_>) -> Result<HelloClaim, AttachError> {
    if request.method != Some("GET") || request.path != Some(ATTACH_PATH) {
        return Err(AttachError::Malformed("the request is not for the attach path"));
    }
    let headers = &*request.headers;
    if !is(find(headers, "upgrade")?, PROTOCOL) {
        return Err(AttachError::Malformed("the request upgrades to another protocol"));
    }
    let authorization = find(headers, "authorization")?;
    let (instance, mac) = authorization
        .and_then(|value| value.strip_prefix("LD2 "))
        .and_then(|credentials| credentials.rsplit_once('.'))
        .ok_or(AttachError::Malformed("Authorization is not LD2 <instance>.<mac>"))?;
    let id_is_plain = (1..=INSTANCE_LENGTH_MAX).contains(&instance.len())
        && instance.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let mac = hex::decode(mac.as_bytes())
        .filter(|_| id_is_plain)
        .ok_or(AttachError::Malformed("Authorization is not LD2 <instance>.<mac>"))?;
    let slots = number(headers, "lambda-dispatch-slots")?
        .and_then(|slots| u16::try_from(slots).ok())
        .filter(|slots| *slots > 0)
        .ok_or(AttachError::Malformed("Lambda-Dispatch-Slots is not 1 to 65535"))?;
    let lease_ms = number(headers, "lambda-dispatch-lease-ms")?
        .filter(|lease_ms| *lease_ms <= LEASE_MS_MAX)
        .ok_or(AttachError::Malformed("Lambda-Dispatch-Lease-Ms is not 0 to 86400000"))?;
    let cold = number(headers, "lambda-dispatch-cold")?
        .filter(|cold| *cold <= 1)
        .ok_or(AttachError::Malformed("Lambda-Dispatch-Cold is neither 0 nor 1"))?;
    Ok(HelloClaim {
        instance: instance.to_owned(),
        mac,
        slots,
        lease: Duration::from_millis(lease_ms),
        cold: cold == 1,
    })
}

/// Accepts an attach; the router's HTTP/2 preface must follow.
///
/// # Errors
///
/// The connection broke.
pub async fn accept<S: AsyncWrite + Unpin>(io: &mut S) -> Result<(), AttachError> {
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {PROTOCOL}\r\n\r\n"
    );
    io.write_all(head.as_bytes()).await?;
    Ok(io.flush().await?)
}

/// Refuses an attach and ends the connection.
///
/// # Errors
///
/// The connection broke.
pub async fn refuse<S: AsyncWrite + Unpin>(
    io: &mut S,
    refusal: Refusal,
) -> Result<(), AttachError> {
    let head =
        format!("HTTP/1.1 {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", refusal.status());
    io.write_all(head.as_bytes()).await?;
    Ok(io.shutdown().await?)
}

fn signed(instance: &str, exporter: &[u8]) -> Vec<u8> {
    [b"ld2|", instance.as_bytes(), b"|", exporter].concat()
}

/// The one header of that name, as text; twice is an error, since readers could differ.
fn find<'h>(headers: &[httparse::Header<'h>], name: &str) -> Result<Option<&'h str>, AttachError> {
    let mut found = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
    let Some(header) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(AttachError::Malformed("a header is repeated"));
    }
    str::from_utf8(header.value)
        .map(Some)
        .map_err(|_| AttachError::Malformed("a header is not text"))
}

fn number(headers: &[httparse::Header<'_>], name: &str) -> Result<Option<u64>, AttachError> {
    let digits = find(headers, name)?.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    Ok(digits.and_then(|digits| digits.parse().ok()))
}

fn is(value: Option<&str>, expected: &str) -> bool {
    value.is_some_and(|value| value.eq_ignore_ascii_case(expected))
}

fn closed(error: std::io::Error) -> AttachError {
    if error.kind() == std::io::ErrorKind::UnexpectedEof {
        AttachError::Closed
    } else {
        AttachError::Io(error)
    }
}

/// The path of the attach request.
pub const ATTACH_PATH: &str = "/_lambda_dispatch/attach";
/// The name of this protocol, in `Upgrade` and as TLS's ALPN.
pub const PROTOCOL: &str = "lambda-dispatch/2";

const HEAD_BYTES_MAX: usize = 4096;
const HEADERS_MAX: usize = 16;
const INSTANCE_LENGTH_MAX: usize = 64;
/// No instance lives longer than a day.
const LEASE_MS_MAX: u64 = 86_400_000;

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    fn hello() -> Hello {
        Hello {
            host: "10.0.0.1:5004".to_owned(),
            instance: "i-1_a".to_owned(),
            slots: 10,
            lease: Duration::from_millis(59_000),
            cold: true,
        }
    }

    fn token() -> Secret {
        Secret::from_bytes([7; 32])
    }

    fn pair() -> (DuplexStream, DuplexStream) {
        duplex(16 * 1024)
    }

    #[tokio::test]
    async fn an_instance_attaches_with_its_token() {
        let (mut near, mut far) = pair();
        let router = async {
            let claim = read(&mut far).await.unwrap();
            accept(&mut far).await.unwrap();
            far.write_all(b"PRI * HTTP/2.0").await.unwrap();
            claim
        };
        let hello = hello();
        let token = token();
        let (attached, claim) = tokio::join!(request(&mut near, &hello, &token, b"x"), router);
        attached.unwrap();
        assert_eq!((claim.instance.as_str(), claim.slots, claim.cold), ("i-1_a", 10, true));
        assert_eq!(claim.lease, Duration::from_secs(59));
        assert!(claim.verify(&token, b"x"));
        assert!(!claim.verify(&token, b"y"), "another connection");
        assert!(!claim.verify(&Secret::from_bytes([8; 32]), b"x"), "another token");
        assert!(!HelloClaim { instance: "i-2".to_owned(), ..claim }.verify(&token, b"x"));
        let mut preface = [0; 14];
        near.read_exact(&mut preface).await.unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0", "not a byte of HTTP/2 was taken");
    }

    #[tokio::test]
    async fn a_refusal_arrives_as_its_status() {
        for (refusal, status) in [
            (Refusal::BadRequest, 400),
            (Refusal::Unauthorized, 401),
            (Refusal::Conflict, 409),
            (Refusal::Unavailable, 503),
        ] {
            let (mut near, mut far) = pair();
            refuse(&mut far, refusal).await.unwrap();
            let error = request(&mut near, &hello(), &token(), b"").await.unwrap_err();
            assert!(matches!(error, AttachError::Refused { status: is } if is == status));
        }
    }

    #[tokio::test]
    async fn a_router_that_vanishes_is_seen() {
        let (mut near, far) = pair();
        drop(far);
        let error = request(&mut near, &hello(), &token(), b"").await.unwrap_err();
        assert!(matches!(error, AttachError::Closed | AttachError::Io(_)), "{error}");
    }

    /// The bytes of a right attach request, with one line replaced.
    fn request_with(from: &str, to: &str) -> String {
        let head = format!(
            "GET /_lambda_dispatch/attach HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
             Upgrade: lambda-dispatch/2\r\nAuthorization: LD2 i-1.{}\r\n\
             Lambda-Dispatch-Slots: 10\r\nLambda-Dispatch-Lease-Ms: 59000\r\n\
             Lambda-Dispatch-Cold: 1\r\n\r\n",
            "ab".repeat(32)
        );
        assert!(head.contains(from), "{from}");
        head.replacen(from, to, 1)
    }

    async fn read_bytes(bytes: &[u8]) -> Result<HelloClaim, AttachError> {
        let (mut near, mut far) = pair();
        near.write_all(bytes).await.unwrap();
        drop(near);
        read(&mut far).await
    }

    #[tokio::test]
    async fn requests_that_are_not_an_attach_are_refused() {
        assert!(read_bytes(request_with("i-1", "i-1").as_bytes()).await.is_ok());
        for (from, to) in [
            ("GET", "POST"),
            ("/attach ", "/attach/x "),
            ("lambda-dispatch/2", "h2c"),
            ("LD2 ", "LD1 "),
            ("i-1.", "."),
            ("i-1.", "i 1."),
            ("abab", "ab"),
            ("Slots: 10", "Slots: 0"),
            ("Slots: 10", "Slots: 65536"),
            ("Slots: 10", "Slots: +10"),
            ("Lease-Ms: 59000", "Lease-Ms: 86400001"),
            ("Lease-Ms: 59000", "Lease-Ms: "),
            ("Cold: 1", "Cold: 2"),
            ("Host: a", "Lambda-Dispatch-Slots: 11"),
            ("Host: a", "Host : a"),
            ("\r\n\r\n", "\r\n\r\nPRI"),
            ("GET", "\u{16}\u{3}\u{1}"),
        ] {
            let result = read_bytes(request_with(from, to).as_bytes()).await;
            assert!(matches!(result, Err(AttachError::Malformed(_))), "{from} -> {to}: {result:?}");
        }
    }

    #[tokio::test]
    async fn a_head_without_an_end_is_cut_off() {
        let endless = request_with("Host: a", &format!("Host: {}", "a".repeat(5000)));
        assert!(matches!(read_bytes(endless.as_bytes()).await, Err(AttachError::TooLong)));
        let (half, _) = endless.split_at(60);
        assert!(matches!(read_bytes(half.as_bytes()).await, Err(AttachError::Closed)));
    }
}
