//! What a connection sends: heads when they are said, data as far as the peer's windows allow.

use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::Reason;
use http::{HeaderMap, Method, Request, Response, StatusCode};

use super::frame::{self, FrameHead};
use super::head::{write_request, write_response, write_trailers};
use super::hpack::Encoder;
use super::state::State;
use super::stream::{End, Stream, wake};
use super::{By, Error};

impl State {
    /// Opens a stream, at once or when the peer has room for it.
    pub(super) fn open(&mut self, request: &Request<()>, ends: bool) -> Result<usize, Error> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        if self.is_told_to_leave {
            return Err(Error::GoAway { reason: Reason::NO_ERROR, by: By::Peer });
        }
        if self.last_id >= frame::ID_MAX - 2 {
            return Err(Error::Misuse("no stream id is left"));
        }
        let mut stream = Stream::new(0, self.config.stream_window, self.peer.window);
        stream.handles = 2;
        stream.incoming.is_headless = request.method() == Method::HEAD;
        if ends {
            stream.outgoing.end = End::Queued;
        }
        let key = self.streams.insert(stream);
        if self.waiting.is_empty() && self.open.len() < self.peer.streams {
            self.begin(key, request);
        } else {
            self.streams[key].opens_with = Some(Box::new(request.clone()));
            self.waiting.push_back(key);
        }
        self.wake_driver();
        Ok(key)
    }

    fn begin(&mut self, key: usize, request: &Request<()>) {
        let id = if self.last_id == 0 { 1 } else { self.last_id + 2 };
        self.last_id = id;
        self.open.insert(id, key);
        let stream = &mut self.streams[key];
        (stream.id, stream.is_counted) = (id, true);
        let ends = stream.outgoing.takes_end_along();
        self.put_head(id, ends, |encoder, to| write_request(request, encoder, to));
        self.send_backlog(key);
    }

    /// Begins those that wait, as far as the peer has room.
    pub(super) fn begin_waiting(&mut self) {
        while !self.is_told_to_leave
            && self.open.len() < self.peer.streams
            && let Some(key) = self.waiting.pop_front()
        {
            let request = self.streams[key].opens_with.take().unwrap_or_default();
            self.begin(key, &request);
            wake(&mut self.streams[key].outgoing.waker);
        }
    }

    /// Takes what the peer asks for.
    pub(super) fn accept(&mut self) -> Option<(usize, Request<()>)> {
        let (key, request) = self.arrived.pop_front()?;
        self.hasty_resets = self.hasty_resets.saturating_sub(1);
        self.streams[key].handles = 2;
        Some((key, request))
    }

    pub(super) fn send_interim(&mut self, key: usize, head: &Response<()>) -> Result<(), Error> {
        let id = self.sendable(key)?;
        self.put_head(id, false, |encoder, to| write_response(head, encoder, to));
        self.wake_driver();
        Ok(())
    }

    pub(super) fn send_response(
        &mut self,
        key: usize,
        head: &Response<()>,
        ends: bool,
    ) -> Result<(), Error> {
        let id = self.sendable(key)?;
        self.put_head(id, ends, |encoder, to| write_response(head, encoder, to));
        if ends {
            self.streams[key].outgoing.end = End::Sent;
            self.settle(key);
        }
        self.wake_driver();
        Ok(())
    }

    /// Sends `data` as soon as the peer's windows allow.
    pub(super) fn send_data(&mut self, key: usize, data: Bytes, ends: bool) -> Result<(), Error> {
        self.sendable(key)?;
        let outgoing = &mut self.streams[key].outgoing;
        if !data.is_empty() {
            outgoing.backlog.push_back(data);
        }
        if ends {
            outgoing.end = End::Queued;
        }
        self.send_backlog(key);
        self.wake_driver();
        Ok(())
    }

    pub(super) fn send_trailers(&mut self, key: usize, trailers: HeaderMap) -> Result<(), Error> {
        self.sendable(key)?;
        let outgoing = &mut self.streams[key].outgoing;
        outgoing.trailers = Some(Box::new(trailers));
        outgoing.end = End::Queued;
        self.send_backlog(key);
        self.wake_driver();
        Ok(())
    }

    fn sendable(&self, key: usize) -> Result<u32, Error> {
        let stream = &self.streams[key];
        match &stream.broken {
            Some(error) => Err(error.clone()),
            None if stream.outgoing.end != End::Open => Err(Error::Misuse("the end was sent")),
            None => Ok(stream.id),
        }
    }

    /// How many bytes may be sent now, at least 1.
    pub(super) fn poll_room(&mut self, key: usize, cx: &Context<'_>) -> Poll<Result<usize, Error>> {
        let is_full = self.out.remaining() + self.being_written >= OUT_BYTES_MAX;
        let stream = &mut self.streams[key];
        let outgoing = &mut stream.outgoing;
        let is_next = stream.id != 0 && outgoing.backlog.is_empty() && outgoing.window > 0;
        if stream.broken.is_none() && is_next {
            let room = room(outgoing.window, self.send_window);
            if room > 0 && !is_full {
                return Poll::Ready(Ok(room.min(self.peer.frame_bytes)));
            }
            outgoing.wait_in(&mut self.queue, key);
        }
        stream.poll_broken(cx).map(Err)
    }

    /// Sends what the windows have room for.
    pub(super) fn send_backlog(&mut self, key: usize) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let (id, outgoing) = (stream.id, &mut stream.outgoing);
        if id == 0 || stream.broken.is_some() {
            return;
        }
        while let Some(piece) = outgoing.backlog.front_mut() {
            let room = room(outgoing.window, self.send_window);
            if room == 0 {
                if outgoing.window > 0 {
                    outgoing.wait_in(&mut self.queue, key);
                }
                return;
            }
            let part = piece.split_to(room.min(piece.len()).min(self.peer.frame_bytes));
            if piece.is_empty() {
                outgoing.backlog.pop_front();
            }
            let sent = i64::try_from(part.len()).unwrap_or(i64::MAX);
            outgoing.window -= sent;
            self.send_window -= sent;
            let ends = outgoing.takes_end_along();
            self.out.put_data(id, part, ends);
        }
        if outgoing.end == End::Queued {
            outgoing.end = End::Sent;
            match outgoing.trailers.take() {
                Some(trailers) => {
                    self.put_head(id, true, |encoder, to| write_trailers(&trailers, encoder, to));
                }
                None => self.out.put_data(id, Bytes::new(), true),
            }
        }
        self.settle(key);
        // The rest of a request may still be on its way.
        let is_left = |stream: &Stream| stream.handles == 0 && stream.outgoing.end == End::Sent;
        if self.streams.get(key).is_some_and(is_left) {
            self.leave_alone(key);
        }
    }

    /// Lets those go on that wait for room which all streams share.
    pub(super) fn go_on(&mut self) {
        for _ in 0..self.queue.len() {
            let Some(key) = self.queue.pop_front() else { return };
            let outgoing = &mut self.streams[key].outgoing;
            outgoing.is_queued = false;
            wake(&mut outgoing.waker);
            self.send_backlog(key);
        }
    }

    /// Answers a request whose head is longer than we allow.
    pub(super) fn refuse_long(&mut self, id: u32, ends: bool) {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        self.put_head(id, true, |encoder, to| write_response(&response, encoder, to));
        if !ends {
            self.put_reset(id, Reason::NO_ERROR);
        }
    }

    fn put_head(
        &mut self,
        stream: u32,
        ends: bool,
        write: impl FnOnce(&mut Encoder, &mut BytesMut),
    ) {
        let tail = &mut self.out.tail;
        let start = tail.len();
        tail.put_bytes(0, FrameHead::BYTES);
        write(&mut self.encoder, tail);
        let mut flags = if ends { frame::END_STREAM } else { 0 };
        let len = tail.len() - start - FrameHead::BYTES;
        if len <= self.peer.frame_bytes {
            flags |= frame::END_HEADERS;
            let head = FrameHead { len, kind: frame::HEADERS, flags, stream };
            tail[start..start + FrameHead::BYTES].copy_from_slice(&head.bytes());
            return;
        }
        let mut block = tail.split_off(start);
        block.advance(FrameHead::BYTES);
        let mut kind = frame::HEADERS;
        while !block.is_empty() {
            let piece = block.split_to(block.len().min(self.peer.frame_bytes));
            if block.is_empty() {
                flags |= frame::END_HEADERS;
            }
            self.put_frame(kind, flags, stream, &piece);
            (kind, flags) = (frame::CONTINUATION, 0);
        }
    }
}

/// How many bytes two windows have room for.
fn room(one: i64, other: i64) -> usize {
    usize::try_from(one.min(other)).unwrap_or(0)
}

/// How much may wait to be written before streams wait with their data.
pub(super) const OUT_BYTES_MAX: usize = 256 << 10;
