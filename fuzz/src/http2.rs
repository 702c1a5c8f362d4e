//! An HTTP/2 link under what its peer and the holders of its streams do.
//!
//! ```text
//!   bytes ──▶ frames, most of them fine ──▶ pipe ──▶ connection ◀── handles ◀── bytes
//!                 peer, who checks all  ◀──      ◀──
//! ```
//!
//! The first byte chooses the side and its limits. Each of the others is a step, or says more about
//! one: what the peer sends, in what pieces it comes, how much can be written, what is done with
//! the handles. Whoever waits is polled only after a wake. When the bytes are over the connection
//! ends, and all that is held of it must end too.

mod fields;
mod frames;
mod held;
mod peer;
mod pipe;

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use io_tokio::http2::{self, ClientConnection, Config, Opener, Pinger, ServerConnection};

use frames::{Choices, Frame, PREFACE};
use held::{Held, Reader, Writer};
use peer::Peer;
use pipe::{Flag, Pipe};

/// Plays `bytes` to one side of a connection, twice.
///
/// # Panics
///
/// The connection breaks HTTP/2's rules or a window, waits for what is there, does not end, or
/// does not say the same both times: a find.
pub fn http2(bytes: &[u8]) {
    let Some((&how, rest)) = bytes.split_first() else { return };
    let said = World::new(how).play(Choices(rest));
    let again = World::new(how).play(Choices(rest));
    assert!(said == again, "the same input led to another output");
}

/// A connection, its peer and its users.
struct World {
    pipe: Pipe,
    peer: Peer,
    config: Config,
    link: Link,
    driver: Arc<Flag>,
    has_ended: bool,
    held: Vec<Held>,
    pinger: Pinger,
    /// What the peer sends, and has not yet come.
    pending: Vec<u8>,
    /// Of heads, so that each is told from the others.
    heads: u64,
    /// All that the connection has written.
    said: Vec<u8>,
    lets_go_first: bool,
    has_flooded: bool,
}

enum Link {
    Client { connection: ClientConnection<Pipe>, opener: Option<Opener> },
    Server { connection: ServerConnection<Pipe> },
}

impl World {
    fn new(how: u8) -> Self {
        let is_server = how & 1 == 0;
        let config = Config {
            stream_window: if how & 8 == 0 { 65_535 } else { 1_000 },
            connection_window: if how & 8 == 0 { 1 << 20 } else { 65_535 },
            frame_bytes: if how & 64 == 0 { 16_384 } else { 1 << 17 },
            head_bytes: 16 << 10,
            streams_max: if how & 32 == 0 { 100 } else { 2 },
        };
        let pipe = Pipe::new(how & 4 == 0);
        let (link, pinger) = if is_server {
            let connection = http2::server(pipe.clone(), config);
            let pinger = connection.pinger();
            (Link::Server { connection }, pinger)
        } else {
            let (opener, connection) = http2::client(pipe.clone(), config);
            let pinger = connection.pinger();
            (Link::Client { connection, opener: Some(opener) }, pinger)
        };
        let mut world = Self {
            pipe,
            peer: Peer::new(config, is_server),
            config,
            link,
            driver: Flag::new(),
            has_ended: false,
            held: Vec::new(),
            pinger,
            pending: Vec::new(),
            heads: 0,
            said: Vec::new(),
            lets_go_first: how & 16 != 0,
            has_flooded: false,
        };
        world.begin(how & 2 == 0, how & 128 == 0);
        world
    }

    /// With what nearly every connection begins.
    fn begin(&mut self, is_greeted: bool, opens: bool) {
        if is_greeted {
            if self.is_server() {
                self.pending.extend_from_slice(PREFACE);
            }
            let settings = Frame { kind: frames::SETTINGS, flags: 0, stream: 0, payload: vec![] };
            self.pending.extend(settings.bytes());
        }
        if opens && !self.is_server() {
            for how in 0..4 {
                self.open(how);
            }
        }
    }

    const fn is_server(&self) -> bool {
        matches!(self.link, Link::Server { .. })
    }

    fn play(mut self, mut choices: Choices<'_>) -> Vec<u8> {
        for _ in 0..STEPS_MAX {
            if choices.0.is_empty() {
                break;
            }
            let step = choices.next();
            let what = step & 0x1f;
            match what {
                0..=15 => {
                    // The last of them, which is noise, is rare.
                    let kind = [0, 0, 1, 1, 2, 2, 3, 4, 4, 5, 5, 6, 7, 8, 9, 10][usize::from(what)];
                    let last = self.peer.last_id();
                    let frames = choices.frames(kind, self.is_server(), last);
                    self.pending.extend(frames);
                    if step & 0x80 == 0 {
                        self.deliver();
                    }
                }
                _ => {
                    self.use_handles(what, &mut choices);
                    if step & 0x80 == 0 {
                        self.drive();
                    }
                }
            }
        }
        self.finish()
    }

