//! The connection to one attached instance: reverse HTTP/2, with the router as its client.
//!
//! [`Session`] opens streams on it, [`Connection`] keeps it going. The connection ends when the
//! instance ends it, when it breaks, or when the driver orders it; the model hears of it once.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use dispatch_model::{Input, InstanceId};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::http2::{
    self, Awaited, By, ClientConnection, Config, Error, Opener, Pinger, Reason, Sending, share_of,
};
use crate::net::Io;
use crate::observe::Proof;
use crate::pool::Pool;

/// Opens streams to an instance. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Session {
    /// Whose connection it is.
    pub instance: InstanceId,
    /// Shared, since a clone of it takes the connection's lock.
    requests: Arc<Opener>,
    orders: Arc<Orders>,
}

#[derive(Debug, Default)]
struct Orders {
    close: Notify,
    ping: Notify,
}

/// The other half of a [`Session`]: drives the connection.
#[derive(Debug)]
pub struct Connection<S: Io> {
    instance: InstanceId,
    http2: ClientConnection<S>,
    orders: Arc<Orders>,
}

impl Session {
    /// Begins HTTP/2 on a connection whose attach was accepted, for `slots` requests at a time.
    pub fn start<S: Io>(instance: InstanceId, slots: u32, io: S) -> (Self, Connection<S>) {
        let (requests, http2) = http2::client(io, config(slots));
        let orders = Arc::<Orders>::default();
        let session = Self { instance, requests: Arc::new(requests), orders: Arc::clone(&orders) };
        (session, Connection { instance, http2, orders })
    }

    /// Opens a stream for `request`.
    ///
    /// # Errors
    ///
    /// It could not be opened: no byte of it has left this process.
    pub fn open(
        &self,
        request: &http::Request<()>,
        is_whole: bool,
    ) -> Result<(Awaited, Sending), Error> {
        self.requests.open(request, is_whole)
    }

    pub(crate) fn close(&self) {
        self.orders.close.notify_one();
    }

    pub(crate) fn ping(&self) {
        self.orders.ping.notify_one();
    }
}

impl<S: Io> Connection<S> {
    /// Drives the connection to its end and tells `pool` about it.
    pub async fn run(self, pool: Pool) {
        let (pings, orders) = (self.http2.pinger(), Arc::clone(&self.orders));
        let pulse = answer_pings(self.instance, pings, orders, pool.clone());
        self.run_beside(pulse, pool).await;
    }

    /// As [`run`](Self::run), for an instance that is somewhere behind this connection: `ask`
    /// whether it is still there.
    pub(crate) async fn run_with_pings<F>(self, mut ask: impl FnMut() -> F, pool: Pool)
    where
        F: Future<Output = bool>,
    {
        let (instance, orders, told) = (self.instance, Arc::clone(&self.orders), pool.clone());
        let pulse = async move {
            loop {
                orders.ping.notified().await;
                if ask().await {
                    told.tell(Input::PongReceived { instance });
                }
            }
        };
        self.run_beside(pulse, pool).await;
    }

    async fn run_beside(self, pulse: impl Future<Output = ()>, pool: Pool) {
        let Self { instance, mut http2, orders } = self;
        tokio::select! {
            biased;
            () = orders.close.notified() => {}
            ended = http2.run() => tracing::debug!(%instance, ?ended, "connection ended"),
            () = pulse => {}
        }
        // Closed before the model hears of it, so that what it then orders finds no connection.
        http2.close();
        let mut last_words = Box::pin(timeout(LAST_WORDS, http2.run()));
        // Said before the model hears of it, as far as that goes at once: to hear that may be all
        // that this process still had to do.
        let is_over = poll_fn(|cx| Poll::Ready(last_words.as_mut().poll(cx).is_ready())).await;
        pool.tell(Input::InstanceLost { instance });
        if !is_over {
            drop(last_words.await);
        }
    }
}

/// Sends a ping when ordered, and tells of the answer. Never returns.
async fn answer_pings(instance: InstanceId, mut pings: Pinger, orders: Arc<Orders>, pool: Pool) {
    loop {
        orders.ping.notified().await;
        // A failed ping is a failed connection, of which the select hears by itself.
        if pings.ping().await.is_ok() {
            pool.tell(Input::PongReceived { instance });
        }
    }
}

/// The proof in `error`, if there is one, that no app has seen the request: the instance refused
/// the stream, or said goaway and the stream is above the last one that it took.
///
/// A stream that the instance did take fails with its connection, and with another error.
#[must_use]
pub(crate) fn undelivered(error: &Error) -> Option<Proof> {
    match error {
        Error::GoAway { by: By::Peer, .. } => Some(Proof::GoAway),
        Error::Reset { by: By::Peer, reason: Reason::REFUSED_STREAM } => Some(Proof::Refused),
        Error::GoAway { .. } | Error::Io(_) | Error::Misuse(_) | Error::Reset { .. } => None,
    }
}

/// How long an instance may take to hear that its connection is closed. It must be told, for what
/// just ends is to it a router that broke; one that is frozen or gone hears nothing.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How many bytes all responses of an instance with `slots` may have waiting: never less than all
/// of them may send, so that one that nobody reads stops no other. It is what an instance can make
/// the router keep in memory.
pub(crate) fn link_window(slots: u32) -> u32 {
    slots.saturating_mul(RESPONSE_BYTES_MIN).max(LINK_BYTES_MIN)
}

fn config(slots: u32) -> Config {
    let link = link_window(slots);
    Config {
        stream_window: share_of(link, slots).min(RESPONSE_BYTES_MAX),
        connection_window: link,
        // Large frames make large bodies cheap: an answer of 100 KiB is one, and written at once.
        frame_bytes: 128 << 10,
        head_bytes: ANSWER_HEAD_BYTES_MAX,
        // An instance opens none.
        streams_max: 0,
    }
}

/// The longest head of a response that an instance may send, as HTTP/2 counts it.
pub const ANSWER_HEAD_BYTES_MAX: u32 = 128 << 10;
/// What an instance may send of one response before its client has read it, where it has few slots;
const RESPONSE_BYTES_MAX: u32 = 1 << 20;
/// and where it has many, which is 170 MB/s at the 1.5 ms to another zone and back.
pub(crate) const RESPONSE_BYTES_MIN: u32 = 256 << 10;
/// The same for all of its responses together, at least.
const LINK_BYTES_MIN: u32 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_do_not_read_never_take_a_window_from_those_that_do() {
        for slots in 1..=255 {
            let Config { stream_window, connection_window, .. } = config(slots);
            assert!(stream_window * slots <= connection_window, "{slots} slots");
            assert!(stream_window >= RESPONSE_BYTES_MIN, "{slots} slots");
        }
        // Where there are few, a large response is not held up.
        assert_eq!(config(16).stream_window, 1 << 20);
    }
}
