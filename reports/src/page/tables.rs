//! What is read as numbers: the alternatives side by side, their settings and bills, what changes
//! when things are otherwise, theory, and where all of it comes from.

use maud::{Markup, html};

use super::series::{best, letter, swatch};
use crate::report::{Arrived, Estimate, Kind, Measured, Method, Report};
use crate::words::{self, Several};

/// A table in a box of its own, so that a wide one scrolls there and not the page.
fn boxed(name: &str, table: &Markup) -> Markup {
    html! { div.scroll tabindex="0" role="region" aria-label=(name) { (table) } }
}

/// A number and, where several seeds say so, by how much it may be off.
fn cell(estimate: Estimate, words: fn(f64) -> String) -> Markup {
    let (mean, off) = words::estimate(estimate, words);
    html! { td.n { (mean) @if let Some(off) = off { small { (off) } } } }
}

/// What came, in a few numbers.
pub(super) fn traffic(traffic: &Arrived) -> Markup {
    let seconds = |time: std::time::Duration| words::duration(time.as_secs_f64());
    let facts = [
        ("Requests", words::count(traffic.requests), format!("in {}", seconds(traffic.span))),
        (
            "Arrive",
            words::rate(traffic.rate_mean),
            format!("{} in the busiest second", words::rate(traffic.rate_peak)),
        ),
        (
            "Service time",
            seconds(traffic.service_mean),
            format!("on average; 99 in 100 within {}", seconds(traffic.service_p99)),
        ),
        (
            "Cold start",
            seconds(traffic.cold_start),
            "until a new instance takes its first request".to_owned(),
        ),
    ];
    html! {
        section aria-labelledby="traffic" {
            h2 #traffic { "The traffic" }
            p.lead { (traffic.about) }
            dl.facts {
                @for (name, number, more) in facts {
                    div { dt { (name) } dd { b { (number) } small { (more) } } }
                }
            }
            @if traffic.bad_lines > 0 {
                p.note {
                    (Several(traffic.bad_lines, "line")) " of the recordings could not be used."
                }
            }
        }
    }
}

/// All alternatives, a row each.
pub(super) fn alternatives(report: &Report) -> Markup {
    let table = html! {
        table.wide {
            caption { "Who could serve it, and what that comes to" }
            (alternatives_head())
            tbody {
                @for (index, measured) in report.alternatives.iter().enumerate() {
                    (alternative(index, measured))
                }
            }
        }
    };
    html! {
        section aria-labelledby="alternatives" {
            h2 #alternatives { "The alternatives" }
            (boxed("Alternatives", &table))
            @if report.method.seeds > 1 {
                p.note {
                    "± is half of the interval that holds the mean with 95 % confidence, over "
                    (Several(u64::from(report.method.seeds), "seed")) "."
                }
            }
            (terms())
            (percentiles(report))
            (settings(report))
        }
    }
}

fn alternatives_head() -> Markup {
    html! {
        thead {
            tr {
                th scope="col" rowspan="2" { "Alternative" }
                th scope="colgroup" colspan="2" { "Cost" }
                th scope="colgroup" colspan="3" { "Latency" }
                th scope="colgroup" colspan="2" { "Wait for a slot" }
                th scope="colgroup" colspan="3" { "Requests that are" }
                th scope="colgroup" colspan="3" { "Instances" }
            }
            tr {
                @for name in [
                    "a month", "a million", "p50", "p99", "p99.9", "p99", "longest",
                    "cold-exposed", "failed", "throttled", "mean", "peak", "busy",
                ] {
                    th.n scope="col" { (name) }
                }
            }
        }
    }
}

fn alternative(index: usize, measured: &Measured) -> Markup {
    let seconds = words::duration;
    html! {
        tr.is-best[measured.is_best] data-s=(index) {
            th scope="row" {
                (swatch(index, measured.kind)) (letter(index)) " " span { (measured.name) }
                @if measured.is_best { " " (best()) }
                @if !measured.name.contains(words::kind(measured.kind)) {
                    small { (words::kind(measured.kind)) }
                }
            }
            td.n { b { (words::money(measured.month)) } }
            td.n { (words::money(measured.per_million)) }
            (cell(measured.total.p50, seconds))
            (cell(measured.total.p99, seconds))
            (cell(measured.total.p999, seconds))
            (cell(measured.wait.p99, seconds))
            (cell(measured.wait.max, seconds))
            (cell(measured.cold, words::share))
            (cell(measured.refused, words::share))
            (cell(measured.throttled, words::share))
            (cell(measured.instances_mean, words::number))
            (cell(measured.instances_peak, words::number))
            (cell(measured.utilisation, words::share))
        }
    }
}

