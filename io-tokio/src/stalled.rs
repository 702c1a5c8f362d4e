//! HTTP/2 clients that do not take what they asked for.
//!
//! A client that leaves a stream's window shut reads and writes on its connection as if all were
//! well, so nothing about the connection tells. But hyper, which has a piece of the body and
//! nowhere to put it, does not ask for the next one. A stream on which that lasts too long is
//! reset, which frees the slot behind it.
//!
//! HTTP/1 needs none of this: there the socket itself is blocked, which `patience` sees.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, ready};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::Sleep;

/// Runs the streams of HTTP/2 connections, each until it is through or its client has stalled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams {
    /// How long a client may not take what waits for it.
    pub(crate) limit: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        // Boxed, or the task would have room for it three times, 10 KB for each request.
        tokio::spawn(until_stalled(Box::pin(stream), self.limit));
    }
}

tokio::task_local! {
    /// How the body of this task's stream stands.
    static PIECES: Pieces;
}

/// Counts the pieces of a body that were asked for and given out; odd while one is asked for.
#[derive(Clone, Debug, Default)]
struct Pieces(Arc<AtomicU64>);

impl Pieces {
    /// The number of the piece that the client is to take, if there is one.
    fn given(&self) -> Option<u64> {
        let count = self.0.load(Ordering::Relaxed);
        (count > 0 && count.is_multiple_of(2)).then_some(count)
    }
}

/// A piece of the body is asked for.
pub(crate) fn asked() {
    // On HTTP/1 there is nothing to count for.
    PIECES.try_with(|pieces| pieces.0.fetch_or(1, Ordering::Relaxed)).ok();
}

/// One was given out.
pub(crate) fn given() {
    PIECES.try_with(|pieces| pieces.0.fetch_add(1, Ordering::Relaxed)).ok();
}

async fn until_stalled<F: Future>(stream: F, limit: Duration) {
    let pieces = Pieces::default();
    let watched = async {
        let mut stream = pin!(stream);
        let mut waiting: Option<(u64, Pin<Box<Sleep>>)> = None;
        poll_fn(|cx| {
            if stream.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let Some(given) = pieces.given() else {
                waiting = None;
                return Poll::Pending;
            };
            let sleep = match &mut waiting {
                Some((since, sleep)) if *since == given => sleep,
                waiting => &mut waiting.insert((given, Box::pin(tokio::time::sleep(limit)))).1,
            };
            ready!(sleep.as_mut().poll(cx));
            tracing::debug!("a client does not take what it asked for");
            Poll::Ready(())
        })
        .await;
    };
    PIECES.scope(pieces.clone(), watched).await;
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::sleep;

    use super::*;
    use crate::clock::Clock;

    const LIMIT: Duration = Duration::from_secs(60);

    async fn seconds(stream: impl Future) -> u64 {
        let clock = Clock::start();
        let start = clock.now();
        until_stalled(stream, LIMIT).await;
        clock.now().saturating_since(start).as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn stream_ends_when_a_piece_of_it_is_not_taken() {
        let slow = async {
            for _ in 0..3 {
                asked();
                sleep(LIMIT * 2).await;
                given();
                sleep(LIMIT / 2).await;
            }
            asked();
            given();
            pending::<()>().await;
        };
        assert_eq!(seconds(slow).await, 3 * 150 + 60);
    }

    #[tokio::test(start_paused = true)]
    async fn stream_that_waits_for_its_app_is_left_alone() {
        let silent = async {
            sleep(LIMIT * 5).await;
            asked();
            sleep(LIMIT * 5).await;
        };
        assert_eq!(seconds(silent).await, 600);
    }
}
