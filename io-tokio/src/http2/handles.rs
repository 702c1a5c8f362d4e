//! What tasks hold of a connection and its streams.
//!
//! A stream that is not held any more and has not ended is reset: whoever lets go has given up.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Request, Response};

use super::receive::PING;
use super::stream::keep;
use super::{Error, Shared, frame};

/// A part in a stream.
#[derive(Debug)]
pub(super) struct Handle {
    shared: Arc<Shared>,
    key: usize,
    reads: bool,
}

impl Handle {
    /// One that reads and one that writes; the stream knows of them already.
    pub(super) fn pair(shared: &Arc<Shared>, key: usize) -> (Self, Self) {
        let handle = |reads| Self { shared: Arc::clone(shared), key, reads };
        (handle(true), handle(false))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.lock().let_go(self.key, self.reads);
    }
}

/// Opens streams.
#[derive(Debug)]
pub struct Opener(Arc<Shared>);

impl Opener {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        shared.lock().openers += 1;
        Self(shared)
    }

    /// Opens a stream for `request`, or has it wait until the peer has room for one more.
    ///
    /// # Errors
    ///
    /// The connection is over, or the peer wants no more streams. Nothing was sent.
    pub fn open(&self, request: &Request<()>, is_whole: bool) -> Result<(Awaited, Sending), Error> {
        let key = self.0.lock().open(request, is_whole)?;
        let (reader, writer) = Handle::pair(&self.0, key);
        Ok((Awaited(Some(reader)), Sending(writer)))
    }
}

impl Clone for Opener {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.0))
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.openers -= 1;
        if state.openers == 0 {
            state.wake_driver();
        }
    }
}

/// The response to a request of ours, while it is waited for.
#[derive(Debug)]
pub struct Awaited(Option<Handle>);

/// A head that has come.
#[derive(Debug)]
pub enum Head {
    /// 1xx: there will be another.
    Interim(Response<()>),
    /// The response itself.
    Final(Response<Receiving>),
}

impl Awaited {
    /// The next head. Not to be polled after the final one.
    ///
    /// # Errors
    ///
    /// The stream ended without one.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, Error>> {
        let Some(handle) = &self.0 else { return Poll::Pending };
        let mut state = handle.shared.lock();
        let stream = &mut state.streams[handle.key];
        if let Some(interim) = stream.incoming.interims.pop_front() {
            return Poll::Ready(Ok(Head::Interim(interim)));
        }
        let Some(response) = stream.incoming.head.take() else {
            return stream.poll_cut(cx).map(Err);
        };
        drop(state);
        let Some(handle) = self.0.take() else { return Poll::Pending };
        Poll::Ready(Ok(Head::Final(response.map(|()| Receiving(handle)))))
    }

    /// Waits for the response, whatever comes before it.
    ///
    /// # Errors
    ///
    /// The stream ended without one.
    pub async fn response(mut self) -> Result<Response<Receiving>, Error> {
        loop {
            if let Head::Final(response) = poll_fn(|cx| self.poll_head(cx)).await? {
                return Ok(response);
            }
        }
    }
}

/// The body that the peer sends.
#[derive(Debug)]
pub struct Receiving(Handle);

impl Receiving {
    pub(super) const fn new(reader: Handle) -> Self {
        Self(reader)
    }

    /// Whether all of it has been read.
    #[must_use]
    pub fn is_end_stream(&self) -> bool {
        let state = self.0.shared.lock();
        let incoming = &state.streams[self.0.key].incoming;
        incoming.has_ended && incoming.data.is_empty() && incoming.trailers.is_none()
    }

