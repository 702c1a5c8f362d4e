//! What has been recorded so far, and where it goes from here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dispatch_model::{Dispatcher, Time};

use crate::recording::{Encoder, Origin, Step};

use super::file::File;

/// The state of a recorder.
#[derive(Debug)]
pub(super) struct Tape {
    /// The block that is not full yet.
    open: Encoder,
    /// When it was begun.
    opened: Time,
    /// Bytes of steps after which the ring begins another segment; 0 without a ring.
    half: usize,
    /// The ring: two at most, the newest last.
    segments: VecDeque<Segment>,
    file: Option<File>,
    /// Steps that are missing in the file.
    dropped: u64,
}

/// A part of the ring that can be replayed by itself.
#[derive(Debug)]
struct Segment {
    origin: Arc<Origin>,
    blocks: Vec<Block>,
    bytes: usize,
}

/// Steps that follow each other, encoded.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) payload: Bytes,
    pub(super) steps: u64,
}

/// A segment as it was at one moment.
pub(super) struct Taken {
    pub(super) origin: Arc<Origin>,
    pub(super) blocks: Vec<Block>,
}

impl Tape {
    pub(super) const fn new(ring: usize, file: Option<File>) -> Self {
        Self {
            open: Encoder::new(Time::ZERO),
            opened: Time::ZERO,
            half: ring.div_ceil(2),
            segments: VecDeque::new(),
            file,
            dropped: 0,
        }
    }

    /// The model has come into being.
    pub(super) fn begin(&mut self, origin: Origin) {
        self.opened = origin.at();
        self.open = Encoder::new(origin.at());
        let origin = Arc::new(origin);
        if let Some(file) = &mut self.file {
            file.begin(Arc::clone(&origin));
        }
        self.begin_segment(origin);
    }

    pub(super) fn push(&mut self, now: Time, step: Step) {
        self.open.push(now, step);
    }

    /// Nothing is left to do: the model can be copied and goes on from there.
    pub(super) fn turn(&mut self, now: Time, model: &Dispatcher) {
        // Whoever follows the file sees what happens in a quiet pool, too.
        let is_late = self.file.is_some()
            && self.open.len() > 0
            && now.saturating_since(self.opened) >= FILE_LAG;
        if self.open.len() >= BLOCK || is_late {
            self.end_block(now, model);
        }
    }

    fn end_block(&mut self, now: Time, model: &Dispatcher) {
        self.opened = now;
        let (payload, steps) = self.open.take();
        let block = Block { payload: payload.into(), steps };
        // As of its last step: nothing has happened to the model since, and that is what the next
        // one is counted from.
        let at = self.open.at();
        let checkpoint = || Arc::new(Origin::Checkpoint { at, model: Box::new(model.clone()) });
        if let Some(file) = &mut self.file {
            self.dropped += file.block(block.clone(), checkpoint);
        }
        let Some(newest) = self.segments.back_mut() else { return };
        newest.bytes += block.payload.len();
        newest.blocks.push(block);
        if newest.bytes >= self.half {
            self.begin_segment(checkpoint());
        }
    }

    fn begin_segment(&mut self, origin: Arc<Origin>) {
        if self.half == 0 {
            return;
        }
        if self.segments.len() == 2 {
            self.segments.pop_front();
        }
        self.segments.push_back(Segment { origin, blocks: Vec::new(), bytes: 0 });
    }

    /// What the ring holds, if there is one.
    pub(super) fn take(&self) -> Option<Vec<Taken>> {
        if self.half == 0 {
            return None;
        }
        let segments = self.segments.iter();
        let mut taken: Vec<_> = segments
            .map(|segment| Taken {
                origin: Arc::clone(&segment.origin),
                blocks: segment.blocks.clone(),
            })
            .collect();
        let (payload, steps) = self.open.copy();
        if let Some(newest) = taken.last_mut() {
            newest.blocks.push(Block { payload: payload.into(), steps });
        }
        Some(taken)
    }

    /// The driver has ended; gives the file, to be waited for.
    pub(super) fn end(&mut self) -> Option<File> {
        let mut file = self.file.take()?;
        let (payload, steps) = self.open.copy();
        self.dropped += file.last(Block { payload: payload.into(), steps });
        Some(file)
    }

    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// When a block is full.
const BLOCK: usize = 64 << 10;
/// How far the file is behind at the end of a turn.
const FILE_LAG: Duration = Duration::from_secs(1);
