//! An app that shows the bytes it is sent. It runs in the test, on the port that an environment was
//! given for its app.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::stage::Stage;

/// What the app was sent.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: Vec<u8>,
    pub(crate) body: Body,
}

/// A request's body, as far as it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Arriving,
    Cut,
    Whole(Vec<u8>),
}

/// All that reached the app, in the order in which it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct RawApp(Arc<Mutex<Vec<Seen>>>);

impl RawApp {
    /// A router with an environment whose app this is.
    pub(crate) async fn stage(settings: &[&str]) -> (Stage, Self) {
        let app = Self::default();
        let serving = app.clone();
        let stage =
            Stage::served(&[], settings, move |stream| serving.clone().connection(stream)).await;
        (stage, app)
    }

    /// The request with `mark` in its head, once that has come.
    pub(crate) fn seen(&self, mark: &str) -> Option<Seen> {
        let seen = self.0.lock().unwrap();
        seen.iter().find(|it| contains(&it.head, mark.as_bytes())).cloned()
    }

    /// Each request with `mark` in its target.
    pub(crate) fn all_seen(&self, mark: &str) -> Vec<Seen> {
        let seen = self.0.lock().unwrap();
        seen.iter().filter(|it| has_in_target(it, mark)).cloned().collect()
    }

    /// The same, and forgets the marks so that they are not seen again.
    pub(crate) fn take_seen(&self, mark: &str) -> Vec<Seen> {
        let mut taken = Vec::new();
        for seen in self.0.lock().unwrap().iter_mut() {
            if has_in_target(seen, mark) {
                taken.push(seen.clone());
                seen.head.clear();
            }
        }
        taken
    }

    /// Serves whoever connects to `listener`.
    pub(crate) async fn serve(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(self.clone().connection(stream));
        }
    }

    pub(crate) async fn connection(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some(head) = head(&mut stream).await {
            let starts = |target: &str| contains(&head[..head.len().min(80)], target.as_bytes());
            if starts(" /early") {
                // Answers without a look at the body, and goes.
                let answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 6\r\n\r\nlarge\n";
                stream.write_all(answer).await.ok();
                return;
            }
            let place = {
                let mut all = self.0.lock().unwrap();
                all.push(Seen { head: head.clone(), body: Body::Arriving });
                all.len() - 1
            };
            if starts("/endless") {
                self.write_for_ever(&mut stream, place).await;
                return;
            }
            let body = body(&mut stream, &head).await.map_or(Body::Cut, Body::Whole);
            self.0.lock().unwrap()[place].body = body.clone();
            if starts("/hang") {
                // Until the client goes, or what stands for it.
                stream.read_u8().await.ok();
                self.0.lock().unwrap()[place].body = Body::Cut;
                return;
            }
            if let Some(bytes) = dictated(&head) {
                stream.write_all(&bytes).await.ok();
                return;
            }
            if body == Body::Cut || stream.write_all(&answer(&head, starts)).await.is_err() {
                return;
            }
        }
    }
}

impl RawApp {
    /// An answer that only its reader ends; this side of it is then cut.
    async fn write_for_ever(&self, stream: &mut BufReader<TcpStream>, place: usize) {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n";
        let mut sent = stream.write_all(head.as_bytes()).await;
        while sent.is_ok() {
            sent = stream.write_all(&[b'x'; 16 << 10]).await;
        }
        self.0.lock().unwrap()[place].body = Body::Cut;
    }
}

/// The bytes that a target `.../answer/HEX` asks for as the answer, after which the app goes.
fn dictated(head: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(head);
    let hex = text.lines().next()?.split_once("/answer/")?.1.split(' ').next()?;
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    Some((0..hex.len()).step_by(2).map(byte).collect())
}

fn answer(head: &[u8], starts: impl Fn(&str) -> bool) -> Vec<u8> {
    if starts(" /204") {
        return b"HTTP/1.1 204 No Content\r\nX-App: 1\r\n\r\n".to_vec();
    }
    if starts(" /304") {
        return b"HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n".to_vec();
    }
    let length = if starts("HEAD") { 0 } else { head.len() };
    let lines = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", head.len());
    let mut answer = lines.into_bytes();
    answer.extend_from_slice(
        b"Set-Cookie: a=1\r\nX-Latin: caf\xe9\r\nSet-Cookie: b=2\r\nX-Lambda-Id: forged\r\n\r\n",
    );
    answer.extend_from_slice(&head[..length]);
    answer
}

pub(crate) async fn head(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_until(b'\n', &mut head).await.ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

/// The body, unless it was cut.
pub(crate) async fn body(stream: &mut BufReader<TcpStream>, head: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(head).to_lowercase();
    let mut body = Vec::new();
    if let Some((_, rest)) = text.split_once("content-length: ") {
        let length = rest.lines().next()?.trim().parse().ok()?;
        if length > PIECE_BYTES_MAX {
            return None;
        }
        body.resize(length, 0);
        stream.read_exact(&mut body).await.ok()?;
    } else if text.contains("transfer-encoding: chunked") {
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok()?;
            let size = usize::from_str_radix(line.trim(), 16).ok()?;
            let start = body.len();
            if size > PIECE_BYTES_MAX {
                return None;
            }
            body.resize(start + size, 0);
            stream.read_exact(&mut body[start..]).await.ok()?;
            stream.read_exact(&mut [0; 2]).await.ok()?;
            if size == 0 {
                break;
            }
        }
    }
    Some(body)
}

fn has_in_target(seen: &Seen, mark: &str) -> bool {
    contains(&seen.head[..seen.head.len().min(100)], mark.as_bytes())
}

/// More is nonsense, or another proxy's idea of it.
const PIECE_BYTES_MAX: usize = 64 << 20;

pub(crate) fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|it| it == part)
}
