//! Recordings of traffic as others write them, read from bytes.

use dispatch_model::Time;
use reports::traffic::{Format, import};

/// Reads what follows the first byte as a recording; the first byte says in which format.
///
/// # Panics
///
/// A recording is not in order, or longer than it says: a find.
pub fn importers(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    let format = FORMATS[usize::from(*which) % FORMATS.len()];
    match import(format, bytes) {
        Ok(recording) => {
            let mut last = Time::ZERO;
            // Counts can claim any number.
            for at in recording.arrivals().take(MOST) {
                assert!(at >= last, "{format:?}: {at} comes after {last}");
                last = at;
            }
        }
        Err(error) => assert!(!error.to_string().is_empty(), "refused without a word"),
    }
}

const MOST: usize = 10_000;
const FORMATS: [Format; 5] =
    [Format::Alb, Format::Azure2019, Format::Cloudwatch, Format::Csv, Format::Flight];
