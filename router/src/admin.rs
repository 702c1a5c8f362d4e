//! The admin port: probes for whoever runs the router, metrics for whoever watches it.
//!
//! | path | answer |
//! |---|---|
//! | `/` | sends on to `/dashboard` |
//! | `/dashboard` | how the router stands, live, for people |
//! | `/livez` | 200 as long as the process serves at all |
//! | `/health` | the same; the original's name |
//! | `/readyz` | 200 when requests can be taken, else 503 with the reason |
//! | `/explain` | the last decisions and problems; JSON with `?format=json` or by `Accept` |
//! | `/metrics` | everything that is counted, in the OpenMetrics text format |
//!
//! A draining router is alive and not ready: a load balancer must stop sending to it, and nobody
//! must kill it. The port is not for clients: it is on loopback unless the operator says otherwise.
//! A browser there may be led by somebody else's page: but for the probes, what such a page asks
//! for is refused (403), and what is asked of a name that may be anybody's for this machine (421).

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use io_tokio::net::unbracketed;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, watch};

use crate::dashboard::{self, Dashboard, Events, VIEWERS_MAX};
use crate::explain;
use crate::metrics::{MEDIA_TYPE, Metrics};

/// Whether the router can take requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It was told to stop and finishes what it has.
    Draining,
    /// It takes requests.
    Ready,
    /// It does not listen yet.
    Starting,
}

impl Readiness {
    /// One word for `/readyz`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Ready => "ready",
            Self::Starting => "starting",
        }
    }
}

/// Serves the admin port until it is dropped. Probes see the latest `readiness`; when its sender is
/// gone, the last.
pub async fn serve(
    listener: TcpListener,
    readiness: watch::Receiver<Readiness>,
    metrics: Arc<Metrics>,
) {
    let dashboard = Dashboard::new(Arc::clone(&metrics), readiness.clone());
    let is_local = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let port = Arc::new(Port { readiness, metrics, dashboard, is_local });
    tokio::select! {
        biased;
        () = port.dashboard.run() => {}
        () = accept(listener, &port) => {}
    }
}

/// What is seen through the port.
struct Port {
    readiness: watch::Receiver<Readiness>,
    metrics: Arc<Metrics>,
    dashboard: Dashboard,
    /// Whether only this machine reaches it.
    is_local: bool,
}

/// What a connection is told of its only request.
#[derive(Default)]
struct Asked {
    /// It has a page for an answer, which must be taken soon.
    page: Notify,
    /// It was a view of the dashboard, which has ended.
    over: Arc<Notify>,
}

async fn accept(listener: TcpListener, port: &Arc<Port>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = connection(stream, Arc::clone(port));
                tokio::spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin port cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one request, so that nobody has a place for longer than it takes to ask and to read.
async fn connection<S: AsyncRead + AsyncWrite + Unpin>(stream: S, port: Arc<Port>) {
    let asked = Asked::default();
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let response = respond(&request, &port, &asked);
        async move { Ok::<_, Infallible>(response) }
    });
    let late = async {
        asked.page.notified().await;
        tokio::time::sleep(ANSWER_TIMEOUT).await;
    };
    let serving = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        biased;
        served = serving => if let Err(error) = served {
            tracing::debug!(%error, "a connection to the admin port ended");
        },
        // Who did not read a view would not read its end either.
        () = asked.over.notified() => {}
        () = late => tracing::debug!("a connection to the admin port took no answer and is closed"),
    }
}

/// A page that is there, or events as they come.
type Answer = Either<Full<Bytes>, Events>;

fn respond<B>(request: &Request<B>, port: &Port, asked: &Asked) -> Response<Answer> {
    let (method, path) = (request.method(), request.uri().path());
    let refused = refused(request, port.is_local);
    if refused.is_none() && path == "/dashboard/events" && method == Method::GET {
        return events(&port.dashboard, &asked.over);
    }
    asked.page.notify_one();
    refused.unwrap_or_else(|| page(request, port)).map(Either::Left)
}

