//! How many connections may be open at a listener: in all, and of one address.
//!
//! Without a bound, whoever opens connections and does nothing with them takes all descriptors and
//! much memory, and keeps others out. One connection too many is closed without a word, as the
//! cheapest thing to do.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts the connections at a listener. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Admission(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// How many may be open at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) all: usize,
    /// Of one IPv4 address, or of the /64 that whoever has an IPv6 address is given.
    pub(crate) of_address: usize,
}

/// A connection's place among those that are open; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Admission,
    address: Option<IpAddr>,
}

impl Admission {
    /// A place for a connection, unless there are too many. Without an address it counts only among
    /// all.
    pub(crate) fn admit(&self, address: Option<IpAddr>, bounds: Bounds) -> Option<Place> {
        let address = address.map(neighbourhood);
        let mut open = self.lock();
        let own = address.and_then(|it| open.by_address.get(&it).copied()).unwrap_or(0);
        if open.all >= bounds.all || own >= bounds.of_address {
            return None;
        }
        open.all += 1;
        if let Some(address) = address {
            open.by_address.insert(address, own + 1);
        }
        Some(Place { admission: self.clone(), address })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.admission.lock();
        open.all -= 1;
        if let Some(address) = self.address
            && let Some(own) = open.by_address.get_mut(&address)
        {
            *own -= 1;
            // Nothing is kept of an address that nobody is here from.
            if *own == 0 {
                open.by_address.remove(&address);
            }
        }
    }
}

/// What counts as one address.
fn neighbourhood(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() >> 64 << 64)),
        four @ IpAddr::V4(_) => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Option<IpAddr> {
        Some(address.parse().unwrap())
    }

    #[test]
    fn an_address_has_its_share_and_all_have_theirs() {
        let (admission, bounds) = (Admission::default(), Bounds { all: 4, of_address: 2 });
        let admit = |address| admission.admit(address, bounds);
        let first = admit(of("203.0.113.1")).unwrap();
        let _second = admit(of("::ffff:203.0.113.1")).expect("one has gone nowhere yet");
        assert!(admit(of("203.0.113.1")).is_none(), "the same one, written otherwise");
        let _other = admit(of("203.0.113.2")).unwrap();
        drop(first);
        let _again = admit(of("203.0.113.1")).expect("a place that is left is free");
        let _last = admit(of("203.0.113.3")).unwrap();
        assert!(admit(of("203.0.113.4")).is_none());
        assert!(admit(None).is_none());
    }

    #[test]
    fn who_has_no_address_has_no_share_and_ipv6_counts_by_network() {
        let (admission, bounds) = (Admission::default(), Bounds { all: 100, of_address: 2 });
        let admit = |address| admission.admit(address, bounds);
        let proxies: Vec<_> = (0..10).map(|_| admit(None).unwrap()).collect();
        let _one = admit(of("2001:db8::1")).unwrap();
        let _two = admit(of("2001:db8::2")).unwrap();
        assert!(admit(of("2001:db8::3")).is_none());
        assert!(admit(of("2001:db8:0:1::3")).is_some());
        drop(proxies);
        assert_eq!(admission.lock().all, 2);
    }

    #[test]
    fn nothing_is_kept_of_who_left() {
        let (admission, bounds) = (Admission::default(), Bounds { all: 1_000, of_address: 2 });
        let address = |number: u32| Some(IpAddr::V4(number.into()));
        let places: Vec<_> =
            (0..2_000).map_while(|number| admission.admit(address(number), bounds)).collect();
        assert_eq!(places.len(), 1_000);
        drop(places);
        let open = admission.lock();
        assert_eq!((open.all, open.by_address.len()), (0, 0));
    }
}
