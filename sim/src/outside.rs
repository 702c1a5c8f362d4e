//! What is outside of the machines: who sends requests, how long apps take to get ready, and who
//! looks on. `cargo sim` and the capacity reports drive the same world ([`crate::fast`]) and differ
//! only here.

use std::iter::Peekable;
use std::time::Duration;

use dispatch_model::{Gauges, Time};

use crate::traffic::Arrival;

/// Who sends requests, and what their function is like.
pub trait Source {
    /// When the next request arrives, as far as is known now; later than any that has arrived.
    fn next_at(&mut self) -> Option<Time>;

    /// Takes the next request.
    fn next(&mut self) -> Option<Arrival>;

    /// The request that arrived then is over for its client. Closed loops send the next one.
    fn ended(&mut self, now: Time, arrived: Time) {
        let _ = (now, arrived);
    }

    /// Until when the world goes on at least, though nobody comes any more: who is kept is kept
    /// until then. Default: it ends with its last request.
    fn lasts(&self) -> Time {
        Time::ZERO
    }

    /// How long the app of an environment that starts now takes to get ready; none: as the plan
    /// says.
    fn init(&mut self) -> Option<Duration> {
        None
    }
}

impl<I: Iterator<Item = Arrival>> Source for Peekable<I> {
    fn next_at(&mut self) -> Option<Time> {
        self.peek().map(|arrival| arrival.at)
    }

    fn next(&mut self) -> Option<Arrival> {
        Iterator::next(self)
    }
}

/// How a request ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its client gave up.
    Cancelled,
    /// Its client saw the router vanish, or found none.
    Lost,
    /// It was answered with an error, of the queue or of what serves.
    Refused,
    /// Its client saw a response, whole or cut.
    Served,
}

/// One request that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// When it arrived.
    pub arrived: Time,
    /// When it got a slot, the last time that it did.
    pub started: Option<Time>,
    /// Whose slot: instances are counted from 1 in the order in which they were asked for; 0 if
    /// none.
    pub instance: u32,
    /// It paid a cold start: it was bound to one, or waited as long as one.
    pub cold: bool,
    /// How it ended.
    pub end: End,
}

/// Who looks on. Nothing that is done here changes what happens.
pub trait Watch {
    /// A request has arrived.
    fn arrived(&mut self, now: Time) {
        let _ = now;
    }

    /// A request has ended.
    fn ended(&mut self, now: Time, request: Ended) {
        let _ = (now, request);
    }

    /// Something has changed in the pool. For who serves without a dispatcher, what has no meaning
    /// there is 0.
    fn pool(&mut self, now: Time, gauges: &Gauges) {
        let _ = (now, gauges);
    }

    /// An instance of this number was asked for.
    fn instance_started(&mut self, now: Time, instance: u32) {
        let _ = (now, instance);
    }

    /// It takes work.
    fn instance_ready(&mut self, now: Time, instance: u32) {
        let _ = (now, instance);
    }

    /// It is over.
    fn instance_ended(&mut self, now: Time, instance: u32) {
        let _ = (now, instance);
    }
}

/// Nobody looks on.
impl Watch for () {}
