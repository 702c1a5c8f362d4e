//! That something comes from the router at all, whatever it is: its pings, too, which HTTP/2
//! answers by itself and tells nobody of.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dispatch_model::Time;
use io_tokio::clock::Clock;
use io_tokio::net::Io;
use tokio_util::io::InspectReader;

/// What a connection's reader has seen since it was asked.
#[derive(Debug)]
pub(crate) struct SignsOfLife {
    seen: Arc<AtomicBool>,
    clock: Clock,
    again_at: Time,
}

impl SignsOfLife {
    /// Watches what is read from `io`.
    pub(crate) fn of<S: Io>(io: S, clock: Clock) -> (impl Io, Self) {
        let seen = Arc::new(AtomicBool::new(false));
        let mark = Arc::clone(&seen);
        let io = InspectReader::new(io, move |_: &[u8]| mark.store(true, Ordering::Relaxed));
        (io, Self { seen, clock, again_at: Time::ZERO })
    }

    /// Whether there was one, but not soon after another: the machine needs no more, and each is
    /// work for it. Wakes nobody, for it is the connection's own task that reads.
    pub(crate) fn take(&mut self) -> bool {
        if !self.seen.swap(false, Ordering::Relaxed) {
            return false;
        }
        let now = self.clock.now();
        let is_news = now >= self.again_at;
        if is_news {
            self.again_at = now + PAUSE;
        }
        is_news
    }
}

/// Well below the time after which a machine asks the router by itself.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use bytes::Bytes;
    use h2::Ping;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_ping_that_http2_answers_by_itself_is_one_and_the_next_only_a_second_later() {
        let (near, far) = tokio::io::duplex(4096);
        let (io, mut signs) = SignsOfLife::of(far, Clock::start());
        let (router, instance) =
            tokio::join!(h2::client::handshake(near), h2::server::handshake(io));
        let (_send, mut router) = router.unwrap();
        let mut instance: h2::server::Connection<_, Bytes> = instance.unwrap();
        let mut pings = router.ping_pong().unwrap();
        let mut answered = async || {
            pings.send_ping(Ping::opaque()).unwrap();
            tokio::select! {
                biased;
                _ = &mut router => panic!("the router's side ended"),
                _ = instance.accept() => panic!("the instance's side ended"),
                ponged = poll_fn(|cx| pings.poll_pong(cx)) => drop(ponged.unwrap()),
            }
        };
        answered().await;
        assert!(signs.take());
        assert!(!signs.take(), "it was taken already");
        answered().await;
        assert!(!signs.take(), "too soon");
        tokio::time::advance(PAUSE).await;
        assert!(!signs.take(), "nothing came");
        answered().await;
        assert!(signs.take());
    }
}
