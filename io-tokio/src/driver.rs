//! What drives a [`Dispatcher`]: whoever tells it something.
//!
//! A turn takes in one thing that has happened: reads the clock, tells the model, and does what
//! that asks for, all under one lock and in the task to which it happened. So a request that
//! arrives while a slot is free has its instance before it could have been handed to anybody.
//! Nothing in a turn blocks: orders are handed to tasks that report back.
//!
//! One task beside, the keeper, has the model's timers fire, and shows the model to who observes
//! it, once for all turns since it last ran. A pool that has nothing to do costs nothing: no timer
//! runs.
//!
//! The driver ends when nobody is left who could tell it anything: no table of routes, request,
//! connection or invoke.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dispatch_model::{
    Config, Dispatcher, Input, InstanceId, InstanceState, InstanceView, InvokeOutcome, Output,
    RefuseReason, RequestId, Time,
};
use rustc_hash::FxHashMap;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot, watch};

use crate::chance::Chance;
use crate::clock::Clock;
use crate::invited::{Invitation, Invited};
use crate::invoker::{Invoked, Invoker};
use crate::observe::{Observer, Trouble};
use crate::payload::{AttachOffer, InvokePayload, OFFER_LASTS_MAX};
use crate::pool::{Hear, Message, Pool, Shared, Verdict, View, WeakPool, Window};
use crate::session::Session;
use crate::tls::RouterIdentity;

/// What a pool needs to know beside the model's [`Config`].
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// The pool's name, `default` where there is one.
    pub name: String,
    /// The function: a name, `name:qualifier`, or an ARN.
    pub function: String,
    /// Where instances attach: `https://10.0.0.1:5004`.
    pub callback_url: String,
    /// Whose certificates instances shall accept; `None` for plaintext.
    pub identity: Option<RouterIdentity>,
    /// Decides every choice of the model that is left to chance.
    pub seed: u64,
    /// Where instances get their names and tokens from.
    pub chance: Chance,
}

/// Starts the driver of a pool and gives the handle on it. Whom it invokes is put on the list
/// `invited`.
pub fn start(
    config: Config,
    settings: PoolSettings,
    clock: Clock,
    invited: Invited,
    invoker: Arc<dyn Invoker>,
    mut observer: impl Observer,
) -> Pool {
    let (stopped, watched) = watch::channel(false);
    let shared = Shared::new(&settings.name, watched);
    let now = clock.now();
    observer.started(now, &config, settings.seed);
    let keeper = Arc::new(Notify::new());
    let driver = Arc::new_cyclic(|driver: &Weak<Driver<_>>| {
        let pool = WeakPool::new(driver.clone(), Arc::clone(&shared));
        observer.opened(&Window(pool.clone()));
        let turns = Turns {
            model: Dispatcher::new(config, settings.seed, now),
            clock: clock.clone(),
            now,
            slots: config.slots,
            start_timeout: config.start_timeout,
            settings,
            invoker,
            observer,
            pool,
            runtime: Handle::current(),
            verdicts: Vec::new(),
            instances: FxHashMap::default(),
            invited,
            stopped,
            keeper: Arc::clone(&keeper),
            is_kept: true,
            refuses: false,
        };
        Driver(Mutex::new(turns))
    });
    driver.turns().perform_all();
    tokio::spawn(keep(Arc::downgrade(&driver), clock, keeper));
    Pool::new(driver, shared)
}

/// One pool's model, and what is done for it.
struct Driver<O: Observer>(Mutex<Turns<O>>);

impl<O: Observer> Hear for Driver<O> {
    fn hear(&self, message: Message) {
        self.turns().hear(message);
    }

    fn look(&self, most: usize) -> View {
        self.turns().look(most)
    }

    fn why_cut(&self, instance: InstanceId) -> &'static str {
        self.turns().why_cut(instance)
    }
}

