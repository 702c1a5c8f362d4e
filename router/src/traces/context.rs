//! What a request says of the trace that it is in, and what the router says of it to the app: the
//! header `traceparent` of W3C Trace Context, and `X-Amzn-Trace-Id` of AWS X-Ray.

use http::{HeaderMap, HeaderName, HeaderValue};
use io_tokio::request_head::is_trace_parent;

/// What a request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) id: [u8; 16],
    /// The part of the trace that made the request, if it says so.
    pub(super) span: Option<[u8; 8]>,
    /// Whether those before us have the trace recorded, if they have decided.
    pub(super) is_sampled: Option<bool>,
}

/// What `traceparent` says: `00-<trace, 32 digits>-<span, 16>-<flags, 2>`, of which later versions
/// may have more. `None` if it says nothing that is legal; neither number is all zeros.
pub(super) fn w3c(headers: &HeaderMap) -> Option<Parent> {
    let text = only(headers, &TRACEPARENT)?;
    if !is_trace_parent(text.as_bytes()) {
        return None;
    }
    let (id, span) = (digits(&text[3..35])?, digits(&text[36..52])?);
    let [flags] = digits(&text[53..55])?;
    let is_legal = id != [0; 16] && span != [0; 8];
    is_legal.then_some(Parent { id, span: Some(span), is_sampled: Some(flags & 1 == 1) })
}

