//! The parts of the router that meet the world: settings, the AWS API, probes, metrics and logs.
//!
//! Decisions are made in [`dispatch_model`], requests are carried by [`io_tokio`]; what is here
//! tells them what the operator wants and tells the operator what they did.

pub mod aws;
pub mod settings;