    /// The next piece, which lets the peer send as much again; `None` when there are no more.
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let mut state = self.0.shared.lock();
        let stream = &mut state.streams[self.0.key];
        if let Some(data) = stream.incoming.data.pop_front() {
            state.free(self.0.key, data.len());
            return Poll::Ready(Some(Ok(data)));
        }
        if stream.incoming.has_ended {
            return Poll::Ready(None);
        }
        stream.poll_cut(cx).map(|error| Some(Err(error)))
    }

    /// As [`poll_data`](Self::poll_data).
    pub async fn data(&mut self) -> Option<Result<Bytes, Error>> {
        poll_fn(|cx| self.poll_data(cx)).await
    }

    /// The trailers, if there are any, after the last piece.
    pub fn poll_trailers(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<HeaderMap>, Error>> {
        let mut state = self.0.shared.lock();
        let stream = &mut state.streams[self.0.key];
        if stream.incoming.has_ended {
            return Poll::Ready(Ok(stream.incoming.trailers.take().map(|trailers| *trailers)));
        }
        stream.poll_cut(cx).map(Err)
    }
}

/// The body that we send.
#[derive(Debug)]
pub struct Sending(Handle);

impl Sending {
    /// How many bytes can be sent now, at least 1. Who sends more than that fills memory.
    ///
    /// # Errors
    ///
    /// The stream broke.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Error>> {
        self.0.shared.lock().poll_room(self.0.key, cx)
    }

    /// Sends `data`, as soon as there is room for it, and that it was the last if it `ends`.
    ///
    /// # Errors
    ///
    /// The stream broke, or its end was sent before.
    pub fn send_data(&mut self, data: Bytes, ends: bool) -> Result<(), Error> {
        self.0.shared.lock().send_data(self.0.key, data, ends)
    }

    /// Ends the body with trailers.
    ///
    /// # Errors
    ///
    /// As for data.
    pub fn send_trailers(&mut self, trailers: HeaderMap) -> Result<(), Error> {
        self.0.shared.lock().send_trailers(self.0.key, trailers)
    }

    /// Ends the stream before its time, in both directions.
    pub fn send_reset(&mut self, reason: Reason) {
        self.0.shared.lock().reset(self.0.key, reason);
    }

    /// Ready when the stream has broken.
    pub fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        self.0.shared.lock().streams[self.0.key].poll_broken(cx)
    }
}

/// The answer to a request of the peer's.
#[derive(Debug)]
pub struct Responder(Handle);

impl Responder {
    pub(super) const fn new(writer: Handle) -> Self {
        Self(writer)
    }

    /// Sends a 1xx head.
    ///
    /// # Errors
    ///
    /// The stream broke.
    pub fn send_interim(&mut self, head: &Response<()>) -> Result<(), Error> {
        self.0.shared.lock().send_interim(self.0.key, head)
    }

    /// Sends the head of the response, which is all of it if it `ends`.
    ///
    /// # Errors
    ///
    /// The stream broke.
    pub fn send_response(self, head: &Response<()>, ends: bool) -> Result<Sending, Error> {
        self.0.shared.lock().send_response(self.0.key, head, ends)?;
        Ok(Sending(self.0))
    }

    /// Ends the stream before its time, in both directions.
    pub fn send_reset(&mut self, reason: Reason) {
        self.0.shared.lock().reset(self.0.key, reason);
    }

    /// Ready when the stream has broken.
    pub fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        self.0.shared.lock().streams[self.0.key].poll_broken(cx)
    }
}

/// Asks the peer for a sign of life.
#[derive(Debug)]
pub struct Pinger(Arc<Shared>);

impl Pinger {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Sends a ping, unless one is under way.
    pub fn send(&self) {
        let mut state = self.0.lock();
        if !state.ping.is_sent || state.ping.is_answered {
            (state.ping.is_sent, state.ping.is_answered) = (true, false);
            state.put(frame::PING, 0, 0, PING);
            state.wake_driver();
        }
    }

    /// Ready when the answer to a ping has come.
    ///
    /// # Errors
    ///
    /// The connection is over.
    pub fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut state = self.0.lock();
        if state.ping.is_answered {
            (state.ping.is_sent, state.ping.is_answered) = (false, false);
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = &state.ended {
            return Poll::Ready(Err(error.clone()));
        }
        keep(&mut state.ping.waker, cx.waker());
        Poll::Pending
    }

    /// Sends a ping and waits for the answer.
    ///
    /// # Errors
    ///
    /// The connection is over.
    pub async fn ping(&mut self) -> Result<(), Error> {
        self.send();
        poll_fn(|cx| self.poll_answer(cx)).await
    }
}
