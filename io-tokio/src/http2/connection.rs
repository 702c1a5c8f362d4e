//! The bytes of a connection: what comes is taken apart, what is put out is written.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use h2::Reason;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::yield_now;
use tokio_util::io::{poll_read_buf, poll_write_buf};

use super::frame::{self, FrameHead, unpadded};
use super::head::Head;
use super::hpack::Decoder;
use super::outbox::Outbox;
use super::send::OUT_BYTES_MAX;
use super::state::State;
use super::stream::keep;
use super::{By, Error, Shared, Side};
use crate::net::Io;

/// Drives a connection.
#[derive(Debug)]
pub(super) struct Driver<S> {
    io: S,
    shared: Arc<Shared>,
    read: Reading,
    writing: Outbox,
    /// All that was written has left, as far as we can tell.
    is_flushed: bool,
    /// Nothing is read until answers that wait are being written.
    is_held_back: bool,
    /// We have said all, and wait for the peer to close.
    is_shut: bool,
    turn: Turn,
    end: Option<Result<(), Error>>,
}

/// When a connection with many streams is driven: after all that its thread can do at once, so that
/// what these say goes out in one write.
///
/// On a runtime of one thread that comes by itself, for its tasks wait in line. One of several runs
/// first what was woken last, which is the connection, after each of its streams.
#[derive(Debug)]
enum Turn {
    /// As soon as it is woken.
    AtOnce,
    /// When it is its turn.
    Next,
    /// It is.
    Now,
}

impl Turn {
    fn new() -> Self {
        let runs_last_first = Handle::try_current()
            .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
        if runs_last_first { Self::Next } else { Self::AtOnce }
    }

    fn poll(&mut self, cx: &mut Context<'_>, shared: &Shared) -> Poll<()> {
        match self {
            Self::AtOnce => Poll::Ready(()),
            // To wait for so few costs more than it brings: it may wake another thread.
            Self::Next if shared.lock().open.len() < CROWD => Poll::Ready(()),
            Self::Next => {
                *self = Self::Now;
                // It wakes the task when all else has had its turn, though it is dropped here.
                pin!(yield_now()).poll(cx)
            }
            Self::Now => {
                *self = Self::Next;
                Poll::Ready(())
            }
        }
    }
}

/// What has come and is not taken apart.
#[derive(Debug)]
struct Reading {
    buffer: BytesMut,
    /// The last read has filled all the room there was: more is on its way.
    is_bulk: bool,
    decoder: Decoder,
    head_bytes_max: usize,
    frame_bytes_max: usize,
    /// How much of the preface is yet to come.
    preface: &'static [u8],
    /// The peer's SETTINGS have come.
    is_begun: bool,
    block: Option<Block>,
}

/// A head that comes in several frames.
#[derive(Debug)]
struct Block {
    stream: u32,
    ends: bool,
    bytes: BytesMut,
    frames: usize,
}

