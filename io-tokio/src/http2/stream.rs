//! One stream, as both its halves stand.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};

use super::Error;

/// A stream.
#[derive(Debug)]
pub(super) struct Stream {
    /// 0 until the peer has room for it.
    pub(super) id: u32,
    /// What opens it, until then.
    pub(super) opens_with: Option<Box<Request<()>>>,
    /// How many of our side still hold it.
    pub(super) handles: u8,
    /// It counts as one of those that are open.
    pub(super) is_counted: bool,
    /// Why it ended before its time, if it did.
    pub(super) broken: Option<Error>,
    pub(super) incoming: Incoming,
    pub(super) outgoing: Outgoing,
}

/// What the peer sends.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) interims: VecDeque<Response<()>>,
    /// A response that was not taken yet.
    pub(super) head: Option<Box<Response<()>>>,
    /// The head has come.
    pub(super) is_begun: bool,
    pub(super) data: VecDeque<Bytes>,
    pub(super) trailers: Option<Box<HeaderMap>>,
    /// Nothing more will come.
    pub(super) has_ended: bool,
    /// Somebody is there to read it.
    pub(super) is_wanted: bool,
    /// What must still come of a declared length.
    pub(super) length_left: Option<u64>,
    /// It is the response to a HEAD, which declares the length of another.
    pub(super) is_headless: bool,
    pub(super) window: Window,
    pub(super) waker: Option<Waker>,
}

/// What we send.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// What the peer's windows have no room for.
    pub(super) backlog: VecDeque<Bytes>,
    pub(super) trailers: Option<Box<HeaderMap>>,
    pub(super) end: End,
    /// How many bytes the peer takes, less than none if it has taken back what it gave.
    pub(super) window: i64,
    /// It is in the queue for the connection's room.
    pub(super) is_queued: bool,
    pub(super) waker: Option<Waker>,
}

/// How far the end of our side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// There may be more to send.
    Open,
    /// It comes after the backlog.
    Queued,
    Sent,
}

/// How much a peer may send, and how much of it has been read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    size: u32,
    left: i64,
    /// Read, and the peer has not been told.
    freed: u32,
}

impl Window {
    pub(super) const fn new(size: u32) -> Self {
        Self { size, left: size as i64, freed: 0 }
    }

    /// `bytes` came; whether they were allowed to.
    #[must_use]
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        self.left -= i64::try_from(bytes).unwrap_or(i64::MAX);
        self.left >= 0
    }

    /// `bytes` of them were read. Returns by how much the peer's window is to grow now: not for
    /// each byte, but before it is empty.
    #[must_use]
    pub(super) fn free(&mut self, bytes: usize) -> Option<u32> {
        self.note(bytes);
        if self.is_half_free() { self.grant() } else { None }
    }

    /// The same for a window that several share, to be asked whenever something has come as well.
    ///
    /// What some of them do not read may be so much that half of the window never comes together.
    /// Then the others get what there is, as soon as it is no less than what they still have.
    #[must_use]
    pub(super) fn free_shared(&mut self, bytes: usize) -> Option<u32> {
        self.note(bytes);
        let is_due = self.is_half_free() || i64::from(self.freed) >= self.left;
        if is_due { self.grant() } else { None }
    }

    fn note(&mut self, read: usize) {
        self.freed = self.freed.saturating_add(u32::try_from(read).unwrap_or(u32::MAX));
    }

    const fn is_half_free(&self) -> bool {
        self.freed >= self.size.div_ceil(2)
    }

    fn grant(&mut self) -> Option<u32> {
        self.left += i64::from(self.freed);
        Some(std::mem::take(&mut self.freed)).filter(|grown| *grown > 0)
    }

    /// Makes it `size` large. Returns by how much the peer's window is to grow.
    #[must_use]
    pub(super) fn grow(&mut self, size: u32) -> Option<u32> {
        let more = size.checked_sub(self.size)?;
        self.size = size;
        self.left += i64::from(more);
        Some(more).filter(|more| *more > 0)
    }
}

impl Stream {
    pub(super) const fn new(id: u32, receives: u32, sends: u32) -> Self {
        Self {
            id,
            opens_with: None,
            handles: 0,
            is_counted: false,
            broken: None,
            incoming: Incoming {
                interims: VecDeque::new(),
                head: None,
                is_begun: false,
                data: VecDeque::new(),
                trailers: None,
                has_ended: false,
                is_wanted: true,
                length_left: None,
                is_headless: false,
                window: Window::new(receives),
                waker: None,
            },
            outgoing: Outgoing {
                backlog: VecDeque::new(),
                trailers: None,
                end: End::Open,
                window: sends as i64,
                is_queued: false,
                waker: None,
            },
        }
    }

    /// Why nothing more will come, once that is so, for who reads.
    pub(super) fn poll_cut(&mut self, cx: &Context<'_>) -> Poll<Error> {
        poll_broken(self.broken.as_ref(), &mut self.incoming.waker, cx)
    }

    /// The same for who writes.
    pub(super) fn poll_broken(&mut self, cx: &Context<'_>) -> Poll<Error> {
        poll_broken(self.broken.as_ref(), &mut self.outgoing.waker, cx)
    }

    /// Nothing more will happen on it.
    pub(super) fn has_ended(&self) -> bool {
        self.broken.is_some() || self.incoming.has_ended && self.outgoing.end == End::Sent
    }
}

impl Incoming {
    /// Keeps `data` to be read. Small pieces are put together, or a window full of them would take
    /// many times its size.
    pub(super) fn push(&mut self, data: Bytes) {
        if let Some(last) = self.data.back_mut()
            && last.len() + data.len() <= GATHERED_BYTES_MAX
        {
            let gathered = std::mem::take(last).try_into_mut();
            let mut gathered = gathered.unwrap_or_else(|shared| shared[..].into());
            gathered.extend_from_slice(&data);
            *last = gathered.freeze();
            return;
        }
        self.data.push_back(data);
    }

    /// Forgets what was not read, and returns how much that was.
    pub(super) fn forget(&mut self) -> usize {
        self.interims.clear();
        self.trailers = None;
        self.data.drain(..).map(|data| data.len()).sum()
    }
}

impl Outgoing {
    /// Whether the end goes out with what goes out now; then that is noted.
    pub(super) fn takes_end_along(&mut self) -> bool {
        let is_last = self.end == End::Queued && self.backlog.is_empty() && self.trailers.is_none();
        if is_last {
            self.end = End::Sent;
        }
        is_last
    }

    /// Has its stream, at `key`, wait for room that all share.
    pub(super) fn wait_in(&mut self, queue: &mut VecDeque<usize>, key: usize) {
        if !std::mem::replace(&mut self.is_queued, true) {
            queue.push_back(key);
        }
    }
}

fn poll_broken(broken: Option<&Error>, waker: &mut Option<Waker>, cx: &Context<'_>) -> Poll<Error> {
    if let Some(error) = broken {
        return Poll::Ready(error.clone());
    }
    keep(waker, cx.waker());
    Poll::Pending
}

/// Wakes the task that waits, if one does.
pub(super) fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// Keeps `waker` for the task that asks now.
pub(super) fn keep(waker: &mut Option<Waker>, new: &Waker) {
    match waker {
        Some(kept) => kept.clone_from(new),
        None => *waker = Some(new.clone()),
    }
}

const GATHERED_BYTES_MAX: usize = 4_096;
