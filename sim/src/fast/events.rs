//! What will happen, ordered by its moment and then by when it was put here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use dispatch_model::{Ending, RequestId, Time};

use super::function;

/// Something that will happen.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// A dispatch is over, unless the request was dispatched anew since.
    Ended { request: RequestId, attempt: u32, ending: Ending },
    /// Something of the function's.
    Function(function::Event),
    /// Lambda begins or ceases to throttle.
    Throttle(bool),
}

/// A heap of events.
#[derive(Debug, Default)]
pub(super) struct Events {
    heap: BinaryHeap<Reverse<(Time, u64)>>,
    events: BTreeMap<u64, Event>,
    count: u64,
}

impl Events {
    pub(super) fn push(&mut self, at: Time, event: Event) {
        self.heap.push(Reverse((at, self.count)));
        self.events.insert(self.count, event);
        self.count += 1;
    }

    pub(super) fn next_at(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        let Reverse((_, number)) = self.heap.pop()?;
        self.events.remove(&number)
    }
}
