//! The link to the router, as the machine sees it: attach attempts, serving, draining, cutting.

use core::time::Duration;

use super::{ExitReason, Invoke, Lifecycle, Link, LinkEnd, Output, Pulse, State};

impl Lifecycle {
    pub(super) fn connect(&mut self, invoke: Invoke, attempt: u32) {
        if invoke.lease_until <= self.now {
            return self.end(invoke, ExitReason::SelfDeadline);
        }
        let give_up_at = self.now + ATTACH_PATIENCE;
        self.state = State::Linked(invoke, Link::Connecting { attempt, give_up_at });
        let lease = invoke.cut_at.saturating_since(self.now);
        self.outputs.push_back(Output::Connect { lease, cold: !self.served_before });
    }

    pub(super) fn attached(&mut self) {
        let State::Linked(invoke, Link::Connecting { .. }) = self.state else {
            self.stale_inputs += 1;
            return;
        };
        self.served_before = true;
        let pulse = Pulse::Felt { ask_at: self.now + SILENCE_MAX };
        let link = Link::Serving { in_flight: 0, idle_since: self.now, pulse };
        self.state = State::Linked(invoke, link);
    }

    pub(super) fn disconnected(&mut self, end: LinkEnd) {
        let State::Linked(invoke, link) = self.state else {
            self.stale_inputs += 1;
            return;
        };
        match link {
            Link::BackingOff { .. } => self.stale_inputs += 1,
            Link::Connecting { attempt, .. } => self.attach_failed(invoke, attempt, end),
            Link::Cutting { reason, retry: None } => self.leave(invoke, reason),
            Link::Cutting { retry: Some(attempt), .. } => {
                self.attach_failed(invoke, attempt, LinkEnd::Unreachable);
            }
            Link::Draining { reason, .. } => self.leave(invoke, reason),
            Link::Serving { .. } => {
                let reason = match end {
                    LinkEnd::Closed => ExitReason::RouterGoAway,
                    LinkEnd::Lost
                    | LinkEnd::Refused
                    | LinkEnd::Unavailable
                    | LinkEnd::Unreachable => ExitReason::RouterConnectionError,
                };
                self.leave(invoke, reason);
            }
        }
    }

    /// Nothing of a link that was attached is left; its app may have more to do.
    fn leave(&mut self, invoke: Invoke, reason: ExitReason) {
        if invoke.held_until > self.now && invoke.exit.is_none() {
            self.state = State::Holding(invoke, reason);
        } else {
            self.end(invoke, reason);
        }
    }

    /// The app wants to go on after a response for so long.
    pub(super) fn hold_asked(&mut self, span: Duration) {
        let until = self.now + span.min(self.config.hold_max);
        match &mut self.state {
            State::Linked(invoke, Link::Serving { .. } | Link::Draining { .. }) => {
                invoke.held_until = invoke.held_until.max(until.min(invoke.cut_at));
            }
            State::Linked(
                _,
                Link::BackingOff { .. } | Link::Connecting { .. } | Link::Cutting { .. },
            )
            | State::Booting { .. }
            | State::Exited
            | State::Frozen
            | State::Holding(..)
            | State::Stored
            | State::Waiting { .. } => self.stale_inputs += 1,
        }
    }

    fn attach_failed(&mut self, invoke: Invoke, attempt: u32, end: LinkEnd) {
        let (reason, again) = match end {
            LinkEnd::Closed | LinkEnd::Lost => (ExitReason::RouterConnectionError, true),
            LinkEnd::Refused => (ExitReason::RouterStatus4xx, false),
            LinkEnd::Unavailable => (ExitReason::RouterStatus5xx, true),
            LinkEnd::Unreachable => (ExitReason::RouterUnreachable, true),
        };
        if again && attempt < ATTACH_ATTEMPTS_MAX && invoke.exit.is_none() {
            let again_at = self.now + ATTACH_BACKOFF * 2_u32.pow(attempt - 1);
            let link = Link::BackingOff { attempt: attempt + 1, again_at };
            self.state = State::Linked(invoke, link);
        } else {
            self.end(invoke, reason);
        }
    }

