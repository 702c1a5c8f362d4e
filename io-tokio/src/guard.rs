//! A client's connection on its way to hyper, with [`Walk`] between the two.
//!
//! A head that is refused never reaches hyper. In its place hyper is given a request of ours, the
//! last one on the connection, so that the refusal is an answer like any other: after those to
//! earlier requests, in the access log, and with a status that fits. Which request that is, the
//! service learns from [`Passage`].
//!
//! What a client sends before it is answered is held here and not given to hyper, which would stop
//! to read, and so not see that the client leaves.
//!
//! A connection that ends while its client still sends would be reset, and the client might never
//! see the answer. So its end waits for the client's, within bounds.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::admission::Place;
use crate::framing::{Fault, HeadLimits, Step, Walk};
use crate::patience::Activity;
use crate::request_head::BadHead;

/// What the two ends of a connection tell each other about its requests.
#[derive(Clone, Debug)]
pub(crate) struct Passage(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The connection's among all, whoever reads from it in the end.
    _place: Place,
    /// Which request stands for a refused one, and why it is refused.
    refusal: OnceLock<(u32, BadHead)>,
    switched: AtomicBool,
}

impl Passage {
    /// That of a connection which has `place` until it has closed.
    pub(crate) fn new(place: Place) -> Self {
        let (refusal, switched) = (OnceLock::new(), AtomicBool::new(false));
        Self(Arc::new(Shared { _place: place, refusal, switched }))
    }

    /// Why the request with this number, counted from 0, is refused, if it is.
    pub(crate) fn refusal(&self, number: u32) -> Option<BadHead> {
        self.0.refusal.get().filter(|(refused, _)| *refused == number).map(|(_, bad)| *bad)
    }

    /// What comes from now on is not HTTP.
    pub(crate) fn switch(&self) {
        self.0.switched.store(true, Ordering::Relaxed);
    }
}

/// The connection.
#[derive(Debug)]
pub(crate) struct Guarded<S> {
    io: S,
    walk: Walk,
    passage: Passage,
    activity: Activity,
    /// What came and was not given on.
    held: Vec<u8>,
    /// So many bytes of it may be given on.
    passes: usize,
    ended: Option<Ended>,
    linger: Option<Linger>,
}

#[derive(Clone, Copy, Debug)]
enum Ended {
    /// The client sends no more.
    Client,
    /// We want no more.
    Refused,
    /// We want no more, and it is to look like an error.
    Broken,
}

#[derive(Debug)]
struct Linger {
    bytes_left: usize,
    sleep: Pin<Box<Sleep>>,
}

impl<S: AsyncRead + Unpin> Guarded<S> {
    pub(crate) fn new(io: S, limits: HeadLimits, activity: Activity, passage: Passage) -> Self {
        let walk = Walk::new(limits);
        Self { io, walk, passage, activity, held: Vec::new(), passes: 0, ended: None, linger: None }
    }

