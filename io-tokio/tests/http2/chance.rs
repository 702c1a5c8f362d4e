//! Both our sides under whatever comes: bodies of all sizes in pieces of all sizes, read slowly or
//! not at all, cut by either side, through small pipes, windows and frames.
//!
//! What arrives whole is what was sent, what was cut is seen to be cut, and nothing is left.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use io_tokio::http2::{
    self, Arrival, Awaited, By, Config, Error, Opener, Reason, Receiving, Sending,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::duplex;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::bodies::{byte, pattern};

/// All of one run.
#[derive(Debug)]
struct Plan {
    pipe_bytes: usize,
    client: Config,
    server: Config,
    exchanges: Vec<Exchange>,
    /// The server leaves after so many requests.
    leaves_after: Option<usize>,
    pings: usize,
    /// The server widens its window to that after each request.
    widened: u32,
}

/// A request and its response.
#[derive(Debug)]
struct Exchange {
    request: Half,
    response: Half,
    /// The server does not look at the body.
    ignores: bool,
    /// The client lets go before it asks for the response.
    is_abandoned: bool,
}

/// One direction.
#[derive(Debug)]
struct Half {
    seed: usize,
    len: usize,
    piece: usize,
    trailers: bool,
    /// Turns that the sender waits between two pieces, and the reader.
    pauses: [usize; 2],
    /// After so many bytes the sender resets the stream.
    reset_after: Option<usize>,
    /// The same, and it just lets go.
    dropped_after: Option<usize>,
    /// The same for the reader.
    unread_after: Option<usize>,
}

impl Plan {
    fn new(rng: &mut StdRng, leaves: bool) -> Self {
        let config = |rng: &mut StdRng, window: u32| Config {
            stream_window: window,
            connection_window: [65_535, 70_000, 1 << 20][rng.random_range(0..3)],
            frame_bytes: [16_384, 20_000, 1 << 20][rng.random_range(0..3)],
            head_bytes: 16 << 10,
            streams_max: [1, 2, 5, 100][rng.random_range(0..4)],
        };
        let window = [1, 100, 10_000, 65_535, 300_000][rng.random_range(0..5)];
        let client = config(rng, window);
        // What a client sends before it has seen a smaller window would be too much for that.
        let window = [65_535, 100_000, 1 << 20][rng.random_range(0..3)];
        let server = config(rng, window);
        let wildness = [0, 1, 3][rng.random_range(0..3)];
        let count = rng.random_range(1..30);
        // A window of 1 lets a byte pass in a turn.
        let len_max = if client.stream_window < 100 { 500 } else { 200_000 };
        let exchanges = (0..count).map(|n| Exchange::new(rng, n, wildness, len_max)).collect();
        Self {
            pipe_bytes: [64, 1_000, 16 << 10, 1 << 20][rng.random_range(0..4)],
            client,
            server,
            exchanges,
            leaves_after: leaves.then(|| rng.random_range(0..count)),
            pings: rng.random_range(0..5),
            widened: rng.random_range(0..2_000_000),
        }
    }
}

impl Exchange {
    fn new(rng: &mut StdRng, n: usize, wildness: u32, len_max: usize) -> Self {
        Self {
            request: Half::new(rng, 2 * n, wildness, len_max),
            response: Half::new(rng, 2 * n + 1, wildness, len_max),
            ignores: rng.random_ratio(wildness, 20),
            is_abandoned: rng.random_ratio(wildness, 30),
        }
    }

    /// Whether either side ends it before its time.
    const fn is_cut(&self) -> bool {
        self.is_abandoned || self.request.is_cut() || self.response.is_cut()
    }
}

impl Half {
    fn new(rng: &mut StdRng, seed: usize, wildness: u32, len_max: usize) -> Self {
        let len = match rng.random_range(0..4) {
            0 => 0,
            1 => rng.random_range(0..100),
            2 => rng.random_range(0..20_000),
            _ => rng.random_range(0..200_000),
        };
        let len = len.min(len_max);
        let piece = [1 + len / 100, 1_000, 16_384, 100_000][rng.random_range(0..4)];
        let mut cut = || rng.random_ratio(wildness, 30).then(|| rng.random_range(0..=len));
        let [reset_after, dropped_after, unread_after] = [cut(), cut(), cut()];
        let trailers = rng.random_ratio(1, 4);
        let pauses = [[0, 0], [3, 0], [0, 3], [1, 20]][rng.random_range(0..4)];
        Self { seed, len, piece, trailers, pauses, reset_after, dropped_after, unread_after }
    }

    const fn is_cut(&self) -> bool {
        self.reset_after.is_some() || self.dropped_after.is_some() || self.unread_after.is_some()
    }

