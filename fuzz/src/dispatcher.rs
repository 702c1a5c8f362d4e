//! The router's machine under bytes.

use std::time::Duration;

use dispatch_model::{
    Budget, Config, Dispatcher, Ending, Input, InstanceId, InvokeOutcome, Limits, Matching, Output,
    RequestId, Scaling, Time,
};

/// Bytes that choose the limits.
const HEAD: usize = 8;
/// Bytes of a step: what happens, to whom, and two for how much.
const STEP: usize = 4;

/// Plays `bytes` to a dispatcher and checks its invariants, and its contract, after each step.
///
/// # Panics
///
/// An invariant does not hold: a find.
pub fn dispatcher(bytes: &[u8]) {
    let Some((head, steps)) = bytes.split_first_chunk::<HEAD>() else { return };
    let mut play = Play::new(head);
    for step in steps.as_chunks::<STEP>().0 {
        play.step(*step);
    }
    play.finish();
}

/// The world around the model, as far as legal inputs need one.
struct Play {
    model: Dispatcher,
    now: Time,
    /// By place: its name now, and where the request under it is.
    requests: Vec<(RequestId, Place)>,
    /// Every instance that was ever ordered.
    instances: Vec<InstanceId>,
    arrived: u64,
    ended: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Nowhere,
    Waiting,
    Running,
}

impl Play {
    fn new(head: &[u8; HEAD]) -> Self {
        let [matching, scaling, slots, max, queue, times, budget, seed] = *head;
        let limits = Limits {
            budget: (budget % 4 == 0).then_some(Budget {
                microdollars_per_hour: u64::from(budget) + 1,
                picodollars_per_instance_second: 16_666_700,
            }),
            cold_start: (times % 2 == 0).then(|| Duration::from_millis(u64::from(times) * 20 + 1)),
            instances_max: u32::from(max) % 32 + 1,
            instances_min: u32::from(max) / 32,
            linger: Duration::from_millis(u64::from(times) * 10),
            matching: if matching % 2 == 0 { Matching::LeastOutstanding } else { Matching::Pack },
            queue_bytes_max: u64::from(queue) * 1_000,
            queue_len_max: u32::from(queue) / 4,
            queue_timeout: Duration::from_millis(u64::from(times) * 100 + 1),
            redispatch_max: queue % 4,
            retry_repeatable: matching >= 128,
            scaling: [Scaling::Rule, Scaling::Simple, Scaling::Ewma][usize::from(scaling % 3)],
            slots: u32::from(slots) % 16 + 1,
            ..Limits::default()
        };
        let limits =
            Limits { instances_min: limits.instances_min.min(limits.instances_max), ..limits };
        let config = Config::new(limits).expect("every byte gives limits in range");
        let mut play = Self {
            model: Dispatcher::new(config, seed.into(), Time::ZERO),
            now: Time::ZERO,
            requests: Vec::new(),
            instances: Vec::new(),
            arrived: 0,
            ended: 0,
        };
        play.drain();
        play
    }

    fn step(&mut self, [kind, whom, a, b]: [u8; STEP]) {
        let much = u64::from(u16::from_le_bytes([a, b]));
        if let Some(input) = self.input(kind, whom, much) {
            self.model.handle_input(self.now, input);
            self.drain();
        }
    }

    fn input(&mut self, kind: u8, whom: u8, much: u64) -> Option<Input> {
        let instance = self.instances.iter().rev().nth(whom.into()).copied();
        let few = u32::try_from(much % 20).expect("below 20");
        Some(match kind % 16 {
            0..=2 => return self.arrive(few),
            3..=5 => return self.end(whom, much),
            6 => return self.cancel(whom),
            7 => Input::InstanceAttached {
                instance: instance?,
                slots: few,
                lease: Duration::from_millis(much * 4),
                cold: whom >= 128,
            },
            8 => Input::InvokeEnded { instance: instance?, outcome: outcome(much) },
            9 => Input::InstanceLost { instance: instance? },
            10 if much % 4 == 3 => {
                Input::LeaveAsked { instance: instance?, patience: Duration::from_millis(much) }
            }
            10 => Input::GoAwayReceived { instance: instance? },
            11 => Input::PongReceived { instance: instance? },
            12 => Input::SlotsOffered { instance: instance?, slots: few },
            13 => Input::LimitsChanged { instances_min: few / 4, instances_max: few },
            14 if much >= 65_000 => Input::ShutdownRequested { drain: Duration::from_secs(5) },
            14 => {
                // As a driver that comes at every timer.
                self.pass(Duration::from_millis(much), true);
                return None;
            }
            _ => {
                // As one that is late for all of them.
                self.pass(Duration::from_micros(much * 50), false);
                return None;
            }
        })
    }

