//! Which settings are the cheapest that meet a limit, and what keeps them from being cheaper.
//!
//! Every way to serve has one setting that buys speed for money: slots, provisioned environments,
//! containers. Those are tried from few to many, with what else the plan sets of the first of each
//! kind; of this system's best number of slots, the other settings are tried too. What is found is
//! the best of what was tried, no less and no more.

use serde::Serialize;

use crate::alternative::Alternative;
use crate::dispatch::Dispatch;
use crate::report::{Kind, Measured, Tried};
use crate::run::{ReportError, Scene};
use crate::slo::Slo;
use crate::variations::{tried, with_slots};
use crate::verdict::{best_of, cheapest, is_offered};

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Solved {
    /// What had to be met.
    pub slo: String,
    /// The cheapest that meets it; none if nothing does.
    pub best: Option<Measured>,
    /// Which limit is nearest to being broken by it.
    pub binds: Option<String>,
    /// Why not the next cheaper one of the same kind: its name, and what it breaks.
    pub cheaper: Option<(String, String)>,
    /// The cheapest of every kind that meets it, or the nearest to it, with what that breaks.
    pub kinds: Vec<(Measured, Option<String>)>,
    /// Everything that was tried.
    pub tried: Vec<Tried>,
    /// What was assumed, a sentence each.
    pub assumptions: Vec<String>,
}

/// Finds the cheapest settings that meet `slo`.
///
/// # Errors
///
/// See [`ReportError`].
pub fn solve(scene: &Scene<'_>, slo: &Slo) -> Result<Solved, ReportError> {
    scene.check()?;
    let peak = scene.peak_concurrency()?;
    let mut tries = first_tries(scene, peak);
    let mut all = scene.measure(&tries)?;
    // What no number of slots meets, other settings of the nearest may.
    let ours = best_of(&all, slo, |kind| kind == Kind::Dispatch).map(|index| tries[index].clone());
    if let Some(Alternative::Dispatch(ours)) = ours {
        let mut more = refined(&ours);
        more.retain(|it| scene.allows(it));
        all.extend(scene.measure(&more)?);
        tries.extend(more);
    }
    let best = cheapest(&all, slo, is_offered);
    let kinds = Kind::ALL.into_iter().filter_map(|kind| {
        let index = best_of(&all, slo, |other| other == kind);
        index.map(|index| (all[index].clone(), slo.broken(&all[index])))
    });
    let cheaper = best.and_then(|best| {
        let like = all.iter().filter(|it| it.kind == all[best].kind && it.month < all[best].month);
        let next = like.max_by_key(|it| it.month)?;
        Some((next.name.clone(), slo.broken(next)?))
    });
    Ok(Solved {
        slo: slo.to_string(),
        binds: best.map(|best| slo.binding(&all[best])),
        best: best.map(|best| all[best].clone()),
        cheaper,
        kinds: kinds.collect(),
        tried: tried(&[], &all),
        assumptions: scene.assumptions(),
    })
}

fn first_tries(scene: &Scene<'_>, peak: u32) -> Vec<Alternative> {
    let mut tries = Vec::new();
    let ours = Alternative::first_dispatch(&scene.plan.alternatives);
    let like = ours.cloned().unwrap_or_default();
    for slots in [1, 2, 4, 6, 8, 10, 15, 20, 30, 50, 80] {
        tries.push(with_slots(&like, slots));
    }
    tries.extend(Alternative::scaled_to(peak, &scene.plan.alternatives));
    tries.retain(|it| scene.allows(it));
    tries
}

/// Like `ours`, with one or two other settings.
fn refined(ours: &Dispatch) -> Vec<Alternative> {
    use std::time::Duration;

    use sim::plan::{MatchingName, ScalingName};
    let mut all = Vec::new();
    let plain = with_slots(ours, ours.slots).name();
    let mut add = |what: &str, changed: Dispatch| {
        let name = Some(format!("{plain}, {what}"));
        all.push(Alternative::Dispatch(Dispatch { name, ..changed }));
    };
    for seconds in [1, 5, 20, 60, 300] {
        let linger = Duration::from_secs(seconds);
        add(&format!("linger {seconds} s"), Dispatch { linger, ..ours.clone() });
    }
    add("pack", Dispatch { matching: MatchingName::Pack, ..ours.clone() });
    add("simple", Dispatch { scaling: ScalingName::Simple, ..ours.clone() });
    add("ewma", Dispatch { scaling: ScalingName::Ewma, ..ours.clone() });
    for instances_min in [1, 2, 5] {
        let least = format!("at least {instances_min}");
        add(&least, Dispatch { instances_min, ..ours.clone() });
    }
    all
}
