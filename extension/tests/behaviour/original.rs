//! A stand-in for the original's router, as the description of its wire has it: parks channels,
//! writes heads as text, reads answers with the original's parser, releases channels late.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use io_tokio::clock::Clock;
use io_tokio::rfc3339;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::h2_body;
use crate::stage::{eventually, soon};

/// What it says to a POST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Park,
    Say(u16),
}

/// A parked POST.
pub(crate) struct Parked {
    pub(crate) channel: String,
    pub(crate) down: SendStream<Bytes>,
    pub(crate) up: RecvStream,
}

/// What the original's parser makes of an answer.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the stream ended, and was not reset.
    pub(crate) whole: bool,
}

#[derive(Debug)]
pub(crate) struct Original {
    pub(crate) address: SocketAddr,
    desk: Arc<Desk>,
    accepting: tokio::task::JoinHandle<()>,
    count: u32,
}

#[derive(Debug)]
struct Desk {
    parked: Mutex<VecDeque<Parked>>,
    posts: Mutex<Answer>,
    pings: Mutex<u16>,
    /// How long the answer to a close is held, and whether the channels are released after it.
    hold: Mutex<(Duration, bool)>,
    asked: Mutex<Vec<String>>,
}

impl std::fmt::Debug for Parked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.channel)
    }
}

impl Original {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Arc::new(Desk {
            parked: Mutex::default(),
            posts: Mutex::new(Answer::Park),
            pings: Mutex::new(200),
            hold: Mutex::new((Duration::ZERO, true)),
            asked: Mutex::default(),
        });
        let serving = Arc::clone(&desk);
        let accepting = tokio::spawn(async move {
            // Ends with the listener: as if the process were gone.
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(Arc::clone(&serving).connection(stream));
            }
        });
        Self { address, desk, accepting, count: 0 }
    }

    /// A payload as the original writes it.
    pub(crate) fn payload(&mut self, channels: u8) -> Vec<u8> {
        self.count += 1;
        let sent = rfc3339::format(Clock::start().wall());
        format!(
            r#"{{"PoolId":"default","Id":"6a8c2f0e-{}","DispatcherUrl":"http://{}/api/chunked",
                "NumberOfChannels":{channels},"SentTime":"{sent}","InitOnly":false}}"#,
            self.count, self.address
        )
        .into_bytes()
    }

    pub(crate) fn id(&self) -> String {
        format!("6a8c2f0e-{}", self.count)
    }

    pub(crate) fn answer_posts(&self, answer: Answer) {
        *self.desk.posts.lock().unwrap() = answer;
    }

    pub(crate) fn answer_pings(&self, status: u16) {
        *self.desk.pings.lock().unwrap() = status;
    }

    pub(crate) fn hold_closes(&self, hold: Duration, releases: bool) {
        *self.desk.hold.lock().unwrap() = (hold, releases);
    }

    pub(crate) fn asked(&self, what: &str) -> bool {
        self.desk.asked.lock().unwrap().iter().any(|path| path.contains(what))
    }

    /// How many channels are parked.
    pub(crate) fn parked(&self) -> usize {
        self.desk.parked.lock().unwrap().len()
    }

    pub(crate) async fn until_parked(&self, number: usize) {
        eventually("channels are parked", || self.parked() == number).await;
    }

    /// The channel that was parked first.
    pub(crate) async fn take(&self) -> Parked {
        eventually("a channel is parked", || self.parked() > 0).await;
        self.desk.parked.lock().unwrap().pop_front().unwrap()
    }

    /// Tells a channel to leave, as the original does.
    pub(crate) fn release(&self, parked: Parked) {
        release(&self.id(), parked);
    }

    /// Is gone at once, with all its connections.
    pub(crate) async fn vanish(self) {
        self.accepting.abort();
        drop(self.accepting.await);
        self.desk.parked.lock().unwrap().clear();
    }
}

fn release(id: &str, mut parked: Parked) {
    let order = format!(
        "GET /_lambda_dispatch/goaway HTTP/1.1\r\nX-Lambda-Id: {id}\r\nX-Channel-Id: {}\r\n\r\n",
        parked.channel
    );
    parked.down.send_data(order.into(), true).ok();
}