    /// Gives on what may be given on.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = self.passes.min(buffer.remaining());
        buffer.put_slice(self.held.get(..count).unwrap_or_default());
        self.held.drain(..count);
        self.passes -= count;
        if self.held.is_empty() {
            // Idle connections are many.
            self.held = Vec::new();
        }
    }

    /// Looks at all that is held.
    fn judge(&mut self) {
        let step = self.walk.step(self.held.get(self.passes..).unwrap_or_default());
        self.passes += step.pass;
        self.heed(step);
    }

    fn heed(&mut self, step: Step) {
        match step.fault {
            None => {}
            Some(Fault::Body) => {
                self.held.truncate(self.passes);
                self.ended = Some(Ended::Broken);
            }
            Some(Fault::Head(bad)) => self.refuse(bad),
        }
    }

    fn refuse(&mut self, bad: BadHead) {
        if self.passage.0.refusal.set((self.walk.heads(), bad)).is_ok() {
            self.held.truncate(self.passes);
            self.held.extend_from_slice(STAND_IN);
            self.passes = self.held.len();
        }
        self.ended = Some(Ended::Refused);
    }

    /// Reads what most often has not to be held: bodies, and heads that come whole. Whether any of
    /// it was given on.
    fn poll_through(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        if read.is_empty() {
            self.ended = Some(Ended::Client);
            return Poll::Ready(Ok(false));
        }
        let step = self.walk.step(read);
        self.held.extend_from_slice(read.get(step.pass..).unwrap_or_default());
        buffer.set_filled(before + step.pass);
        self.heed(step);
        Poll::Ready(Ok(step.pass > 0))
    }

    /// Reads some more to hold.
    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [MaybeUninit::uninit(); READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut space);
        match ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer)) {
            Ok(()) if buffer.filled().is_empty() => self.ended = Some(Ended::Client),
            Ok(()) => self.held.extend_from_slice(buffer.filled()),
            Err(error) if error.kind() == io::ErrorKind::TimedOut && !self.held.is_empty() => {
                let status = StatusCode::REQUEST_TIMEOUT;
                self.refuse(BadHead { status, why: "the request head did not come in time" });
            }
            Err(error) => return Poll::Ready(Err(error)),
        }
        Poll::Ready(Ok(()))
    }

    /// Whether every message that has passed is answered, and so the next may.
    fn is_answered(&mut self) -> bool {
        let switched = self.passage.0.switched.load(Ordering::Relaxed);
        let answered = self.activity.begun() == self.walk.heads() && !self.activity.is_busy();
        if switched || answered {
            self.walk.go_on(switched);
        }
        switched || answered
    }

    /// Reads and forgets, until the client ends too or that takes too much.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(self.ended, Some(Ended::Client)) {
            return Poll::Ready(());
        }
        let Self { io, linger, .. } = self;
        let linger = linger.get_or_insert_with(|| Linger {
            bytes_left: LINGER_BYTES_MAX,
            sleep: Box::pin(tokio::time::sleep(LINGER_LIMIT)),
        });
        loop {
            let mut space = [MaybeUninit::uninit(); READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut space);
            match Pin::new(&mut *io).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    let left = linger.bytes_left.checked_sub(buffer.filled().len());
                    let Some(left) = left else { return Poll::Ready(()) };
                    linger.bytes_left = left;
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return linger.sleep.as_mut().poll(cx),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if this.passes > 0 {
                this.give(buffer);
                return Poll::Ready(Ok(()));
            }
            match this.ended {
                None => {}
                // To a half head as well.
                Some(Ended::Client) => return Poll::Ready(Ok(())),
                // It has been asked to close. Nothing wakes it, and nothing needs to.
                Some(Ended::Refused) => return Poll::Pending,
                Some(Ended::Broken) => {
                    let error = io::Error::new(io::ErrorKind::InvalidData, "broken chunks");
                    return Poll::Ready(Err(error));
                }
            }
            if this.walk.is_between() {
                if this.is_answered() {
                    this.judge();
                    continue;
                }
                // hyper asks again when the connection wakes it, which has nothing more to say.
                if !this.held.is_empty() {
                    this.activity.wake_when_done(cx);
                }
                // Read on, as long as there is room, for who has left shows in that alone.
                if this.held.len() >= HOLD_BYTES_MAX {
                    return Poll::Pending;
                }
            }
            if this.held.is_empty() {
                if ready!(this.poll_through(cx, buffer))? {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            ready!(this.poll_hold(cx))?;
            if this.ended.is_none() {
                this.judge();
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
        }
        self.poll_linger(cx).map(Ok)
    }
}

/// What hyper reads in place of a refused head.
const STAND_IN: &[u8] = b"- / HTTP/1.1\r\nconnection: close\r\n\r\n";
const READ_BYTES: usize = 8 << 10;
/// How much of what comes before the answer to what came before it is held.
const HOLD_BYTES_MAX: usize = 16 << 10;
/// How long a client may take to see that its connection ends.
const LINGER_LIMIT: Duration = Duration::from_secs(2);
/// How much it may send until then.
const LINGER_BYTES_MAX: usize = 16 << 20;
