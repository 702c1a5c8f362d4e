//! The environments that are not gone, by number, and when each of them wants to be woken.
//!
//! Numbers are never used again but places are: a number is looked up in a window over those that
//! may still be there, which says in which place its environment lies. The next timer is the winner
//! of a tournament between the places: to set one costs as many comparisons as the tree is deep,
//! whether it moves to an earlier moment or to a later one, and nothing is ever left over.

use std::collections::VecDeque;

use dispatch_model::Time;

use super::environment::Environment;
use super::input::EnvironmentId;

/// What the service knows of its environments.
#[derive(Debug)]
pub(super) struct Table {
    /// The place of each environment from number `first` on; [`GONE`] for one that is gone.
    window: VecDeque<u32>,
    first: u64,
    places: Vec<Option<Environment>>,
    free: Vec<u32>,
    /// A tree in an array: the timers of the places are its second half, and each node before is
    /// the earlier one of the two that it leads to. The first is not used.
    timers: Vec<Timer>,
}

/// A moment in the upper half and the number of an environment in the lower: one comparison.
type Timer = u128;

impl Table {
    pub(super) fn new() -> Self {
        Self {
            window: VecDeque::new(),
            first: 1,
            places: Vec::new(),
            free: Vec::new(),
            timers: vec![NEVER; 2],
        }
    }

    /// Adds an environment and numbers it: the first is 1.
    pub(super) fn add(&mut self, environment: Environment) -> EnvironmentId {
        let id = EnvironmentId::new(self.created() + 1);
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            u32::try_from(self.places.len() - 1).expect("fewer than 2^32 environments at once")
        });
        self.places[place as usize] = Some(environment);
        self.window.push_back(place);
        if self.places.len() > self.leaves() {
            self.grow();
        }
        id
    }

    /// How many there have ever been.
    pub(super) fn created(&self) -> u64 {
        self.first + self.window.len() as u64 - 1
    }

    pub(super) fn get(&self, id: EnvironmentId) -> Option<&Environment> {
        self.places[self.place(id)?].as_ref()
    }

    pub(super) fn get_mut(&mut self, id: EnvironmentId) -> Option<&mut Environment> {
        let place = self.place(id)?;
        self.places[place].as_mut()
    }

    /// Forgets `id` and its timer.
    pub(super) fn remove(&mut self, id: EnvironmentId) {
        let Some(place) = self.place(id) else { return };
        self.set_timer(id, None);
        self.places[place] = None;
        let index = self.index(id).expect("it has a place");
        self.free.push(std::mem::replace(&mut self.window[index], GONE));
        while self.window.front() == Some(&GONE) {
            self.window.pop_front();
            self.first += 1;
        }
    }

    /// All of them, in the order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (EnvironmentId, &Environment)> {
        let numbered = (self.first..).zip(&self.window);
        numbered.filter_map(|(number, place)| {
            let there = self.places.get(*place as usize)?.as_ref()?;
            Some((EnvironmentId::new(number), there))
        })
    }

    /// Wakes `id` at `at`, and at no other moment.
    pub(super) fn set_timer(&mut self, id: EnvironmentId, at: Option<Time>) {
        let Some(place) = self.place(id) else { return };
        let mut node = self.leaves() + place;
        self.timers[node] = at.map_or(NEVER, |at| timer(at, id));
        while node > 1 {
            node /= 2;
            let winner = self.timers[2 * node].min(self.timers[2 * node + 1]);
            if self.timers[node] == winner {
                break;
            }
            self.timers[node] = winner;
        }
    }

    /// When `id` will be woken.
    pub(super) fn timer(&self, id: EnvironmentId) -> Option<Time> {
        let timer = self.timers[self.leaves() + self.place(id)?];
        (timer != NEVER).then(|| parts(timer).0)
    }

    /// Who is woken next, and when; the one with the lower number of two at the same moment.
    pub(super) fn next_timer(&self) -> Option<(Time, EnvironmentId)> {
        (self.timers[1] != NEVER).then(|| parts(self.timers[1]))
    }

    fn index(&self, id: EnvironmentId) -> Option<usize> {
        usize::try_from(id.number().checked_sub(self.first)?).ok()
    }

    fn place(&self, id: EnvironmentId) -> Option<usize> {
        let place = *self.window.get(self.index(id)?)?;
        (place != GONE).then_some(place as usize)
    }

    fn leaves(&self) -> usize {
        self.timers.len() / 2
    }

    /// Plays the tournament anew with twice as many places.
    fn grow(&mut self) {
        let leaves = self.leaves();
        let mut timers = vec![NEVER; 4 * leaves];
        timers[2 * leaves..3 * leaves].copy_from_slice(&self.timers[leaves..]);
        for node in (1..2 * leaves).rev() {
            timers[node] = timers[2 * node].min(timers[2 * node + 1]);
        }
        self.timers = timers;
    }
}

fn timer(at: Time, id: EnvironmentId) -> Timer {
    u128::from(at.as_nanos()) << 64 | u128::from(id.number())
}

#[expect(clippy::cast_possible_truncation, reason = "the halves are taken apart")]
const fn parts(timer: Timer) -> (Time, EnvironmentId) {
    (Time::from_nanos((timer >> 64) as u64), EnvironmentId::new(timer as u64))
}

const GONE: u32 = u32::MAX;
const NEVER: Timer = Timer::MAX;

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use dispatch_model::Prng;

    use super::*;

    #[test]
    fn table_is_an_ordered_map_with_an_ordered_set_of_timers() {
        for seed in 0..50 {
            let mut prng = Prng::new(seed);
            let (mut table, mut map) = (Table::new(), BTreeMap::new());
            for _ in 0..2_000 {
                let id = EnvironmentId::new(1 + prng.below(table.created() + 1));
                match prng.below(5) {
                    0 => drop(map.insert(table.add(Environment::new()), None)),
                    1 => {
                        table.remove(id);
                        map.remove(&id);
                    }
                    _ => {
                        let at = Some(Time::from_nanos(prng.below(50))).filter(|_| id.number() > 3);
                        table.set_timer(id, at);
                        map.entry(id).and_modify(|timer| *timer = at);
                    }
                }
                let timers: BTreeSet<_> =
                    map.iter().filter_map(|(id, at)| at.map(|at| (at, *id))).collect();
                assert_eq!(table.next_timer(), timers.first().copied(), "seed {seed}");
                assert_eq!(table.timer(id), map.get(&id).copied().flatten(), "seed {seed}");
                assert_eq!(table.get(id).is_some(), map.contains_key(&id), "seed {seed}");
            }
            assert!(table.iter().map(|(id, _)| id).eq(map.keys().copied()), "seed {seed}");
        }
    }
}