impl Desk {
    async fn connection(self: Arc<Self>, stream: tokio::net::TcpStream) {
        let handshake = h2::server::Builder::new().max_concurrent_streams(100).handshake(stream);
        let mut connection = handshake.await.unwrap();
        let mut tasks = JoinSet::new();
        while let Some(Ok((request, respond))) = connection.accept().await {
            tasks.spawn(Arc::clone(&self).answer(request, respond));
        }
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) {
        let (parts, up) = request.into_parts();
        let path = parts.uri.path().to_owned();
        self.asked.lock().unwrap().push(path.clone());
        let ids: Vec<_> = parts.headers.get_all("x-lambda-id").iter().collect();
        assert_eq!(ids.len(), 1, "exactly one id");
        let words: Vec<_> = path.split('/').collect();
        let say = |status: u16| Response::builder().status(status).body(()).unwrap();
        match words[..] {
            ["", "api", "chunked", "request", id, channel] => {
                assert_eq!(ids[0], id);
                assert_eq!(parts.headers["x-channel-id"], channel);
                let answer = *self.posts.lock().unwrap();
                if let Answer::Say(status) = answer {
                    respond.send_response(say(status), true).unwrap();
                    let mut up = up;
                    while let Some(Ok(_)) = up.data().await {}
                    return;
                }
                let down = respond.send_response(say(200), false).unwrap();
                let parked = Parked { channel: channel.to_owned(), down, up };
                self.parked.lock().unwrap().push_back(parked);
            }
            ["", "api", "chunked", "ping", _] => {
                let status = *self.pings.lock().unwrap();
                respond.send_response(say(status), true).unwrap();
            }
            ["", "api", "chunked", "close", id] => {
                let (hold, releases) = *self.hold.lock().unwrap();
                tokio::time::sleep(hold).await;
                *self.posts.lock().unwrap() = Answer::Say(409);
                respond.send_response(say(200), true).unwrap();
                if !releases {
                    return;
                }
                loop {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    let parked: Vec<_> = self.parked.lock().unwrap().drain(..).collect();
                    parked.into_iter().for_each(|parked| release(id, parked));
                }
            }
            _ => panic!("nothing is at {path}"),
        }
    }
}

impl Parked {
    /// Writes bytes of a request as they are.
    pub(crate) async fn write(&mut self, bytes: impl Into<Bytes>, end: bool) {
        h2_body::write(&mut self.down, bytes.into()).await;
        if end {
            self.down.send_data(Bytes::new(), true).ok();
        }
    }

    /// Sends a request without a body and waits for its answer.
    pub(crate) async fn get(mut self, target: &str) -> Answered {
        let head = format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n\r\n");
        self.write(head, true).await;
        self.answered().await
    }

    /// Reads an answer to its end, as the original does.
    pub(crate) async fn answered(&mut self) -> Answered {
        soon("an answer ends", read(&mut self.up)).await
    }

    /// Writes the rest of a request while its answer is read.
    pub(crate) async fn echoed(mut self, body: Vec<u8>) -> Answered {
        let (down, up) = (&mut self.down, &mut self.up);
        let writing = async {
            h2_body::write(down, body.into()).await;
            down.send_data(Bytes::new(), true).ok();
        };
        let ((), answered) =
            soon("an answer ends", async { tokio::join!(writing, read(up)) }).await;
        answered
    }
}

async fn read(up: &mut RecvStream) -> Answered {
    let mut bytes = Vec::new();
    while let Some(piece) = up.data().await {
        let Ok(piece) = piece else { return parse(&bytes, false) };
        up.flow_control().release_capacity(piece.len()).unwrap();
        bytes.extend_from_slice(&piece);
    }
    parse(&bytes, true)
}

fn parse(bytes: &[u8], whole: bool) -> Answered {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        assert!(bytes.is_empty() || !whole, "half a head: {bytes:?}");
        return Answered { status: 502, headers: Vec::new(), body: Vec::new(), whole };
    };
    assert!(end + 4 <= 32_768, "the rest of the head would be taken for the body");
    let text: String = bytes[..end].iter().map(|byte| char::from(*byte)).collect();
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .map(|line| {
            let (name, value) = line.split_once(": ").expect("a colon and a space");
            (name.to_owned(), value.to_owned())
        })
        .collect();
    Answered { status, headers, body: bytes[end + 4..].to_vec(), whole }
}

impl Answered {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
