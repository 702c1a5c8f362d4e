//! The handle on a pool: how connections tell the model's driver what happens, and wait for what it
//! decides.
//!
//! A request's [`Ticket`] is the promise that the model hears of its end exactly once: whoever
//! drops it, at whatever moment, has cancelled the request.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use dispatch_model::{Ending, Input, InstanceId, InstanceView, RefuseReason, RequestId, Time};
use tokio::sync::{oneshot, watch};

use crate::invoker::Invoked;
use crate::session::Session;

/// One pool, as the listeners see it. Cheap to clone. Its driver ends with the last of them.
#[derive(Clone)]
pub struct Pool {
    driver: Arc<dyn Hear>,
    shared: Arc<Shared>,
}

/// A pool as those see it who do not keep its driver alive.
#[derive(Clone)]
pub(crate) struct WeakPool {
    driver: Weak<dyn Hear>,
    shared: Arc<Shared>,
}

/// What drives the model.
pub(crate) trait Hear: Send + Sync {
    /// Takes in what happened, and does what the model then asks for. Never blocks.
    fn hear(&self, message: Message);

    /// How the instances stand, `most` of them at most.
    fn look(&self, most: usize) -> View;

    /// Why an instance broke off in the middle of a response, one word.
    fn why_cut(&self, instance: InstanceId) -> &'static str;
}

/// Through which the instances of a pool can be seen, and nothing be done. It does not keep the
/// driver alive.
#[derive(Clone, Debug)]
pub struct Window(pub(crate) WeakPool);

/// The instances of a pool at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The moment.
    pub now: Time,
    /// Those of which something is left, in an order that means nothing, as far as was asked for.
    pub instances: Vec<InstanceView>,
    /// How many there are beside.
    pub more: usize,
}

impl Window {
    /// How the pool stands, with `most` instances at most; nothing once its driver has ended. The
    /// whole table is walked through under the model's lock, so do not look all the time.
    #[must_use]
    pub fn look(&self, most: usize) -> Option<View> {
        Some(self.0.upgrade()?.driver.look(most))
    }
}

/// What is known of a pool without its driver.
#[derive(Debug)]
pub(crate) struct Shared {
    name: Arc<str>,
    names: Names,
    stopped: watch::Receiver<bool>,
}

/// What the driver is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// A claimed instance's connection is ready for requests.
    Attached { session: Session, slots: u32, lease: Duration, cold: Option<bool> },
    /// An invoke has ended.
    Ended { instance: InstanceId, invoked: Invoked },
    /// Something happened, and nobody waits for an answer.
    Told(Input),
    /// Something happened to a request, and its ticket waits for what is decided.
    Asked { request: RequestId, input: Input, verdict: oneshot::Sender<Verdict> },
}

/// What is to be done with a request.
#[derive(Debug)]
pub enum Verdict {
    /// Answer it with an error.
    Refuse {
        /// Why.
        reason: RefuseReason,
        /// For `Retry-After`; 0 means none.
        retry_after_s: u16,
    },
    /// Send it over this connection.
    Serve {
        /// Where.
        session: Session,
        /// How long it has waited.
        waited: Duration,
        /// Whether that was as long as a cold start takes.
        cold_exposed: bool,
    },
}

impl Shared {
    /// Of a pool called `name`, which `stopped` tells the end of.
    pub(crate) fn new(name: &str, stopped: watch::Receiver<bool>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), names: Names::default(), stopped })
    }
}

impl WeakPool {
    pub(crate) fn new(driver: Weak<dyn Hear>, shared: Arc<Shared>) -> Self {
        Self { driver, shared }
    }

    pub(crate) fn upgrade(&self) -> Option<Pool> {
        Some(Pool { driver: self.driver.upgrade()?, shared: Arc::clone(&self.shared) })
    }
}

impl Pool {
    pub(crate) fn new(driver: Arc<dyn Hear>, shared: Arc<Shared>) -> Self {
        Self { driver, shared }
    }

    pub(crate) fn downgrade(&self) -> WeakPool {
        WeakPool { driver: Arc::downgrade(&self.driver), shared: Arc::clone(&self.shared) }
    }

