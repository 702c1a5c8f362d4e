//! Interim responses (1xx, such as 103 Early Hints) on their way to an HTTP/1.1 client.
//!
//! hyper's server has no way to send them, so they are written below it, by the connection itself,
//! where that is in step with what hyper writes:
//!
//! - hyper serves one request of a connection at a time, and begins one only when the response
//!   before is complete in its buffer. While it waits for a response it adds nothing to that but
//!   its own 100 Continue.
//! - It asks the connection to flush only when it has handed over all of its buffer. At that moment
//!   interim responses are written.
//! - What is left of them when the final response is given to hyper is written before any other
//!   byte if there was such a moment since the request began; else the response before may still be
//!   in hyper's buffer, and they are discarded.
//!
//! HTTP/2 clients get none: hyper's server has no way to send them there either, and their streams
//! are its own.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use http::{Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::request_head::response_headers;

/// Takes the interim responses of one connection. Its clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interim(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What goes before any byte of hyper's.
    first: Vec<u8>,
    /// How much of that has been written.
    written: usize,
    /// What the request at hand has had, and is not yet among the first.
    hints: Vec<u8>,
    /// How many it has had.
    count: usize,
    /// Since it began, all that hyper had has been written.
    flushed: bool,
}

impl Interim {
    /// A request is served from now on, until what this returns is dropped.
    pub(crate) fn begin(&self) -> Hints {
        let mut state = self.lock();
        state.hints.clear();
        state.count = 0;
        state.flushed = false;
        drop(state);
        Hints(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The interim responses of one request.
#[derive(Debug)]
pub(crate) struct Hints(Interim);

impl Hints {
    /// Sends `response`, unless the request has had too many, or it is a 101, which is no interim
    /// response: what follows it would be another protocol.
    ///
    /// To be called from the task that serves the request, which hyper polls and then flushes.
    pub(crate) fn send(&self, response: &Response<()>) {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        let mut state = self.0.lock();
        state.count += 1;
        if state.count > INTERIM_MAX {
            return;
        }
        let status = response.status();
        let reason = status.canonical_reason().unwrap_or("Interim");
        let line = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16());
        state.hints.extend_from_slice(line.as_bytes());
        for (name, value) in &response_headers(response.headers().clone()) {
            state.hints.extend_from_slice(name.as_str().as_bytes());
            state.hints.extend_from_slice(b": ");
            state.hints.extend_from_slice(value.as_bytes());
            state.hints.extend_from_slice(b"\r\n");
        }
        state.hints.extend_from_slice(b"\r\n");
    }
}

/// The final response is next.
impl Drop for Hints {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let State { first, hints, flushed, .. } = &mut *state;
        if *flushed {
            first.append(hints);
        } else {
            hints.clear();
        }
    }
}

/// The word that a client waits for before it sends its body.
#[must_use]
pub fn continues() -> Response<()> {
    let mut head = Response::new(());
    *head.status_mut() = StatusCode::CONTINUE;
    head
}

/// A connection that interim responses are written to.
#[derive(Debug)]
pub(crate) struct WithInterim<S> {
    io: S,
    interim: Interim,
}

impl<S: AsyncWrite + Unpin> WithInterim<S> {
    pub(crate) const fn new(io: S, interim: Interim) -> Self {
        Self { io, interim }
    }

