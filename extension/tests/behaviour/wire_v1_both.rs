//! Our extension and our router with each other, over the original's wire: each takes the other for
//! the original.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dispatch_model::{Config, InvokeOutcome, Limits};
use http::Response;
use http_body_util::BodyExt;
use io_tokio::chance::Chance;
use io_tokio::clock::Clock;
use io_tokio::driver::PoolSettings;
use io_tokio::edge::EdgeSettings;
use io_tokio::invoker::{Invoked, Invoker};
use io_tokio::networks::Networks;
use io_tokio::observe::Blind;
use io_tokio::payload::InvokePayload;
use io_tokio::routes::Routes;
use io_tokio::running::{Parts, PoolParts, Running, Share};
use io_tokio::split::Split;
use io_tokio::tls::RouterIdentity;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::app::{App, full};
use crate::stage::{Stage, soon};

/// Hands payloads to the test, without what the original would not write.
struct Hand(mpsc::UnboundedSender<Vec<u8>>);

impl Invoker for Hand {
    fn invoke(
        &self,
        _: &str,
        payload: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Invoked> + Send + '_>> {
        let mut payload = InvokePayload::from_json(&payload).unwrap();
        payload.v2 = None;
        self.0.send(payload.to_json()).ok();
        Box::pin(async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Invoked::new(InvokeOutcome::Returned, &"")
        })
    }
}

/// A router that speaks the original's wire over TLS, and where its clients come in.
async fn router() -> (Running, SocketAddr, mpsc::UnboundedReceiver<Vec<u8>>) {
    let bind = || TcpListener::bind("127.0.0.1:0");
    let (clients, instances) = (bind().await.unwrap(), bind().await.unwrap());
    let (address, control) = (clients.local_addr().unwrap(), instances.local_addr().unwrap());
    let identity = RouterIdentity::generate().unwrap();
    let (hand, payloads) = mpsc::unbounded_channel();
    let limits = Limits { slots: 5, instances_max: 1, ..Limits::default() };
    let running = Running::start(Parts {
        clients: vec![(clients, None)],
        instances: vec![(instances, Some(identity.clone()))],
        wire_v1: Some(Networks::none().and_loopback()),
        clock: Clock::start(),
        pools: vec![PoolParts {
            config: Config::new(limits).unwrap(),
            settings: PoolSettings {
                name: "default".into(),
                function: "f".into(),
                callback_url: format!("https://{control}"),
                identity: Some(identity),
                seed: 1,
                chance: Chance::System,
            },
            invoker: Arc::new(Hand(hand)),
            access: Arc::new(Blind),
            observer: Blind,
        }],
        routes: Routes::all_to(Split::all_to(Share::of_default_pool())),
        edge: EdgeSettings::default(),
        access: Arc::new(Blind),
    });
    (running, address, payloads)
}

async fn ask(address: SocketAddr, request: Vec<u8>) -> Vec<u8> {
    let mut client = TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = client.split();
    let mut seen = Vec::new();
    let both = async { tokio::join!(writer.write_all(&request), reader.read_to_end(&mut seen)) };
    let (written, read) = soon("an answer ends", both).await;
    written.unwrap();
    read.unwrap();
    seen
}

#[tokio::test]
async fn everything_that_the_wire_can_carry_passes_both_ways() {
    let app = App::serving(|request| async {
        if request.method() == http::Method::POST {
            let body = request.into_body().map_err(std::io::Error::other).boxed();
            return Response::new(body);
        }
        let seen = format!("{} {:?}", request.uri(), request.headers().get("cookie"));
        let response = Response::builder().header("set-cookie", "a=1").header("set-cookie", "b=2");
        response.body(full(seen)).unwrap()
    })
    .await;
    let (running, address, mut payloads) = router().await;
    let mut stage = Stage::with_settings(&app, &[("LAMBDA_DISPATCH_WIRE_V1", "true")]).await;
    let get = b"GET /a%2Fb\"?c HTTP/1.1\r\nHost: a\r\nCookie: x=1\r\nCookie: y=2\r\n\
        Connection: close\r\n\r\n";
    let first = tokio::spawn(ask(address, get.to_vec()));
    let payload = soon("the router invokes", payloads.recv()).await.unwrap();
    stage.lambda.invoke(payload, Duration::from_secs(60)).await;
    let seen = String::from_utf8(first.await.unwrap()).unwrap();
    assert!(
        seen.starts_with("HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n"),
        "{seen}"
    );
    assert!(seen.ends_with("/a%2Fb%22?c Some(\"x=1; y=2\")"), "{seen}");

    // More at once than there are channels, with bodies that fill no window and ones that do.
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..40_usize {
        asked.spawn(async move {
            let body: Vec<u8> = (0..number * 20_000).map(|at| at.to_le_bytes()[0]).collect();
            let head = format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let seen = ask(address, [head.as_bytes(), &body].concat()).await;
            assert!(seen.starts_with(b"HTTP/1.1 200 OK\r\n"), "{number}");
            let end = seen.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            let text = String::from_utf8_lossy(&seen[..end]).to_ascii_lowercase();
            if text.contains("content-length") {
                assert!(seen[end..] == body, "{number}");
            } else {
                assert!(seen.len() - end > body.len() && seen.ends_with(b"\r\n0\r\n\r\n"));
            }
        });
    }
    while let Some(asked) = asked.join_next().await {
        asked.unwrap();
    }
    running.drain(Duration::from_secs(20)).await;
    let answer = stage.lambda.answer().await;
    assert_eq!((answer.reason(), &answer.json["RequestCount"]), ("RouterGoAway", &41.into()));
    app.until_alone().await;
}