impl<S: Io> Driver<S> {
    pub(super) fn new(io: S, shared: Arc<Shared>) -> Self {
        let State { config, side, .. } = *shared.lock();
        let read = Reading {
            buffer: BytesMut::new(),
            is_bulk: false,
            decoder: Decoder::default(),
            head_bytes_max: config.head_bytes as usize,
            frame_bytes_max: config.frame_bytes as usize,
            preface: if side == Side::Server { frame::PREFACE } else { b"" },
            is_begun: false,
            block: None,
        };
        let writing = Outbox::default();
        Self {
            io,
            shared,
            read,
            writing,
            is_flushed: true,
            is_held_back: false,
            is_shut: false,
            turn: Turn::new(),
            end: None,
        }
    }

    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Reads and writes as far as that goes; ready when the connection is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Some(end) = &self.end {
            return Poll::Ready(end.clone());
        }
        ready!(self.turn.poll(cx, &self.shared));
        loop {
            let read = self.poll_read(cx);
            if self.is_shut {
                // What is still on its way is not looked at. If it met a closed socket, the peer
                // could be reset before it has heard the last words.
                return read.map(|_| self.end(Ok(())));
            }
            if let Poll::Ready(end) = read {
                // Last words, as far as they go at once.
                drop(self.poll_write(cx));
                drop(Pin::new(&mut self.io).poll_shutdown(cx));
                return Poll::Ready(self.end(end));
            }
            let is_written = match self.poll_write(cx) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(error)) => {
                    // What the peer has said before it went has still to be heard.
                    let end = match self.poll_read(cx) {
                        Poll::Ready(end) => end,
                        Poll::Pending => Err(error.into()),
                    };
                    return Poll::Ready(self.end(end));
                }
                Poll::Pending => false,
            };
            let mut state = self.shared.lock();
            if state.is_done() {
                // A client that has its answers may just go; one that has closed has given up.
                let has_answers = state.side == Side::Client && state.ended.is_none();
                drop(state);
                drop(ready!(Pin::new(&mut self.io).poll_shutdown(cx)));
                if !has_answers {
                    self.is_shut = true;
                    continue;
                }
                return Poll::Ready(self.end(Ok(())));
            }
            let is_let_go = self.is_held_back && state.control_bytes <= CONTROL_BYTES_MAX;
            if is_let_go || is_written && !state.out.is_empty() {
                // The latter was put out meanwhile, by others.
                continue;
            }
            keep(&mut state.driver, cx.waker());
            return Poll::Pending;
        }
    }

    fn end(&mut self, end: Result<(), Error>) -> Result<(), Error> {
        self.end = Some(end.clone());
        let mut state = self.shared.lock();
        match &end {
            Ok(()) => state.end(&Error::closed()),
            Err(error) => state.end(error),
        }
        end
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        for _ in 0..READS_PER_TURN {
            {
                let mut state = self.shared.lock();
                state.driver = None;
                // Who sends what has to be answered, and does not read the answers, waits.
                self.is_held_back = state.control_bytes > CONTROL_BYTES_MAX;
                if self.is_held_back {
                    return Poll::Pending;
                }
            }
            self.read.make_room();
            let polled = poll_read_buf(Pin::new(&mut self.io), cx, &mut self.read.buffer);
            let mut state = self.shared.lock();
            match polled {
                Poll::Ready(Ok(0)) => {
                    let is_clean = state.open.is_empty() && self.read.is_between_frames();
                    return Poll::Ready(if is_clean {
                        Ok(())
                    } else {
                        Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
                    });
                }
                // It could be answered no more.
                Poll::Ready(Ok(_)) if self.is_shut => self.read.buffer.clear(),
                Poll::Ready(Ok(_)) => {
                    self.read.is_bulk = self.read.buffer.len() == self.read.buffer.capacity();
                    if let Err(reason) = self.read.take_apart(&mut state) {
                        let error = Error::GoAway { reason, by: By::Us };
                        state.end(&error);
                        state.put_goaway(reason);
                        return Poll::Ready(Err(error));
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => {
                    if self.read.buffer.is_empty() {
                        // Idle connections are many.
                        self.read.buffer = BytesMut::new();
                    }
                    return Poll::Pending;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ready when all of it is written.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut state = self.shared.lock();
            if self.writing.is_empty() {
                self.writing = std::mem::take(&mut state.out);
                state.control_bytes = 0;
            }
            let left = self.writing.remaining();
            state.being_written = left;
            if left < OUT_BYTES_MAX / 2 && !state.queue.is_empty() && state.send_window > 0 {
                state.go_on();
            }
            drop(state);
            if left == 0 {
                break;
            }
            let io = Pin::new(&mut self.io);
            match poll_write_buf(io, cx, &mut self.writing) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                Poll::Ready(Ok(_)) => self.is_flushed = false,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if !self.is_flushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S> Drop for Driver<S> {
    fn drop(&mut self) {
        self.shared.lock().end(&Error::closed());
    }
}

impl Reading {
    /// For a frame that has begun to come, or for several small ones.
    fn make_room(&mut self) {
        let wanted = FrameHead::read(&self.buffer)
            .map_or(0, |head| head.len.min(self.frame_bytes_max) + FrameHead::BYTES);
        let more = wanted.saturating_sub(self.buffer.len()).max(READ_BYTES_MIN);
        if self.buffer.capacity() - self.buffer.len() < more {
            self.buffer.reserve(more.max(self.room()));
        }
    }

    /// How much room is made for what comes.
    const fn room(&self) -> usize {
        if self.is_bulk { READ_BYTES_BULK } else { READ_BYTES }
    }

    /// Whether nothing has begun that has not come to its end.
    fn is_between_frames(&self) -> bool {
        self.preface.is_empty() && self.buffer.is_empty() && self.block.is_none()
    }

    /// Gives all whole frames to `state`.
    fn take_apart(&mut self, state: &mut State) -> Result<(), Reason> {
        if !self.preface.is_empty() {
            let len = self.preface.len().min(self.buffer.len());
            let (came, rest) = self.preface.split_at(len);
            if self.buffer[..len] != *came {
                return Err(Reason::PROTOCOL_ERROR);
            }
            self.preface = rest;
            self.buffer.advance(len);
        }
        while let Some(head) = FrameHead::read(&self.buffer) {
            if head.len > self.frame_bytes_max {
                return Err(Reason::FRAME_SIZE_ERROR);
            }
            let end = FrameHead::BYTES + head.len;
            if self.buffer.len() < end {
                break;
            }
            let is_settings = head.kind == frame::SETTINGS && !head.has(frame::ACK);
            if !self.is_begun && !is_settings {
                return Err(Reason::PROTOCOL_ERROR);
            }
            self.is_begun = true;
            tracing::trace!(side = ?state.side, ?head, "received");
            self.take_frame(head, end, state)?;
        }
        Ok(())
    }

    fn take_frame(&mut self, head: FrameHead, end: usize, state: &mut State) -> Result<(), Reason> {
        let is_next = head.kind == frame::CONTINUATION;
        if is_next != self.block.as_ref().is_some_and(|block| block.stream == head.stream)
            || !is_next && self.block.is_some()
        {
            return Err(Reason::PROTOCOL_ERROR);
        }
        let payload = FrameHead::BYTES..end;
        match head.kind {
            frame::DATA => {
                if head.stream == 0 {
                    return Err(Reason::PROTOCOL_ERROR);
                }
                let within = unpadded(head, &self.buffer[payload]).ok_or(Reason::PROTOCOL_ERROR)?;
                let within = within.start + FrameHead::BYTES..within.end + FrameHead::BYTES;
                // Or what is read slowly would keep buffers in which all else was for others.
                let data = if within.len() <= self.room() / 16 {
                    let data = Bytes::copy_from_slice(&self.buffer[within]);
                    self.buffer.advance(end);
                    data
                } else {
                    let mut data = self.buffer.split_to(end);
                    data.truncate(within.end);
                    data.advance(within.start);
                    data.freeze()
                };
                state.on_data(head.stream, data, head.len, head.has(frame::END_STREAM))
            }
            frame::HEADERS => self.take_headers(head, end, state),
            frame::CONTINUATION => self.take_continuation(head, end, state),
            _ => {
                let done = state.on_control(head, &self.buffer[payload]);
                self.buffer.advance(end);
                done
            }
        }
    }

    fn take_headers(
        &mut self,
        head: FrameHead,
        end: usize,
        state: &mut State,
    ) -> Result<(), Reason> {
        let payload = &self.buffer[FrameHead::BYTES..end];
        let within = unpadded(head, payload).ok_or(Reason::PROTOCOL_ERROR)?;
        if head.stream == 0 {
            return Err(Reason::PROTOCOL_ERROR);
        }
        let priority = if head.has(frame::WITH_PRIORITY) { 5 } else { 0 };
        let within = within.start + priority..within.end;
        let bytes = payload.get(within).ok_or(Reason::FRAME_SIZE_ERROR)?;
        let ends = head.has(frame::END_STREAM);
        if !head.has(frame::END_HEADERS) {
            let bytes = bytes.into();
            self.block = Some(Block { stream: head.stream, ends, bytes, frames: 1 });
            self.buffer.advance(end);
            return Ok(());
        }
        let block = Bytes::copy_from_slice(bytes);
        self.buffer.advance(end);
        self.take_head(head.stream, ends, &block, state)
    }

    fn take_continuation(
        &mut self,
        head: FrameHead,
        end: usize,
        state: &mut State,
    ) -> Result<(), Reason> {
        let Some(mut block) = self.block.take() else { return Err(Reason::PROTOCOL_ERROR) };
        block.bytes.extend_from_slice(&self.buffer[FrameHead::BYTES..end]);
        block.frames += 1;
        self.buffer.advance(end);
        // One that is too long for its stream is read all the same, for the sake of the others,
        // but not without end.
        if block.bytes.len() > 4 * self.head_bytes_max || block.frames > BLOCK_FRAMES_MAX {
            return Err(Reason::ENHANCE_YOUR_CALM);
        }
        if head.has(frame::END_HEADERS) {
            return self.take_head(block.stream, block.ends, &block.bytes.freeze(), state);
        }
        self.block = Some(block);
        Ok(())
    }

    fn take_head(
        &mut self,
        stream: u32,
        ends: bool,
        block: &Bytes,
        state: &mut State,
    ) -> Result<(), Reason> {
        let head = Head::read(&mut self.decoder, block, self.head_bytes_max);
        state.on_head(stream, head.map_err(|_| Reason::COMPRESSION_ERROR)?, ends)
    }
}

/// What is read at a time: at least, usually, and if there is more of it.
const READ_BYTES_MIN: usize = 4 << 10;
const READ_BYTES: usize = 16 << 10;
const READ_BYTES_BULK: usize = 128 << 10;
const READS_PER_TURN: usize = 16;
/// How many bytes of answers to frames without a stream may wait for a peer that does not read.
const CONTROL_BYTES_MAX: usize = 256 << 10;
const BLOCK_FRAMES_MAX: usize = 64;
/// How many streams are many.
const CROWD: usize = 16;
