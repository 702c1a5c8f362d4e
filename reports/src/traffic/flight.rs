//! What our own flight recorder wrote: when each request arrived, and how long it had a slot.
//!
//! Several files are several routers at the same time: each begins at its own beginning, since
//! their clocks have nothing in common. A request that was not served, or whose end is not in the
//! recording, takes what the plan says. One that failed and was sent again took what the last
//! instance needed.

use std::collections::BTreeMap;
use std::io::Read;

use dispatch_model::{Ending, Input, Output, RequestId, Time};
use io_tokio::recording::{Recording, Step};

use super::TrafficError;
use super::lines::{Bad, Wrong};
use super::recorded::Book;

/// Takes a recording.
pub(super) fn read(
    book: &mut Book<'_>,
    bad: &mut Bad,
    file: &str,
    input: impl Read,
) -> Result<(), TrafficError> {
    let mut bytes = Vec::new();
    let unreadable = |source| TrafficError::Read { file: file.to_owned(), line: 0, source };
    input.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let foreign = |what| TrafficError::Foreign { file: file.to_owned(), line: 1, what };
    if bytes.len() as u64 > BYTES_MAX {
        return Err(foreign("it is larger than 256 MiB; dump the recorder's ring instead".into()));
    }
    let recording = Recording::read(&bytes).map_err(|error| foreign(error.to_string()))?;
    let begin = recording.segments().first().map_or(Time::ZERO, |segment| segment.origin().at());
    let mut flights = Flights { book, begin, live: BTreeMap::new() };
    let steps = recording.segments().iter().flat_map(|segment| segment.steps());
    let taken = steps.into_iter().try_for_each(|(now, step)| flights.step(now, step));
    match taken.and_then(|()| flights.land()) {
        Ok(()) => {}
        Err(Wrong::File(what) | Wrong::Line(what)) => return Err(foreign(what)),
        Err(Wrong::Place(source)) => return Err(TrafficError::Place { source }),
    }
    if let Some(byte) = recording.cut() {
        bad.add(file, 1, &format!("it was cut at byte {byte}"));
    }
    Ok(())
}

/// Requests whose end has not been seen.
struct Flights<'a, 'b> {
    book: &'a mut Book<'b>,
    begin: Time,
    /// When each arrived, and when it got a slot for the last time.
    live: BTreeMap<RequestId, (Time, Option<Time>)>,
}

impl Flights<'_, '_> {
    fn step(&mut self, now: Time, step: Step) -> Result<(), Wrong> {
        match step {
            Step::Input(Input::RequestArrived { request, .. }) => {
                match self.live.insert(request, (now, None)) {
                    Some((arrived, _)) => self.over(arrived, None),
                    None => Ok(()),
                }
            }
            Step::Input(Input::RequestEnded { request, ending: Ending::Served }) => {
                self.ended(request, Some(now))
            }
            Step::Input(
                Input::RequestCancelled { request }
                | Input::RequestEnded { request, ending: Ending::Unread },
            )
            | Step::Output(Output::Refuse { request, .. }) => self.ended(request, None),
            Step::Output(Output::Dispatch { request, .. }) => {
                if let Some((_, dispatched)) = self.live.get_mut(&request) {
                    *dispatched = Some(now);
                }
                Ok(())
            }
            Step::Input(_) | Step::Output(_) | Step::Timeout => Ok(()),
        }
    }

    fn ended(&mut self, request: RequestId, end: Option<Time>) -> Result<(), Wrong> {
        let Some((arrived, dispatched)) = self.live.remove(&request) else { return Ok(()) };
        let time = end
            .zip(dispatched)
            .map(|(end, dispatched)| end.as_nanos().saturating_sub(dispatched.as_nanos()));
        self.over(arrived, time)
    }

    fn over(&mut self, arrived: Time, time: Option<u64>) -> Result<(), Wrong> {
        let at = arrived.as_nanos().saturating_sub(self.begin.as_nanos());
        self.book.request(at, time, 0)
    }

    /// All that is still on its way.
    fn land(&mut self) -> Result<(), Wrong> {
        let live = std::mem::take(&mut self.live);
        live.into_values().try_for_each(|(arrived, _)| self.over(arrived, None))
    }
}

/// A recording is decoded in memory.
const BYTES_MAX: u64 = 256 << 20;
