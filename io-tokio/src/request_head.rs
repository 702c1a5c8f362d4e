//! A client's request head: refused if it is illegal, else made fit to be passed on.
//!
//! What is legal goes on byte for byte: the raw target, repeated headers, their order, any bytes in
//! values. What belongs to one hop stays behind, names that only we may use are dropped, and where
//! the request came from is added.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, StatusCode, Uri, Version};

use crate::edge::EdgeSettings;
use crate::headers::end_to_end;
use crate::networks::Networks;

/// The connection that a request came in on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Who is at its other end.
    pub peer: IpAddr,
    /// Whether it is encrypted.
    pub is_tls: bool,
    /// `peer`, as the next hop is told it.
    address: HeaderValue,
}

impl Origin {
    /// A connection from `peer`.
    #[must_use]
    pub fn new(peer: IpAddr, is_tls: bool) -> Self {
        // What an address is written with is legal in a header.
        let address = HeaderValue::from_maybe_shared(Bytes::from(peer.to_canonical().to_string()));
        Self { peer, is_tls, address: address.unwrap_or(HeaderValue::from_static("unknown")) }
    }

    /// The hops that a request with `headers` has come over: those that somebody who is trusted
    /// spoke of, and this one.
    fn chain(&self, headers: &HeaderMap, trusts: bool) -> HeaderValue {
        let mut earlier = headers.get_all(&FORWARDED_FOR).iter().filter(|_| trusts).peekable();
        if earlier.peek().is_none() {
            return self.address.clone();
        }
        let mut chain = Vec::new();
        for value in earlier {
            chain.extend_from_slice(value.as_bytes());
            chain.extend_from_slice(b", ");
        }
        chain.extend_from_slice(self.address.as_bytes());
        // Put together of what is legal.
        HeaderValue::from_maybe_shared(Bytes::from(chain)).unwrap_or_else(|_| self.address.clone())
    }
}

/// Who sent a request with `headers` that came from `peer`: whoever the nearest hop that is not
/// trusted is, as far as those that are speak of it. What is no address ends what can be believed.
pub(crate) fn client(headers: &HeaderMap, peer: IpAddr, trusted: &Networks) -> IpAddr {
    let mut client = peer;
    let lines = headers.get_all(&FORWARDED_FOR).iter().rev();
    for hop in lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')) {
        if !trusted.contains(client) {
            break;
        }
        let Some(address) = std::str::from_utf8(hop).ok().and_then(hop_address) else { break };
        client = address;
    }
    client
}

/// The address of a hop: some load balancers add the port.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim_ascii();
    let with_port = || hop.parse::<SocketAddr>().ok().map(|it| it.ip());
    let address: IpAddr = hop.parse().ok().or_else(with_port)?;
    Some(address.to_canonical())
}

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadHead {
    /// What to answer with.
    pub status: StatusCode,
    /// What is wrong with it.
    pub why: &'static str,
}

/// What a legal request asks for, and of whom.
#[derive(Clone, Debug)]
pub struct Target {
    uri: Uri,
    host: HeaderValue,
}

