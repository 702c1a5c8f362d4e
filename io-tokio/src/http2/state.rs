//! What a connection and its streams are at, apart from the bytes that carry it.
//!
//! The connection's task gives it what comes and writes what it puts out; handles on streams look
//! at it and add to it, from whatever task they are in. All of it is behind one lock.

use std::collections::VecDeque;
use std::task::Waker;

use bytes::BufMut;
use h2::Reason;
use http::Request;
use rustc_hash::FxHashMap;
use slab::Slab;

use super::frame::{self, FrameHead};
use super::hpack::Encoder;
use super::outbox::Outbox;
use super::stream::{End, Stream, Window, wake};
use super::{By, Config, Error, Side};

/// A connection.
#[derive(Debug)]
pub(super) struct State {
    pub(super) side: Side,
    pub(super) config: Config,
    pub(super) streams: Slab<Stream>,
    /// Where those are that have an id and have not ended. Hashed without a secret: a peer that
    /// makes ids collide has but a few hundred streams.
    pub(super) open: FxHashMap<u32, usize>,
    /// Those that the peer has no room for yet.
    pub(super) waiting: VecDeque<usize>,
    /// What the peer asks for and nobody has taken.
    pub(super) arrived: VecDeque<(usize, Request<()>)>,
    /// The last stream that either side opened.
    pub(super) last_id: u32,
    pub(super) encoder: Encoder,
    pub(super) out: Outbox,
    /// Of that what the peer has asked for without a stream.
    pub(super) control_bytes: usize,
    /// What was taken from `out` and is not written.
    pub(super) being_written: usize,
    pub(super) peer: Peer,
    /// How many bytes the peer takes on all streams.
    pub(super) send_window: i64,
    /// Streams that wait for that, or for room in `out`.
    pub(super) queue: VecDeque<usize>,
    pub(super) window: Window,
    pub(super) ping: Ping,
    /// We have said goaway: nothing that the peer opens from now on is looked at.
    pub(super) leaves: bool,
    pub(super) is_told_to_leave: bool,
    /// Streams that the peer gave up before anybody had taken them, less those that were taken.
    pub(super) hasty_resets: u32,
    /// How many may open streams.
    pub(super) openers: usize,
    /// Why it ended.
    pub(super) ended: Option<Error>,
    /// The connection's task, if it is not at work.
    pub(super) driver: Option<Waker>,
}

/// What the peer has set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) window: u32,
    pub(super) frame_bytes: usize,
    pub(super) streams: usize,
}

/// A ping of ours.
#[derive(Debug, Default)]
pub(super) struct Ping {
    pub(super) is_sent: bool,
    pub(super) is_answered: bool,
    pub(super) waker: Option<Waker>,
}

impl State {
    pub(super) fn new(side: Side, config: Config) -> Self {
        let peer =
            Peer { window: frame::WINDOW, frame_bytes: frame::FRAME_BYTES, streams: STREAMS_MAX };
        let mut state = Self {
            side,
            config,
            streams: Slab::new(),
            open: FxHashMap::default(),
            waiting: VecDeque::new(),
            arrived: VecDeque::new(),
            last_id: 0,
            encoder: Encoder::default(),
            out: Outbox::default(),
            control_bytes: 0,
            being_written: 0,
            peer,
            send_window: i64::from(frame::WINDOW),
            queue: VecDeque::new(),
            window: Window::new(frame::WINDOW),
            ping: Ping::default(),
            leaves: false,
            is_told_to_leave: false,
            hasty_resets: 0,
            openers: 0,
            ended: None,
            driver: None,
        };
        state.greet();
        state
    }

