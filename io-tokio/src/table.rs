//! Where routes lead while the router runs: the table in which every request is looked up, and
//! which a reload replaces as a whole.
//!
//! A request keeps its [`Destination`] until it is in line. So a pool that is in no table any more
//! has seen its last request once the last destination of the old table is gone, and of those
//! before it, which the `Departure` of that table tells.

use std::convert::Infallible;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::mpsc;

use crate::edge::Patience;
use crate::observe::AccessLog;
use crate::pool::Pool;
use crate::routes::Routes;
use crate::split::Split;

/// Where a request goes.
#[derive(Clone)]
pub struct Destination {
    /// Whose instances serve it.
    pub pool: Pool,
    /// Takes note of it.
    pub log: Arc<dyn AccessLog>,
    /// How long it may take.
    pub patience: Patience,
}

/// Routes, and where they lead to.
type Live = Routes<Split<Arc<Held>>>;

/// The table in force.
#[derive(Debug)]
pub(crate) struct Table(RwLock<Live>);

/// A destination, and that somebody may still go there.
#[derive(Debug)]
pub(crate) struct Held {
    destination: Destination,
    /// Dropped with it.
    _open: mpsc::Sender<Infallible>,
}

/// Tells when nobody goes by a table any more.
#[derive(Debug)]
pub(crate) struct Departure(mpsc::Receiver<Infallible>);

/// Somebody may still go by a table, or by one before it.
#[derive(Debug)]
pub(crate) struct Open(#[expect(dead_code, reason = "held")] mpsc::Sender<Infallible>);

impl Departure {
    pub(crate) async fn wait(mut self) {
        // Nothing is ever sent: it ends with the last sender.
        while self.0.recv().await.is_some() {}
    }
}

impl std::ops::Deref for Held {
    type Target = Destination;

    fn deref(&self) -> &Destination {
        &self.destination
    }
}

impl Table {
    pub(crate) fn new(routes: &Routes<Split<Destination>>) -> (Self, Departure) {
        let (live, departure, _) = live(routes);
        (Self(RwLock::new(live)), departure)
    }

    /// Puts `routes` in force. The departure is theirs: it comes when they are replaced, and no
    /// sooner than `Open` is dropped.
    pub(crate) fn replace(&self, routes: &Routes<Split<Destination>>) -> (Departure, Open) {
        let (live, departure, open) = live(routes);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = live;
        (departure, open)
    }

    /// Puts the same routes in force anew: the departure of those before comes once everybody who
    /// is on the way now is in line, or gone.
    pub(crate) fn renew(&self) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let (renewed, ..) = live(&table.map(|split| split.map(|held| held.destination.clone())));
        *table = renewed;
    }

    /// Looks something up in the routes in force. The lock is held for that alone, and only a
    /// reload ever waits for it.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Live) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn live(routes: &Routes<Split<Destination>>) -> (Live, Departure, Open) {
    let (open, departed) = mpsc::channel(1);
    let hold = |to: &Destination| Arc::new(Held { destination: to.clone(), _open: open.clone() });
    (routes.map(|split| split.map(hold)), Departure(departed), Open(open))
}

impl std::fmt::Debug for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Destination")
            .field("pool", &self.pool.name())
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}
