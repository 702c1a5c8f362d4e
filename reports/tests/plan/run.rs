//! A plan's text, run as the program runs it.

use std::path::Path;

use reports::traffic::Opened;
use reports::{Plan, Prices, Progress, Report, Scene};

/// The report of a plan, or why there is none.
pub(crate) fn try_report(text: &str) -> Result<Report, String> {
    let mut plan = Plan::parse(text)?;
    let traffic = plan.open(Path::new("."), &Progress::default()).map_err(|why| why.to_string())?;
    of_traffic(&plan, &traffic)
}

/// The same of traffic that is open.
pub(crate) fn of_traffic(plan: &Plan, traffic: &Opened) -> Result<Report, String> {
    let prices = Prices::builtin(&plan.region).map_err(|why| why.to_string())?;
    let progress = Progress::default();
    let scene = Scene { plan, traffic, prices: &prices, progress: &progress };
    let done = scene.report("lambda-dispatch report test.toml", "0");
    done.map_err(|why| why.to_string())
}
