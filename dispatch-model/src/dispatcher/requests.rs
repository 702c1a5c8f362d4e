//! The live requests: those that wait, in order, and those that run.
//!
//! Nearly every operation is O(1). A request waits in one of two queues, each in the order of
//! arrival: *returned* ones, which no app has seen although they were dispatched, come before
//! *waiting* ones. Running requests are kept in the order of their dispatch, so that finding those
//! that outlived what is normal costs nothing.

use alloc::vec::Vec;

use crate::ids::{InstanceId, RequestId};
use crate::links::{Links, List};
use crate::time::Time;

/// One live request.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Request {
    pub(crate) id: RequestId,
    pub(crate) stage: Stage,
    pub(crate) bytes: u32,
    pub(crate) arrived: Time,
    /// When it was last dispatched.
    pub(crate) dispatched: Time,
    /// Who runs it, or ran it last.
    pub(crate) instance: Option<InstanceId>,
    pub(crate) attempts: u8,
    /// Running for longer than is normal.
    pub(crate) stuck: bool,
}

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Stage {
    Returned,
    Running,
    Waiting,
}

/// The table of live requests.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Requests {
    entries: Vec<Option<Request>>,
    links: Links,
    returned: List,
    waiting: List,
    running: List,
    queued_bytes: u64,
    /// The first running request, in order of dispatch, that is not marked stuck.
    fresh: Option<u32>,
    stuck: u32,
}

impl Requests {
    pub(crate) const fn new() -> Self {
        Self {
            entries: Vec::new(),
            links: Links::new(),
            returned: List::EMPTY,
            waiting: List::EMPTY,
            running: List::EMPTY,
            queued_bytes: 0,
            fresh: None,
            stuck: 0,
        }
    }

    pub(crate) const fn queued(&self) -> u32 {
        self.returned.len() + self.waiting.len()
    }

    pub(crate) const fn queued_bytes(&self) -> u64 {
        self.queued_bytes
    }

    pub(crate) const fn running(&self) -> u32 {
        self.running.len()
    }

    /// Running requests that have outlived what is normal, as of the last [`Self::mark_stuck`].
    pub(crate) const fn stuck(&self) -> u32 {
        self.stuck
    }

    pub(crate) fn get(&self, id: RequestId) -> Option<&Request> {
        self.entries.get(id.index() as usize)?.as_ref().filter(|request| request.id == id)
    }

    /// Adds a request that waits behind all others.
    ///
    /// # Panics
    ///
    /// The place is taken by a live request: a bug of the driver.
    pub(crate) fn enqueue(&mut self, id: RequestId, bytes: u32, now: Time) {
        self.insert(id, bytes, now, Stage::Waiting);
        self.links.push_back(&mut self.waiting, id.index());
        self.queued_bytes += u64::from(bytes);
    }

    /// Adds a request that runs at once.
    ///
    /// # Panics
    ///
    /// As [`Self::enqueue`].
    pub(crate) fn run_new(&mut self, id: RequestId, bytes: u32, instance: InstanceId, now: Time) {
        self.insert(id, bytes, now, Stage::Running);
        self.start(id.index(), instance, now);
    }

    /// Moves a queued request to the running ones; gives it as it was in the queue.
    pub(crate) fn run_queued(&mut self, index: u32, instance: InstanceId, now: Time) -> Request {
        let request = self.at(index);
        self.unlink(&request);
        self.start(index, instance, now);
        request
    }

    /// Moves a running request back into the queue, before all that were never dispatched.
    pub(crate) fn give_back(&mut self, id: RequestId) {
        let request = self.at(id.index());
        self.unlink(&request);
        let entries = &self.entries;
        let later = |other: u32| {
            entries[other as usize].is_some_and(|other| other.arrived > request.arrived)
        };
        self.links.insert(&mut self.returned, id.index(), later);
        self.queued_bytes += u64::from(request.bytes);
        let entry = self.entry(id.index());
        entry.stage = Stage::Returned;
        entry.stuck = false;
    }

    /// Takes out a live request, wherever it is.
    pub(crate) fn remove(&mut self, id: RequestId) -> Option<Request> {
        let request = *self.get(id)?;
        self.unlink(&request);
        self.entries[id.index() as usize] = None;
        Some(request)
    }

