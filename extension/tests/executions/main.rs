//! A request is delivered to at most one app, at most once, whatever breaks and when.
//!
//! A real router and real extensions, with a proxy between them and another between extension and
//! app. Each run lets one of the proxies cut its connection after a number of bytes, and the sweep
//! does that for *every* number, in both directions, with a reset and with a plain end. The apps
//! count by request id. What must hold in every run:
//!
//! - no id is executed twice, nor is a byte of one request ever seen by a second app;
//! - whoever got a whole response was executed exactly once;
//! - what broke before the request left the router is invisible to the client.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a failure, which is what is wanted")]
#![expect(clippy::print_stdout, reason = "the totals of a sweep, for whoever asks")]

mod app;
mod cutting_proxy;
mod environment;
mod sweep;
mod world;
