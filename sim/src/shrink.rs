//! Makes a plan that fails as small as it can be and still fail.
//!
//! A seed cannot be made smaller: another seed is another world. So its plan is written out, every
//! arrival and every fault by itself, and parts are taken away for as long as the same invariant
//! breaks (Zeller and Hildebrandt, *Simplifying and Isolating Failure-Inducing Input*, 2002: delta
//! debugging). What is left is rounded, and fit to be kept as a regression.

use std::path::Path;
use std::time::Duration;

use crate::driver::Driver;
use crate::fast::Checks;
use crate::fault::Fault;
use crate::plan::Plan;
use crate::scenario;
use crate::traffic::{self, Traffic};

/// Looks whether a plan can be saved as `file`, before a search that takes long.
///
/// # Errors
///
/// Why it cannot.
pub fn check_place(file: &Path) -> Result<(), String> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    if !folder.is_dir() {
        return Err(format!(
            "there is no folder {}, in which the plan would be saved; run this at the workspace's \
             root, or say another place with --out",
            folder.display()
        ));
    }
    if file.exists() {
        return Err(format!(
            "{} is there already, from an earlier search; give it another name, or say another \
             place with --out",
            file.display()
        ));
    }
    Ok(())
}

/// The smallest plan that was found to fail as `plan` does, what it breaks, and after how many
/// runs. `None` if `plan` does not fail.
#[must_use]
pub fn shrink(driver: Driver, plan: &Plan, runs_max: u32) -> Option<(Plan, String, u32)> {
    let broken = broken_by(driver, plan)?;
    let mut search = Search { driver, tag: tag(&broken), runs: 0, runs_max };
    let mut small = written_out(plan);
    // Written out, it may come out otherwise: arrivals at random are now at fixed moments.
    if !search.fails(&small) {
        small = plan.clone();
    }
    let (traffic, fault) = (small.traffic.clone(), small.fault.clone());
    small.fault = search.fewer(fault, |fault| Plan { fault, ..small.clone() });
    small.traffic = search.fewer(traffic, |traffic| Plan { traffic, ..small.clone() });
    small.fault = search.fewer(small.fault.clone(), |fault| Plan { fault, ..small.clone() });
    search.round(&mut small);
    let broken = broken_by(driver, &small)?;
    small.about = format!("Breaks: {broken}\nLeft over of seed {}.\n", plan.seed);
    Some((small, broken, search.runs))
}

/// What a plan breaks, if anything.
#[must_use]
pub fn broken_by(driver: Driver, plan: &Plan) -> Option<String> {
    driver.run(plan, Checks::ALL).0.broken
}

/// The invariant's number in a message, or its first words that are none: what makes it the same
/// failure.
fn tag(broken: &str) -> String {
    let message = broken.split_once(": ").map_or(broken, |(_, message)| message);
    match message.split_once(") ") {
        Some((number, _)) if number.starts_with('(') => number.to_owned(),
        _ => {
            // How many are refused says nothing about why.
            let words = message.split_whitespace().filter(|word| !word.contains(char::is_numeric));
            words.take(3).collect::<Vec<_>>().join(" ")
        }
    }
}

/// The same plan with every arrival by itself.
fn written_out(plan: &Plan) -> Plan {
    let arrivals = traffic::arrivals(&plan.traffic, plan.seed).take(ARRIVALS_MAX);
    let traffic = arrivals.map(|arrival| {
        let at = Duration::from_nanos(arrival.at.as_nanos());
        Traffic {
            patience: arrival.gives_up.map(|until| until.saturating_since(arrival.at)),
            upload: arrival.upload,
            download: arrival.download,
            hold: arrival.hold,
            ..Traffic::burst(1, at, arrival.service)
        }
    });
    Plan { traffic: traffic.collect(), ..plan.clone() }
}

struct Search {
    driver: Driver,
    tag: String,
    runs: u32,
    runs_max: u32,
}

impl Search {
    /// Whether `plan` fails as the first one did, and could be loaded from a file.
    fn fails(&mut self, plan: &Plan) -> bool {
        if self.runs >= self.runs_max || scenario::check(plan).is_err() {
            return false;
        }
        self.runs += 1;
        broken_by(self.driver, plan).is_some_and(|broken| tag(&broken) == self.tag)
    }

    /// Delta debugging: takes away ever smaller parts of `items`, as long as the plan with the rest
    /// fails.
    fn fewer<T: Clone>(&mut self, mut items: Vec<T>, plan: impl Fn(Vec<T>) -> Plan) -> Vec<T> {
        let mut parts = 2;
        while !items.is_empty() {
            let size = items.len().div_ceil(parts);
            let without = |start: usize| {
                let end = (start + size).min(items.len());
                [&items[..start], &items[end..]].concat()
            };
            let starts = (0..items.len()).step_by(size);
            let smaller = starts.map(without).find(|rest| self.fails(&plan(rest.clone())));
            match smaller {
                Some(rest) => {
                    items = rest;
                    parts = parts.saturating_sub(1).max(2);
                }
                None if size == 1 => break,
                None => parts = (parts * 2).min(items.len()),
            }
        }
        items
    }

    /// Rounds times and drops what makes no difference, one after the other.
    fn round(&mut self, plan: &mut Plan) {
        for index in 0..plan.fault.len() {
            for change in [round_fault, shorten_fault] {
                let mut other = plan.clone();
                change(&mut other.fault[index]);
                if other != *plan && self.fails(&other) {
                    *plan = other;
                }
            }
        }
        for index in 0..plan.traffic.len() {
            for change in [round_arrival, plain_arrival] {
                let mut other = plan.clone();
                change(&mut other.traffic[index]);
                if other != *plan && self.fails(&other) {
                    *plan = other;
                }
            }
        }
        let defaults: [fn(&mut Plan); 6] = [
            |plan| plan.calm = None,
            |plan| plan.pool = crate::plan::Pool::default(),
            |plan| plan.extension = crate::plan::Extension::default(),
            |plan| plan.lambda = crate::plan::Lambda::default(),
            |plan| plan.network = crate::plan::Network::default(),
            |plan| plan.seed = 0,
        ];
        for change in defaults {
            let mut other = plan.clone();
            change(&mut other);
            if other != *plan && self.fails(&other) {
                *plan = other;
            }
        }
    }
}

fn round_fault(fault: &mut Fault) {
    fault.at = rounded(fault.at);
    fault.span = rounded(fault.span);
}

fn shorten_fault(fault: &mut Fault) {
    fault.span /= 10;
    fault.size = fault.size.min(1);
}

fn round_arrival(arrival: &mut Traffic) {
    arrival.at = rounded(arrival.at);
    arrival.service = rounded(arrival.service);
}

fn plain_arrival(arrival: &mut Traffic) {
    *arrival = Traffic::burst(1, arrival.at, arrival.service);
}

fn rounded(span: Duration) -> Duration {
    Duration::from_millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

/// Longer plans are cut: what fails does so early.
const ARRIVALS_MAX: usize = 5_000;
