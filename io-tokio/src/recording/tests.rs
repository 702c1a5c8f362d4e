use std::time::Duration;

use dispatch_model::{
    Budget, Decision, Ending, GoAwayReason, InstanceId, InvokeOutcome, Limits, Prng, RefuseReason,
    RequestId, Scaling, Why,
};

use super::*;
use crate::observe::Observer;

pub(crate) mod life;

use life::Life;

/// Writes a recording, in blocks of a few steps, and begins a new segment now and then.
struct Scribe {
    writer: Option<Writer>,
    bytes: Vec<u8>,
    turns: u32,
    segment_every: u32,
    steps: u64,
    digest_in: Digest,
    digest_out: Digest,
}

impl Scribe {
    fn new(segment_every: u32) -> Self {
        Self {
            writer: None,
            bytes: Vec::new(),
            turns: 0,
            segment_every,
            steps: 0,
            digest_in: Digest::default(),
            digest_out: Digest::default(),
        }
    }

    fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().unwrap()
    }

    fn step(&mut self, now: Time, step: Step) {
        self.writer().step(now, step);
        self.steps += 1;
        match step {
            Step::Output(_) => self.digest_out.add(now, &step),
            Step::Input(_) | Step::Timeout => self.digest_in.add(now, &step),
        }
    }
}

impl Observer for Scribe {
    fn started(&mut self, now: Time, config: &Config, seed: u64) {
        self.writer = Some(Writer::new(&Origin::Fresh { config: *config, seed, start: now }));
    }

    fn timeout(&mut self, now: Time) {
        self.step(now, Step::Timeout);
    }

    fn input(&mut self, now: Time, input: &Input) {
        self.step(now, Step::Input(*input));
    }

    fn output(&mut self, now: Time, output: &Output) {
        self.step(now, Step::Output(*output));
    }

    fn turn(&mut self, now: Time, model: &Dispatcher) {
        self.turns += 1;
        if self.turns.is_multiple_of(7) {
            let bytes = self.writer().take();
            self.bytes.extend(bytes);
        }
        if self.turns.is_multiple_of(self.segment_every) {
            self.writer().begin(&Origin::Checkpoint { at: now, model: Box::new(model.clone()) });
        }
    }
}

/// A life and its recording.
fn recorded(seed: u64, turns: u32, segment_every: u32) -> (Scribe, Vec<u8>) {
    let mut life = Life::new(seed, Scribe::new(segment_every));
    life.turns(turns);
    let mut scribe = life.observer;
    let last = scribe.writer().take();
    scribe.bytes.extend(last);
    let bytes = scribe.bytes.clone();
    (scribe, bytes)
}

/// Rewrites a recording with steps changed.
fn rewritten(bytes: &[u8], mut change: impl FnMut(u64, Step) -> Option<Step>) -> Vec<u8> {
    let recording = Recording::read(bytes).unwrap();
    let mut writer: Option<Writer> = None;
    let mut number = 0;
    for segment in recording.segments() {
        match &mut writer {
            Some(writer) => writer.begin(segment.origin()),
            None => writer = Some(Writer::new(segment.origin())),
        }
        for (at, step) in segment.steps() {
            if let Some(step) = change(number, step) {
                writer.as_mut().unwrap().step(at, step);
            }
            number += 1;
        }
    }
    writer.unwrap().take()
}

#[test]
fn recordings_of_random_lives_replay_with_identical_outputs() {
    for seed in 0..40 {
        let (scribe, bytes) = recorded(seed, 1_000, 150);
        let recording = Recording::read(&bytes).unwrap();
        assert_eq!(recording.cut(), None);
        let replayed = replay(&recording).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let steps: u64 = recording.segments().iter().map(Segment::len).sum();
        assert_eq!(steps, scribe.steps, "seed {seed}");
        assert_eq!(replayed.inputs + replayed.timeouts + replayed.outputs, steps, "seed {seed}");
        assert!(replayed.inputs > 500 && replayed.timeouts > 50 && replayed.outputs > 500);
        assert_eq!((replayed.segments, replayed.outputs_after), (7, 0), "seed {seed}");
        assert_eq!(replayed.digest_in, scribe.digest_in, "seed {seed}");
        assert_eq!(replayed.digest_out, scribe.digest_out, "seed {seed}");
    }
}

