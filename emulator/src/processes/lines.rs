//! What programs print, line by line, and the end of it that an invoke may ask for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

/// Hands each line of `output` to `pass_on`, until its end. A longer line than `LINE_MAX` is cut.
pub(super) async fn read(output: Option<impl AsyncRead + Unpin>, pass_on: &impl Fn(String)) {
    let Some(output) = output else { return };
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = (&mut output).take(LINE_MAX);
        match limited.read_until(b'\n', &mut line).await {
            Ok(0) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                pass_on(text.trim_end_matches(['\n', '\r']).to_owned());
            }
            Err(error) => {
                tracing::debug!("cannot read what a program prints: {error}");
                return;
            }
        }
    }
}

/// The last 4 KB that an environment printed since its invoke began: what Lambda returns as
/// `X-Amz-Log-Result`. Copies share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogTail {
    bytes: Arc<Mutex<VecDeque<u8>>>,
}

impl LogTail {
    /// Begins again: an invoke starts.
    pub(crate) fn clear(&self) {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(crate) fn push(&self, line: &str) {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.extend(line.bytes().chain(*b"\n"));
        let excess = bytes.len().saturating_sub(TAIL_MAX);
        bytes.drain(..excess);
    }

    /// What is there, as text.
    pub(crate) fn text(&self) -> String {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(bytes.make_contiguous()).into_owned()
    }
}

/// A line without end would otherwise be kept whole.
const LINE_MAX: u64 = 64 * 1024;

/// As on AWS.
const TAIL_MAX: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_without_their_ends_and_the_last_needs_none() {
        let lines = Mutex::new(Vec::new());
        read(Some(&b"one\r\ntwo\n\nlast"[..]), &|line| lines.lock().unwrap().push(line)).await;
        assert_eq!(*lines.lock().unwrap(), ["one", "two", "", "last"]);
    }

    #[test]
    fn tail_keeps_the_last_four_kilobytes() {
        let tail = LogTail::default();
        for _ in 0..100 {
            tail.push(&"x".repeat(99));
        }
        tail.push("end");
        assert_eq!(tail.text().len(), 4096);
        assert!(tail.text().ends_with("x\nend\n"));
        tail.clear();
        assert_eq!(tail.text(), "");
    }
}
