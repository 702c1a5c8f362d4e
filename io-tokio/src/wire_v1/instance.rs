//! One instance that is attached over the original's wire, made to look like any other.
//!
//! The model and the exchange know an instance as a [`Session`](crate::session::Session): HTTP/2
//! with the router as client. So a [`bridge`] is such an instance, at the other end of a pipe in
//! memory, and gives each stream to a channel that waits for a request. What a stream can say is
//! said with what the wire has:
//!
//! | on the stream | on the channel |
//! |---|---|
//! | no channel waits for a request, for 2 s | nothing: `REFUSED_STREAM`, no app has seen it |
//! | what this wire cannot say | nothing: 404, 431 or 501 |
//! | `Expect: 100-continue` | the body: `100`, as soon as a channel has the request |
//! | the client went away after its request | the response is read to its end, for at most 5 s |
//! | the client went away within its request | reset: the app must not take it for a whole one |
//! | a channel that ends without a head | `INTERNAL_ERROR`: the app may have seen the request |
//! | a response that is cut | `INTERNAL_ERROR` |
//!
//! The original's extension gives its whole invoke up when one of its channels ends, and does not
//! say so. So an instance of which a channel was reset, or did not come back, is on its way out:
//! it is given no more requests, and when the last one has ended every waiting channel is released.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dispatch_model::{Input, InstanceId, Time};
use http::{Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::io::DuplexStream;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::body::{NoHead, Raw, read_head};
use super::head::{self, read_response, write_request};
use super::link::Link;
use crate::clock::Clock;
use crate::headers::content_length;
use crate::http2::{self, Config, Reason, Receiving, Responder, Sending, share_of};
use crate::interim;
use crate::pool::{Pool, WeakPool};
use crate::request_id::RequestId;
use crate::stream_body::{SendError, send_body};

/// An instance, between the connections that its channels come on and the pipe to its session.
#[derive(Debug)]
pub(crate) struct Instance {
    name: String,
    id: InstanceId,
    pool: WeakPool,
    /// How many channels it was asked to open.
    slots: u32,
    /// Its zero is when it came.
    age: Clock,
    /// The connection that its newest channel came on.
    link: Mutex<Arc<Link>>,
    desk: Mutex<Desk>,
    /// A channel waits, or none ever will.
    parked: Notify,
    /// It has asked to leave.
    asked: AtomicBool,
    /// It shall be given no more requests.
    leave: Notify,
    /// No channel is taken any more.
    released: watch::Sender<bool>,
    /// Nothing of it is left.
    gone: Notify,
}

/// Where requests and channels meet.
#[derive(Debug, Default)]
struct Desk {
    waiting: VecDeque<oneshot::Sender<Job>>,
    /// Channels that wait or carry a request.
    open: u64,
    /// Channels opened, and channels ended, ever.
    opened: u64,
    ended: u64,
    /// No channel is taken any more.
    closed: bool,
}

/// A request for a channel.
#[derive(Debug)]
struct Job {
    id: RequestId,
    head: Bytes,
    /// The client sends its body only when it is told to.
    expects: bool,
    body: Receiving,
    respond: Responder,
}

/// One POST of an instance, answered with 200.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) id: String,
    /// From the instance.
    pub(crate) up: Receiving,
    /// To the instance.
    pub(crate) down: Sending,
}

