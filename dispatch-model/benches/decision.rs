//! What one decision costs: a request arrives, is matched to a slot, and ends; outputs are drained
//! and the next time-out is read after each input, as a driver does.
//!
//! The figure must stay flat in the number of instances and of queued requests. `tick` is the look
//! at the number of instances, which happens every 100 ms.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use dispatch_model::{
    Config, Dispatcher, Ending, Input, InstanceId, Limits, Output, RequestId, Time,
};

const SLOTS_PER_INSTANCE: u32 = 10;

/// A pool at a steady load, which a request can be pushed through again and again.
struct Pool {
    model: Dispatcher,
    now: Time,
    free: Vec<RequestId>,
    running: VecDeque<RequestId>,
    instances: Vec<InstanceId>,
}

impl Pool {
    /// `slots` slots, of which `busy` serve; with `queued` requests in line if all are busy.
    fn new(slots: u32, busy: u32, queued: u32) -> Self {
        let count = slots / SLOTS_PER_INSTANCE;
        let limits = Limits {
            cold_start: Some(Duration::from_secs(3)),
            instances_max: count,
            instances_min: count,
            invokes_burst: count,
            ping_interval: Duration::from_secs(100_000),
            queue_len_max: queued + 2,
            queue_timeout: Duration::from_secs(100_000),
            slots: SLOTS_PER_INSTANCE,
            starts_unproven_max: count,
            ..Limits::default()
        };
        let config = Config::new(limits).expect("the limits are in range");
        let mut pool = Self {
            model: Dispatcher::new(config, 1, Time::ZERO),
            now: Time::ZERO,
            free: (0..busy + queued + 2).rev().map(|index| RequestId::new(index, 0)).collect(),
            running: VecDeque::new(),
            instances: Vec::new(),
        };
        pool.drain();
        assert_eq!(pool.instances.len(), count as usize);
        for instance in pool.instances.clone() {
            let lease = Duration::from_secs(100_000);
            let slots = SLOTS_PER_INSTANCE;
            pool.input(Input::InstanceAttached { instance, slots, lease, cold: true });
        }
        for _ in 0..busy + queued {
            pool.arrive();
        }
        assert_eq!(pool.model.gauges().queued, queued);
        pool.model.check();
        pool
    }

    fn arrive(&mut self) {
        let request = self.free.pop().expect("one more than are alive");
        self.input(Input::RequestArrived { request, bytes: 500 });
    }

    /// One request comes, one goes.
    fn turn(&mut self) {
        self.now = self.now + Duration::from_micros(10);
        self.arrive();
        let request = self.running.pop_front().expect("some are running");
        self.input(Input::RequestEnded { request, ending: Ending::Served });
        self.free.push(RequestId::new(request.index(), request.generation() + 1));
    }

    fn input(&mut self, input: Input) {
        self.model.handle_input(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.model.poll_output() {
            match output {
                Output::Dispatch { request, .. } => self.running.push_back(request),
                Output::Invoke { instance } => self.instances.push(instance),
                Output::Close { .. }
                | Output::Decided(_)
                | Output::GoAway { .. }
                | Output::Ping { .. }
                | Output::Refuse { .. }
                | Output::Stopped => {}
            }
        }
        black_box(self.model.poll_timeout());
    }
}

fn decision(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decision");
    for slots in [10, 1_000, 10_000, 100_000] {
        let mut pool = Pool::new(slots, slots / 2, 0);
        group.bench_function(BenchmarkId::new("half_busy", slots), |bencher| {
            bencher.iter(|| pool.turn());
        });
        pool.model.check();
    }
    for slots in [1_000, 10_000] {
        let mut pool = Pool::new(slots, slots, 10_000);
        group.bench_function(BenchmarkId::new("10000_queued", slots), |bencher| {
            bencher.iter(|| pool.turn());
        });
        pool.model.check();
    }
    group.finish();
}

fn tick(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tick");
    for slots in [1_000, 100_000] {
        let mut pool = Pool::new(slots, slots / 2, 0);
        group.bench_function(BenchmarkId::from_parameter(slots), |bencher| {
            bencher.iter_batched(
                || (),
                |()| {
                    pool.now = pool.now + Duration::from_millis(100);
                    pool.model.handle_timeout(pool.now);
                    pool.drain();
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, decision, tick);
criterion_main!(benches);
