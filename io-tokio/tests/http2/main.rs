//! The links' HTTP/2: by its rules with bytes written by hand, with h2 at the other end, and with
//! itself under random load.
//!
//! A random failure prints its seed; `HTTP2_SEED=<seed> cargo test -p io-tokio --test http2 chance`
//! runs that seed alone, and `HTTP2_SEEDS=<count>` as many as one has time for.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a failure, which is what is wanted")]

mod bodies;
mod chance;
mod crowd;
mod ends;
mod flow;
mod interop;
mod raw;
mod requests;
mod rules;
mod stage;

use std::time::Duration;

/// Nothing takes as long as this, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);
