//! Feeds a recording to a fresh model and demands the same orders: of a router in production, of
//! `dev`, or of a run with `--record`.

use std::io::{self, Write};
use std::path::Path;

use io_tokio::recording::{self, Recording};

/// Replays the recording in `file`, printing it before if `print`. True if the model did the same.
///
/// # Errors
///
/// The file cannot be read, is no recording, or has nothing in it that could be replayed.
pub fn replay(file: &Path, print: bool) -> Result<bool, String> {
    let bytes = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let recording =
        Recording::read(&bytes).map_err(|error| format!("{}: {error}", file.display()))?;
    if recording.segments().is_empty() {
        return Err(format!(
            "{}: nothing of it can be replayed: no segment begins in its {} bytes, as one does as \
             soon as a router records; copy the recording again",
            file.display(),
            bytes.len()
        ));
    }
    let mut out = io::stdout().lock();
    // A closed standard output is no reason to stop.
    if print {
        for segment in recording.segments() {
            for (at, step) in segment.steps() {
                writeln!(out, "{at} {step}").ok();
            }
        }
    }
    if let Some(offset) = recording.cut() {
        writeln!(out, "the file was cut at byte {offset}; what is whole is replayed").ok();
    }
    match recording::replay(&recording) {
        Ok(replayed) => {
            writeln!(out, "{replayed}").ok();
            Ok(true)
        }
        Err(divergence) => {
            writeln!(out, "{divergence}").ok();
            Ok(false)
        }
    }
}
