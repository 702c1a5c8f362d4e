//! The word by which an app keeps its environment running after a response:
//! `Lambda-Dispatch-Wait-Until: 30s`.
//!
//! Between invokes Lambda freezes an environment, and with it whatever an app does in the
//! background. A response with this header asks for time: so long from the response's end, at most
//! `LAMBDA_DISPATCH_WAIT_UNTIL_MAX_MS` and at most to the end of the lease. The instance serves on
//! meanwhile. Clients do not see the header. What it means is decided by
//! [`dispatch_model::lifecycle`].

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use io_tokio::request_id::RequestId;

/// How long the app asks for with its response to request `id`. What cannot be read asks for
/// nothing, and is logged.
pub(crate) fn asked(headers: &HeaderMap, id: &RequestId) -> Option<Duration> {
    let value = headers.get(WAIT_UNTIL)?;
    let span = value.to_str().ok().and_then(|text| span(text.trim()));
    if span.is_none() {
        tracing::warn!(
            request_id = %id, ?value, "Lambda-Dispatch-Wait-Until must be a number of s or ms: 30s"
        );
    }
    span
}

fn span(text: &str) -> Option<Duration> {
    let (number, unit): (_, fn(u64) -> Duration) = match text.strip_suffix("ms") {
        Some(number) => (number, Duration::from_millis),
        None => (text.strip_suffix('s')?, Duration::from_secs),
    };
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    // More than fits is more than anybody gets.
    digits.then(|| unit(number.parse().unwrap_or(u64::MAX)))
}

/// The header, which is ours to read and not for clients.
const WAIT_UNTIL: HeaderName = HeaderName::from_static("lambda-dispatch-wait-until");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_digits_and_a_unit() {
        assert_eq!(span("30s"), Some(Duration::from_secs(30)));
        assert_eq!(span("1500ms"), Some(Duration::from_millis(1500)));
        assert_eq!(span("99999999999999999999s"), Some(Duration::from_secs(u64::MAX)));
        for wrong in ["", "s", "30", "-1s", "+1s", "1.5s", "30 s", "30S", "forever"] {
            assert_eq!(span(wrong), None, "{wrong}");
        }
    }
}