/// What `X-Amzn-Trace-Id` says: `Root=1-<time, 8 digits>-<24>;Parent=<16>;Sampled=<0 or 1>`, of
/// which load balancers write the first part only. `None` if it names no trace.
pub(super) fn x_ray(headers: &HeaderMap) -> Option<Parent> {
    let text = only(headers, &X_RAY)?;
    let field = |name: &str| {
        let mut fields = text.split(';').filter_map(|field| field.trim().split_once('='));
        fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    let (time, rest) = field("Root")?.strip_prefix("1-")?.split_once('-')?;
    let (time, rest): ([u8; 4], [u8; 12]) = (digits(time)?, digits(rest)?);
    let mut id = [0; 16];
    id[..4].copy_from_slice(&time);
    id[4..].copy_from_slice(&rest);
    let is_sampled = match field("Sampled") {
        Some("1") => Some(true),
        Some("0") => Some(false),
        Some(_) | None => None,
    };
    let span = field("Parent").and_then(digits).filter(|span| *span != [0; 8]);
    (id != [0; 16]).then_some(Parent { id, span, is_sampled })
}

/// Tells the app, in both headers, that it is called by `span`. `was` is what the request said.
pub(super) fn tell(
    headers: &mut HeaderMap,
    was: (Option<Parent>, Option<Parent>),
    id: [u8; 16],
    span: [u8; 8],
    is_sampled: bool,
) {
    let flag = u8::from(is_sampled);
    let (id_digits, span_digits) = (hex(&id), hex(&span));
    set(headers, TRACEPARENT, &format!("00-{id_digits}-{span_digits}-0{flag}"));
    if was.0.is_none() {
        // It speaks of a trace that there is not.
        headers.remove(TRACESTATE);
    }
    let is_other_trace = match was {
        (Some(_), None) => true,
        (_, Some(x_ray)) => x_ray.id != id,
        (None, None) => false,
    };
    if is_other_trace {
        return;
    }
    let (time, rest) = id_digits.split_at(8);
    let mut text = format!("Root=1-{time}-{rest};Parent={span_digits};Sampled={flag}");
    let kept = only(headers, &X_RAY).unwrap_or_default();
    for field in kept.split(';').map(str::trim).filter(|field| !field.is_empty()) {
        let key = field.split('=').next().unwrap_or_default();
        if !["Root", "Parent", "Sampled"].iter().any(|ours| key.eq_ignore_ascii_case(ours)) {
            text.push(';');
            text.push_str(field);
        }
    }
    set(headers, X_RAY, &text);
}

fn set(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(mut value) = HeaderValue::from_str(text) {
        // It is different each time, and would only fill the table of HTTP/2's compression.
        value.set_sensitive(true);
        headers.insert(name, value);
    }
}

/// The text of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

/// As many bytes as there are, in lower case, which is all that is legal.
fn digits<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const X_RAY: HeaderName = HeaderName::from_static("x-amzn-trace-id");

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_traceparent_is_read_as_the_standard_says() {
        let said = |value: &str| w3c(&headers(&[("traceparent", value)]));
        let parent = said(&format!("00-{ID}-00f067aa0ba902b7-01")).unwrap();
        assert_eq!((hex(&parent.id), parent.is_sampled), (ID.to_owned(), Some(true)));
        assert_eq!(hex(&parent.span.unwrap()), "00f067aa0ba902b7");
        assert_eq!(said(&format!("00-{ID}-00f067aa0ba902b7-02")).unwrap().is_sampled, Some(false));
        assert!(said(&format!("01-{ID}-00f067aa0ba902b7-01-more")).is_some(), "of the future");
        for illegal in [
            "",
            "00",
            &format!("ff-{ID}-00f067aa0ba902b7-01"),
            &format!("00-{ID}-00f067aa0ba902b7-01-more"),
            &format!("00-{}-00f067aa0ba902b7-01", ID.to_uppercase()),
            &format!("00-{ID}-0000000000000000-01"),
            &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            &format!("00-{ID}-00f067aa0ba902b-01"),
            &format!("00-{ID}-00f067aa0ba902b7-1"),
            &format!("00-{ID}x-00f067aa0ba902b7-01"),
        ] {
            assert_eq!(said(illegal), None, "{illegal}");
        }
        let mut twice = headers(&[("traceparent", &format!("00-{ID}-00f067aa0ba902b7-01"))]);
        twice.append(TRACEPARENT, twice[TRACEPARENT].clone());
        assert_eq!(w3c(&twice), None, "nobody knows which one is meant");
    }

    #[test]
    fn what_load_balancers_and_x_ray_say_is_read() {
        let said = |value: &str| x_ray(&headers(&[("x-amzn-trace-id", value)]));
        let root = said("Root=1-5759e988-bd862e3fe1be46a994272793").unwrap();
        assert_eq!(hex(&root.id), "5759e988bd862e3fe1be46a994272793");
        assert_eq!((root.span, root.is_sampled), (None, None));
        let all = "Self=1-6-0; Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        let all = said(all).unwrap();
        assert_eq!(hex(&all.span.unwrap()), "53995c3f42cd8ad8");
        assert_eq!(all.is_sampled, Some(true));
        for illegal in
            ["", "Root=", "Root=2-5759e988-bd862e3fe1be46a994272793", "Root=1-é-x", "=;=;"]
        {
            assert_eq!(said(illegal), None, "{illegal}");
        }
    }

    #[test]
    fn the_app_is_told_of_one_trace_in_both_headers() {
        let (id, span) = (digits(ID).unwrap(), [0x11; 8]);
        let told = |lines: &[(&'static str, &str)]| {
            let mut headers = headers(lines);
            let was = (w3c(&headers), x_ray(&headers));
            tell(&mut headers, was, id, span, true);
            let text =
                |name| headers.get(name).map(|it: &HeaderValue| it.to_str().unwrap().to_owned());
            (text("traceparent").unwrap(), text("tracestate"), text("x-amzn-trace-id"))
        };
        let parent = format!("00-{ID}-1111111111111111-01");
        let root = "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=1111111111111111;Sampled=1";
        let none = told(&[("tracestate", "a=1")]);
        assert_eq!(none, (parent.clone(), None, Some(root.to_owned())));
        let client = format!("00-{ID}-00f067aa0ba902b7-01");
        let w3c = told(&[("traceparent", &client), ("tracestate", "a=1")]);
        assert_eq!(w3c, (parent.clone(), Some("a=1".to_owned()), None), "no second format");
        let balancer = "Self=1-2;Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Lineage=a";
        let x_ray = told(&[("x-amzn-trace-id", balancer)]);
        assert_eq!(x_ray, (parent.clone(), None, Some(format!("{root};Self=1-2;Lineage=a"))));
        let other = "Root=1-5759e988-bd862e3fe1be46a994272793";
        let both = told(&[("traceparent", &client), ("x-amzn-trace-id", other)]);
        assert_eq!(both, (parent, None, Some(other.to_owned())), "another trace is left alone");
    }
}
