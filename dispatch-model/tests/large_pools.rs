//! What happens to all of a large pool at once takes time in proportion to it, and not to its
//! square: whoever drives the model waits for it.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a failure, which is what is wanted")]

use std::time::{Duration, SystemTime};

use dispatch_model::{
    Config, Dispatcher, Ending, Input, InstanceId, Limits, Output, RequestId, Time,
};

const SLOTS: u32 = 4;

/// A pool all of whose slots are taken, by the requests 0, 1, ...
struct Full {
    model: Dispatcher,
    now: Time,
    requests: u32,
}

impl Full {
    fn new(instances: u32) -> Self {
        let limits = Limits {
            instances_min: instances,
            instances_max: instances,
            invokes_burst: 100_000,
            slots: SLOTS,
            starts_unproven_max: 100_000,
            ..Limits::default()
        };
        let config = Config::new(limits).unwrap();
        let model = Dispatcher::new(config, 7, Time::ZERO);
        let mut pool = Self { model, now: Time::from_millis(500), requests: instances * SLOTS };
        let lease = Duration::from_secs(900);
        let invoked: Vec<InstanceId> = pool.outputs(|it| {
            let Output::Invoke { instance } = it else { return None };
            Some(instance)
        });
        assert_eq!(invoked.len(), instances as usize);
        for instance in invoked {
            pool.tell(Input::InstanceAttached { instance, slots: SLOTS, lease, cold: true });
        }
        pool.arrive(0);
        pool
    }

    fn tell(&mut self, input: Input) {
        self.model.handle_input(self.now, input);
    }

    fn arrive(&mut self, generation: u32) {
        for index in 0..self.requests {
            let request = RequestId::new(index, generation);
            self.tell(Input::RequestArrived { request, bytes: 1 });
        }
        let dispatched = |it| matches!(it, Output::Dispatch { .. }).then_some(());
        assert_eq!(self.outputs(dispatched).len(), self.requests as usize);
    }

    fn end(&mut self, generation: u32, ending: Ending) {
        for index in 0..self.requests {
            self.tell(Input::RequestEnded { request: RequestId::new(index, generation), ending });
        }
    }

    fn outputs<T>(&mut self, wanted: impl Fn(Output) -> Option<T>) -> Vec<T> {
        std::iter::from_fn(|| self.model.poll_output()).filter_map(wanted).collect()
    }

    fn sent_away(&mut self) -> usize {
        self.outputs(|it| matches!(it, Output::GoAway { .. }).then_some(())).len()
    }
}

/// The least time that `what` takes with so many instances.
fn time(instances: u32, what: impl Fn(&mut Full)) -> Duration {
    let once = || {
        let mut pool = Full::new(instances);
        let began = SystemTime::now();
        what(&mut pool);
        began.elapsed().unwrap_or_default()
    };
    (0..3).map(|_| once()).min().unwrap()
}

/// Sixteen times as many take sixteen times as long, or somewhat more as no cache has room for
/// them, and 256 times if it is their square.
fn assert_in_proportion(what: impl Fn(&mut Full)) {
    let few = time(1_000, &what).max(Duration::from_micros(20));
    let many = time(16_000, &what);
    assert!(many < 96 * few, "{few:?} with 1,000 instances, {many:?} with 16,000");
}

#[test]
fn full_instances_beyond_a_lowered_maximum_leave_in_linear_time() {
    assert_in_proportion(|pool| {
        pool.tell(Input::LimitsChanged { instances_min: 0, instances_max: 1 });
        pool.now = pool.now + Duration::from_secs(2);
        pool.model.handle_timeout(pool.now);
        assert_eq!(pool.sent_away(), pool.requests as usize / SLOTS as usize - 1);
    });
}

#[test]
fn requests_that_all_time_out_take_linear_time() {
    assert_in_proportion(|pool| {
        for generation in 0..3 {
            pool.end(generation, Ending::TimedOut);
            pool.outputs(|_| Some(()));
            pool.arrive(generation + 1);
        }
    });
}

#[test]
fn requests_that_end_while_a_pool_is_stopped_take_linear_time() {
    assert_in_proportion(|pool| {
        pool.tell(Input::ShutdownRequested { drain: Duration::from_secs(60) });
        pool.end(0, Ending::Served);
        assert_eq!(pool.sent_away(), pool.requests as usize / SLOTS as usize);
    });
}