    fn arrive(&mut self, few: u32) -> Option<Input> {
        let free = self.requests.iter().position(|(_, place)| *place == Place::Nowhere);
        let index = free.unwrap_or(self.requests.len());
        if index > usize::from(u8::MAX) {
            return None;
        }
        if index == self.requests.len() {
            let place = u32::try_from(index).expect("at most 255");
            self.requests.push((RequestId::new(place, 0), Place::Nowhere));
        }
        let (request, place) = &mut self.requests[index];
        *place = Place::Waiting;
        self.arrived += 1;
        Some(Input::RequestArrived { request: *request, bytes: few * 100 })
    }

    fn end(&mut self, whom: u8, much: u64) -> Option<Input> {
        let (request, place) = self.requests.get_mut(usize::from(whom))?;
        if *place != Place::Running {
            return None;
        }
        let request = *request;
        let ending = match much % 8 {
            0 => Ending::Undelivered,
            1 => Ending::Unknown { repeatable: true },
            2 => Ending::Unknown { repeatable: false },
            3 => Ending::TimedOut,
            4 => Ending::Unread,
            _ => Ending::Served,
        };
        *place = Place::Waiting;
        if matches!(ending, Ending::Served | Ending::Unread) {
            self.over(request);
        }
        Some(Input::RequestEnded { request, ending })
    }

    fn cancel(&mut self, whom: u8) -> Option<Input> {
        let (request, place) = *self.requests.get(usize::from(whom))?;
        if place == Place::Nowhere {
            return None;
        }
        self.over(request);
        Some(Input::RequestCancelled { request })
    }

    fn over(&mut self, request: RequestId) {
        let entry = &mut self.requests[request.index() as usize];
        *entry = (RequestId::new(request.index(), request.generation() + 1), Place::Nowhere);
        self.ended += 1;
    }

    fn pass(&mut self, span: Duration, every_timer: bool) {
        let until = self.now + span;
        while every_timer
            && let Some(due) = self.model.poll_timeout().filter(|timeout| timeout.at <= until)
        {
            self.now = due.at;
            self.model.handle_timeout(due.at);
            self.drain();
        }
        self.now = until;
        self.model.handle_timeout(until);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.model.poll_output() {
            match output {
                Output::Invoke { instance } => self.instances.push(instance),
                Output::Dispatch { request, .. } => self.placed(request, Place::Running),
                Output::Refuse { request, .. } => self.placed(request, Place::Nowhere),
                Output::Close { .. }
                | Output::Decided(_)
                | Output::GoAway { .. }
                | Output::Ping { .. }
                | Output::Stopped => {}
            }
        }
        self.model.check();
        if let Some(timeout) = self.model.poll_timeout() {
            assert!(timeout.at > self.now, "{timeout:?} is due at {}", self.now);
        }
    }

    /// A waiting request is dispatched or refused.
    fn placed(&mut self, request: RequestId, place: Place) {
        let entry = &mut self.requests[request.index() as usize];
        if entry.0 != request {
            // A timer decided about it in the turn in which its end was told.
            return;
        }
        assert_eq!(entry.1, Place::Waiting, "{request} is ordered to be {place:?}");
        entry.1 = place;
        if place == Place::Nowhere {
            self.over(request);
        }
    }

    fn finish(&self) {
        let alive = self.requests.iter().filter(|(_, place)| *place != Place::Nowhere).count();
        let gauges = self.model.gauges();
        assert_eq!((gauges.queued + gauges.running) as usize, alive, "live requests");
        assert_eq!(self.arrived, self.ended + alive as u64, "each request ends once");
    }
}

fn outcome(much: u64) -> InvokeOutcome {
    match much % 8 {
        0 => InvokeOutcome::Crashed,
        1 => InvokeOutcome::Forbidden,
        2 => InvokeOutcome::Throttled { retry_after: None },
        3 => InvokeOutcome::Throttled { retry_after: Some(Duration::from_millis(much)) },
        4 => InvokeOutcome::TimedOut,
        5 => InvokeOutcome::Unavailable,
        6 => InvokeOutcome::Unknown,
        _ => InvokeOutcome::Returned,
    }
}
