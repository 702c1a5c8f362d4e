//! Feeds a recording to a model and demands that it does the same again.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use dispatch_model::{Dispatcher, Output, Time};

use super::{Digest, Recording, Segment, Step};

/// Replays every segment of `recording`.
///
/// # Errors
///
/// The first place at which the model does something else than was recorded, or panics.
pub fn replay(recording: &Recording<'_>) -> Result<Replayed, Box<Divergence>> {
    let mut replayed = Replayed::default();
    let segments = recording.segments();
    for (index, segment) in segments.iter().enumerate() {
        let mut replay = Replay {
            model: segment.origin().model(),
            at: segment.origin().at(),
            step: 0,
            recorded: None,
            before: VecDeque::new(),
        };
        let is_last = index + 1 == segments.len();
        let all = || replay.all(segment, is_last, &mut replayed);
        // Whoever replays what led to a panic wants to see it come, and what came before.
        let did = match catch_unwind(AssertUnwindSafe(all)) {
            Ok(Ok(())) => continue,
            Ok(Err(did)) => did,
            Err(panic) => Did::Panicked(message(&*panic)),
        };
        return Err(Box::new(Divergence {
            segment: index,
            step: replay.step,
            at: replay.at,
            recorded: replay.recorded,
            did,
            before: replay.before.into(),
        }));
    }
    Ok(replayed)
}

/// A recording that its model agreed to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Segments.
    pub segments: u64,
    /// Inputs.
    pub inputs: u64,
    /// Turns in which timers fired without an input.
    pub timeouts: u64,
    /// Outputs.
    pub outputs: u64,
    /// What the model did after the recording had ended: it ended in the middle of a turn.
    pub outputs_after: u64,
    /// Of all inputs and time-outs, with their times.
    pub digest_in: Digest,
    /// Of all outputs, with their times.
    pub digest_out: Digest,
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} segments: {} inputs and {} time-outs (digest {}), {} outputs, all identical \
             (digest {})",
            self.segments,
            self.inputs,
            self.timeouts,
            self.digest_in,
            self.outputs,
            self.digest_out
        )
    }
}

/// Where a model does something else than was recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Divergence {
    /// In which segment, from 0.
    pub segment: usize,
    /// At which of its steps, from 0.
    pub step: u64,
    /// When.
    pub at: Time,
    /// What was recorded; `None` at the end of the segment.
    pub recorded: Option<Step>,
    /// What the model did.
    pub did: Did,
    /// The steps before, in which both agree.
    pub before: Vec<(Time, Step)>,
}

/// What a model did instead of what was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Did {
    /// Nothing, where an output was recorded.
    Nothing,
    /// This.
    Output(Output),
    /// It panicked, with this message.
    Panicked(String),
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, step, at, recorded, did, before } = self;
        writeln!(f, "the model diverges in segment {segment}, at step {step}, at {at}:")?;
        for (at, step) in before {
            writeln!(f, "  {at} {step}")?;
        }
        match recorded {
            Some(recorded) => writeln!(f, "- {at} {recorded}")?,
            None => writeln!(f, "- (the segment ends)")?,
        }
        match did {
            Did::Nothing => write!(f, "+ {at} (nothing)"),
            Did::Output(output) => write!(f, "+ {at} {}", Step::Output(*output)),
            Did::Panicked(why) => write!(f, "+ {at} (panics: {why})"),
        }
    }
}

/// A segment that is being replayed.
struct Replay {
    model: Dispatcher,
    at: Time,
    step: u64,
    recorded: Option<Step>,
    before: VecDeque<(Time, Step)>,
}

impl Replay {
    fn all(
        &mut self,
        segment: &Segment<'_>,
        is_last: bool,
        replayed: &mut Replayed,
    ) -> Result<(), Did> {
        replayed.segments += 1;
        for (at, step) in segment.steps() {
            (self.at, self.recorded) = (at, Some(step));
            self.one(at, step, replayed)?;
            if self.before.len() == BEFORE {
                self.before.pop_front();
            }
            self.before.push_back((at, step));
            self.step += 1;
        }
        self.recorded = None;
        if is_last {
            replayed.outputs_after = std::iter::from_fn(|| self.model.poll_output()).count() as u64;
            return Ok(());
        }
        self.nothing_more()
    }

    fn one(&mut self, at: Time, step: Step, replayed: &mut Replayed) -> Result<(), Did> {
        match step {
            Step::Input(input) => {
                self.nothing_more()?;
                self.model.handle_input(at, input);
                replayed.inputs += 1;
                replayed.digest_in.add(at, &step);
            }
            Step::Output(recorded) => {
                match self.model.poll_output() {
                    Some(output) if output == recorded => {}
                    Some(output) => return Err(Did::Output(output)),
                    None => return Err(Did::Nothing),
                }
                replayed.outputs += 1;
                replayed.digest_out.add(at, &step);
            }
            Step::Timeout => {
                self.nothing_more()?;
                self.model.handle_timeout(at);
                replayed.timeouts += 1;
                replayed.digest_in.add(at, &step);
            }
        }
        Ok(())
    }

    /// What the model asks for is done before anything else happens to it.
    fn nothing_more(&mut self) -> Result<(), Did> {
        self.model.poll_output().map_or(Ok(()), |output| Err(Did::Output(output)))
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// How many steps before a divergence are shown.
const BEFORE: usize = 8;
