//! What can go wrong, and how often it did.
//!
//! A fault has a moment, mostly a span, and someone whom it befalls. What befalls one instance or
//! one request waits until there is one in the right state: a crash of a busy instance happens at
//! the first moment after its time at which an instance is busy. Each kind counts when it has
//! really changed something, and a plan whose faults never fired has tested nothing.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::span;

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// When, from the start of the run.
    #[serde(with = "span")]
    pub at: Duration,
    /// For how long; kinds that are over at once ignore it.
    #[serde(default, with = "span", rename = "for")]
    pub span: Duration,
    /// Whom: the zone, environment, instance or request of this number, counted round.
    #[serde(default)]
    pub whom: u32,
    /// How much; what it counts is said with the kind.
    #[serde(default)]
    pub size: u32,
}

impl Fault {
    /// When it is over.
    #[must_use]
    pub fn end(&self) -> Duration {
        self.at.saturating_add(self.span)
    }
}

/// Whom a kind of fault befalls, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The world, at its moment; nothing is left of it afterwards.
    Moment,
    /// One that is in the right state, from its moment on: until there is one, it waits.
    Someone,
    /// All that meet it in one zone, from its moment to its end.
    Zone,
    /// All that meet it, from its moment to its end.
    Everyone,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $text:literal $reach:ident $real:literal,)*) => {
        /// A kind of fault. Zones are numbered from 0 to [`ZONES`]` - 1`; every environment lives
        /// in one, and the router in none of them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum FaultKind { $($(#[$doc])* $name,)* }

        impl FaultKind {
            /// Every kind.
            pub const ALL: [Self; [$($text),*].len()] = [$(Self::$name),*];

            /// Its name in plans.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Whom it befalls.
            #[must_use]
            pub const fn reach(self) -> Reach {
                match self { $(Self::$name => Reach::$reach,)* }
            }

            /// Whether it can be played to the real adapters; all can be played to the models.
            #[must_use]
            pub const fn is_real(self) -> bool {
                match self { $(Self::$name => $real,)* }
            }
        }
    };
}

