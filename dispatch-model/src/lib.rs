//! The decisions of lambda-dispatch, without anything else.
//!
//! Two pure state machines. The router's, [`Dispatcher`], queues requests, matches them to slots of
//! instances, decides how many instances there are and how long each is used, and bounds what a
//! failing function may cost. The extension's, [`lifecycle`], decides when an instance serves,
//! drains, and may be frozen.
//!
//! ```text
//!              Input (what happened)                      Input
//!   driver ───────────────────────────▶ Dispatcher   ◀──────────── driver
//!          ◀───────────────────────────              ────────────▶
//!              Output (what to do)     poll_timeout       Output
//! ```
//!
//! There are no bytes, sockets, clocks, threads, logs or random numbers from outside in here: the
//! crate is `no_std` without dependencies, so the compiler sees to that. Time is a number that the
//! driver passes in, chance is a seed. Production, two simulators, the fuzzer and the capacity
//! reports drive the same values, and a recording of production replays in a unit test. For such
//! recordings there is a feature, `serde`, off by default: with it and the `serde` crate, still
//! `no_std`, inputs, outputs, limits and whole dispatchers can be written down and read again.
//!
//! | file | what |
//! |---|---|
//! | `dispatcher` | arrivals, endings and matching |
//! | `dispatcher/lease` | the life of an instance |
//! | `dispatcher/scale`, `dispatcher/scaling` | how many instances: when, and by which formula |
//! | `dispatcher/guard` | protection against failing functions |
//! | `lifecycle` | the extension's machine |
//! | `ids`, `time` | what things are called, and when it is |
//! | `timers` | which timer is next |
//! | `links` | lists threaded through a table |
//! | `prng` | chance from a seed |

#![no_std]
#![deny(clippy::float_arithmetic, clippy::std_instead_of_core, clippy::std_instead_of_alloc)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod dispatcher;
pub mod ids;
pub mod lifecycle;
mod links;
mod prng;
pub mod time;
mod timers;

pub use dispatcher::{
    Budget, Config, ConfigError, Decision, Dispatcher, Ending, Gauges, GoAwayReason, Input,
    InstanceState, InstanceView, InvokeOutcome, Limits, Matching, Output, RefuseReason, SLOTS_MAX,
    Scaling, Stats, Timeout, Timer, Why, scaling,
};
pub use ids::{InstanceId, RequestId};
pub use prng::Prng;
pub use time::Time;
