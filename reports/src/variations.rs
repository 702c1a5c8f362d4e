//! Settings that nobody asked for and that are tried all the same: a fifth less and a fifth more of
//! what matters most, other numbers of slots, and what of all that is the best for its price.

use crate::alternative::Alternative;
use crate::dispatch::Dispatch;
use crate::report::{Kind, Measured, Tried};
use crate::words::Several;

/// What was tried, for the picture of cost against wait.
pub(crate) fn tried(alternatives: &[Measured], others: &[Measured]) -> Vec<Tried> {
    let all: Vec<_> = alternatives.iter().chain(others).collect();
    let beats = |one: &Measured, other: &Measured| {
        let (mine, theirs) = (one.total.p99.mean, other.total.p99.mean);
        one.month <= other.month && mine <= theirs && (one.month < other.month || mine < theirs)
    };
    all.iter()
        .map(|it| Tried {
            name: it.name.clone(),
            kind: it.kind,
            total_p99: it.total.p99.mean,
            month: it.month,
            is_best_for_its_price: !all.iter().any(|other| beats(other, it)),
        })
        .collect()
}

/// One thing that is otherwise.
pub(crate) struct Change {
    pub(crate) alternative: Alternative,
    pub(crate) what: &'static str,
    pub(crate) factor: f64,
    pub(crate) factors: (f64, f64),
}

/// t, T and the slots of the first alternative of ours, 20 % lower and higher.
pub(crate) fn changes(alternatives: &[Alternative]) -> Vec<Change> {
    let Some(Alternative::Dispatch(ours)) =
        alternatives.iter().find(|it| it.kind() == Kind::Dispatch)
    else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for percent in [80, 120] {
        let factor = f64::from(percent) / 100.0;
        let same = || Alternative::Dispatch(ours.clone());
        all.push(Change { alternative: same(), what: "t", factor, factors: (factor, 1.0) });
        all.push(Change { alternative: same(), what: "T", factor, factors: (1.0, factor) });
        let slots = ((ours.slots * percent + 50) / 100).max(1);
        if slots != ours.slots {
            let alternative = Alternative::Dispatch(Dispatch { slots, ..ours.clone() });
            all.push(Change { alternative, what: "slots", factor, factors: (1.0, 1.0) });
        }
    }
    all
}

/// The first alternative of ours with other numbers of slots.
pub(crate) fn swept(alternatives: &[Alternative]) -> Vec<Alternative> {
    let Some(Alternative::Dispatch(ours)) =
        alternatives.iter().find(|it| it.kind() == Kind::Dispatch)
    else {
        return Vec::new();
    };
    let other = |slots: &u32| *slots != ours.slots;
    let with = |slots: u32| {
        let name = Some(format!("lambda-dispatch, {}", Several(slots.into(), "slot")));
        Alternative::Dispatch(Dispatch { slots, name, ..ours.clone() })
    };
    [1, 2, 5, 10, 20, 40].into_iter().filter(other).map(with).collect()
}
