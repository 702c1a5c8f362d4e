//! The web app that `dev` and `demo` run when they are given none: an ordinary HTTP server that
//! knows nothing of Lambda.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use io_tokio::net::listen;
use tokio::time::Sleep;

type AnyBody = BoxBody<Bytes, hyper::Error>;

const HOST: &str = "LAMBDA_DISPATCH_DEMO_APP_HOST";

/// Serves on the port in `LAMBDA_DISPATCH_PORT` until the process ends.
///
/// It listens on loopback, where the extension looks for it and nobody else can, or at the address
/// in `LAMBDA_DISPATCH_DEMO_APP_HOST`: in a container of its own a load balancer has to reach it.
///
/// # Errors
///
/// There is no such port or address, or it is taken.
pub async fn run() -> anyhow::Result<()> {
    let port = std::env::var("LAMBDA_DISPATCH_PORT").context("LAMBDA_DISPATCH_PORT is not set")?;
    let port = port.parse().context("LAMBDA_DISPATCH_PORT is not a port")?;
    let host = match std::env::var(HOST) {
        Ok(host) => host.parse().with_context(|| {
            format!("{HOST} is `{host}`, must be an address of this machine, such as 0.0.0.0")
        })?,
        Err(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
    };
    let listener = listen(SocketAddr::from((host, port)))?;
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        stream.set_nodelay(true)?;
        let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request).await) });
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service),
        );
    }
}

async fn answer(request: Request<Incoming>) -> Response<AnyBody> {
    let number = |name: &str, default: u64| {
        let query = request.uri().query().unwrap_or_default();
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(key, _)| *key == name)
            .map_or(default, |(_, value)| value.parse().unwrap_or(default))
    };
    match (request.method(), request.uri().path()) {
        (_, "/health") => page("text/plain", "ok\n"),
        (_, "/") => page("text/html; charset=utf-8", PAGE.replace(ADDRESS, address(&request))),
        (_, "/sleep") => {
            tokio::time::sleep(Duration::from_millis(number("ms", 50))).await;
            page("text/plain", "slept\n")
        }
        (_, "/bytes") => {
            let left = number("n", 1 << 20);
            stream(
                "application/octet-stream",
                Ticker { left, chunk: 64 << 10, every: None, tick: None },
            )
        }
        (_, "/events") => {
            let every = Duration::from_millis(number("ms", 1_000));
            let left = number("n", 10);
            stream("text/event-stream", Ticker { left, chunk: 1, every: Some(every), tick: None })
        }
        (&Method::POST | &Method::PUT, "/echo") => {
            let kind = request.headers().get(header::CONTENT_TYPE).cloned();
            let mut response = Response::new(request.into_body().boxed());
            if let Some(kind) = kind {
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
            }
            response
        }
        (&Method::POST | &Method::PUT, "/upload") => count(request.into_body()).await,
        _ => {
            let mut response = page("text/plain", "not found\n");
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}

async fn count(mut body: Incoming) -> Response<AnyBody> {
    let mut total = 0;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => total += frame.data_ref().map_or(0, Bytes::len),
            Err(_) => break,
        }
    }
    page("text/plain", format!("{total} bytes\n"))
}

/// Where the client says that it came to, if that needs no escaping in a page or a shell.
fn address(request: &Request<Incoming>) -> &str {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let plain =
        |host: &&str| host.bytes().all(|it| it.is_ascii_alphanumeric() || b".:-".contains(&it));
    host.filter(plain).unwrap_or(ADDRESS)
}

fn page(kind: &'static str, text: impl Into<Bytes>) -> Response<AnyBody> {
    let body = Full::new(text.into()).map_err(|never| match never {}).boxed();
    typed(kind, body)
}

fn stream(kind: &'static str, ticker: Ticker) -> Response<AnyBody> {
    typed(kind, ticker.map_err(|never| match never {}).boxed())
}

fn typed(kind: &'static str, body: AnyBody) -> Response<AnyBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A body that is made while it is sent: events in their time, or bytes as fast as they are taken.
struct Ticker {
    /// Events, or bytes, still to come.
    left: u64,
    chunk: u64,
    every: Option<Duration>,
    tick: Option<Pin<Box<Sleep>>>,
}

impl Body for Ticker {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let chunk = self.left.min(self.chunk);
        let data = match self.every {
            None => {
                let len = usize::try_from(chunk).unwrap_or(ZEROS.len());
                Bytes::from_static(&ZEROS[..len])
            }
            Some(every) => {
                // The first event comes at once.
                if let Some(tick) = &mut self.tick {
                    ready!(tick.as_mut().poll(cx));
                }
                self.tick = Some(Box::pin(tokio::time::sleep(every)));
                Bytes::from(format!("data: {} to go\n\n", self.left - 1))
            }
        };
        self.left -= chunk;
        Poll::Ready(Some(Ok(Frame::data(data))))
    }
}

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

const ADDRESS: &str = "127.0.0.1:5001";
const PAGE: &str = "<!doctype html>
<html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>
<title>lambda-dispatch demo</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40em;margin:3em auto;padding:0 1em;
color-scheme:light dark}code{background:#8882;padding:.1em .3em;border-radius:.2em}</style>
<h1>It works</h1>
<p>This page came from a web app inside an emulated Lambda instance. Your request waited in the
router's queue, took the first free slot of an instance that had dialled back, and was relayed to
the app on its own port.</p>
<p>Try <code>curl http://127.0.0.1:5001/sleep?ms=500</code>,
<code>curl -N http://127.0.0.1:5001/events?n=5</code>,
<code>curl -T big.file http://127.0.0.1:5001/upload</code> or
<code>curl -o /dev/null http://127.0.0.1:5001/bytes?n=100000000</code>.
Then run your own: <code>lambda-dispatch dev -- node server.js</code>.</p>
</html>
";