impl Instance {
    pub(crate) fn new(
        name: String,
        id: InstanceId,
        pool: WeakPool,
        slots: u32,
        link: Arc<Link>,
    ) -> Self {
        Self {
            name,
            id,
            pool,
            slots,
            age: Clock::start(),
            link: Mutex::new(link),
            desk: Mutex::default(),
            parked: Notify::new(),
            asked: AtomicBool::new(false),
            leave: Notify::new(),
            released: watch::Sender::new(false),
            gone: Notify::new(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn slots(&self) -> u32 {
        self.slots
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.desk().closed
    }

    /// It wants to leave, and waits for our answer for as long as the original's router took. Until
    /// then it may be given requests, which is for the model to say.
    pub(crate) async fn asks_to_leave(&self) {
        if !self.asked.swap(true, Ordering::Relaxed) {
            let age = self.age.now().saturating_since(Time::ZERO);
            let patience = (age / 10).min(CLOSE_PATIENCE_MAX);
            if let Some(pool) = self.pool.upgrade() {
                pool.tell(Input::LeaveAsked { instance: self.id, patience });
            }
            let mut released = self.released.subscribe();
            drop(timeout(patience, released.wait_for(|released| *released)).await);
        }
        self.leave();
    }

    /// It shall be given no more requests; those that are running may end.
    fn leave(&self) {
        self.leave.notify_one();
    }

    /// Asks for a sign of life on the connection of its newest channel.
    pub(crate) async fn answers_a_ping(&self) -> bool {
        let link = Arc::clone(&self.link.lock().unwrap_or_else(PoisonError::into_inner));
        link.answers_a_ping().await
    }

    /// Counts a channel in until it ends; `None` if none is taken any more.
    pub(crate) fn open(self: &Arc<Self>, link: &Arc<Link>) -> Option<Open> {
        let mut desk = self.desk();
        if desk.closed {
            return None;
        }
        desk.open += 1;
        desk.opened += 1;
        drop(desk);
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(link);
        Some(Open(Arc::clone(self)))
    }

    /// Takes every channel off its waiting place: it will be told to leave.
    pub(crate) fn release(&self) {
        let mut desk = self.desk();
        desk.closed = true;
        desk.waiting.clear();
        drop(desk);
        self.parked.notify_waiters();
        self.released.send_replace(true);
    }

    /// Gives a job to the channel that has waited longest; gives it back if there is none.
    fn hand(&self, mut job: Job) -> Option<Job> {
        let mut desk = self.desk();
        while let Some(channel) = desk.waiting.pop_front() {
            match channel.send(job) {
                Ok(()) => return None,
                // That channel has ended meanwhile.
                Err(back) => job = back,
            }
        }
        Some(job)
    }

    /// Gives a request to a channel, or refuses it so that it can go elsewhere.
    async fn take(self: Arc<Self>, request: Request<Receiving>, mut respond: Responder) {
        let (parts, body) = request.into_parts();
        let head = match write_request(&parts, !body.is_end_stream()) {
            Ok(head) => head,
            Err(error) => {
                let id = RequestId::of(&parts.headers);
                tracing::debug!(
                    request_id = %id, %error, instance = self.name, "not sent on this wire"
                );
                return answer(respond, error.status());
            }
        };
        let id = RequestId::of(&parts.headers);
        let expects = parts.headers.contains_key(header::EXPECT);
        let mut job = Job { id, head, expects, body, respond };
        let deadline = tokio::time::sleep(CHANNEL_PATIENCE);
        let mut deadline = pin!(deadline);
        loop {
            let mut parked = pin!(self.parked.notified());
            parked.as_mut().enable();
            match self.hand(job) {
                None => return,
                Some(back) => job = back,
            }
            let waited = async {
                tokio::select! {
                    biased;
                    () = &mut deadline => false,
                    () = parked => true,
                }
            };
            if self.is_closed() || !waited.await {
                break;
            }
        }
        respond = job.respond;
        respond.send_reset(Reason::REFUSED_STREAM);
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A channel that counts as open.
#[derive(Debug)]
pub(crate) struct Open(Arc<Instance>);

impl Drop for Open {
    fn drop(&mut self) {
        let mut desk = self.0.desk();
        desk.open -= 1;
        desk.ended += 1;
        let was_last = desk.open == 0;
        drop(desk);
        let link = self.0.link.lock().unwrap_or_else(PoisonError::into_inner);
        if was_last && link.has_ended() {
            self.0.gone.notify_one();
        }
    }
}

impl Open {
    /// Waits for a request, carries it and its response; or for the order to tell the instance to
    /// leave.
    pub(crate) async fn serve(self, mut channel: Channel) {
        let (hand, mut handed) = oneshot::channel();
        {
            let mut desk = self.0.desk();
            if !desk.closed {
                desk.waiting.push_back(hand);
            }
        }
        self.0.parked.notify_one();
        let job = tokio::select! {
            biased;
            job = &mut handed => job,
            // Before a request there is nothing to say: it has ended, or is not what it should be.
            early = channel.up.data() => {
                tracing::debug!(instance = self.0.name, ?early, "a waiting channel ended");
                handed.close();
                if let Ok(mut job) = handed.try_recv() {
                    job.respond.send_reset(Reason::REFUSED_STREAM);
                }
                return;
            }
        };
        match job {
            Ok(job) => {
                if exchange(channel, job).await == Afterwards::Spoilt {
                    tracing::debug!(instance = self.0.name, "leaves, for a channel was reset");
                    self.0.leave();
                }
            }
            Err(_) => {
                let goaway = head::goaway(&self.0.name, &channel.id);
                if channel.down.send_data(goaway, true).is_ok() {
                    drop(timeout(LAST_WORDS, ended(&mut channel.up)).await);
                }
            }
        }
    }
}

/// What a channel's end means for its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Afterwards {
    /// It opens the channel again.
    Sound,
    /// It may have given up.
    Spoilt,
}

/// Carries a request and its response.
async fn exchange(channel: Channel, job: Job) -> Afterwards {
    let Channel { up, down, .. } = channel;
    let Job { id, head, expects, body, mut respond } = job;
    if expects && let Err(error) = respond.send_interim(&interim::continues()) {
        tracing::debug!(request_id = %id, %error, "nobody waits for the word to go on");
    }
    let sending = send_body(Raw::new(head, body), down);
    let (sent, received) = tokio::join!(sending, receive(up, respond, &id));
    match sent {
        // The client did not send all of its request.
        Err(SendError::Body(_)) => Afterwards::Spoilt,
        // The instance wants no more of it, or is gone: its answer tells.
        Ok(_) | Err(_) => received,
    }
}

async fn receive(mut up: Receiving, mut respond: Responder, id: &RequestId) -> Afterwards {
    let found = {
        let mut head = pin!(read_head(&mut up, RESPONSE_HEAD_MAX));
        tokio::select! {
            biased;
            found = &mut head => Ok(found),
            _ = poll_fn(|cx| respond.poll_broken(cx)) => {
                // The client is gone, but the head must be read to its end as well.
                Err(timeout(DRAIN_TIME, head).await)
            }
        }
    };
    let (head, rest) = match found {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            tracing::debug!(request_id = %id, %error, "no response on a channel");
            respond.send_reset(Reason::INTERNAL_ERROR);
            return after(&error, up).await;
        }
        Err(Ok(Ok((_, rest)))) => return drain(Raw::new(rest, up)).await,
        Err(Ok(Err(error))) => return after(&error, up).await,
        Err(Err(_)) => return Afterwards::Spoilt,
    };
    let body = Raw::new(rest, up);
    let response = match read_response(&head) {
        Ok(response) => response,
        Err(error) => {
            tracing::warn!(
                request_id = %id, %error, "an instance answered with a head that is no response"
            );
            respond.send_reset(Reason::INTERNAL_ERROR);
            return drain(body).await;
        }
    };
    let mut body = body.of_length(content_length(response.headers()));
    let ends = body.is_end_stream();
    match respond.send_response(&response, ends) {
        Ok(stream) if !ends => {
            if let Err(SendError::Body(_)) = send_body(&mut body, stream).await {
                return Afterwards::Spoilt;
            }
        }
        Ok(_) | Err(_) => {}
    }
    // Up to the end of the stream, which may come after that of the body.
    drain(body).await
}

/// What a channel is good for that has given no head.
async fn after(error: &NoHead, up: Receiving) -> Afterwards {
    match error {
        NoHead::Bad(_) => drain(Raw::new(Bytes::new(), up)).await,
        // So does the original's extension with a request that it cannot read, and comes back.
        NoHead::Ended => Afterwards::Sound,
        NoHead::Broken(_) => Afterwards::Spoilt,
    }
}

/// Reads on until the end: a reset would end all that the instance does.
async fn drain(mut body: Raw) -> Afterwards {
    let reading = async {
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Afterwards::Spoilt };
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > DRAIN_BYTES_MAX {
                return Afterwards::Spoilt;
            }
        }
        Afterwards::Sound
    };
    timeout(DRAIN_TIME, reading).await.unwrap_or(Afterwards::Spoilt)
}

/// Reads until the peer has ended its side.
pub(crate) async fn ended(stream: &mut Receiving) {
    while let Some(Ok(_)) = stream.data().await {}
}

fn answer(respond: Responder, status: StatusCode) {
    let mut response = Response::new(());
    *response.status_mut() = status;
    // Nobody waits for it if that fails.
    respond.send_response(&response, true).ok();
}

/// Is the instance towards its session, at the other end of `pipe`.
pub(crate) async fn bridge(instance: Arc<Instance>, pipe: DuplexStream, pool: Pool) {
    let mut connection = http2::server(pipe, config(instance.slots));
    let mut requests = JoinSet::new();
    let mut count = tokio::time::interval(REOPEN_TIME);
    // Not at once, when some channels are still on their way.
    count.reset();
    let mut before = None;
    loop {
        let leaves = tokio::select! {
            biased;
            () = instance.gone.notified() => {
                tracing::debug!(instance = instance.name, "all channels are gone");
                instance.release();
                true
            }
            () = instance.leave.notified() => true,
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    requests.spawn(Arc::clone(&instance).take(request, respond));
                    false
                }
                Some(Err(_)) | None => break,
            },
            Some(_) = requests.join_next() => false,
            _ = count.tick() => falls_short(&instance, &mut before),
        };
        if leaves {
            // Told at once, so that no request is sent here only to be refused.
            pool.tell(Input::GoAwayReceived { instance: instance.id });
            connection.leave();
        }
    }
    instance.release();
}

