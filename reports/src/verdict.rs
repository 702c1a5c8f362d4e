//! The answer in one sentence, and what else follows from the numbers. It is for whoever must
//! decide, so it says as readily that Lambda by itself, or a fleet of containers, is the better
//! choice.

use crate::money::Dollars;
use crate::report::{Kind, Measured, Timeline};
use crate::slo::Slo;
use crate::usage::MONTH;
use crate::words;

/// Which alternative is the answer: the cheapest that meets `slo`, or if none does, the one that is
/// nearest to it. Lambda that reuses is a bound and not an offer: nobody can buy it.
pub(crate) fn best(alternatives: &[Measured], slo: &Slo) -> Option<usize> {
    let only = (!alternatives.is_empty()).then_some(0);
    best_of(alternatives, slo, is_offered).or(only)
}

/// The best of those kinds: what meets the limits goes before what does not, however cheap that is.
pub(crate) fn best_of(all: &[Measured], slo: &Slo, is: impl Fn(Kind) -> bool) -> Option<usize> {
    cheapest(all, slo, &is).or_else(|| nearest(all, slo, is))
}

/// Whether it can be bought.
pub(crate) fn is_offered(kind: Kind) -> bool {
    kind != Kind::LambdaReuse
}

/// The cheapest of those kinds that meets `slo`.
pub(crate) fn cheapest(all: &[Measured], slo: &Slo, is: impl Fn(Kind) -> bool) -> Option<usize> {
    let meets = all.iter().enumerate().filter(|(_, it)| is(it.kind) && slo.broken(it).is_none());
    meets.min_by_key(|(_, it)| it.month).map(|(index, _)| index)
}

/// The one of those kinds that is nearest to `slo`.
fn nearest(all: &[Measured], slo: &Slo, is: impl Fn(Kind) -> bool) -> Option<usize> {
    let like = all.iter().enumerate().filter(|(_, it)| is(it.kind));
    let strain = |it: &Measured| slo.strain(it);
    like.min_by(|(_, one), (_, other)| strain(one).total_cmp(&strain(other)))
        .map(|(index, _)| index)
}

/// The answer in one sentence.
pub(crate) fn sentence(alternatives: &[Measured], best: usize, slo: &Slo) -> String {
    let winner = &alternatives[best];
    let rate = words::rate(winner.requests_month / MONTH.as_secs_f64());
    let month = words::money(winner.month);
    if let Some(why) = slo.broken(winner) {
        // What a person can do about it is in the table.
        return format!(
            "At {rate}, nothing here meets {slo}. {} comes nearest: {why}, for {month} a month.",
            winner.name
        );
    }
    let p99 = winner.total_of_all.p99.mean;
    let answered = if p99.is_finite() {
        format!("99 in 100 requests are answered within {}", words::duration(p99))
    } else {
        format!("{} of the requests fail", words::share(winner.refused.mean))
    };
    let mut text = format!(
        "At {rate}, {} is the cheapest that meets {slo}: {month} a month, {answered}, {} pay a \
         cold start.",
        winner.name,
        words::share(winner.cold.mean),
    );
    let rival = best_of(alternatives, slo, |kind| kind != winner.kind && is_offered(kind));
    if let Some(rival) = rival.map(|index| &alternatives[index]) {
        let (name, price) = (&rival.name, words::money(rival.month));
        text += &match slo.broken(rival) {
            Some(why) => format!(" {name} would cost {price}, and {why}."),
            None => format!(" {name} would cost {price}."),
        };
    }
    text
}