    /// Queued requests in the order in which they shall run.
    pub(crate) fn queue(&self) -> impl Iterator<Item = &Request> + '_ {
        let indices = self.links.iter(&self.returned).chain(self.links.iter(&self.waiting));
        indices.filter_map(|index| self.entries[index as usize].as_ref())
    }

    /// The first in line.
    pub(crate) fn first(&self) -> Option<RequestId> {
        let index = self.returned.front().or_else(|| self.waiting.front())?;
        Some(self.at(index).id)
    }

    /// The first of those that wait and were never dispatched.
    pub(crate) fn first_waiting(&self) -> Option<&Request> {
        self.entries[self.waiting.front()? as usize].as_ref()
    }

    /// The queued request that has waited longest.
    pub(crate) fn oldest_queued(&self) -> Option<&Request> {
        let returned = self.returned.front().map(|index| &self.entries[index as usize]);
        let returned = returned.and_then(Option::as_ref);
        match (returned, self.first_waiting()) {
            (Some(one), Some(other)) if other.arrived < one.arrived => Some(other),
            (Some(one), _) => Some(one),
            (None, other) => other,
        }
    }

    /// When the request was dispatched that runs longest, but for the stuck.
    pub(crate) fn oldest_fresh(&self) -> Option<Time> {
        self.fresh.map(|index| self.at(index).dispatched)
    }

    /// How many of the `first` running requests that are not stuck, in order of dispatch, were
    /// dispatched before `since`; `None` if all were. Linear in them.
    pub(crate) fn dispatched_before(&self, since: Time, first: u32) -> Option<u32> {
        let fresh = core::iter::successors(self.fresh, |index| self.links.next(*index));
        let position = (0..first).zip(fresh).find(|(_, index)| self.at(*index).dispatched >= since);
        position.map(|(before, _)| before)
    }

    /// Marks as stuck those that were dispatched before `since`.
    pub(crate) fn mark_stuck(&mut self, since: Time) {
        while let Some(index) = self.fresh {
            let entry = self.entry(index);
            if entry.dispatched >= since {
                break;
            }
            entry.stuck = true;
            self.stuck += 1;
            self.fresh = self.links.next(index);
        }
    }

    /// Every live request.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Request> + '_ {
        self.entries.iter().flatten()
    }

    fn insert(&mut self, id: RequestId, bytes: u32, now: Time, stage: Stage) {
        let index = id.index() as usize;
        if self.entries.len() <= index {
            self.entries.resize(index + 1, None);
            self.links.grow_to(id.index());
        }
        let old = self.entries[index].replace(Request {
            id,
            stage,
            bytes,
            arrived: now,
            dispatched: now,
            instance: None,
            attempts: 0,
            stuck: false,
        });
        assert!(old.is_none(), "request {id} arrived while its place is taken by {old:?}");
    }

    fn start(&mut self, index: u32, instance: InstanceId, now: Time) {
        self.links.push_back(&mut self.running, index);
        if self.fresh.is_none() {
            self.fresh = Some(index);
        }
        let entry = self.entry(index);
        entry.stage = Stage::Running;
        entry.dispatched = now;
        entry.instance = Some(instance);
        entry.attempts = entry.attempts.saturating_add(1);
    }

    fn unlink(&mut self, request: &Request) {
        let index = request.id.index();
        let list = match request.stage {
            Stage::Returned => &mut self.returned,
            Stage::Waiting => &mut self.waiting,
            Stage::Running => {
                if self.fresh == Some(index) {
                    self.fresh = self.links.next(index);
                }
                self.stuck -= u32::from(request.stuck);
                self.links.remove(&mut self.running, index);
                return;
            }
        };
        self.links.remove(list, index);
        self.queued_bytes -= u64::from(request.bytes);
    }

    fn at(&self, index: u32) -> Request {
        self.entries[index as usize].expect("a linked request is live")
    }

    fn entry(&mut self, index: u32) -> &mut Request {
        self.entries[index as usize].as_mut().expect("a linked request is live")
    }
}
