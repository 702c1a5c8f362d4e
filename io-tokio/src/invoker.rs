//! How a function is invoked, as the driver sees it. AWS is one implementation; it lives with the
//! router, so that nothing else has to build its client.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use dispatch_model::InvokeOutcome;

/// Invokes functions.
pub trait Invoker: Send + Sync + 'static {
    /// Invokes `function` exactly once with `payload` and waits for the end of the invocation,
    /// which takes as long as the instance lives. Never repeats a call; the model decides that.
    fn invoke(
        &self,
        function: &str,
        payload: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Invoked> + Send + '_>>;
}

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoked {
    /// What it means for the next one.
    pub outcome: InvokeOutcome,
    /// What was said about it, for the log only: one line of at most [`DETAIL_LEN_MAX`] bytes.
    pub detail: String,
}

impl Invoked {
    /// An ending of which `detail` was said. Control characters are escaped and the rest is cut.
    #[must_use]
    pub fn new(outcome: InvokeOutcome, detail: &dyn fmt::Display) -> Self {
        let mut line = String::new();
        for c in detail.to_string().chars().flat_map(escaped) {
            if line.len() + c.len_utf8() > DETAIL_LEN_MAX - '…'.len_utf8() {
                line.push('…');
                break;
            }
            line.push(c);
        }
        Self { outcome, detail: line }
    }
}

/// Longest [`Invoked::detail`], in bytes.
pub const DETAIL_LEN_MAX: usize = 512;

fn escaped(c: char) -> impl Iterator<Item = char> {
    let (control, plain) = if c.is_control() { (Some(c), None) } else { (None, Some(c)) };
    control.into_iter().flat_map(char::escape_default).chain(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detail_is_one_short_line_whatever_was_said() {
        let said = format!("a\r\nb\x1b[31m{}", "ü".repeat(1_000));
        let invoked = Invoked::new(InvokeOutcome::Unknown, &said);
        assert!(invoked.detail.starts_with("a\\r\\nb\\u{1b}[31mü"), "{}", invoked.detail);
        assert!(invoked.detail.ends_with('…') && invoked.detail.len() <= DETAIL_LEN_MAX);
        assert_eq!(Invoked::new(InvokeOutcome::Returned, &"fine").detail, "fine");
    }
}
