//! One viewer of the dashboard: what it is sent, and when it is hung up on.
//!
//! A viewer has one event on its way at most, and shares its bytes with all others. It is over when
//! it takes none for [`PATIENCE`], or after [`VIEW_MAX`]: a page that is still there comes back by
//! itself, with the same history.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{sleep, timeout};

/// The body of a response that never has an end of its own.
#[derive(Debug)]
pub(crate) struct Events(mpsc::Receiver<Bytes>);

impl Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Sends `first` and then whatever is `newest`. The view has its `place` until it is over, and
/// `over` is told then.
pub(super) fn start(
    first: Bytes,
    newest: watch::Receiver<Bytes>,
    over: Arc<Notify>,
    place: OwnedSemaphorePermit,
) -> Events {
    let (to, events) = mpsc::channel(1);
    tokio::spawn(async move {
        if timeout(VIEW_MAX, feed(to, first, newest)).await.is_err() {
            // It was told that the response is over, and may want to end the connection in order.
            sleep(PATIENCE).await;
        }
        over.notify_one();
        drop(place);
    });
    Events(events)
}

/// Returns when the viewer is gone, or takes nothing.
async fn feed(to: mpsc::Sender<Bytes>, first: Bytes, mut newest: watch::Receiver<Bytes>) {
    let mut next = first;
    loop {
        match timeout(PATIENCE, to.send(next)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                tracing::debug!("a viewer of the dashboard reads nothing and is hung up on");
                return;
            }
        }
        tokio::select! {
            biased;
            () = to.closed() => return,
            changed = newest.changed() => if changed.is_err() { return },
        }
        next = newest.borrow_and_update().clone();
    }
}

/// How long a viewer may take nothing.
const PATIENCE: Duration = Duration::from_secs(10);
/// Whoever has gone without a word is not sent to for longer than this.
const VIEW_MAX: Duration = Duration::from_secs(3_600);
