//! `lambda-dispatch serve` as an operator runs it: the real program against an emulated Lambda,
//! with real extensions, real apps and raw clients.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a failure, which is what is wanted")]

mod bodies;
mod client;
mod dashboard;
#[path = "../catalogue/frames.rs"]
#[expect(dead_code, reason = "shared with the catalogue")]
mod frames;
mod grpc;
mod hostile;
mod interim;
mod leases;
mod logs;
mod messages;
mod protocols;
#[expect(dead_code, reason = "shared with the catalogue's tests")]
mod raw_app;
mod recorder;
mod reload;
mod secrets;
mod semantics;
mod shutdown;
mod stage;
mod timeouts;
mod traces;
mod trouble;
mod websocket;
