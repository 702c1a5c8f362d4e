//! The access log's entry for one exchange, filled in as the exchange goes on and recorded once.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dispatch_model::{InstanceId, RefuseReason, Time};
use http::{HeaderValue, Method, StatusCode};

use crate::clock::Clock;
use crate::observe::{Access, AccessLog, Proof, Trace};
use crate::upload::Progress;

/// Whether the router has ended, and with it all that is still under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouterEnd(Arc<AtomicBool>);

impl RouterEnd {
    /// It has.
    pub(crate) fn comes(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn has_come(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// One exchange's entry. If it is dropped before it is finished, the client has gone, unless it
/// was the router that ended.
pub(crate) struct Entry {
    /// Boxed, since an entry is handed on several times.
    access: Box<Access>,
    began: Time,
    /// When it got in line for a slot.
    queued: Option<Time>,
    /// When it was given to the instance that it is on.
    dispatched: Option<Time>,
    /// When its head was given to that instance's connection.
    sent: Option<Time>,
    clock: Clock,
    upload: Arc<Progress>,
    log: Arc<dyn AccessLog>,
    router_end: RouterEnd,
    finished: bool,
}

impl Entry {
    pub(crate) fn new(
        request: &http::request::Parts,
        peer: IpAddr,
        client: IpAddr,
        request_id: String,
        clock: Clock,
        log: Arc<dyn AccessLog>,
        router_end: RouterEnd,
    ) -> Self {
        let text = |name| {
            let value = request.headers.get(name)?;
            Some(match value.to_str() {
                Ok(text) => text.to_owned(),
                Err(_) => String::from_utf8_lossy(value.as_bytes()).into_owned(),
            })
        };
        let host = request.uri.authority().map(|authority| authority.as_str().to_owned());
        let mut host = host.or_else(|| text(http::header::HOST)).unwrap_or_default();
        // What stands before it may be a password. The request is refused, and logs do not have it.
        if let Some(at) = host.rfind('@') {
            host.drain(..=at);
        }
        let access = Box::new(Access {
            started: clock.wall(),
            peer,
            client,
            method: request.method.clone(),
            target: request.uri.path().to_owned(),
            version: request.version,
            host,
            status: CLIENT_GONE,
            reason: LEFT,
            bytes_in: 0,
            bytes_out: 0,
            pool: None,
            in_line: None,
            queue: Duration::ZERO,
            handover: None,
            app: None,
            slot: None,
            first_byte: None,
            total: Duration::ZERO,
            instance: None,
            cold_exposed: false,
            attempts: 0,
            proofs: Vec::new(),
            request_id,
            user_agent: text(http::header::USER_AGENT),
            trace: None,
        });
        let (began, upload) = (clock.now(), Arc::default());
        Self {
            access,
            began,
            queued: None,
            dispatched: None,
            sent: None,
            clock,
            upload,
            log,
            router_end,
            finished: false,
        }
    }

    /// It goes to this pool, which keeps books of its own.
    pub(crate) fn routed(&mut self, pool: Arc<str>, log: Arc<dyn AccessLog>) {
        self.access.pool = Some(pool);
        self.log = log;
    }

    /// What it is called in the logs of both sides.
    pub(crate) fn request_id(&self) -> &str {
        &self.access.request_id
    }

    /// The instance that it was given to last.
    pub(crate) const fn instance(&self) -> Option<InstanceId> {
        self.access.instance
    }

    /// Whether the client wants nothing but the head of a response.
    pub(crate) fn is_head(&self) -> bool {
        self.access.method == Method::HEAD
    }

    /// How far the request's body is.
    pub(crate) fn upload(&self) -> Arc<Progress> {
        Arc::clone(&self.upload)
    }

    /// Bytes of body that the client has sent.
    pub(crate) fn bytes_in(&self) -> u64 {
        self.upload.bytes()
    }

    /// Bytes that passed after the protocol was switched.
    pub(crate) fn tunnelled(&mut self, bytes_in: u64, bytes_out: u64) {
        self.upload.add(bytes_in);
        self.access.bytes_out += bytes_out;
    }

    /// It gets in line for a slot.
    pub(crate) fn queued(&mut self) {
        let now = self.clock.now();
        self.queued = Some(now);
        self.access.in_line = Some(now.saturating_since(self.began));
    }

    /// Its place in a trace.
    pub(crate) const fn traced(&mut self, trace: Option<Trace>) {
        self.access.trace = trace;
    }

    pub(crate) const fn add_bytes_out(&mut self, count: usize) {
        self.access.bytes_out += count as u64;
    }

    pub(crate) fn dispatched(&mut self, instance: InstanceId, waited: Duration, cold: bool) {
        self.access.instance = Some(instance);
        self.access.queue = waited;
        self.access.cold_exposed |= cold;
        self.access.attempts = self.access.attempts.saturating_add(1);
        // The decision may have been made some time before this task heard of it.
        self.dispatched = self.queued.map(|queued| queued + waited);
    }

    /// Its head was given to the connection of its instance.
    pub(crate) fn sent(&mut self) {
        let now = self.clock.now();
        self.sent = Some(now);
        self.access.handover = self.dispatched.map(|since| now.saturating_since(since));
    }

    /// The instance failed, and it is not on that one any more.
    pub(crate) fn taken_back(&mut self) {
        self.sent = None;
        self.leave_slot(self.clock.now());
    }

    fn leave_slot(&mut self, now: Time) {
        if let Some(since) = self.dispatched.take() {
            self.access.slot = Some(now.saturating_since(since));
        }
    }

    /// Another instance is given it, if there was a first one that failed.
    pub(crate) fn given_again(&mut self, proof: Option<Proof>) {
        self.access.proofs.extend(proof);
    }

    /// A head is about to go to the client: ours.
    pub(crate) fn responded(&mut self, status: u16) {
        self.access.status = status;
        self.access.first_byte = Some(self.elapsed());
    }

    /// A head is about to go to the client: the app's, or what the extension says for it.
    pub(crate) fn app_responded(&mut self, status: StatusCode) {
        let now = self.clock.now();
        self.access.status = status.as_u16();
        self.access.app = self.sent.map(|since| now.saturating_since(since));
        self.access.first_byte = Some(now.saturating_since(self.began));
    }

    /// The exchange is over.
    pub(crate) fn finish(&mut self, reason: &'static str) {
        if self.finished {
            return;
        }
        self.finished = true;
        let is_cut = reason == LEFT && self.router_end.has_come();
        let reason = if is_cut { RefuseReason::ShuttingDown.name() } else { reason };
        self.access.reason = reason;
        if is_cut && self.access.status == CLIENT_GONE {
            self.access.status = RefuseReason::ShuttingDown.status();
        }
        let now = self.clock.now();
        self.access.total = now.saturating_since(self.began);
        self.leave_slot(now);
        self.access.bytes_in = self.upload.bytes();
        if let (0, Some(queued)) = (self.access.attempts, self.queued) {
            self.access.queue = now.saturating_since(queued);
        }
        self.log.record(&self.access);
        if reason != "served" {
            self.tell();
        }
    }

    /// Logs how an exchange ended that did not end well.
    fn tell(&self) {
        let Access { request_id, status, reason, attempts, total, .. } = &*self.access;
        let instance = self.access.instance.as_ref().map(tracing::field::display);
        let is_clients = CLIENTS_DOING.contains(reason);
        // A WebSocket ends so sooner or later; what got no response at all has failed.
        let is_planned = *status < 500 && PLANNED.contains(reason);
        if *attempts > 0 && !is_clients && !is_planned {
            tracing::warn!(
                request_id,
                status,
                reason,
                instance,
                attempts,
                ?total,
                "request failed"
            );
        } else {
            tracing::debug!(
                request_id,
                status,
                reason,
                instance,
                attempts,
                ?total,
                "request ended"
            );
        }
    }

    /// The stages so far of a request that got in line, as `Server-Timing` has them, in
    /// milliseconds. One that was given to no instance has the first alone.
    pub(crate) fn timing(&self) -> Option<HeaderValue> {
        let in_line = self.clock.now().saturating_since(self.queued?);
        let Access { attempts, queue, handover, .. } = *self.access;
        if attempts == 0 {
            return HeaderValue::from_str(&format!("queue;dur={}", in_line.as_millis())).ok();
        }
        let dispatch = handover.unwrap_or_default();
        let app = in_line.saturating_sub(queue + dispatch);
        let [queue, dispatch, app] = [queue, dispatch, app].map(|stage| stage.as_millis());
        let text = format!("queue;dur={queue}, dispatch;dur={dispatch}, app;dur={app}");
        HeaderValue::from_str(&text).ok()
    }

    /// What is left of `total` since the head.
    pub(crate) fn left(&self, total: Duration) -> Duration {
        total.saturating_sub(self.elapsed())
    }

    fn elapsed(&self) -> Duration {
        self.clock.now().saturating_since(self.began)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.finish(self.access.reason);
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.access.fmt(f)
    }
}

/// Ends that are no fault of anybody behind us.
const CLIENTS_DOING: [&str; 3] = ["bad_request", LEFT, "request_timeout"];
/// The end of a request that is dropped, which its client does by leaving.
const LEFT: &str = "client_gone";
/// Ends of whatever outlasts its instance or the router.
const PLANNED: [&str; 2] = [RefuseReason::LeaseEnded.name(), RefuseReason::ShuttingDown.name()];
/// What nginx logs when there was nobody left to send a status to.
const CLIENT_GONE: u16 = 499;