#[test]
fn recording_cut_at_any_byte_is_used_as_far_as_it_is_whole() {
    let (scribe, bytes) = recorded(1, 40, 30);
    let mut before = 0;
    for length in 0..=bytes.len() {
        let recording = Recording::read(&bytes[..length]).unwrap();
        let steps: u64 = recording.segments().iter().map(Segment::len).sum();
        assert!(steps >= before, "{length} bytes have fewer steps than less");
        before = steps;
        // Cut between two blocks it looks whole, and is.
        assert!(recording.cut().is_none_or(|at| at < length || length == 0));
        replay(&recording).unwrap_or_else(|error| panic!("{length} bytes: {error}"));
    }
    assert_eq!(before, scribe.steps);
    assert!(Recording::read(&bytes[..bytes.len() - 1]).unwrap().cut().is_some());
}

#[test]
fn recording_with_a_flipped_bit_is_refused() {
    let (_, bytes) = recorded(2, 40, 30);
    for index in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[index] ^= 1 << (index % 8);
        let read = Recording::read(&damaged);
        assert!(read.is_err(), "a bit in byte {index} of {} is not missed", bytes.len());
    }
}

#[test]
fn garbage_is_an_error_with_its_place_and_takes_no_memory() {
    let mut chance = Prng::new(5);
    let mut garbage = |most| {
        let length = usize::try_from(chance.below(most)).unwrap();
        (0..length).map(|_| chance.next_u64().to_le_bytes()[0]).collect::<Vec<u8>>()
    };
    let (_, good) = recorded(3, 20, 100);
    for _ in 0..3_000 {
        let noise = garbage(100);
        if !noise.is_empty() && !MAGIC.starts_with(&noise[..1]) {
            assert_eq!(Recording::read(&noise).unwrap_err(), ReadError::Foreign { at: 0 });
        }
        // In a frame that is right.
        let mut framed = good.clone();
        put_block(&mut framed, STEPS, &noise);
        if let Err(error) = Recording::read(&framed) {
            assert_eq!(error, ReadError::Undecodable { at: good.len() });
        }
        let mut framed = good.clone();
        framed.extend_from_slice(&MAGIC);
        framed.extend_from_slice(&VERSION.to_le_bytes());
        put_block(&mut framed, b'O', &noise);
        let error = Recording::read(&framed).unwrap_err();
        assert_eq!(error, ReadError::Undecodable { at: good.len() + 12 });
    }
}

#[test]
fn segments_that_were_swapped_or_doubled_are_refused() {
    let (_, bytes) = recorded(10, 100, 30);
    let begins = |at: &usize| bytes[*at..].starts_with(&MAGIC);
    let mut places: Vec<usize> = (0..bytes.len()).filter(begins).collect();
    places.push(bytes.len());
    let parts: Vec<&[u8]> = places.windows(2).map(|it| &bytes[it[0]..it[1]]).collect();
    let [first, second, third, ..] = parts[..] else { panic!("{} segments", parts.len()) };
    assert!(Recording::read(&[first, second, third].concat()).is_ok());
    for (wrong, at) in [
        ([first, third, second], first.len() + third.len()),
        ([first, second, second], first.len() + second.len()),
    ] {
        let error = Recording::read(&wrong.concat()).unwrap_err();
        assert_eq!(error, ReadError::OutOfOrder { at });
    }
    // Another life of the router: its clock begins anew.
    assert!(Recording::read(&[first, second, first, second].concat()).is_ok());
}

#[test]
fn limits_out_of_range_are_not_believed() {
    // An origin as if nobody had checked the limits.
    let origin = |limits: Limits| {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        let payload = postcard::to_allocvec(&("0", 1_u32, limits, 7_u64, Time::ZERO)).unwrap();
        put_block(&mut bytes, b'O', &payload);
        bytes
    };
    assert_eq!(Recording::read(&origin(Limits::default())).unwrap().segments().len(), 1);
    let error = Recording::read(&origin(Limits { slots: 0, ..Limits::default() })).unwrap_err();
    assert_eq!(error, ReadError::Undecodable { at: 12 });
}