fn terms() -> Markup {
    let terms = [
        ("Latency", "from a request's arrival to its complete response, of those that have one."),
        ("Wait", "from a request's arrival until an instance begins to work on it."),
        ("p99", "99 in 100 requests took no longer. A limit counts who failed as never answered."),
        ("Cold-exposed", "was bound to a cold start, or waited at least as long as one takes."),
        ("Failed", "was answered with an error: queue full, waited too long, or no capacity."),
        ("Throttled", "AWS answered 429: too many at once. Part of failed, unless retried."),
        ("Instances", "environments or containers that were there; Lambda's idle ones are free."),
        ("Busy", "share of the paid slots that worked on a request."),
        ("Slot", "room for one request in an instance; plain Lambda has one, others several."),
    ];
    html! {
        details {
            summary { "What the words mean" }
            dl.terms {
                @for (term, meaning) in terms { div { dt { (term) } dd { (meaning) } } }
            }
        }
    }
}

/// Latency and wait at every share of requests.
fn percentiles(report: &Report) -> Markup {
    let table = html! {
        table.wide {
            caption { "Time that a share of requests does not exceed" }
            thead { tr {
                th scope="col" { "Alternative" }
                th scope="col" { "Time" }
                @for name in ["p50", "p90", "p99", "p99.9", "longest"] {
                    th.n scope="col" { (name) }
                }
            } }
            tbody {
                @for (index, measured) in report.alternatives.iter().enumerate() {
                    @for (name, of) in [("latency", measured.total), ("wait", measured.wait)] {
                        tr.is-best[measured.is_best] {
                            th scope="row" { (letter(index)) " " (measured.name) }
                            td { (name) }
                            @for estimate in [of.p50, of.p90, of.p99, of.p999, of.max] {
                                (cell(estimate, words::duration))
                            }
                        }
                    }
                }
            }
        }
    };
    html! {
        details {
            summary { "All percentiles of latency and wait" }
            (boxed("All percentiles", &table))
        }
    }
}

