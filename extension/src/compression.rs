//! Compression of the app's answers, where client and answer allow it.
//!
//! An answer is *eligible* by what it is: a compressible type, a whole representation (not 204,
//! 206, 304), not small, not encoded already, not forbidden by `no-transform`. An eligible answer
//! gets
//! `Vary: Accept-Encoding` whether it is compressed or not, because caches must keep the two apart.
//! It is *compressed* if the client also wants that ([`Wish`]). Then its ETag becomes weak, since
//! the bytes are others, and lengths and ranges of the original are withdrawn.
//!
//! Each chunk is flushed as it comes, so that a streamed answer stays a stream. Server-sent events
//! are left alone: they are small, and buffering proxies are what people blame first.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use async_compression::Level;
use async_compression::brotli::EncoderParams;
use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZstdEncoder};
use async_compression::zstd::CParameter;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body::{Body, Frame};
use thiserror::Error;
use tokio::io::AsyncWrite;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// Where the client likes several equally, the first of these is taken: the least work.
    Zstd,
    Brotli,
    Gzip,
}

impl Coding {
    const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// What a request says about compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    coding: Option<Coding>,
    /// The request is one whose answer must not be touched, whatever it is.
    hands_off: bool,
}

impl Wish {
    /// Touches nothing.
    pub(crate) const NONE: Self = Self { coding: None, hands_off: true };

    /// Reads a request's head.
    pub(crate) fn of(method: &Method, headers: &HeaderMap) -> Self {
        let hands_off = method == Method::HEAD
            || headers.contains_key(header::RANGE)
            || lists(headers, header::CACHE_CONTROL, "no-transform");
        Self { coding: preferred(headers), hands_off }
    }
}

/// The coding that the client likes best, if it likes one better than none (RFC 9110, 12.5.3).
fn preferred(headers: &HeaderMap) -> Option<Coding> {
    let mut weights = [None; Coding::ALL.len()];
    let (mut any, mut identity) = (None, None);
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    for item in values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')) {
        let (name, weight) = weighted(item)?;
        let slot = match name.to_ascii_lowercase().as_str() {
            "zstd" => &mut weights[0],
            "br" => &mut weights[1],
            "gzip" | "x-gzip" => &mut weights[2],
            "identity" => &mut identity,
            "*" => &mut any,
            _ => continue,
        };
        *slot = Some(weight);
    }
    let weight = |slot: Option<u16>| slot.or(any).unwrap_or(0);
    let (coding, best) = Coding::ALL
        .into_iter()
        .zip(weights.map(weight))
        // The first of equals: `max_by_key` would take the last.
        .reduce(|best, next| if next.1 > best.1 { next } else { best })?;
    (best > 0 && best >= identity.unwrap_or(0)).then_some(coding)
}

/// A name and its weight in thousandths; `None` if it is not one.
fn weighted(item: &str) -> Option<(&str, u16)> {
    let mut parts = item.split(';').map(str::trim);
    let name = parts.next()?;
    let mut weight = 1000;
    for parameter in parts {
        let (key, value) = parameter.split_once('=')?;
        if key.trim().eq_ignore_ascii_case("q") {
            weight = thousandths(value.trim())?;
        }
    }
    Some((name, weight))
}

/// `0` to `1` with at most three decimals, in thousandths.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    let whole: u16 = whole.parse().ok().filter(|_| digits)?;
    let value = whole.checked_mul(1000)? + format!("{decimals:0<3}").parse::<u16>().ok()?;
    (value <= 1000).then_some(value)
}

/// What is done with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    coding: Option<Coding>,
    vary: bool,
}

impl Plan {
    /// Decides on an answer of `length` bytes, if that is known.
    pub(crate) fn new(
        wish: Wish,
        status: StatusCode,
        headers: &HeaderMap,
        length: Option<u64>,
    ) -> Self {
        let whole = status.is_success()
            && status != StatusCode::NO_CONTENT
            && status != StatusCode::RESET_CONTENT
            && status != StatusCode::PARTIAL_CONTENT
            || status.is_client_error()
            || status.is_server_error();
        let eligible = whole
            && !wish.hands_off
            && length.is_none_or(|length| length >= LENGTH_MIN)
            && !BOUND_TO_BYTES.iter().any(|name| headers.contains_key(*name))
            && !lists(headers, header::CACHE_CONTROL, "no-transform")
            && headers.get(header::CONTENT_TYPE).is_some_and(is_compressible);
        Self { coding: wish.coding.filter(|_| eligible), vary: eligible }
    }

    /// How the answer is compressed, if at all.
    pub(crate) const fn coding(self) -> Option<Coding> {
        self.coding
    }

