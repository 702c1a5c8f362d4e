//! What a pool is asked to do ([`Limits`]), and the same after it was checked ([`Config`]).

use core::fmt;
use core::ops::Deref;
use core::time::Duration;

/// What the operator asks for. Public fields, any values; [`Config::new`] checks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Limits {
    /// Money that instances may cost, if bounded. Default none.
    pub budget: Option<Budget>,
    /// Time from an invoke to its first slot when a new environment is made. `None` (the default)
    /// measures it, starting from 1 s.
    pub cold_start: Option<Duration>,
    /// The original's `InstanceCountMultiplier`, 1 to 10, for [`Scaling::Simple`] and
    /// [`Scaling::Ewma`]. Default 2.
    pub instance_count_multiplier: u32,
    /// Most instances at once, starting ones included; at least 1. Default 100.
    pub instances_max: u32,
    /// Instances kept though idle. Default 0.
    pub instances_min: u32,
    /// Most invokes in a burst; at least 1. Default 1,000, which is what Lambda allows a function.
    pub invokes_burst: u32,
    /// Invokes per second after a burst; at least 1. Default 100, which is Lambda's 1,000 per 10 s.
    pub invokes_per_second: u32,
    /// How long an instance that is not needed is kept. A second of an idle 1 GB instance costs as
    /// much as 80 invokes, so keep it short. Default 1 s.
    pub linger: Duration,
    /// Which instance gets the next request. Default [`Matching::LeastOutstanding`].
    pub matching: Matching,
    /// Time between signs of life. Default 5 s.
    pub ping_interval: Duration,
    /// How long a sign of life may take. Default 5 s.
    pub ping_timeout: Duration,
    /// How much of a lease's end is left for requests to finish in: work is not placed there. At
    /// most a quarter of a lease is used so, and more, up to three quarters, where 1 request in 100
    /// was seen to take longer. Default 15 s.
    pub placement_margin: Duration,
    /// Most bytes that waiting requests hold. Default 64 MiB.
    pub queue_bytes_max: u64,
    /// Most requests that wait. Default 10,000. With 0 nobody does: who finds no free slot is
    /// refused, and an instance is started for those who come later: after the `Retry-After`.
    pub queue_len_max: u32,
    /// Longest wait in the queue. Default 120 s, as the original's `IncomingRequestTimeout`.
    pub queue_timeout: Duration,
    /// How often a request that no app saw may be sent to another instance. Default 2.
    pub redispatch_max: u8,
    /// Whether a request that is safe to repeat is repeated once when its instance failed before a
    /// response. Default false.
    pub retry_repeatable: bool,
    /// How the number of instances is chosen. Default [`Scaling::Rule`].
    pub scaling: Scaling,
    /// Slots asked of each instance, 1 to 255. Default 10.
    pub slots: u32,
    /// Longest time from an invoke to its first slot before it counts as failed. Default 30 s.
    pub start_timeout: Duration,
    /// How many instances may start at once before any has ever served; a function that always
    /// fails costs no more than this at once. At least 1. Default 10.
    pub starts_unproven_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            budget: None,
            cold_start: None,
            instance_count_multiplier: 2,
            instances_max: 100,
            instances_min: 0,
            invokes_burst: 1_000,
            invokes_per_second: 100,
            linger: Duration::from_secs(1),
            matching: Matching::LeastOutstanding,
            ping_interval: Duration::from_secs(5),
            ping_timeout: Duration::from_secs(5),
            placement_margin: Duration::from_secs(15),
            queue_bytes_max: 64 << 20,
            queue_len_max: 10_000,
            queue_timeout: Duration::from_secs(120),
            redispatch_max: 2,
            retry_repeatable: false,
            scaling: Scaling::Rule,
            slots: 10,
            start_timeout: Duration::from_secs(30),
            starts_unproven_max: 10,
        }
    }
}

/// A bound on what instances cost, as a rate with an hour of credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Budget {
    /// Millionths of a dollar per hour.
    pub microdollars_per_hour: u64,
    /// What one instance costs per second, in millionths of a millionth of a dollar. A 1 GB x86
    /// instance costs 16,666,700.
    pub picodollars_per_instance_second: u64,
}