impl<O: Observer> Driver<O> {
    fn turns(&self) -> MutexGuard<'_, Turns<O>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has the model's timers fire, and shows the model around.
async fn keep<O: Observer>(driver: Weak<Driver<O>>, clock: Clock, keeper: Arc<Notify>) {
    while let Some(driver) = driver.upgrade() {
        let next = driver.turns().keep();
        drop(driver);
        let timer = async {
            match next {
                Some(next) => clock.sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = keeper.notified() => {}
            () = timer => {}
        }
    }
}

struct Turns<O: Observer> {
    model: Dispatcher,
    clock: Clock,
    /// When this turn began.
    now: Time,
    slots: u32,
    start_timeout: Duration,
    settings: PoolSettings,
    invoker: Arc<dyn Invoker>,
    observer: O,
    pool: WeakPool,
    /// Where invokes run: the last turn may be that of somebody who is dropped outside of it.
    runtime: Handle,
    /// Who waits for a decision, by the request's place.
    verdicts: Vec<Option<(RequestId, oneshot::Sender<Verdict>)>>,
    /// Instances whose invoke has not ended or whose connection stands.
    instances: FxHashMap<InstanceId, Attachment>,
    /// Instances that have not attached yet, of this pool and of others.
    invited: Invited,
    stopped: watch::Sender<bool>,
    keeper: Arc<Notify>,
    /// Whether the observer has been shown all turns.
    is_kept: bool,
    /// Whether the breaker was open when the model was last shown.
    refuses: bool,
}

/// What is left of an instance; nothing of it is kept once both are gone.
#[derive(Default)]
struct Attachment {
    /// The name it was invoked under, until its invoke ends.
    name: Option<String>,
    /// Its connection, while there is one.
    session: Option<Session>,
    /// Whether there has been one.
    has_attached: bool,
    /// Whether the log has it that its start took too long.
    is_late: bool,
}

impl<O: Observer> Turns<O> {
    fn hear(&mut self, message: Message) {
        self.fire_due();
        if let Some(input) = self.take_in(message) {
            self.observer.input(self.now, &input);
            self.model.handle_input(self.now, input);
        }
        self.perform_all();
        if std::mem::take(&mut self.is_kept) {
            self.keeper.notify_one();
        }
    }

    fn look(&self, most: usize) -> View {
        let mut instances = self.model.instances();
        let seen = instances.by_ref().take(most).collect();
        View { now: self.clock.now(), instances: seen, more: instances.count() }
    }

    /// Does what is due and says when something is next.
    fn keep(&mut self) -> Option<Time> {
        self.fire_due();
        self.show();
        self.model.poll_timeout().map(|timeout| timeout.at)
    }

    /// Shows the model, and says when it begins and ends to refuse what it cannot start for.
    fn show(&mut self) {
        let (pool, refuses) = (&*self.settings.name, self.model.gauges().breaker_open);
        match (std::mem::replace(&mut self.refuses, refuses), refuses) {
            (false, true) => {
                tracing::warn!(
                    pool,
                    "the breaker opens: the function does not start, and while nothing serves \
                     requests are refused (503, unavailable); see how its invokes ended"
                );
                self.observer.trouble(self.now, Trouble::BreakerOpened);
            }
            (true, false) => tracing::info!(pool, "the breaker closes: an instance has served"),
            (false, false) | (true, true) => {}
        }
        self.observer.turn(self.now, &self.model);
        self.is_kept = true;
    }

    fn fire_due(&mut self) {
        self.now = self.clock.now();
        if self.model.poll_timeout().is_some_and(|timeout| timeout.at <= self.now) {
            self.observer.timeout(self.now);
            let detached = self.model.gauges().detached;
            self.model.handle_timeout(self.now);
            // All instances are looked through, so only where one may have become late.
            if self.model.gauges().detached > detached {
                self.tell_of_late_starts();
            }
            self.perform_all();
        }
    }

    /// Books what a message carries beside its input.
    fn take_in(&mut self, message: Message) -> Option<Input> {
        match message {
            Message::Asked { request, input, verdict } => {
                let index = request.index() as usize;
                if self.verdicts.len() <= index {
                    self.verdicts.resize_with(index + 1, || None);
                }
                self.verdicts[index] = Some((request, verdict));
                Some(input)
            }
            Message::Told(input) => {
                if let Input::InstanceLost { instance } = input {
                    self.forget_session(instance);
                }
                Some(input)
            }
            Message::Ended { instance, invoked } => {
                self.tell_of_end(instance, &invoked);
                if invoked.outcome != InvokeOutcome::Unknown {
                    self.forget_name(instance);
                }
                Some(Input::InvokeEnded { instance, outcome: invoked.outcome })
            }
            Message::Attached { session, slots, lease, cold } => {
                let instance = session.instance;
                let attachment = self.instances.entry(instance).or_default();
                attachment.session = Some(session);
                attachment.has_attached = true;
                let cold = cold.unwrap_or_else(|| !self.model.expects_warm(instance));
                let pool = &*self.settings.name;
                tracing::info!(pool, %instance, slots, ?lease, cold, "instance attached");
                Some(Input::InstanceAttached { instance, slots, lease, cold })
            }
        }
    }

    fn perform_all(&mut self) {
        while let Some(output) = self.model.poll_output() {
            self.observer.output(self.now, &output);
            self.perform(output);
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Close { instance } => {
                if let Some(session) = self.session(instance) {
                    session.close();
                }
            }
            Output::Decided(decision) => {
                tracing::info!(pool = &*self.settings.name, "scale: {decision}");
            }
            Output::Dispatch { request, instance, waited, cold_exposed } => {
                self.dispatch(request, instance, waited, cold_exposed);
            }
            Output::GoAway { instance, reason } => {
                // On this wire the model's Close, which follows, is all an instance needs to hear.
                let pool = &*self.settings.name;
                tracing::info!(pool, %instance, ?reason, "instance goes away");
            }
            Output::Invoke { instance } => self.invoke(instance),
            Output::Ping { instance } => {
                if let Some(session) = self.session(instance) {
                    session.ping();
                }
            }
            Output::Refuse { request, reason, retry_after_s } => {
                self.answer(request, Verdict::Refuse { reason, retry_after_s });
            }
            Output::Stopped => {
                self.stopped.send_replace(true);
            }
        }
    }

    fn dispatch(
        &mut self,
        request: RequestId,
        instance: InstanceId,
        waited: Duration,
        cold_exposed: bool,
    ) {
        match self.session(instance).cloned() {
            Some(session) => {
                self.answer(request, Verdict::Serve { session, waited, cold_exposed });
            }
            None => {
                debug_assert!(false, "{request} dispatched to {instance}, which has no session");
            }
        }
    }

    /// Tells who waits for `request`. If nobody does, it has been cancelled, and the model will
    /// hear of that.
    fn answer(&mut self, request: RequestId, verdict: Verdict) {
        let waiting = self.verdicts.get_mut(request.index() as usize);
        if let Some(waiting) = waiting
            && waiting.as_ref().is_some_and(|(id, _)| *id == request)
            && let Some((_, waiter)) = waiting.take()
        {
            drop(waiter.send(verdict));
        }
    }

    fn invoke(&mut self, instance: InstanceId) {
        // Without anybody who could want it there is no invoke.
        let Some(pool) = self.pool.upgrade() else { return };
        let name = self.settings.chance.name();
        let (token, now) = (self.settings.chance.secret(), self.clock.wall());
        let offer = AttachOffer {
            url: self.settings.callback_url.clone(),
            token: token.clone(),
            pins: self.settings.identity.as_ref().map(RouterIdentity::pins).unwrap_or_default(),
            expires_at_ms: expiry(now),
        };

        let slots = u8::try_from(self.slots).unwrap_or(u8::MAX);
        let payload = InvokePayload::serve(&self.settings.name, name.clone(), slots, offer, now);
        // Of an invocation whose end is unknown nothing is heard: its name lasts until its place is
        // taken again, by when the model has given it up.
        let before = instance.generation().wrapping_sub(1);
        self.forget_name(InstanceId::new(instance.index(), before));
        let invitation =
            Invitation { pool: self.pool.clone(), instance, token, slots: slots.into() };
        self.invited.add(name.clone(), invitation);
        let attachment = Attachment { name: Some(name), ..Attachment::default() };
        self.instances.insert(instance, attachment);
        let invoker = Arc::clone(&self.invoker);
        let function = self.settings.function.clone();
        self.runtime.spawn(async move {
            let invoked = invoker.invoke(&function, payload.to_json()).await;
            pool.invoke_ended(instance, invoked);
        });
    }

    fn tell_of_end(&mut self, instance: InstanceId, invoked: &Invoked) {
        let Invoked { outcome, detail } = invoked;
        let pool = &*self.settings.name;
        let came = self.instances.get(&instance).is_some_and(|it| it.has_attached);
        if self.has_stopped() {
            // Nobody needs it any more, and where all ends at once, as in `dev`, it fails.
            tracing::debug!(pool, %instance, ?outcome, detail, "invoke ended after its pool");
        } else if *outcome != InvokeOutcome::Returned {
            tracing::warn!(pool, %instance, ?outcome, detail, "invoke failed");
        } else if came {
            tracing::debug!(pool, %instance, detail, "invoke returned");
        } else {
            let callback = &*self.settings.callback_url;
            tracing::warn!(
                pool,
                %instance,
                detail,
                callback,
                "invoke returned, and its instance had never attached: is the extension in \
                 /opt/extensions, and can it reach the callback?"
            );
            self.observer.trouble(self.now, Trouble::NeverAttached);
        }
    }

    /// Many that were invoked at once are late at once: they are one line of log.
    fn tell_of_late_starts(&mut self) {
        if self.has_stopped() {
            return;
        }
        let has_failed =
            |it: &InstanceView| it.state == InstanceState::Detached && it.lease.is_none();
        let mut late = 0_u32;
        for instance in self.model.instances().filter(has_failed) {
            if let Some(attachment) = self.instances.get_mut(&instance.id)
                && !std::mem::replace(&mut attachment.is_late, true)
            {
                late += 1;
                self.observer.trouble(self.now, Trouble::StartTimedOut);
            }
        }
        if late > 0 {
            tracing::warn!(
                pool = &*self.settings.name,
                instances = late,
                start_timeout = ?self.start_timeout,
                "starts took longer than pool.start_timeout and count as failed: the function's \
                 log says what they wait for; raise it if the app needs more time to listen"
            );
        }
    }

    /// Whether all of the pool's requests have ended, or the time for that.
    fn has_stopped(&self) -> bool {
        *self.stopped.borrow()
    }

    fn why_cut(&self, instance: InstanceId) -> &'static str {
        if self.has_stopped() {
            RefuseReason::ShuttingDown.name()
        } else if self.model.is_cut_at_its_end(instance, self.clock.now()) {
            RefuseReason::LeaseEnded.name()
        } else {
            "truncated"
        }
    }

    fn session(&self, instance: InstanceId) -> Option<&Session> {
        self.instances.get(&instance)?.session.as_ref()
    }

    /// The invoke is over: whoever has not attached never will.
    fn forget_name(&mut self, instance: InstanceId) {
        let Some(attachment) = self.instances.get_mut(&instance) else { return };
        if let Some(name) = attachment.name.take() {
            self.invited.remove(&name);
        }
        if attachment.session.is_none() {
            self.instances.remove(&instance);
        }
    }

    fn forget_session(&mut self, instance: InstanceId) {
        let Some(attachment) = self.instances.get_mut(&instance) else { return };
        attachment.session = None;
        if attachment.name.is_none() {
            self.instances.remove(&instance);
        }
    }
}

/// Nobody is left who could claim an invitation.
impl<O: Observer> Drop for Turns<O> {
    fn drop(&mut self) {
        let names = self.instances.values().filter_map(|attachment| attachment.name.as_deref());
        names.for_each(|name| self.invited.remove(name));
        // The last message may have been the last thing that kept the driver, and no keeper came.
        if !self.is_kept && !std::thread::panicking() {
            self.show();
        }
        // It ends.
        self.keeper.notify_one();
    }
}

/// When an invoke sent at `now` is too old to be followed, in milliseconds since 1970.
fn expiry(now: SystemTime) -> u64 {
    let end = now + OFFER_LASTS_MAX;
    let since = end.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