    /// Writes what goes first, and all the rest if hyper's buffer is empty.
    fn poll_interim(&mut self, cx: &mut Context<'_>, is_empty: bool) -> Poll<io::Result<()>> {
        let mut state = self.interim.lock();
        let State { first, written, hints, flushed, .. } = &mut *state;
        if is_empty {
            *flushed = true;
            first.append(hints);
        }
        while let Some(rest) = first.get(*written..).filter(|rest| !rest.is_empty()) {
            let count = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *written += count;
        }
        first.clear();
        *written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WithInterim<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WithInterim<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx, false))?;
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx, false))?;
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_interim(cx, true))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_interim(cx, false))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Most interim responses to one request; more are swallowed.
pub const INTERIM_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn hint(link: &'static str) -> Response<()> {
        Response::builder().status(103).header("link", link).body(()).unwrap()
    }

    async fn all(
        io: WithInterim<tokio::io::DuplexStream>,
        mut client: impl AsyncRead + Unpin,
    ) -> String {
        drop(io);
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn hint_begins_where_hyper_flushes() {
        let (near, client) = duplex(1024);
        let interim = Interim::default();
        let mut io = WithInterim::new(near, interim.clone());
        let hints = interim.begin();
        hints.send(&hint("a"));
        // Of the response before.
        io.write_all(b"[before]").await.unwrap();
        io.flush().await.unwrap();
        drop(hints);
        io.write_all(b"[final]").await.unwrap();
        let text = all(io, client).await;
        assert_eq!(text, "[before]HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n[final]");
    }

    #[tokio::test]
    async fn hint_that_could_be_out_of_step_is_discarded_and_one_that_has_begun_is_finished() {
        let (near, mut client) = duplex(8);
        let interim = Interim::default();
        let mut io = WithInterim::new(near, interim.clone());
        let hints = interim.begin();
        hints.send(&hint("a"));
        // Room for its beginning alone.
        let flushed = tokio::time::timeout(std::time::Duration::ZERO, io.flush()).await;
        assert!(flushed.is_err(), "there is more than fits");
        drop(hints);
        let late = interim.begin();
        drop(late);
        let read = tokio::spawn(async move {
            let mut text = String::new();
            client.read_to_string(&mut text).await.unwrap();
            text
        });
        io.write_all(b"[final]").await.unwrap();
        let hints = interim.begin();
        hints.send(&hint("late"));
        drop(hints);
        io.flush().await.unwrap();
        drop(io);
        let text = read.await.unwrap();
        assert_eq!(text, "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n[final]");
    }

    #[tokio::test]
    async fn hint_that_comes_together_with_the_response_precedes_it() {
        let (near, client) = duplex(1024);
        let interim = Interim::default();
        let mut io = WithInterim::new(near, interim.clone());
        for _ in 0..2 {
            let hints = interim.begin();
            io.write_all(b"[before]").await.unwrap();
            io.flush().await.unwrap();
            hints.send(&hint("a"));
            drop(hints);
            io.write_all(b"[final]").await.unwrap();
        }
        let text = all(io, client).await;
        let one = "[before]HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n[final]";
        assert_eq!(text, one.repeat(2));
    }

    #[tokio::test]
    async fn hint_of_the_next_request_waits_for_the_response_before() {
        let (near, mut client) = duplex(8);
        let interim = Interim::default();
        let mut io = WithInterim::new(near, interim.clone());
        let hints = interim.begin();
        io.flush().await.unwrap();
        hints.send(&hint("a"));
        drop(hints);
        let next = interim.begin();
        next.send(&hint("b"));
        let read = tokio::spawn(async move {
            let mut text = String::new();
            client.read_to_string(&mut text).await.unwrap();
            text
        });
        io.write_all(b"[a]").await.unwrap();
        io.flush().await.unwrap();
        drop(next);
        io.write_all(b"[b]").await.unwrap();
        drop(io);
        let of = |name| format!("HTTP/1.1 103 Early Hints\r\nlink: {name}\r\n\r\n[{name}]");
        assert_eq!(read.await.unwrap(), of("a") + &of("b"));
    }

    #[tokio::test]
    async fn no_protocol_is_switched_by_a_hint() {
        let (near, client) = duplex(1024);
        let interim = Interim::default();
        let mut io = WithInterim::new(near, interim.clone());
        let hints = interim.begin();
        hints.send(&Response::builder().status(101).header("upgrade", "a").body(()).unwrap());
        io.flush().await.unwrap();
        drop(hints);
        io.write_all(b"[final]").await.unwrap();
        assert_eq!(all(io, client).await, "[final]");
    }

    #[tokio::test]
    async fn flood_of_hints_is_capped_for_each_request() {
        let (near, client) = duplex(1 << 20);
        let interim = Interim::default();
        let mut io = WithInterim::new(near, interim.clone());
        for _ in 0..2 {
            let hints = interim.begin();
            for _ in 0..1_000 {
                hints.send(&hint("a"));
            }
            io.flush().await.unwrap();
        }
        let text = all(io, client).await;
        assert_eq!(text.matches("HTTP/1.1 103 ").count(), 2 * INTERIM_MAX);
    }
}
