//! A small HTTP server, shared by the APIs: accept, serve each connection on its own task, and end
//! them all when dropped.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// A complete answer.
pub(crate) type Reply = Response<Full<Bytes>>;

/// Serves HTTP/1.1 and h2c until it is dropped.
#[derive(Debug)]
pub(crate) struct HttpServer {
    task: JoinHandle<()>,
    finish: Option<oneshot::Sender<()>>,
}

impl HttpServer {
    /// Serves what connects to `listener`. A handler whose caller goes away is dropped where it
    /// waits.
    pub(crate) fn start<H, F>(listener: TcpListener, handler: H) -> Self
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        let (finish, finished) = oneshot::channel();
        Self { task: tokio::spawn(serve(listener, handler, finished)), finish: Some(finish) }
    }

    /// Accepts no more and waits until every request that came has been answered, for `FINISH_MAX`
    /// at most.
    pub(crate) async fn finish(mut self) {
        let told = self.finish.take().is_some_and(|finish| finish.send(()).is_ok());
        if told && timeout(FINISH_MAX, &mut self.task).await.is_err() {
            tracing::debug!("a caller does not read its answer and is cut off");
        }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<H, F>(listener: TcpListener, handler: H, finish: oneshot::Receiver<()>)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    // Dropped with this task, and its tasks with it.
    let mut connections = JoinSet::new();
    let graceful = GracefulShutdown::new();
    tokio::pin!(finish);
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut finish => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        // Small answers must not wait for more to send.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("cannot set TCP_NODELAY: {error}");
        }
        let handler = handler.clone();
        let service = service_fn(move |request| {
            let answer = handler(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let connection = auto::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection ended early: {error}");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// Reads a body of at most `limit` bytes; `None` if it is larger.
///
/// A larger one is read to its end all the same, up to a point: a caller that is still sending
/// would otherwise see a broken connection instead of the answer that explains it.
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
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long answers may take to be read at the end.
const FINISH_MAX: Duration = Duration::from_secs(2);
