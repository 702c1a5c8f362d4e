//! x
use std::io::{self, Write};
fn main() {
    let mut out = io::stdout().lock();
    let args: Vec<String> = std::env::args().collect();
    let from: u64 = args[1].parse().unwrap();
    let count: u64 = args[2].parse().unwrap();
    let mut fired = sim::fault::Fired::default();
    let mut marks = sim::report::Marks::default();
    let mut requests = 0;
    let mut bad = 0;
    for seed in from..from + count {
        let plan = sim::swarm::plan(seed, |_| true);
        let ran = std::panic::catch_unwind(|| {
            sim::fast::run(&plan, sim::Checks { trace: args.len() > 3, ..sim::Checks::ALL })
                .unwrap()
        });
        match ran {
            Ok((outcome, trace)) => {
                if args.len() > 4 {
                    writeln!(out, "{}", toml::to_string(&plan).unwrap()).ok();
                }
                fired.add(&outcome.report.fired);
                marks.add(&outcome.report.marks);
                requests += outcome.report.requests;
                if args.len() > 3 {
                    writeln!(out, "{trace}").ok();
                }
                if let Some(broken) = outcome.broken {
                    bad += 1;
                    writeln!(out, "seed {seed}: {broken}").ok();
                }
            }
            Err(_) => {
                bad += 1;
                writeln!(out, "seed {seed}: panic").ok();
            }
        }
    }
    writeln!(out, "{requests} requests, {bad} bad\n{marks}\n{fired}").ok();
}
