//! A connection whose first bytes were looked at, to see what is spoken on it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::net::Io;

/// A connection that gives its first bytes again.
#[derive(Debug)]
pub(crate) struct FirstBytes<S> {
    first: [u8; LENGTH],
    given: usize,
    io: S,
}

impl<S: Io> FirstBytes<S> {
    /// Waits for the first bytes.
    pub(crate) async fn of(mut io: S) -> io::Result<Self> {
        let mut first = [0; LENGTH];
        io.read_exact(&mut first).await?;
        Ok(Self { first, given: 0, io })
    }

    /// Whether they begin HTTP/2.
    pub(crate) fn are_http2(&self) -> bool {
        self.first == *b"PRI"
    }
}

impl<S: Io> AsyncRead for FirstBytes<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.given == LENGTH {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let end = LENGTH.min(self.given + buffer.remaining());
        buffer.put_slice(&self.first[self.given..end]);
        self.given = end;
        Poll::Ready(Ok(()))
    }
}

impl<S: Io> AsyncWrite for FirstBytes<S> {
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
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// `PRI`, or `GET`.
const LENGTH: usize = 3;
