//! An app that counts what it is asked to do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::listen;

/// The app's books.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    executed: Mutex<BTreeMap<String, u32>>,
    begun: Mutex<u32>,
    /// A request for `/leave` was executed.
    pub(crate) left: Notify,
}

impl Counts {
    /// How often a request was executed.
    pub(crate) fn executed(&self, id: &str) -> u32 {
        self.executed.lock().unwrap().get(id).copied().unwrap_or(0)
    }

    /// How many requests were begun: of which at least a byte has arrived.
    pub(crate) fn begun(&self) -> u32 {
        *self.begun.lock().unwrap()
    }
}

/// Starts the app; gives its port.
pub(crate) async fn start(counts: Arc<Counts>) -> u16 {
    let listener = listen().await;
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counts = Arc::clone(&counts);
            tokio::spawn(async move { serve(stream, &counts).await });
        }
    });
    port
}

/// Serves a connection until it ends, wherever it ends.
async fn serve(mut stream: TcpStream, counts: &Counts) -> Option<()> {
    loop {
        let mut head = vec![stream.read_u8().await.ok()?];
        *counts.begun.lock().unwrap() += 1;
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        // As early as an app can begin: before it has seen the body.
        let head = String::from_utf8(head).unwrap();
        let id = field(&head, "x-id").unwrap().to_owned();
        *counts.executed.lock().unwrap().entry(id).or_default() += 1;
        if head.starts_with("GET /leave ") {
            counts.left.notify_waiters();
        }
        let length = field(&head, "content-length").map_or(0, |text| text.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await.ok()?;
    }
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}
