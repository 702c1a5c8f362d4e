//! Those who have connected to the instances' port and have not proved who they are.
//!
//! Each costs a socket and a task until it has attached or its time is over, so there are few: in
//! all, and of one address, so that one machine cannot keep the instances of others out. Both
//! bounds are above the number of instances that are expected: in AWS hundreds of them share an
//! address, that of a subnet's interface or of a NAT gateway, and come at once in a burst. (This
//! machine itself is not counted: in development all instances are here.) What fails is logged
//! seldom, so that a flood of failures does not become a flood of lines.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dispatch_model::Time;

use crate::clock::Clock;

/// Who is there at the moment. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Strangers(Arc<Mutex<Door>>);

#[derive(Debug)]
struct Door {
    clock: Clock,
    inside: usize,
    by_address: HashMap<IpAddr, usize>,
    /// When the minute began whose lines are counted.
    minute: Time,
    said: u32,
    unsaid: u64,
}

/// A stranger's place; free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    strangers: Strangers,
    address: IpAddr,
}

impl Strangers {
    pub(crate) fn new(clock: Clock) -> Self {
        let minute = clock.now();
        Self(Arc::new(Mutex::new(Door {
            clock,
            inside: 0,
            by_address: HashMap::new(),
            minute,
            said: 0,
            unsaid: 0,
        })))
    }

    /// A place for a stranger, if there is one. So many instances are `expected`.
    pub(crate) fn admit(&self, peer: IpAddr, expected: usize) -> Option<Place> {
        let address = neighbourhood(peer);
        let mut door = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = door.by_address.get(&address).copied().unwrap_or(0);
        let crowded = of_address >= STRANGERS_OF_ADDRESS_MAX + expected && !address.is_loopback();
        if crowded || door.inside >= STRANGERS_MAX + expected {
            return None;
        }
        door.inside += 1;
        door.by_address.insert(address, of_address + 1);
        Some(Place { strangers: self.clone(), address })
    }

    /// Whether a failure may be logged now; if so, how many were not since the last one that was.
    pub(crate) fn may_log(&self) -> Option<u64> {
        let mut door = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = door.clock.now();
        if now >= door.minute + MINUTE {
            door.minute = now;
            door.said = 0;
        }
        if door.said == LINES_PER_MINUTE {
            door.unsaid += 1;
            return None;
        }
        door.said += 1;
        Some(std::mem::take(&mut door.unsaid))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut door = self.strangers.0.lock().unwrap_or_else(PoisonError::into_inner);
        door.inside -= 1;
        // Nothing is kept of an address that nobody is here from.
        match door.by_address.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => {
                door.by_address.remove(&self.address);
            }
        }
    }
}

/// What counts as one address: of IPv6 the network that one machine is given.
fn neighbourhood(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(four) => IpAddr::V4(four),
        IpAddr::V6(Ipv6Addr::LOCALHOST) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        IpAddr::V6(six) => {
            let network = six.to_bits() >> HOST_BITS << HOST_BITS;
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
    }
}

/// Connections that have not attached yet, at once, beside those that are expected.
const STRANGERS_MAX: usize = 1_024;
/// Of them, those from one address.
const STRANGERS_OF_ADDRESS_MAX: usize = 32;
const HOST_BITS: u32 = 64;
const LINES_PER_MINUTE: u32 = 10;
const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_address_cannot_take_the_places_of_others() {
        let strangers = Strangers::new(Clock::start());
        let admit = |address: &str| strangers.admit(address.parse().unwrap(), 0);
        let mut places: Vec<_> = (0..32).map(|_| admit("10.0.0.1").unwrap()).collect();
        assert!(admit("10.0.0.1").is_none());
        assert!(admit("::ffff:10.0.0.1").is_none(), "the same one, written otherwise");
        assert!(admit("10.0.0.2").is_some());
        assert_eq!((0..100).map_while(|_| admit("127.0.0.1")).count(), 100);
        places.pop();
        assert!(admit("10.0.0.1").is_some(), "a place that is left is free");

        let one_network: Vec<_> =
            (0..33).map_while(|host| admit(&format!("fd00::1:{host}"))).collect();
        assert_eq!(one_network.len(), 32);
        assert!(admit("fd00:0:0:1::1").is_some());
    }

    #[tokio::test]
    async fn as_many_as_are_expected_may_share_an_address() {
        let strangers = Strangers::new(Clock::start());
        let gateway = "10.0.0.1".parse().unwrap();
        let places: Vec<_> = (0..2_000).map_while(|_| strangers.admit(gateway, 1_000)).collect();
        assert_eq!(places.len(), 1_032);
    }

    #[tokio::test]
    async fn nobody_is_let_in_beyond_the_total_and_nothing_is_kept_of_who_left() {
        let strangers = Strangers::new(Clock::start());
        let address = |number: u32| IpAddr::V4(number.into());
        let places: Vec<_> = (0..2_000).map_while(|it| strangers.admit(address(it), 0)).collect();
        assert_eq!(places.len(), STRANGERS_MAX);
        drop(places);
        let door = strangers.0.lock().unwrap();
        assert_eq!((door.inside, door.by_address.len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_failures_is_ten_lines_a_minute() {
        let strangers = Strangers::new(Clock::start());
        let lines = (0..1_000).filter_map(|_| strangers.may_log()).count();
        assert_eq!(lines, 10);
        tokio::time::sleep(MINUTE).await;
        assert_eq!(strangers.may_log(), Some(990), "the next line says how many there were");
        assert_eq!(strangers.may_log(), Some(0));
    }
}
