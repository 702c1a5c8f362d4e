//! What pools cost that have nothing to do.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dispatch_model::Limits;
use io_tokio::edge::EdgeSettings;

use crate::stage::{Router, one_route};

/// Memory of this process that is resident, in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test(start_paused = true)]
async fn idle_pools_sleep_and_hold_next_to_nothing() {
    const COUNT: usize = 2_000;
    let names: Vec<String> = (0..COUNT).map(|i| format!("good-{i}")).collect();
    let pools: Vec<_> = names.iter().map(|name| (name.as_str(), Limits::default())).collect();
    let hosts: BTreeMap<_, _> =
        names.iter().map(|name| (name.as_str(), [(1, name.as_str())])).collect();
    let before = resident();
    let router = Router::start(&pools, &one_route(&hosts), EdgeSettings::default()).await;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let each = resident().saturating_sub(before) / COUNT;
    assert_eq!(router.drivers(), COUNT);
    assert_eq!(router.timeouts.load(Ordering::Relaxed), 0, "a timer fired");
    println!("{each} bytes for each idle pool");
    assert!(each < 16 << 10, "{each} bytes for each idle pool");
}
