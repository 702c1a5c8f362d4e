//! Fast or real seeds for as long as one likes. The next seed is kept in a file, so that the next
//! call goes on where this one ended, however it ended.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use crate::batch::{self, wall_time};
use crate::driver::{Driver, commit};
use crate::fast::Checks;

/// Runs seeds for `span`, a block of them at least, from the one that `state` says, or from a
/// million on if there is no such file: below that are the seeds of every change's own checks.
/// Gives whether all went well.
///
/// # Errors
///
/// `state` cannot be read or written, or is no seed.
pub fn run(driver: Driver, span: Duration, state: &Path) -> Result<bool, String> {
    let mut from = read(state)?;
    // Before the first block, which takes a while.
    write(state, from)?;
    let end = wall_time() + span;
    let mut all = true;
    loop {
        let next = from + BLOCK;
        let totals = batch::run(driver, from..=next - 1, Checks::ALL, |line| {
            drop(writeln!(io::stdout(), "{line}"));
        });
        all &= totals.failures.is_empty();
        let told =
            writeln!(io::stdout(), "soak {driver}, commit {}, from {from}: {totals}", commit());
        told.map_err(|error| error.to_string())?;
        from = next;
        write(state, from)?;
        if wall_time() >= end {
            return Ok(all);
        }
    }
}

/// The next seed.
fn read(state: &Path) -> Result<u64, String> {
    let text = match std::fs::read_to_string(state) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(FIRST),
        Err(error) => return Err(format!("{}: {error}", state.display())),
    };
    let seed = text.trim().parse().ok().filter(|seed| *seed <= u64::MAX - BLOCK);
    seed.ok_or_else(|| {
        format!(
            "{} says {text:?}, which is not the next seed: write it there, a number, or remove \
             the file to begin again at {FIRST}",
            state.display()
        )
    })
}

fn write(state: &Path, next: u64) -> Result<(), String> {
    std::fs::write(state, next.to_string())
        .map_err(|error| format!("{}: {error}; say another place with --state", state.display()))
}

/// The first seed of all.
const FIRST: u64 = 1_000_000;

/// Seeds between two notes of how far it is.
const BLOCK: u64 = 1_000;
