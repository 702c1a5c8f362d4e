//! What a run is about: the arrivals, the pool, and the function with its faults.

use std::time::Duration;

use dispatch_model::{InvokeOutcome, Limits, Time};

use crate::workload::Workload;

/// A plan; with a seed it decides a run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// When requests arrive.
    pub workload: Workload,
    /// How long each takes on an instance.
    pub service: Duration,
    /// The pool. `cold_start` of these limits is what the pool believes; `init` is what is.
    pub limits: Limits,
    /// What Lambda allows.
    pub lambda: emulator::model::Config,
    /// From the start of a new environment to its first invoke: T.
    pub init: Duration,
    /// How the function behaves, each from its moment on; before the first it works.
    pub behaviours: Vec<(Time, Behaviour)>,
    /// The run is ended then if it has not ended by itself.
    pub horizon: Time,
}

/// How a function, or Lambda on its behalf, behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// The Invoke API answers so at once, and no environment hears of it.
    Answers(InvokeOutcome),
    /// The process ends as soon as it has a request.
    CrashesAtFirstRequest,
    /// The process ends during initialisation.
    CrashesAtInit,
    /// It never asks for an invoke.
    HangsAtInit,
    /// It attaches, and its handler returns at once.
    LeavesAtOnce,
    /// It gives every request back.
    Refuses,
    /// Every invoke is throttled; environments that serve go on.
    Throttled,
    /// It serves.
    Works,
}

impl Default for Scenario {
    /// A hundred requests at once for a pool whose one instance is warm: 10 slots, 50 ms of
    /// service, 3 s of cold start.
    fn default() -> Self {
        Self {
            workload: Workload::Burst { requests: 100, at: Time::from_millis(10_000) },
            service: Duration::from_millis(50),
            limits: Limits { instances_min: 1, ..Limits::default() },
            lambda: emulator::model::Config {
                function_timeout: Duration::from_secs(900),
                memory_mb: 1_024,
                ..emulator::model::Config::default()
            },
            init: Duration::from_secs(3),
            behaviours: Vec::new(),
            horizon: Time::from_millis(3_600_000),
        }
    }
}

impl Scenario {
    /// The scenario called `name`, one of [`NAMES`].
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let from_zero = Self { limits: Limits::default(), ..Self::default() };
        let span = Duration::from_secs(60);
        Some(match name {
            "burst" => Self::default(),
            "poisson" => {
                Self { workload: Workload::Poisson { per_second: 200, span }, ..from_zero }
            }
            "steady" => Self { workload: Workload::Steady { per_second: 200, span }, ..from_zero },
            _ => return None,
        })
    }

    /// How the function behaves at `now`.
    #[must_use]
    pub fn behaviour(&self, now: Time) -> Behaviour {
        let begun = self.behaviours.iter().rev().find(|(from, _)| *from <= now);
        begun.map_or(Behaviour::Works, |(_, behaviour)| *behaviour)
    }
}

/// What [`Scenario::named`] knows.
pub const NAMES: [&str; 3] = ["burst", "poisson", "steady"];
