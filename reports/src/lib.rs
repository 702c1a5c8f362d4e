//! What-if capacity reports: what would this traffic cost, and how long would it wait, if somebody
//! else served it, or we with other settings?
//!
//! ```text
//!   Plan ─▶ Traffic ──▶ the same arrivals ─▶ each Alternative ─▶ Tally ─▶ Report ─▶ page, JSON,
//!           synthetic                        dispatch: sim::fast                    CSV, terminal
//!           or recorded                      the rest: lambda, fleet
//! ```
//!
//! What this system would do is computed by the machines that production runs, over the engine of
//! `cargo sim fast`; what Lambda would do, by the emulator's model of it.
//!
//! | file | what |
//! |---|---|
//! | `plan`, `slo` | what is asked, as people write it |
//! | `run`, `solve`, `variations` | runs on all cores; the cheapest settings; what else is tried |
//! | `progress` | how far a report has come, and whether it is still wanted |
//! | `alternative` | who might serve, and with which settings |
//! | `dispatch` | this system, over the engine of `cargo sim fast` |
//! | `lambda` | plain Lambda, reuse of environments, provisioned concurrency |
//! | `fleet`, `managed` | containers and Lambda Managed Instances, over one engine, `pool` |
//! | `events`, `requests`, `tracking` | what these have in common |
//! | `money`, `usage`, `prices` | what was used, and what AWS charges: data in `prices/*.toml` |
//! | `theory` | what queueing theory says of them |
//! | `tally`, `estimate`, `verdict` | what is counted, how sure it is, and what it means |
//! | `report` | what a report says |
//! | `spread` | how times are distributed |
//! | `traffic` | who sends requests, and what each needs |
//! | `page`, `summary`, `json`, `csv` | for a browser, a terminal, programs, spreadsheets |
//! | `words` | numbers as people read them |
//! | `naive` | for tests: adds up everything, the slow way |

pub mod alternative;
pub mod csv;
mod dispatch;
mod estimate;
mod events;
pub mod fleet;
pub mod json;
pub mod lambda;
pub mod managed;
mod money;
#[cfg(test)]
mod naive;
pub mod page;
mod plan;
mod pool;
mod prices;
mod progress;
pub mod report;
mod requests;
mod run;
mod slo;
mod solve;
pub mod spread;
pub mod summary;
mod tally;
pub mod theory;
mod tracking;
pub mod traffic;
pub mod usage;
mod variations;
mod verdict;
mod words;

pub use alternative::Alternative;
pub use dispatch::{Dispatch, RunError};
pub use fleet::FleetPlan;
pub use lambda::LambdaPlan;
pub use managed::ManagedPlan;
pub use money::{Bill, Dollars};
pub use plan::{Balancer, ColdStart, Function, Plan};
pub use prices::{Arch, Prices, PricesError};
pub use progress::Progress;
pub use report::Report;
pub use run::{ReportError, Scene};
pub use sim::span;
pub use slo::Slo;
pub use solve::{Solved, solve};
pub use spread::Spread;
pub use tally::Tally;
pub use tracking::Tracking;
pub use traffic::{Service, Traffic, TrafficError};
pub use usage::{MONTH, Usage, cost};
