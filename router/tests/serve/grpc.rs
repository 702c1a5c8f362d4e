//! gRPC with a real client and a real server, whose app is reached by HTTP/2 without TLS; and how
//! such an app's connection ends.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::Request as HttpRequest;
use http::uri::PathAndQuery;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::client::Client;
use crate::semantics::over_http2;
use crate::stage::{PATIENCE, Stage, until};

const H2C: &[(&str, &str)] = &[("LAMBDA_DISPATCH_APP_PROTOCOL", "h2c")];
const SETTINGS: &[&str] = &["pool.linger=10m", "pool.instances_max=1", "pool.placement_margin=1s"];

#[derive(Clone, PartialEq, prost::Message)]
struct Text {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(bytes = "bytes", tag = "2")]
    load: Bytes,
}

fn text(text: impl Into<String>) -> Text {
    Text { text: text.into(), load: Bytes::new() }
}

type Texts = Pin<Box<dyn Stream<Item = Result<Text, Status>> + Send>>;

/// A gRPC server.
#[derive(Clone)]
struct App {
    /// What each message of `/echo.Echo/Gated` needs one of.
    gate: Arc<Semaphore>,
    /// Streams that are being written.
    streaming: Arc<AtomicU32>,
}

/// Counts a stream until it is dropped.
struct Counted(Arc<AtomicU32>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl App {
    async fn stage() -> (Stage, Self) {
        Self::stage_with(&[]).await
    }

    async fn stage_with(settings: &[&str]) -> (Stage, Self) {
        let app = Self { gate: Arc::new(Semaphore::new(0)), streaming: Arc::default() };
        let serving = app.clone();
        let settings = [SETTINGS, settings].concat();
        let stage = Stage::served(H2C, &settings, move |io| serving.clone().connection(io)).await;
        (stage, app)
    }

    async fn connection(self, stream: TcpStream) {
        let service = service_fn(move |request| {
            let app = self.clone();
            async move { Ok::<_, Infallible>(app.call(request).await) }
        });
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await
            .ok();
    }

    async fn call(self, request: HttpRequest<Incoming>) -> http::Response<tonic::body::Body> {
        let mut grpc = tonic::server::Grpc::new(ProstCodec::<Text, Text>::default())
            .max_decoding_message_size(64 << 20);
        match request.uri().path() {
            "/echo.Echo/Unary" => {
                let serve = tower::service_fn(|request: Request<Text>| async move {
                    assert_eq!(request.metadata().get("te").unwrap(), "trailers");
                    let key = request.metadata().get_bin("key-bin").cloned();
                    let message = request.into_inner();
                    if message.text == "who?" {
                        return Err(Status::not_found("nobody: caf\u{e9}"));
                    }
                    let mut response = Response::new(message);
                    if let Some(key) = key {
                        response.metadata_mut().insert_bin("key-bin", key);
                    }
                    Ok(response)
                });
                grpc.unary(serve, request).await
            }
            "/echo.Echo/Gated" => {
                let serve = tower::service_fn(|request: Request<Text>| {
                    let app = self.clone();
                    async move { Ok::<_, Status>(Response::new(app.gated(request.into_inner()))) }
                });
                grpc.server_streaming(serve, request).await
            }
            "/echo.Echo/Collect" => {
                let serve = tower::service_fn(|request: Request<Streaming<Text>>| async move {
                    let mut messages = request.into_inner();
                    let (mut count, mut bytes) = (0, 0);
                    while let Some(message) = messages.message().await? {
                        count += 1;
                        bytes += message.load.len();
                    }
                    Ok::<_, Status>(Response::new(text(format!("{count} with {bytes}"))))
                });
                grpc.client_streaming(serve, request).await
            }
            "/echo.Echo/Both" => {
                let serve = tower::service_fn(|request: Request<Streaming<Text>>| async move {
                    Ok::<_, Status>(Response::new(request.into_inner().boxed() as Texts))
                });
                grpc.streaming(serve, request).await
            }
            "/echo.Echo/Greet" => {
                let serve = tower::service_fn(|request: Request<Streaming<Text>>| async move {
                    let greeting = stream::iter([Ok(text("who is there?"))]);
                    let texts = greeting.chain(request.into_inner()).boxed() as Texts;
                    Ok::<_, Status>(Response::new(texts))
                });
                grpc.streaming(serve, request).await
            }
            _ => Status::unimplemented("no such method").into_http(),
        }
    }

    /// Three messages, and then an error.
    fn gated(self, message: Text) -> Texts {
        self.streaming.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(Arc::clone(&self.streaming));
        stream::unfold((0, counted), move |(count, counted)| {
            let (gate, message) = (Arc::clone(&self.gate), message.clone());
            async move {
                gate.acquire().await.unwrap().forget();
                match count {
                    0..3 => Some((Ok(message), (count + 1, counted))),
                    3 => Some((Err(Status::aborted("enough")), (4, counted))),
                    _ => None,
                }
            }
        })
        .boxed()
    }
}

async fn client(stage: &Stage) -> tonic::client::Grpc<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", stage.router.http)).unwrap();
    let mut client = tonic::client::Grpc::new(endpoint.connect().await.unwrap());
    client.ready().await.unwrap();
    client
}

