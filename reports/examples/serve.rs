//! Serves so many independent requests at such a rate in one way and says what that came to; for
//! whoever measures how long it takes (`benches/simfaas.py` does):
//! `serve containers|lambda|managed|ours|tracked REQUESTS RATE [SERVICE_MS]`.

use std::io::{self, Write};
use std::time::Duration;

use dispatch_model::{Gauges, Time};
use emulator::model::Config;
use reports::{FleetPlan, LambdaPlan, ManagedPlan, Tracking, fleet, lambda, managed};
use sim::outside::{Ended, Watch};
use sim::{Checks, Traffic};

#[derive(Default)]
struct Count {
    requests: u64,
    cold: u64,
    now: Time,
    ready: u32,
    /// Ready instances times nanoseconds.
    instances: u128,
}

impl Watch for Count {
    fn ended(&mut self, _: Time, request: Ended) {
        self.requests += 1;
        self.cold += u64::from(request.cold);
    }

    fn pool(&mut self, now: Time, gauges: &Gauges) {
        self.instances += u128::from(self.ready) * now.saturating_since(self.now).as_nanos();
        self.now = now;
        self.ready = gauges.ready;
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let mut word = |name: &str| words.next().ok_or_else(|| format!("{name} is missing"));
    let (way, requests, rate) = (word("the way")?, word("REQUESTS")?, word("RATE")?);
    let (requests, rate): (u32, u32) = (requests.parse()?, rate.parse()?);
    let service = word("SERVICE_MS").map_or(Ok(500), |ms| ms.parse())?;
    let traffic = Traffic {
        span: Duration::from_secs(1) * requests / rate,
        random: true,
        varied: true,
        ..Traffic::burst(requests, Duration::ZERO, Duration::from_millis(service))
    };
    let mut source = traffic.arrivals(1).peekable();
    let mut count = Count::default();
    let span = match way.as_str() {
        "lambda" => {
            let service = Config {
                account_concurrency: 10_000,
                function_timeout: Duration::from_secs(60),
                idle_jitter: Duration::ZERO,
                idle_timeout: Duration::from_secs(600),
                ..Config::default()
            };
            let init = Duration::from_millis(250);
            let plan = LambdaPlan { service, init, ..LambdaPlan::default() };
            lambda::run(&plan, &mut source, &mut count).span
        }
        "containers" => {
            let plan = FleetPlan { containers: 100, slots: 10, ..FleetPlan::default() };
            fleet::run(&plan, &mut source, &mut count).span
        }
        "managed" => managed::run(&ManagedPlan::default(), &mut source, &mut count).span,
        "ours" => {
            let outcome =
                sim::fast::play(&sim::Plan::default(), &mut source, &mut count, Checks::NONE)?.0;
            outcome.report.took
        }
        "tracked" => {
            let plan = FleetPlan { tracking: Some(Tracking::default()), ..FleetPlan::default() };
            fleet::run(&plan, &mut source, &mut count).span
        }
        other => return Err(format!("{other} is no way to serve").into()),
    };
    let Count { requests, cold, .. } = count;
    let instances = count.instances as f64 / span.as_nanos() as f64;
    let cold = cold as f64 / requests as f64 * 100.0;
    writeln!(
        io::stdout(),
        "{requests} requests in {span:?}, {cold:.4} % cold, {instances:.2} instances"
    )?;
    Ok(())
}
