//! Bytes both ways between a connection whose protocol has been switched and an HTTP/2 stream.
//!
//! Each direction ends for itself: what one side ends, the other sees end. What one side cuts, the
//! other sees cut, as far as its protocol can show that. Each holds one small buffer, and a slow
//! reader slows its writer down.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::http2::{Receiving, Sending};
use crate::stream_body::{SendError, StreamBody, send_body};

/// How many bytes a tunnel has passed on.
#[derive(Debug, Default)]
pub struct Passed {
    to_stream: AtomicU64,
    from_stream: AtomicU64,
}

impl Passed {
    /// From the connection to the stream.
    pub fn to_stream(&self) -> u64 {
        self.to_stream.load(Ordering::Relaxed)
    }

    /// From the stream to the connection.
    pub fn from_stream(&self) -> u64 {
        self.from_stream.load(Ordering::Relaxed)
    }
}

/// Why a tunnel was cut.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TunnelError {
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Connection(#[source] io::Error),
    /// The stream was reset, or its connection broke.
    #[error("the stream was cut")]
    Stream,
}

/// Passes bytes on until both directions have ended.
///
/// If the returned future is dropped before, or fails, the stream is reset and the connection
/// closed.
///
/// # Errors
///
/// See [`TunnelError`].
pub async fn tunnel<S>(
    connection: S,
    from: Receiving,
    to: Sending,
    passed: &Passed,
) -> Result<(), TunnelError>
where
    S: AsyncRead + AsyncWrite + Send,
{
    let (reader, writer) = tokio::io::split(connection);
    let reading = Reading { reader, buffer: vec![0; READ_BYTES].into(), count: &passed.to_stream };
    let up = async {
        send_body(reading, to).await.map(drop).map_err(|error| match error {
            SendError::Body(error) => TunnelError::Connection(error),
            SendError::Closed(_) | SendError::Reset(_) => TunnelError::Stream,
        })
    };
    tokio::try_join!(up, write(from, writer, &passed.from_stream))?;
    Ok(())
}

async fn write(
    from: Receiving,
    writer: impl AsyncWrite,
    count: &AtomicU64,
) -> Result<(), TunnelError> {
    let mut from = StreamBody::new(from, None);
    let mut writer = pin!(writer);
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut from).poll_frame(cx)).await {
        let frame = frame.map_err(|_| TunnelError::Stream)?;
        // Trailers have no place in it.
        let Ok(data) = frame.into_data() else { continue };
        let written = async {
            writer.write_all(&data).await?;
            writer.flush().await
        };
        written.await.map_err(TunnelError::Connection)?;
        count.fetch_add(data.len() as u64, Ordering::Relaxed);
    }
    writer.shutdown().await.map_err(TunnelError::Connection)
}

/// What comes in on a connection, as a body.
struct Reading<'a, R> {
    reader: R,
    buffer: Box<[u8]>,
    count: &'a AtomicU64,
}

impl<R: AsyncRead + Unpin> Body for Reading<'_, R> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Self { reader, buffer, count } = self.get_mut();
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(reader).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        if read.is_empty() {
            return Poll::Ready(None);
        }
        count.fetch_add(read.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(read)))))
    }
}

/// Small, because a connection holds it for as long as it is silent.
const READ_BYTES: usize = 8 << 10;
