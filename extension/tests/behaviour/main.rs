//! The extension as the world sees it: real sockets, real TLS and HTTP/2, with stand-ins for
//! Lambda's API, for the router and for the app.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod app;
mod deadlines;
mod h2_body;
mod holds;
mod invokes;
mod lambda;
mod link;
mod original;
mod process;
mod relaying;
mod router;
mod snapshots;
mod stage;
mod whole_router;
mod wire_v1;
mod wire_v1_both;