/// The answer to a request that a page of somebody else makes with the browser of who reads it.
fn refused<B>(request: &Request<B>, is_local: bool) -> Option<Response<Full<Bytes>>> {
    if matches!(request.uri().path(), "/health" | "/livez" | "/readyz") {
        return None;
    }
    let headers = request.headers();
    let says = |name, value| headers.get(name).is_some_and(|it: &HeaderValue| it == value);
    // Who follows a link is there; the page that has the link sees nothing of it.
    if says("sec-fetch-site", "cross-site") && !says("sec-fetch-mode", "navigate") {
        let why = "a page of another site asks for this; open it in a tab of its own\n";
        return Some(text(StatusCode::FORBIDDEN, why));
    }
    let host = headers.get(header::HOST)?;
    if !is_local || is_nobodys(host) {
        return None;
    }
    let why = format!(
        "the Host is {host:?}, which may be anybody's name for this machine: ask for localhost or \
         an IP address, or have the proxy before this port do so\n"
    );
    Some(text(StatusCode::MISDIRECTED_REQUEST, &why))
}

/// Whether it is an address, or a name without a dot, such as `localhost`: one that no stranger can
/// register and point here.
fn is_nobodys(host: &HeaderValue) -> bool {
    let Ok(authority) = Authority::try_from(host.as_bytes()) else { return false };
    let bare = unbracketed(authority.host());
    !bare.contains(['.', ':']) || bare.parse::<IpAddr>().is_ok()
}

fn page<B>(request: &Request<B>, port: &Port) -> Response<Full<Bytes>> {
    let method = request.method();
    if method != Method::GET && method != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/" => {
            let mut response = text(StatusCode::FOUND, "the dashboard is at /dashboard\n");
            let place = HeaderValue::from_static("dashboard");
            response.headers_mut().insert(header::LOCATION, place);
            response
        }
        "/dashboard" => {
            let mut response =
                answer(StatusCode::OK, "text/html; charset=utf-8", dashboard::page());
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_SECURITY_POLICY, dashboard::policy());
            for (name, value) in PAGE_HEADERS {
                headers.insert(name, HeaderValue::from_static(value));
            }
            response
        }
        "/dashboard/events" => answer(StatusCode::OK, EVENT_STREAM, Bytes::new()),
        "/health" | "/livez" => text(StatusCode::OK, "OK\n"),
        "/readyz" => {
            let readiness = *port.readiness.borrow();
            let status = match readiness {
                Readiness::Ready => StatusCode::OK,
                Readiness::Draining | Readiness::Starting => StatusCode::SERVICE_UNAVAILABLE,
            };
            text(status, &format!("{}\n", readiness.name()))
        }
        "/explain" => explained(request, &port.metrics),
        "/metrics" => match port.metrics.expose() {
            Ok(page) => answer(StatusCode::OK, MEDIA_TYPE, page.into()),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n"),
        },
        _ => text(StatusCode::NOT_FOUND, "try /dashboard, /livez, /readyz, /explain or /metrics\n"),
    }
}

