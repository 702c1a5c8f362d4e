//! A request's body on its way from the client to an instance.
//!
//! It is sent by a task of its own, because the response may begin, and even end, before it is
//! through. Its beginning is kept for a while, so that it can be sent again when an instance gave
//! the request back. How far it is can be seen from outside, which is how a client that has fallen
//! silent is told from an app that takes its time.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::task::{JoinHandle, yield_now};

use crate::edge::Patience;
use crate::http2::{self, Awaited, Head, Receiving};
use crate::stream_body::{SendError, send_body};

/// How far a body is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    bytes: AtomicU64,
    /// The client owes the next byte.
    starved: AtomicBool,
}

impl Progress {
    /// That many more have been taken from the client.
    pub(crate) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes taken from the client.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// A client's body that remembers its beginning, so that it can be sent again when an instance
/// gave the request back.
#[derive(Debug)]
pub(crate) struct Upload {
    body: Incoming,
    /// What was taken from the client so far, unless that was too much.
    taken: Option<Vec<Piece>>,
    taken_bytes: usize,
    /// How many pieces of `taken` have been given out again.
    replayed: usize,
    /// The client has sent all of it.
    has_ended: bool,
    progress: Arc<Progress>,
}

/// A part of what was taken.
#[derive(Debug)]
enum Piece {
    Data(Bytes),
    /// Data that came in small pieces. Each of these would keep the buffer that it was read into,
    /// and a body of single bytes a thousand times what it counts for.
    Gathered(Vec<u8>),
    Trailers(HeaderMap),
}

impl Upload {
    pub(crate) const fn new(body: Incoming, progress: Arc<Progress>) -> Self {
        Self {
            body,
            taken: Some(Vec::new()),
            taken_bytes: 0,
            replayed: 0,
            has_ended: false,
            progress,
        }
    }

    /// Waits for the first of the body, and takes that with what else is there. Returns whether
    /// there is anything at all.
    pub(crate) async fn begin(&mut self) -> Result<bool, hyper::Error> {
        while !self.has_ended && self.is_nothing_taken() {
            poll_fn(|cx| self.poll_body(cx)).await.transpose()?;
        }
        self.take_what_is_there().await
    }

    /// Takes what has come of the body, and keeps it for whoever is sent the body. Returns whether
    /// there is anything, or may yet be.
    pub(crate) async fn take_what_is_there(&mut self) -> Result<bool, hyper::Error> {
        let mut has_yielded = self.body.size_hint().upper().is_some();
        while self.has_room() {
            match poll_fn(|cx| Poll::Ready(self.poll_body(cx))).await {
                Poll::Ready(Some(taken)) => drop(taken?),
                Poll::Ready(None) => break,
                // hyper gives out one chunk at a time, and the end is behind the last.
                Poll::Pending if !std::mem::replace(&mut has_yielded, true) => yield_now().await,
                Poll::Pending => break,
            }
        }
        self.rewind();
        Ok(!(self.has_ended && self.is_nothing_taken()))
    }

    /// Takes the body as it comes while nobody is sent it, as far as it can be kept, and returns
    /// why it broke. So it is heard of when a client leaves in the middle of its body: hyper looks
    /// for that only while somebody reads.
    pub(crate) async fn broken(&mut self) -> hyper::Error {
        while self.has_room() {
            if let Some(Err(error)) = poll_fn(|cx| self.poll_body(cx)).await {
                return error;
            }
            self.replayed = 0;
        }
        std::future::pending().await
    }

    fn is_nothing_taken(&self) -> bool {
        self.taken.as_ref().is_some_and(Vec::is_empty)
    }

    /// Whether more of it can be kept, if there is more.
    const fn has_room(&self) -> bool {
        self.taken.is_some() && self.taken_bytes < REPLAY_BYTES_MAX && !self.has_ended
    }