#[test]
fn another_version_says_so() {
    let (_, mut bytes) = recorded(4, 10, 100);
    bytes[8] = 9;
    let error = Recording::read(&bytes).unwrap_err();
    assert_eq!(error, ReadError::OtherVersion { at: 0, version: 9 });
    let expected = format!("has version 9 of the format, this program reads {VERSION} only");
    assert!(error.to_string().contains(&expected), "{error}");
}

#[test]
fn changed_output_is_found_where_it_is() {
    let (_, bytes) = recorded(6, 300, 10_000);
    let mut changed = None;
    let wrong = rewritten(&bytes, |number, step| match step {
        Step::Output(Output::Dispatch { request, instance, waited, cold_exposed: false })
            if changed.is_none() && number > 20 =>
        {
            changed = Some((number, step));
            Some(Step::Output(Output::Dispatch { request, instance, waited, cold_exposed: true }))
        }
        Step::Input(_) | Step::Output(_) | Step::Timeout => Some(step),
    });
    let (number, right) = changed.unwrap();
    let divergence = replay(&Recording::read(&wrong).unwrap()).unwrap_err();
    assert_eq!((divergence.segment, divergence.step), (0, number));
    let Did::Output(did) = divergence.did else { panic!("{divergence}") };
    assert_eq!(Step::Output(did), right);
    assert_eq!(divergence.before.len(), 8);
    let text = divergence.to_string();
    let (at, recorded) = (divergence.at, divergence.recorded.unwrap());
    assert!(text.ends_with(&format!("- {at} {recorded}\n+ {at} {right}")), "{text}");
}

#[test]
fn missing_and_invented_outputs_are_found() {
    let (_, bytes) = recorded(7, 200, 100);
    let dispatches = |step| matches!(step, Step::Output(Output::Dispatch { .. }));
    let mut gone = false;
    let fewer = rewritten(&bytes, |_, step| {
        let goes = !gone && dispatches(step);
        gone |= goes;
        (!goes).then_some(step)
    });
    let divergence = replay(&Recording::read(&fewer).unwrap()).unwrap_err();
    assert!(matches!(divergence.did, Did::Output(Output::Dispatch { .. })), "{divergence}");
    let mut done = false;
    let more = rewritten(&bytes, |_, step| {
        let invents = !done && matches!(step, Step::Timeout);
        done |= invents;
        Some(if invents { Step::Output(Output::Stopped) } else { step })
    });
    let divergence = replay(&Recording::read(&more).unwrap()).unwrap_err();
    assert_eq!(divergence.did, Did::Nothing, "{divergence}");
}

#[test]
fn what_made_the_model_panic_makes_it_panic_again() {
    let (mut scribe, bytes) = recorded(8, 50, 1_000);
    let input = Input::RequestArrived { request: RequestId::new(0, 0), bytes: 1 };
    // The same name twice, which no driver may do.
    let wrong = rewritten(&bytes, |_, step| Some(step));
    let end = Recording::read(&bytes).unwrap().segments()[0].steps().last().unwrap().0;
    let writer = scribe.writer();
    writer.step(end, Step::Input(input));
    writer.step(end, Step::Input(input));
    let bytes = [wrong, writer.take()].concat();
    let divergence = replay(&Recording::read(&bytes).unwrap()).unwrap_err();
    assert!(matches!(divergence.did, Did::Panicked(_)), "{divergence}");
}

#[test]
fn steps_read_like_a_story() {
    let (_, bytes) = recorded(9, 100, 1_000);
    let recording = Recording::read(&bytes).unwrap();
    let lines: Vec<String> =
        recording.segments()[0].steps().map(|(at, step)| format!("{at} {step}")).collect();
    assert_eq!(lines[0], "3ms     decide 0 -> 1 instances (start 1): configured bounds");
    assert_eq!(lines[1], "3ms     invoke i0");
    assert!(lines.iter().any(|line| line.ends_with("timer")), "{lines:#?}");
}

