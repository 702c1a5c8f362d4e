//! Fast or real seeds for as long as one likes. The next seed is kept in a file, so that the next
//! call goes on where this one ended, however it ended.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use crate::batch::{self, wall_time};
use crate::driver::{Driver, commit};
use crate::fast::Checks;

/// Runs seeds for `span`, from the one that `state` says, or from a million on: below that are the
/// seeds of every change's own checks. Gives whether all went well.
///
/// # Errors
///
/// `state` cannot be read or written.
pub fn run(driver: Driver, span: Duration, state: &Path) -> io::Result<bool> {
    let known = std::fs::read_to_string(state).ok();
    let mut from = known.and_then(|text| text.trim().parse().ok()).unwrap_or(1_000_000);
    let end = wall_time() + span;
    let mut all = true;
    while wall_time() < end {
        let until = from + BLOCK;
        let more = |seed| seed < until;
        let totals = batch::run(driver, from, Checks::ALL, more, |line| {
            drop(writeln!(io::stdout(), "{line}"));
        });
        all &= totals.failures.is_empty();
        writeln!(io::stdout(), "soak {driver}, commit {}, from {from}: {totals}", commit())?;
        from = until;
        std::fs::write(state, from.to_string())?;
    }
    Ok(all)
}

/// Seeds between two notes of how far it is.
const BLOCK: u64 = 1_000;
