//! Who might serve: the ways that a plan can name, with the settings that matter to whoever has to
//! decide. Each is carried out elsewhere; here is what they have in common.

use std::ops::RangeInclusive;
use std::time::Duration;

use dispatch_model::{Prng, Time};
use serde::{Deserialize, Serialize};
use sim::outside::Source;
use sim::span;

use crate::dispatch::{Dispatch, RunError};
use crate::fleet::{self, FleetPlan};
use crate::lambda::{self, LambdaPlan};
use crate::managed::{self, ManagedPlan};
use crate::plan::{FARGATE_CPU_UNITS, FARGATE_MEMORY_MB, Function, Plan, check_range};
use crate::report::Kind;
use crate::tally::Tally;
use crate::tracking::Tracking;
use crate::traffic::Opened;
use crate::usage::Usage;
use crate::words::Several;

/// One way to serve, as `[[alternative]]` of a plan says it.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Alternative {
    /// This system.
    Dispatch(Dispatch),
    /// Lambda by itself, bound at arrival.
    Lambda(Alone),
    /// Lambda by itself, where who waits takes what falls free first.
    LambdaReuse(Alone),
    /// Lambda with provisioned concurrency.
    Provisioned(Provisioned),
    /// Lambda Managed Instances.
    Managed(Managed),
    /// Containers.
    Containers(Containers),
}

/// Lambda by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alone {
    /// What it is called in the report; none: what it is.
    pub name: Option<String>,
    /// How often a throttled request is sent again by its client. Default 0.
    pub retries: u32,
}

/// Lambda with provisioned concurrency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Provisioned {
    /// What it is called in the report; none: what is set.
    pub name: Option<String>,
    /// Environments that are kept, at most the function's concurrency. Default 10.
    pub environments: u32,
    /// Their number follows their use, up to the function's concurrency; none (default): it stays.
    pub tracking: Option<Tracking>,
    /// How often a throttled request is sent again by its client. Default 0.
    pub retries: u32,
}

/// Lambda Managed Instances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Managed {
    /// What it is called in the report; none: what it is.
    pub name: Option<String>,
    /// Environments that are always there. Default 3, which is the least.
    pub environments_min: u32,
    /// Most environments. Default 1,000.
    pub environments_max: u32,
    /// Requests that one serves at once. Default 16.
    pub slots: u32,
    /// Processors of each. Default 1.
    pub vcpus: f64,
    /// The type of EC2 instances. Default `m7g.xlarge`.
    pub instance_type: String,
    /// Environments that share an instance. Default 1.
    pub environments_per_instance: u32,
}

/// A fleet of containers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Containers {
    /// What it is called in the report; none: what is set.
    pub name: Option<String>,
    /// Containers at the start. Default 2.
    pub count: u32,
    /// Requests that one serves at once. Default 10.
    pub slots: u32,
    /// Processors of each, in thousandths of a vCPU as AWS counts: 1,024 are one. Default 1,024.
    pub cpu_units: u32,
    /// Memory of each, in MB. Default 2,048.
    pub memory_mb: u32,
    /// Their number follows their use; none (default): it stays.
    pub tracking: Option<Tracking>,
    /// How long a new one takes to start. Default 60 s.
    #[serde(with = "span")]
    pub start: Duration,
}

impl Default for Provisioned {
    fn default() -> Self {
        Self { name: None, environments: 10, tracking: None, retries: 0 }
    }
}

impl Default for Managed {
    fn default() -> Self {
        let plan = ManagedPlan::default();
        Self {
            name: None,
            environments_min: plan.environments_min,
            environments_max: plan.environments_max,
            slots: plan.concurrency,
            vcpus: plan.vcpus,
            instance_type: plan.instance_type,
            environments_per_instance: plan.environments_per_instance,
        }
    }
}

impl Default for Containers {
    fn default() -> Self {
        let plan = FleetPlan::default();
        Self {
            name: None,
            count: plan.containers,
            slots: plan.slots,
            cpu_units: plan.cpu_units,
            memory_mb: plan.memory_mb,
            tracking: plan.tracking,
            start: plan.start,
        }
    }
}