/// Whether a channel that ended has not been opened again in `REOPEN_TIME`, the time between two
/// calls.
fn falls_short(instance: &Instance, before: &mut Option<(u64, u64)>) -> bool {
    let desk = instance.desk();
    let falls_short = before.is_some_and(|(channels, ended)| desk.opened < channels + ended);
    // As many as it was asked for, or as it has opened in the first moments.
    let channels = before.map_or(desk.opened.min(instance.slots.into()), |(channels, _)| channels);
    *before = (desk.opened > 0).then_some((channels, desk.ended));
    if falls_short {
        tracing::debug!(instance = instance.name, "leaves, for a channel did not come back");
    }
    falls_short
}

/// How long a request waits for a channel: one that is about to be opened again, or one whose
/// response is read to its end for nobody.
const CHANNEL_PATIENCE: Duration = Duration::from_secs(2);
/// How long an instance that wants to leave is kept waiting at most.
const CLOSE_PATIENCE_MAX: Duration = Duration::from_secs(5);
const DRAIN_TIME: Duration = Duration::from_secs(5);
const DRAIN_BYTES_MAX: usize = 16 << 20;
/// For an instance to end its side of a channel that it was told to leave.
const LAST_WORDS: Duration = Duration::from_secs(5);
const REOPEN_TIME: Duration = Duration::from_secs(5);
/// The original's router reads 32 KiB; its extension writes whatever the app says.
const RESPONSE_HEAD_MAX: usize = 128 << 10;

fn config(slots: u32) -> Config {
    Config {
        stream_window: share_of(UPLOAD_BYTES_MAX, slots).clamp(65_535, 256 << 10),
        connection_window: UPLOAD_BYTES_MAX,
        frame_bytes: 64 << 10,
        head_bytes: 256 << 10,
        // The model gives it no more than it has channels.
        streams_max: u32::MAX,
    }
}

/// How much of all requests may wait for the instance to read it.
const UPLOAD_BYTES_MAX: u32 = 16 << 20;
