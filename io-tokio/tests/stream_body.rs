//! Bodies between real HTTP/2 connections over an in-memory pipe: whole ones arrive whole, cut ones
//! arrive cut, and nobody's memory grows.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full};
use io_tokio::http2::{self, Config, Error, Reason, Receiving, Sending};
use io_tokio::stream_body::{SendError, StreamBody, send_body};
use tokio::io::duplex;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

#[tokio::test]
async fn a_body_and_its_trailers_arrive_whole() {
    let (sender, receiver) = link().await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "42".parse().unwrap());
    let body = Full::new(Bytes::from(vec![7; 1_000_000]))
        .with_trailers(std::future::ready(Some(Ok::<_, Infallible>(trailers))));
    let (sent, received) =
        tokio::join!(send_body(body, sender), StreamBody::new(receiver, None).collect());
    assert_eq!(sent.unwrap(), 1_000_000);
    let received = received.unwrap();
    assert_eq!(received.trailers().unwrap()["x-checksum"], "42");
    assert_eq!(received.to_bytes(), vec![7; 1_000_000]);
}

#[tokio::test]
async fn an_empty_body_ends_at_once() {
    let (sender, receiver) = link().await;
    assert_eq!(send_body(Empty::<Bytes>::new(), sender).await.unwrap(), 0);
    let body = StreamBody::new(receiver, None);
    assert!(body.collect().await.unwrap().to_bytes().is_empty());
}

#[tokio::test]
async fn the_end_travels_with_the_last_data() {
    let (sender, receiver) = link().await;
    send_body(Full::new(Bytes::from_static(b"all")), sender).await.unwrap();
    let mut body = StreamBody::new(receiver, Some(3));
    assert_eq!(body.size_hint().exact(), Some(3));
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "all");
    assert!(body.is_end_stream(), "no second frame is needed to see the end");
    assert_eq!(body.size_hint().exact(), Some(0));
}

#[tokio::test]
async fn each_chunk_is_sent_as_soon_as_it_comes() {
    let (sender, receiver) = link().await;
    let (chunks, body) = channel();
    tokio::spawn(send_body(body, sender));
    let mut received = StreamBody::new(receiver, None);
    for word in ["first", "", "second"] {
        chunks.send(Ok(Frame::data(Bytes::from(word)))).await.unwrap();
        if !word.is_empty() {
            let frame = received.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), word);
        }
    }
}

#[tokio::test]
async fn a_body_that_fails_arrives_as_cut() {
    let (sender, receiver) = link().await;
    let (chunks, body) = channel();
    chunks.send(Ok(Frame::data(Bytes::from_static(b"half")))).await.unwrap();
    chunks.send(Err("the app died")).await.unwrap();
    let (sent, received) =
        tokio::join!(send_body(body, sender), StreamBody::new(receiver, None).collect());
    assert!(matches!(sent, Err(SendError::Body("the app died"))));
    assert_eq!(reset_with(&received.unwrap_err()), Some(Reason::INTERNAL_ERROR));
}

#[tokio::test]
async fn a_sender_that_is_dropped_cuts_the_body() {
    let (sender, receiver) = link().await;
    let (chunks, body) = channel();
    let sending = tokio::spawn(send_body(body, sender));
    chunks.send(Ok(Frame::data(Bytes::from_static(b"half")))).await.unwrap();
    let mut received = StreamBody::new(receiver, None);
    received.frame().await.unwrap().unwrap();
    sending.abort();
    let cut = received.frame().await.unwrap().unwrap_err();
    assert_eq!(reset_with(&cut), Some(Reason::CANCEL));
}

#[tokio::test]
async fn a_reset_ends_sending_while_the_body_is_silent() {
    let (sender, receiver) = link().await;
    let (_chunks, body) = channel();
    let sending = tokio::spawn(send_body(body, sender));
    tokio::task::yield_now().await;
    drop(receiver);
    let sent = timeout(PATIENCE, sending).await.expect("sending ends").unwrap();
    assert!(matches!(sent, Err(SendError::Reset(Reason::CANCEL))), "{sent:?}");
}