    /// Ends the invoke in the gentlest way that the link's state allows.
    pub(super) fn wind_down(&mut self, reason: ExitReason) {
        let State::Linked(invoke, link) = self.state else { return };
        match link {
            Link::BackingOff { .. } => self.end(invoke, reason),
            Link::Connecting { .. } => self.cut(invoke, reason, None),
            Link::Serving { .. } => self.drain(reason),
            Link::Cutting { reason: earlier, .. } => {
                self.state = State::Linked(invoke, Link::Cutting { reason: earlier, retry: None });
            }
            Link::Draining { .. } => {}
        }
    }

    pub(super) fn drain(&mut self, reason: ExitReason) {
        if let State::Linked(invoke, Link::Serving { pulse, .. }) = self.state {
            self.state = State::Linked(invoke, Link::Draining { pulse, reason });
            self.outputs.push_back(Output::Goaway);
        }
    }

    pub(super) fn cut(&mut self, invoke: Invoke, reason: ExitReason, retry: Option<u32>) {
        self.state = State::Linked(invoke, Link::Cutting { reason, retry });
        self.outputs.push_back(Output::Disconnect);
    }

    pub(super) fn heard(&mut self) {
        let ask_at = self.now + SILENCE_MAX;
        match self.pulse() {
            Some(pulse) => *pulse = Pulse::Felt { ask_at },
            None => self.stale_inputs += 1,
        }
    }

    pub(super) fn pulse(&mut self) -> Option<&mut Pulse> {
        match &mut self.state {
            State::Linked(_, Link::Serving { pulse, .. } | Link::Draining { pulse, .. }) => {
                Some(pulse)
            }
            State::Linked(
                _,
                Link::BackingOff { .. } | Link::Connecting { .. } | Link::Cutting { .. },
            )
            | State::Booting { .. }
            | State::Exited
            | State::Frozen
            | State::Holding(..)
            | State::Stored
            | State::Waiting { .. } => None,
        }
    }

    pub(super) fn request_started(&mut self) {
        match &mut self.state {
            State::Linked(invoke, Link::Serving { in_flight, .. }) => {
                *in_flight += 1;
                invoke.requests += 1;
            }
            State::Linked(invoke, Link::Draining { .. }) => invoke.requests += 1,
            State::Linked(
                _,
                Link::BackingOff { .. } | Link::Connecting { .. } | Link::Cutting { .. },
            )
            | State::Booting { .. }
            | State::Exited
            | State::Frozen
            | State::Holding(..)
            | State::Stored
            | State::Waiting { .. } => self.stale_inputs += 1,
        }
    }

    pub(super) fn request_ended(&mut self) {
        let now = self.now;
        match &mut self.state {
            State::Linked(_, Link::Serving { in_flight, idle_since, .. }) if *in_flight > 0 => {
                *in_flight -= 1;
                *idle_since = now;
            }
            // The last one closes the link, and that is told.
            State::Linked(_, Link::Draining { .. }) => {}
            State::Linked(..)
            | State::Booting { .. }
            | State::Exited
            | State::Frozen
            | State::Holding(..)
            | State::Stored
            | State::Waiting { .. } => self.stale_inputs += 1,
        }
    }
}

const ATTACH_ATTEMPTS_MAX: u32 = 4;
/// Before the second attempt; doubles for each one after it.
const ATTACH_BACKOFF: Duration = Duration::from_millis(50);
const ATTACH_PATIENCE: Duration = Duration::from_secs(2);
pub(super) const PONG_PATIENCE: Duration = Duration::from_secs(5);
/// How long the router may be silent before it is asked. It asks this instance twice as often,
/// unless it was set otherwise, and that is a sign of life too: as a rule the instance does not
/// ask, and one that has nothing to do is not woken by a timer.
const SILENCE_MAX: Duration = Duration::from_secs(10);
