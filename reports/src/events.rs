//! What will happen, ordered by its moment and then by when it was put here.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use dispatch_model::Time;

/// A heap of events.
#[derive(Debug)]
pub(crate) struct Events<T> {
    heap: BinaryHeap<Later<T>>,
    count: u64,
}

/// An event, with its moment and its number in one: the first of both is the least.
#[derive(Debug)]
struct Later<T> {
    key: u128,
    event: T,
}

impl<T> Events<T> {
    pub(crate) const fn new() -> Self {
        Self { heap: BinaryHeap::new(), count: 0 }
    }

    pub(crate) fn push(&mut self, at: Time, event: T) {
        let key = u128::from(at.as_nanos()) << 64 | u128::from(self.count);
        self.count += 1;
        self.heap.push(Later { key, event });
    }

    pub(crate) fn next_at(&self) -> Option<Time> {
        self.heap.peek().map(|later| at(later.key))
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        self.heap.pop().map(|later| later.event)
    }
}

fn at(key: u128) -> Time {
    Time::from_nanos(u64::try_from(key >> 64).expect("64 bits are left"))
}

impl<T> PartialEq for Later<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<T> Eq for Later<T> {}

impl<T> PartialOrd for Later<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Later<T> {
    /// Turned round: the heap gives the greatest, we want the first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key.cmp(&self.key)
    }
}
