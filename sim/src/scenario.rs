//! The scenarios of `sim/scenarios/`: plans with a name, a story, and what must hold.
//!
//! They are compiled in, so that the program runs them from any folder; a path to a file of one's
//! own is as good.

use std::path::Path;

use crate::hold::Hold;
use crate::plan::Plan;

/// Reads the plan that `text` says.
///
/// # Errors
///
/// Where it cannot be read, and why.
pub fn parse(text: &str) -> Result<Plan, String> {
    let plan: Plan = toml::from_str(text).map_err(|error| error.to_string())?;
    check(&plan)?;
    Ok(plan)
}

/// Looks whether `plan` can be run, and anything happens in it.
///
/// # Errors
///
/// What is wrong with it.
pub fn check(plan: &Plan) -> Result<(), String> {
    dispatch_model::Config::new(plan.pool.limits()).map_err(|error| format!("[pool]: {error}"))?;
    if plan.traffic.is_empty() && plan.fault.is_empty() && plan.pool.instances_min == 0 {
        return Err("no [[traffic]], no [[fault]] and pool.instances_min is 0: nothing would \
                    happen"
            .to_owned());
    }
    let nothing =
        [("lambda.concurrency", plan.lambda.concurrency), ("lambda.ramp", plan.lambda.ramp)];
    if let Some((name, _)) = nothing.into_iter().find(|(_, value)| *value == 0) {
        return Err(format!("{name} is 0, must be at least 1"));
    }
    plan.hold.as_ref().map_or(Ok(()), Hold::check).map_err(|error| format!("[hold]: {error}"))
}

/// The plan called `name`, or the one in the file at that path.
///
/// # Errors
///
/// There is none, or it cannot be read.
pub fn load(name: &str) -> Result<Plan, String> {
    if let Some((_, text)) = ALL.iter().find(|(known, _)| *known == name) {
        return parse(text).map_err(|error| format!("scenario {name}: {error}"));
    }
    if !Path::new(name).exists() {
        let known: Vec<_> = ALL.iter().map(|(name, _)| *name).collect();
        return Err(format!(
            "`{name}` is neither a scenario nor a file; scenarios: {}",
            known.join(", ")
        ));
    }
    let text = std::fs::read_to_string(name).map_err(|error| format!("{name}: {error}"))?;
    parse(&text).map_err(|error| format!("{name}: {error}"))
}

macro_rules! scenarios {
    ($($name:literal,)*) => {
        /// Every scenario's name and text.
        pub const ALL: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../scenarios/", $name, ".toml"))),)*];
    };
}

scenarios! {
    "always-failing",
    "app-crash-loop",
    "brownout",
    "burst",
    "burst-1000-instances",
    "clock-steps",
    "deadline-storm",
    "deploy-storm",
    "frozen-instance",
    "goaways-cross",
    "herd-at-recovery",
    "leaves-when-idle",
    "long-requests",
    "lost-after-unknown",
    "lost-link-frees-lambda",
    "nobody-may-wait",
    "partition",
    "partition-one-way",
    "poisson",
    "reset-flood",
    "router-crash",
    "router-stop",
    "scale-from-zero",
    "scale-in",
    "slow-readers",
    "steady",
    "threshold-idle-above",
    "threshold-idle-at",
    "threshold-idle-below",
    "threshold-staggered-above",
    "threshold-staggered-at",
    "threshold-staggered-below",
    "threshold-together-above",
    "threshold-together-at",
    "threshold-together-below",
    "throttled-account",
    "time-out-of-five-seconds",
    "work-after-the-response",
    "zone-loss",
}
