//! Traces over real sockets: a client begins one, the router and the app have parts of it, and a
//! stand-in for a collector is told the router's.

use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use rustix::process::Signal;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::client::{Answer, Client};
use crate::raw_app::{self, RawApp};
use crate::stage::Stage;

/// A collector, and the spans that it is sent.
async fn collector() -> (SocketAddr, mpsc::UnboundedReceiver<Span>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (told, spans) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let told = told.clone();
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                while let Some(head) = raw_app::head(&mut stream).await {
                    assert!(head.starts_with(b"POST /v1/traces HTTP/1.1\r\n"));
                    let body = raw_app::body(&mut stream, &head).await.unwrap();
                    let request = ExportTraceServiceRequest::decode(&*body).unwrap();
                    for resource in request.resource_spans {
                        for span in resource.scope_spans.into_iter().flat_map(|it| it.spans) {
                            told.send(span).ok();
                        }
                    }
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                    stream.write_all(answer).await.unwrap();
                }
            });
        }
    });
    (address, spans)
}

/// The answer to a request with `lines`, which is the head that the app was sent.
async fn get(stage: &Stage, path: &str, lines: &str) -> Answer {
    let mut client = Client::connect(stage.router.http).await;
    client.send(format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\n{lines}\r\n")).await.unwrap();
    client.answer("GET").await.unwrap()
}

fn line(answer: &Answer, name: &str) -> Option<String> {
    let seen = answer.text().to_lowercase();
    let begins = format!("{name}: ");
    seen.lines().find_map(|line| line.strip_prefix(&begins).map(str::to_owned))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const CLIENTS: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test(flavor = "multi_thread")]
async fn client_router_and_app_are_in_one_trace_of_which_the_collector_hears() {
    let (collector, mut spans) = collector().await;
    let endpoint = format!("traces.endpoint=http://{collector}");
    let (mut stage, _) = RawApp::stage(&[&endpoint, "timeouts.drain_delay=0s"]).await;
    let joined = get(&stage, "/joined", &format!("traceparent: {CLIENTS}\r\n")).await;
    let began = get(&stage, "/began", "").await;
    let unwanted = get(&stage, "/unwanted", &format!("traceparent: {}0\r\n", &CLIENTS[..54])).await;
    stage.router.signal(Signal::TERM);
    assert!(stage.router.end().await.success());

    let span = spans.try_recv().unwrap();
    assert_eq!(hex(&span.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(hex(&span.parent_span_id), "00f067aa0ba902b7");
    let told = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", hex(&span.span_id));
    assert_eq!(line(&joined, "traceparent"), Some(told), "the app is a part of the router's part");
    assert!(span.start_time_unix_nano < span.end_time_unix_nano);
    let events: Vec<_> = span.events.iter().map(|event| &*event.name).collect();
    assert_eq!(events, ["queued", "dispatched", "sent", "response head"]);

    let span = spans.try_recv().unwrap();
    assert!(span.parent_span_id.is_empty());
    let told = format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id));
    assert_eq!(line(&began, "traceparent"), Some(told));
    let (time, rest) = (hex(&span.trace_id[..4]), hex(&span.trace_id[4..]));
    let told = format!("root=1-{time}-{rest};parent={};sampled=1", hex(&span.span_id));
    assert_eq!(line(&began, "x-amzn-trace-id"), Some(told), "X-Ray is told the same");

    let told = line(&unwanted, "traceparent").unwrap();
    assert!(told.starts_with(&CLIENTS[..36]) && told.ends_with("-00"), "{told}");
    // The router has ended: all that it told is here.
    assert!(spans.try_recv().is_err(), "what the client does not record is not told");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_traces_pass_untouched() {
    let (stage, _) = RawApp::stage(&[]).await;
    let lines = format!("traceparent: {CLIENTS}\r\nX-Amzn-Trace-Id: Root=1-2;Self=3\r\n");
    let answer = get(&stage, "/traced", &lines).await;
    assert_eq!(line(&answer, "traceparent").as_deref(), Some(CLIENTS));
    assert_eq!(line(&answer, "x-amzn-trace-id").as_deref(), Some("root=1-2;self=3"));
    for strange in ["", "traceparent: of my own\r\n"] {
        assert_eq!(line(&get(&stage, "/none", strange).await, "traceparent"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn collector_that_accepts_and_says_nothing_holds_up_no_request() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("traces.endpoint=http://{}", silent.local_addr().unwrap());
    let (mut stage, _) = RawApp::stage(&[&endpoint, "timeouts.drain_delay=0s"]).await;
    let mut client = Client::connect(stage.router.http).await;
    for _ in 0..200 {
        assert_eq!(client.get("/").await.unwrap().status, 200);
    }
    stage.router.signal(Signal::TERM);
    assert!(stage.router.end().await.success());
    assert!(stage.router.log().contains("the last spans could not be sent"));
}
