//! What must hold at the end of a scenario, beside the invariants that always hold.

use std::time::Duration;

use dispatch_model::RefuseReason;
use serde::{Deserialize, Serialize};

use crate::report::Report;
use crate::span;

/// Bounds on a [`Report`]; what is left out is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hold {
    /// Requests that may be refused; without a word, none.
    #[serde(skip_serializing_if = "is_none")]
    pub refused_max: u64,
    /// Those that must be, at least.
    #[serde(skip_serializing_if = "is_none")]
    pub refused_min: u64,
    /// Why they may be; without a word, for any reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Requests whose client may see the router vanish; without a word, none.
    #[serde(skip_serializing_if = "is_none")]
    pub lost_max: u64,
    /// Exactly so many dispatches had waited as long as a cold start takes, as the router counted
    /// and as a naive count says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cold_exposed: Option<u64>,
    /// The longest wait before a dispatch.
    #[serde(with = "span::maybe", skip_serializing_if = "Option::is_none")]
    pub wait_max: Option<Duration>,
    /// The longest wait of 99 in 100 dispatches.
    #[serde(with = "span::maybe", skip_serializing_if = "Option::is_none")]
    pub wait_p99: Option<Duration>,
    /// From when on what arrives finds a pool that has settled, and the longest wait before its
    /// dispatch from then on.
    #[serde(with = "span::maybe", skip_serializing_if = "Option::is_none")]
    pub settled: Option<Duration>,
    #[expect(missing_docs, reason = "said with the field before")]
    #[serde(with = "span::maybe", skip_serializing_if = "Option::is_none")]
    pub settled_wait_max: Option<Duration>,
    /// The longest time from an arrival to its end.
    #[serde(with = "span::maybe", skip_serializing_if = "Option::is_none")]
    pub longest: Option<Duration>,
    /// Least and most orders to invoke.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invokes: Option<(u64, u64)>,
    /// Most new environments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environments_max: Option<u64>,
    /// Most that is billed.
    #[serde(with = "span::maybe", skip_serializing_if = "Option::is_none")]
    pub billed_max: Option<Duration>,
    /// It says something about single nanoseconds, which real adapters do not keep.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub exact: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_none(value: &u64) -> bool {
    *value == 0
}

impl Hold {
    /// Looks whether it asks for what can hold, and be broken.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let unknown = self.reasons.iter().find(|reason| !is_known(reason));
        if let Some(reason) = unknown {
            let known = RefuseReason::ALL.map(RefuseReason::name).join(", ");
            return Err(format!("reasons: nobody is refused for `{reason}`; reasons: {known}"));
        }
        let (least, most) = (self.refused_min, self.refused_max);
        if least > most {
            return Err(format!("refused_min is {least}, must be at most refused_max, {most}"));
        }
        if self.settled.is_some() != self.settled_wait_max.is_some() {
            return Err("settled and settled_wait_max say something together only".to_owned());
        }
        Ok(())
    }

    /// What does not hold, if anything.
    #[must_use]
    pub fn broken(&self, report: &Report) -> Option<String> {
        let at_most = |name: &str, value: Duration, most: Option<Duration>| {
            most.filter(|most| value > *most).map(|most| format!("{name} {value:?}, most {most:?}"))
        };
        let counts = |name: &str, value: u64, least: u64, most: u64| {
            let fits = (least..=most).contains(&value);
            (!fits).then(|| format!("{value} {name}, must be {least} to {most}"))
        };
        let allowed = |said: &str| self.reasons.iter().any(|reason| means(reason, said));
        let stray = report.refused.keys().find(|said| !self.reasons.is_empty() && !allowed(said));
        let (invokes_min, invokes_max) = self.invokes.unwrap_or((0, u64::MAX));
        let exposed = self.cold_exposed;
        [
            counts("refused", report.refusals(), self.refused_min, self.refused_max),
            stray.map(|reason| format!("refused for {reason}, may be for {:?}", self.reasons)),
            counts("lost", report.lost, 0, self.lost_max),
            counts("invokes", report.stats.invokes, invokes_min, invokes_max),
            counts(
                "new environments",
                report.environments,
                0,
                self.environments_max.unwrap_or(u64::MAX),
            ),
            exposed.and_then(|it| counts("cold-exposed", report.stats.cold_exposed, it, it)),
            exposed.and_then(|it| counts("waited for a start", report.waited_cold, it, it)),
            at_most("longest wait", report.wait_max, self.wait_max),
            at_most("longest wait once settled", report.settled_wait_max, self.settled_wait_max),
            at_most("p99 of waits", report.wait(0.99), self.wait_p99),
            at_most("longest request", report.longest, self.longest),
            at_most("billed", Duration::from_millis(report.billed_ms), self.billed_max),
        ]
        .into_iter()
        .flatten()
        .next()
    }
}

/// Whether anybody can be refused for this, a reason or a status.
fn is_known(reason: &str) -> bool {
    let is_status = reason.parse::<u16>().is_ok_and(|status| (400..600).contains(&status));
    is_status || RefuseReason::ALL.iter().any(|known| known.name() == reason)
}

/// Whether a client that was `said` this, by reason or by status, may have been refused for
/// `reason`.
fn means(reason: &str, said: &str) -> bool {
    let known = RefuseReason::ALL.into_iter().find(|known| known.name() == reason);
    reason == said || known.is_some_and(|known| known.status().to_string() == said)
}
