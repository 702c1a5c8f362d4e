//! `cargo sim fast --scenario burst --seed 7`: runs a scenario in virtual time.
//!
//! The first line is what reproduces the run.

use std::io::{self, Write};
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};
use sim::{Scenario, fast, scenario};

/// Simulates pools of lambda-dispatch.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    run: Run,
}

#[derive(Subcommand)]
enum Run {
    /// Models only, in virtual time.
    Fast {
        /// What is simulated.
        #[arg(long, default_value = "burst", value_parser = scenario::NAMES)]
        scenario: String,
        /// Decides everything that is left to chance.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// How many seeds, from that one on.
        #[arg(long, default_value_t = 1)]
        seeds: u64,
    },
}

fn main() -> ExitCode {
    let Run::Fast { scenario: name, seed, seeds } = Arguments::parse().run;
    match run(&name, seed, seeds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(io::stderr(), "{error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str, seed: u64, seeds: u64) -> Result<(), Box<dyn std::error::Error>> {
    let mut out = io::stdout().lock();
    let scenario = Scenario::named(name).ok_or_else(|| format!("no scenario is called {name}"))?;
    let commit = commit();
    for seed in seed..seed.saturating_add(seeds) {
        writeln!(out, "cargo sim fast --seed {seed} --scenario {name}  # commit {commit}")?;
        writeln!(out, "{}", fast::run(&scenario, seed)?)?;
    }
    Ok(())
}

/// The commit that is checked out, as far as can be found out.
fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    output
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or_else(|| "unknown".to_owned(), |commit| commit.trim().to_owned())
}
