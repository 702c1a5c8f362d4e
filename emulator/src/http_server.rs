//! A small HTTP server, shared by the APIs: accept, serve each connection on its own task, and end
//! them all when dropped.

use std::convert::Infallible;
use std::future::Future;
use std::io;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// A complete answer.
pub(crate) type Reply = Response<Full<Bytes>>;

/// Serves HTTP/1.1 and h2c until it is dropped.
#[derive(Debug)]
pub(crate) struct HttpServer {
    task: JoinHandle<()>,
}

impl HttpServer {
    /// Serves what connects to `listener`. A handler whose caller goes away is dropped where it
    /// waits.
    pub(crate) fn start<H, F>(listener: TcpListener, handler: H) -> Self
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        Self { task: tokio::spawn(accept(listener, handler)) }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept<H, F>(listener: TcpListener, handler: H)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    // Dropped with this task, and its tasks with it.
    let mut connections = JoinSet::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let handler = handler.clone();
        connections.spawn(async move {
            // Small answers must not wait for more to send.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!("cannot set TCP_NODELAY: {error}");
            }
            let service = service_fn(move |request| {
                let answer = handler(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let server = auto::Builder::new(TokioExecutor::new());
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!("a connection ended early: {error}");
            }
        });
    }
}

/// Reads a body of at most `limit` bytes; `None` if it is larger.
///
/// A larger one is read to its end all the same, up to a point: a caller that is still sending would
/// otherwise see a broken connection instead of the answer that explains it.
pub(crate) async fn read_body(
    mut body: Incoming,
    limit: usize,
) -> Result<Option<Bytes>, io::Error> {
    let mut collected = Vec::new();
    let mut total = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(io::Error::other)?.into_data() else { continue };
        total += data.len();
        if total > limit.saturating_mul(4) {
            break;
        }
        if total <= limit {
            collected.extend_from_slice(&data);
        }
    }
    Ok((total <= limit).then(|| collected.into()))
}

/// How long to leave the listener alone after it failed, say for want of file descriptors.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