impl Alternative {
    /// Which way it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Dispatch(_) => Kind::Dispatch,
            Self::Lambda(_) => Kind::Lambda,
            Self::LambdaReuse(_) => Kind::LambdaReuse,
            Self::Provisioned(_) => Kind::Provisioned,
            Self::Managed(_) => Kind::Managed,
            Self::Containers(_) => Kind::Containers,
        }
    }

    /// GB an hour of a load balancer's capacity unit: fewer where its targets are Lambda functions
    /// and no containers, as a router is one (aws.amazon.com/elasticloadbalancing/pricing).
    pub(crate) const fn gb_per_lcu(&self) -> f64 {
        match self {
            Self::Dispatch(_) | Self::Containers(_) => 1.0,
            Self::Lambda(_) | Self::LambdaReuse(_) | Self::Provisioned(_) | Self::Managed(_) => 0.4,
        }
    }

    /// The first of `all` that is this system.
    pub(crate) fn first_dispatch(all: &[Self]) -> Option<&Dispatch> {
        all.iter().find_map(|alternative| match alternative {
            Self::Dispatch(dispatch) => Some(dispatch),
            Self::Lambda(_)
            | Self::LambdaReuse(_)
            | Self::Provisioned(_)
            | Self::Managed(_)
            | Self::Containers(_) => None,
        })
    }

    /// What it is called in the report.
    #[must_use]
    pub fn name(&self) -> String {
        let (given, made) = match self {
            Self::Dispatch(it) => {
                (&it.name, format!("lambda-dispatch, {}", Several(it.slots.into(), "slot")))
            }
            Self::Lambda(it) => (&it.name, "Lambda alone".to_owned()),
            Self::LambdaReuse(it) => (&it.name, "Lambda alone, if it reuses".to_owned()),
            Self::Provisioned(it) => (&it.name, format!("Lambda, {} provisioned", it.environments)),
            Self::Managed(it) => (&it.name, "Managed Instances".to_owned()),
            Self::Containers(it) => (&it.name, Several(it.count.into(), "container").to_string()),
        };
        given.clone().unwrap_or(made)
    }

    /// Processors and memory of an instance, its slots, and what else is set, to be read.
    #[must_use]
    pub fn settings(&self, function: &Function) -> Vec<(String, String)> {
        let memory = |mb: u32| ("memory".to_owned(), format!("{mb} MB"));
        let set = |name: &str, value: String| (name.to_owned(), value);
        match self {
            Self::Dispatch(it) => {
                let mut all = vec![
                    set("slots", it.slots.to_string()),
                    memory(it.memory_mb(function)),
                    set("scaling", format!("{:?}", it.scaling).to_lowercase()),
                    set("linger", span::write(it.linger)),
                    set("instances", format!("{} to {}", it.instances_min, it.instances_max)),
                ];
                if it.routers != 1 {
                    all.push(set("routers", it.routers.to_string()));
                }
                all
            }
            Self::Lambda(_) | Self::LambdaReuse(_) => vec![memory(function.memory_mb)],
            Self::Provisioned(it) => {
                let mut all = vec![
                    set("provisioned", it.environments.to_string()),
                    memory(function.memory_mb),
                ];
                all.extend(it.tracking.map(tracked));
                all
            }
            Self::Managed(it) => vec![
                set("slots", it.slots.to_string()),
                set("environments", format!("{} to {}", it.environments_min, it.environments_max)),
                set("instance", it.instance_type.clone()),
            ],
            Self::Containers(it) => {
                let mut all = vec![
                    set("containers", it.count.to_string()),
                    set("slots", it.slots.to_string()),
                    set("vCPU", format!("{}", f64::from(it.cpu_units) / 1_024.0)),
                    memory(it.memory_mb),
                ];
                all.extend(it.tracking.map(tracked));
                all
            }
        }
    }

    /// Whether it can be run.
    ///
    /// # Errors
    ///
    /// What is wrong, and what is allowed.
    pub fn check(&self, function: &Function, traffic: &Opened) -> Result<(), String> {
        let name = |why| format!("alternative `{}`: {why}", self.name());
        self.check_settings(function, traffic).map_err(name)
    }

    fn check_settings(&self, function: &Function, traffic: &Opened) -> Result<(), String> {
        let least = |name: &str, value: u32| {
            if value == 0 { Err(format!("{name} is 0, must be at least 1")) } else { Ok(()) }
        };
        let most = function.concurrency;
        let provisioned = |name: &str, value: u32| {
            if value <= most {
                return Ok(());
            }
            Err(format!("{name} is {value}, must be at most {most}, the function's concurrency"))
        };
        match self {
            Self::Dispatch(it) if it.routers > 1 && traffic.is_closed_loop() => Err(format!(
                "routers is {}, must be 1 with a closed loop, whose clients stay with one router",
                it.routers
            )),
            Self::Dispatch(it) => it.check(),
            Self::Lambda(_) | Self::LambdaReuse(_) => Ok(()),
            Self::Provisioned(it) => {
                least("environments", it.environments)?;
                provisioned("environments", it.environments)?;
                let Some(tracking) = &it.tracking else { return Ok(()) };
                provisioned("tracking.min", tracking.min)?;
                tracking.check()
            }
            Self::Managed(it) => {
                least("slots", it.slots)?;
                least("environments_per_instance", it.environments_per_instance)?;
                check_range("environments_min", it.environments_min, &INSTANCES)?;
                check_range("environments_max", it.environments_max, &INSTANCES)?;
                if it.environments_min > it.environments_max {
                    let (min, max) = (it.environments_min, it.environments_max);
                    return Err(format!(
                        "environments_min is {min}, must be at most {max}, which is environments_max"
                    ));
                }
                if it.vcpus.is_finite() && it.vcpus > 0.0 {
                    Ok(())
                } else {
                    Err(format!("vcpus is {}, must be more than 0", it.vcpus))
                }
            }
            Self::Containers(it) => {
                check_range("count", it.count, &INSTANCES)?;
                least("slots", it.slots)?;
                check_range("cpu_units", it.cpu_units, &FARGATE_CPU_UNITS)?;
                check_range("memory_mb", it.memory_mb, &FARGATE_MEMORY_MB)?;
                let Some(tracking) = &it.tracking else { return Ok(()) };
                check_range("tracking.max", tracking.max, &INSTANCES)?;
                tracking.check()
            }
        }
    }

    /// Serves all that `open` gives.
    pub(crate) fn run<S: Source>(
        &self,
        plan: &Plan,
        cold_start: Duration,
        seed: u64,
        tally: &mut Tally,
        mut open: impl FnMut() -> S,
    ) -> Result<Usage, RunError> {
        if let Self::Dispatch(dispatch) = self {
            return dispatch.run(plan, cold_start, seed, tally, open);
        }
        let mut source = open();
        let usage = match self {
            Self::Dispatch(_) => Usage::default(),
            Self::Lambda(it) => {
                let plan = on_demand(plan, cold_start, seed, it.retries);
                lambda::run(&plan, &mut source, tally)
            }
            Self::LambdaReuse(it) => {
                let mut plan = on_demand(plan, cold_start, seed, it.retries);
                plan.service.late_binding = true;
                lambda::run(&plan, &mut source, tally)
            }
            Self::Provisioned(it) => {
                let most = plan.function.concurrency;
                let mut plan = on_demand(plan, cold_start, seed, it.retries);
                plan.service.provisioned = it.environments;
                plan.tracking = it
                    .tracking
                    .map(|tracking| Tracking { max: tracking.max.min(most), ..tracking });
                lambda::run(&plan, &mut source, tally)
            }
            Self::Managed(it) => {
                let plan = ManagedPlan {
                    environments_min: it.environments_min,
                    environments_max: it.environments_max,
                    concurrency: it.slots,
                    vcpus: it.vcpus,
                    instance_type: it.instance_type.clone(),
                    environments_per_instance: it.environments_per_instance,
                    timeout: plan.function.timeout,
                    ..ManagedPlan::default()
                };
                managed::run(&plan, &mut source, tally)
            }
            Self::Containers(it) => {
                let plan = FleetPlan {
                    containers: it.count,
                    slots: it.slots,
                    cpu_units: it.cpu_units,
                    memory_mb: it.memory_mb,
                    tracking: it.tracking,
                    start: it.start,
                    ..FleetPlan::default()
                };
                fleet::run(&plan, &mut source, tally)
            }
        };
        tally.finish(Time::ZERO + usage.span)?;
        Ok(usage)
    }

    /// What each other way to serve would take for a load of `peak` requests at once: from too
    /// little to plenty. What else is set is as in the first of its kind in `plan`.
    pub(crate) fn scaled_to(peak: u32, plan: &[Self]) -> Vec<Self> {
        let (mut lambda, mut reuse) = (Alone::default(), Alone::default());
        let (mut provisioned, mut managed) = (Provisioned::default(), Managed::default());
        let mut containers = Containers::default();
        for it in plan.iter().rev() {
            match it {
                Self::Dispatch(_) => {}
                Self::Lambda(it) => lambda.clone_from(it),
                Self::LambdaReuse(it) => reuse.clone_from(it),
                Self::Provisioned(it) => provisioned = Provisioned { name: None, ..it.clone() },
                Self::Managed(it) => managed.clone_from(it),
                Self::Containers(it) => containers = Containers { name: None, ..it.clone() },
            }
        }
        let whole = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let of_peak = |percent: u64| whole(u64::from(peak) * percent / 100);
        // How many it takes of those that serve so many at once.
        let enough = |percent: u64, slots: u32| {
            whole((u64::from(peak) * percent).div_ceil(100 * u64::from(slots)))
        };
        let mut all = vec![Self::Lambda(lambda), Self::LambdaReuse(reuse)];
        let mut counts: Vec<_> =
            [10, 25, 50, 75, 100, 125].map(|percent| of_peak(percent).max(1)).to_vec();
        counts.dedup();
        for environments in counts {
            all.push(Self::Provisioned(Provisioned { environments, ..provisioned.clone() }));
        }
        let slots = containers.slots;
        let mut counts: Vec<_> =
            [25, 50, 75, 100, 150, 200].map(|percent| enough(percent, slots).max(1)).to_vec();
        counts.dedup();
        for count in counts {
            all.push(Self::Containers(Containers { count, ..containers.clone() }));
        }
        let slots = managed.slots;
        let mut counts: Vec<_> =
            [50, 100, 200].map(|percent| enough(percent, slots).max(3)).to_vec();
        counts.dedup();
        for environments_min in counts {
            let name = Some(format!("Managed Instances, at least {environments_min}"));
            all.push(Self::Managed(Managed { environments_min, name, ..managed.clone() }));
        }
        all
    }
}

