//! How many connections clients may have open: in all, and each of them.
//!
//! Without a bound, whoever opens connections and does nothing with them takes all descriptors and
//! much memory. One connection too many is closed without a word, as the cheapest thing to do.
//! Trusted proxies stand for many clients and are bounded only in all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dispatch_model::Time;

use crate::clock::Clock;
use crate::networks::Networks;

/// Counts the connections of clients.
#[derive(Debug)]
pub(crate) struct Admission {
    max: usize,
    per_client_max: usize,
    trusted: Networks,
    clock: Clock,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_client: HashMap<IpAddr, usize>,
    /// Refused since that was last said, and when.
    refused: u64,
    said: Option<Time>,
}

/// A connection's place among those that are open; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Arc<Admission>,
    client: Option<IpAddr>,
}

impl Admission {
    pub(crate) fn new(
        max: usize,
        per_client_max: usize,
        trusted: Networks,
        clock: Clock,
    ) -> Arc<Self> {
        Arc::new(Self { max, per_client_max, trusted, clock, open: Mutex::default() })
    }

    /// A place for a connection from `peer`, unless there are too many.
    pub(crate) fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let client = (!self.trusted.contains(peer)).then(|| client(peer));
        let mut open = self.lock();
        let own = client.and_then(|client| open.by_client.get(&client).copied()).unwrap_or(0);
        if open.all >= self.max || own >= self.per_client_max {
            open.refused += 1;
            self.say(&mut open, peer);
            return None;
        }
        open.all += 1;
        if let Some(client) = client {
            open.by_client.insert(client, own + 1);
        }
        Some(Place { admission: Arc::clone(self), client })
    }

    /// Tells of refusals, now and then.
    fn say(&self, open: &mut Open, peer: IpAddr) {
        let now = self.clock.now();
        if open.said.is_some_and(|said| now.saturating_since(said) < SAY_INTERVAL) {
            return;
        }
        open.said = Some(now);
        let refused = std::mem::take(&mut open.refused);
        tracing::warn!(
            refused,
            newest = %peer,
            open = open.all,
            "too many connections: limits.connections and limits.connections_per_client"
        );
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.admission.lock();
        open.all -= 1;
        if let Some(client) = self.client
            && let Some(own) = open.by_client.get_mut(&client)
        {
            *own -= 1;
            if *own == 0 {
                open.by_client.remove(&client);
            }
        }
    }
}

/// Who counts as one: an address, or the network that whoever has an IPv6 address is given.
fn client(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

const SAY_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_has_its_share_and_all_have_theirs() {
        let admission = Admission::new(4, 2, Networks::private(), Clock::start());
        let first = admission.admit(ip("203.0.113.1")).unwrap();
        let _second = admission.admit(ip("::ffff:203.0.113.1")).unwrap();
        assert!(admission.admit(ip("203.0.113.1")).is_none());
        let _other = admission.admit(ip("203.0.113.2")).unwrap();
        drop(first);
        let _again = admission.admit(ip("203.0.113.1")).unwrap();
        let _last = admission.admit(ip("203.0.113.3")).unwrap();
        assert!(admission.admit(ip("203.0.113.4")).is_none());
        assert!(admission.admit(ip("10.0.0.1")).is_none());
    }

    #[test]
    fn trusted_proxies_have_no_share_and_ipv6_counts_by_network() {
        let admission = Admission::new(100, 2, Networks::private(), Clock::start());
        let proxies: Vec<_> = (0..10).map(|_| admission.admit(ip("10.0.0.1")).unwrap()).collect();
        let _one = admission.admit(ip("2001:db8::1")).unwrap();
        let _two = admission.admit(ip("2001:db8::2")).unwrap();
        assert!(admission.admit(ip("2001:db8::3")).is_none());
        assert!(admission.admit(ip("2001:db8:0:1::3")).is_some());
        drop(proxies);
        assert_eq!(admission.lock().all, 2);
    }
}
