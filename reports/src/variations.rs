//! Settings that nobody asked for and that are tried all the same: a fifth less and a fifth more of
//! what matters most, other numbers of slots, and what of all that is the best for its price.

use crate::alternative::Alternative;
use crate::dispatch::Dispatch;
use crate::report::{Measured, Tried};

/// What was tried, for the picture of cost against wait.
pub(crate) fn tried(alternatives: &[Measured], others: &[Measured]) -> Vec<Tried> {
    let all: Vec<_> = alternatives.iter().chain(others).collect();
    // Of latency only the served have any: who refuses the rest is not the better for it.
    let beats = |one: &Measured, other: &Measured| {
        let (mine, theirs) = (one.total.p99.mean, other.total.p99.mean);
        let is_as_good =
            one.month <= other.month && mine <= theirs && one.refused.mean <= other.refused.mean;
        is_as_good && (one.month < other.month || mine < theirs)
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

/// t, T and the slots of `ours`, 20 % lower and higher.
pub(crate) fn changes(ours: &Dispatch) -> Vec<Change> {
    let mut all = Vec::new();
    for percent in [80, 120] {
        let factor = f64::from(percent) / 100.0;
        let same = || Alternative::Dispatch(ours.clone());
        all.push(Change { alternative: same(), what: "t", factor, factors: (factor, 1.0) });
        all.push(Change { alternative: same(), what: "T", factor, factors: (1.0, factor) });
        let slots = ((ours.slots * percent + 50) / 100).max(1);
        if slots != ours.slots {
            let alternative = with_slots(ours, slots);
            all.push(Change { alternative, what: "slots", factor, factors: (1.0, 1.0) });
        }
    }
    all
}

/// `ours` with other numbers of slots.
pub(crate) fn swept(ours: &Dispatch) -> Vec<Alternative> {
    let other = |slots: &u32| *slots != ours.slots;
    [1, 2, 5, 10, 20, 40].into_iter().filter(other).map(|slots| with_slots(ours, slots)).collect()
}

/// `ours` with so many slots, and called so.
pub(crate) fn with_slots(ours: &Dispatch, slots: u32) -> Alternative {
    Alternative::Dispatch(Dispatch { slots, name: None, ..ours.clone() })
}
