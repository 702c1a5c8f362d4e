//! Simulation: the machines that production runs, in worlds where everything goes wrong, the same
//! way each time.
//!
//! ```text
//!   a seed ── swarm ──▶         ┌─▶ fast   Dispatcher, Lifecycle, Lambda's model, discrete events
//!   a file ── scenario ──▶ Plan ┤
//!   a failure ── shrink ──▶     └─▶ real   the router and the extension themselves, over turmoil
//!                                     │
//!                oracle (what must hold) ◀─┴─▶ Report, recording, trace
//! ```
//!
//! A [`Plan`] says all that the machines do not decide: settings, speeds, traffic, and what goes
//! wrong when. Both simulations take any plan; both feed the same naive books ([`oracle`]), and
//! what their dispatchers are told and do is recorded as production records it, so that a fresh one
//! can be asked to do it again ([`replay`]).
//!
//! | file | what |
//! |---|---|
//! | `plan`, `traffic`, `fault`, `span` | what a plan is made of |
//! | `swarm`, `scenario`, `hold` | plans from seeds, plans from files, and what must hold of them |
//! | `fast`, `real`, `driver` | the two ways to run one |
//! | `outside` | who sends requests, and who looks on |
//! | `oracle`, `report` | what must always hold, and what is counted |
//! | `batch`, `soak` | many seeds |
//! | `shrink`, `replay` | make failures small, decide again |
//! | `meta`, `mutants` | prove determinism, test the tests |

#[cfg(feature = "tools")]
pub mod batch;
#[cfg(feature = "tools")]
pub mod driver;
pub mod fast;
pub mod fault;
pub mod hold;
#[cfg(feature = "tools")]
pub mod meta;
#[cfg(feature = "tools")]
pub mod mutants;
pub mod oracle;
pub mod outside;
pub mod plan;
#[cfg(feature = "tools")]
pub mod real;
#[cfg(feature = "tools")]
pub mod replay;
pub mod report;
pub mod scenario;
#[cfg(feature = "tools")]
pub mod shrink;
#[cfg(feature = "tools")]
pub mod soak;
pub mod span;
#[cfg(feature = "tools")]
pub mod swarm;
pub mod traffic;

#[cfg(feature = "tools")]
pub use driver::Driver;
pub use fast::Checks;
pub use fault::{Fault, FaultKind};
pub use plan::Plan;
pub use report::{Outcome, Report};
pub use traffic::Traffic;
