//! A router that becomes another one while it serves.

use std::time::Duration;

use dispatch_model::Limits;
use io_tokio::edge::EdgeSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stage::{Route, Router, answer, get, soon};

const OLD: [Route<'_>; 2] =
    [("", "/gated", "", &[(1, "gated")]), ("", "/kept", "", &[(1, "kept")])];
const NEW: [Route<'_>; 2] = [("", "/kept", "", &[(1, "kept")]), ("", "/new", "", &[(1, "new")])];

async fn router() -> Router {
    let one_slot = Limits { slots: 1, instances_max: 1, ..Limits::default() };
    let pools = [("gated", one_slot), ("kept", Limits::default())];
    let router = Router::start(&pools, &OLD, EdgeSettings::default()).await;
    assert_eq!(router.get("a", "/kept").await.0, 200);
    router
}

/// Waits until so many drivers run.
async fn until_drivers(router: &Router, count: usize) {
    soon(async {
        while router.drivers() != count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn removed_pool_finishes_what_it_has_and_then_is_gone() {
    let mut router = router().await;
    let running = router.client(&get("a", "/gated", "")).await;
    router.until("gated", |gauges, _| gauges.running == 1).await;
    let waiting = router.client(&get("a", "/gated", "")).await;
    router.until("gated", |gauges, _| gauges.queued == 1).await;
    router.change(&["kept"], &[("new", Limits::default())], &NEW);
    assert_eq!(router.get("a", "/gated").await.0, 404);
    assert!(router.get("a", "/new").await.1.starts_with("new "));
    assert_eq!(router.drivers(), 3, "the removed pool is at work");
    router.functions.open.send_replace(true);
    for client in [running, waiting] {
        let (status, body) = answer(client).await;
        assert!(status == 200 && body.starts_with("gated "), "{status} {body}");
    }
    until_drivers(&router, 2).await;
    let (_, kept) = router.now("kept");
    assert_eq!(kept.invokes, 1, "the pool that was kept has kept its instance");
}

/// A client whose request has a route, and waits for its body before it gets in line.
async fn on_its_way(router: &Router) -> TcpStream {
    let head = "POST /gated HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\n";
    let client = router.client(head).await;
    // Whoever comes later is served later.
    assert_eq!(router.get("a", "/kept").await.0, 200);
    client
}

/// Its body comes, and its pool serves it.
async fn arrives(mut client: TcpStream) {
    client.write_all(b"x").await.unwrap();
    let (status, body) = answer(client).await;
    assert!(status == 200 && body.starts_with("gated "), "{status} {body}");
}

#[tokio::test]
async fn request_that_is_on_its_way_to_a_removed_pool_is_served_by_it() {
    let mut router = router().await;
    router.functions.open.send_replace(true);
    let client = on_its_way(&router).await;
    router.change(&["kept"], &[("new", Limits::default())], &NEW);
    assert_eq!(router.get("a", "/gated").await.0, 404);
    arrives(client).await;
    until_drivers(&router, 2).await;
}

#[tokio::test]
async fn request_of_a_table_before_the_last_is_served_by_its_pool_as_well() {
    let mut router = router().await;
    router.functions.open.send_replace(true);
    let client = on_its_way(&router).await;
    router.change(&["gated", "kept"], &[], &OLD);
    router.change(&["kept"], &[("new", Limits::default())], &NEW);
    // Time enough for a pool that thinks nobody is on the way to it.
    assert_eq!(router.get("a", "/gated").await.0, 404);
    assert!(router.get("a", "/new").await.1.starts_with("new "));
    arrives(client).await;
    until_drivers(&router, 2).await;
}

#[tokio::test]
async fn pool_that_replaces_another_takes_new_requests_while_the_old_one_finishes() {
    let mut router = router().await;
    let running = router.client(&get("a", "/gated", "")).await;
    router.until("gated", |gauges, _| gauges.running == 1).await;
    router.change(&["kept"], &[("gated", Limits::default())], &OLD);
    let after = router.client(&get("a", "/gated", "")).await;
    router.until("gated", |gauges, stats| gauges.running == 1 && stats.arrived == 1).await;
    assert_eq!(router.drivers(), 3);
    router.functions.open.send_replace(true);
    assert_eq!(answer(running).await.0, 200);
    assert_eq!(answer(after).await.0, 200);
    until_drivers(&router, 2).await;
}

#[tokio::test]
async fn request_that_waits_in_a_replaced_pool_is_answered_when_the_router_stops() {
    let mut router = router().await;
    let _running = router.client(&get("a", "/gated", "")).await;
    router.until("gated", |gauges, _| gauges.running == 1).await;
    let waiting = router.client(&get("a", "/gated", "")).await;
    router.until("gated", |gauges, _| gauges.queued == 1).await;
    router.change(&["kept"], &[("gated", Limits::default())], &OLD);
    // The instance does not answer in this time.
    let stopping = tokio::spawn(router.running.drain(Duration::from_secs(1)));
    assert_eq!(answer(waiting).await.0, 503);
    soon(stopping).await.unwrap();
}

#[tokio::test]
async fn request_whose_body_is_awaited_is_served_though_the_router_stops() {
    let router = router().await;
    router.functions.open.send_replace(true);
    let mut idle = TcpStream::connect(router.address).await.unwrap();
    let client = on_its_way(&router).await;
    let stopping = tokio::spawn(router.running.drain(Duration::from_secs(10)));
    // From then on pools without a request stop.
    assert_eq!(soon(idle.read(&mut [0])).await.unwrap(), 0);
    arrives(client).await;
    soon(stopping).await.unwrap();
}

#[tokio::test]
async fn no_request_is_lost_however_often_the_router_changes() {
    let mut router = router().await;
    router.functions.open.send_replace(true);
    let address = router.address;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let stopped = stopped.clone();
            tokio::spawn(async move {
                let mut count = 0;
                while !*stopped.borrow() {
                    let mut client = TcpStream::connect(address).await.unwrap();
                    client.write_all(get("a", "/gated", "").as_bytes()).await.unwrap();
                    let (status, body) = answer(client).await;
                    assert!(status == 200 && body.starts_with("gated "), "{status} {body}");
                    count += 1;
                }
                count
            })
        })
        .collect();
    for _ in 0..20 {
        router.change(&["kept"], &[("gated", Limits::default())], &OLD);
        router.until("gated", |_, stats| stats.arrived >= 10).await;
    }
    stop.send_replace(true);
    let mut total = 0;
    for client in clients {
        total += soon(client).await.unwrap();
    }
    assert!(total >= 200, "{total}");
    until_drivers(&router, 2).await;
}
