//! Moments of the wall clock, read from bytes.

use io_tokio::rfc3339::{format, parse};

/// Reads `bytes` as a moment.
///
/// # Panics
///
/// What is accepted is another moment once it was written: a find.
pub fn rfc3339(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Some(at) = parse(text) {
        let written = format(at);
        assert_eq!(parse(&written), Some(at), "{text} is {written}");
        assert_eq!(written.len(), "1970-01-01T00:00:00.000Z".len(), "{text} is {written}");
        let moved = text.get(17..19) == Some("60")
            || text.get(19..).is_some_and(|zone| zone.contains(['+', '-']));
        assert!(moved || written.get(..10) == text.get(..10), "{text} is {written}");
    }
}
