//! Recordings of a router's machine, read from bytes.

use io_tokio::recording::Recording;

/// Reads `bytes` as a recording, to its last step.
///
/// # Panics
///
/// Time goes back in it: a find.
pub fn recording(bytes: &[u8]) {
    let Ok(recording) = Recording::read(bytes) else { return };
    for segment in recording.segments() {
        let times: Vec<_> = segment.steps().map(|(at, _)| at).collect();
        assert!(times.is_sorted(), "{times:?}");
        assert!(times.len() as u64 <= segment.len(), "{} of {}", times.len(), segment.len());
    }
}