    /// Its name in the settings.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.shared.name
    }

    /// Puts a request in line. `bytes` is the memory that it holds while it waits.
    #[must_use]
    pub fn arrive(&self, bytes: u32) -> Ticket {
        let request = self.shared.names.take();
        let (verdict, awaited) = oneshot::channel();
        let input = Input::RequestArrived { request, bytes };
        self.send(Message::Asked { request, input, verdict });
        Ticket { pool: self.clone(), request, awaited, open: true }
    }

    /// Tells the model what happened.
    pub fn tell(&self, input: Input) {
        self.send(Message::Told(input));
    }

    /// Hands over the connection of a claimed instance. `cold` is `None` if it does not say.
    pub fn attached(&self, session: Session, slots: u32, lease: Duration, cold: Option<bool>) {
        self.send(Message::Attached { session, slots, lease, cold });
    }

    pub(crate) fn invoke_ended(&self, instance: InstanceId, invoked: Invoked) {
        self.send(Message::Ended { instance, invoked });
    }

    /// Why an instance broke off in the middle of a response, one word. Ask before the request's
    /// end is told: until then the instance is known.
    pub(crate) fn why_cut(&self, instance: InstanceId) -> &'static str {
        self.driver.why_cut(instance)
    }

    /// Stops the pool: lets requests finish for at most `drain`, tells instances to leave, and
    /// returns when that is done. May be called again, to have it done sooner.
    pub async fn shut_down(&self, drain: Duration) {
        self.tell(Input::ShutdownRequested { drain });
        let mut stopped = self.shared.stopped.clone();
        // An error means that the driver is gone, which is as stopped as can be.
        drop(stopped.wait_for(|stopped| *stopped).await);
    }

    /// In order: a request that was heard to end before it is heard of would live for ever.
    fn send(&self, message: Message) {
        self.driver.hear(message);
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pool").field(&self.shared.name).finish()
    }
}

impl std::fmt::Debug for WeakPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("WeakPool").field(&self.shared.name).finish()
    }
}

/// A request in the care of the model.
#[derive(Debug)]
pub struct Ticket {
    pool: Pool,
    request: RequestId,
    awaited: oneshot::Receiver<Verdict>,
    /// The model has not heard of its end.
    open: bool,
}

impl Ticket {
    /// Where it is in line.
    #[must_use]
    pub const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Waits for the decision. After a refusal the request is over.
    pub async fn verdict(&mut self) -> Verdict {
        let verdict = (&mut self.awaited)
            .await
            .unwrap_or(Verdict::Refuse { reason: RefuseReason::ShuttingDown, retry_after_s: 1 });
        if matches!(verdict, Verdict::Refuse { .. }) {
            self.open = false;
        }
        verdict
    }

    /// The request failed on the instance it was sent to. What shall become of it is the next
    /// [`verdict`](Self::verdict).
    pub fn failed(&mut self, ending: Ending) {
        let (verdict, awaited) = oneshot::channel();
        self.awaited = awaited;
        let request = self.request;
        let input = Input::RequestEnded { request, ending };
        self.pool.send(Message::Asked { request, input, verdict });
    }

    /// The request has had its response.
    pub fn served(self) {
        self.over(Ending::Served);
    }

    /// The client has left in the middle of the response.
    pub fn unread(self) {
        self.over(Ending::Unread);
    }

    fn over(mut self, ending: Ending) {
        self.open = false;
        self.pool.tell(Input::RequestEnded { request: self.request, ending });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.open {
            self.pool.tell(Input::RequestCancelled { request: self.request });
        }
        // After the message, so that nobody arrives under this name before it has ended.
        self.pool.shared.names.give_back(self.request);
    }
}

/// Names for requests: small numbers that are used again, with a generation that is not.
#[derive(Debug, Default)]
struct Names(Mutex<(Vec<RequestId>, u32)>);

impl Names {
    fn take(&self) -> RequestId {
        let (free, made) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        free.pop().unwrap_or_else(|| {
            *made += 1;
            RequestId::new(*made - 1, 0)
        })
    }

    fn give_back(&self, request: RequestId) {
        let next = RequestId::new(request.index(), request.generation().wrapping_add(1));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.push(next);
    }
}

/// The name of the pool that is there when no other is named.
pub const DEFAULT_POOL: &str = "default";

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps what it hears.
    #[derive(Default)]
    struct Ear(Mutex<Vec<Message>>);

    impl Hear for Ear {
        fn hear(&self, message: Message) {
            self.0.lock().unwrap().push(message);
        }

        fn look(&self, _: usize) -> View {
            View::default()
        }

        fn why_cut(&self, _: InstanceId) -> &'static str {
            "truncated"
        }
    }

    #[test]
    fn request_is_never_heard_to_end_before_it_is_heard_of() {
        let ear = Arc::new(Ear::default());
        let (_stopped, watched) = watch::channel(false);
        let pool = Pool::new(Arc::clone(&ear) as Arc<dyn Hear>, Shared::new("default", watched));
        pool.tell(Input::ShutdownRequested { drain: Duration::ZERO });
        let ticket = pool.arrive(500);
        drop(ticket);
        let heard = ear.0.lock().unwrap();
        assert!(matches!(heard[1], Message::Asked { .. }), "it ended first: {heard:?}");
        let ended = matches!(heard[2], Message::Told(Input::RequestCancelled { .. }));
        assert!(ended, "it never ended: {heard:?}");
    }
}
