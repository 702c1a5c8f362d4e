//! What will happen, ordered by its moment and then by when it was put here.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

use dispatch_model::{InstanceId, InvokeOutcome, RequestId, Time};
use emulator::model::EnvironmentId;

use super::wire::{LinkId, ToInstance, ToRouter};

/// Something that will happen.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// The app of an environment is ready, if it is still probed.
    AppReady(EnvironmentId),
    /// The router's adapter tells of the end of a connection that the dispatcher had closed.
    ConnectionOver { life: u32, instance: InstanceId },
    /// An instance's dialling comes to its end.
    Dialled(EnvironmentId),
    /// The app has answered a dispatch.
    Done { environment: EnvironmentId, link: LinkId, request: RequestId },
    /// The processes of an environment are gone.
    Emptied(EnvironmentId),
    /// The router makes a connection's end known to a request that ran on it.
    Ended { life: u32, request: RequestId, attempt: u32 },
    /// Fault number such of the plan begins.
    Fault(usize),
    /// It is over.
    FaultOver(usize),
    /// A client gives up.
    GivesUp { life: u32, request: RequestId },
    /// The call to AWS is answered.
    InvokeAnswered { life: u32, instance: InstanceId, outcome: InvokeOutcome },
    /// The response of a dispatch has not begun in time.
    ResponseLate { life: u32, request: RequestId, attempt: u32 },
    /// The router process is there again.
    RouterBack,
    /// Bytes arrive at an instance.
    ToInstance(LinkId, ToInstance),
    /// Bytes arrive at the router.
    ToRouter(LinkId, ToRouter),
    /// A machine in an environment asked to be woken.
    Wake(EnvironmentId),
}

#[derive(Clone, Copy, Debug)]
struct Later {
    at: Time,
    number: u64,
    event: Event,
}

impl PartialEq for Later {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Later {}

impl PartialOrd for Later {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Later {
    /// Turned round: the heap gives the greatest, we want the first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// All events. Those of this very moment, of which there are many, need no heap, and neither do
/// messages on a network where all take as long: they come in the order in which they were sent.
#[derive(Debug, Default)]
pub(super) struct Events {
    heap: BinaryHeap<Later>,
    messages: VecDeque<Later>,
    soon: VecDeque<Event>,
    /// The moment of what is in `soon`.
    now: Time,
    count: u64,
}

impl Events {
    /// Lets `event` happen at `at`, or now if that has passed.
    pub(super) fn push(&mut self, now: Time, at: Time, event: Event) {
        if at <= now {
            debug_assert!(
                self.soon.is_empty() || self.now == now,
                "soon is over before time goes on"
            );
            self.now = now;
            self.soon.push_back(event);
        } else {
            let later = Later { at, number: self.count, event };
            self.count += 1;
            let is_message = matches!(event, Event::ToInstance(..) | Event::ToRouter(..));
            if is_message && self.messages.back().is_none_or(|last| last.at <= at) {
                self.messages.push_back(later);
            } else {
                self.heap.push(later);
            }
        }
    }

    pub(super) fn next_at(&self) -> Option<Time> {
        if self.soon.is_empty() { self.later().map(|later| later.at) } else { Some(self.now) }
    }

    /// The first of what is not of this moment, or was not when it was put here.
    fn later(&self) -> Option<&Later> {
        // The greatest is the first.
        self.heap.peek().max(self.messages.front())
    }

    /// The next event. What was put on the heap for this moment came before what is `soon`.
    pub(super) fn pop(&mut self) -> Option<Event> {
        let older = self.later().is_some_and(|later| later.at <= self.now);
        if !older && !self.soon.is_empty() {
            return self.soon.pop_front();
        }
        let first = if self.messages.front() > self.heap.peek() {
            self.messages.pop_front()
        } else {
            self.heap.pop()
        };
        first.map(|later| later.event)
    }
}
