//! One run: a router, its environments, an app, two proxies, and clients.

use std::pin::pin;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispatch_model::{Config, Limits};
use io_tokio::chance::Chance;
use io_tokio::clock::Clock;
use io_tokio::driver::PoolSettings;
use io_tokio::edge::EdgeSettings;
use io_tokio::observe::{Access, AccessLog, Blind};
use io_tokio::routes::Routes;
use io_tokio::running::{Parts, PoolParts, Running, Share};
use io_tokio::split::Split;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::{self, Counts};
use crate::cutting_proxy::{Bytes, Cut, CuttingProxy};
use crate::environment::Environments;
use crate::listen;

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Story {
    Get,
    Post,
    /// One after the other, so that the second finds an open connection to the app.
    Again,
    /// Both at once, on one link.
    Together,
    /// A first request lets its instance go away, and a second one comes in just then.
    Goaway,
}

/// Between whom the connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The extension connects to the router.
    Link,
    /// The extension connects to the app.
    App,
}

/// What a run showed.
pub(crate) struct Shown {
    pub(crate) answers: Vec<Answer>,
    /// How often each request was dispatched, in the order of their ends.
    pub(crate) attempts: Vec<u8>,
    pub(crate) begun: u32,
    pub(crate) has_cut: bool,
    /// The bytes that passed, there and back, at the place of interest.
    pub(crate) passed: [Vec<u8>; 2],
}

/// Without the bytes: they are many, and the offset says enough.
impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for Answer { id, status, whole, executed } in &self.answers {
            let end = if *whole { "whole" } else { "cut" };
            write!(f, "`{id}` executed {executed} times, answered {status} {end}; ")?;
        }
        write!(f, "{} begun; attempts {:?}", self.begun, self.attempts)
    }
}

/// What a client saw of its request, and what the app did.
pub(crate) struct Answer {
    pub(crate) id: &'static str,
    /// 0 if the connection ended without an answer.
    pub(crate) status: u16,
    /// Its body came to its end.
    pub(crate) whole: bool,
    pub(crate) executed: u32,
}

#[derive(Default)]
struct Log(Mutex<Vec<u8>>);

impl AccessLog for Log {
    fn record(&self, access: &Access) {
        self.0.lock().unwrap().push(access.attempts);
    }
}

/// Plays `story`, with a cut at `place`.
pub(crate) async fn play(story: Story, place: Place, cut: Option<Cut>) -> Shown {
    let counts = Arc::<Counts>::default();
    let cut_at = |here| cut.filter(|_| place == here);
    let app = CuttingProxy::start(app::start(Arc::clone(&counts)).await, cut_at(Place::App)).await;
    let instances = listen().await;
    let port = instances.local_addr().unwrap().port();
    let link = CuttingProxy::start(port, cut_at(Place::Link)).await;
    let clients = listen().await;
    let router = clients.local_addr().unwrap().port();
    let log = Arc::new(Log::default());
    let limits = Limits { instances_max: 3, slots: 2, ..Limits::default() };
    let running = Running::start(Parts {
        clients: vec![(clients, None)],
        instances: vec![(instances, None)],
        wire_v1: None,
        clock: Clock::start(),
        pools: vec![PoolParts {
            config: Config::new(limits).unwrap(),
            settings: PoolSettings {
                name: "default".into(),
                function: "f".into(),
                callback_url: format!("http://127.0.0.1:{}", link.port),
                identity: None,
                seed: 1,
                chance: Chance::System,
            },
            invoker: Arc::new(Environments {
                app_port: app.port,
                counts: Arc::clone(&counts),
                made: Arc::new(AtomicUsize::new(0)),
            }),
            access: log.clone(),
            observer: Blind,
        }],
        routes: Routes::all_to(Split::all_to(Share::of_default_pool())),
        edge: EdgeSettings::default(),
        access: Arc::new(Blind),
    });

    let seen = story.told_to(router, &counts).await;
    drop(running);
    let answers = seen
        .into_iter()
        .map(|(id, status, whole)| Answer { id, status, whole, executed: counts.executed(id) })
        .collect();
    let at = if place == Place::Link { &link } else { &app };
    let attempts = log.0.lock().unwrap().clone();
    Shown {
        answers,
        attempts,
        begun: counts.begun(),
        has_cut: at.has_cut(),
        passed: [at.passed(Bytes::There), at.passed(Bytes::Back)],
    }
}

impl Story {
    /// Plays the clients; gives what each of them saw: its id, the status, and a whole body.
    async fn told_to(self, router: u16, counts: &Counts) -> Vec<(&'static str, u16, bool)> {
        let get = |id, path| request(router, id, "GET", path, "");
        let post = request(router, "post", "POST", "/", BODY);
        match self {
            Self::Get => vec![get("get", "/").await],
            Self::Post => vec![post.await],
            Self::Again => vec![get("first", "/").await, get("second", "/").await],
            Self::Together => {
                let (one, other) = tokio::join!(get("get", "/"), post);
                vec![one, other]
            }
            Self::Goaway => {
                let mut first = pin!(get("leave", "/leave"));
                let ended = tokio::select! {
                    biased;
                    () = counts.left.notified() => None,
                    // The cut came before it could let anybody go away.
                    ended = &mut first => Some(ended),
                };
                match ended {
                    Some(ended) => vec![ended, post.await],
                    None => {
                        let (one, other) = tokio::join!(first, post);
                        vec![one, other]
                    }
                }
            }
        }
    }
}

/// Sends a request; gives its id, the status of the answer, and whether that was whole.
async fn request(
    router: u16,
    id: &'static str,
    method: &str,
    path: &str,
    body: &str,
) -> (&'static str, u16, bool) {
    let mut client = TcpStream::connect(("127.0.0.1", router)).await.unwrap();
    let length = match body.len() {
        0 => String::new(),
        length => format!("Content-Length: {length}\r\n"),
    };
    let line = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nX-Id: {id}\r\n");
    let head = format!("{line}Connection: close\r\n{length}\r\n");
    client.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, client.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "{id} has no end after {PATIENCE:?}: {answer:?}");
    let text = String::from_utf8_lossy(&answer);
    let status = text.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    (id, status, status != 200 || text.ends_with("\r\n\r\nhello"))
}

const BODY: &str = "one line of text, and another, that an app may read if it wants to.";
const PATIENCE: Duration = Duration::from_secs(60);
