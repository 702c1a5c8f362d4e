//! What the last message of all does is shown too, though with it the driver ends.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dispatch_model::{Config, Dispatcher, InvokeOutcome, Limits, Stats, Time};
use io_tokio::chance::Chance;
use io_tokio::clock::Clock;
use io_tokio::driver::{self, PoolSettings};
use io_tokio::invited::Invited;
use io_tokio::invoker::{Invoked, Invoker};
use io_tokio::observe::Observer;
use tokio::sync::mpsc;

/// Each invocation lasts so long.
struct Lasting(Duration);

impl Invoker for Lasting {
    fn invoke(&self, _: &str, _: Vec<u8>) -> Pin<Box<dyn Future<Output = Invoked> + Send + '_>> {
        Box::pin(async {
            tokio::time::sleep(self.0).await;
            Invoked::new(InvokeOutcome::Returned, &"")
        })
    }
}

/// Tells the test how the model stands.
struct Shown(mpsc::UnboundedSender<Stats>);

impl Observer for Shown {
    fn turn(&mut self, _: Time, model: &Dispatcher) {
        self.0.send(*model.stats()).ok();
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_invoke_of_a_pool_that_is_left_is_in_its_instances_time() {
    const LIFE: Duration = Duration::from_secs(7);
    let settings = PoolSettings {
        name: "default".into(),
        function: "f".into(),
        callback_url: "http://127.0.0.1:1".into(),
        identity: None,
        seed: 1,
        chance: Chance::System,
    };
    let (shows, mut shown) = mpsc::unbounded_channel();
    let config = Config::new(Limits::default()).unwrap();
    let (invited, invoker) = (Invited::default(), Arc::new(Lasting(LIFE)));
    let pool = driver::start(config, settings, Clock::start(), invited, invoker, Shown(shows));
    // Somebody has an instance started, and leaves; so does the router.
    drop(pool.arrive(0));
    pool.shut_down(Duration::from_secs(1)).await;
    drop(pool);
    let mut last = Stats::default();
    while let Some(stats) = shown.recv().await {
        last = stats;
    }
    let late = last.instance_time.saturating_sub(LIFE);
    assert!(last.instance_time >= LIFE && late < Duration::from_secs(1), "{last:?}");
}
