use std::net::SocketAddr;
use std::pin::Pin;

use dispatch_model::{Config, Input, InstanceId, Limits, Output, Time};
use io_tokio::chance::Chance;
use io_tokio::driver::{self, PoolSettings};
use io_tokio::invoker::{Invoked, Invoker};
use io_tokio::observe::Observer;
use io_tokio::pool::Pool;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::admin;

/// The admin port of a router, and its one pool.
struct Stage {
    address: SocketAddr,
    tell: watch::Sender<Readiness>,
    metrics: Arc<Metrics>,
}

impl Stage {
    async fn start() -> Self {
        let metrics = Metrics::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = watch::channel(Readiness::Ready);
        tokio::spawn(admin::serve(listener, told, Arc::clone(&metrics)));
        Self { address, tell, metrics }
    }

    /// Sends a request and reads all that comes back.
    async fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    }

    async fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
    }

    async fn metric(&self, series: &str) -> f64 {
        let page = self.get("/metrics").await;
        let value = page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no {series} in {page}"))
    }

    async fn view(&self) -> Viewer {
        let mut stream = BufReader::new(TcpStream::connect(self.address).await.unwrap());
        stream.write_all(b"GET /dashboard/events HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut viewer = Viewer { stream, head: String::new() };
        while !viewer.head.ends_with("\r\n\r\n") {
            let line = viewer.line().await;
            viewer.head += &line;
        }
        viewer
    }
}

struct Viewer {
    stream: BufReader<TcpStream>,
    head: String,
}

impl Viewer {
    /// A line with its end; nothing at the end.
    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line);
        timeout(Duration::from_secs(30), read).await.expect("the router goes on").unwrap();
        line
    }

    /// What the next event called `name` says.
    async fn event(&mut self, name: &str) -> Value {
        let start = format!("event: {name}\n");
        while self.line().await != start {}
        serde_json::from_str(self.line().await.strip_prefix("data: ").unwrap()).unwrap()
    }

    fn is_let_in(&self) -> bool {
        self.head.starts_with("HTTP/1.1 200 ")
    }
}

/// Invokes never end.
struct Endless;

impl Invoker for Endless {
    fn invoke(&self, _: &str, _: Vec<u8>) -> Pin<Box<dyn Future<Output = Invoked> + Send + '_>> {
        Box::pin(std::future::pending())
    }
}

/// Tells which instances were ordered.
struct Orders(mpsc::UnboundedSender<InstanceId>);

impl Observer for Orders {
    fn output(&mut self, _: Time, output: &Output) {
        if let Output::Invoke { instance } = output {
            // Nobody waits for those that are ordered later.
            self.0.send(*instance).ok();
        }
    }
}

/// A pool whose instances are attached as far as the model is concerned.
async fn pool_of(metrics: &Arc<Metrics>, instances: u32) -> Pool {
    let (ordered, mut orders) = mpsc::unbounded_channel();
    let limits = Limits {
        instances_min: instances,
        instances_max: instances.max(1),
        invokes_burst: instances.max(1),
        starts_unproven_max: instances.max(1),
        ping_timeout: Duration::from_secs(3_600),
        ..Limits::default()
    };
    let settings = PoolSettings {
        name: "default".to_owned(),
        function: "web".to_owned(),
        callback_url: "http://127.0.0.1:1".to_owned(),
        identity: None,
        seed: 7,
        chance: Chance::System,
    };
    let observer = (metrics.pool("default").watch(), Orders(ordered));
    let config = Config::new(limits).unwrap();
    let invoker = Arc::new(Endless);
    let pool =
        driver::start(config, settings, Clock::start(), Default::default(), invoker, observer);
    for _ in 0..instances {
        let instance = orders.recv().await.unwrap();
        let lease = Duration::from_secs(900);
        pool.tell(Input::InstanceAttached { instance, slots: 10, lease, cold: true });
    }
    pool
}

