//! The app behind every contender: one process, one thread, bytes made beforehand, no framework.
//!
//! | request | answer |
//! |---|---|
//! | `GET /100k`, `GET /10m` | that many bytes |
//! | `GET /events` | 100 server-sent events, 10 ms apart |
//! | `POST /upload` | how many bytes came |
//! | `POST /echo` | the same body, while it comes |
//! | anything else | `Hello, world!` |

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::http1::{Body, HEADERS_MAX};

/// Serves on `address` until it is killed.
pub(crate) async fn serve(address: SocketAddr) -> io::Result<()> {
    let listener = listen(address)?;
    let pages = Arc::new(Pages::new());
    loop {
        // A connection that failed while it was accepted is the client's loss.
        let Ok((stream, _)) = listener.accept().await else { continue };
        stream.set_nodelay(true)?;
        let pages = Arc::clone(&pages);
        tokio::spawn(async move {
            // A client that leaves is nothing to tell of.
            connection(stream, &pages).await.ok();
        });
    }
}

/// With room for a thousand clients that come at once.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4_096)
}

/// Whole answers.
struct Pages {
    small: Bytes,
    kib_100: Bytes,
    mib_10: Bytes,
}

impl Pages {
    fn new() -> Self {
        Self {
            small: page(b"Hello, world!"),
            kib_100: page(&vec![b'x'; 100 << 10]),
            mib_10: page(&vec![b'x'; 10 << 20]),
        }
    }
}

fn page(content: &[u8]) -> Bytes {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
        content.len()
    );
    [head.as_bytes(), content].concat().into()
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
enum Wish {
    Echo,
    Events,
    Kib100,
    Mib10,
    Small,
    Upload,
}

async fn connection(mut stream: TcpStream, pages: &Pages) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(BUFFER_BYTES);
    loop {
        let (wish, body) = loop {
            if let Some((wish, body, length)) = head(&buffer)? {
                buffer.advance(length);
                break (wish, body);
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        match wish {
            Wish::Small => stream.write_all(&pages.small).await?,
            Wish::Kib100 => stream.write_all(&pages.kib_100).await?,
            Wish::Mib10 => stream.write_all(&pages.mib_10).await?,
            Wish::Events => events(&mut stream).await?,
            Wish::Upload => upload(&mut stream, &mut buffer, body).await?,
            Wish::Echo => echo(&mut stream, &mut buffer, body).await?,
        }
    }
}

/// A request's head, what follows it, and its length, once it is complete.
fn head(bytes: &[u8]) -> io::Result<Option<(Wish, Body, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = request.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let wish = match request.path {
        Some("/100k") => Wish::Kib100,
        Some("/10m") => Wish::Mib10,
        Some("/events") => Wish::Events,
        Some("/upload") => Wish::Upload,
        Some("/echo") => Wish::Echo,
        Some(_) | None => Wish::Small,
    };
    Ok(Some((wish, Body::after(request.headers)?, length)))
}

async fn upload(stream: &mut TcpStream, buffer: &mut BytesMut, mut body: Body) -> io::Result<()> {
    let mut content = 0;
    loop {
        let taken = body.take(buffer)?;
        buffer.advance(taken.bytes);
        content += taken.content;
        if body.is_over() {
            break;
        }
        more(stream, buffer).await?;
    }
    stream.write_all(&page(content.to_string().as_bytes())).await
}

/// Sends the body back as it comes, its framing included.
async fn echo(stream: &mut TcpStream, buffer: &mut BytesMut, mut body: Body) -> io::Result<()> {
    let framing = match body {
        Body::Length(length) => format!("Content-Length: {length}"),
        Body::Chunked(_) => "Transfer-Encoding: chunked".to_owned(),
    };
    stream.write_all(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n").as_bytes()).await?;
    loop {
        let taken = body.take(buffer)?;
        stream.write_all(&buffer[..taken.bytes]).await?;
        buffer.advance(taken.bytes);
        if body.is_over() {
            return Ok(());
        }
        more(stream, buffer).await?;
    }
}

async fn more(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<()> {
    buffer.reserve(BUFFER_BYTES);
    match stream.read_buf(buffer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

async fn events(stream: &mut TcpStream) -> io::Result<()> {
    // The last header keeps nginx from gathering events.
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
                X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let mut ticks = tokio::time::interval(EVENTS_PERIOD);
    for number in 0..EVENTS {
        ticks.tick().await;
        let event = format!("id: {number:04}\ndata: {:080}\n\n", number);
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        stream.write_all(chunk.as_bytes()).await?;
    }
    stream.write_all(b"0\r\n\r\n").await
}

/// Events of one answer, and the time between two.
pub(crate) const EVENTS: u32 = 100;
const EVENTS_PERIOD: Duration = Duration::from_millis(10);
const BUFFER_BYTES: usize = 64 << 10;
