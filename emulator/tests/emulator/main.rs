//! The emulator through its front door: real HTTP, real processes.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod aws_cli;
mod client;
mod environments;
mod invoke_api;
mod processes;
mod stage;
