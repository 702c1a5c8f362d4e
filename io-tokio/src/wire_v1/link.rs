//! A connection that an extension has opened, as far as its instances need to know it.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, oneshot};

use crate::http2::Pinger;

/// The handle that instances have on the connection of their channels.
#[derive(Debug)]
pub(crate) struct Link {
    pings: mpsc::Sender<oneshot::Sender<()>>,
    ended: AtomicBool,
}

/// Answers what a [`Link`] asks.
#[derive(Debug)]
pub(crate) struct Pulse {
    asked: mpsc::Receiver<oneshot::Sender<()>>,
    waiting: Vec<oneshot::Sender<()>>,
    pings: Pinger,
}

impl Link {
    pub(crate) fn new(pings: Pinger) -> (Self, Pulse) {
        let (ask, asked) = mpsc::channel(PINGS_MAX);
        let link = Self { pings: ask, ended: AtomicBool::new(false) };
        (link, Pulse { asked, waiting: Vec::new(), pings })
    }

    /// Whether the other end answers; waits for that as long as the connection stands.
    pub(crate) async fn answers_a_ping(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        self.pings.send(answer).await.is_ok() && answered.await.is_ok()
    }

    /// The connection is over.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

impl Pulse {
    /// Pings whenever that is asked for. Never returns.
    pub(crate) async fn run(mut self) {
        let pings = &mut self.pings;
        loop {
            tokio::select! {
                biased;
                Some(answer) = self.asked.recv() => {
                    // If one is under way already, its answer will do.
                    pings.send();
                    self.waiting.push(answer);
                }
                pong = poll_fn(|cx| pings.poll_answer(cx)), if !self.waiting.is_empty() => {
                    if pong.is_err() {
                        return std::future::pending().await;
                    }
                    for answer in self.waiting.drain(..) {
                        // Whoever does not wait any more needs no answer.
                        answer.send(()).ok();
                    }
                }
            }
        }
    }
}

/// An environment has one instance at a time; a few invokes may share a connection.
const PINGS_MAX: usize = 16;
