//! Clients that wait for their answers, as `hey -c` does: each sends, waits until that is over,
//! thinks, and sends again, but not before the least time that a round trip takes: one that is
//! refused at once would send for ever at one moment.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use dispatch_model::Prng;
use dispatch_model::time::nanos;

use crate::spread::Spread;

/// Clients, each of which has at most one request on its way.
#[derive(Debug)]
pub(super) struct ClosedLoop {
    think: Spread,
    chance: Prng,
    /// When clients that think will be done with it, in nanoseconds.
    sending: BinaryHeap<Reverse<u64>>,
    /// From when on nobody sends.
    end: u64,
}

impl ClosedLoop {
    /// So many clients, which think before they first send: without that, all would send at once.
    pub(super) fn new(clients: u32, think: Spread, end: u64, chance: Prng) -> Self {
        let mut new = Self { think, chance, sending: BinaryHeap::new(), end };
        for _ in 0..clients {
            new.think(0, 0);
        }
        new
    }

    /// Sends when it has thought, but not before `earliest`.
    fn think(&mut self, now: u64, earliest: u64) {
        let at = now.saturating_add(nanos(self.think.draw(&mut self.chance))).max(earliest);
        if at < self.end {
            self.sending.push(Reverse(at));
        }
    }

    pub(super) fn peek(&self) -> Option<u64> {
        self.sending.peek().map(|Reverse(at)| *at)
    }

    pub(super) fn next(&mut self) -> Option<u64> {
        self.sending.pop().map(|Reverse(at)| at)
    }

    /// A client has the answer to what it sent then.
    pub(super) fn ended(&mut self, now: u64, sent: u64) {
        self.think(now, sent.saturating_add(nanos(ROUND_TRIP)));
    }
}

/// No client sends again sooner after it has sent.
pub(super) const ROUND_TRIP: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_one_request_on_its_way() {
        let second = 1_000_000_000;
        let mut clients = ClosedLoop::new(3, Spread::fixed(Duration::ZERO), second, Prng::new(7));
        for _ in 0..3 {
            assert_eq!(clients.next(), Some(0));
        }
        assert_eq!(clients.next(), None);
        let later = 40_000_000;
        clients.ended(later, 0);
        assert_eq!(
            (clients.peek(), clients.next(), clients.next()),
            (Some(later), Some(later), None)
        );
        clients.ended(second, later);
        assert_eq!(clients.next(), None);
    }

    #[test]
    fn client_that_is_answered_at_once_sends_again_after_a_round_trip() {
        let second = 1_000_000_000;
        let mut clients = ClosedLoop::new(1, Spread::fixed(Duration::ZERO), second, Prng::new(7));
        let mut sent = Vec::new();
        while let Some(at) = clients.next() {
            sent.push(at);
            clients.ended(at, at);
        }
        assert_eq!(sent, (0..1_000).map(|ms| ms * 1_000_000).collect::<Vec<_>>());
    }

    #[test]
    fn clients_that_think_do_not_send_at_once() {
        let think = Spread::exponential(Duration::from_secs(1));
        let mut clients = ClosedLoop::new(1_000, think, 1_000_000_000, Prng::new(7));
        let mut first = Vec::new();
        while let Some(at) = clients.next() {
            first.push(at);
        }
        assert!(first.is_sorted());
        assert!((580..690).contains(&first.len()), "{}", first.len());
    }
}
