//! The dispatcher against a naive one, which keeps everything in vectors and looks through them.
//!
//! Both are told the same, and must order the same: dispatches, refusals, goaways, closes, ties
//! included. Covered are the queue, matching, cancels, returned requests, goaways, leases and slots
//! that change; the number of instances is fixed. A failure shrinks to a few steps.

#[path = "reference/naive.rs"]
mod naive;

use std::time::Duration;

use dispatch_model::{
    Config, Dispatcher, Ending, Input, InstanceId, Limits, Matching, Output, RequestId, Time,
};
use naive::{INSTANCES, Order, Pool, Step};
use proptest::prelude::*;
use proptest::test_runner::Config as Settings;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

impl ReferenceStateMachine for Pool {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        prop_oneof![Just(Matching::LeastOutstanding), Just(Matching::Pack)]
            .prop_map(Self::new)
            .boxed()
    }

    fn transitions(pool: &Self) -> BoxedStrategy<Step> {
        let instances = 0..pool.attached().max(1);
        let running = 0..pool.running().max(1);
        let live = 0..pool.live().max(1);
        let endings = prop_oneof![
            5 => Just(Ending::Served),
            1 => Just(Ending::Unread),
            2 => Just(Ending::Undelivered),
            1 => Just(Ending::Unknown { repeatable: false }),
        ];
        prop_oneof![
            8 => Just(Step::Arrive),
            3 => (0..5_u32, 1_000..5_000_u64)
                .prop_map(|(slots, quarters)| Step::Attach { slots, lease_ms: quarters * 4 }),
            1 => live.prop_map(Step::Cancel),
            6 => (running, endings).prop_map(|(running, ending)| Step::End(running, ending)),
            1 => instances.clone().prop_map(Step::GoAway),
            1 => instances.clone().prop_map(Step::Lose),
            1 => (instances, 0..5_u32).prop_map(|(instance, slots)| Step::Offer(instance, slots)),
            3 => prop_oneof![1..400_u64, 1..5_000_u64].prop_map(Step::Wait),
        ]
        .boxed()
    }

    fn apply(mut pool: Self, step: &Step) -> Self {
        pool.apply(step);
        pool
    }

    fn preconditions(pool: &Self, step: &Step) -> bool {
        match *step {
            Step::Arrive | Step::Wait(_) => true,
            Step::Attach { .. } => pool.attached() < INSTANCES,
            Step::Cancel(index) => index < pool.live(),
            Step::End(index, Ending::Served) => index < pool.running() && pool.is_quick(index),
            Step::End(index, _) => index < pool.running(),
            Step::GoAway(index) | Step::Lose(index) | Step::Offer(index, _) => {
                index < pool.attached()
            }
        }
    }
}

/// The real one, and the names under which it knows what the naive one numbers.
struct Real {
    model: Dispatcher,
    now: Time,
    invoked: Vec<InstanceId>,
    /// Requests that wait or run, in the naive one's order of arrival.
    orders: Vec<Order>,
}

impl Real {
    fn tell(&mut self, input: Input) {
        self.model.handle_input(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.model.poll_output() {
            let number = |id: InstanceId| self.invoked.iter().position(|other| *other == id);
            let order = match output {
                Output::Invoke { instance } => {
                    self.invoked.push(instance);
                    None
                }
                Output::Dispatch { request, instance, .. } => number(instance)
                    .map(|instance| Order::Dispatch(request.index() as usize, instance)),
                Output::Refuse { request, .. } => Some(Order::Refuse(request.index() as usize)),
                Output::GoAway { instance, .. } => number(instance).map(Order::GoAway),
                Output::Close { instance } => number(instance).map(Order::Close),
                Output::Decided(_) | Output::Ping { .. } | Output::Stopped => None,
            };
            self.orders.extend(order);
        }
        self.model.check();
    }

    fn advance(&mut self, until: Time) {
        while let Some(due) = self.model.poll_timeout().filter(|timeout| timeout.at <= until) {
            self.now = due.at;
            self.model.handle_timeout(due.at);
            self.drain();
        }
        self.now = until;
    }
}

struct Comparison;

impl StateMachineTest for Comparison {
    type SystemUnderTest = Real;
    type Reference = Pool;

    fn init_test(pool: &Pool) -> Real {
        let many = u32::try_from(INSTANCES).expect("a few");
        let forever = Duration::from_secs(1_000_000);
        let limits = Limits {
            instances_max: 100,
            instances_min: many,
            // What is compared is matching: nobody is sent away for being one too many.
            linger: forever,
            matching: pool.matching(),
            ping_interval: forever,
            queue_timeout: forever,
            start_timeout: forever,
            starts_unproven_max: many,
            ..Limits::default()
        };
        let config = Config::new(limits).expect("the limits are in range");
        let model = Dispatcher::new(config, 0, Time::ZERO);
        let mut real = Real { model, now: Time::ZERO, invoked: Vec::new(), orders: Vec::new() };
        real.drain();
        real
    }

    fn apply(mut real: Real, pool: &Pool, step: Step) -> Real {
        real.orders.clear();
        // The naive one has taken the step already, and remembers whom it was about.
        let request = RequestId::new(u32::try_from(pool.subject()).expect("a few"), 0);
        match step {
            Step::Arrive => real.tell(Input::RequestArrived { request, bytes: 1 }),
            Step::Attach { slots, lease_ms } => {
                let instance = real.invoked[pool.attached() - 1];
                let lease = Duration::from_millis(lease_ms);
                real.tell(Input::InstanceAttached { instance, slots, lease, cold: true });
            }
            Step::Cancel(_) => real.tell(Input::RequestCancelled { request }),
            Step::End(_, ending) => real.tell(Input::RequestEnded { request, ending }),
            Step::GoAway(index) => {
                let instance = real.invoked[index];
                real.tell(Input::GoAwayReceived { instance });
            }
            Step::Lose(index) => {
                let instance = real.invoked[index];
                real.tell(Input::InstanceLost { instance });
            }
            Step::Offer(index, slots) => {
                let instance = real.invoked[index];
                real.tell(Input::SlotsOffered { instance, slots });
            }
            Step::Wait(ms) => real.advance(real.now + Duration::from_millis(ms)),
        }
        assert_eq!(real.orders, pool.orders(), "after {step:?}");
        real
    }

    fn check_invariants(real: &Real, pool: &Pool) {
        let gauges = real.model.gauges();
        assert_eq!(gauges.running as usize, pool.running());
        assert_eq!((gauges.queued + gauges.running) as usize, pool.live());
    }
}

prop_state_machine! {
    #![proptest_config(Settings { cases: 400, failure_persistence: None, ..Settings::default() })]

    #[test]
    fn decisions_are_those_of_the_naive_dispatcher(sequential 1..120 => Comparison);
}