impl Budget {
    /// The same per hour in millionths of a millionth of a dollar.
    #[must_use]
    pub const fn picodollars_per_hour(self) -> u64 {
        self.microdollars_per_hour.saturating_mul(1_000_000)
    }

    /// Instances that the rate pays for, whatever is left of the credit.
    #[must_use]
    pub fn instances(self) -> u32 {
        let pico_per_second = self.picodollars_per_hour() / 3_600;
        u32::try_from(pico_per_second / self.picodollars_per_instance_second.max(1))
            .unwrap_or(u32::MAX)
    }
}

/// Which instance gets the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Matching {
    /// The one with the fewest requests in flight; among equals the one idle longest.
    LeastOutstanding,
    /// The fullest one that has a free slot, so that others fall idle and leave.
    Pack,
}

/// How the number of instances is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Scaling {
    /// The original's moving averages; see [`ewma`](super::scaling::ewma).
    Ewma,
    /// Little's law on measured service time, cold start and arrivals.
    Rule,
    /// The original's default; see [`simple`](super::scaling::simple).
    Simple,
}

impl fmt::Display for Scaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ewma => "ewma",
            Self::Rule => "rule",
            Self::Simple => "simple",
        })
    }
}

/// [`Limits`] that make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Limits", into = "Limits"))]
pub struct Config(Limits);

impl Config {
    /// Checks `limits`.
    ///
    /// # Errors
    ///
    /// The first value that is out of range, with its range.
    pub fn new(limits: Limits) -> Result<Self, ConfigError> {
        let in_range = |name, value: u64, min, max| {
            if value < min || value > max {
                Err(ConfigError::OutOfRange { name, value, min, max })
            } else {
                Ok(())
            }
        };
        let whole = u64::from(u32::MAX);
        in_range("instances_max", limits.instances_max.into(), 1, 100_000)?;
        in_range("instances_min", limits.instances_min.into(), 0, limits.instances_max.into())?;
        in_range("slots", limits.slots.into(), 1, SLOTS_MAX.into())?;
        in_range("instance_count_multiplier", limits.instance_count_multiplier.into(), 1, 10)?;
        in_range("invokes_burst", limits.invokes_burst.into(), 1, whole)?;
        in_range("invokes_per_second", limits.invokes_per_second.into(), 1, whole)?;
        in_range("starts_unproven_max", limits.starts_unproven_max.into(), 1, whole)?;
        in_range("redispatch_max", limits.redispatch_max.into(), 0, 10)?;
        if let Some(budget) = limits.budget {
            in_range("budget", budget.microdollars_per_hour, 1, u64::MAX / 1_000_000)?;
            in_range("price", budget.picodollars_per_instance_second, 1, u64::MAX / 1_000_000)?;
        }
        for (name, span) in [
            ("cold_start", limits.cold_start.unwrap_or(Duration::from_secs(1))),
            ("ping_interval", limits.ping_interval),
            ("ping_timeout", limits.ping_timeout),
            ("queue_timeout", limits.queue_timeout),
            ("start_timeout", limits.start_timeout),
        ] {
            if span.is_zero() {
                return Err(ConfigError::Zero { name });
            }
        }
        Ok(Self(limits))
    }
}

impl TryFrom<Limits> for Config {
    type Error = ConfigError;

    fn try_from(limits: Limits) -> Result<Self, ConfigError> {
        Self::new(limits)
    }
}

impl From<Config> for Limits {
    fn from(config: Config) -> Self {
        config.0
    }
}

impl Deref for Config {
    type Target = Limits;

    fn deref(&self) -> &Limits {
        &self.0
    }
}

/// Why [`Limits`] make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// A number is outside its range.
    OutOfRange {
        /// The field of [`Limits`].
        name: &'static str,
        /// What it is.
        value: u64,
        /// The least allowed.
        min: u64,
        /// The most allowed.
        max: u64,
    },
    /// A span that must be longer than nothing is zero.
    Zero {
        /// The field of [`Limits`].
        name: &'static str,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { name, value, min, max } => {
                write!(f, "{name} is {value}, must be from {min} to {max}")
            }
            Self::Zero { name } => write!(f, "{name} is 0, must be longer"),
        }
    }
}

impl core::error::Error for ConfigError {}

/// Most slots an instance can offer: the invoke payload's `NumberOfChannels` is one byte.
pub const SLOTS_MAX: u32 = 255;