fn settings(report: &Report) -> Markup {
    html! {
        details {
            summary { "What was set" }
            div.cards {
                @for (index, measured) in report.alternatives.iter().enumerate() {
                    div.card {
                        h3 { (letter(index)) " " (measured.name) }
                        p.note { (words::kind_told(measured.kind)) }
                        dl.pairs {
                            @for (name, value) in &measured.settings {
                                div { dt { (name) } dd { (value) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// One setting changed at a time, beside what is without.
pub(super) fn sensitivity(report: &Report) -> Markup {
    let ours = report.alternatives.iter().find(|measured| measured.kind == Kind::Dispatch);
    if report.sensitivity.is_empty() {
        return html! {};
    }
    let table = html! {
        table {
            caption { "One thing changed at a time" }
            thead { tr {
                th scope="col" { "What changes" }
                th.n scope="col" { "By" }
                th.n scope="col" { "Wait: 99 % within" }
                th.n scope="col" { "Cold-exposed" }
                th.n scope="col" { "A month" }
            } }
            tbody {
                @for changed in &report.sensitivity {
                    tr.is-base[changed.what == "nothing"] {
                        th scope="row" { (told(&changed.what)) }
                        td.n { (percent(changed.factor)) }
                        td.n { (words::duration(changed.wait_p99)) }
                        td.n { (words::share(changed.cold)) }
                        td.n { (words::money(changed.month)) }
                    }
                }
            }
        }
    };
    html! {
        section aria-labelledby="sensitivity" {
            h2 #sensitivity { "If things are otherwise" }
            @if let Some(ours) = ours {
                p.lead {
                    (ours.name) ", when a guess that went into it is off. Of the first seed."
                }
            }
            (boxed("If things are otherwise", &table))
        }
    }
}

/// The formula's letters in words.
fn told(what: &str) -> String {
    match what {
        "t" => "service time (t)".to_owned(),
        "T" => "cold start (T)".to_owned(),
        "slots" => "slots in an instance".to_owned(),
        other => other.to_owned(),
    }
}

fn percent(factor: f64) -> String {
    let change = (factor - 1.0) * 100.0;
    if change == 0.0 {
        return "–".to_owned();
    }
    let sign = if change < 0.0 { "−" } else { "+" };
    format!("{sign}{} %", words::number(change.abs()))
}

/// Each alternative's bill, line by line.
pub(super) fn bills(report: &Report) -> Markup {
    html! {
        section aria-labelledby="bills" {
            h2 #bills { "The bills, line by line" }
            p.lead { "A month of this traffic. Prices: " (report.method.prices) "." }
            div.cards {
                @for (index, measured) in report.alternatives.iter().enumerate() {
                    (bill(index, measured))
                }
            }
        }
    }
}

fn bill(index: usize, measured: &Measured) -> Markup {
    html! {
        div.card.is-best[measured.is_best] {
            table.bill {
                caption {
                    (letter(index)) " " (measured.name) @if measured.is_best { " " (best()) }
                }
                thead.hidden { tr { th scope="col" { "What for" } th scope="col" { "A month" } } }
                tbody {
                    @for cost in &measured.costs {
                        tr { th scope="row" { (cost.what) } td.n { (words::money(cost.month)) } }
                    }
                }
                tfoot { tr { th scope="row" { "a month" } td.n { (words::money(measured.month)) } } }
            }
            @if measured.invokes_month > 0.0 {
                p.note {
                    (words::number(measured.invokes_month)) " requests to Lambda a month"
                    @if measured.gb_seconds_month > 0.0 {
                        ", " (words::number(measured.gb_seconds_month)) " GB-seconds"
                    }
                }
            }
        }
    }
}

/// Steady numbers beside what queueing theory gives.
pub(super) fn theory(report: &Report) -> Markup {
    let known = || {
        let all = report.alternatives.iter().enumerate();
        all.filter_map(|(index, m)| m.theory.as_ref().map(|theory| (index, m, theory)))
    };
    if known().next().is_none() {
        return html! {};
    }
    let table = html! {
        table {
            caption { "Mean wait, simulated and by formula" }
            thead { tr {
                th scope="col" { "Alternative" }
                th scope="col" { "Formula" }
                th.n scope="col" { "Formula says" }
                th.n scope="col" { "Simulated" }
                th.n scope="col" { "Off by" }
            } }
            tbody {
                @for (index, measured, theory) in known() {
                    tr {
                        th scope="row" { (letter(index)) " " (measured.name) }
                        td { (theory.formula) }
                        td.n { (words::duration(theory.wait)) }
                        td.n { (words::duration(theory.simulated)) }
                        td.n { (off(theory.wait, theory.simulated)) }
                    }
                }
            }
        }
    };
    html! {
        section aria-labelledby="theory" {
            h2 #theory { "Checked against theory" }
            p.lead {
                "Where the number of instances is steady, mathematics knows the mean wait. The \
                 closer the two, the more the rest can be trusted."
            }
            (boxed("Checked against theory", &table))
        }
    }
}

fn off(wait: f64, simulated: f64) -> String {
    let off = (simulated - wait).abs() / wait;
    if wait > 0.0 { words::share(off) } else { "–".to_owned() }
}

/// Where the numbers come from, and how to make them again.
pub(super) fn method(method: &Method) -> Markup {
    let seeds = if method.seeds == 1 {
        method.seed.to_string()
    } else {
        format!("{} from {}", words::count(u64::from(method.seeds)), method.seed)
    };
    html! {
        section.method aria-labelledby="method" {
            h2 #method { "How this was found" }
            p.lead {
                "Each alternative was simulated. The same plan and seed give the same report, \
                 byte for byte:"
            }
            pre tabindex="0" { code { (method.command) } }
            dl.pairs {
                div { dt { "Program" } dd { (method.version) } }
                div { dt { "Prices" } dd { (method.prices) } }
                div { dt { "Seeds" } dd { (seeds) } }
                div { dt { "Digest of the runs" } dd { code { (method.digest) } } }
            }
            @if !method.assumptions.is_empty() {
                h3 { "What was assumed" }
                ul { @for assumption in &method.assumptions { li { (assumption) } } }
            }
        }
    }
}
