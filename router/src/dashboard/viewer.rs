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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::sync::Semaphore;

    use super::*;

    async fn next(events: &mut Events) -> Option<Bytes> {
        let mut events = Pin::new(events);
        let frame = poll_fn(|context| events.as_mut().poll_frame(context)).await;
        frame.map(|frame| frame.unwrap().into_data().unwrap())
    }

    #[tokio::test]
    async fn who_is_behind_misses_events_and_who_takes_none_is_over() {
        tokio::time::pause();
        let (places, over) = (Arc::new(Semaphore::new(1)), Arc::new(Notify::new()));
        let place = Arc::clone(&places).try_acquire_owned().unwrap();
        let newest = watch::Sender::default();
        let first = Bytes::from_static(b"first");
        let mut events = start(first.clone(), newest.subscribe(), Arc::clone(&over), place);
        assert_eq!(next(&mut events).await, Some(first));
        for text in ["a", "b", "c", "d"] {
            newest.send_replace(Bytes::from_static(text.as_bytes()));
            sleep(PATIENCE / 10).await;
        }
        assert_eq!(next(&mut events).await, Some(Bytes::from_static(b"a")), "was on its way");
        assert_eq!(next(&mut events).await, Some(Bytes::from_static(b"b")), "was to be sent");
        assert_eq!(next(&mut events).await, Some(Bytes::from_static(b"d")), "is the newest");
        assert_eq!(places.available_permits(), 0);
        newest.send_replace(Bytes::from_static(b"e"));
        sleep(PATIENCE / 10).await;
        newest.send_replace(Bytes::from_static(b"f"));
        over.notified().await;
        assert_eq!(places.available_permits(), 1);
        assert_eq!(next(&mut events).await, Some(Bytes::from_static(b"e")));
        assert_eq!(next(&mut events).await, None);
    }

    #[tokio::test]
    async fn no_view_lasts_for_ever() {
        tokio::time::pause();
        let (places, over) = (Arc::new(Semaphore::new(1)), Arc::new(Notify::new()));
        let place = Arc::clone(&places).try_acquire_owned().unwrap();
        let newest = watch::Sender::default();
        let mut events = start(Bytes::new(), newest.subscribe(), Arc::clone(&over), place);
        let reader = tokio::spawn(async move { while next(&mut events).await.is_some() {} });
        let ticks = async {
            loop {
                sleep(Duration::from_secs(1)).await;
                newest.send_replace(Bytes::new());
            }
        };
        let clock = io_tokio::clock::Clock::start();
        tokio::select! {
            biased;
            () = ticks => {}
            () = over.notified() => {}
        }
        let took = clock.now().saturating_since(dispatch_model::Time::ZERO);
        assert!(took >= VIEW_MAX && took < VIEW_MAX * 2, "{took:?}");
        reader.await.unwrap();
        assert_eq!(places.available_permits(), 1);
    }
}
