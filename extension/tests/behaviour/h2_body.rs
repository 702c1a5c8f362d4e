//! Bodies on streams of h2, which stands in for routers here, so that what the extension speaks is
//! understood by others.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http_body::{Body, Frame};
use http_body_util::BodyExt;

/// What arrives on a stream.
#[derive(Debug)]
pub(crate) struct Received(pub(crate) RecvStream);

impl Body for Received {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let stream = &mut self.0;
        if let Some(data) = ready!(stream.poll_data(cx)) {
            let data = data?;
            stream.flow_control().release_capacity(data.len())?;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        Poll::Ready(ready!(stream.poll_trailers(cx))?.map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

/// Writes pieces as the windows allow; `None` if nobody wants them.
pub(crate) async fn write(stream: &mut SendStream<Bytes>, mut bytes: Bytes) -> Option<()> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await?.ok()?;
        stream.send_data(bytes.split_to(room.min(bytes.len())), false).ok()?;
    }
    Some(())
}

/// Writes a body to its end; `None` if nobody wants it.
pub(crate) async fn send<B>(mut body: B, mut stream: SendStream<Bytes>) -> Option<()>
where
    B: Body<Data = Bytes> + Unpin,
{
    while let Some(frame) = body.frame().await {
        match frame.ok()?.into_data() {
            Ok(data) => write(&mut stream, data).await?,
            Err(frame) => return stream.send_trailers(frame.into_trailers().ok()?).ok(),
        }
    }
    stream.send_data(Bytes::new(), true).ok()
}
