//! What-if capacity reports: what would this traffic cost, and how long would it wait, if somebody
//! else served it, or we with other settings?
//!
//! ```text
//!   Plan (TOML) ─▶ Traffic ─▶ the same arrivals ─▶ each Alternative ─▶ Tally ─▶ Report ─▶ page, JSON,
//!                  synthetic,                      dispatch: sim::fast                   CSV, terminal
//!                  or recorded                     the rest: lambda, fleet
//! ```
//!
//! What this system would do is computed by the machines that production runs, over the engine of
//! `cargo sim fast`; what Lambda would do, by the emulator's model of it.
//!
//! | file | what |
//! |---|---|
//! | `lambda` | plain Lambda, reuse of environments, provisioned concurrency |
//! | `fleet`, `managed` | containers and Lambda Managed Instances, over one engine, `pool` |
//! | `events`, `requests`, `tracking` | what these have in common |
//! | `money`, `usage`, `prices` | what was used, and what AWS charges: data in `prices/*.toml` |
//! | `theory` | what queueing theory says of them |
//! | `report` | what a report says |

mod events;
pub mod fleet;
pub mod lambda;
pub mod managed;
mod money;
mod pool;
mod prices;
pub mod report;
mod requests;
#[cfg(test)]
mod tally;
pub mod theory;
mod tracking;
mod usage;

pub use fleet::FleetPlan;
pub use lambda::LambdaPlan;
pub use managed::ManagedPlan;
pub use money::{Bill, Dollars};
pub use prices::{Arch, Prices, PricesError};
pub use tracking::Tracking;
pub use usage::{Containers, MONTH, Managed, Provisioned, SnapStart, Usage, cost};
