//! The connection to one attached instance: reverse HTTP/2, with the router as its client.
//!
//! [`Session`] opens streams on it, [`Connection`] keeps it going. The connection ends when the
//! instance ends it, when it breaks, or when the driver orders it; the model hears of it once.

use std::sync::Arc;

use bytes::Bytes;
use dispatch_model::{Input, InstanceId};
use h2::client::SendRequest;
use h2::{Ping, PingPong};
use tokio::sync::Notify;

use crate::net::Io;
use crate::observe::Proof;
use crate::pool::Pool;

/// Opens streams to an instance. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Session {
    /// Whose connection it is.
    pub instance: InstanceId,
    /// Shared, since a clone of it takes the connection's lock.
    requests: Arc<SendRequest<Bytes>>,
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
    h2: h2::client::Connection<S>,
    orders: Arc<Orders>,
}

impl Session {
    /// Begins HTTP/2 on a connection whose attach was accepted.
    ///
    /// # Errors
    ///
    /// The connection broke.
    pub async fn start<S: Io>(
        instance: InstanceId,
        io: S,
    ) -> Result<(Self, Connection<S>), h2::Error> {
        let (requests, h2) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME_BYTES_MAX)
            .max_header_list_size(HEAD_BYTES_MAX)
            .max_send_buffer_size(SEND_BUFFER)
            // A crowd of clients that vanish resets as many streams; on this link, which is
            // authenticated, that is no attack.
            .max_concurrent_reset_streams(RESETS_KEPT)
            .max_pending_accept_reset_streams(RESETS_KEPT)
            .max_local_error_reset_streams(None)
            .enable_push(false)
            .handshake(io)
            .await?;
        let orders = Arc::<Orders>::default();
        let session = Self { instance, requests: Arc::new(requests), orders: Arc::clone(&orders) };
        Ok((session, Connection { instance, h2, orders }))
    }

    /// Opens a stream for `request`.
    ///
    /// # Errors
    ///
    /// It could not be opened: no byte of it has left this process.
    pub fn open(
        &self,
        request: http::Request<()>,
        is_whole: bool,
    ) -> Result<(h2::client::ResponseFuture, h2::SendStream<Bytes>), h2::Error> {
        // A clone has opened no stream yet, so it is ready.
        SendRequest::clone(&self.requests).send_request(request, is_whole)
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
    pub async fn run(mut self, pool: Pool) {
        let (pings, orders) = (self.h2.ping_pong(), Arc::clone(&self.orders));
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
        let Self { instance, mut h2, orders } = self;
        tokio::select! {
            biased;
            () = orders.close.notified() => {}
            ended = &mut h2 => tracing::debug!(%instance, ?ended, "connection ended"),
            () = pulse => {}
        }
        // Dropped before the model hears of it, so that what it then orders finds no connection.
        drop(h2);
        pool.tell(Input::InstanceLost { instance });
    }
}

/// Sends a ping when ordered, and tells of the answer. Never returns.
async fn answer_pings(
    instance: InstanceId,
    pings: Option<PingPong>,
    orders: Arc<Orders>,
    pool: Pool,
) {
    let Some(mut pings) = pings else { return std::future::pending().await };
    loop {
        orders.ping.notified().await;
        // A failed ping is a failed connection, of which the select hears by itself.
        if pings.ping(Ping::opaque()).await.is_ok() {
            pool.tell(Input::PongReceived { instance });
        }
    }
}

/// The proof in `error`, if there is one, that no app has seen the request: the instance refused
/// the stream, or said goaway and the stream is above the last one that it took.
///
/// A stream that the instance did take fails with its connection, and with another error.
#[must_use]
pub fn undelivered(error: &h2::Error) -> Option<Proof> {
    if !error.is_remote() {
        None
    } else if error.is_go_away() {
        Some(Proof::GoAway)
    } else if error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM) {
        Some(Proof::Refused)
    } else {
        None
    }
}

/// What an instance may send of one response before its client has read it.
const STREAM_WINDOW: u32 = 1 << 20;
/// What it may send on all streams together.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Large frames make large bodies cheap: an answer of 100 KiB is one frame, and written at once.
const FRAME_BYTES_MAX: u32 = 128 << 10;
const HEAD_BYTES_MAX: u32 = 128 << 10;
const SEND_BUFFER: usize = 256 << 10;
const RESETS_KEPT: usize = 4_096;
