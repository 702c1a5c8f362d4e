//! An app may answer before it has seen the whole of a request and close: "413 Content Too Large"
//! is said like that. What is still sent to it then fails, although its answer has come; hyper
//! would give up there, and whether it has read the answer before is chance.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use io_tokio::net::Io;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection whose peer is heard to its end: what cannot be written to it any more counts as
/// written, and only reading says that it has gone.
#[derive(Debug)]
pub(super) struct LastWords<S> {
    io: S,
    /// The peer takes nothing any more.
    is_deaf: bool,
}

impl<S: Io> LastWords<S> {
    pub(super) const fn of(io: S) -> Self {
        Self { io, is_deaf: false }
    }

    /// Does `write`, or as if, where that is `len` bytes.
    fn write(
        &mut self,
        len: usize,
        write: impl FnOnce(Pin<&mut S>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if !self.is_deaf {
            match ready!(write(Pin::new(&mut self.io))) {
                Ok(written) => return Poll::Ready(Ok(written)),
                Err(error) => {
                    tracing::debug!(%error, "the app takes nothing more");
                    self.is_deaf = true;
                }
            }
        }
        Poll::Ready(Ok(len))
    }
}

impl<S: Io> AsyncRead for LastWords<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<S: Io> AsyncWrite for LastWords<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(bytes.len(), |io| io.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = bytes.iter().map(|slice| slice.len()).sum();
        self.write(len, |io| io.poll_write_vectored(cx, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(0, |io| io.poll_flush(cx).map_ok(|()| 0)).map_ok(|_| ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(0, |io| io.poll_shutdown(cx).map_ok(|()| 0)).map_ok(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use bytes::Bytes;
    use http::{Request, StatusCode};
    use http_body_util::{BodyExt, Full};
    use hyper::client::conn::http1;
    use hyper_util::rt::TokioIo;

    use super::*;

    /// Sends a request to an app that says `words` and goes while hyper asks for the body, which
    /// is after it has looked for an answer and before it writes.
    async fn answer(words: &'static [u8]) -> hyper::Result<(StatusCode, Bytes)> {
        let (near, far) = tokio::io::duplex(4096);
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(LastWords::of(near))).await.unwrap();
        let mut app = Some(far);
        let body = Full::new(Bytes::from_static(&[b'x'; 1000])).map_frame(move |frame| {
            let mut app = app.take().expect("one frame");
            let said =
                Pin::new(&mut app).poll_write(&mut Context::from_waker(Waker::noop()), words);
            assert!(matches!(said, Poll::Ready(Ok(_))), "{said:?}");
            frame
        });
        let driver = tokio::spawn(connection);
        let request = Request::post("/").header("host", "app").body(body).unwrap();
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        driver.await.unwrap()?;
        Ok((head.status, body))
    }

    #[tokio::test]
    async fn answer_of_an_app_that_goes_without_the_body_is_heard() {
        let early = b"HTTP/1.1 413 Too Large\r\nContent-Length: 6\r\n\r\nlarge\n";
        let (status, body) = answer(early).await.unwrap();
        assert_eq!((status.as_u16(), &body[..]), (413, &b"large\n"[..]));
    }

    #[tokio::test]
    async fn app_that_goes_without_an_answer_or_within_it_has_not_answered() {
        let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nlarge";
        for words in [&b""[..], b"HTTP/1.1 413", cut] {
            answer(words).await.expect_err("it did not answer");
        }
    }
}
