//! Pools in virtual time: the dispatcher that production runs, against the model of AWS Lambda that
//! the emulator runs, with nothing between them but a heap of events.
//!
//! ```text
//!   workload ──▶ Dispatcher ──Invoke──▶ emulator::model::Model ──▶ a scripted function
//!      ▲             │                                                  │
//!      └── endings ──┴──────────── attaches, answers, crashes ◀─────────┘
//! ```
//!
//! A [`Scenario`] and a seed decide everything; two runs agree in every event, which the digest of
//! a [`Report`] shows. Nothing waits, so an hour of traffic takes seconds. The network has no delay
//! and loses nothing: what is studied here is decisions.
//!
//! [`workload`] says when requests arrive, [`scenario`] what the pool and the function are like,
//! and [`fast`] runs it.

pub mod fast;
pub mod report;
pub mod scenario;
pub mod workload;

pub use report::Report;
pub use scenario::{Behaviour, Scenario};
pub use workload::Workload;
