//! The id of a request: the same in the access log, in what either side logs about the request, and
//! in a header that its app sees.

use std::fmt::{self, Display, Formatter};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::hex;

/// The header that carries it from the router to the extension, and to the app.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("lambda-dispatch-request-id");

/// What request number `count` is called by the router that is told from others by `boot`.
pub(crate) fn name(boot: u32, count: u64) -> String {
    let mut name = String::with_capacity(NAME_BYTES_MAX);
    hex::push(&mut name, u64::from(boot));
    name.push('-');
    hex::push(&mut name, count);
    name
}

/// The header's value for `id`, which request number `count` has, if that can be one.
pub(crate) fn header_value(id: &str, count: u64) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(id).ok()?;
    // No two requests have the same one: in HPACK's table it would only push out what they share.
    // Now and then one goes in nevertheless, so that the others find the header's name there and
    // need not spell it out.
    value.set_sensitive(!count.is_multiple_of(BETWEEN_NAMES));
    Some(value)
}

/// The id that a request came with, kept beside it for the log: `-` if there was none.
#[derive(Clone, Debug, Default)]
pub struct RequestId(Option<HeaderValue>);

impl RequestId {
    /// That of the request with these headers.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        Self(headers.get(REQUEST_ID).cloned())
    }
}

impl Display for RequestId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let id = self.0.as_ref().and_then(|value| value.to_str().ok());
        f.write_str(id.unwrap_or("-"))
    }
}

const NAME_BYTES_MAX: usize = 8 + 1 + 16;
/// Prime, so that among instances that take turns it is everybody's turn, unless they are 31.
const BETWEEN_NAMES: u64 = 31;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_from_the_header_that_it_was_written_to() {
        let mut headers = HeaderMap::new();
        assert_eq!(RequestId::of(&headers).to_string(), "-");
        headers.insert(REQUEST_ID, header_value(&name(0x1f, 2), 2).unwrap());
        assert_eq!(RequestId::of(&headers).to_string(), "1f-2");
        assert!(header_value("a\nb", 1).is_none());
        headers.insert(REQUEST_ID, HeaderValue::from_bytes(b"caf\xe9").unwrap());
        assert_eq!(RequestId::of(&headers).to_string(), "-", "no line of a log is broken by it");
    }
}
