//! The results as text that is also Markdown.

use std::fmt::Write as _;

use crate::contender::Contender::{Nginx, NginxTwice};
use crate::plan::{LOADS, Load, PAIR};
use crate::results::{Metric, Results, Sample, Spread};
use crate::targets::{TARGETS, Wanted};

/// All of it.
pub(crate) fn whole(results: &Results) -> String {
    let mut text = String::new();
    head(&mut text, results);
    targets(&mut text, results);
    for load in LOADS {
        table(&mut text, results, load);
    }
    facts(&mut text, results);
    text
}

/// One commit against another.
pub(crate) fn pair(results: &Results, load: &Load) -> String {
    let mut text = String::new();
    head(&mut text, results);
    table(&mut text, results, load);
    let [before, now] = *PAIR;
    line(&mut text, "\nThe working tree ÷ the commit, median (min–max) of pairs:\n");
    let metrics: [(&str, Metric); 4] = [
        ("CPU per request", Sample::cpu_us),
        ("throughput", Sample::per_second),
        ("p50", Sample::p50),
        ("p99", Sample::p99),
    ];
    for (name, metric) in metrics {
        let ratio = results.ratio(load.name, [now, before], metric);
        line(&mut text, &format!("- {name}: {}", shown(ratio, 3)));
    }
    text
}

fn head(text: &mut String, results: &Results) {
    let machine = &results.machine;
    let (cpu, cores, memory) = (&machine.cpu, machine.cores, machine.memory_mib);
    for part in [
        format!("- {cpu}, {cores} cores, {memory} MiB, Linux {}", machine.kernel),
        format!("- {}, commit {}, `{}`", machine.date, machine.commit, machine.command),
        format!("- router and extension compiled {}", machine.programs),
        format!("- {}", machine.versions.join("; ")),
    ] {
        line(text, &part);
    }
    if let Some(others) = results.others() {
        let noisy = results.samples.iter().filter(|it| it.others > NOISE).count();
        let (all, limit) = (results.samples.len(), NOISE * 100.0);
        let verdict = if noisy * 10 > all { "**this run is noisy**" } else { "a quiet run" };
        let (median, max) = (others.median * 100.0, others.max * 100.0);
        line(
            text,
            &format!(
                "- {verdict}: others used {median:.1} % of the machine in the median, {max:.1} % \
                 at most, more than {limit:.0} % in {noisy} of {all} samples"
            ),
        );
    }
    let errors: u64 = results.samples.iter().map(|sample| sample.measured.errors).sum();
    line(text, &format!("- requests that failed: {errors}"));
    for skipped in &results.skipped {
        line(text, &format!("- not measured: {}: {}", skipped.what, skipped.why));
    }
}

fn targets(text: &mut String, results: &Results) {
    line(text, "\n## What is to be reached\n");
    line(text, "| what | must | goal | reached | |");
    line(text, "|---|---|---|---|---|");
    for target in TARGETS {
        let sign = match target.wanted {
            Wanted::AtLeast => '≥',
            Wanted::AtMost => '≤',
        };
        let (what, must, goal) = (target.what, target.must, target.goal);
        let reached = shown((target.reached)(results), 2);
        let verdict = target.verdict(results).word();
        line(text, &format!("| {what} | {sign} {must} | {sign} {goal} | {reached} | {verdict} |"));
    }
}

