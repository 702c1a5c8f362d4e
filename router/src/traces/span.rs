//! A finished exchange as a span, by OpenTelemetry's conventions for HTTP servers.

use std::time::{Duration, UNIX_EPOCH};

use io_tokio::observe::{Access, Trace};

use super::messages::{AnyValue, Event, KeyValue, Span, Status, Value};

/// The router's part of a trace.
pub(super) fn of(access: &Access, trace: Trace) -> Span {
    let started = access.started.duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = |offset: Duration| u64::try_from((started + offset).as_nanos()).unwrap_or(u64::MAX);
    let (method, original) = method(access);
    Span {
        trace_id: trace.id.to_vec(),
        span_id: trace.span.to_vec(),
        parent_span_id: trace.parent.map(|parent| parent.to_vec()).unwrap_or_default(),
        name: original.map_or(method, |_| "HTTP").to_owned(),
        kind: KIND_SERVER,
        start_time_unix_nano: at(Duration::ZERO),
        end_time_unix_nano: at(access.total),
        attributes: attributes(access, trace, method, original),
        events: stages(access)
            .map(|(name, offset)| Event { time_unix_nano: at(offset), name: name.to_owned() })
            .collect(),
        status: is_fault(access).then(|| {
            // What an app answered with says enough, by its status.
            let message = if access.reason == "served" { "" } else { access.reason };
            Status { message: message.to_owned(), code: STATUS_ERROR }
        }),
        flags: SAMPLED,
    }
}

/// When what happened, since the head was complete.
fn stages(access: &Access) -> impl Iterator<Item = (&'static str, Duration)> {
    let queued = access.in_line;
    let dispatched = queued.filter(|_| access.attempts > 0).map(|it| it + access.queue);
    let sent = dispatched.zip(access.handover).map(|(since, took)| since + took);
    let stages = [
        ("queued", queued),
        ("dispatched", dispatched),
        ("sent", sent),
        ("response head", access.first_byte),
    ];
    stages.into_iter().filter_map(|(name, offset)| Some((name, offset?)))
}

fn attributes(
    access: &Access,
    trace: Trace,
    method: &str,
    original: Option<&str>,
) -> Vec<KeyValue> {
    let (host, port) = host_and_port(&access.host);
    let error = is_fault(access).then(|| match access.reason {
        "served" => access.status.to_string(),
        reason => reason.to_owned(),
    });
    let instance = access.instance.map(|instance| instance.to_string());
    // Without a head none was sent, whatever stands for it.
    let status = access.first_byte.map(|_| Value::Number(access.status.into()));
    let version = match access.version {
        http::Version::HTTP_10 => "1.0",
        http::Version::HTTP_2 => "2",
        _ => "1.1",
    };
    let millis = |time: Duration| Value::Amount(time.as_secs_f64() * 1e3);
    let named = |text: &str| (!text.is_empty()).then(|| cut(text));
    let size = |bytes: u64| i64::try_from(bytes).map_or(Value::Number(i64::MAX), Value::Number);
    let all = [
        ("http.request.method", Some(cut(method))),
        ("http.request.method_original", original.map(cut)),
        ("url.scheme", Some(cut(if trace.is_tls { "https" } else { "http" }))),
        ("url.path", Some(cut(&access.target))),
        ("server.address", named(host)),
        ("server.port", port.map(|port| Value::Number(port.into()))),
        ("client.address", Some(Value::Text(access.client.to_string()))),
        ("network.peer.address", Some(Value::Text(access.peer.to_string()))),
        ("network.protocol.version", Some(cut(version))),
        ("user_agent.original", access.user_agent.as_deref().and_then(named)),
        ("http.response.status_code", status),
        ("http.request.body.size", Some(size(access.bytes_in))),
        ("http.response.body.size", Some(size(access.bytes_out))),
        ("error.type", error.map(Value::Text)),
        ("lambda_dispatch.request_id", Some(cut(&access.request_id))),
        ("lambda_dispatch.reason", Some(cut(access.reason))),
        ("lambda_dispatch.pool", access.pool.as_deref().map(cut)),
        ("lambda_dispatch.instance", instance.map(Value::Text)),
        ("lambda_dispatch.attempts", Some(Value::Number(access.attempts.into()))),
        ("lambda_dispatch.cold_exposed", Some(Value::Flag(access.cold_exposed))),
        ("lambda_dispatch.queue_ms", Some(millis(access.queue))),
        ("lambda_dispatch.handover_ms", access.handover.map(millis)),
        ("lambda_dispatch.app_ms", access.app.map(millis)),
    ];
    all.into_iter().filter_map(|(key, value)| Some(attribute(key, value?))).collect()
}

pub(super) fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

/// Whether somebody should look at it. What a client did is no fault of a server's, and neither is
/// that it left.
fn is_fault(access: &Access) -> bool {
    access.status >= 500 || matches!(access.reason, "truncated" | "idle_timeout" | "total_timeout")
}

/// The method, of those that are known; others are told apart by an attribute, so that no client
/// can make names of spans.
fn method(access: &Access) -> (&str, Option<&str>) {
    let method = access.method.as_str();
    if METHODS.contains(&method) { (method, None) } else { ("_OTHER", Some(method)) }
}

/// What an authority is made of.
fn host_and_port(authority: &str) -> (&str, Option<u16>) {
    let Ok(parsed) = authority.parse::<http::uri::Authority>() else { return (authority, None) };
    let host = authority.get(..parsed.host().len()).unwrap_or(authority);
    (host, parsed.port_u16())
}

/// A text, at most as long as anybody reads.
fn cut(text: &str) -> Value {
    let end = text.len().min(TEXT_MAX);
    let end = (0..=end).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    Value::Text(text[..end].to_owned())
}

const METHODS: [&str; 9] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
const KIND_SERVER: i32 = 2;
const STATUS_ERROR: i32 = 2;
/// The flag of W3C Trace Context: whoever sees the span knows that it was to be recorded.
const SAMPLED: u32 = 1;
/// Most bytes of a text.
const TEXT_MAX: usize = 1_024;
