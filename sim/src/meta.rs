//! Determinism is proved, not said: the same seed gives the same bytes of trace in another process,
//! at another level of optimisation, and in a process that has run a hundred other seeds before.
//! Whatever leaks in (an address, a clock, the order of a hash map) shows here, and until it does
//! not, no other failure can be trusted to come again.

use std::path::Path;
use std::process::Command;

use crate::driver::Driver;
use crate::fast::Checks;

/// What is written down of a run: every input, order and moment, and the report.
#[must_use]
pub fn trace(driver: Driver, seed: u64) -> String {
    let checks = Checks { trace: true, ..Checks::ALL };
    let (outcome, trace) = driver.run(&driver.plan(seed), checks);
    format!("{trace}{}\nbroken        {:?}\n", outcome.report, outcome.broken)
}

/// Proves it for `seed`, with `others` other seeds run in between, and the program at `other_build`
/// for another level of optimisation.
///
/// # Errors
///
/// What was not the same, or why that cannot be told.
pub fn prove(
    driver: Driver,
    seed: u64,
    others: u64,
    this_build: &Path,
    other_build: &Path,
) -> Result<u64, String> {
    let first = trace(driver, seed);
    let same = |name: &str, other: &str| {
        if first == other {
            return Ok(());
        }
        let pairs = first.lines().zip(other.lines()).zip(1..);
        let mut pairs = pairs;
        let differs = pairs.find(|((one, other), _)| one != other);
        let what = differs.map_or_else(
            || format!("{} bytes and {}", first.len(), other.len()),
            |((one, other), line)| format!("line {line}:\n  {one}\n  {other}"),
        );
        Err(format!("{driver} seed {seed} is not the same {name}: {what}"))
    };
    for (name, program) in
        [("in another process", this_build), ("at another optimisation level", other_build)]
    {
        same(name, &trace_of(program, driver, seed)?)?;
    }
    for other in 1..=others {
        let (outcome, _) = driver.run(&driver.plan(seed.wrapping_add(other)), Checks::ALL);
        drop(outcome);
    }
    same("after other seeds", &trace(driver, seed))?;
    Ok(first.len() as u64)
}

fn trace_of(program: &Path, driver: Driver, seed: u64) -> Result<String, String> {
    let arguments = [driver.name(), "--trace", "--seed", &seed.to_string()];
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("cannot run {}: {error}", program.display()))?;
    String::from_utf8(output.stdout).map_err(|_| "a trace is not text".to_owned())
}