impl Target {
    /// That of a request with `head`, which is looked at from all sides.
    ///
    /// # Errors
    ///
    /// The client's mistake, as the status to answer with.
    pub fn of(
        head: &http::request::Parts,
        origin: &Origin,
        settings: &EdgeSettings,
    ) -> Result<Self, BadHead> {
        if head.method == Method::CONNECT || head.method == Method::TRACE {
            return Err(BadHead {
                status: StatusCode::METHOD_NOT_ALLOWED,
                why: "this method is not passed on",
            });
        }
        if head.uri.scheme().is_some_and(|it| *it != Scheme::HTTP && *it != Scheme::HTTPS) {
            return Err(bad("the target is neither http nor https"));
        }
        let mut expected = head.headers.get_all(header::EXPECT).iter();
        if !expected.all(|it| it.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
            let status = StatusCode::EXPECTATION_FAILED;
            return Err(BadHead { status, why: "nothing but 100-continue can be expected" });
        }
        if head.uri.scheme().is_none() && head.uri.authority().is_some() {
            // `GET example.com`: the form that only CONNECT has.
            return Err(bad("the target has no path"));
        }
        let path = head.uri.path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        if path.as_str().len() > settings.target_bytes_max {
            let status = StatusCode::URI_TOO_LONG;
            return Err(BadHead { status, why: "the target is too long" });
        }
        if head.version == Version::HTTP_2 {
            // That of HTTP/1 was walked over before.
            check_h2(&head.headers)?;
            if path.as_str().starts_with('?') {
                return Err(bad("the target has no path"));
            }
        }
        let lines = head.headers.len();
        if lines > settings.headers_max && lines - crumbs(head) > settings.headers_max {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Err(BadHead { status, why: "too many header lines" });
        }
        let authority = authority(head)?;
        // The app sees the authority as Host; a Host that differs from an absolute target loses.
        let host = match head.headers.get(header::HOST) {
            Some(host) if host.as_bytes() == authority.as_str().as_bytes() => host.clone(),
            _ => HeaderValue::from_str(authority.as_str()).map_err(|_| bad("Host is illegal"))?,
        };
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(if origin.is_tls { Scheme::HTTPS } else { Scheme::HTTP });
        uri.authority = Some(authority);
        uri.path_and_query = Some(path);
        let uri = Uri::from_parts(uri).map_err(|_| bad("the target is illegal"))?;
        Ok(Self { uri, host })
    }

    /// The host that is asked, with its port if it was named.
    #[must_use]
    pub fn host(&self) -> &str {
        self.uri.authority().map_or("", Authority::as_str)
    }

    /// The path, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// The head to send to an instance: `head`'s headers, which are moved, and where the request
    /// came from, `X-Forwarded-For`, `-Proto` and `-Host`. What a trusted proxy said of earlier
    /// hops stays, `-Port` included, which is not added: `-Host` has the port that was asked for,
    /// and another header costs every request. An HTTP/2 client's `Expect` does not stay: hyper's
    /// server has no way to tell it to go on, so that it must not be waited for.
    #[must_use]
    pub fn forward(
        self,
        head: &mut http::request::Parts,
        origin: &Origin,
        settings: &EdgeSettings,
    ) -> http::Request<()> {
        let trusts = settings.trusted_proxies.contains(origin.peer);
        let is_h2 = head.version == Version::HTTP_2;
        let passes = |name: &HeaderName, value: &HeaderValue| {
            let is_in_vain = is_h2 && name == header::EXPECT;
            let is_hop_claim = is_claim(name.as_str()) && !trusts;
            let is_odd = is_reserved(name) || is_look_alike(name);
            !(is_odd || is_hop_claim || is_no_trace(name, value) || is_in_vain)
        };
        // Before anything goes: nobody can have a hop forgotten by calling it hop-by-hop.
        let chain = origin.chain(&head.headers, trusts);
        let mut headers = end_to_end(std::mem::take(&mut head.headers), passes);
        if headers.get(header::HOST) != Some(&self.host) {
            headers.insert(header::HOST, self.host.clone());
        }
        headers.insert(FORWARDED_FOR, chain);
        let proto = HeaderValue::from_static(if origin.is_tls { "https" } else { "http" });
        if !(trusts && headers.contains_key(&FORWARDED_PROTO)) {
            headers.insert(FORWARDED_PROTO, proto);
        }
        if !(trusts && headers.contains_key(&FORWARDED_HOST)) {
            headers.insert(FORWARDED_HOST, self.host);
        }
        let mut request = http::Request::new(());
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = self.uri;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = headers;
        request
    }
}