    fn trailers(&self) -> Option<HeaderMap> {
        let value = self.seed.to_string().parse().unwrap();
        self.trailers.then(|| HeaderMap::from_iter([("x-sum".parse().unwrap(), value)]))
    }

    /// Sends it, or what there is to be sent of it.
    async fn send(&self, sending: &mut Sending) -> Result<Result<(), Error>, LetGo> {
        let bytes = pattern(self.seed, self.len);
        let mut at = 0;
        loop {
            if self.reset_after.is_some_and(|reset| at >= reset) {
                sending.send_reset(Reason::INTERNAL_ERROR);
                return Ok(Ok(()));
            }
            if self.dropped_after.is_some_and(|dropped| at >= dropped) {
                return Err(LetGo);
            }
            if at == self.len {
                break;
            }
            let room = match poll_fn(|cx| sending.poll_room(cx)).await {
                Ok(room) => room,
                Err(error) => return Ok(Err(error)),
            };
            let end = self.len.min(at + room.min(self.piece));
            let ends = end == self.len && !self.trailers && !self.is_cut();
            if let Err(error) = sending.send_data(bytes.slice(at..end), ends) {
                return Ok(Err(error));
            }
            at = end;
            if ends {
                return Ok(Ok(()));
            }
            pause(self.pauses[0]).await;
        }
        Ok(match self.trailers() {
            Some(trailers) => sending.send_trailers(trailers),
            None => sending.send_data(bytes.slice(..0), true),
        })
    }

    /// Reads it, or as much as is to be read of it. Fails if it was cut.
    async fn read(&self, mut body: Receiving) -> Result<Result<(), Error>, LetGo> {
        let mut at = 0;
        loop {
            if self.unread_after.is_some_and(|unread| at >= unread) {
                return Err(LetGo);
            }
            let piece = match body.data().await {
                None => break,
                Some(Ok(piece)) => piece,
                Some(Err(error)) => return Ok(Err(error)),
            };
            assert!(!piece.is_empty(), "nothing is no news");
            for came in piece {
                assert_eq!(came, byte(self.seed, at), "byte {at} of {self:?}");
                at += 1;
            }
            pause(self.pauses[1]).await;
        }
        assert_eq!(at, self.len, "{self:?} came as if it were whole");
        assert!(self.reset_after.is_none() && self.dropped_after.is_none(), "{self:?} ended well");
        let trailers = poll_fn(|cx| body.poll_trailers(cx)).await.unwrap();
        assert_eq!(trailers, self.trailers());
        assert!(body.is_end_stream());
        Ok(Ok(()))
    }
}

/// Somebody drops what he has of a stream, as was planned.
struct LetGo;

async fn pause(turns: usize) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}

/// How the exchanges of a run ended.
#[derive(Debug, Default)]
struct Ends {
    whole: usize,
    cut: usize,
    refused: usize,
}

/// What one side has seen of an exchange: whether it came whole.
async fn ask(opener: Opener, plan: Arc<Plan>, n: usize) -> Ends {
    let exchange = &plan.exchanges[n];
    let request = Request::builder().uri(format!("http://a/{n}")).body(()).unwrap();
    let is_whole =
        exchange.request.len == 0 && !exchange.request.trailers && !exchange.request.is_cut();
    let refused = || Ends { refused: 1, ..Ends::default() };
    let (awaited, mut sending) = match opener.open(&request, is_whole) {
        Ok(opened) => opened,
        Err(error) => {
            assert!(plan.leaves_after.is_some(), "not opened: {error}");
            return refused();
        }
    };
    drop(opener);
    let send =
        async { if is_whole { Ok(Ok(())) } else { exchange.request.send(&mut sending).await } };
    let ended = tokio::try_join!(send, receive(awaited, exchange));
    match ended {
        Ok((_, Ok(()))) => Ends { whole: 1, ..Ends::default() },
        Err(LetGo) => Ends { cut: 1, ..Ends::default() },
        Ok((_, Err(Error::GoAway { by: By::Peer, .. }))) if plan.leaves_after.is_some() => {
            refused()
        }
        Ok((_, Err(error))) => {
            assert!(exchange.is_cut(), "request {n} was cut by nobody: {error}");
            assert!(matches!(error, Error::Reset { .. }), "request {n}: {error}");
            Ends { cut: 1, ..Ends::default() }
        }
    }
}

async fn receive(awaited: Awaited, exchange: &Exchange) -> Result<Result<(), Error>, LetGo> {
    if exchange.is_abandoned {
        return Err(LetGo);
    }
    match awaited.response().await {
        Ok(response) => exchange.response.read(response.into_body()).await,
        Err(error) => Ok(Err(error)),
    }
}

