//! Requests, responses and trailers as lists of fields (RFC 9113, section 8).

use bytes::{Bytes, BytesMut};
use h2::ext::Protocol;
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{self, Authority, PathAndQuery, Scheme, Uri};
use http::{Method, Request, Response, StatusCode, Version};

use super::hpack::{Decoder, Encoder, Field, Name, Unreadable};
use crate::headers::is_hop_by_hop;

/// A list of fields that came.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) headers: HeaderMap,
    pseudo: Pseudo,
    /// The length that it declares.
    pub(super) content_length: Option<u64>,
    /// It is none that HTTP/2 allows.
    pub(super) is_malformed: bool,
    /// It is longer than we allow; what came after that is missing.
    pub(super) is_too_long: bool,
}

#[derive(Debug, Default)]
struct Pseudo {
    authority: Option<HeaderValue>,
    method: Option<HeaderValue>,
    path: Option<HeaderValue>,
    protocol: Option<HeaderValue>,
    scheme: Option<HeaderValue>,
    status: Option<HeaderValue>,
}

impl Head {
    /// Reads `block`, of at most `bytes_max` as the fields count.
    pub(super) fn read(
        decoder: &mut Decoder,
        block: &Bytes,
        bytes_max: usize,
    ) -> Result<Self, Unreadable> {
        let mut head = Self { headers: HeaderMap::with_capacity(HEADERS), ..Self::default() };
        let mut bytes = 0;
        decoder.decode(block, |field| {
            bytes += field.size;
            if bytes > bytes_max {
                head.is_too_long = true;
            } else {
                head.add(field);
            }
        })?;
        Ok(head)
    }

    fn add(&mut self, field: Field) {
        let Field { name, value, .. } = field;
        let place = match name {
            Name::Field(name) => {
                let is_malformed = is_hop_by_hop(&name)
                    || name == header::TE && value != "trailers"
                    || name == header::CONTENT_LENGTH && !self.declare(&value)
                    || self.headers.try_append(name, value).is_err();
                self.is_malformed |= is_malformed;
                return;
            }
            Name::Authority => &mut self.pseudo.authority,
            Name::Method => &mut self.pseudo.method,
            Name::Path => &mut self.pseudo.path,
            Name::Protocol => &mut self.pseudo.protocol,
            Name::Scheme => &mut self.pseudo.scheme,
            Name::Status => &mut self.pseudo.status,
            Name::Illegal => {
                self.is_malformed = true;
                return;
            }
        };
        // Each comes once, and before the headers.
        self.is_malformed |= place.replace(value).is_some() || !self.headers.is_empty();
    }

    /// Whether a declared length is one, and does not contradict another.
    fn declare(&mut self, value: &HeaderValue) -> bool {
        let digits = value.as_bytes();
        let length = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        let is_number = digits.iter().all(u8::is_ascii_digit);
        let Some(length) = length.filter(|_| is_number) else { return false };
        self.content_length.replace(length).is_none_or(|before| before == length)
    }

    pub(super) const fn is_trailers(&self) -> bool {
        let Pseudo { authority, method, path, protocol, scheme, status } = &self.pseudo;
        !self.is_malformed
            && authority.is_none()
            && method.is_none()
            && path.is_none()
            && protocol.is_none()
            && scheme.is_none()
            && status.is_none()
    }

    /// The status of a response.
    pub(super) fn status(&self) -> Option<StatusCode> {
        let Pseudo {
            authority: None,
            method: None,
            path: None,
            protocol: None,
            scheme: None,
            status,
        } = &self.pseudo
        else {
            return None;
        };
        let status = StatusCode::from_bytes(status.as_ref()?.as_bytes()).ok()?;
        (!self.is_malformed).then_some(status)
    }

    pub(super) fn into_response(self, status: StatusCode) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.version_mut() = Version::HTTP_2;
        *response.headers_mut() = self.headers;
        response
    }

    /// The request; `None` if it is none.
    pub(super) fn into_request(self) -> Option<Request<()>> {
        let Pseudo { authority, method, path, protocol, scheme, status } = self.pseudo;
        if self.is_malformed || status.is_some() {
            return None;
        }
        let method = Method::from_bytes(method?.as_bytes()).ok()?;
        let is_plain_connect = method == Method::CONNECT && protocol.is_none();
        // A CONNECT names only whom it is for, unless it asks for a protocol; others always ask
        // for something.
        if is_plain_connect != path.is_none() || is_plain_connect != scheme.is_none() {
            return None;
        }
        if protocol.is_some() && method != Method::CONNECT {
            return None;
        }
        let mut parts = uri::Parts::default();
        if let Some(authority) = authority {
            parts.authority = Some(Authority::from_maybe_shared(shared(&authority)).ok()?);
            // Without whom to ask, it is no part of a target.
            if let Some(scheme) = scheme {
                parts.scheme = Some(Scheme::try_from(scheme.as_bytes()).ok()?);
            }
        }
        if let Some(path) = path {
            parts.path_and_query = Some(PathAndQuery::from_maybe_shared(shared(&path)).ok()?);
        }
        let mut request = Request::new(());
        if let Some(protocol) = protocol {
            request.extensions_mut().insert(Protocol::from(protocol.to_str().ok()?));
        }
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from_parts(parts).ok()?;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.headers;
        Some(request)
    }
}

fn shared(value: &HeaderValue) -> Bytes {
    Bytes::copy_from_slice(value.as_bytes())
}

/// Writes the fields of a request.
pub(super) fn write_request(request: &Request<()>, encoder: &mut Encoder, to: &mut BytesMut) {
    encoder.begin(to);
    encoder.pseudo(":method", request.method().as_str(), to);
    let protocol = request.extensions().get::<Protocol>();
    let uri = request.uri();
    if request.method() != Method::CONNECT || protocol.is_some() {
        encoder.pseudo(":scheme", uri.scheme_str().unwrap_or("http"), to);
        let path = match uri.path_and_query().map_or("", PathAndQuery::as_str) {
            "" if request.method() == Method::OPTIONS => "*",
            "" => "/",
            path => path,
        };
        encoder.pseudo(":path", path, to);
    }
    if let Some(authority) = uri.authority() {
        encoder.pseudo(":authority", authority.as_str(), to);
    }
    if let Some(protocol) = protocol {
        encoder.pseudo(":protocol", protocol.as_str(), to);
    }
    write_headers(request.headers(), encoder, to);
}

/// Writes the fields of a response.
pub(super) fn write_response(response: &Response<()>, encoder: &mut Encoder, to: &mut BytesMut) {
    encoder.begin(to);
    encoder.pseudo(":status", response.status().as_str(), to);
    write_headers(response.headers(), encoder, to);
}

/// Writes trailers.
pub(super) fn write_trailers(trailers: &HeaderMap, encoder: &mut Encoder, to: &mut BytesMut) {
    encoder.begin(to);
    write_headers(trailers, encoder, to);
}

fn write_headers(headers: &HeaderMap, encoder: &mut Encoder, to: &mut BytesMut) {
    for (name, value) in headers {
        encoder.header(name, value, to);
    }
}

/// As many as most heads have.
const HEADERS: usize = 12;
