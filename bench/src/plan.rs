//! What is measured: each load, who faces it, and how often.

use std::time::Duration;

use clap::ValueEnum;
use serde::{Serialize, Serializer};

use crate::contender::Contender::{self, *};

/// How thorough a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Depth {
    /// Some minutes: what the targets need.
    Quick,
    /// Everything.
    Full,
}

impl Depth {
    pub(crate) const fn rounds(self) -> u32 {
        match self {
            Self::Quick => 3,
            Self::Full => 5,
        }
    }

    pub(crate) const fn span(self) -> Duration {
        match self {
            Self::Quick => Duration::from_secs(2),
            Self::Full => Duration::from_secs(4),
        }
    }

    pub(crate) fn loads(self) -> impl Iterator<Item = &'static Load> {
        LOADS.iter().filter(move |load| self == Self::Full || load.depth == Self::Quick)
    }
}

/// One load, the same for all who face it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) depth: Depth,
    pub(crate) by: Generator,
    pub(crate) contenders: &'static [Contender],
}

impl Load {
    /// How long it lasts where others last `span`. The first requests of a thousand connections are
    /// the slowest thousandth of a short run: it would tell how they begin, and not how they go on.
    /// Only a million requests would be rid of them.
    pub(crate) fn span(&self, span: Duration) -> Duration {
        match self.by {
            Generator::Wrk { connections: 1_000, .. } => 4 * span,
            Generator::Closed { .. }
            | Generator::H2load { .. }
            | Generator::Rate { .. }
            | Generator::Wrk { .. } => span,
        }
    }
}

impl Serialize for Load {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

/// Who makes a load.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Generator {
    /// Our own, as fast as it goes.
    Closed { connections: u32, path: &'static str, body: u64 },
    /// `h2load`, as fast as it goes.
    H2load { clients: u32, streams: u32, path: &'static str },
    /// Our own, at so many requests a second.
    Rate { connections: u32, path: &'static str, per_second: u32 },
    /// `wrk`, as fast as it goes.
    Wrk { connections: u32, path: &'static str },
}

/// Every load, in the order in which they run.
pub(crate) const LOADS: &[Load] = &[
    Load {
        name: "small, 1 connection",
        depth: Depth::Quick,
        by: Generator::Wrk { connections: 1, path: "/" },
        contenders: ALL,
    },
    Load { name: "small, 10 connections", depth: Depth::Quick, by: SMALL_10, contenders: ALL },
    Load { name: SMALL_100, depth: Depth::Quick, by: MAIN, contenders: WITH_WORKERS },
    Load { name: WORKERS, depth: Depth::Quick, by: MAIN, contenders: &[OursSlowed, OursTwoSlowed] },
    Load {
        name: "small, 1,000 connections",
        depth: Depth::Quick,
        by: Generator::Wrk { connections: 1_000, path: "/" },
        contenders: ALL,
    },
    Load { name: "h2, 10 x 10 streams", depth: Depth::Quick, by: H2, contenders: ALL_H2 },
    Load { name: "100 KiB, 10 connections", depth: Depth::Quick, by: KIB_100, contenders: ALL },
    Load {
        name: "10 MiB down, 4 connections",
        depth: Depth::Quick,
        by: MIB_10_DOWN,
        contenders: ALL,
    },
    Load { name: "10 MiB up, 4 connections", depth: Depth::Quick, by: MIB_10_UP, contenders: ALL },
    Load {
        name: "10 MiB echo, 4 connections",
        depth: Depth::Full,
        by: Generator::Closed { connections: 4, path: "/echo", body: 10 << 20 },
        // nginx 1.22 stands still when an answer comes before the request has ended.
        contenders: &[Direct, Haproxy, Ours, OursTls],
    },
    Load {
        name: "events, 100 connections",
        depth: Depth::Full,
        by: Generator::Closed { connections: 100, path: "/events", body: 0 },
        contenders: ALL,
    },
    Load {
        name: "fixed rate 5,000/s, 100 connections",
        depth: Depth::Quick,
        by: Generator::Rate { connections: 100, path: "/", per_second: 5_000 },
        contenders: ALL,
    },
    Load {
        name: "many instances, 100 connections",
        depth: Depth::Full,
        by: MAIN,
        contenders: &[NginxTwice, Ours, OursTen, OursHundred],
    },
    Load {
        name: "wire v1, 100 connections",
        depth: Depth::Full,
        by: MAIN,
        contenders: &[NginxTwice, Ours, OursV1],
    },
];

/// What a commit is compared with another by: the first load whose name has `part` in it.
pub(crate) fn pair(part: &str) -> Option<Load> {
    let load = LOADS.iter().find(|load| load.name.contains(part))?;
    Some(Load { contenders: PAIR, ..*load })
}

/// The other commit, and this one.
pub(crate) const PAIR: &[Contender; 2] = &[OursBase, Ours];

/// The load by which most is decided.
pub(crate) const SMALL_100: &str = "small, 100 connections";
/// The load by which threads are counted.
pub(crate) const WORKERS: &str = "workers, 100 connections";
pub(crate) const MAIN: Generator = Generator::Wrk { connections: 100, path: "/" };
pub(crate) const SMALL_10: Generator = Generator::Wrk { connections: 10, path: "/" };
pub(crate) const H2: Generator = Generator::H2load { clients: 10, streams: 10, path: "/" };
pub(crate) const KIB_100: Generator = Generator::Closed { connections: 10, path: "/100k", body: 0 };
pub(crate) const MIB_10_DOWN: Generator =
    Generator::Closed { connections: 4, path: "/10m", body: 0 };
pub(crate) const MIB_10_UP: Generator =
    Generator::Closed { connections: 4, path: "/upload", body: 10 << 20 };
const ALL: &[Contender] = &[Direct, Nginx, NginxTwice, Haproxy, Ours, OursTls];
const ALL_H2: &[Contender] = &[Nginx, NginxTwice, Haproxy, Ours, OursTls];
const WITH_WORKERS: &[Contender] =
    &[Direct, Nginx, NginxTwice, Haproxy, Ours, OursTls, OursTwoWorkers];

impl Generator {
    /// Whether bodies are what matters, and not requests.
    pub(crate) fn has_bodies(self) -> bool {
        match self {
            Self::Closed { path, .. } => path != "/events",
            Self::H2load { .. } | Self::Rate { .. } | Self::Wrk { .. } => false,
        }
    }
}
