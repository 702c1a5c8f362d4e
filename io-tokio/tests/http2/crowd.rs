//! How many writes it takes to say what many streams say at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Request;
use io_tokio::http2;
use tokio::io::duplex;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::io::InspectWriter;

use crate::PATIENCE;
use crate::stage::{CONFIG, PIPE_BYTES, Server};

const REQUESTS: usize = 100;

/// How many writes it takes a client to say that many requests, each from a task of its own.
async fn writes_for_a_crowd() -> usize {
    let writes = Arc::new(AtomicUsize::new(0));
    let (near, far) = duplex(PIPE_BYTES);
    let mut server = Server::new(far, CONFIG);
    let count = Arc::clone(&writes);
    let counted = InspectWriter::new(near, move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let (opener, mut connection) = http2::client(counted, CONFIG);
    tokio::spawn(async move { connection.run().await });
    // Both know each other's settings now.
    let (awaited, _sending) = opener.open(&Request::new(()), true).unwrap();
    let (_, respond) = server.next().await;
    drop(respond.send_response(&http::Response::new(()), true).unwrap());
    timeout(PATIENCE, awaited.response()).await.expect("it is answered").unwrap();
    let before = writes.load(Ordering::Relaxed);
    let mut open = JoinSet::new();
    for _ in 0..REQUESTS {
        let opener = opener.clone();
        open.spawn(async move {
            let (awaited, _sending) = opener.open(&Request::new(()), true).unwrap();
            awaited.response().await
        });
    }
    for _ in 0..REQUESTS {
        server.next().await;
    }
    writes.load(Ordering::Relaxed) - before
}

#[tokio::test]
async fn a_crowd_is_one_write_on_one_thread() {
    let writes = tokio::spawn(writes_for_a_crowd()).await.unwrap();
    assert!(writes <= 2, "{writes} writes for {REQUESTS} requests");
}

/// Where what was woken last runs first. On one such thread, so that none helps another.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_crowd_is_few_writes_where_several_threads_serve() {
    let writes = tokio::spawn(writes_for_a_crowd()).await.unwrap();
    assert!(writes <= REQUESTS / 4, "{writes} writes for {REQUESTS} requests");
}
