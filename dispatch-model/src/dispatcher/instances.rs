//! The instances, and which of them gets the next request.
//!
//! An instance that may be given work is in the bucket of its number of requests in flight. Buckets
//! are lists threaded through the table, and a bit set says which are not empty, so that the least
//! or the most loaded instance is found in O(1) at any number of instances.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use crate::ids::InstanceId;
use crate::links::{Links, List};
use crate::time::Time;

use super::config::{Matching, SLOTS_MAX};

/// One instance, from the order to invoke until nothing of it is left.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Instance {
    pub(crate) id: InstanceId,
    pub(crate) state: State,
    pub(crate) slots: u32,
    pub(crate) busy: u32,
    /// The bucket it is in.
    level: Option<u32>,
    /// Gave a request back: gets no more until something on it ends or [`Timer::Resume`].
    pub(crate) paused: bool,
    /// Its lease ends before a replacement started now would be up, or it asked to leave.
    pub(crate) aging: bool,
    /// Should find a frozen environment.
    pub(crate) expected_warm: bool,
    /// Lambda still runs its invoke, as far as is known.
    pub(crate) invoke_open: bool,
    /// When it attached, if it has.
    pub(crate) attached: Option<Time>,
    /// Its end says nothing more: it has been counted as failed, or was sent away unused.
    pub(crate) settled: bool,
    /// When it gave its first response, if it has.
    pub(crate) served: Option<Time>,
    /// It has been counted as one that gave responses for a while.
    pub(crate) lasted: bool,
    /// It was given a request.
    pub(crate) tried: bool,
    /// Requests in a row that it did not begin to answer in time.
    pub(crate) timed_out: u32,
    /// A ping is out.
    pub(crate) pinged: bool,
    pub(crate) invoked: Time,
    /// The next moment of each of its timers, [`Time::MAX`] where not set.
    pub(crate) lease_timer: Time,
    pub(crate) ping_timer: Time,
    pub(crate) resume_timer: Time,
    pub(crate) lease_end: Time,
    pub(crate) usable_until: Time,
}

/// Where an instance is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum State {
    /// Invoked, not attached.
    Starting,
    /// Attached, takes work.
    Ready,
    /// Attached, finishes what it has.
    Draining,
    /// Not attached any more; its invoke or its requests have not ended yet.
    Detached,
}

/// Numbers that would otherwise need a walk through the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Counts {
    pub(crate) starting: u32,
    /// Starting ones that should find a frozen environment.
    pub(crate) starting_warm: u32,
    pub(crate) ready: u32,
    pub(crate) draining: u32,
    pub(crate) detached: u32,
    /// Those that have not served yet and may still show what they are good for.
    pub(crate) untried: u32,
    /// Ready ones whose lease is about to end.
    pub(crate) aging: u32,
    /// Ready ones, not aging, that offer no slot: no use to anybody for now.
    pub(crate) slotless: u32,
    /// Slots of ready ones, and of the aging among them.
    pub(crate) slots: u32,
    pub(crate) slots_aging: u32,
    /// Busy slots of ready ones.
    pub(crate) busy: u32,
    /// Ready ones that have served and let no request time out since.
    pub(crate) answering: u32,
}

/// The table of instances.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Instances {
    entries: Vec<Option<Instance>>,
    generations: Vec<u32>,
    free: Vec<u32>,
    links: Links,
    /// By requests in flight, 0 to `SLOTS_MAX - 1`.
    buckets: Vec<List>,
    occupied: [u64; WORDS],
    matching: Matching,
    counts: Counts,
}

const WORDS: usize = (SLOTS_MAX as usize).div_ceil(64);

impl Instances {
    pub(crate) fn new(matching: Matching) -> Self {
        Self {
            entries: Vec::new(),
            generations: Vec::new(),
            free: Vec::new(),
            links: Links::new(),
            buckets: vec![List::EMPTY; SLOTS_MAX as usize],
            occupied: [0; WORDS],
            matching,
            counts: Counts::default(),
        }
    }

    pub(crate) const fn counts(&self) -> Counts {
        self.counts
    }