    /// The answer's headers as they are sent.
    pub(crate) fn headers(self, headers: HeaderMap) -> HeaderMap {
        if !self.vary {
            return headers;
        }
        // A new map, because removing would change the order.
        let mut sent = HeaderMap::with_capacity(headers.len() + 2);
        for (name, value) in &headers {
            let value = match self.coding {
                Some(_) if name == header::CONTENT_LENGTH || name == header::ACCEPT_RANGES => {
                    continue;
                }
                Some(_) if name == header::ETAG => weak(value),
                Some(_) | None => value.clone(),
            };
            sent.append(name, value);
        }
        if let Some(coding) = self.coding {
            sent.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        }
        let varies =
            lists(&headers, header::VARY, "accept-encoding") || lists(&headers, header::VARY, "*");
        if !varies {
            sent.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        sent
    }
}

/// Whether a header that is a list names `token`, with or without parameters.
fn lists(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
}

fn weak(etag: &HeaderValue) -> HeaderValue {
    if etag.as_bytes().starts_with(b"W/") {
        return etag.clone();
    }
    HeaderValue::from_bytes(&[b"W/", etag.as_bytes()].concat()).unwrap_or_else(|_| etag.clone())
}

fn is_compressible(content_type: &HeaderValue) -> bool {
    let Ok(content_type) = content_type.to_str() else { return false };
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "text/event-stream" {
        return false;
    }
    essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || COMPRESSIBLE.contains(&essence.as_str())
}

/// A body that is compressed chunk by chunk.
#[derive(Debug)]
pub(crate) struct Compressed<B> {
    body: B,
    encoder: Encoder,
    trailers: Option<HeaderMap>,
    ended: bool,
}

/// Why a compressed body ends early.
#[derive(Debug, Error)]
pub(crate) enum CompressedError<E> {
    /// The body itself did.
    #[error("{0}")]
    Body(#[source] E),
    /// The encoder gave up.
    #[error("the answer cannot be compressed: {0}")]
    Encoder(#[source] std::io::Error),
}

impl<B> Compressed<B> {
    pub(crate) fn new(body: B, coding: Coding) -> Self {
        Self { body, encoder: Encoder::new(coding), trailers: None, ended: false }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Compressed<B> {
    type Data = Bytes;
    type Error = CompressedError<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        while !self.ended {
            let coded = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Err(error)) => {
                    return Poll::Ready(Some(Err(CompressedError::Body(error))));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.encoder.encode(&data),
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok();
                        self.ended = true;
                        self.encoder.finish()
                    }
                },
                None => {
                    self.ended = true;
                    self.encoder.finish()
                }
            };
            match coded {
                Ok(coded) if coded.is_empty() => {}
                Ok(coded) => return Poll::Ready(Some(Ok(Frame::data(coded)))),
                Err(error) => return Poll::Ready(Some(Err(CompressedError::Encoder(error)))),
            }
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

/// An encoder that writes to memory, and so is never pending.
struct Encoder(Box<dyn MemoryEncoder>);

trait MemoryEncoder: AsyncWrite + Send + Unpin {
    fn written(&mut self) -> &mut Vec<u8>;
}

impl MemoryEncoder for GzipEncoder<Vec<u8>> {
    fn written(&mut self) -> &mut Vec<u8> {
        self.get_mut()
    }
}

impl MemoryEncoder for BrotliEncoder<Vec<u8>> {
    fn written(&mut self) -> &mut Vec<u8> {
        self.get_mut()
    }
}

impl MemoryEncoder for ZstdEncoder<Vec<u8>> {
    fn written(&mut self) -> &mut Vec<u8> {
        self.get_mut()
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Encoder(..)")
    }
}

impl Encoder {
    fn new(coding: Coding) -> Self {
        Self(match coding {
            Coding::Gzip => Box::new(GzipEncoder::with_quality(Vec::new(), GZIP_LEVEL)),
            Coding::Brotli => {
                let params =
                    EncoderParams::default().quality(BROTLI_LEVEL).window_size(BROTLI_WINDOW_BITS);
                Box::new(BrotliEncoder::with_params(Vec::new(), params))
            }
            Coding::Zstd => {
                let params = [
                    CParameter::window_log(ZSTD_WINDOW_BITS),
                    CParameter::hash_log(ZSTD_WINDOW_BITS - 2),
                    CParameter::chain_log(ZSTD_WINDOW_BITS - 3),
                ];
                let encoder = ZstdEncoder::with_quality_and_params(Vec::new(), ZSTD_LEVEL, &params);
                Box::new(encoder)
            }
        })
    }

    /// Everything that the client needs to see `data`.
    fn encode(&mut self, mut data: &[u8]) -> Result<Bytes, std::io::Error> {
        while !data.is_empty() {
            let taken = at_once(|encoder, cx| encoder.poll_write(cx, data), &mut *self.0)?;
            data = data.get(taken..).unwrap_or_default();
        }
        at_once(|encoder, cx| encoder.poll_flush(cx), &mut *self.0)?;
        Ok(std::mem::take(self.0.written()).into())
    }

    fn finish(&mut self) -> Result<Bytes, std::io::Error> {
        at_once(|encoder, cx| encoder.poll_shutdown(cx), &mut *self.0)?;
        Ok(std::mem::take(self.0.written()).into())
    }
}

fn at_once<T>(
    step: impl FnOnce(Pin<&mut dyn MemoryEncoder>, &mut Context<'_>) -> Poll<std::io::Result<T>>,
    encoder: &mut dyn MemoryEncoder,
) -> std::io::Result<T> {
    match step(Pin::new(encoder), &mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(std::io::Error::other("memory was not ready")),
    }
}

/// Below this an answer fits one packet either way.
const LENGTH_MIN: u64 = 1024;
/// What says that the bytes are encoded already, or must stay as they are.
const BOUND_TO_BYTES: [&str; 6] =
    ["content-encoding", "content-range", "content-digest", "content-md5", "digest", "repr-digest"];
/// Beside `text/*`, `*+json` and `*+xml`.
const COMPRESSIBLE: [&str; 5] = [
    "application/javascript",
    "application/json",
    "application/wasm",
    "application/x-javascript",
    "application/xml",
];
/// Levels for answers that are made while the client waits.
const GZIP_LEVEL: Level = Level::Precise(5);
const BROTLI_LEVEL: Level = Level::Precise(4);
const ZSTD_LEVEL: Level = Level::Precise(3);
/// 256 KiB instead of 4 MiB of memory for each answer.
const BROTLI_WINDOW_BITS: i32 = 18;
/// And here, with tables of 384 KiB instead of 768, beside 256 KiB of buffers. Without it nobody
/// tells zstd that the answer is short, and it takes 3 MiB for each.
const ZSTD_WINDOW_BITS: u32 = 18;

#[cfg(test)]
mod tests;
