//! The requests that are not over. Places are used again; a name says how often its place was taken
//! before, so that what comes late for one that is over is not taken for its successor's.

use dispatch_model::Time;
use sim::outside::{End, Ended};
use sim::traffic::Arrival;

/// A request's name: its place in the lower half, how often that was taken before in the upper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name(pub(crate) u64);

/// One request that is not over for whoever serves it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    name: Name,
    live: bool,
    pub(crate) arrival: Arrival,
    pub(crate) started: Option<Time>,
    /// Where it is or was served, or will be.
    pub(crate) instance: u32,
    /// How often it was sent again.
    pub(crate) retries: u32,
    /// It was refused before.
    pub(crate) throttled: bool,
    /// Its client waits before it sends it again.
    pub(crate) pauses: bool,
    /// It was bound to a cold start.
    pub(crate) bound: bool,
    /// Its client does not wait any more.
    pub(crate) left: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    places: Vec<Request>,
    free: Vec<u32>,
    pub(crate) live: u32,
}

impl Requests {
    pub(crate) fn add(&mut self, arrival: Arrival) -> Name {
        self.live += 1;
        let (index, taken) = match self.free.pop() {
            Some(index) => (index, (self.places[index as usize].name.0 >> 32) + 1),
            None => (u32::try_from(self.places.len()).expect("fewer than 2^32 at once"), 0),
        };
        let name = Name(taken << 32 | u64::from(index));
        let request = Request {
            name,
            live: true,
            arrival,
            started: None,
            instance: 0,
            retries: 0,
            throttled: false,
            pauses: false,
            bound: false,
            left: false,
        };
        match self.places.get_mut(index as usize) {
            Some(place) => *place = request,
            None => self.places.push(request),
        }
        name
    }

    /// The request of this name, if it is not over.
    pub(crate) fn get(&mut self, name: Name) -> Option<&mut Request> {
        let index = usize::try_from(name.0 & u64::from(u32::MAX)).expect("32 bits");
        self.places.get_mut(index).filter(|request| request.live && request.name == name)
    }

    /// Forgets it.
    pub(crate) fn remove(&mut self, name: Name) {
        if let Some(request) = self.get(name) {
            request.live = false;
            self.live -= 1;
            self.free.push(u32::try_from(name.0 & u64::from(u32::MAX)).expect("32 bits"));
        }
    }
}

impl Request {
    /// What whoever looks on is told when it ends like this, were the clock of the traffic as many
    /// nanoseconds behind as `zero` says.
    pub(crate) fn ended(&self, end: End, cold: bool, zero: Time) -> Ended {
        let outside = |at: Time| at.saturating_sub(zero.saturating_since(Time::ZERO));
        Ended {
            arrived: outside(self.arrival.at),
            started: self.started.map(outside),
            instance: if self.started.is_some() { self.instance } else { 0 },
            cold,
            end,
        }
    }
}