#[tokio::test]
async fn the_page_is_there_and_lets_in_nothing_but_its_own_style_and_script() {
    let stage = Stage::start().await;
    let page = stage.get("/dashboard").await;
    let (head, body) = page.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let policy = head.lines().find_map(|it| it.strip_prefix("content-security-policy: ")).unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    for (tag, allowed) in [("style", "style-src"), ("script", "script-src")] {
        let from = body.find(&format!("<{tag}>")).unwrap() + tag.len() + 2;
        let to = body.find(&format!("</{tag}>")).unwrap();
        assert!(policy.contains(&format!("{allowed} '{}'", page::hash(&body[from..to]))));
    }
    let root = stage.get("/").await;
    assert!(root.starts_with("HTTP/1.1 302 "), "{root}");
    assert!(root.contains("\r\nlocation: dashboard\r\n"), "{root}");
    for (method, status) in [("HEAD", "200"), ("POST", "405")] {
        let request =
            format!("{method} /dashboard/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = stage.ask(&request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[tokio::test]
async fn who_opens_the_page_late_is_told_the_past_and_then_what_metrics_say() {
    let stage = Stage::start().await;
    let pool = pool_of(&stage.metrics, 0).await;
    let _waiting = [pool.arrive(100), pool.arrive(100)];
    let watched = stage.metrics.pool("default");
    while watched.points().iter().filter(|point| point.queued == 2).count() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut viewer = stage.view().await;
    assert!(viewer.is_let_in() && viewer.head.contains("\r\ncontent-type: text/event-stream\r\n"));
    let history = viewer.event("history").await;
    let past = history["pools"][0]["points"].as_array().unwrap();
    assert!(past.len() >= 2, "{history}");
    assert_eq!(past.last().unwrap()[2], 2, "two wait: {history}");

    stage.tell.send_replace(Readiness::Draining);
    let now = viewer.event("now").await;
    assert_eq!(now["readiness"], "draining");
    let told = &now["pools"][0];
    assert!(told["point"][0].as_u64() > past.last().unwrap()[0].as_u64(), "it goes on: {now}");
    assert!(told["point"][3].as_u64().unwrap() >= 1_000, "they wait for a second: {now}");
    for (name, series) in [
        ("queued", "dispatch_queue_requests{pool=\"default\"}"),
        ("arrived", "dispatch_arrived_total{pool=\"default\"}"),
        ("starting", "dispatch_instances{pool=\"default\",state=\"starting\"}"),
        ("invokes", "dispatch_invokes_total{pool=\"default\"}"),
        ("desired", "dispatch_instances_desired{pool=\"default\"}"),
    ] {
        assert_eq!(told[name].as_f64(), Some(stage.metric(series).await), "{name}: {now}");
        assert_ne!(told[name], 0, "{name}: {now}");
    }
    let instance = told["instances"][0].as_array().unwrap();
    assert_eq!(Value::from(&instance[..4]), json!(["i0", "s", 0, 0]), "{now}");
    assert_eq!(now["decisions"][0]["why"], "backlog");
    // The one instance has cost something for some seconds, at 3,600 s x 1 GB an hour.
    let cost = stage.metric("dispatch_cost_dollars_per_hour{pool=\"default\"}").await;
    assert!(cost > 0.0 && cost < 1.0, "{cost}");
}

#[tokio::test]
async fn instances_are_listed_as_far_as_a_page_can_draw_them() {
    let stage = Stage::start().await;
    let _pool = pool_of(&stage.metrics, 1_200).await;
    let mut viewer = stage.view().await;
    let now = loop {
        let now = viewer.event("now").await;
        if now["pools"][0]["ready"] == 1_200 {
            break now;
        }
    };
    let told = &now["pools"][0];
    assert_eq!(told["instances"].as_array().unwrap().len(), INSTANCES_SHOWN);
    assert_eq!(told["instances_more"], 200);
    let first = told["instances"][0].as_array().unwrap();
    assert_eq!(Value::from(&first[..4]), json!(["i0", "r", 10, 0]));
    let (left, lease) = (first[5][0].as_u64().unwrap(), first[5][1].as_u64().unwrap());
    assert!(lease == 900_000 && left < lease && left > 800_000, "{first:?}");
}

#[tokio::test]
async fn two_models_of_one_pool_are_seen_together_and_one_that_has_ended_is_not() {
    let stage = Stage::start().await;
    let (old, new) = (pool_of(&stage.metrics, 0).await, pool_of(&stage.metrics, 0).await);
    let (_first, _second) = (old.arrive(1), new.arrive(1));
    let mut viewer = stage.view().await;
    while viewer.event("now").await["pools"][0]["instances"].as_array().unwrap().len() < 2 {}
    let empty = Stage::start().await;
    let idle = pool_of(&empty.metrics, 0).await;
    let mut viewer = empty.view().await;
    while viewer.event("now").await["pools"].as_array().unwrap().is_empty() {}
    drop(idle);
    // A look does not keep a driver alive.
    while !viewer.event("now").await["pools"].as_array().unwrap().is_empty() {}
}

#[tokio::test]
async fn viewers_are_few_and_leave_room_for_probes() {
    let stage = Stage::start().await;
    let mut viewers = Vec::new();
    for _ in 0..VIEWERS_MAX {
        let viewer = stage.view().await;
        assert!(viewer.is_let_in(), "{}", viewer.head);
        viewers.push(viewer);
    }
    let mut refused = stage.view().await;
    assert!(refused.head.starts_with("HTTP/1.1 503 "), "{}", refused.head);
    let why = refused.line().await;
    assert_eq!(why, "16 dashboards are open, which is the most: close one\n");
    for path in ["/readyz", "/metrics", "/dashboard"] {
        assert!(stage.get(path).await.starts_with("HTTP/1.1 200 "), "{path}");
    }
    viewers.pop();
    while !stage.view().await.is_let_in() {}
}

#[test]
fn a_pool_that_changes_its_mind_often_hides_no_reason_of_another() {
    let (calm, busy): (Arc<str>, Arc<str>) = ("calm".into(), "busy".into());
    let mut all = vec![(Arc::clone(&calm), 0)];
    all.extend((1..100).map(|number| (Arc::clone(&busy), number)));
    let kept = last_of_each(all, |(pool, _)| pool);
    let numbers: Vec<_> = kept.iter().map(|(_, number)| *number).collect();
    assert_eq!(numbers, [&[0][..], &(88..100).collect::<Vec<_>>()].concat());
}

#[tokio::test]
async fn nothing_is_made_for_nobody() {
    tokio::time::pause();
    let (_tell, told) = watch::channel(Readiness::Ready);
    let dashboard = Arc::new(Dashboard::new(Metrics::new(), told));
    let running = Arc::clone(&dashboard);
    tokio::spawn(async move { running.run().await });
    tokio::time::sleep(STEP * 5).await;
    assert_eq!(dashboard.newest.borrow().len(), 0);
    let _events = dashboard.watch(Arc::default()).unwrap();
    tokio::time::sleep(STEP * 2).await;
    assert_ne!(dashboard.newest.borrow().len(), 0);
}

/// Time passes as fast as the router can fill the socket.
#[tokio::test]
async fn who_reads_nothing_is_hung_up_on() {
    let stage = Stage::start().await;
    let _pool = pool_of(&stage.metrics, 1_000).await;
    let mut viewer = stage.view().await;
    viewer.event("now").await;
    tokio::time::pause();
    let clock = Clock::start();
    tokio::time::sleep(Duration::from_secs(1_500)).await;
    let mut rest = Vec::new();
    viewer.stream.read_to_end(&mut rest).await.ok();
    let took = clock.now().saturating_since(Time::ZERO);
    assert!(took < Duration::from_secs(1_600), "it is told things until {took:?}");
}

/// `cargo test --release -p lambda-dispatch --lib -- --ignored --nocapture ten_viewers`
#[tokio::test]
#[ignore = "measures; takes half a minute"]
async fn ten_viewers_of_a_thousand_instances_cost_less_than_a_hundredth_of_a_core() {
    let stage = Stage::start().await;
    let _pool = pool_of(&stage.metrics, 1_000).await;
    let span = Duration::from_secs(10);
    let alone = cpu_of(span).await;
    let mut reading = tokio::task::JoinSet::new();
    let (read, mut lens) = mpsc::unbounded_channel();
    for _ in 0..10 {
        let (mut viewer, read) = (stage.view().await, read.clone());
        reading.spawn(async move {
            loop {
                read.send(viewer.line().await.len()).ok();
            }
        });
    }
    // The first events are larger.
    tokio::time::sleep(STEP * 2).await;
    let watched = cpu_of(span).await;
    let lines: Vec<_> = std::iter::from_fn(|| lens.try_recv().ok()).collect();
    println!("{} bytes an event", lines[lines.len() - 50..].iter().max().unwrap());
    assert!(lines.len() > 10 * 3 * 9, "each reads an event of three lines a second");
    let percent = |cpu: Duration| cpu.as_secs_f64() / span.as_secs_f64() * 100.0;
    println!("nobody watches: {:.2} % of a core", percent(alone));
    println!("ten watch, and read in the same process: {:.2} %", percent(watched));
    assert!(percent(watched.saturating_sub(alone)) < 1.0);
}

/// What this thread, which does all of it, computes in `span`.
async fn cpu_of(span: Duration) -> Duration {
    let used = || {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    };
    let before = used();
    tokio::time::sleep(span).await;
    used() - before
}
