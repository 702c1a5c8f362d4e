//! The dashboard on the admin port: how the router stands, as it happens, for people.
//!
//! | path | answer |
//! |---|---|
//! | `/dashboard` | one page, with all that it needs in it |
//! | `/dashboard/events` | server-sent events: `history` once, then `now` every second |
//!
//! A sample of a few numbers a pool is taken every second and kept for ten minutes, so that whoever
//! opens the page late sees them. Everything else is made only while somebody watches: once a
//! second, once for all viewers, who share the bytes. A viewer that is behind misses seconds; one
//! that reads nothing is hung up on. Nothing can be changed from here.

mod page;
mod viewer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use io_tokio::clock::Clock;
use serde::Serialize;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::admin::Readiness;
use crate::explain;
use crate::metrics::history::{Point, SAMPLES_KEPT, since_1970};
use crate::metrics::{Metrics, Standing};

pub(crate) use page::{page, policy};
pub(crate) use viewer::Events;

/// What the page is fed from. One for each router.
#[derive(Debug)]
pub(crate) struct Dashboard {
    metrics: Arc<Metrics>,
    readiness: watch::Receiver<Readiness>,
    clock: Clock,
    /// The newest event, as it goes over the wire. Whoever receives it is a viewer.
    newest: watch::Sender<Bytes>,
    places: Arc<Semaphore>,
}

impl Dashboard {
    pub(crate) fn new(metrics: Arc<Metrics>, readiness: watch::Receiver<Readiness>) -> Self {
        Self {
            metrics,
            readiness,
            clock: Clock::start(),
            newest: watch::Sender::default(),
            places: Arc::new(Semaphore::new(VIEWERS_MAX)),
        }
    }

    /// Takes samples, and tells viewers, until it is dropped.
    pub(crate) async fn run(&self) {
        let mut ticks = interval(STEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            for pool in self.metrics.live() {
                pool.sample();
            }
            if self.newest.receiver_count() > 0 {
                self.newest.send_replace(self.now());
            }
        }
    }

    /// What one more viewer is to be sent, or nothing if there are too many. When the view ends,
    /// `over` is told, by when nothing of it may be left.
    pub(crate) fn watch(&self, over: Arc<Notify>) -> Option<Events> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        // In this order, so that no second is missed between them.
        let newest = self.newest.subscribe();
        Some(viewer::start(self.history(), newest, over, place))
    }

    fn history(&self) -> Bytes {
        let pools = self.metrics.live();
        let pools: Vec<_> = pools
            .iter()
            .take(POOLS_SHOWN)
            .map(|pool| Past { name: pool.name(), points: pool.points() })
            .collect();
        event("history", &History { kept_ms: STEP.as_millis() * SAMPLES_KEPT as u128, pools })
    }

    fn now(&self) -> Bytes {
        let live = self.metrics.live();
        let (shown, more) = live.split_at(live.len().min(POOLS_SHOWN));
        let each = INSTANCES_SHOWN / shown.len().max(1);
        let pools = shown.iter().map(|pool| pool.standing(pool.look(each))).collect();
        let decided = last_of_each(self.metrics.decisions(), |one| &one.pool);
        let suffered = last_of_each(self.metrics.problems(), |one| &one.pool);
        let now = Now {
            at_ms: since_1970(self.clock.wall()),
            readiness: self.readiness.borrow().name(),
            pools,
            pools_more: more.len(),
            explained: explain::page(&decided, &suffered),
        };
        event("now", &now)
    }
}

/// The last [`EXPLAINED`] of each pool, in the order of `all`.
fn last_of_each<T>(all: Vec<T>, pool: impl Fn(&T) -> &Arc<str>) -> Vec<T> {
    let mut counts: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    let mut kept: Vec<_> = all
        .into_iter()
        .rev()
        .filter(|one| {
            let count = counts.entry(Arc::clone(pool(one))).or_default();
            *count += 1;
            *count <= EXPLAINED
        })
        .collect();
    kept.reverse();
    kept
}

/// An event as it goes over the wire. JSON has no line breaks unless it is made pretty.
fn event(name: &str, data: &impl Serialize) -> Bytes {
    let mut text = format!("event: {name}\ndata: ").into_bytes();
    if let Err(error) = serde_json::to_writer(&mut text, data) {
        // Writing to memory does not fail, and there is no map in it whose keys could be no text.
        tracing::error!(%error, "an event of the dashboard cannot be written");
        return Bytes::new();
    }
    text.extend_from_slice(b"\n\n");
    Bytes::from(text)
}

#[derive(Serialize)]
struct History<'a> {
    kept_ms: u128,
    pools: Vec<Past<'a>>,
}

#[derive(Serialize)]
struct Past<'a> {
    name: &'a str,
    points: Vec<Point>,
}

#[derive(Serialize)]
struct Now<'a> {
    at_ms: u64,
    readiness: &'static str,
    pools: Vec<Standing<'a>>,
    pools_more: usize,
    #[serde(flatten)]
    explained: explain::Page<'a>,
}

/// Between two samples, and two events.
const STEP: Duration = Duration::from_secs(1);
/// Few people look at one router, and the port has places for probes and scrapers to keep.
pub(crate) const VIEWERS_MAX: usize = 16;
const POOLS_SHOWN: usize = 16;
/// Of all pools together.
const INSTANCES_SHOWN: usize = 1_000;
/// Of each pool's decisions and of its problems, the last ones.
const EXPLAINED: usize = 12;

#[cfg(test)]
mod tests;
