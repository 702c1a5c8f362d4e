//! What the flight recorder costs a request: it arrives, is dispatched and ends, which is three
//! steps in two turns of the driver, and nothing else comes in the same turns: the dearest case.
//! `nobody` is the model without an observer, to be subtracted.

#![expect(clippy::print_stderr, reason = "what was dropped belongs to the figures")]

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use dispatch_model::{Config, Dispatcher, Ending, Input, Limits, Output, RequestId, Time};
use io_tokio::observe::{Blind, Observer};
use io_tokio::recorder::{Recorder, RecorderSettings};

struct Pool<O> {
    model: Dispatcher,
    observer: O,
    now: Time,
    number: u32,
}

impl<O: Observer> Pool<O> {
    /// With 100 instances of 10 slots.
    fn new(mut observer: O) -> Self {
        let long = Duration::from_secs(10_000_000);
        let limits = Limits {
            instances_min: 100,
            ping_interval: long,
            starts_unproven_max: 100,
            ..Limits::default()
        };
        let config = Config::new(limits).expect("the limits are in range");
        observer.started(Time::ZERO, &config, 1);
        let model = Dispatcher::new(config, 1, Time::ZERO);
        let mut pool = Self { model, observer, now: Time::ZERO, number: 0 };
        let mut instances = Vec::new();
        while let Some(output) = pool.model.poll_output() {
            pool.observer.output(pool.now, &output);
            if let Output::Invoke { instance } = output {
                instances.push(instance);
            }
        }
        for instance in instances {
            pool.turn(Input::InstanceAttached { instance, slots: 10, lease: long, cold: true });
        }
        assert_eq!(pool.model.gauges().slots, 1_000);
        pool
    }

    /// A turn as the driver does it.
    fn turn(&mut self, input: Input) {
        self.now = self.now + Duration::from_micros(10);
        if self.model.poll_timeout().is_some_and(|timeout| timeout.at <= self.now) {
            self.observer.timeout(self.now);
        }
        self.model.handle_timeout(self.now);
        self.drain();
        self.observer.input(self.now, &input);
        self.model.handle_input(self.now, input);
        self.drain();
        self.observer.turn(self.now, &self.model);
    }

    fn drain(&mut self) {
        while let Some(output) = self.model.poll_output() {
            self.observer.output(self.now, &output);
        }
    }

    fn request(&mut self) {
        let request = RequestId::new(self.number % 1_000, self.number / 1_000);
        self.number += 1;
        self.turn(Input::RequestArrived { request, bytes: 500 });
        self.turn(Input::RequestEnded { request, ending: Ending::Served });
    }
}

fn recorder(settings: &RecorderSettings) -> Recorder {
    Recorder::new(settings).expect("it can be made").expect("something is to be recorded")
}

fn request(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request");
    let mut pool = Pool::new(Blind);
    group.bench_function("nobody", |bencher| bencher.iter(|| pool.request()));
    let mut pool = Pool::new(recorder(&RecorderSettings { ring: 8 << 20, file: None }));
    group.bench_function("ring", |bencher| bencher.iter(|| pool.request()));
    let path = std::env::temp_dir().join(format!("recorder-bench-{}", std::process::id()));
    let recorder = recorder(&RecorderSettings { ring: 8 << 20, file: Some(path.clone()) });
    let handle = recorder.handle();
    let mut pool = Pool::new(recorder);
    group.bench_function("ring_and_file", |bencher| bencher.iter(|| pool.request()));
    let (requests, dropped) = (pool.number, handle.dropped());
    drop(pool);
    let bytes = std::fs::metadata(&path).map_or(0, |file| file.len());
    std::fs::remove_file(&path).ok();
    group.finish();
    eprintln!("{bytes} bytes for {requests} requests, {dropped} steps dropped");
}

criterion_group!(benches, request);
criterion_main!(benches);