fn tracked(tracking: Tracking) -> (String, String) {
    let Tracking { target, min, max, .. } = tracking;
    ("follows".to_owned(), format!("{:.0} % busy, {min} to {max}", target * 100.0))
}

fn on_demand(plan: &Plan, cold_start: Duration, seed: u64, retries: u32) -> LambdaPlan {
    let function = &plan.function;
    let placing = function.placing(cold_start);
    let service = emulator::model::Config {
        account_concurrency: function.concurrency,
        cold_start: placing,
        function_timeout: function.timeout,
        idle_timeout: function.idle_timeout,
        memory_mb: function.memory_mb,
        ramp_environments: function.ramp,
        ..emulator::model::Config::default()
    };
    LambdaPlan {
        service,
        init: cold_start.saturating_sub(placing),
        retries,
        snapshots_are_billed: function.snapstart_is_billed,
        deploys: plan.traffic.deploys().iter().map(|at| Time::ZERO + *at).collect(),
        seed: Prng::new(seed).next_u64(),
        ..LambdaPlan::default()
    }
}

/// How many of those that are there before the requests come: each is kept in memory.
const INSTANCES: RangeInclusive<u32> = 1..=1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_are_tried_the_more_each_serves_at_once_however_many_that_are() {
        let most = |peak: u32, slots: u32| {
            let containers = Containers { slots, ..Containers::default() };
            let managed = Managed { slots, ..Managed::default() };
            let plan = [Alternative::Containers(containers), Alternative::Managed(managed)];
            let all = Alternative::scaled_to(peak, &plan);
            let containers = all.iter().filter_map(|it| match it {
                Alternative::Containers(it) => Some(it.count),
                Alternative::Dispatch(_)
                | Alternative::Lambda(_)
                | Alternative::LambdaReuse(_)
                | Alternative::Provisioned(_)
                | Alternative::Managed(_) => None,
            });
            containers.max()
        };
        assert_eq!(most(40, 10), Some(8));
        // What is a hundred times as much does not fit into 32 bits.
        for slots in [42_949_673, 1 << 30, u32::MAX] {
            assert_eq!(most(40, slots), Some(1), "{slots} slots");
        }
        assert_eq!(most(u32::MAX, 1), Some(u32::MAX));
    }
}
