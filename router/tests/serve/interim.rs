//! What comes before an answer: early hints, and the word that a body may come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use http::Request;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::client::Client;
use crate::raw_app::{body, head};
use crate::stage::{Stage, until};

const SETTINGS: &[&str] = &["pool.linger=10m", "pool.instances_max=1", "pool.placement_margin=1s"];
const HINT: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nX-Lambda-Id: forged\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";

#[derive(Clone)]
struct App {
    /// What each step of an answer needs one of.
    gate: Arc<Semaphore>,
    /// It has said that the body may come.
    wants: Arc<AtomicBool>,
    /// Requests that it has been sent.
    asked: Arc<AtomicU32>,
}

impl App {
    async fn stage(settings: &[&str]) -> (Stage, Self) {
        let app = Self {
            gate: Arc::new(Semaphore::new(0)),
            wants: Arc::default(),
            asked: Arc::default(),
        };
        let serving = app.clone();
        let settings = [SETTINGS, settings].concat();
        let serve = move |stream| serving.clone().connection(stream);
        (Stage::served(&[], &settings, serve).await, app)
    }

    async fn connection(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some(head) = head(&mut stream).await {
            let text = String::from_utf8_lossy(&head).into_owned();
            let path = text.split(' ').nth(1).unwrap();
            if path != "/health" {
                self.asked.fetch_add(1, Ordering::Relaxed);
            }
            match path {
                "/hints" => {
                    stream.write_all(HINT.as_bytes()).await.unwrap();
                    self.gate.acquire().await.unwrap().forget();
                }
                "/flood" => {
                    for _ in 0..10_000 {
                        stream.write_all(HINT.as_bytes()).await.unwrap();
                    }
                }
                "/wants" => {
                    self.gate.acquire().await.unwrap().forget();
                    self.wants.store(true, Ordering::Relaxed);
                    stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
                }
                "/refuses" => {
                    let answer = "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno\n";
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    return;
                }
                _ => {}
            }
            let Some(_) = body(&mut stream, &head).await else { return };
            if stream.write_all(ANSWER.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")
}

fn expecting(path: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    )
}

#[tokio::test]
async fn early_hints_reach_an_http1_client_while_the_app_still_works() {
    let (stage, app) = App::stage(&[]).await;
    let mut client = Client::connect(stage.router.http).await;
    client.send(get("/hints")).await.unwrap();
    let hint = client.head().await.unwrap();
    assert_eq!((hint.status, hint.header("link")), (103, Some(&b"</a.css>"[..])));
    assert_eq!(hint.header("x-lambda-id"), None, "the app does not speak for the router");
    app.gate.add_permits(1);
    assert_eq!(client.answer("GET").await.unwrap().text(), "ok\n");

    // Many at once on one connection: each hint precedes its answer and follows the one before.
    app.gate.add_permits(10);
    client.send(get("/hints").repeat(10)).await.unwrap();
    for _ in 0..10 {
        assert_eq!(client.head().await.unwrap().status, 103);
        assert_eq!(client.answer("GET").await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn clients_that_cannot_be_sent_hints_get_the_answer_alone() {
    let (stage, app) = App::stage(&[]).await;
    app.gate.add_permits(2);
    let mut old = Client::connect(stage.router.http).await;
    old.send("GET /hints HTTP/1.0\r\n\r\n").await.unwrap();
    assert_eq!(old.answer("GET").await.unwrap().status, 200);

    let stream = TcpStream::connect(stage.router.http).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://test/hints").body(()).unwrap();
    let (response, _) = requests.ready().await.unwrap().send_request(request, true).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
}

#[tokio::test]
async fn flood_of_hints_is_capped() {
    let (stage, _) = App::stage(&[]).await;
    let mut client = Client::connect(stage.router.http).await;
    for _ in 0..2 {
        client.send(get("/flood")).await.unwrap();
        let mut hints = 0;
        loop {
            let answer = client.head().await.unwrap();
            if answer.status == 200 {
                break;
            }
            assert_eq!(answer.status, 103);
            hints += 1;
        }
        assert!((1..=8).contains(&hints), "{hints}");
        client.exactly(3).await;
    }
}

#[tokio::test]
async fn client_is_told_to_send_its_body_when_the_app_wants_it() {
    let (stage, app) = App::stage(&["pool.slots=2"]).await;
    let mut client = Client::connect(stage.router.http).await;
    client.send(expecting("/wants")).await.unwrap();
    until("the app has the head", async || app.asked.load(Ordering::Relaxed) == 1).await;
    app.gate.add_permits(1);
    assert_eq!(client.head().await.unwrap().status, 100);
    client.send("hello").await.unwrap();
    assert_eq!(client.answer("POST").await.unwrap().text(), "ok\n");
    // The connection is in step.
    assert_eq!(client.get("/").await.unwrap().status, 200);
}

#[tokio::test]
async fn app_that_says_nothing_is_sent_the_body_after_a_while() {
    let (stage, _) = App::stage(&[]).await;
    let mut client = Client::connect(stage.router.http).await;
    for _ in 0..2 {
        client.send(expecting("/")).await.unwrap();
        assert_eq!(client.head().await.unwrap().status, 100);
        client.send("hello").await.unwrap();
        assert_eq!(client.answer("POST").await.unwrap().text(), "ok\n");
    }
    // One that does not wait is served too.
    client.send(expecting("/") + "hello").await.unwrap();
    let mut answer = client.head().await.unwrap();
    if answer.status == 100 {
        answer = client.head().await.unwrap();
    }
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn refusal_comes_without_the_word_that_the_body_may_come() {
    let (stage, app) = App::stage(&[]).await;
    for _ in 0..3 {
        let mut client = Client::connect(stage.router.http).await;
        client.send(expecting("/refuses")).await.unwrap();
        let answer = client.answer("POST").await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (413, "no\n"));
        assert!(answer.closes(), "what comes next could be a body or a request");
        assert!(client.rest().await.is_empty());
    }
    assert!(!app.wants.load(Ordering::Relaxed));
    assert_eq!(stage.router.metric("dispatch_invokes_total").await, 1.0);
    until("all slots are free", async || stage.router.metric("dispatch_slots_busy").await == 0.0)
        .await;
}

#[tokio::test]
async fn nobody_is_told_to_send_a_body_that_finds_no_instance() {
    let (stage, app) = App::stage(&["timeouts.queue=1s"]).await;
    stage.emulator.throttle(true).await;
    let mut client = Client::connect(stage.router.http).await;
    client.send(expecting("/wants")).await.unwrap();
    assert_eq!(client.answer("POST").await.unwrap().status, 504);
    assert_eq!(app.asked.load(Ordering::Relaxed), 0);
}