/// What else follows, a sentence each. `break_even` is as many requests a month as make this system
/// as cheap as Lambda by itself, if that is known.
pub(crate) fn findings(
    alternatives: &[Measured],
    slo: &Slo,
    break_even: Option<f64>,
) -> Vec<String> {
    let mut all = Vec::new();
    let best = |kind: Kind| {
        best_of(alternatives, slo, |other| other == kind).map(|index| &alternatives[index])
    };
    let ours = best(Kind::Dispatch);
    if let (Some(ours), Some(plain)) = (ours, best(Kind::Lambda)) {
        all.push(against(ours, plain, slo));
        all.extend(break_even.map(|requests| {
            format!(
                "With traffic of this shape, {} costs less than {} from {:.1} million requests a \
                 month on, which is {}.",
                ours.name,
                plain.name,
                requests / 1e6,
                words::rate(requests / MONTH.as_secs_f64())
            )
        }));
    }
    for kind in [Kind::Provisioned, Kind::Managed, Kind::Containers] {
        let (Some(ours), Some(other)) = (ours, best(kind)) else { continue };
        if other.month < ours.month && slo.broken(other).is_none() {
            all.push(format!(
                "{} costs {} a month less than {} and meets {slo}.",
                other.name,
                words::money(less(ours.month, other.month)),
                ours.name
            ));
        }
    }
    all.extend(ours.and_then(danger));
    for measured in alternatives {
        all.extend(throttled(measured));
    }
    all
}

/// What this system saves or costs against Lambda by itself.
fn against(ours: &Measured, plain: &Measured, slo: &Slo) -> String {
    if ours.month < plain.month {
        let saved = less(plain.month, ours.month);
        let part = saved.picodollars() as f64 / plain.month.picodollars().max(1) as f64;
        return format!(
            "{} saves {} a month against {}, {:.0} % of it.",
            ours.name,
            words::money(saved),
            plain.name,
            part * 100.0
        );
    }
    let ((fixed, varying), (plain_fixed, plain_varying)) = (split(ours), split(plain));
    // Clients that wait for answers send more to who answers sooner.
    let more = ours.requests_month / plain.requests_month.max(1e-9);
    let why = if varying - plain_varying * more > fixed - plain_fixed {
        "instances are kept longer than requests need them"
    } else {
        "the router costs more than the instances save"
    };
    let as_good = if slo.broken(plain).is_none() { " and meets the limits too" } else { "" };
    format!(
        "{} is cheaper by {} a month{as_good}: {why}.",
        plain.name,
        words::money(less(ours.month, plain.month)),
    )
}

/// What an alternative costs a month whatever comes, and with what comes; in dollars.
fn split(measured: &Measured) -> (f64, f64) {
    let mut parts = (0.0, 0.0);
    for cost in &measured.costs {
        let dollars = cost.month.picodollars() as f64 / 1e12;
        if cost.is_fixed { parts.0 += dollars } else { parts.1 += dollars }
    }
    parts
}

/// What was turned away for want of room, and whose limit that is.
fn throttled(measured: &Measured) -> Option<String> {
    let (name, part) = (&measured.name, words::share(measured.throttled.mean));
    let why = match measured.kind {
        Kind::Managed => {
            "found every slot taken and were refused: Managed Instances have no queue, and grow only \
             after the fact"
        }
        Kind::Dispatch
        | Kind::Lambda
        | Kind::LambdaReuse
        | Kind::Provisioned
        | Kind::Containers => {
            "were throttled by AWS: the account's concurrency, or its ramp of new environments, was \
             the limit"
        }
    };
    (measured.throttled.mean > 0.0).then(|| format!("{name}: {part} of the requests {why}."))
}

/// How often the next request might have paid a cold start.
fn danger(measured: &Measured) -> Option<String> {
    let Timeline { danger, bucket, .. } = &measured.timeline;
    let fired = danger.iter().filter(|value| **value >= 1.0).count();
    if fired == 0 {
        return None;
    }
    Some(format!(
        "{}: in {fired} of {} spans of {} there was a moment at which Q/C·t, or a wait, \
         reached T; {} of the requests waited as long as a cold start.",
        measured.name,
        danger.len(),
        words::duration(bucket.as_secs_f64()),
        words::share(measured.cold.mean)
    ))
}

fn less(more: Dollars, less: Dollars) -> Dollars {
    Dollars::from_picodollars(more.picodollars().saturating_sub(less.picodollars()))
}
