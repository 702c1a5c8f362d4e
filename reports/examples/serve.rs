//! Serves so many independent requests at such a rate in one way and says what that came to; for
//! whoever measures how long it takes: `serve lambda|containers|managed REQUESTS RATE [SERVICE_MS]`.

use std::io::{self, Write};
use std::time::Duration;

use reports::{FleetPlan, LambdaPlan, ManagedPlan, Tracking, fleet, lambda, managed};
use sim::Traffic;
use sim::outside::{Ended, Watch};

#[derive(Default)]
struct Count {
    requests: u64,
    cold: u64,
    instances: u32,
}

impl Watch for Count {
    fn ended(&mut self, _: dispatch_model::Time, request: Ended) {
        self.requests += 1;
        self.cold += u64::from(request.cold);
    }

    fn instance_started(&mut self, _: dispatch_model::Time, instance: u32) {
        self.instances = self.instances.max(instance);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let mut word = |name: &str| words.next().ok_or(format!("{name} is missing"));
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
    let usage = match way.as_str() {
        "lambda" => {
            let mut plan = LambdaPlan::default();
            plan.service.account_concurrency = 10_000;
            plan.service.idle_jitter = Duration::ZERO;
            plan.service.function_timeout = Duration::from_secs(60);
            lambda::run(&plan, &mut source, &mut count)
        }
        "containers" => {
            let plan = FleetPlan { containers: 100, slots: 10, ..FleetPlan::default() };
            fleet::run(&plan, &mut source, &mut count)
        }
        "managed" => managed::run(&ManagedPlan::default(), &mut source, &mut count),
        "tracked" => {
            let plan = FleetPlan { tracking: Some(Tracking::default()), ..FleetPlan::default() };
            fleet::run(&plan, &mut source, &mut count)
        }
        other => return Err(format!("{other} is no way to serve").into()),
    };
    let Count { requests, cold, instances } = count;
    let busy = usage.paid_slot_time.as_secs_f64() / usage.span.as_secs_f64();
    writeln!(
        io::stdout(),
        "{requests} requests in {:?}, {cold} cold, {instances} instances in all, {busy:.1} slots paid",
        usage.span
    )?;
    Ok(())
}