async fn answer((request, respond): Arrival, plan: Arc<Plan>) {
    let n: usize = request.uri().path()[1..].parse().unwrap();
    let exchange = &plan.exchanges[n];
    let body = request.into_body();
    let read = async {
        if exchange.ignores {
            drop(body);
            return Ok(Ok(()));
        }
        exchange.request.read(body).await
    };
    let send = async {
        match respond.send_response(&Response::new(()), false) {
            Ok(mut sending) => {
                let sent = exchange.response.send(&mut sending).await;
                // Held until the request is whole: letting go would refuse the rest of it.
                sent.map(|sent| sent.map(|()| sending))
            }
            Err(error) => Ok(Err(error)),
        }
    };
    let Ok((read, sent)) = tokio::try_join!(read, send) else { return };
    for error in [read.err(), sent.err()].into_iter().flatten() {
        assert!(exchange.is_cut(), "request {n} was cut by nobody: {error}");
        assert!(matches!(error, Error::Reset { .. }), "request {n}: {error}");
    }
}

async fn serve(io: tokio::io::DuplexStream, plan: Arc<Plan>) {
    let mut connection = http2::server(io, plan.server);
    let mut running = JoinSet::new();
    let mut taken = 0;
    if plan.leaves_after == Some(0) {
        connection.leave();
    }
    while let Some(arrival) = connection.accept().await {
        running.spawn(answer(arrival.unwrap(), Arc::clone(&plan)));
        taken += 1;
        connection.set_connection_window(plan.widened);
        if plan.leaves_after == Some(taken) {
            connection.leave();
        }
    }
    running.join_all().await;
}

async fn run(plan: Plan) -> Ends {
    let (near, far) = duplex(plan.pipe_bytes);
    let plan = Arc::new(plan);
    let server = tokio::spawn(serve(far, Arc::clone(&plan)));
    let (opener, mut connection) = http2::client(near, plan.client);
    let mut pinger = connection.pinger();
    let client = tokio::spawn(async move { connection.run().await });
    // Or it might open more streams than a server allows of which it has heard nothing.
    drop(pinger.ping().await);
    let mut running = JoinSet::new();
    for n in 0..plan.exchanges.len() {
        running.spawn(ask(opener.clone(), Arc::clone(&plan), n));
        pause(n % 4).await;
    }
    for _ in 0..plan.pings {
        let answered = pinger.ping().await;
        assert!(answered.is_ok() || plan.leaves_after.is_some(), "{answered:?}");
    }
    let mut ends = Ends::default();
    for ended in running.join_all().await {
        ends.whole += ended.whole;
        ends.cut += ended.cut;
        ends.refused += ended.refused;
    }
    // Nothing is left but the connection, which ends with those who could open more.
    drop(opener);
    client.await.unwrap().unwrap();
    server.await.unwrap();
    ends
}

/// Runs a seed, and says how to run it again if it fails.
fn play(runtime: &tokio::runtime::Runtime, seed: u64, leaves: bool) -> Ends {
    let plan = Plan::new(&mut StdRng::seed_from_u64(seed), leaves);
    let run = async { tokio::spawn(timeout(PATIENCE, run(plan))).await };
    match runtime.block_on(run) {
        Ok(Ok(ends)) => ends,
        failed => {
            let again = format!("HTTP2_SEED={seed} cargo test -p io-tokio --test http2 chance");
            panic!("a server that leaves: {leaves}\n{failed:?}\nreproduce: {again}");
        }
    }
}

/// The seeds to run: one, or as many as there is time for.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number =
        |name: &str| std::env::var(name).ok().map(|it| it.parse::<u64>().expect("a number"));
    match number("HTTP2_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("HTTP2_SEEDS").unwrap_or(usual),
    }
}

fn play_all(runtime: &tokio::runtime::Runtime, usual: u64, leaves: bool) {
    let (mut sum, mut count) = (Ends::default(), 0);
    for seed in seeds(usual) {
        let ends = play(runtime, seed, leaves);
        sum.whole += ends.whole;
        sum.cut += ends.cut;
        sum.refused += ends.refused;
        count += 1;
    }
    // What was planned has happened.
    if count >= usual {
        assert!(sum.whole > 0 && sum.cut > 0, "{sum:?}");
        assert_eq!(sum.refused > 0, leaves, "{sum:?}");
    }
}

#[test]
fn whatever_arrives_whole_is_what_was_sent_and_nothing_is_left() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    play_all(&runtime, 150, false);
}

#[test]
fn a_server_that_leaves_amid_it_all_finishes_what_it_has_begun() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    play_all(&runtime, 100, true);
}

#[test]
fn it_is_no_different_on_several_threads() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_time().build().unwrap();
    play_all(&runtime, 50, false);
}

const PATIENCE: Duration = Duration::from_secs(20);