    /// What was sent comes.
    fn deliver(&mut self) {
        let bytes = std::mem::take(&mut self.pending);
        self.peer.sends(&bytes);
        self.pipe.push(&bytes);
        self.drive();
    }

    // The connection.

    /// Runs the connection until it waits.
    ///
    /// # Panics
    ///
    /// It never does, or it could go on: a find.
    fn drive(&mut self) {
        let mut turns = 0;
        while !self.has_ended && self.driver.take() {
            self.poll();
            turns += 1;
            assert!(turns < TURNS_MAX, "the connection wakes itself for ever");
        }
        let before = (self.pipe.unread(), self.said.len(), self.held.len(), self.has_ended);
        if !self.has_ended {
            self.poll();
        }
        let after = (self.pipe.unread(), self.said.len(), self.held.len(), self.has_ended);
        assert_eq!(before, after, "the connection waits for what is there");
        if !self.has_ended && self.pipe.is_open() {
            assert_eq!(self.pipe.unread(), 0, "the connection does not read");
            assert!(self.peer.is_between_frames(), "the connection stopped amid a frame");
            // Who has said all answers nothing any more.
            if !self.pipe.is_shut() {
                self.peer.settle();
            }
        }
    }

    fn poll(&mut self) {
        let waker = Waker::from(Arc::clone(&self.driver));
        let cx = &mut Context::from_waker(&waker);
        match &mut self.link {
            Link::Client { connection, .. } => {
                self.has_ended = pin!(connection.run()).poll(cx).is_ready();
            }
            Link::Server { connection } => loop {
                match pin!(connection.accept()).poll(cx) {
                    Poll::Ready(Some(Ok((request, responder)))) => {
                        let reader = Reader::Receiving(request.into_body());
                        self.held.push(Held::new(reader, Writer::Responder(responder)));
                    }
                    Poll::Ready(Some(Err(_)) | None) => {
                        self.has_ended = true;
                        break;
                    }
                    Poll::Pending => break,
                }
            },
        }
        let written = self.pipe.take_written();
        self.peer.takes(&written);
        self.said.extend(written);
    }

    // Its users.

    fn use_handles(&mut self, what: u8, choices: &mut Choices<'_>) {
        self.peer.is_quiet = false;
        match what {
            16 => self.pipe.set_piece(usize::from(choices.next()) + 1),
            17 => {
                let room = choices.size();
                self.pipe.set_room(if room.is_multiple_of(2) { usize::MAX } else { room / 2 });
            }
            18 if self.is_server() => {
                let held = choices.next();
                self.respond(held, choices.next());
            }
            18 => self.open(choices.next()),
            19 => self.leave(choices.next()),
            20 => match choices.next() {
                // Rare, since it takes long.
                0xff => self.flood(),
                _ => self.pinger.send(),
            },
            _ => {
                let held = choices.next();
                self.use_stream(what, held, choices);
            }
        }
        self.held.retain(|held| !held.is_gone());
    }

    fn use_stream(&mut self, what: u8, held: u8, choices: &mut Choices<'_>) {
        if self.held.is_empty() {
            return;
        }
        let index = usize::from(held) % self.held.len();
        let head = matches!(what, 21).then(|| self.fields(choices.next()));
        let held = &mut self.held[index];
        match what {
            21 => {
                let trailers = head.unwrap_or_default();
                if held.send_trailers(trailers.clone()) {
                    self.expect(&trailers);
                }
            }
            22..=24 => {
                let (size, how) = (choices.size(), choices.next());
                let room = match held.room() {
                    Some(Ok(room)) => room,
                    Some(Err(_)) | None if how & 8 == 0 => return,
                    Some(Err(_)) | None => size,
                };
                // Some fill memory, as they may.
                let size = if how & 0x88 == 0x88 { size } else { size.min(room) };
                held.send(size, how & 7 == 0);
            }
            25..=27 => {
                for _ in 0..=choices.next() % 8 {
                    if !matches!(held.read(), Poll::Ready(Some(_))) {
                        break;
                    }
                }
            }
            28 => drop(self.expect_bounded()),
            29 => held.reset(choices.next() % 16),
            30 => drop(held.broke()),
            _ => {
                let how = choices.next() % 3;
                if how != 1 {
                    held.reader = Reader::Gone;
                }
                if how != 0 {
                    held.writer = Writer::Gone;
                }
            }
        }
    }

    /// Opens a stream, or has it wait.
    fn open(&mut self, how: u8) {
        let fields = self.fields(how);
        let Link::Client { opener: Some(opener), .. } = &self.link else { return };
        let mut request = Request::new(());
        *request.method_mut() = match how % 4 {
            0 => Method::GET,
            1 => Method::HEAD,
            2 => Method::POST,
            _ => Method::CONNECT,
        };
        *request.uri_mut() = if how % 4 == 3 { "h:80" } else { "http://h/p" }.parse().expect("one");
        *request.headers_mut() = fields.clone();
        if let Ok((awaited, sending)) = opener.open(&request, how % 4 < 2) {
            self.held.push(Held::new(Reader::Awaited(awaited), Writer::Sending(sending)));
            self.expect(&fields);
        }
    }

