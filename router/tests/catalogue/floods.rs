//! B4 of the catalogue, 75 and 77 to 83: floods. None costs memory or another client's service, and
//! the HTTP/2 ones that have a limit end with GOAWAY.

use crate::client::Client;
use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Http2, PING, PRIORITY, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, block, frame, get, request,
};
use crate::raw_app::{Body, RawApp, contains};
use crate::stage::{Stage, peak_mib, until};
use crate::{SETTINGS as STAGE, is_unharmed};

/// The memory that a process has resident, in MiB.
fn resident_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

struct Flood {
    stage: Stage,
    before: u64,
}

impl Flood {
    async fn start(settings: &[&str]) -> Self {
        let (stage, _) = RawApp::stage(&[STAGE, settings].concat()).await;
        assert_eq!(stage.router.get("/first").await.status, 200);
        let before = resident_mib(stage.router.pid());
        Self { stage, before }
    }

    /// Whether it has cost nothing.
    #[expect(clippy::print_stdout, reason = "the figures are worth a look")]
    async fn end(self, name: &str, came: &impl std::fmt::Debug) {
        let peak = peak_mib(self.stage.router.pid());
        let before = self.before;
        println!("{name}: {before} MiB before, never more than {peak} MiB; {came:?}");
        assert!(peak < before + MIB_MORE_MAX, "{name}: {before} MiB became {peak} MiB");
        assert!(is_unharmed(&self.stage).await, "{name}: others are harmed");
    }
}

/// A flood after which the connection ends, with this code if it is read.
async fn ends(name: &str, times: u32, code: Option<u32>, bytes: impl FnMut(u32) -> Vec<u8>) {
    let flood = Flood::start(&[]).await;
    let http2 = Http2::connect(flood.stage.router.http).await;
    let came = http2.flood(times, true, bytes).await;
    assert_eq!(came.taken, Some(false), "{name}: all of it was taken: {came:?}");
    if let (Some(expected), Some(said)) = (code, came.goaway) {
        assert_eq!(said, expected, "{name}");
    }
    flood.end(name, &came).await;
}

/// The stream of a flood's turn.
fn stream(time: u32) -> u32 {
    time * 2 + 1
}

#[tokio::test]
async fn streams_that_are_reset_at_once_end_in_goaway() {
    ends("77 rapid reset", 100_000, Some(ENHANCE_YOUR_CALM), |time| {
        let head = request(stream(time), &get("/hang"), true);
        [head, frame(RST_STREAM, 0, stream(time), &[0, 0, 0, 8])].concat()
    })
    .await;
}

#[tokio::test]
async fn streams_that_we_are_made_to_reset_end_in_goaway() {
    ends("78 made to reset", 100_000, Some(ENHANCE_YOUR_CALM), |time| {
        let head = request(stream(time), &get("/hang"), true);
        [head, frame(WINDOW_UPDATE, 0, stream(time), &[0x7f, 255, 255, 255])].concat()
    })
    .await;
}

#[tokio::test]
async fn heads_that_never_end_end_in_goaway() {
    ends("79 CONTINUATION", 100_000, None, |time| match time {
        0 => frame(HEADERS, END_STREAM, 1, &block(&get("/x"))),
        _ => frame(CONTINUATION, 0, 1, &block(&[(b"x-a", &[b'x'; 8_000])])),
    })
    .await;
    ends("79b CONTINUATION of no bytes", 1_000_000, None, |time| match time {
        0 => frame(HEADERS, END_STREAM, 1, &block(&get("/x"))),
        _ => frame(CONTINUATION, 0, 1, &[]).repeat(100),
    })
    .await;
}

#[tokio::test]
async fn data_of_no_bytes_ends_in_goaway() {
    let mut fields = get("/empty");
    fields[0].1 = b"POST";
    let head = request(1, &fields, false);
    ends("81 empty DATA", 20_000, Some(ENHANCE_YOUR_CALM), |time| match time {
        0 => head.clone(),
        _ => frame(DATA, 0, 1, &[]).repeat(100),
    })
    .await;
}

#[tokio::test]
async fn heads_that_grow_when_they_are_read_are_refused() {
    let flood = Flood::start(&[]).await;
    // A header of 4,000 bytes into the table, and then 16,000 times that one again.
    let mut bomb = block(&get("/bomb"));
    let value = [b'x'; 4_000];
    let mut entry = block(&[(b"x-a", &value)]);
    entry[0] = 0x40;
    bomb.extend(entry);
    bomb.extend([0xbe; 12_000]);
    let http2 = Http2::connect(flood.stage.router.http).await;
    let came = http2
        .flood(2_000, true, |time| frame(HEADERS, END_HEADERS | END_STREAM, stream(time), &bomb))
        .await;
    flood.end("83 bombs of HPACK", &came).await;
}

