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
//! | `money`, `prices` | bills, and what AWS charges, which is data in `prices/*.toml` |
//! | `report` | what a report says |
//! | `page`, `summary`, `json`, `csv` | for a browser, a terminal, programs, spreadsheets |
//! | `words` | numbers as people read them |

pub mod csv;
pub mod json;
mod money;
pub mod page;
pub mod report;
pub mod summary;
mod words;

pub use money::{Bill, Dollars, LAMBDA_ARM, LAMBDA_X86, Prices, price};
