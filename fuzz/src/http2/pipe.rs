//! A stream in memory that wakes whom it keeps waiting, and nobody else.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Our end; the connection has the other, which is the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Pipe(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    unread: VecDeque<u8>,
    is_over: bool,
    /// The most that one read gives.
    piece: usize,
    reader: Option<Waker>,
    written: Vec<u8>,
    /// How many bytes may still be written.
    room: usize,
    writer: Option<Waker>,
    /// All was said.
    is_shut: bool,
    is_vectored: bool,
}

impl Pipe {
    pub(super) fn new(is_vectored: bool) -> Self {
        let inner = Inner { piece: usize::MAX, room: usize::MAX, is_vectored, ..Inner::default() };
        Self(Arc::new(Mutex::new(inner)))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, bytes: &[u8]) {
        let mut inner = self.lock();
        inner.unread.extend(bytes);
        wake(inner.reader.take().filter(|_| !bytes.is_empty()));
    }

    pub(super) fn end(&self) {
        let mut inner = self.lock();
        inner.is_over = true;
        wake(inner.reader.take());
    }

    pub(super) fn set_piece(&self, bytes: usize) {
        self.lock().piece = bytes;
    }

    pub(super) fn set_room(&self, bytes: usize) {
        let mut inner = self.lock();
        inner.room = bytes;
        if bytes > 0 {
            wake(inner.writer.take());
        }
    }

    pub(super) fn unread(&self) -> usize {
        self.lock().unread.len()
    }

    pub(super) fn is_open(&self) -> bool {
        self.lock().room > usize::MAX / 2
    }

    pub(super) fn is_shut(&self) -> bool {
        self.lock().is_shut
    }

    pub(super) fn take_written(&self) -> Vec<u8> {
        std::mem::take(&mut self.lock().written)
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        if inner.unread.is_empty() && !inner.is_over {
            inner.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let bytes = inner.piece.min(buffer.remaining()).min(inner.unread.len());
        let (front, back) = inner.unread.as_slices();
        let part = bytes.min(front.len());
        buffer.put_slice(&front[..part]);
        buffer.put_slice(&back[..bytes - part]);
        inner.unread.drain(..bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        assert!(!inner.is_shut, "something is said after all was said");
        if inner.room == 0 {
            inner.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let bytes = &bytes[..bytes.len().min(inner.room)];
        inner.written.extend_from_slice(bytes);
        inner.room -= bytes.len();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut total = 0;
        for slice in slices {
            match self.as_mut().poll_write(cx, slice)? {
                Poll::Ready(bytes) => total += bytes,
                Poll::Pending if total == 0 => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(total))
    }

    fn is_write_vectored(&self) -> bool {
        self.lock().is_vectored
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().is_shut = true;
        Poll::Ready(Ok(()))
    }
}

/// A task's wakes.
#[derive(Debug, Default)]
pub(super) struct Flag(AtomicBool);

impl Flag {
    /// One that is to be polled.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(true)))
    }

    /// Its task is to be polled anyway.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was woken since the last time.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.set();
    }
}