    /// The memory that it may come to hold while nobody is sent it.
    pub(crate) fn held_bytes(&self) -> u32 {
        let room = if self.has_room() { REPLAY_BYTES_MAX - self.taken_bytes } else { 0 };
        let rest = self.body.size_hint().upper().and_then(|rest| usize::try_from(rest).ok());
        let held = self.taken_bytes + rest.map_or(room, |rest| rest.min(room));
        u32::try_from(held).unwrap_or(u32::MAX)
    }

    /// Starts again from the beginning, if all of it is still there.
    pub(crate) const fn rewind(&mut self) -> bool {
        self.replayed = 0;
        self.taken.is_some()
    }

    fn remember(&mut self, frame: &Frame<Bytes>) {
        if self.taken_bytes >= REPLAY_BYTES_MAX {
            // All of that has been given out, or there would be no more.
            self.taken = None;
        }
        let Some(taken) = &mut self.taken else { return };
        if let Some(data) = frame.data_ref() {
            self.taken_bytes += data.len();
            keep(taken, data);
        } else if let Some(trailers) = frame.trailers_ref() {
            taken.push(Piece::Trailers(trailers.clone()));
        }
        self.replayed = taken.len();
    }

    /// What comes next from the client.
    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.progress.starved.store(polled.is_pending(), Ordering::Relaxed);
        let frame = ready!(polled);
        if let Some(Ok(frame)) = &frame {
            if let Some(data) = frame.data_ref() {
                self.progress.add(data.len() as u64);
            }
            self.remember(frame);
        }
        // Where a length was told, there is no other word of the end.
        self.has_ended = frame.is_none() || self.body.is_end_stream();
        Poll::Ready(frame)
    }
}

