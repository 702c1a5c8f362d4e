//! Hop-by-hop headers: those that speak of one connection and not of the message (RFC 9110, 7.6.1).

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};

use crate::request_head::{is_claim, is_look_alike, is_reserved};

/// The headers of a message as they may be passed on: what is not hop-by-hop and `passes`, in the
/// same order and with all repeats. Where all do, which is most often, nothing is copied.
///
/// Hop-by-hop are `Connection` and whatever it names, `Keep-Alive`, `Proxy-Connection`, `TE` unless
/// it is exactly `trailers`, `Transfer-Encoding` and `Upgrade`. That word may come in capitals, and
/// goes on without, for HTTP/2 knows no others (RFC 9113, 8.2.2). Headers that frame or address the
/// message (`Content-Length`, `Host`) stay even if `Connection` names them: a client must not be
/// able to change the framing that way.
#[must_use]
pub fn end_to_end(
    headers: HeaderMap,
    passes: impl Fn(&HeaderName, &HeaderValue) -> bool,
) -> HeaderMap {
    // Without `Connection`, which is hop-by-hop itself, nothing else is named.
    let passes_as_it_is = |(name, value)| {
        let is_fine =
            if name == header::TE { value == TRAILERS } else { !is_of_one_hop(name, &[]) };
        is_fine && passes(name, value)
    };
    if headers.iter().all(passes_as_it_is) {
        return headers;
    }
    let connection: Vec<_> = headers.get_all(header::CONNECTION).iter().cloned().collect();
    // A new map, because `HeaderMap::remove` moves the last header into the gap.
    let mut kept = HeaderMap::with_capacity(headers.len() + MORE);
    for (name, value) in &headers {
        if name == header::TE {
            if value.as_bytes().eq_ignore_ascii_case(TRAILERS.as_bytes()) && passes(name, value) {
                kept.append(name, HeaderValue::from_static(TRAILERS));
            }
        } else if !is_of_one_hop(name, &connection) && passes(name, value) {
            kept.append(name, value.clone());
        }
    }
    kept
}

/// The headers of a message but for those called `gone`, in the same order.
#[must_use]
pub fn without(headers: &HeaderMap, gone: &HeaderName) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(headers.len() + MORE);
    for (name, value) in headers.iter().filter(|(name, _)| *name != gone) {
        kept.append(name, value.clone());
    }
    kept
}

/// Whether a header that is not `TE` is hop-by-hop.
fn is_of_one_hop(name: &HeaderName, connection: &[HeaderValue]) -> bool {
    if is_hop_by_hop(name) {
        return true;
    }
    if connection.is_empty() || name == header::CONTENT_LENGTH || name == header::HOST {
        return false;
    }
    let mut named = connection.iter().flat_map(|it| it.as_bytes().split(|it| *it == b','));
    named.any(|token| token.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
}

/// What the `Content-Length` of a message says, in bytes; `None` if it has none, or one that is no
/// number.
#[must_use]
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What HTTP/2 counts `headers` for in a head: their bytes, and 32 more for each.
#[must_use]
pub fn list_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
}

/// Marks an answer as the extension's own, where the app has seen the request and broke off: for
/// the router, which does not pass it on.
pub const ERROR: HeaderName = HeaderName::from_static("lambda-dispatch-error");

/// All that `TE` may say beyond one connection.
const TRAILERS: &str = "trailers";

/// Whoever passes a head on adds a few headers of its own.
const MORE: usize = 3;

/// The trailers of a message as they may be passed on: without what frames or routes a message,
/// says who sent it, or speaks of one connection, which nobody may say after the fact (RFC 9110,
/// 6.5.1).
#[must_use]
pub fn passable_trailers(trailers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(trailers.len());
    for (name, value) in trailers {
        // Whoever may say in a head where a message came from has said so there.
        let is_for_heads = is_hop_by_hop(name)
            || is_reserved(name)
            || is_claim(name.as_str())
            || is_look_alike(name)
            || NEVER_IN_TRAILERS.contains(name);
        if !is_for_heads {
            kept.append(name, value.clone());
        }
    }
    kept
}

