//! From origins and steps to bytes.

use dispatch_model::Time;

use super::digest::Digest;
use super::{MAGIC, Origin, Step, VERSION};

/// Writes a recording into memory.
///
/// ```
/// use dispatch_model::{Config, Input, Limits, RequestId, Time};
/// use io_tokio::recording::{Origin, Recording, Step, Writer};
///
/// let config = Config::new(Limits::default()).unwrap();
/// let mut writer = Writer::new(&Origin::Fresh { config, seed: 7, start: Time::ZERO });
/// let input = Input::RequestArrived { request: RequestId::new(0, 0), bytes: 500 };
/// writer.step(Time::from_millis(1), Step::Input(input));
/// let bytes = writer.take();
/// let recording = Recording::read(&bytes).unwrap();
/// assert_eq!(recording.segments()[0].steps().count(), 1);
/// ```
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
    steps: Encoder,
}

impl Writer {
    /// A recording whose first segment begins with `origin`.
    #[must_use]
    pub fn new(origin: &Origin) -> Self {
        let mut new = Self::empty();
        new.begin(origin);
        new
    }

    /// A recording without a segment yet; [`Self::begin`] comes before the first step.
    #[must_use]
    pub const fn empty() -> Self {
        Self { bytes: Vec::new(), steps: Encoder::new(Time::ZERO) }
    }

    /// Begins another segment.
    pub fn begin(&mut self, origin: &Origin) {
        self.end_block();
        put_origin(&mut self.bytes, origin);
        self.steps = Encoder::new(origin.at());
    }

    /// Adds `step`, which was at `now`. Time never goes back.
    pub fn step(&mut self, now: Time, step: Step) {
        self.steps.push(now, step);
        if self.steps.len() >= BLOCK {
            self.end_block();
        }
    }

    /// Hands over what has been written since the last time. All of it in a row is the recording.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        self.end_block();
        std::mem::take(&mut self.bytes)
    }

    fn end_block(&mut self) {
        if self.steps.len() > 0 {
            put_block(&mut self.bytes, STEPS, &self.steps.take().0);
        }
    }
}

/// Steps that are becoming a block.
#[derive(Debug)]
pub(crate) struct Encoder {
    /// When the last one was.
    at: Time,
    bytes: Vec<u8>,
    count: u64,
}

impl Encoder {
    pub(crate) const fn new(at: Time) -> Self {
        Self { at, bytes: Vec::new(), count: 0 }
    }

    pub(crate) fn push(&mut self, now: Time, step: Step) {
        let span = now.as_nanos().saturating_sub(self.at.as_nanos());
        self.at = now;
        let mut room = [0; STEP_MAX];
        let step = postcard::to_slice(&(span, step), &mut room).expect("a step has little in it");
        self.bytes.extend_from_slice(step);
        self.count += 1;
    }

    pub(crate) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// When the last step was, from which the next is counted.
    pub(crate) const fn at(&self) -> Time {
        self.at
    }

    /// The payload so far, and how many steps that is.
    pub(crate) fn copy(&self) -> (Vec<u8>, u64) {
        (self.bytes.clone(), self.count)
    }

    /// The same, to begin the next block.
    pub(crate) fn take(&mut self) -> (Vec<u8>, u64) {
        let room = Vec::with_capacity(self.bytes.len());
        (std::mem::replace(&mut self.bytes, room), std::mem::take(&mut self.count))
    }
}

/// Begins a segment.
pub(crate) fn put_origin(bytes: &mut Vec<u8>, origin: &Origin) {
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    let payload = postcard::to_allocvec(&(env!("CARGO_PKG_VERSION"), origin));
    put_block(bytes, ORIGIN, &payload.expect("memory takes everything"));
}

pub(crate) fn put_block(bytes: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a block is far below 4 GiB");
    bytes.push(kind);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&(!length).to_le_bytes());
    bytes.extend_from_slice(&Digest::of(kind, payload).to_le_bytes());
    bytes.extend_from_slice(payload);
}

/// The kind of the block that says where the model came from.
pub(super) const ORIGIN: u8 = b'O';
/// The kind of blocks of steps.
pub(crate) const STEPS: u8 = b'S';
/// When a block is full.
const BLOCK: usize = 64 << 10;
/// More than any step takes.
const STEP_MAX: usize = 128;
