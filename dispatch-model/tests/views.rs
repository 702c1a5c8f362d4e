//! What is seen of each instance from outside, through its whole life.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a failure, which is what is wanted")]

use std::time::Duration;

use dispatch_model::{
    Config, Dispatcher, Ending, Input, InstanceId, InstanceState, InstanceView, InvokeOutcome,
    Limits, Output, RequestId, Time,
};

const LEASE: Duration = Duration::from_secs(60);

/// A model that has asked for one instance, because a request waits, and that instance.
fn started() -> (Dispatcher, InstanceId) {
    let config = Config::new(Limits { slots: 3, ..Limits::default() }).unwrap();
    let mut model = Dispatcher::new(config, 7, Time::ZERO);
    let request = RequestId::new(0, 0);
    model.handle_input(Time::from_millis(500), Input::RequestArrived { request, bytes: 1 });
    while let Some(output) = model.poll_output() {
        if let Output::Invoke { instance } = output {
            return (model, instance);
        }
    }
    panic!("nothing is started for a request that waits");
}

fn seen(model: &Dispatcher) -> Vec<InstanceView> {
    model.instances().collect()
}

#[test]
fn an_instance_is_seen_from_its_invoke_to_its_end() {
    let (mut model, instance) = started();
    let invoked = Time::from_millis(500);
    let starting = InstanceView {
        id: instance,
        state: InstanceState::Starting,
        slots: 0,
        busy: 0,
        invoked,
        lease: None,
    };
    assert_eq!(seen(&model), [starting]);

    let attached = Time::from_millis(1_500);
    let input = Input::InstanceAttached { instance, slots: 3, lease: LEASE, cold: true };
    model.handle_input(attached, input);
    let ready = InstanceView {
        state: InstanceState::Ready,
        slots: 3,
        busy: 1,
        lease: Some((attached, attached + LEASE)),
        ..starting
    };
    assert_eq!(seen(&model), [ready]);

    model.handle_input(attached, Input::GoAwayReceived { instance });
    let draining = InstanceView { state: InstanceState::Draining, ..ready };
    assert_eq!(seen(&model), [draining]);

    let ended = Input::RequestEnded { request: RequestId::new(0, 0), ending: Ending::Served };
    model.handle_input(attached, ended);
    model.handle_input(attached, Input::InstanceLost { instance });
    let detached = InstanceView { state: InstanceState::Detached, busy: 0, ..ready };
    assert_eq!(seen(&model), [detached]);

    let outcome = InvokeOutcome::Returned;
    model.handle_input(attached, Input::InvokeEnded { instance, outcome });
    assert_eq!(seen(&model), []);
}

#[test]
fn the_first_in_line_is_seen_to_wait_until_it_is_served() {
    let (mut model, instance) = started();
    assert_eq!(model.gauges().oldest_wait, Duration::ZERO);
    let request = RequestId::new(1, 0);
    model.handle_input(Time::from_millis(900), Input::RequestArrived { request, bytes: 1 });
    assert_eq!(model.gauges().oldest_wait, Duration::from_millis(400));
    let input = Input::InstanceAttached { instance, slots: 1, lease: LEASE, cold: true };
    model.handle_input(Time::from_millis(1_500), input);
    // The second one waits on: there was one slot.
    assert_eq!(model.gauges().oldest_wait, Duration::from_millis(600));
}
