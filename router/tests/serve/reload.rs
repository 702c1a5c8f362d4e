//! SIGHUP: the settings are read again, and nobody loses a request.

use std::path::PathBuf;

use rustix::process::Signal;

use crate::client::{Answer, Client};
use crate::stage::{Router, Stage, until};

/// A settings file that is removed at the end.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("lambda-dispatch-reload-{}-{name}.toml", std::process::id());
        let file = Self(std::env::temp_dir().join(name));
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }

    fn flag(&self) -> String {
        format!("--config={}", self.0.display())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

/// A client that has asked for something of `host`.
async fn asked(router: &Router, host: &str, target: &str) -> Client<tokio::net::TcpStream> {
    let mut client = Client::connect(router.http).await;
    client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.unwrap();
    client
}

async fn get(router: &Router, host: &str) -> Answer {
    asked(router, host, "/sleep?ms=1").await.answer("GET").await.unwrap()
}

/// The value of a metric of one pool that has no other label, if it is shown.
async fn of_pool(router: &Router, metric: &str, pool: &str) -> Option<f64> {
    let page = Client::connect(router.admin).await.get("/metrics").await.unwrap().text();
    let start = format!("{metric}{{pool=\"{pool}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok())
}

/// Tells the router to read its file, and waits until it says `then` so many times.
async fn reload(router: &Router, then: &str, count: usize) {
    router.signal(Signal::HUP);
    until(then, async || router.log().matches(then).count() == count).await;
}

const TAKEN: &str = "the settings were taken over";

const TWO: &str = r#"
[pools.other]
function = "web:$LATEST"
slots = 3
[[route]]
host = "test"
pool = "default"
[[route]]
host = "other"
pool = "other"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn removed_pool_finishes_what_it_has_and_a_wrong_file_changes_nothing() {
    let file = File::new("removed", TWO);
    let stage = Stage::demo(&[&file.flag()]).await;
    let router = &stage.router;
    assert_eq!((get(router, "test").await.status, get(router, "other").await.status), (200, 200));
    let mut slow = asked(router, "other", "/sleep?ms=4000").await;
    until("it is in flight", async || {
        of_pool(router, "dispatch_running_requests", "other").await == Some(1.)
    })
    .await;

    file.write(&TWO.replace("slots", "  slotz"));
    reload(router, "the settings stay as they were", 1).await;
    let why = ".toml:4:3: there is no setting \"pools.other.slotz\"; did you mean slots?";
    assert!(router.log().contains(why), "{}", router.log());
    assert_eq!((get(router, "test").await.status, get(router, "other").await.status), (200, 200));

    file.write("workers = 3\n[[route]]\nhost = \"test\"\npool = \"default\"\n");
    reload(router, TAKEN, 1).await;
    let restart = "workers was \"0\" and is \"3\"";
    assert!(router.log().contains(restart), "{}", router.log());
    assert_eq!((get(router, "test").await.status, get(router, "other").await.status), (200, 421));
    assert_eq!(of_pool(router, "dispatch_running_requests", "other").await, Some(1.));
    assert_eq!(slow.answer("GET").await.unwrap().status, 200);
    until("its series have ended", async || {
        of_pool(router, "dispatch_running_requests", "other").await.is_none()
    })
    .await;
    let invokes = of_pool(router, "dispatch_invokes_total", "default").await;
    assert!(invokes.is_some_and(|count| count >= 1.), "{invokes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_says_whose_instances_come_and_go_and_who_decided_that() {
    let file = File::new("said", TWO);
    let mut stage = Stage::demo(&[&file.flag(), "timeouts.drain_delay=0s"]).await;
    assert_eq!(get(&stage.router, "other").await.status, 200);
    stage.router.signal(Signal::TERM);
    assert!(stage.router.end().await.success());
    for said in ["scale: ", "instance attached", "instance goes away"] {
        until(said, async || {
            let log = stage.router.log();
            log.lines().any(|line| line.contains(said) && line.contains("pool=\"other\""))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_move_and_pools_come_while_requests_are_served() {
    let file = File::new("added", "");
    let mut stage = Stage::demo(&[&file.flag(), "timeouts.drain_delay=0s"]).await;
    let router = &stage.router;
    assert_eq!(get(router, "anything").await.status, 200);
    file.write(&format!("pool.instances_min = 1\n{TWO}"));
    reload(router, TAKEN, 1).await;
    assert!(!router.log().contains("takes the place"), "the pool stays: {}", router.log());
    let slots = async || of_pool(router, "dispatch_slots", "default").await;
    until("an instance is kept", async || slots().await.is_some_and(|slots| slots > 0.)).await;
    assert_eq!(get(router, "other").await.status, 200);
    assert_eq!(get(router, "anything").await.status, 421);

    file.write(&format!("pool.slots = 2\npool.instances_min = 1\n{TWO}"));
    reload(router, TAKEN, 2).await;
    assert!(router.log().contains("a new pool takes the place of the old one"));
    until("the new pool serves alone", async || slots().await == Some(2.)).await;
    assert_eq!(get(router, "test").await.status, 200);
    stage.router.signal(Signal::TERM);
    assert!(stage.router.end().await.success());
    stage.until_instances_have_ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn price_is_taken_over_and_what_is_not_is_said() {
    let price = |dollars: &str| format!("pool.price_per_gb_second = {dollars}\n");
    let file = File::new("price", &price("0.0001"));
    let stage = Stage::demo(&[&file.flag(), "pool.linger=10m"]).await;
    let router = &stage.router;
    assert_eq!(get(router, "test").await.status, 200);
    let cost = async || router.metric("dispatch_cost_dollars_per_hour").await;
    until("it has cost something", async || cost().await > 0.0).await;
    let before = cost().await;
    file.write(&format!("timeouts.idle = \"30s\"\n{}", price("1")));
    reload(router, TAKEN, 1).await;
    assert!(!router.log().contains("takes the place"), "the pool stays: {}", router.log());
    until("it costs more", async || cost().await > 1000.0 * before).await;
    let unread = "how long a client may leave unread what waits for it changes when the router is";
    assert!(router.log().contains(unread), "{}", router.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_a_restart_is_said_at_each_reload_until_it_is_as_it_was() {
    let file = File::new("fixed", "");
    let stage = Stage::demo(&[&file.flag()]).await;
    let router = &stage.router;
    let warned = || router.log().matches("limits.connections was \"10000\" and is \"5\"").count();
    file.write("limits.connections = 5\n");
    reload(router, TAKEN, 1).await;
    assert_eq!(warned(), 1);
    reload(router, TAKEN, 2).await;
    assert_eq!(warned(), 2);
    file.write("");
    reload(router, TAKEN, 3).await;
    assert_eq!(router.log().matches("limits.connections was").count(), 2, "{}", router.log());
}
