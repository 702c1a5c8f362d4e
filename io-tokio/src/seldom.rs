//! What fails is logged seldom, so that a flood of failures does not become a flood of lines.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dispatch_model::Time;

use crate::clock::Clock;

/// Ten lines a minute. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Seldom(Arc<Mutex<Lines>>);

#[derive(Debug)]
struct Lines {
    clock: Clock,
    /// When the minute began whose lines are counted.
    minute: Time,
    said: u32,
    unsaid: u64,
}

impl Seldom {
    pub(crate) fn new(clock: Clock) -> Self {
        let minute = clock.now();
        Self(Arc::new(Mutex::new(Lines { clock, minute, said: 0, unsaid: 0 })))
    }

    /// Whether a line may be logged now; if so, how many were not since the last one that was.
    pub(crate) fn may_log(&self) -> Option<u64> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = lines.clock.now();
        if now >= lines.minute + MINUTE {
            lines.minute = now;
            lines.said = 0;
        }
        if lines.said == LINES_PER_MINUTE {
            lines.unsaid += 1;
            return None;
        }
        lines.said += 1;
        Some(std::mem::take(&mut lines.unsaid))
    }
}

const LINES_PER_MINUTE: u32 = 10;
const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_failures_is_ten_lines_a_minute() {
        let seldom = Seldom::new(Clock::start());
        let lines = (0..1_000).filter_map(|_| seldom.may_log()).count();
        assert_eq!(lines, 10);
        tokio::time::sleep(MINUTE).await;
        assert_eq!(seldom.may_log(), Some(990), "the next line says how many there were");
        assert_eq!(seldom.may_log(), Some(0));
    }
}
