//! A client's request head under bytes.

use std::net::{IpAddr, Ipv4Addr};

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri, Version, request};
use io_tokio::edge::EdgeSettings;
use io_tokio::request_head::{Origin, Target, response_headers};

/// Reads `bytes` as lines: method and target, then headers; makes of them what an instance gets,
/// and, as if they were an app's, what a client gets.
///
/// The first byte says which HTTP it is, from whom, and whether over TLS.
///
/// # Panics
///
/// Something passes that must not, or does not pass as it is: a find.
pub fn headers(bytes: &[u8]) {
    let Some((&how, lines)) = bytes.split_first() else { return };
    let Some(head) = head(how, lines) else { return };
    let peer = if how & 1 == 0 { Ipv4Addr::new(203, 0, 113, 9) } else { Ipv4Addr::LOCALHOST };
    let origin = Origin::new(IpAddr::V4(peer), how & 2 == 0);
    nothing_of_ours_or_of_one_hop(&head.headers, &response_headers(head.headers.clone()), None);
    let settings = EdgeSettings::default();
    match Target::of(&head, &origin, &settings) {
        Ok(target) => {
            let sent = target.forward(&mut head.clone(), &origin, &settings);
            nothing_of_ours_or_of_one_hop(&head.headers, sent.headers(), Some(peer));
            is_for_whom_it_was(&head, &sent, &peer.to_string());
        }
        Err(error) => assert!(error.status.is_client_error(), "{error:?}"),
    }
}

/// `None` if no HTTP library would have taken it.
fn head(how: u8, bytes: &[u8]) -> Option<request::Parts> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut first = lines.next()?.splitn(2, |byte| *byte == b' ');
    let mut head = Request::new(()).into_parts().0;
    head.version = [Version::HTTP_11, Version::HTTP_2, Version::HTTP_10][usize::from(how / 4 % 3)];
    head.method = Method::from_bytes(first.next()?).ok()?;
    head.uri = Uri::try_from(first.next()?).ok()?;
    for line in lines {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = HeaderName::from_bytes(parts.next()?).ok()?;
        let value = HeaderValue::from_bytes(parts.next()?.trim_ascii()).ok()?;
        head.headers.append(name, value);
    }
    Some(head)
}

/// What passed is what came, in its order, but for what is of one hop, ours, or added; and, of a
/// request, what would fool an app or is a claim of a `peer` that is not trusted.
fn nothing_of_ours_or_of_one_hop(came: &HeaderMap, passed: &HeaderMap, peer: Option<Ipv4Addr>) {
    let added = if peer.is_some() { ADDED } else { &[] };
    let fools = |name: &str, value: &HeaderValue| match peer {
        None => false,
        Some(peer) => {
            let meant = name.replace('_', "-");
            let claims = CLAIMS.contains(&meant.as_str()) || meant.starts_with("x-forwarded-");
            let framing = FRAMING.contains(&meant.as_str()) || meant.starts_with("x-lambda-");
            let no_trace = match name {
                "traceparent" => value.len() > 512 || !is_trace_parent(value.as_bytes()),
                "x-amzn-trace-id" => value.len() > 512,
                _ => false,
            };
            (claims && (meant != name || !peer.is_loopback()))
                || (framing && meant != name)
                || name == "proxy"
                || no_trace
        }
    };
    let nominated: Vec<_> = came
        .get_all("connection")
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|name| name.trim_ascii().to_ascii_lowercase())
        .filter(|name| name != b"content-length" && name != b"host")
        .collect();
    let may_pass = |name: &str, value: &HeaderValue| {
        let of_one_hop = match name {
            "te" => !value.as_bytes().eq_ignore_ascii_case(b"trailers"),
            _ => ONE_HOP.contains(&name) || nominated.iter().any(|word| word == name.as_bytes()),
        };
        let ours = OURS.contains(&name)
            || name.starts_with("lambda-dispatch-")
            || name.starts_with("x-lambda-dispatch-");
        !of_one_hop && !ours && !added.contains(&name) && !fools(name, value)
    };
    let kept = |map: &HeaderMap| -> Vec<(HeaderName, HeaderValue)> {
        let all = map.iter().map(|(name, value)| (name.clone(), value.clone()));
        all.filter(|(name, _)| !added.contains(&name.as_str())).collect()
    };
    let mut expected = kept(came);
    expected.retain(|(name, value)| may_pass(name.as_str(), value));
    assert_eq!(kept(passed), expected, "of {came:?}");
}

/// As the standard has it, but for numbers that are all zero.
fn is_trace_parent(value: &[u8]) -> bool {
    let is_number = |part: &[u8]| part.iter().all(|byte| b"0123456789abcdef".contains(byte));
    let parts: Vec<_> = value.split(|byte| *byte == b'-').collect();
    let Some(known) = parts.get(..4) else { return false };
    let lengths: Vec<_> = known.iter().map(|part| part.len()).collect();
    lengths == [2, 32, 16, 2]
        && known.iter().all(|part| is_number(part))
        && known[0] != b"ff"
        && (parts.len() == 4 || known[0] != b"00")
}

fn is_for_whom_it_was(head: &request::Parts, sent: &Request<()>, peer: &str) {
    assert_eq!(*sent.method(), head.method);
    let path = head.uri.path_and_query().map_or("/", |target| target.as_str());
    assert_eq!(sent.uri().path_and_query().map(|target| target.as_str()), Some(path));
    let hosts: Vec<_> = sent.headers().get_all(HOST).iter().collect();
    let authority = sent.uri().authority().expect("a request is for somebody").as_str();
    assert_eq!(hosts, [authority], "Host is the authority");
    let named = head.uri.authority().map(http::uri::Authority::as_str);
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    assert_eq!(authority, named.or(host).unwrap_or("localhost"));
    for name in FORWARDED {
        assert!(sent.headers().contains_key(*name), "{name} is missing");
    }
    let chain = sent.headers().get_all("x-forwarded-for").iter().collect::<Vec<_>>();
    let [chain] = chain.as_slice() else { panic!("hops in {chain:?}") };
    assert!(chain.as_bytes().ends_with(peer.as_bytes()), "{chain:?} does not end with {peer}");
}

const ONE_HOP: &[&str] =
    &["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];
const OURS: &[&str] = &["x-lambda-id", "x-pool-id", "x-channel-id", "x-lambda-name"];
const CLAIMS: &[&str] = &["forwarded", "x-real-ip"];
const FRAMING: &[&str] =
    &["connection", "content-length", "expect", "host", "transfer-encoding", "upgrade"];
const FORWARDED: &[&str] = &["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];
/// What a request is given: its `Host`, and where it came from.
const ADDED: &[&str] = &["host", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];
