//! What lies between the router and its instances: one link for each attached instance, as reverse
//! HTTP/2 has it. Bytes come in their order or not at all; a link that has lost some never
//! delivers another, as TCP would not.

use std::time::Duration;

use dispatch_model::time::nanos;
use dispatch_model::{InstanceId, RequestId, Time};
use emulator::model::EnvironmentId;

use crate::fault::FaultKind;

use super::World;
use super::events::Event;

/// A place in the table of links, and how often it had been taken before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkId {
    pub(super) index: u32,
    pub(super) serial: u32,
}

/// What an instance is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum ToInstance {
    Accepted,
    Cancel(RequestId),
    /// The router has closed the connection.
    Closed,
    Denied,
    /// The router has seen that it goes away: what it had sent before has arrived.
    GoawaySeen,
    Open(RequestId),
    Ping,
    Pong,
    /// The connection broke.
    Reset,
}

/// What the router is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum ToRouter {
    /// The instance has closed the connection.
    Closed,
    /// A response is complete.
    End(RequestId),
    /// The app broke off before a response.
    Failed(RequestId),
    Goaway,
    /// A response has begun, and will not be complete.
    Head(RequestId),
    Hello {
        lease: Duration,
        cold: bool,
    },
    Ping,
    Pong,
    /// The stream was refused: no app has seen it.
    Refused(RequestId),
    /// The connection broke.
    Reset,
}

/// One connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) serial: u32,
    /// Who dialled.
    pub(super) environment: EnvironmentId,
    /// Which life of the router took it.
    pub(super) life: u32,
    /// Whose invoke it is for.
    pub(super) instance: InstanceId,
    /// Whether the router's end is open.
    pub(super) at_router: bool,
    /// Whether the instance's end is open.
    pub(super) at_instance: bool,
    /// Whether the router was told that it goes away and has not acted on it.
    pub(super) goaway: bool,
    stalled_until: Time,
    to_router: Direction,
    to_instance: Direction,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Router,
    Instance,
}

#[derive(Clone, Copy, Debug, Default)]
struct Direction {
    /// When the last bytes that were sent arrive.
    last: Time,
    /// Bytes were lost: nothing arrives any more.
    hole: bool,
}

/// The links, with room for new ones where old ones were.
#[derive(Debug, Default)]
pub(super) struct Links {
    table: Vec<Link>,
    free: Vec<u32>,
}

impl Links {
    pub(super) fn open(
        &mut self,
        environment: EnvironmentId,
        life: u32,
        instance: InstanceId,
    ) -> LinkId {
        let mut new = Link {
            serial: 0,
            environment,
            life,
            instance,
            at_router: true,
            at_instance: true,
            goaway: false,
            stalled_until: Time::ZERO,
            to_router: Direction::default(),
            to_instance: Direction::default(),
        };
        if let Some(index) = self.free.pop() {
            new.serial = self.table[index as usize].serial + 1;
            self.table[index as usize] = new;
            return LinkId { index, serial: new.serial };
        }
        self.table.push(new);
        let index = u32::try_from(self.table.len() - 1).expect("fewer than 2^32 links");
        LinkId { index, serial: 0 }
    }

    /// The link of this name while one of its ends is open.
    pub(super) fn get(&mut self, id: LinkId) -> Option<&mut Link> {
        let link = self.table.get_mut(id.index as usize)?;
        let open = link.at_router || link.at_instance;
        (link.serial == id.serial && open).then_some(link)
    }

    pub(super) fn close_at_router(&mut self, id: LinkId) {
        if let Some(link) = self.get(id) {
            link.at_router = false;
            if !link.at_instance {
                self.free.push(id.index);
            }
        }
    }

    pub(super) fn close_at_instance(&mut self, id: LinkId) {
        if let Some(link) = self.get(id) {
            link.at_instance = false;
            if !link.at_router {
                self.free.push(id.index);
            }
        }
    }

    pub(super) fn stall(&mut self, id: LinkId, until: Time) {
        if let Some(link) = self.get(id) {
            link.stalled_until = until;
        }
    }

    /// Every link with an open end.
    pub(super) fn open_ones(&self) -> impl Iterator<Item = (LinkId, &Link)> + '_ {
        let named = (0..).zip(&self.table);
        named
            .filter(|(_, link)| link.at_router || link.at_instance)
            .map(|(index, link)| (LinkId { index, serial: link.serial }, link))
    }
}

impl World<'_> {
    /// How long bytes take this time.
    pub(super) fn delay(&mut self) -> Duration {
        let network = &self.plan.network;
        let spread = network.delay_max.saturating_sub(network.delay_min);
        if spread.is_zero() {
            return network.delay_min;
        }
        network.delay_min + Duration::from_nanos(self.chance.below(nanos(spread) + 1))
    }

    pub(super) fn send_to_router(&mut self, id: LinkId, message: ToRouter) {
        if let Some(at) = self.arrival(id, End::Router) {
            self.events.push(self.now, at, Event::ToRouter(id, message));
        }
    }

    pub(super) fn send_to_instance(&mut self, id: LinkId, message: ToInstance) {
        if let Some(at) = self.arrival(id, End::Instance) {
            self.events.push(self.now, at, Event::ToInstance(id, message));
        }
    }

    /// When what is sent now arrives at this end, if it does.
    fn arrival(&mut self, id: LinkId, to: End) -> Option<Time> {
        let at = self.now + self.delay();
        let link = self.links.get(id)?;
        let (open, one_way, direction) = match to {
            End::Router => (link.at_router, FaultKind::PartitionToRouter, &mut link.to_router),
            End::Instance => {
                (link.at_instance, FaultKind::PartitionFromRouter, &mut link.to_instance)
            }
        };
        if !open {
            return None;
        }
        let zone = zone_of(link.environment);
        let lost = [FaultKind::Partition, one_way];
        let lost = if self.faults.is_any_on() { &lost[..] } else { &[] };
        if let Some(kind) = lost.iter().copied().find(|kind| self.faults.is_on(*kind, zone)) {
            direction.hole = true;
            self.fired(kind);
            return None;
        }
        if direction.hole {
            return None;
        }
        let held = self.faults.until(FaultKind::Hold, zone);
        let at = at.max(direction.last).max(link.stalled_until).max(held.unwrap_or_default());
        direction.last = at;
        if held.is_some() {
            self.fired(FaultKind::Hold);
        }
        Some(at)
    }

    /// Breaks a link in the middle: each end hears of it as soon as bytes take.
    pub(super) fn break_link(&mut self, id: LinkId) {
        self.send_to_router(id, ToRouter::Reset);
        self.send_to_instance(id, ToInstance::Reset);
    }
}

/// The zone in which an environment lives.
pub(super) fn zone_of(environment: EnvironmentId) -> u32 {
    u32::try_from(environment.number() % u64::from(crate::fault::ZONES)).expect("below ZONES")
}
