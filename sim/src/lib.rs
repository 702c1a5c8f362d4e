//! Simulation: the machines that production runs, in worlds where everything goes wrong, the same
//! way each time.
pub mod fast;
pub mod fault;
pub mod oracle;
pub mod plan;
pub mod real;
pub mod report;
pub mod span;
pub mod swarm;
pub mod traffic;

pub use fast::Checks;
pub use fault::{Fault, FaultKind};
pub use plan::Plan;
pub use report::{Outcome, Report};
pub use traffic::Traffic;