/// One of each.
fn all_steps() -> Vec<Step> {
    let (request, instance) = (RequestId::new(300, 2), InstanceId::new(4, 1));
    let (lease, drain) = (Duration::from_millis(59_500), Duration::from_secs(110));
    let inputs = [
        Input::GoAwayReceived { instance },
        Input::InstanceAttached { instance, slots: 10, lease, cold: true },
        Input::InstanceLost { instance },
        Input::LeaveAsked { instance, patience: lease },
        Input::LimitsChanged { instances_min: 1, instances_max: 100 },
        Input::PongReceived { instance },
        Input::RequestArrived { request, bytes: 5_000 },
        Input::RequestCancelled { request },
        Input::ShutdownRequested { drain },
        Input::SlotsOffered { instance, slots: 3 },
    ];
    let endings = [
        Ending::Served,
        Ending::TimedOut,
        Ending::Undelivered,
        Ending::Unknown { repeatable: true },
        Ending::Unread,
    ];
    let outcomes = [
        InvokeOutcome::Crashed,
        InvokeOutcome::Forbidden,
        InvokeOutcome::Returned,
        InvokeOutcome::Throttled { retry_after: Some(drain) },
        InvokeOutcome::TimedOut,
        InvokeOutcome::Unavailable,
        InvokeOutcome::Unknown,
    ];
    let goaways = [
        GoAwayReason::Hung,
        GoAwayReason::LeaseEnding,
        GoAwayReason::Silent,
        GoAwayReason::Shutdown,
        GoAwayReason::Surplus,
    ];
    let refusals = RefuseReason::ALL;
    let whys = [
        Why::Backlog { queued: 1_000, slots: 10, service: lease, cold_start: drain },
        Why::Budget,
        Why::Busy { queued: 11, due: 3, cold_start: drain },
        Why::Formula(Scaling::Ewma),
        Why::Formula(Scaling::Rule),
        Why::Formula(Scaling::Simple),
        Why::Idle,
        Why::Limits,
        Why::Rate { arrivals_per_1000s: 70_000, service: lease, stuck: 2 },
    ];
    let outputs = [
        Output::Close { instance },
        Output::Dispatch { request, instance, waited: lease, cold_exposed: true },
        Output::Invoke { instance },
        Output::Ping { instance },
        Output::Stopped,
    ];
    let ended = endings.map(|ending| Input::RequestEnded { request, ending });
    let invoked = outcomes.map(|outcome| Input::InvokeEnded { instance, outcome });
    let leaving = goaways.map(|reason| Output::GoAway { instance, reason });
    let refused = refusals.map(|reason| Output::Refuse { request, reason, retry_after_s: 60 });
    let decided = whys.map(|why| Output::Decided(Decision { from: 1, to: 2, why }));
    let inputs = inputs.into_iter().chain(ended).chain(invoked).map(Step::Input);
    let outputs = outputs.into_iter().chain(leaving).chain(refused).chain(decided);
    inputs.chain(outputs.map(Step::Output)).chain([Step::Timeout]).collect()
}

/// Old recordings must not be misread: whoever changes what is in them raises [`VERSION`].
#[test]
fn bytes_of_a_version_never_change() {
    let digest = |bytes: &[u8]| format!("{:016x}", Digest::of(0, bytes));
    let steps = postcard::to_allocvec(&all_steps()).unwrap();
    assert_eq!(digest(&steps), "fbe16d42ca7c52c1", "raise VERSION, then this");
    let budget =
        Some(Budget { microdollars_per_hour: 1_000_000, picodollars_per_instance_second: 1 });
    let limits = Limits { budget, instances_min: 2, ..Limits::default() };
    let model = Dispatcher::new(Config::new(limits).unwrap(), 7, Time::from_millis(5));
    let model = postcard::to_allocvec(&model).unwrap();
    assert_eq!(
        digest(&model),
        "16488dd071593061",
        "raise VERSION if its fields are others, then this"
    );
}

#[test]
fn no_step_is_too_big_for_the_encoder() {
    let mut encoder = Encoder::new(Time::ZERO);
    let (id, span) = (u32::MAX, Duration::new(u64::MAX, 999_999_999));
    let why = Why::Backlog { queued: id, slots: id, service: span, cold_start: span };
    encoder.push(Time::MAX, Step::Output(Output::Decided(Decision { from: id, to: id, why })));
    assert!(encoder.len() < 80, "{}", encoder.len());
}