    fn greet(&mut self) {
        let Config { stream_window, frame_bytes, head_bytes, streams_max, .. } = self.config;
        let mut settings = vec![
            (frame::INITIAL_WINDOW_SIZE, stream_window),
            (frame::MAX_FRAME_SIZE, frame_bytes),
            (frame::MAX_HEADER_LIST_SIZE, head_bytes),
        ];
        match self.side {
            Side::Client => {
                self.out.tail.put_slice(frame::PREFACE);
                settings.push((frame::ENABLE_PUSH, 0));
            }
            Side::Server => {
                settings.push((frame::MAX_CONCURRENT_STREAMS, streams_max));
                settings.push((frame::ENABLE_CONNECT_PROTOCOL, 1));
            }
        }
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.put_u16(name);
            payload.put_u32(value);
        }
        self.put(frame::SETTINGS, 0, 0, &payload);
        self.set_window(self.config.connection_window);
    }

    /// What all streams together may receive before it is read; never less than before.
    pub(super) fn set_window(&mut self, bytes: u32) {
        if let Some(more) = self.window.grow(bytes) {
            self.put_window_update(0, more);
        }
    }

    /// Tells the connection's task that there is something to write.
    pub(super) fn wake_driver(&mut self) {
        wake(&mut self.driver);
    }

    /// A frame that counts as an answer to the peer: of these only so many may wait.
    pub(super) fn put(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.put_frame(kind, flags, stream, payload);
        self.control_bytes += FrameHead::BYTES + payload.len();
    }

    pub(super) fn put_frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        FrameHead { len: payload.len(), kind, flags, stream }.write(&mut self.out.tail);
        self.out.tail.put_slice(payload);
    }

    pub(super) fn put_reset(&mut self, stream: u32, reason: Reason) {
        self.put(frame::RST_STREAM, 0, stream, &u32::from(reason).to_be_bytes());
    }

    fn put_window_update(&mut self, stream: u32, more: u32) {
        self.put(frame::WINDOW_UPDATE, 0, stream, &more.to_be_bytes());
    }

    /// Where those are that have not ended.
    pub(super) fn running(&self) -> Vec<usize> {
        let running = self.streams.iter().filter(|(_, stream)| !stream.has_ended());
        running.map(|(key, _)| key).collect()
    }

    /// Ends a stream before its time.
    pub(super) fn reset(&mut self, key: usize, reason: Reason) {
        let stream = &self.streams[key];
        if stream.has_ended() {
            return;
        }
        if stream.id != 0 {
            self.put_reset(stream.id, reason);
        }
        self.fail(key, Error::Reset { reason, by: By::Us });
        self.wake_driver();
    }

    pub(super) fn fail(&mut self, key: usize, error: Error) {
        let stream = &mut self.streams[key];
        stream.broken = Some(error);
        wake(&mut stream.incoming.waker);
        wake(&mut stream.outgoing.waker);
        stream.outgoing.backlog.clear();
        self.settle(key);
    }

    /// Takes a stream that has ended off the books, and out of memory if nobody holds it.
    pub(super) fn settle(&mut self, key: usize) {
        let stream = &mut self.streams[key];
        if !stream.has_ended() {
            return;
        }
        let is_held = stream.handles > 0;
        if std::mem::take(&mut stream.is_counted) {
            self.open.remove(&stream.id);
        } else if stream.id == 0 {
            self.waiting.retain(|waiting| *waiting != key);
        }
        if !is_held {
            self.remove(key);
        }
        self.begin_waiting();
    }

    fn remove(&mut self, key: usize) {
        let mut stream = self.streams.remove(key);
        if stream.outgoing.is_queued {
            self.queue.retain(|queued| *queued != key);
        }
        if self.side == Side::Server {
            self.arrived.retain(|(arrived, _)| *arrived != key);
        }
        self.free_shared(stream.incoming.forget());
    }

    /// A handle is gone; nobody reads any more if it `was_reader`.
    pub(super) fn let_go(&mut self, key: usize, was_reader: bool) {
        let stream = &mut self.streams[key];
        stream.handles -= 1;
        if was_reader {
            stream.incoming.is_wanted = false;
            let forgotten = stream.incoming.forget();
            self.free_shared(forgotten);
        }
        self.leave_alone(key);
    }

    /// Sees to it that a stream which nobody holds comes to its end.
    pub(super) fn leave_alone(&mut self, key: usize) {
        let stream = &self.streams[key];
        if stream.handles > 0 {
            return;
        }
        if stream.has_ended() {
            return self.remove(key);
        }
        match (self.side, stream.outgoing.end) {
            // All has been said, and is on its way.
            (Side::Server, End::Queued) => {}
            (Side::Client, End::Queued) if stream.incoming.has_ended => {}
            // The rest of the request is not needed.
            (Side::Server, End::Sent) => self.reset(key, Reason::NO_ERROR),
            (Side::Client, _) | (Side::Server, End::Open) => self.reset(key, Reason::CANCEL),
        }
    }

    /// `bytes` that came on a stream have been read.
    pub(super) fn free(&mut self, key: usize, bytes: usize) {
        let Stream { id, incoming, broken, .. } = &mut self.streams[key];
        if !incoming.has_ended
            && broken.is_none()
            && let Some(grown) = incoming.window.free(bytes)
        {
            let id = *id;
            self.put_window_update(id, grown);
            self.wake_driver();
        }
        self.free_shared(bytes);
    }

    /// `bytes` of all streams together have been read, or were not wanted. To be said of whatever
    /// comes, and be it none.
    pub(super) fn free_shared(&mut self, bytes: usize) {
        if self.ended.is_none()
            && let Some(grown) = self.window.free_shared(bytes)
        {
            self.put_window_update(0, grown);
            self.wake_driver();
        }
    }

    /// Takes no streams any more, and ends with the last.
    pub(super) fn leave(&mut self) {
        if !std::mem::replace(&mut self.leaves, true) {
            self.put_goaway(Reason::NO_ERROR);
            self.wake_driver();
        }
    }

    pub(super) fn put_goaway(&mut self, reason: Reason) {
        // Of those that we have opened the peer need not be told.
        let last = if self.side == Side::Server { self.last_id } else { 0 };
        let mut payload = [0; 8];
        payload[..4].copy_from_slice(&last.to_be_bytes());
        payload[4..].copy_from_slice(&u32::from(reason).to_be_bytes());
        self.put(frame::GOAWAY, 0, 0, &payload);
    }

    /// Whether there is nothing left to be done, ever.
    pub(super) fn is_done(&mut self) -> bool {
        if !self.open.is_empty() || !self.waiting.is_empty() || !self.arrived.is_empty() {
            return false;
        }
        if self.side == Side::Client && self.openers == 0 {
            self.leave();
        }
        (self.leaves || self.is_told_to_leave) && self.out.is_empty() && self.being_written == 0
    }

    /// Gives up all that is on it, says so, and is over but for these last words.
    pub(super) fn close(&mut self) {
        if self.ended.is_some() {
            return;
        }
        for key in self.running() {
            let id = self.streams[key].id;
            if id != 0 {
                self.put_reset(id, Reason::CANCEL);
            }
        }
        self.leave();
        self.end(&Error::closed());
    }

    /// The connection is over, and so is all that was on it.
    pub(super) fn end(&mut self, error: &Error) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(error.clone());
        self.waiting.clear();
        self.arrived.clear();
        for key in self.running() {
            self.fail(key, error.clone());
        }
        wake(&mut self.ping.waker);
    }
}

/// What a peer allows at least, before it has said how much.
const STREAMS_MAX: usize = 100;
