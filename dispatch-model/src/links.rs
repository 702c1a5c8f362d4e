//! Doubly linked lists threaded through a table: an entry is put in, taken out from anywhere, and
//! moved between lists in O(1) without an allocation, or put in order from the back. The links
//! live beside the entries, so one table of links serves any number of lists as long as an entry is
//! in at most one of them.

use alloc::vec::Vec;

/// No entry.
const NONE: u32 = u32::MAX;

/// The two ends of one list.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct List {
    head: u32,
    tail: u32,
    len: u32,
}

impl List {
    pub(crate) const EMPTY: Self = Self { head: NONE, tail: NONE, len: 0 };

    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) const fn front(&self) -> Option<u32> {
        if self.head == NONE { None } else { Some(self.head) }
    }
}

/// The links of every entry of a table.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Links(Vec<(u32, u32)>);

impl Links {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Makes room for entry `index`.
    pub(crate) fn grow_to(&mut self, index: u32) {
        if self.0.len() <= index as usize {
            self.0.resize(index as usize + 1, (NONE, NONE));
        }
    }

    pub(crate) fn push_back(&mut self, list: &mut List, index: u32) {
        self.0[index as usize] = (list.tail, NONE);
        match list.tail {
            NONE => list.head = index,
            tail => self.0[tail as usize].1 = index,
        }
        list.tail = index;
        list.len += 1;
    }

    /// Puts `index` behind the last in `list` that is not `later`, looking from the back.
    pub(crate) fn insert(&mut self, list: &mut List, index: u32, later: impl Fn(u32) -> bool) {
        let mut before = list.tail;
        while before != NONE && later(before) {
            before = self.0[before as usize].0;
        }
        let after = if before == NONE { list.head } else { self.0[before as usize].1 };
        self.0[index as usize] = (before, after);
        match before {
            NONE => list.head = index,
            before => self.0[before as usize].1 = index,
        }
        match after {
            NONE => list.tail = index,
            after => self.0[after as usize].0 = index,
        }
        list.len += 1;
    }

    /// Takes out `index`, which must be in `list`.
    pub(crate) fn remove(&mut self, list: &mut List, index: u32) {
        let (before, after) = self.0[index as usize];
        match before {
            NONE => list.head = after,
            before => self.0[before as usize].1 = after,
        }
        match after {
            NONE => list.tail = before,
            after => self.0[after as usize].0 = before,
        }
        list.len -= 1;
    }

    /// The entry after `index` in its list.
    pub(crate) fn next(&self, index: u32) -> Option<u32> {
        let after = self.0[index as usize].1;
        if after == NONE { None } else { Some(after) }
    }

    /// Every entry of `list`, front first.
    pub(crate) fn iter(&self, list: &List) -> impl Iterator<Item = u32> + '_ {
        core::iter::successors(list.front(), |index| self.next(*index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_leave_from_anywhere_and_order_stays() {
        let mut links = Links::new();
        links.grow_to(9);
        let mut list = List::EMPTY;
        for index in 0..5 {
            links.push_back(&mut list, index);
        }
        links.insert(&mut list, 9, |other| other > 1);
        assert_eq!(links.iter(&list).collect::<Vec<_>>(), [0, 1, 9, 2, 3, 4]);
        for index in [2, 4] {
            links.remove(&mut list, index);
        }
        assert_eq!(links.iter(&list).collect::<Vec<_>>(), [0, 1, 9, 3]);
        assert_eq!(list.len(), 4);
        for index in [0, 9, 3, 1] {
            links.remove(&mut list, index);
        }
        assert!(list.is_empty() && list.front().is_none());
    }
}