#[tokio::test]
async fn a_reset_ends_sending_while_the_window_is_shut() {
    let (sender, receiver) = link().await;
    let body = Full::new(Bytes::from(vec![0; 10_000_000]));
    let sending = tokio::spawn(send_body(body, sender));
    let mut received = StreamBody::new(receiver, None);
    received.frame().await.unwrap().unwrap();
    drop(received);
    let sent = timeout(PATIENCE, sending).await.expect("sending ends").unwrap();
    assert!(matches!(sent, Err(SendError::Reset(Reason::CANCEL))), "{sent:?}");
}

#[tokio::test]
async fn a_lost_connection_is_an_error_on_both_sides() {
    let (sender, receiver, connections) = link_with_connections().await;
    let (chunks, body) = channel();
    let sending = tokio::spawn(send_body(body, sender));
    chunks.send(Ok(Frame::data(Bytes::from_static(b"half")))).await.unwrap();
    let mut received = StreamBody::new(receiver, None);
    received.frame().await.unwrap().unwrap();
    for connection in connections {
        connection.abort();
    }
    assert!(timeout(PATIENCE, received.frame()).await.unwrap().unwrap().is_err());
    assert!(timeout(PATIENCE, sending).await.unwrap().unwrap().is_err());
}

#[tokio::test]
async fn a_slow_reader_slows_the_body_down() {
    let (sender, receiver) = link().await;
    let (chunks, body) = channel();
    tokio::spawn(send_body(body, sender));
    let mut taken: u32 = 0;
    let chunk = Bytes::from(vec![0; 64 * 1024]);
    // As long as nobody reads, chunks are taken until windows and buffers are full.
    while let Ok(sent) =
        timeout(Duration::from_millis(500), chunks.send(Ok(Frame::data(chunk.clone())))).await
    {
        sent.unwrap();
        taken += 1;
        assert!(taken < 100, "6 MB were taken though nobody reads");
    }
    drop(chunks);
    let received = StreamBody::new(receiver, None).collect().await.unwrap();
    assert_eq!(received.to_bytes().len(), taken as usize * 64 * 1024);
}

const PATIENCE: Duration = Duration::from_secs(20);

type Chunk = Result<Frame<Bytes>, &'static str>;

/// A body that is fed by hand.
fn channel() -> (mpsc::Sender<Chunk>, Receiver) {
    let (sender, receiver) = mpsc::channel(2);
    (sender, Receiver(receiver))
}

struct Receiver(mpsc::Receiver<Chunk>);

impl Body for Receiver {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        self.0.poll_recv(cx)
    }
}

const fn reset_with(error: &Error) -> Option<Reason> {
    if let Error::Reset { reason, .. } = error { Some(*reason) } else { None }
}

async fn link() -> (Sending, Receiving) {
    let (sender, receiver, _) = link_with_connections().await;
    (sender, receiver)
}

/// A server's response stream and the client's end of it, with the tasks that drive them.
async fn link_with_connections() -> (Sending, Receiving, [JoinHandle<()>; 2]) {
    let (near, far) = duplex(64 * 1024);
    let server = tokio::spawn(async move {
        let mut connection = http2::server(far, CONFIG);
        let (_, respond) = connection.accept().await.unwrap().unwrap();
        let stream = respond.send_response(&Response::new(()), false).unwrap();
        let driver = tokio::spawn(async move { while connection.accept().await.is_some() {} });
        (stream, driver)
    });
    let (opener, mut connection) = http2::client(near, CONFIG);
    let client_driver = tokio::spawn(async move { drop(connection.run().await) });
    let (response, _) = opener.open(&Request::new(()), true).unwrap();
    let response = response.response().await.unwrap().into_body();
    let (stream, server_driver) = server.await.unwrap();
    (stream, response, [client_driver, server_driver])
}

const CONFIG: Config = Config {
    stream_window: 64 << 10,
    connection_window: 64 << 10,
    frame_bytes: 16 << 10,
    head_bytes: 16 << 10,
    streams_max: 10,
};