/// Whether the library took nothing that HTTP/2 does not allow: values with white space around
/// them, and a length that is said again or has no digits.
fn check_h2(headers: &HeaderMap) -> Result<(), BadHead> {
    if headers.values().any(is_padded) {
        return Err(bad("a header's value begins or ends with a space or a tab"));
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter().map(HeaderValue::as_bytes);
    let is_legal = |length: &[u8]| !length.is_empty() && length.iter().all(u8::is_ascii_digit);
    if !lengths.next().is_none_or(is_legal) {
        return Err(bad("Content-Length is illegal"));
    }
    if lengths.next().is_some() {
        return Err(bad("more than one Content-Length"));
    }
    Ok(())
}

/// Whether there is white space around a value. In HTTP/2 that is malformed (RFC 9113, 8.2.1), and
/// an app that speaks HTTP/1.1 reads it as no part of the value.
fn is_padded(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    matches!(bytes.first(), Some(b' ' | b'\t')) || matches!(bytes.last(), Some(b' ' | b'\t'))
}

/// How many header lines are there only because HTTP/2 splits cookies (RFC 9113, 8.2.3): the app
/// gets one line, and their bytes count as all others do.
fn crumbs(head: &http::request::Parts) -> usize {
    if head.version != Version::HTTP_2 {
        return 0;
    }
    head.headers.get_all(header::COOKIE).iter().count().saturating_sub(1)
}

/// Whom the request is for: the target's authority, else Host, of which there must be exactly one.
fn authority(head: &http::request::Parts) -> Result<Authority, BadHead> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(bad("more than one Host"));
    }
    let host = host
        .map(|host| Authority::try_from(host.as_bytes()).map_err(|_| bad("Host is illegal")))
        .transpose()?;
    let named = head.uri.authority().cloned();
    let authority = match (named, host) {
        // HTTP/2 has one word for it, so two that differ are an attempt to be two requests.
        (Some(named), Some(host)) if head.version == Version::HTTP_2 && named != host => {
            return Err(bad("Host differs from :authority"));
        }
        (Some(named), _) | (None, Some(named)) => named,
        (None, None) if head.version < Version::HTTP_11 => Authority::from_static("localhost"),
        (None, None) => return Err(bad("no Host")),
    };
    let bytes = authority.as_str().as_bytes();
    if bytes.len() > AUTHORITY_BYTES_MAX {
        return Err(bad("Host is too long"));
    }
    if bytes.contains(&b'@') {
        return Err(bad("user information in the authority"));
    }
    // Colons within brackets are those of an IPv6 address.
    let outside = bytes.iter().rposition(|byte| *byte == b']').map_or(0, |bracket| bracket + 1);
    let colon = bytes[outside..].iter().position(|byte| *byte == b':');
    let is_legal = |port: &[u8]| port.is_empty() || authority.port_u16().is_some();
    if colon.is_some_and(|colon| !is_legal(&bytes[outside + colon + 1..])) {
        return Err(bad("the port is illegal"));
    }
    Ok(authority)
}

/// Names that mean something between router and extension: a client must not use them.
pub(crate) fn is_reserved(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("lambda-dispatch-")
        || name.starts_with("x-lambda-dispatch-")
        || matches!(name, "x-lambda-id" | "x-pool-id" | "x-channel-id" | "x-lambda-name")
        // What Lambda Web Adapter says to apps, some of which believe it.
        || matches!(name, "x-amzn-request-context" | "x-amzn-lambda-context")
}

/// Names by which a proxy says where a request came from. Who is not trusted must not use them.
pub(crate) fn is_claim(name: &str) -> bool {
    name.starts_with("x-forwarded-") || matches!(name, "forwarded" | "x-real-ip")
}

/// Names that are not legal for what they would mean to many an app: those that read headers as
/// variables take `_` for `-`, and a header `Proxy` for the proxy that they are to use.
pub(crate) fn is_look_alike(name: &HeaderName) -> bool {
    let name = name.as_str();
    if !name.contains('_') {
        return name == "proxy";
    }
    let meant = name.replace('_', "-");
    is_claim(&meant)
        || meant.starts_with("x-lambda-")
        || meant.starts_with("lambda-dispatch-")
        || meant.starts_with("x-amzn-")
        || matches!(
            meant.as_str(),
            "connection" | "content-length" | "expect" | "host" | "transfer-encoding" | "upgrade"
        )
}

/// Whether it says that it names a trace and does not.
fn is_no_trace(name: &HeaderName, value: &HeaderValue) -> bool {
    match name.as_str() {
        "traceparent" => value.len() > TRACE_BYTES_MAX || !is_trace_parent(value.as_bytes()),
        "x-amzn-trace-id" => value.len() > TRACE_BYTES_MAX,
        _ => false,
    }
}

