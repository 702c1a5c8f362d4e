//! What may be given to another instance, how often, and at whose cost: everything that an instance
//! gives back, by requests and instances without number.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a failure, which is what is wanted")]

use std::collections::BTreeMap;
use std::time::Duration;

use dispatch_model::{
    Config, Dispatcher, Ending, Input, InstanceId, Limits, Output, RefuseReason, RequestId, Time,
};

/// A pool whose instances all attach at once.
struct Pool {
    model: Dispatcher,
    now: Time,
    /// Where each running request is.
    running: BTreeMap<RequestId, InstanceId>,
    /// Who has had each live request, in order.
    had: BTreeMap<RequestId, Vec<InstanceId>>,
    refused: Vec<(RequestId, RefuseReason)>,
    dispatches: u64,
    repeats: u64,
    requests: u32,
}

impl Pool {
    fn new(instances: u32) -> Self {
        let limits = Limits {
            instances_min: instances,
            instances_max: instances,
            slots: 10,
            queue_timeout: Duration::from_secs(5),
            ..Limits::default()
        };
        let mut pool = Self {
            model: Dispatcher::new(Config::new(limits).unwrap(), 1, Time::ZERO),
            now: Time::ZERO,
            running: BTreeMap::new(),
            had: BTreeMap::new(),
            refused: Vec::new(),
            dispatches: 0,
            repeats: 0,
            requests: 0,
        };
        pool.perform();
        pool
    }

    fn tell(&mut self, input: Input) {
        self.model.handle_input(self.now, input);
        self.perform();
    }

    fn wait(&mut self, span: Duration) {
        self.now = self.now + span;
        self.model.handle_timeout(self.now);
        self.perform();
    }

    fn arrive(&mut self) -> RequestId {
        let request = RequestId::new(self.requests, 0);
        self.requests += 1;
        self.had.insert(request, Vec::new());
        self.tell(Input::RequestArrived { request, bytes: 100 });
        request
    }

    fn perform(&mut self) {
        while let Some(output) = self.model.poll_output() {
            match output {
                Output::Invoke { instance } => {
                    let lease = Duration::from_secs(800);
                    let cold = true;
                    let attached = Input::InstanceAttached { instance, slots: 10, lease, cold };
                    self.model.handle_input(self.now, attached);
                }
                Output::Dispatch { request, instance, .. } => {
                    let had = self.had.get_mut(&request).unwrap();
                    self.dispatches += 1;
                    self.repeats += u64::from(!had.is_empty());
                    had.push(instance);
                    self.running.insert(request, instance);
                }
                Output::Refuse { request, reason, .. } => self.refused.push((request, reason)),
                Output::Ping { instance } => {
                    self.model.handle_input(self.now, Input::PongReceived { instance });
                }
                Output::Close { .. }
                | Output::Decided(_)
                | Output::GoAway { .. }
                | Output::Stopped => {}
            }
            self.model.check();
        }
    }

    /// Every running request is given back.
    fn give_all_back(&mut self) {
        for request in std::mem::take(&mut self.running).into_keys() {
            self.tell(Input::RequestEnded { request, ending: Ending::Undelivered });
        }
    }
}

#[test]
fn a_request_goes_to_three_instances_at_most_each_another_one() {
    let mut pool = Pool::new(5);
    let request = pool.arrive();
    for attempts in 1..=3 {
        assert_eq!(pool.had[&request].len(), attempts);
        pool.give_all_back();
    }
    let had = &pool.had[&request];
    assert!(had[0] != had[1] && had[1] != had[2] && had[0] != had[2], "{had:?}");
    assert_eq!(pool.refused, [(request, RefuseReason::Undeliverable)]);
}

#[test]
fn repeats_are_a_tenth_of_the_dispatches_and_three_a_second_however_much_is_given_back() {
    let mut pool = Pool::new(100);
    for _ in 0..600 {
        for _ in 0..20 {
            pool.arrive();
        }
        pool.give_all_back();
        pool.wait(Duration::from_millis(100));
    }
    // What was saved up before anything had happened comes on top.
    let seconds = 60;
    let first = pool.dispatches - pool.repeats;
    let most = 100 + 3 * seconds + pool.dispatches / 10;
    assert!(pool.repeats <= most, "{} of {first} were repeated", pool.repeats);
    let least = 3 * seconds + first / 10;
    assert!(pool.repeats >= least, "{} of {first} were repeated", pool.repeats);
}

#[test]
fn a_request_is_given_back_within_its_first_deadline_only() {
    let mut pool = Pool::new(5);
    let request = pool.arrive();
    pool.wait(Duration::from_millis(5_001));
    pool.give_all_back();
    assert_eq!(pool.had[&request].len(), 1);
    assert_eq!(pool.refused, [(request, RefuseReason::Undeliverable)]);
}

#[test]
fn an_unknown_outcome_is_final_unless_it_is_safe_to_repeat_and_wanted() {
    for repeatable in [false, true] {
        let mut pool = Pool::new(5);
        let request = pool.arrive();
        pool.tell(Input::RequestEnded { request, ending: Ending::Unknown { repeatable } });
        assert_eq!(pool.had[&request].len(), 1, "repeated by default");
        assert_eq!(pool.refused, [(request, RefuseReason::Failed)]);
    }
}
