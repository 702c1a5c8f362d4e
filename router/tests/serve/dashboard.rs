//! The dashboard of a router with real instances: its numbers while they move, and at the end.

use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::Client;
use crate::stage::{PATIENCE, Stage};

/// Who watches.
struct Viewer(BufReader<TcpStream>);

impl Viewer {
    async fn of(stage: &Stage) -> Self {
        let mut stream = TcpStream::connect(stage.router.admin).await.unwrap();
        stream.write_all(b"GET /dashboard/events HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
        Self(BufReader::new(stream))
    }

    /// What the router says next, or nothing once it has gone.
    async fn now(&mut self) -> Option<Value> {
        let mut is_now = false;
        loop {
            let mut line = String::new();
            let read = self.0.read_line(&mut line);
            // A router that has gone may reset the connection.
            if timeout(PATIENCE, read).await.expect("the router goes on").unwrap_or(0) == 0 {
                return None;
            }
            match line.strip_prefix("data: ") {
                Some(data) if is_now => return Some(serde_json::from_str(data).unwrap()),
                _ => is_now = line == "event: now\n",
            }
        }
    }
}

fn served(pool: &Value) -> u64 {
    let words = pool["requests"].as_array().unwrap();
    let served = words.iter().find(|word| word[0] == "served");
    served.map_or(0, |word| word[1].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_dashboard_says_under_load_is_what_the_metrics_say() {
    let stage = Stage::demo(&["pool.slots=3", "pool.instances_max=2"]).await;
    let mut viewer = Viewer::of(&stage).await;
    let mut load = JoinSet::new();
    for _ in 0..8 {
        let http = stage.router.http;
        load.spawn(async move {
            let mut client = Client::connect(http).await;
            loop {
                assert_eq!(client.get("/sleep?ms=20").await.unwrap().status, 200);
            }
        });
    }
    let mut compared = 0;
    while compared < 3 {
        let before = stage.router.ended(200, "served").await;
        let now = viewer.now().await.unwrap();
        let after = stage.router.ended(200, "served").await;
        let pool = &now["pools"][0];
        if pool["ready"] == 0 || served(pool) < u64::from(before) {
            // It was made before we asked.
            continue;
        }
        assert!(served(pool) <= u64::from(after), "{before}, {after}: {now}");
        // What is told of all instances is what is told of each; eight are asked for at once.
        let each = pool["instances"].as_array().unwrap();
        let ready = || each.iter().filter(|it| it[1] == "r");
        let sum = |place: usize| ready().map(|it| it[place].as_u64().unwrap()).sum::<u64>();
        assert!(ready().count() <= 2 && sum(2) == 3 * ready().count() as u64, "{now}");
        assert!(sum(3) <= 6 && pool["queued"].as_u64().unwrap() <= 8, "{now}");
        assert!(ready().all(|it| it[5][0].as_u64() <= it[5][1].as_u64()), "{now}");
        compared += 1;
    }
    load.shutdown().await;
    // The rate of the last minute is told as a metric, too.
    let now = viewer.now().await.unwrap();
    let point = now["pools"][0]["point"].as_array().unwrap().clone();
    for (place, name) in
        [(6, "dispatch_cost_dollars_per_hour"), (7, "dispatch_plain_lambda_cost_dollars_per_hour")]
    {
        let (shown, told) = (point[place].as_f64().unwrap(), stage.router.metric(name).await);
        assert!(shown > 0.0 && (shown - told).abs() < told / 2.0, "{name}: {shown}, {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sees_the_router_drain_and_does_not_keep_it() {
    let mut stage = Stage::demo(&["timeouts.drain_delay=3s", "timeouts.drain=60s"]).await;
    assert_eq!(stage.router.get("/").await.status, 200);
    let mut viewer = Viewer::of(&stage).await;
    assert_eq!(viewer.now().await.unwrap()["readiness"], "ready");
    // It watches, but does not read.
    let _idle = Viewer::of(&stage).await;
    stage.router.signal(Signal::TERM);
    while viewer.now().await.unwrap()["readiness"] != "draining" {}
    assert!(stage.router.end().await.success());
    while viewer.now().await.is_some() {}
}