#[tokio::test]
async fn answers_that_nobody_reads_fill_no_memory_and_end_the_connection() {
    for (name, bytes) in [
        ("80a SETTINGS", frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1]).repeat(100)),
        ("80b PING", frame(PING, 0, 0, &[0; 8]).repeat(100)),
    ] {
        let flood = Flood::start(&["timeouts.idle=1s"]).await;
        let http2 = Http2::connect(flood.stage.router.http).await;
        let came = http2.flood(200_000, false, |_| bytes.clone()).await;
        assert_eq!(came.taken, Some(false), "{name}: the connection lives on");
        flood.end(name, &came).await;
    }
}

#[tokio::test]
async fn connections_that_ask_for_nothing_are_bounded() {
    // One of them is the test's own, while it asks whether others are harmed.
    let flood = Flood::start(&["limits.connections=50", "limits.connections_per_client=40"]).await;
    let as_many_as_may = async || {
        let mut kept = Vec::new();
        for _ in 0..200 {
            kept.push(Client::connect(flood.stage.router.http).await);
        }
        let mut served = 0;
        for client in &mut kept {
            served += usize::from(client.get("/kept").await.is_ok());
        }
        assert!(served <= 40, "75: {served}");
        served == 40
    };
    // The router may not have seen yet that the connections before these are closed.
    until("75: forty are served", as_many_as_may).await;
    let has_room = async || {
        let client = Client::try_connect(flood.stage.router.http).await;
        matches!(client.unwrap().get("/after").await, Ok(answer) if answer.status == 200)
    };
    until("75: there is room again", has_room).await;
    flood.end("75 idle connections", &40).await;
}

#[tokio::test]
async fn frames_that_ask_for_nothing_fill_no_memory() {
    let priority = |time: u32| frame(PRIORITY, 0, stream(time % 1_000_000), &[0, 0, 0, 0, 1]);
    let window = |_: u32| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
    let unknown = |_: u32| frame(0xfa, 0, 0, &[0; 64]);
    let bytes = |kind, time| match kind {
        PRIORITY => priority(time),
        WINDOW_UPDATE => window(time),
        _ => unknown(time),
    };
    for (name, kind) in
        [("82 PRIORITY", PRIORITY), ("82 WINDOW_UPDATE", WINDOW_UPDATE), ("82 unknown", 0xfa)]
    {
        let flood = Flood::start(&[]).await;
        let http2 = Http2::connect(flood.stage.router.http).await;
        let hundred = |time: u32| (0..100).flat_map(|it| bytes(kind, time * 100 + it)).collect();
        let came = http2.flood(3_000, true, hundred).await;
        flood.end(name, &came).await;
    }
}

#[tokio::test]
async fn requests_of_streams_that_are_reset_leave_the_queue_before_they_cost_an_invoke() {
    let settings = ["pool.linger=10m", "pool.slots=1", "pool.cold_start=5s"];
    let (stage, app) = RawApp::stage(&settings).await;
    let busy = Http2::connect(stage.router.http).await;
    let mut busy = busy;
    busy.send(&request(1, &get("/hang"), true)).await;
    until("the slot is taken", async || app.seen("/hang").is_some()).await;
    let http2 = Http2::connect(stage.router.http).await;
    http2
        .flood(2_000, true, |time| {
            let head = request(stream(time), &get("/reset"), true);
            [head, frame(RST_STREAM, 0, stream(time), &[0, 0, 0, 8])].concat()
        })
        .await;
    until("the queue is empty", async || {
        stage.router.metric("dispatch_queue_requests").await == 0.0
    })
    .await;
    let invokes = stage.router.metric("dispatch_invokes_total").await;
    println!("77 rapid reset of requests that wait: {invokes} invokes");
    assert!(invokes <= 3.0, "{invokes} invokes for requests that nobody waits for");
    assert!(app.all_seen("/reset").len() <= 3);
}

#[tokio::test]
async fn longest_head_that_can_be_allowed_reaches_the_app_and_harms_no_neighbour() {
    let limits = ["limits.head_bytes=192KiB", "limits.headers=1000"];
    let (stage, app) = RawApp::stage(&[STAGE, &limits].concat()).await;
    let mut neighbour = Client::connect(stage.router.http).await;
    neighbour.send("GET /hang HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    until("it reaches the app", async || app.seen("/hang").is_some()).await;
    // As many lines as there may be, and a host that the app is told again, as long as may be.
    let head = format!("GET /long HTTP/1.1\r\nHost: {}\r\n", "a".repeat(1_024));
    let line = format!("x: {}\r\n", "y".repeat(180));
    let room = (192 << 10) - head.len() - 998 * line.len() - "z: \r\n\r\n".len();
    let last = format!("z: {}\r\n\r\n", "z".repeat(room));
    let mut client = Client::connect(stage.router.http).await;
    client.send(head + &line.repeat(998) + &last).await.unwrap();
    assert_eq!(client.answer("GET").await.unwrap().status, 200);
    assert!(contains(&app.seen("/long").unwrap().head, last.trim_ascii().as_bytes()));
    assert!(app.seen("/hang").is_some_and(|it| it.body != Body::Cut));
    assert!(is_unharmed(&stage).await);
}

const MIB_MORE_MAX: u64 = 32;
const ENHANCE_YOUR_CALM: u32 = 11;