    /// Every instance of which something is left.
    pub(crate) const fn all(&self) -> u32 {
        let counts = &self.counts;
        counts.starting + counts.ready + counts.draining + counts.detached
    }

    pub(crate) fn get(&self, id: InstanceId) -> Option<&Instance> {
        self.entries.get(id.index() as usize)?.as_ref().filter(|instance| instance.id == id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Instance> + '_ {
        self.entries.iter().flatten()
    }

    /// Makes an instance that starts.
    pub(crate) fn insert(&mut self, now: Time, expected_warm: bool) -> InstanceId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.generations.push(0);
            let index = u32::try_from(self.entries.len() - 1).expect("instances_max is a u32");
            self.links.grow_to(index);
            index
        });
        let id = InstanceId::new(index, self.generations[index as usize]);
        let instance = Instance {
            id,
            state: State::Starting,
            slots: 0,
            busy: 0,
            level: None,
            paused: false,
            aging: false,
            expected_warm,
            invoke_open: true,
            attached: None,
            settled: false,
            served: None,
            lasted: false,
            tried: false,
            timed_out: 0,
            pinged: false,
            invoked: now,
            lease_timer: Time::MAX,
            ping_timer: Time::MAX,
            resume_timer: Time::MAX,
            lease_end: Time::MAX,
            usable_until: Time::MAX,
        };
        self.entries[index as usize] = Some(instance);
        self.count(&instance, true);
        id
    }

    /// Changes an instance and files it anew. Gives it as it then is, or `None` if it has ended.
    pub(crate) fn update(
        &mut self,
        id: InstanceId,
        change: impl FnOnce(&mut Instance),
    ) -> Option<Instance> {
        let mut instance = *self.get(id)?;
        self.count(&instance, false);
        let before = instance.level;
        change(&mut instance);
        self.count(&instance, true);
        let after = instance.wanted_level();
        instance.level = after;
        self.entries[id.index() as usize] = Some(instance);
        self.refile(id.index(), before, after);
        Some(instance)
    }

    /// One more request runs on an instance.
    pub(crate) fn occupy(&mut self, id: InstanceId) {
        if let Some(entry) = self.entries.get_mut(id.index() as usize).and_then(Option::as_mut) {
            entry.tried |= entry.id == id;
        }
        self.change_busy(id, |busy| busy + 1);
    }

    /// One request fewer runs on an instance.
    pub(crate) fn release(&mut self, id: InstanceId) {
        self.change_busy(id, |busy| busy - 1);
    }

    /// What [`Self::update`] does, for what happens with every request.
    fn change_busy(&mut self, id: InstanceId, change: impl Fn(u32) -> u32) {
        let entry = self.entries.get_mut(id.index() as usize).and_then(Option::as_mut);
        let Some(entry) = entry.filter(|entry| entry.id == id) else { return };
        entry.busy = change(entry.busy);
        if entry.state == State::Ready {
            self.counts.busy = change(self.counts.busy);
        }
        let (before, after) = (entry.level, entry.wanted_level());
        entry.level = after;
        self.refile(id.index(), before, after);
    }

    /// Forgets an instance.
    pub(crate) fn remove(&mut self, id: InstanceId) -> Option<Instance> {
        let instance = self.update(id, |instance| instance.state = State::Detached)?;
        self.count(&instance, false);
        self.entries[id.index() as usize] = None;
        // A generation that would come again is left out: its place is lost, not reused.
        if let Some(next) = id.generation().checked_add(1) {
            self.generations[id.index() as usize] = next;
            self.free.push(id.index());
        }
        Some(instance)
    }

    /// The instance that should get the next request.
    pub(crate) fn pick(&self) -> Option<InstanceId> {
        let mut words = self.occupied.iter().enumerate().filter(|(_, bits)| **bits != 0);
        let level = match self.matching {
            Matching::LeastOutstanding => {
                let (word, bits) = words.next()?;
                word * 64 + bits.trailing_zeros() as usize
            }
            Matching::Pack => {
                let (word, bits) = words.next_back()?;
                word * 64 + 63 - bits.leading_zeros() as usize
            }
        };
        self.id_at(self.buckets[level].front()?)
    }

    /// Ready instances, those first that can best be spared: without slots, then the least busy;
    /// among equals the one idle longest.
    pub(crate) fn least_busy(&self) -> impl Iterator<Item = InstanceId> + '_ {
        let spare = |it: &Instance| it.slots == 0 && !it.aging;
        let ready = move || self.iter().filter(|instance| instance.state == State::Ready);
        // Both are looked for only when it is their turn: most often one that is free is enough.
        let slotless =
            (0..self.counts.slotless.min(1)).flat_map(move |_| ready().filter(move |it| spare(it)));
        let levels =
            (0..WORDS * 64).filter(|level| self.occupied[level / 64] >> (level % 64) & 1 == 1);
        let free = levels.flat_map(|level| self.links.iter(&self.buckets[level]));
        // All are full or paused: rare, and only when scaling in under full load.
        let others = (0..1).flat_map(move |_| {
            let mut others: Vec<_> =
                ready().filter(|it| it.level.is_none() && !spare(it)).collect();
            others.sort_unstable_by_key(|instance| (instance.busy, instance.id));
            others
        });
        let free = free.filter_map(|index| self.id_at(index));
        slotless.map(|it| it.id).chain(free).chain(others.map(|it| it.id))
    }

    fn id_at(&self, index: u32) -> Option<InstanceId> {
        self.entries[index as usize].as_ref().map(|instance| instance.id)
    }

    fn refile(&mut self, index: u32, before: Option<u32>, after: Option<u32>) {
        if before != after {
            if let Some(level) = before {
                self.leave(index, level);
            }
            if let Some(level) = after {
                self.enter(index, level);
            }
        }
    }

    fn enter(&mut self, index: u32, level: u32) {
        self.links.push_back(&mut self.buckets[level as usize], index);
        self.occupied[level as usize / 64] |= 1 << (level % 64);
    }

    fn leave(&mut self, index: u32, level: u32) {
        self.links.remove(&mut self.buckets[level as usize], index);
        if self.buckets[level as usize].is_empty() {
            self.occupied[level as usize / 64] &= !(1 << (level % 64));
        }
    }

    fn count(&mut self, instance: &Instance, add: bool) {
        let counts = &mut self.counts;
        let bump = |counter: &mut u32, by: u32| {
            if add {
                *counter += by;
            } else {
                *counter -= by;
            }
        };
        if instance.is_untried() {
            bump(&mut counts.untried, 1);
        }
        match instance.state {
            State::Starting => {
                bump(&mut counts.starting, 1);
                bump(&mut counts.starting_warm, u32::from(instance.expected_warm));
            }
            State::Draining => bump(&mut counts.draining, 1),
            State::Detached => bump(&mut counts.detached, 1),
            State::Ready => {
                bump(&mut counts.ready, 1);
                bump(&mut counts.slots, instance.slots);
                bump(&mut counts.busy, instance.busy);
                let answers = instance.served.is_some() && instance.timed_out == 0;
                bump(&mut counts.answering, u32::from(answers));
                if instance.aging {
                    bump(&mut counts.aging, 1);
                    bump(&mut counts.slots_aging, instance.slots);
                } else if instance.slots == 0 {
                    bump(&mut counts.slotless, 1);
                }
            }
        }
    }
}

impl Instance {
    /// How long its lease was when it attached.
    pub(crate) fn lease(&self) -> Duration {
        self.lease_end.saturating_since(self.attached.unwrap_or(self.lease_end))
    }

    /// Whether it is connected.
    pub(crate) const fn is_attached(&self) -> bool {
        matches!(self.state, State::Ready | State::Draining)
    }

    /// Whether it has not served yet and may still do so, or show in its end that it does not.
    const fn is_untried(&self) -> bool {
        let may_serve = matches!(self.state, State::Starting | State::Ready);
        self.served.is_none() && (may_serve || !self.settled)
    }

    /// Whether it may be given a request now.
    pub(crate) const fn is_usable(&self) -> bool {
        matches!(self.state, State::Ready) && !self.paused && self.busy < self.slots
    }

    const fn wanted_level(&self) -> Option<u32> {
        if self.is_usable() { Some(self.busy) } else { None }
    }
}
