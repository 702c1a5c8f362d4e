//! What a pool's model was told and what it did, in bytes: written by the flight recorder, read and
//! replayed by whoever wants to know why.
//!
//! A recording is a sequence of *segments*. Each begins with where the model came from, its
//! [`Origin`], and goes on with [`Step`]s, each with its time. A segment is whole in itself:
//! feeding its inputs and time-outs to its origin must give its outputs, which [`replay`] demands.
//! Nothing of a request is in it but a number and a size.
//!
//! ```text
//! segment  = "LDRECORD", version: u32, block 'O', any number of blocks 'S'
//! block    = kind: u8, length: u32, its complement: u32, digest of kind and payload: u64, payload
//! 'O'      = the program's version and the Origin
//! 'S'      = steps, each after the nanoseconds since the step before
//! ```
//!
//! Numbers of the frame are little-endian; payloads are in
//! [postcard](https://postcard.jamesmunns.com). Damage is found before anything is believed: the
//! digest is over the payload, and the complement tells a damaged length from a file that ends
//! early. It protects from accidents; a recording that was *made* to mislead may well exhaust
//! memory, so do not replay a stranger's.
//!
//! There is nothing asynchronous here, and no clock.

mod digest;
mod reader;
mod replay;
mod writer;

use std::fmt;

use dispatch_model::{Config, Dispatcher, Input, Output, Time};
use serde::{Deserialize, Serialize};

pub use digest::Digest;
pub use reader::{ReadError, Recording, Segment, Steps};
pub use replay::{Did, Divergence, Replayed, replay};
pub use writer::Writer;
pub(crate) use writer::{Encoder, STEPS, put_block, put_origin};

/// Raised whenever the bytes of a step or of a model change, which a test finds out.
pub const VERSION: u32 = 7;

/// Where a model came from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Origin {
    /// It had been running for a while.
    Checkpoint {
        /// When this was it; nothing had been left to do.
        at: Time,
        /// It.
        model: Box<Dispatcher>,
    },
    /// It was new. Its first outputs are steps like all others.
    Fresh {
        /// What it was told to be.
        config: Config,
        /// What decided its choices.
        seed: u64,
        /// When it was made.
        start: Time,
    },
}

impl Origin {
    /// When the segment begins.
    #[must_use]
    pub const fn at(&self) -> Time {
        match self {
            Self::Checkpoint { at, .. } => *at,
            Self::Fresh { start, .. } => *start,
        }
    }

    /// The model as it was then.
    #[must_use]
    pub fn model(&self) -> Dispatcher {
        match self {
            Self::Checkpoint { model, .. } => Dispatcher::clone(model),
            Self::Fresh { config, seed, start } => Dispatcher::new(*config, *seed, *start),
        }
    }
}

/// One thing that went into the model or came out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Step {
    /// It was told this.
    Input(Input),
    /// It asked for this.
    Output(Output),
    /// Its due timers fired.
    Timeout,
}

/// One line: what goes in as it is, what comes out indented, in the words of the scenarios.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(input) => input.fmt(f),
            Self::Output(output) => write!(f, "    {output}"),
            Self::Timeout => f.write_str("timer"),
        }
    }
}

const MAGIC: [u8; 8] = *b"LDRECORD";

#[cfg(test)]
pub(crate) mod tests;
