//! The two ways to run a plan, behind one name; and how a run that fails is told.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::OnceLock;

use crate::fast::{self, Checks};
use crate::fault::FaultKind;
use crate::plan::Plan;
use crate::report::{Outcome, Report};
use crate::{real, swarm};

/// A way to run a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// Models only, over discrete events.
    Fast,
    /// The adapters of production over a simulated network.
    Real,
}

impl Driver {
    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Real => "real",
        }
    }

    /// Whether it can play faults of this kind.
    #[must_use]
    pub const fn plays(self, kind: FaultKind) -> bool {
        match self {
            Self::Fast => true,
            Self::Real => kind.is_real(),
        }
    }

    /// The plan that `seed` draws, of faults that it can play.
    #[must_use]
    pub fn plan(self, seed: u64) -> Plan {
        // Real adapters take as long for a minute in which nothing happens as for a busy second.
        let calm = self == Self::Fast || seed.is_multiple_of(CALM_EACH);
        swarm::plan(seed, calm, |kind| self.plays(kind))
    }

    /// Runs a plan from a file, in which each kind of fault has to fire, too. What a seed draws may
    /// find nobody whom it could befall; a file whose faults do not fire any more tests nothing.
    #[must_use]
    pub fn run_file(self, plan: &Plan, checks: Checks) -> (Outcome, String) {
        let (mut outcome, trace) = self.run(plan, checks);
        if outcome.broken.is_none() {
            let missing = outcome.report.fired.missing(plan.kinds());
            outcome.broken = missing.first().map(|kind| format!("planned and never fired: {kind}"));
        }
        (outcome, trace)
    }

    /// Runs a plan to its end, whatever happens: a panic is a failure as others are. What the plan
    /// says must hold is looked at too.
    #[must_use]
    pub fn run(self, plan: &Plan, checks: Checks) -> (Outcome, String) {
        let run = || match self {
            Self::Fast => fast::run(plan, checks),
            Self::Real => real::run(plan, checks),
        };
        let failed = |broken| {
            let report = Report::default();
            (Outcome { report, broken: Some(broken), recording: None }, String::new())
        };
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok((mut outcome, trace))) => {
                if let Some(hold) = plan.hold.as_ref().filter(|_| outcome.broken.is_none()) {
                    outcome.broken = hold.broken(&outcome.report);
                }
                (outcome, trace)
            }
            Ok(Err(error)) => failed(error.to_string()),
            Err(panic) => failed(format!("panic: {}", text_of(&*panic))),
        }
    }
}

/// One real world in so many has the second phase.
const CALM_EACH: u64 = 8;

fn text_of(panic: &dyn std::any::Any) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without words")
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The commit that is checked out, as far as can be found out.
#[must_use]
pub fn commit() -> &'static str {
    static COMMIT: OnceLock<String> = OnceLock::new();
    COMMIT.get_or_init(|| {
        let output = Command::new("git").args(["describe", "--always", "--dirty"]).output();
        output
            .ok()
            .filter(|output| output.status.success())
            .and_then(|output| String::from_utf8(output.stdout).ok())
            .map_or_else(|| "unknown".to_owned(), |commit| commit.trim().to_owned())
    })
}