kinds! {
    /// The app of a serving environment ends; what runs on it is lost.
    AppCrash "app-crash" Someone true,
    /// Apps of the zone do not answer what comes to them meanwhile.
    AppHang "app-hang" Zone true,
    /// Apps of the zone take `size` times as long for what comes to them meanwhile.
    AppSlow "app-slow" Zone true,
    /// `size` requests arrive at once.
    Burst "burst" Moment true,
    /// `size` requests are given up by their clients while they wait.
    CancelQueued "cancel-queued" Someone true,
    /// `size` requests are given up by their clients while they run: a flood of resets.
    CancelRunning "cancel-running" Someone true,
    /// The wall clocks of the zone's environments are `size` seconds ahead meanwhile.
    ClockStep "clock-step" Zone true,
    /// New environments take `size` times as long to start.
    ColdTail "cold-tail" Zone true,
    /// Nobody listens where the zone's instances dial.
    ConnectRefused "connect-refused" Zone true,
    /// Dialling takes the zone's instances `size` milliseconds longer.
    ConnectSlow "connect-slow" Zone true,
    /// An environment that serves and has nothing to do dies.
    CrashIdle "crash-idle" Someone true,
    /// An environment dies with requests running.
    CrashBusy "crash-busy" Someone true,
    /// Environments of the zone die as soon as a request reaches their app.
    CrashOnRequest "crash-on-request" Zone true,
    /// An environment dies while it starts.
    CrashStarting "crash-starting" Someone true,
    /// The function's code is replaced: what has begun is finished, and no environment is used
    /// again.
    Deploy "deploy" Moment true,
    /// An instance that is attached attaches once more.
    DuplicateAttach "duplicate-attach" Someone true,
    /// AWS answers that the function may not be invoked.
    Forbidden "forbidden" Everyone true,
    /// An environment stands still: it computes nothing, and its clock goes on.
    Freeze "freeze" Someone true,
    /// Bytes between the router and the zone are late until it is over; none is lost.
    Hold "hold" Zone true,
    /// New environments' processes end before they are ready.
    InitCrash "init-crash" Zone true,
    /// New environments never get ready.
    InitHang "init-hang" Zone true,
    /// The bound on instances is `size`, from 1 on, meanwhile.
    Limits "limits" Everyone true,
    /// Bytes between the router and the zone are lost in both directions.
    Partition "partition" Zone true,
    /// Bytes from the router to the zone are lost.
    PartitionFromRouter "partition-from-router" Zone true,
    /// Bytes from the zone to the router are lost.
    PartitionToRouter "partition-to-router" Zone true,
    /// Instances of the zone give back what they are sent.
    Refuse "refuse" Zone true,
    /// A link breaks when a request has reached the app.
    ResetHead "reset-head" Someone true,
    /// A link breaks when a response has begun.
    ResetBody "reset-body" Someone true,
    /// A link breaks right after the last byte of a response.
    ResetTail "reset-tail" Someone true,
    /// The router dies and is there again, without a memory, when it is over.
    RouterCrash "router-crash" Someone true,
    /// The router computes nothing; all that happens waits.
    RouterStall "router-stall" Moment false,
    /// The router is told to stop and has the span for it; then a new one starts.
    RouterStop "router-stop" Someone true,
    /// Lambda tells a serving environment to end within two seconds.
    Shutdown "shutdown" Someone true,
    /// An instance offers `size` slots from then on.
    Slots "slots" Someone false,
    /// Clients read responses so slowly that each takes `size` milliseconds longer.
    SlowReader "slow-reader" Everyone true,
    /// Clients send their bodies so slowly that each takes `size` milliseconds longer.
    SlowUpload "slow-upload" Everyone true,
    /// An instance whose invoke is over attaches.
    StaleAttach "stale-attach" Someone true,
    /// A link's bytes stand still in both directions.
    StallLink "stall-link" Someone true,
    /// Every invoke is throttled.
    Throttle "throttle" Everyone true,
    /// AWS fails before it begins an invocation.
    Unavailable "unavailable" Everyone true,
    /// Somebody attaches who was never invoked.
    UnknownAttach "unknown-attach" Someone true,
    /// The calls to AWS break; the invocations go on.
    UnknownOutcome "unknown-outcome" Everyone true,
    /// Whoever answers the zone's instances is not to be trusted.
    Untrusted "untrusted" Zone true,
    /// Every environment of the zone dies, and no new one starts there meanwhile.
    ZoneLoss "zone-loss" Zone true,
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How often each kind has fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fired([u64; FaultKind::ALL.len()]);

impl Default for Fired {
    fn default() -> Self {
        Self([0; FaultKind::ALL.len()])
    }
}

impl Fired {
    /// A fault of this kind has changed something.
    pub const fn note(&mut self, kind: FaultKind) {
        self.0[kind as usize] += 1;
    }

    /// How often.
    #[must_use]
    pub const fn of(&self, kind: FaultKind) -> u64 {
        self.0[kind as usize]
    }

    /// Adds what fired elsewhere.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// The kinds among `planned` that never fired.
    pub fn missing(&self, planned: impl IntoIterator<Item = FaultKind>) -> Vec<FaultKind> {
        let mut missing: Vec<_> = planned.into_iter().filter(|kind| self.of(*kind) == 0).collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }
}

impl fmt::Display for Fired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for kind in FaultKind::ALL.into_iter().filter(|kind| self.of(*kind) > 0) {
            let gap = if std::mem::take(&mut first) { "" } else { ", " };
            write!(f, "{gap}{kind} {}", self.of(kind))?;
        }
        if first { f.write_str("none") } else { Ok(()) }
    }
}

/// How many zones there are.
pub const ZONES: u32 = 3;
