//! How long an instance lasts, and how it begins: short function time-outs, and snapshots.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use emulator::Event;
use emulator::model::{self, Stage as Life};

use crate::stage::{Stage, until};

/// The original loops below 15 s: its extension asks to leave before it has served anybody.
#[tokio::test]
async fn a_function_with_a_time_out_of_five_seconds_serves_over_many_leases() {
    let service =
        model::Config { function_timeout: Duration::from_secs(5), ..model::Config::default() };
    let app = Some(Stage::demo_app());
    let stage = Stage::in_service(service, app, Arc::new(|_: &Event| {}), &[], &[]).await;
    let mut served = 0;
    while stage.router.metric("dispatch_goaways_total").await < 4.0 {
        let answer = stage.router.get("/sleep?ms=20").await;
        assert_eq!(answer.status, 200, "after {served}: {}", answer.text());
        served += 1;
    }
    assert!(served > 20, "{served} requests in four leases");
    let invokes = stage.router.metric("dispatch_invokes_total").await;
    // Four leases are over; each needs one, and one more where a replacement overlaps.
    assert!((4.0..=12.0).contains(&invokes), "{invokes} invokes in four leases");
    assert_eq!(stage.router.metric("dispatch_refused_total").await, 0.0);
}

/// Each event with what it is about, as far as snapshots are concerned.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other events are of no interest")]
fn diary() -> (emulator::Observer, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::clone(&lines);
    let observer = Arc::new(move |event: &Event| {
        let line = match event {
            Event::EnvironmentStarted { environment, .. } => format!("{environment} started"),
            Event::InitDone { environment, .. } => format!("{environment} ready"),
            Event::Frozen { environment } => format!("{environment} frozen"),
            Event::Thawed { environment } => format!("{environment} thawed"),
            Event::Restored { environment } => format!("{environment} restored"),
            _ => return,
        };
        written.lock().unwrap().push(line);
    });
    (observer, lines)
}

#[tokio::test]
async fn a_snapshot_is_made_before_anybody_asks_and_restored_for_whoever_does() {
    let service = model::Config {
        function_timeout: Duration::from_secs(60),
        restore: Some(Duration::from_millis(100)),
        ..model::Config::default()
    };
    let (observer, lines) = diary();
    let app = Some(Stage::demo_app());
    let stage = Stage::in_service(service, app, observer, &[], &["pool.slots=1"]).await;
    let stored = async || {
        let environments = stage.emulator.environments().await;
        environments.iter().filter(|it| it.stage == Life::Stored).count()
    };
    until("a copy is stored", async || stored().await == 1).await;
    assert_eq!(*lines.lock().unwrap(), ["env-1 started", "env-1 ready", "env-1 frozen"]);

    assert_eq!(stage.router.get("/").await.status, 200);
    let own: Vec<_> =
        lines.lock().unwrap().iter().filter(|it| it.starts_with("env-1 ")).cloned().collect();
    assert_eq!(own[3..5], ["env-1 thawed", "env-1 restored"], "{own:?}");

    // The next environment is another copy, with a name and a token of its own.
    until("another copy is stored", async || stored().await == 1).await;
    let (slow, quick) =
        tokio::join!(stage.router.get("/sleep?ms=3000"), stage.router.get("/sleep?ms=3000"));
    assert_eq!((slow.status, quick.status), (200, 200));
    let lines = lines.lock().unwrap();
    assert!(lines.contains(&"env-2 restored".to_owned()), "{lines:?}");
}