/// Adds what came to what was taken. Most often there is one piece, which is not copied.
fn keep(taken: &mut Vec<Piece>, data: &Bytes) {
    match taken.last_mut() {
        _ if data.is_empty() => {}
        Some(Piece::Gathered(gathered)) if data.len() < SMALL_BYTES => {
            gathered.extend_from_slice(data);
        }
        Some(_) if data.len() < SMALL_BYTES => taken.push(Piece::Gathered(data.to_vec())),
        Some(_) | None => taken.push(Piece::Data(data.clone())),
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(piece) = self.taken.as_ref().and_then(|taken| taken.get(self.replayed)) {
            let frame = match piece {
                Piece::Data(data) => Frame::data(data.clone()),
                Piece::Gathered(data) => Frame::data(Bytes::copy_from_slice(data)),
                Piece::Trailers(trailers) => Frame::trailers(trailers.clone()),
            };
            self.replayed += 1;
            return Poll::Ready(Some(Ok(frame)));
        }
        self.poll_body(cx)
    }

    fn is_end_stream(&self) -> bool {
        let all_replayed = self.taken.as_ref().is_none_or(|taken| self.replayed == taken.len());
        all_replayed && self.has_ended
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// Where a request's body is.
#[derive(Debug)]
pub(crate) enum Uploading {
    /// All of it has been sent, or as much as the instance wanted.
    Done(Upload),
    /// There is none, or the task that sent it has failed.
    None,
    /// It comes only when its client is told that it may.
    Held(Upload, http2::Sending),
    /// It is on its way.
    Sending(Sending),
}

/// The task that sends a body. Whoever drops it wants no more of it sent; the stream is then reset.
#[derive(Debug)]
pub(crate) struct Sending {
    task: JoinHandle<(Upload, Result<u64, SendError<hyper::Error>>)>,
    progress: Arc<Progress>,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why no head came.
pub(crate) enum Silence {
    /// The app has had its time.
    App,
    /// The client's body is broken: it went away, or sent nonsense.
    Broken(hyper::Error),
    /// The client stopped in the middle of its body.
    Client,
    /// The stream ended.
    Stream(http2::Error),
}

impl Uploading {
    /// Starts to send `upload`, if there is one, over `stream`.
    pub(crate) fn start(upload: Option<Upload>, stream: http2::Sending) -> Self {
        let Some(mut upload) = upload else { return Self::None };
        let progress = Arc::clone(&upload.progress);
        let task = tokio::spawn(async move {
            let sent = send_body(&mut upload, stream).await;
            (upload, sent)
        });
        Self::Sending(Sending { task, progress })
    }

    /// Waits for the head of the response while the body is still on its way. What comes before
    /// the head is given to `interim`, but for the word that the body may come.
    pub(crate) async fn wait_for_head(
        &mut self,
        mut response: Awaited,
        patience: Patience,
        interim: impl Fn(&Response<()>),
    ) -> Result<Response<Receiving>, Silence> {
        // Runs when it is the app's turn.
        let mut first_byte = None;
        loop {
            let answer = if let Self::Sending(Sending { task, progress }) = self {
                let before = progress.bytes();
                let sent = tokio::select! {
                    biased;
                    answer = poll_fn(|cx| response.poll_head(cx)) => Err(answer),
                    sent = task => Ok(sent),
                    () = tokio::time::sleep(patience.idle) => {
                        if progress.bytes() > before {
                            continue;
                        }
                        let starved = progress.starved.load(Ordering::Relaxed);
                        return Err(if starved { Silence::Client } else { Silence::App });
                    }
                };
                match sent {
                    Ok(sent) => {
                        *self = match sent {
                            Ok((_, Err(SendError::Body(error)))) => {
                                return Err(Silence::Broken(error));
                            }
                            Ok((body, _)) => Self::Done(body),
                            Err(_) => Self::None,
                        };
                        continue;
                    }
                    Err(answer) => answer,
                }
            } else {
                let limit = first_byte
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience.first_byte)));
                tokio::select! {
                    biased;
                    answer = poll_fn(|cx| response.poll_head(cx)) => answer,
                    () = limit => return Err(Silence::App),
                }
            };
            match answer.map_err(Silence::Stream)? {
                Head::Final(head) => return Ok(head),
                Head::Interim(head) if head.status() == StatusCode::CONTINUE => {
                    if let Self::Held(..) = self {
                        let Self::Held(upload, stream) = std::mem::replace(self, Self::None) else {
                            continue;
                        };
                        *self = Self::start(Some(upload), stream);
                        first_byte = None;
                    }
                }
                Head::Interim(head) => interim(&head),
            }
        }
    }

    /// Takes the body back from a stream that has ended. `None` if there is nothing to send again.
    pub(crate) async fn recover(self) -> Result<Option<Upload>, hyper::Error> {
        match self {
            Self::None => Ok(None),
            Self::Done(upload) | Self::Held(upload, _) => Ok(Some(upload)),
            Self::Sending(mut sending) => match (&mut sending.task).await {
                Ok((_, Err(SendError::Body(error)))) => Err(error),
                sent => Ok(sent.ok().map(|(upload, _)| upload)),
            },
        }
    }
}

/// From so many bytes on no more of a request body is kept to be sent again.
const REPLAY_BYTES_MAX: usize = 64 << 10;
/// Pieces below this are copied together: a buffer that hyper reads into has 8 KiB.
const SMALL_BYTES: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_take_no_more_memory_than_they_have_bytes() {
        let mut taken = Vec::new();
        for piece in [&b"first"[..], b"", b"a", b"b", &[b'c'; SMALL_BYTES], b"d", b"e"] {
            keep(&mut taken, &Bytes::copy_from_slice(piece));
        }
        let sizes: Vec<_> = taken
            .iter()
            .map(|piece| match piece {
                Piece::Data(data) => ("data", data.len()),
                Piece::Gathered(data) => ("gathered", data.len()),
                Piece::Trailers(_) => ("trailers", 0),
            })
            .collect();
        let whole = ("data", SMALL_BYTES);
        assert_eq!(sizes, [("data", 5), ("gathered", 2), whole, ("gathered", 2)]);
    }
}