fn table(text: &mut String, results: &Results, load: &Load) {
    if !results.samples.iter().any(|sample| sample.load == load.name) {
        return;
    }
    let with_bodies = load.by.has_bodies();
    let rate = if with_bodies { "MiB/s" } else { "requests/s" };
    let each = if with_bodies { "CPU µs per MiB" } else { "CPU µs per request" };
    line(text, &format!("\n## {}\n", load.name));
    line(
        text,
        &format!(
            "| | {rate} | p50 ms | p99 ms | p99.9 ms | {each} | ÷ nginx | ÷ two nginx | of which \
             | switches per request | RSS MiB |"
        ),
    );
    line(text, "|---|---|---|---|---|---|---|---|---|---|---|");
    for &who in load.contenders {
        let Some(last) = results.of(load.name, who).last() else { continue };
        let cpu: Metric = if with_bodies { Sample::cpu_us_per_mib } else { Sample::cpu_us };
        let speed: Metric = if with_bodies { Sample::mib_per_second } else { Sample::per_second };
        let spread = |metric| results.spread(load.name, who, metric);
        let ms = |metric| shown(spread(metric).map(|it| it.scaled(1e-3)), 2);
        let ratio = |to| {
            if who == to {
                String::new()
            } else {
                shown(results.ratio(load.name, [who, to], cpu), 2)
            }
        };
        let cells = [
            who.to_string(),
            shown(spread(speed), 0),
            ms(Sample::p50),
            ms(Sample::p99),
            ms(Sample::p999),
            shown(spread(cpu), 1),
            ratio(Nginx),
            ratio(NginxTwice),
            parts(results, load, last, cpu),
            switches(last),
            last.parts
                .iter()
                .map(|part| format!("{:.1}", part.rss_kib as f64 / 1024.0))
                .collect::<Vec<_>>()
                .join(" + "),
        ];
        line(text, &format!("| {} |", cells.join(" | ")));
    }
}

/// The CPU of each part, the median of its rounds, in what `cpu` is in.
fn parts(results: &Results, load: &Load, last: &Sample, cpu: Metric) -> String {
    let part = |place: usize| {
        let samples = results.of(load.name, last.contender);
        let values = samples.filter_map(|it| cpu(&it.of_part(it.parts.get(place)?)));
        let name = last.parts[place].name;
        let us = Spread::of(values.collect()).map_or(0.0, |it| it.median);
        format!("{name} {us:.1}")
    };
    (0..last.parts.len()).map(part).collect::<Vec<_>>().join(", ")
}

/// Voluntary and involuntary ones of all parts together.
fn switches(sample: &Sample) -> String {
    let usage = sample.parts.iter().map(|part| part.usage).reduce(|a, b| a + b);
    let Some(usage) = usage.filter(|_| sample.measured.requests > 0) else { return String::new() };
    let each = |count: u64| count as f64 / sample.measured.requests as f64;
    format!("{:.2} + {:.2}", each(usage.voluntary), each(usage.involuntary))
}

fn facts(text: &mut String, results: &Results) {
    if results.facts.is_empty() {
        return;
    }
    line(text, "\n## Single figures\n");
    let mut told = Vec::new();
    for fact in &results.facts {
        if !told.contains(&fact.name) {
            told.push(fact.name);
            let value = shown(results.fact(fact.name), 2);
            line(text, &format!("- {}: {value} {}", fact.name, fact.unit));
        }
    }
}

/// `median (min–max)`.
fn shown(spread: Option<Spread>, digits: usize) -> String {
    match spread {
        None => "–".to_owned(),
        Some(it) if it.min == it.max => format!("{:.digits$}", it.median),
        Some(it) => format!("{:.digits$} ({:.digits$}–{:.digits$})", it.median, it.min, it.max),
    }
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a String takes everything");
}

/// More than this part of the machine for others is noise.
const NOISE: f64 = 0.05;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::Usage;
    use crate::load::Measured;
    use crate::machine::Machine;
    use crate::results::PartSample;

    #[test]
    fn what_each_part_costs_is_in_the_unit_of_what_all_cost() {
        let load = LOADS.iter().find(|load| load.by.has_bodies()).unwrap();
        let part = |name, ms: u64| PartSample {
            name,
            usage: Usage { cpu_ns: ms * 1_000_000, ..Usage::default() },
            rss_kib: 0,
        };
        let measured =
            Measured { requests: 10, bytes: 100 << 20, seconds: 1.0, ..Measured::default() };
        let sample = Sample {
            load: load.name,
            contender: NginxTwice,
            round: 0,
            measured,
            parts: vec![part("A", 30), part("B", 70)],
            others: 0.0,
        };
        let (samples, facts, skipped) = (vec![sample], Vec::new(), Vec::new());
        let results = Results { machine: Machine::this(), samples, facts, skipped };
        let mut text = String::new();
        table(&mut text, &results, load);
        assert!(text.contains("| 1000.0 |"), "{text}");
        assert!(text.contains("| A 300.0, B 700.0 |"), "{text}");
    }
}
