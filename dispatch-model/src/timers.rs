//! An ordered set of `(Time, timer)`: the only place that knows which timer is next.

use alloc::collections::BTreeSet;

use crate::time::Time;

/// Timers of kind `T`, each with its moment. Equal moments fire in the order of `T`.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(bound(deserialize = "T: serde::Deserialize<'de> + Ord")))]
pub(crate) struct Timers<T> {
    set: BTreeSet<(Time, T)>,
    /// The first entry again, so that asking for it, which happens at every input, is one read.
    first: Option<(Time, T)>,
}

impl<T: Copy + Ord> Timers<T> {
    pub(crate) const fn new() -> Self {
        Self { set: BTreeSet::new(), first: None }
    }

    pub(crate) fn set(&mut self, at: Time, timer: T) {
        self.set.insert((at, timer));
        self.first = self.set.first().copied();
    }

    pub(crate) fn clear(&mut self, at: Time, timer: T) {
        self.set.remove(&(at, timer));
        self.first = self.set.first().copied();
    }

    pub(crate) const fn next(&self) -> Option<(Time, T)> {
        self.first
    }
}