const NEVER_IN_TRAILERS: [HeaderName; 18] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::EXPECT,
    header::HOST,
    header::LOCATION,
    header::MAX_FORWARDS,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::RANGE,
    header::SET_COOKIE,
    header::TE,
    header::TRAILER,
    header::WWW_AUTHENTICATE,
];

/// Whether a header of that name always speaks of one connection.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    *name == header::CONNECTION
        || *name == header::TRANSFER_ENCODING
        || *name == header::UPGRADE
        || *name == KEEP_ALIVE
        || *name == PROXY_CONNECTION
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn map(lines: &[(&str, &[u8])]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_bytes(value).unwrap(),
            );
        }
        map
    }

    fn stripped(map: HeaderMap) -> HeaderMap {
        end_to_end(map, |_, _| true)
    }

    fn lines(map: &HeaderMap) -> Vec<(&str, &[u8])> {
        map.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
    }

    #[test]
    fn what_is_kept_keeps_its_order_repeats_and_bytes() {
        let before = map(&[
            ("a", b"1"),
            ("connection", b"keep-alive, x-secret"),
            ("b", b"2"),
            ("keep-alive", b"timeout=5"),
            ("c", b"caf\xe9"),
            ("x-secret", b"s"),
            ("c", b"again"),
            ("transfer-encoding", b"chunked"),
            ("upgrade", b"h2c"),
            ("proxy-connection", b"close"),
            ("d", b""),
        ]);
        let expected: Vec<(&str, &[u8])> =
            vec![("a", b"1"), ("b", b"2"), ("c", b"caf\xe9"), ("c", b"again"), ("d", b"")];
        assert_eq!(lines(&stripped(before)), expected);
    }

    #[test]
    fn te_passes_only_as_trailers() {
        let in_capitals = map(&[("a", b"1"), ("te", b"Trailers"), ("b", b"2")]);
        let expected: [(&str, &[u8]); 3] = [("a", b"1"), ("te", b"trailers"), ("b", b"2")];
        assert_eq!(lines(&stripped(in_capitals)), expected);
        assert_eq!(stripped(map(&[("te", b"gzip, trailers")])).len(), 0);
        let also_named = map(&[("connection", b"TE"), ("te", b"trailers")]);
        assert_eq!(lines(&stripped(also_named)), [("te", &b"trailers"[..])]);
    }

    #[test]
    fn trailers_cannot_frame_route_or_authenticate_a_message() {
        let before = map(&[
            ("grpc-status", b"0"),
            ("content-length", b"3"),
            ("host", b"evil"),
            ("transfer-encoding", b"chunked"),
            ("x-sum", b"caf\xe9"),
            ("authorization", b"Bearer x"),
            ("x-forwarded-for", b"1.2.3.4"),
            ("x_forwarded_for", b"1.2.3.4"),
            ("x-real-ip", b"1.2.3.4"),
            ("forwarded", b"for=1.2.3.4"),
            ("connection", b"close"),
            ("transfer_encoding", b"chunked"),
            ("lambda-dispatch-error", b"x"),
            ("lambda_dispatch_request_id", b"x"),
            ("x-lambda-dispatch-foo", b"x"),
            ("x-pool-id", b"x"),
            ("x-amzn-request-context", b"{}"),
            ("proxy", b"evil"),
            ("x-sum", b"2"),
        ]);
        let expected: Vec<(&str, &[u8])> =
            vec![("grpc-status", b"0"), ("x-sum", b"caf\xe9"), ("x-sum", b"2")];
        assert_eq!(lines(&passable_trailers(&before)), expected);
    }

    #[test]
    fn connection_cannot_nominate_framing_or_host() {
        let before = map(&[
            ("connection", b"Content-Length, Host"),
            ("content-length", b"3"),
            ("host", b"a"),
        ]);
        assert_eq!(stripped(before).len(), 2);
    }
}