/// Whether a `traceparent` has the shape `00-<32 digits>-<16>-<2>`, in lower case. Versions after
/// 00 may have more behind that.
#[must_use]
pub fn is_trace_parent(value: &[u8]) -> bool {
    let Some((known, more)) = value.split_at_checked(55) else { return false };
    let has_shape = known.iter().enumerate().all(|(at, byte)| match at {
        2 | 35 | 52 => *byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    });
    let is_over = more.is_empty() || more.starts_with(b"-") && !known.starts_with(b"00");
    has_shape && is_over && !known.starts_with(b"ff")
}

/// A response's headers as the client may see them.
#[must_use]
pub fn response_headers(headers: HeaderMap) -> HeaderMap {
    end_to_end(headers, |name, _| !is_reserved(name))
}

/// Four times the longest name that DNS has; the app is told it three times.
const AUTHORITY_BYTES_MAX: usize = 1_024;
/// A trace's name that is longer is none.
const TRACE_BYTES_MAX: usize = 512;

const fn bad(why: &'static str) -> BadHead {
    BadHead { status: StatusCode::BAD_REQUEST, why }
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(
        build: impl FnOnce(http::request::Builder) -> http::request::Builder,
    ) -> http::request::Parts {
        build(http::Request::builder()).body(()).unwrap().into_parts().0
    }

    fn from(peer: &str) -> Origin {
        Origin::new(peer.parse().unwrap(), false)
    }

    fn sent(head: &http::request::Parts, peer: &str) -> Result<http::Request<()>, BadHead> {
        let settings = EdgeSettings::default();
        let target = Target::of(head, &from(peer), &settings)?;
        Ok(target.forward(&mut head.clone(), &from(peer), &settings))
    }

    #[test]
    fn target_and_headers_pass_unchanged() {
        let head = parts(|head| {
            head.uri("/a%2Fb//../c?q=%zz&\u{7b}x\u{7d}")
                .header("host", "example.com:81")
                .header("b", "1")
                .header("a", "2")
                .header("b", "3")
                .header("cookie", HeaderValue::from_bytes(b"x=caf\xe9").unwrap())
        });
        let request = sent(&head, "203.0.113.9").unwrap();
        assert_eq!(request.uri().path_and_query().unwrap(), "/a%2Fb//../c?q=%zz&{x}");
        assert_eq!(request.uri().authority().unwrap(), "example.com:81");
        let names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(
            names,
            [
                "host",
                "b",
                "a",
                "cookie",
                "x-forwarded-for",
                "x-forwarded-proto",
                "x-forwarded-host"
            ]
        );
        assert_eq!(request.headers().get_all("b").iter().count(), 2);
        assert_eq!(request.headers()["cookie"].as_bytes(), b"x=caf\xe9");
    }

    #[test]
    fn only_a_trusted_proxy_may_speak_of_earlier_hops() {
        let head = parts(|head| {
            head.header("host", "a")
                .header("x-forwarded-for", "1.2.3.4")
                .header("x-forwarded-proto", "https")
                .header("x-forwarded-port", "444")
        });
        let trusted = sent(&head, "10.0.0.1").unwrap();
        assert_eq!(trusted.headers()["x-forwarded-for"], "1.2.3.4, 10.0.0.1");
        assert_eq!(trusted.headers()["x-forwarded-proto"], "https");
        assert_eq!(trusted.headers()["x-forwarded-port"], "444");
        let stranger = sent(&head, "203.0.113.9").unwrap();
        assert_eq!(stranger.headers()["x-forwarded-for"], "203.0.113.9");
        assert_eq!(stranger.headers()["x-forwarded-proto"], "http");
        assert!(!stranger.headers().contains_key("x-forwarded-port"));
    }

    #[test]
    fn the_client_is_the_nearest_hop_that_is_not_trusted() {
        let trusted = Networks::private().and_loopback();
        let cases: [(&[&str], &str, &str); 10] = [
            (&[], "10.0.0.1", "10.0.0.1"),
            (&["203.0.113.9"], "10.0.0.1", "203.0.113.9"),
            // What a client says of itself comes first, and is not believed.
            (&["1.2.3.4, 203.0.113.9"], "10.0.0.1", "203.0.113.9"),
            (&["1.2.3.4", "203.0.113.9,10.0.0.2"], "10.0.0.1", "203.0.113.9"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.1", "10.0.0.3"),
            (&["1.2.3.4"], "203.0.113.9", "203.0.113.9"),
            (&["203.0.113.9:4711"], "10.0.0.1", "203.0.113.9"),
            (&["[2001:db8::1]:443"], "fd00::1", "2001:db8::1"),
            (&["::ffff:203.0.113.9"], "::ffff:10.0.0.1", "203.0.113.9"),
            (&["203.0.113.9, unknown, 10.0.0.2"], "10.0.0.1", "10.0.0.2"),
        ];
        for (lines, peer, expected) in cases {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, HeaderValue::from_static(line));
            }
            let found = client(&headers, peer.parse().unwrap(), &trusted);
            assert_eq!(found.to_string(), expected, "{lines:?} from {peer}");
        }
    }

    #[test]
    fn names_of_ours_do_not_pass_in_either_direction() {
        let head = parts(|head| {
            head.header("host", "a")
                .header("X-Lambda-Name", "other")
                .header("lambda-dispatch-error", "x")
        });
        let request = sent(&head, "10.0.0.1").unwrap();
        assert!(!request.headers().keys().any(is_reserved));
        let mut response = HeaderMap::new();
        response.insert("lambda-dispatch-error", HeaderValue::from_static("app"));
        response.insert("etag", HeaderValue::from_static("\"1\""));
        assert_eq!(response_headers(response).len(), 1);
    }

    #[test]
    fn what_would_fool_an_app_does_not_pass() {
        let long = "x".repeat(513);
        let lines = [
            ("x_forwarded_for", "1.2.3.4"),
            ("content_length", "5"),
            ("lambda_dispatch_request_id", "forged"),
            ("x-amzn-request-context", "{}"),
            ("x_amzn_lambda_context", "{}"),
            ("transfer_encoding", "chunked"),
            ("forwarded", "for=1.2.3.4"),
            ("x-forwarded-port", "1"),
            ("x-real-ip", "1.2.3.4"),
            ("proxy", "http://evil"),
            ("traceparent", long.as_str()),
        ];
        let head = parts(|head| {
            let head = head.header("host", "a").header("x_own", "1").header("x-amzn-trace-id", "R");
            lines.iter().fold(head, |head, (name, value)| head.header(*name, *value))
        });
        let request = sent(&head, "203.0.113.9").unwrap();
        for (name, _) in lines {
            assert!(!request.headers().contains_key(name), "{name}");
        }
        assert!(request.headers().contains_key("x_own"));
        assert!(request.headers().contains_key("x-amzn-trace-id"));
        let expects = parts(|head| head.header("host", "a").header("expect", "more"));
        assert_eq!(sent(&expects, "10.0.0.1").unwrap_err().status, 417);
        let file = parts(|head| head.uri("ftp://a/b"));
        assert_eq!(sent(&file, "10.0.0.1").unwrap_err().status, 400);
    }

    #[test]
    fn a_traceparent_passes_if_it_is_one() {
        let known = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let passes = |value: &str| {
            let head = parts(|head| head.header("host", "a").header("traceparent", value));
            sent(&head, "203.0.113.9").unwrap().headers().contains_key("traceparent")
        };
        assert!(passes(known));
        let later = known.replacen("00", "cc", 1);
        assert!(passes(&later) && passes(&format!("{later}-of its own")));
        for illegal in [
            "",
            "of my own",
            &known[..54],
            &format!("{known}-"),
            &format!("{later}0"),
            &known.to_uppercase(),
            &known.replacen('-', "0", 1),
            &known.replacen("00", "ff", 1),
            &format!("{later}-{}", "x".repeat(512)),
        ] {
            assert!(!passes(illegal), "{illegal}");
        }
    }

    #[test]
    fn crumbs_of_a_cookie_are_one_line_in_http2_alone() {
        let with = |version, crumbs: usize, others: usize| {
            let head = parts(|head| {
                let head = head.uri("http://a/").version(version);
                let head = (0..crumbs).fold(head, |head, _| head.header("cookie", "a=1"));
                (0..others).fold(head, |head, _| head.header("b", "1"))
            });
            sent(&head, "10.0.0.1").map(|_| ()).map_err(|bad| bad.status.as_u16())
        };
        assert_eq!(with(Version::HTTP_2, 120, 99), Ok(()));
        assert_eq!(with(Version::HTTP_2, 120, 100), Err(431));
        assert_eq!(with(Version::HTTP_2, 0, 101), Err(431));
        assert_eq!(with(Version::HTTP_11, 101, 0), Err(431));
    }

    #[test]
    fn a_query_without_a_path_is_refused_in_http2_alone() {
        let with = |version| {
            let head = parts(|head| head.uri("http://a?b").version(version));
            sent(&head, "10.0.0.1").map(|_| ()).map_err(|bad| bad.status.as_u16())
        };
        assert_eq!(with(Version::HTTP_2), Err(400));
        assert_eq!(with(Version::HTTP_11), Ok(()));
    }

    #[test]
    fn illegal_lengths_of_http2_are_refused() {
        for lengths in [&[""][..], &["5", "5"], &["+5"], &["5, 5"], &["0", ""]] {
            let head = parts(|head| {
                let head = head.uri("http://a/").version(Version::HTTP_2);
                lengths.iter().fold(head, |head, length| head.header("content-length", *length))
            });
            assert_eq!(sent(&head, "10.0.0.1").unwrap_err().status, 400, "{lengths:?}");
        }
    }

    #[test]
    fn white_space_around_a_value_is_refused_in_http2_alone() {
        let with = |version, value: &str| {
            let head = parts(|head| head.uri("http://a/").version(version).header("x", value));
            sent(&head, "10.0.0.1").map(|_| ()).map_err(|bad| bad.status.as_u16())
        };
        for value in [" a", "\ta", "a ", "a\t", " "] {
            assert_eq!(with(Version::HTTP_2, value), Err(400), "{value:?}");
            assert_eq!(with(Version::HTTP_11, value), Ok(()), "{value:?}");
        }
        assert_eq!(with(Version::HTTP_2, ""), Ok(()));
        assert_eq!(with(Version::HTTP_2, "a \tb"), Ok(()));
    }

    #[test]
    fn illegal_authorities_are_refused() {
        let cases: [(&str, &[&str]); 8] = [
            ("empty", &[""]),
            ("a word for a port", &["a:b"]),
            ("no such port", &["a:65536"]),
            ("none", &[]),
            ("two", &["a", "b"]),
            ("space", &["a b"]),
            ("slash", &["a/b"]),
            ("user", &["u@a"]),
        ];
        for (name, hosts) in cases {
            let head = parts(|head| {
                hosts.iter().fold(head.uri("/"), |head, host| head.header("host", *host))
            });
            assert_eq!(sent(&head, "10.0.0.1").unwrap_err().status, 400, "{name}");
        }
        for host in ["a:", "a:65535", "[::1]", "[::1]:80", "[::1]:", &"a".repeat(1_024)] {
            let head = parts(|head| head.uri("/").header("host", host));
            assert_eq!(sent(&head, "10.0.0.1").unwrap().headers()["host"], host);
        }
        let long = "a".repeat(1_025);
        for host in ["[::1]:b", "[::1]:65536", &long] {
            let head = parts(|head| head.uri("/").header("host", host));
            assert_eq!(sent(&head, "10.0.0.1").unwrap_err().status, 400, "{host}");
        }
        let differs =
            parts(|head| head.uri("http://a/").version(Version::HTTP_2).header("host", "b"));
        assert_eq!(sent(&differs, "10.0.0.1").unwrap_err().status, 400);
        let absolute = parts(|head| head.uri("http://a/").header("host", "b"));
        assert_eq!(sent(&absolute, "10.0.0.1").unwrap().headers()["host"], "a");
    }
}