/// What the dashboard's page is fed with, if there is a place for one more of them.
fn events(dashboard: &Dashboard, over: &Arc<Notify>) -> Response<Answer> {
    let Some(events) = dashboard.watch(Arc::clone(over)) else {
        let why = format!("{VIEWERS_MAX} dashboards are open, which is the most: close one\n");
        return text(StatusCode::SERVICE_UNAVAILABLE, &why).map(Either::Left);
    };
    let mut response = Response::new(Either::Right(events));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn explained<B>(request: &Request<B>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let json = match request.uri().query() {
        Some("format=json") => true,
        Some("format=text") => false,
        Some(_) => return text(StatusCode::BAD_REQUEST, "only ?format=json and ?format=text\n"),
        None => request
            .headers()
            .get(header::ACCEPT)
            .and_then(|accept| accept.to_str().ok())
            .is_some_and(|accept| accept.contains("application/json")),
    };
    let (decided, suffered) = (metrics.decisions(), metrics.problems());
    if !json {
        return text(StatusCode::OK, &explain::as_text(&decided, &suffered));
    }
    match explain::as_json(&decided, &suffered) {
        Ok(page) => answer(StatusCode::OK, "application/json", page.into()),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the decisions cannot be written\n"),
    }
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    answer(status, "text/plain; charset=utf-8", body.to_owned().into())
}

fn answer(status: StatusCode, media_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

const EVENT_STREAM: &str = "text/event-stream";
/// The page is of this router as it is now, for nobody else to frame, sniff or hear of.
const PAGE_HEADERS: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
];
/// Probes and scrapers are few; more is somebody's mistake and must not cost memory.
const CONNECTIONS_MAX: usize = 64;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest from a request's head to the last byte of its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_BYTES_MAX: usize = 16 << 10;
/// When there are no descriptors left, trying again at once would only burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use dispatch_model::{Decision, Output, RefuseReason, RequestId, Time, Why};
    use io_tokio::observe::Observer as _;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    async fn admin(readiness: Readiness) -> (SocketAddr, watch::Sender<Readiness>) {
        admin_of(Metrics::new(), readiness).await
    }

    async fn admin_of(
        metrics: Arc<Metrics>,
        readiness: Readiness,
    ) -> (SocketAddr, watch::Sender<Readiness>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = watch::channel(readiness);
        tokio::spawn(serve(listener, told, metrics));
        (address, tell)
    }

    /// Sends `request` on a connection of its own and reads all that comes back.
    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        ask(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
    }

    #[tokio::test]
    async fn a_draining_router_is_alive_and_not_ready() {
        let (address, tell) = admin(Readiness::Starting).await;
        for (readiness, ready) in [
            (Readiness::Starting, "503 Service Unavailable"),
            (Readiness::Ready, "200 OK"),
            (Readiness::Draining, "503 Service Unavailable"),
        ] {
            tell.send_replace(readiness);
            let response = get(address, "/readyz").await;
            assert!(response.starts_with(&format!("HTTP/1.1 {ready}\r\n")), "{response}");
            assert!(response.ends_with(&format!("\r\n\r\n{}\n", readiness.name())), "{response}");
            for path in ["/livez", "/health"] {
                assert!(get(address, path).await.starts_with("HTTP/1.1 200 OK\r\n"));
            }
        }
    }

    #[tokio::test]
    async fn metrics_are_openmetrics() {
        let (address, _tell) = admin(Readiness::Ready).await;
        let response = get(address, "/metrics?x=1").await;
        let type_line = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert!(response.contains(type_line), "{response}");
        assert!(response.contains("\n# TYPE dispatch_cold_exposed counter\n"), "{response}");
        assert!(response.ends_with("# EOF\n"), "{response}");
    }

    #[tokio::test]
    async fn the_last_decisions_and_problems_of_every_pool_are_explained_as_text_or_json() {
        let metrics = Metrics::new();
        let pools = ["default", "shop"].map(|name| metrics.pool(name));
        let (address, _tell) = admin_of(Arc::clone(&metrics), Readiness::Ready).await;
        assert!(
            get(address, "/explain")
                .await
                .ends_with("\r\n\r\nno scaling decision yet\nno problem yet\n")
        );
        for (pool, to) in pools.iter().zip(1..) {
            let decision = Decision { from: 0, to, why: Why::Limits };
            pool.watch().output(Time::ZERO, &Output::Decided(decision));
            let (request, reason) = (RequestId::new(0, 0), RefuseReason::QueueLength);
            pool.watch().output(Time::ZERO, &Output::Refuse { request, reason, retry_after_s: 1 });
        }
        let page = get(address, "/explain?format=text").await;
        for line in [
            "Z default: 0 -> 1 instances (start 1): configured bounds\n",
            "Z shop: 0 -> 2 instances (start 2): configured bounds\n",
            "Z default: 1 request refused: queue_length\n",
            "Z shop: 1 request refused: queue_length\n",
        ] {
            assert!(page.contains(line), "{page}");
        }
        let accept = "GET /explain HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                      Accept: application/json\r\n\r\n";
        for page in [get(address, "/explain?format=json").await, ask(address, accept).await] {
            let (head, body) = page.split_once("\r\n\r\n").unwrap();
            assert!(head.contains("\r\ncontent-type: application/json\r\n"), "{head}");
            let page: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(page["decisions"].as_array().unwrap().len(), 2, "{page}");
            assert_eq!(page["problems"].as_array().unwrap().len(), 2, "{page}");
        }
        assert!(get(address, "/explain?format=xml").await.starts_with("HTTP/1.1 400 "));
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let (address, _tell) = admin(Readiness::Ready).await;
        assert!(get(address, "/nothing").await.starts_with("HTTP/1.1 404 "));
        assert!(get(address, "/metrics/../x").await.starts_with("HTTP/1.1 404 "));
        let post =
            "POST /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        assert!(ask(address, post).await.starts_with("HTTP/1.1 405 "));
        let head = "HEAD /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        assert!(ask(address, head).await.ends_with("\r\n\r\n"));
        assert!(ask(address, "nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    }

    #[tokio::test]
    async fn more_connections_than_anybody_needs_wait_for_a_place() {
        let (address, _tell) = admin(Readiness::Ready).await;
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
            held.push(stream);
        }
        let one_more = tokio::spawn(async move { get(address, "/livez").await });
        tokio::task::yield_now().await;
        assert!(!one_more.is_finished());
        held.pop();
        assert!(one_more.await.unwrap().starts_with("HTTP/1.1 200 OK"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_and_does_not_read_has_no_place_for_ever() {
        let metrics = Metrics::new();
        let (_tell, readiness) = watch::channel(Readiness::Ready);
        let dashboard = Dashboard::new(Arc::clone(&metrics), readiness.clone());
        let port = Arc::new(Port { readiness, metrics, dashboard, is_local: true });
        for request in ["GET /livez HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\n\r\n"] {
            // Room for the request, and not for the answer.
            let (near, mut far) = duplex(40);
            far.write_all(request.repeat(40 / request.len()).as_bytes()).await.unwrap();
            let served = timeout(ANSWER_TIMEOUT * 2, connection(near, Arc::clone(&port))).await;
            assert!(served.is_ok(), "{request:?} holds its place");
        }
    }

    #[tokio::test]
    async fn only_probes_are_answered_to_pages_of_somebody_else() {
        let (address, _tell) = admin(Readiness::Ready).await;
        let status = async |path: &str, lines: &str| {
            let request = format!("GET {path} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n");
            ask(address, &request).await[9..12].to_owned()
        };
        let closed = ["/metrics", "/dashboard", "/explain", "/dashboard/events", "/nothing"];
        for named in ["evil.example", "evil.example:5005", "localhost.evil.example", "a b", ""] {
            let host = format!("Host: {named}\r\n");
            for path in closed {
                assert_eq!(status(path, &host).await, "421", "{path} of {named:?}");
            }
            assert_eq!(status("/readyz", &host).await, "200", "{named}");
        }
        for named in ["localhost", "LOCALHOST:5005", "127.0.0.1:5005", "[::1]:5005", "router"] {
            assert_eq!(status("/metrics", &format!("Host: {named}\r\n")).await, "200", "{named}");
        }
        assert_eq!(status("/metrics", "").await, "200", "nobody is named");
        let cross = "Sec-Fetch-Site: cross-site\r\n";
        for path in closed {
            assert_eq!(status(path, cross).await, "403", "{path}");
        }
        assert_eq!(status("/livez", cross).await, "200");
        let followed = format!("{cross}Sec-Fetch-Mode: navigate\r\n");
        assert_eq!(status("/dashboard", &followed).await, "200", "a link is followed");
        assert_eq!(status("/metrics", "Sec-Fetch-Site: same-origin\r\n").await, "200");
    }

    #[test]
    fn where_a_port_is_for_other_machines_they_call_it_what_they_like() {
        let request = Request::get("/metrics").header("host", "router.example").body(()).unwrap();
        assert!(refused(&request, false).is_none());
        assert!(refused(&request, true).is_some());
    }
}
