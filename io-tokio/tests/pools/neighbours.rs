//! One pool in trouble, and what the others notice of it.

use std::time::Duration;

use dispatch_model::Limits;
use io_tokio::edge::EdgeSettings;
use tokio::task::JoinSet;

use crate::stage::{Route, Router, answer, get, soon};

const FLOOD: usize = 300;
const PLACES: u32 = 50;

/// A pool whose function is `bad` is flooded while another one is asked a few times.
async fn flooded(bad: &str) {
    let share = Limits {
        slots: 2,
        instances_max: 2,
        queue_len_max: PLACES,
        queue_timeout: Duration::from_secs(600),
        ..Limits::default()
    };
    // On a busy machine the few take long and are thought to be more: one instance has room for
    // that, and none for a flood.
    let pools = [(bad, share), ("good", Limits { slots: 20, ..share })];
    let routes: [Route<'_>; 2] =
        [("bad.example", "", "", &[(1, bad)]), ("good.example", "", "", &[(1, "good")])];
    let router = Router::start(&pools, &routes, EdgeSettings::default()).await;
    assert_eq!(router.get("good.example", "/").await.0, 200);

    let running = if bad == "hanging" { 4 } else { 0 };
    let mut flood = JoinSet::new();
    for count in 0..FLOOD {
        let client = router.client(&get("bad.example", "/", "")).await;
        flood.spawn(answer(client));
        if count + 1 == running {
            // All that its instances can take, before there is no place in line.
            let running = running as u64;
            router
                .until(bad, |gauges, stats| stats.dispatched == running && gauges.queued == 0)
                .await;
        }
    }
    let refused = |arrived: u64, queued: u32| arrived == FLOOD as u64 && queued == PLACES;
    router.until(bad, |gauges, stats| refused(stats.arrived, gauges.queued)).await;
    for _ in 0..50 {
        assert_eq!(router.get("good.example", "/").await.0, 200);
    }
    let (gauges, stats) = router.now("good");
    assert_eq!((stats.dispatched, stats.refused), (51, 0));
    assert!(gauges.starting + gauges.ready <= 1, "it needs no more instances than alone");
    assert_eq!(router.now(bad).0.queued, PLACES, "the flood is still there");

    // Of those that had no place each was told at once.
    for _ in 0..FLOOD - PLACES as usize - running {
        let (status, _) = soon(flood.join_next()).await.unwrap().unwrap();
        assert!(matches!(status, 429 | 503), "{status}");
    }
    assert_eq!(flood.len(), PLACES as usize + running);
}

#[tokio::test]
async fn pool_whose_app_hangs_costs_its_neighbour_nothing() {
    flooded("hanging").await;
}

#[tokio::test]
async fn pool_whose_function_is_throttled_costs_its_neighbour_nothing() {
    flooded("throttled").await;
}