fn method(name: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(name)
}

fn codec() -> ProstCodec<Text, Text> {
    ProstCodec::default()
}

/// A client's messages, said one by one.
fn spoken() -> (mpsc::Sender<Text>, impl Stream<Item = Text> + Send + 'static) {
    let (say, said) = mpsc::channel(1);
    (say, stream::unfold(said, |mut said| async move { Some((said.recv().await?, said)) }))
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap()
}

#[tokio::test]
async fn websocket_to_an_app_that_speaks_http2_is_refused_with_the_reason() {
    let (stage, _) = App::stage().await;
    let mut client = Client::connect(stage.router.http).await;
    client
        .send(
            "GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        )
        .await
        .unwrap();
    let answer = client.answer("GET").await.unwrap();
    assert_eq!(answer.status, 501);
    assert_eq!(answer.text(), "An app that speaks HTTP/2 is not asked for another protocol.\n");
}

#[tokio::test]
async fn unary_calls_pass_with_their_metadata_and_their_errors() {
    let (stage, _) = App::stage().await;
    let mut client = client(&stage).await;
    let mut request = Request::new(text("hello"));
    let key = MetadataValue::from_bytes(&[0, 255, 7]);
    request.metadata_mut().insert_bin("key-bin", key.clone());
    let unary = method("/echo.Echo/Unary");
    let answer: Response<Text> = soon(client.unary(request, unary.clone(), codec())).await.unwrap();
    assert_eq!(answer.metadata().get_bin("key-bin"), Some(&key));
    assert_eq!(answer.into_inner(), text("hello"));

    // Such an answer is a head alone: there is no body whose trailers could say it.
    client.ready().await.unwrap();
    let failed: Result<Response<Text>, _> =
        soon(client.unary(Request::new(text("who?")), unary, codec())).await;
    let failed = failed.unwrap_err();
    assert_eq!((failed.code(), failed.message()), (Code::NotFound, "nobody: caf\u{e9}"));

    client.ready().await.unwrap();
    let unknown: Result<Response<Text>, _> =
        soon(client.unary(Request::new(text("")), method("/echo.Echo/None"), codec())).await;
    assert_eq!(unknown.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn each_message_of_a_servers_stream_arrives_before_the_next_is_made() {
    let (stage, app) = App::stage().await;
    let mut client = client(&stage).await;
    let gated = method("/echo.Echo/Gated");
    let request = Request::new(text("again"));
    let answer: Response<Streaming<Text>> =
        soon(client.server_streaming(request, gated.clone(), codec())).await.unwrap();
    let mut messages = answer.into_inner();
    for _ in 0..3 {
        app.gate.add_permits(1);
        assert_eq!(soon(messages.message()).await.unwrap(), Some(text("again")));
    }
    app.gate.add_permits(1);
    let end = soon(messages.message()).await.unwrap_err();
    assert_eq!((end.code(), end.message()), (Code::Aborted, "enough"));

    // A client that leaves ends the app's stream, on a connection that others use.
    client.ready().await.unwrap();
    let answer: Response<Streaming<Text>> =
        soon(client.server_streaming(Request::new(text("x")), gated, codec())).await.unwrap();
    assert_eq!(app.streaming.load(Ordering::Relaxed), 1);
    drop(answer);
    until("the app hears of it", async || app.streaming.load(Ordering::Relaxed) == 0).await;
    client.ready().await.unwrap();
    let unary = client.unary(Request::new(text("y")), method("/echo.Echo/Unary"), codec());
    let answer: Response<Text> = soon(unary).await.unwrap();
    assert_eq!(answer.into_inner(), text("y"));
}

#[tokio::test]
async fn a_clients_stream_of_any_size_passes() {
    let (stage, _) = App::stage().await;
    let mut client = client(&stage).await;
    let load = Bytes::from(vec![7; 1 << 20]);
    let messages =
        stream::iter((0..24).map(move |_| Text { text: String::new(), load: load.clone() }));
    let collect =
        client.client_streaming(Request::new(messages), method("/echo.Echo/Collect"), codec());
    let answer: Response<Text> = soon(collect).await.unwrap();
    assert_eq!(answer.into_inner(), text(format!("24 with {}", 24 << 20)));
}

#[tokio::test]
async fn a_clients_stream_may_be_silent_for_as_long_as_streams_may() {
    let (stage, _) = App::stage_with(&["timeouts.idle=300ms"]).await;
    let mut client = client(&stage).await;
    let (say, said) = spoken();
    let collect =
        client.client_streaming(Request::new(said), method("/echo.Echo/Collect"), codec());
    let saying = async move {
        say.send(text("a")).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        say.send(text("b")).await.unwrap();
    };
    let (answer, ()) = soon(async { tokio::join!(collect, saying) }).await;
    let answer: Response<Text> = answer.unwrap();
    assert_eq!(answer.into_inner(), text("2 with 0"));
}

#[tokio::test]
async fn a_server_may_speak_first() {
    let (stage, _) = App::stage_with(&["timeouts.idle=300ms"]).await;
    let mut client = client(&stage).await;
    let (say, said) = spoken();
    let greet = client.streaming(Request::new(said), method("/echo.Echo/Greet"), codec());
    let answer: Response<Streaming<Text>> = soon(greet).await.unwrap();
    let mut heard = answer.into_inner();
    assert_eq!(soon(heard.message()).await.unwrap(), Some(text("who is there?")));
    say.send(text("me")).await.unwrap();
    assert_eq!(soon(heard.message()).await.unwrap(), Some(text("me")));
    drop(say);
    assert_eq!(soon(heard.message()).await.unwrap(), None);
}

#[tokio::test]
async fn both_sides_talk_in_turn() {
    let (stage, _) = App::stage().await;
    let mut client = client(&stage).await;
    let (say, said) = spoken();
    // The server's head comes before the first message is said.
    let both = client.streaming(Request::new(said), method("/echo.Echo/Both"), codec());
    let (answer, ()) =
        soon(async { tokio::join!(both, async { say.send(text("0")).await.unwrap() }) }).await;
    let answer: Response<Streaming<Text>> = answer.unwrap();
    let mut heard = answer.into_inner();
    assert_eq!(soon(heard.message()).await.unwrap(), Some(text("0")));
    for i in 1..20 {
        say.send(text(i.to_string())).await.unwrap();
        assert_eq!(soon(heard.message()).await.unwrap(), Some(text(i.to_string())));
    }
    drop(say);
    assert_eq!(soon(heard.message()).await.unwrap(), None);
    until("it is served", async || stage.router.ended(200, "served").await >= 1).await;
}

/// An app that refuses the first stream, and says goaway on every connection after two more.
async fn leaving(stream: TcpStream, refused: Arc<AtomicU32>, served: Arc<AtomicU32>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut count = 0;
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        if request.method() == http::Method::POST && refused.fetch_add(1, Ordering::Relaxed) == 0 {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
            continue;
        }
        if request.method() == http::Method::POST {
            served.fetch_add(1, Ordering::Relaxed);
        }
        respond.send_response(http::Response::new(()), true).unwrap();
        count += 1;
        if count == 2 {
            connection.graceful_shutdown();
        }
    }
}

#[tokio::test]
async fn app_that_refuses_streams_and_leaves_connections_executes_each_request_once() {
    let (refused, served) = (Arc::<AtomicU32>::default(), Arc::<AtomicU32>::default());
    let counted = (Arc::clone(&refused), Arc::clone(&served));
    let settings = ["pool.linger=10m", "pool.placement_margin=1s"];
    let stage = Stage::served(H2C, &settings, move |stream| {
        leaving(stream, Arc::clone(&refused), Arc::clone(&served))
    })
    .await;
    let (refused, served) = counted;
    let mut client = Client::connect(stage.router.http).await;
    for i in 1..=20 {
        client
            .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello")
            .await
            .unwrap();
        assert_eq!(client.answer("POST").await.unwrap().status, 200, "request {i}");
        assert_eq!(served.load(Ordering::Relaxed), i);
    }
    assert_eq!(refused.load(Ordering::Relaxed), 21, "one was refused and sent again");
}

#[tokio::test]
async fn answer_that_has_come_whole_was_served_though_its_end_is_yet_to_come() {
    let app = |stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let mut open = Vec::new();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let head = http::Response::builder().header("content-length", 2).body(()).unwrap();
            let mut body = respond.send_response(head, false).unwrap();
            if request.method() != http::Method::HEAD {
                body.send_data("ok".into(), false).unwrap();
            }
            open.push(body);
        }
    };
    let stage = Stage::served(H2C, SETTINGS, app).await;
    let mut client = Client::connect(stage.router.http).await;
    assert_eq!(client.get("/").await.unwrap().text(), "ok");
    client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    assert_eq!(client.answer("HEAD").await.unwrap().status, 200);
    let head = http::Request::head("http://test/").body(()).unwrap();
    let (answer, body) = over_http2(stage.router.http, head, &[]).await;
    assert_eq!((answer.status.as_u16(), body.len()), (200, 0));
    until("all are served", async || stage.router.ended(200, "served").await == 3).await;
    assert_eq!(stage.router.metric("dispatch_cancelled_total").await, 0.0);
}
