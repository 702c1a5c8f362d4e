//! The handles on a stream, used as a task would: polled again when they were woken.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, Response};
use io_tokio::http2::{Awaited, Error, Head, Receiving, Responder, Sending};

use super::pipe::Flag;

/// A stream of which at least one handle is left.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    /// Nothing more is to be read.
    is_read: bool,
    reads: Task,
    room: Task,
}

/// What reads.
#[derive(Debug)]
pub(super) enum Reader {
    Awaited(Awaited),
    Receiving(Receiving),
    Gone,
}

/// What writes.
#[derive(Debug)]
pub(super) enum Writer {
    Responder(Responder),
    Sending(Sending),
    Gone,
}

/// Somebody who may wait.
#[derive(Debug)]
struct Task {
    flag: Arc<Flag>,
    waits: bool,
}

impl Task {
    fn new() -> Self {
        Self { flag: Flag::new(), waits: false }
    }

    /// # Panics
    ///
    /// There is something now, and nobody has said so: a find.
    fn poll<T>(&mut self, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Option<T> {
        if self.flag.take() {
            self.waits = false;
        }
        let waker = Waker::from(Arc::clone(&self.flag));
        match poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => {
                assert!(!self.waits, "a handle waits for what is there");
                Some(output)
            }
            Poll::Pending => {
                self.waits = true;
                None
            }
        }
    }
}

impl Held {
    pub(super) fn new(reader: Reader, writer: Writer) -> Self {
        Self { reader, writer, is_read: false, reads: Task::new(), room: Task::new() }
    }

    pub(super) const fn is_gone(&self) -> bool {
        matches!(self.reader, Reader::Gone) && matches!(self.writer, Writer::Gone)
    }

    /// Reads once; the bytes of what came, or `None` if nothing ever will.
    pub(super) fn read(&mut self) -> Poll<Option<usize>> {
        if self.is_read {
            return Poll::Ready(None);
        }
        let polled = match &mut self.reader {
            Reader::Awaited(awaited) => {
                let head = self.reads.poll(|cx| awaited.poll_head(cx));
                match head {
                    Some(Ok(Head::Final(response))) => {
                        self.reader = Reader::Receiving(response.into_body());
                        Some(Some(0))
                    }
                    Some(Ok(Head::Interim(head))) => {
                        assert!(head.status().is_informational());
                        Some(Some(0))
                    }
                    Some(Err(_)) => Some(None),
                    None => None,
                }
            }
            Reader::Receiving(receiving) => {
                let data = self.reads.poll(|cx| receiving.poll_data(cx));
                data.map(|data| match data {
                    Some(Ok(data)) => Some(data.len()),
                    Some(Err(_)) => None,
                    None => {
                        let trailers = self.reads.poll(|cx| receiving.poll_trailers(cx));
                        trailers.expect("no data, so trailers or none").expect("fine till now");
                        assert!(receiving.is_end_stream(), "all was read");
                        None
                    }
                })
            }
            Reader::Gone => Some(None),
        };
        self.is_read |= polled == Some(None);
        polled.map_or(Poll::Pending, Poll::Ready)
    }

    /// How many bytes may be sent, if the stream is asked.
    pub(super) fn room(&mut self) -> Option<Result<usize, Error>> {
        let Writer::Sending(sending) = &mut self.writer else { return None };
        let room = self.room.poll(|cx| sending.poll_room(cx))?;
        assert!(room.as_ref().is_ok_and(|room| *room > 0) || room.is_err(), "room for nothing");
        Some(room)
    }

    /// Whether it has broken.
    pub(super) fn broke(&mut self) -> bool {
        // The waker of the one who waits for room as well: it may not be replaced by another.
        let waker = Waker::from(Arc::clone(&self.room.flag));
        let cx = &mut Context::from_waker(&waker);
        match &mut self.writer {
            Writer::Responder(responder) => responder.poll_broken(cx).is_ready(),
            Writer::Sending(sending) => sending.poll_broken(cx).is_ready(),
            Writer::Gone => false,
        }
    }

    pub(super) fn interim(&mut self, head: &Response<()>) -> bool {
        let Writer::Responder(responder) = &mut self.writer else { return false };
        responder.send_interim(head).is_ok()
    }

    pub(super) fn respond(&mut self, head: &Response<()>, ends: bool) -> bool {
        match std::mem::replace(&mut self.writer, Writer::Gone) {
            Writer::Responder(responder) => {
                let sending = responder.send_response(head, ends);
                let was_sent = sending.is_ok();
                self.writer = sending.map_or(Writer::Gone, Writer::Sending);
                was_sent
            }
            other @ (Writer::Sending(_) | Writer::Gone) => {
                self.writer = other;
                false
            }
        }
    }

    pub(super) fn send(&mut self, bytes: usize, ends: bool) -> bool {
        let Writer::Sending(sending) = &mut self.writer else { return false };
        sending.send_data(Bytes::from(vec![b's'; bytes]), ends).is_ok()
    }

    pub(super) fn send_trailers(&mut self, trailers: HeaderMap) -> bool {
        let Writer::Sending(sending) = &mut self.writer else { return false };
        sending.send_trailers(trailers).is_ok()
    }

    pub(super) fn reset(&mut self, reason: u8) {
        let reason = u32::from(reason).into();
        match &mut self.writer {
            Writer::Responder(responder) => responder.send_reset(reason),
            Writer::Sending(sending) => sending.send_reset(reason),
            Writer::Gone => {}
        }
    }

    /// Its connection is over, and so must it be.
    ///
    /// # Panics
    ///
    /// It is not: a find.
    pub(super) fn finish(&mut self) {
        loop {
            match self.read() {
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) => break,
                Poll::Pending => panic!("waits to read from a connection that is over"),
            }
        }
        let broke = self.broke();
        let can_send = self.send(0, false);
        assert!(!can_send, "can send on a connection that is over");
        let is_responder = matches!(self.writer, Writer::Responder(_));
        assert!(broke || !is_responder, "waits for a connection that is over");
    }
}