    fn respond(&mut self, held: u8, how: u8) {
        if self.held.is_empty() {
            return;
        }
        let index = usize::from(held) % self.held.len();
        let fields = self.fields(how);
        let mut response = Response::new(());
        *response.headers_mut() = fields.clone();
        let was_sent = if how % 4 == 3 {
            *response.status_mut() = StatusCode::EARLY_HINTS;
            self.held[index].interim(&response)
        } else {
            self.held[index].respond(&response, how.is_multiple_of(4))
        };
        if was_sent {
            self.expect(&fields);
        }
    }

    /// Headers that repeat, that are secret, or that are too long for one frame.
    fn fields(&mut self, how: u8) -> HeaderMap {
        self.heads += 1;
        let mut fields = HeaderMap::new();
        fields.insert("x-n", HeaderValue::from(self.heads));
        let mut add = |name: &'static str, value: &str| {
            let value = HeaderValue::from_str(value).expect("plain");
            fields.append(HeaderName::from_static(name), value);
        };
        match how >> 2 {
            0..=15 => {}
            16..=31 => {
                add("content-type", "text/plain");
                add("cookie", "a=b");
                add("cookie", "c=d");
            }
            few @ 32..=55 => {
                for _ in 0..4 {
                    add("x-few", &few.to_string().repeat(400));
                    add("vary", &few.to_string());
                }
            }
            many => add("x-many", &many.to_string().repeat(20_000)),
        }
        fields
    }

    /// The last fields that were made were sent.
    fn expect(&mut self, fields: &HeaderMap) {
        let plain = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec())
        };
        self.peer.expected.insert(self.heads, fields.iter().map(plain).collect());
    }

    fn leave(&mut self, how: u8) {
        match &mut self.link {
            Link::Client { opener, .. } if how < 64 => *opener = None,
            Link::Client { opener, .. } => *opener = opener.clone(),
            Link::Server { connection } if how < 64 => connection.leave(),
            Link::Server { connection } => {
                let bytes = u32::from(how) << 14;
                connection.set_connection_window(bytes);
                self.config.connection_window = self.config.connection_window.max(bytes);
                self.peer.allow(bytes);
                // Who has the connection polls it next.
                self.driver.set();
            }
        }
    }

    /// What waits to be read is within the windows. Reads it, and returns how much it was.
    fn expect_bounded(&mut self) -> usize {
        let mut all = 0;
        for held in &mut self.held {
            let mut bytes = 0;
            while let Poll::Ready(Some(more)) = held.read() {
                bytes += more;
            }
            let most = self.config.stream_window as usize;
            assert!(bytes <= most, "{bytes} bytes wait on a stream that may have {most}");
            all += bytes;
        }
        assert!(all <= self.config.connection_window as usize, "{all} bytes wait to be read");
        all
    }

    /// The peer may send as much as it should, when `unread` bytes wait to be read.
    fn expect_windows(&self, unread: usize) {
        if !self.has_ended && !self.pipe.is_shut() {
            self.peer.expect_windows(unread);
        }
    }

    /// The peer asks for more answers than it reads.
    fn flood(&mut self) {
        if std::mem::replace(&mut self.has_flooded, true) {
            return;
        }
        self.deliver();
        if self.has_ended {
            return;
        }
        self.pipe.set_room(0);
        self.pipe.set_piece(usize::MAX);
        let ping = Frame { kind: frames::PING, flags: 0, stream: 0, payload: vec![7; 8] }.bytes();
        for _ in 0..FLOOD / 1_000 {
            self.pending = ping.repeat(1_000);
            self.deliver();
        }
        if !self.has_ended && !self.pipe.is_shut() {
            assert!(self.pipe.unread() > 0, "answers without end wait to be written");
        }
        self.pipe.set_room(usize::MAX);
        self.drive();
    }

    /// Ends the connection, and sees to it that everybody notices.
    fn finish(mut self) -> Vec<u8> {
        self.peer.is_quiet = false;
        self.pipe.set_room(usize::MAX);
        self.pipe.set_piece(usize::MAX);
        self.drive();
        self.deliver();
        // Nobody has been told yet of what is read here.
        let unread = self.expect_bounded();
        self.expect_windows(unread);
        self.drive();
        if self.lets_go_first {
            self.held.clear();
            self.drive();
            self.expect_windows(0);
            if let Link::Client { opener, .. } = &mut self.link {
                *opener = None;
                self.drive();
                assert!(self.has_ended, "nothing is left to be done, and it goes on");
            }
        }
        self.pipe.end();
        self.drive();
        assert!(self.has_ended, "the connection goes on after its end");
        for held in &mut self.held {
            held.finish();
        }
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(self.pinger.poll_answer(cx).is_ready(), "a ping outlives its connection");
        self.said
    }
}

const STEPS_MAX: usize = 2_000;
const TURNS_MAX: usize = 100_000;
/// More than a connection may answer before somebody reads the answers.
const FLOOD: usize = 90_000;
