//! The model's only notion of time: nanoseconds since a zero that its driver chose.

use core::fmt;
use core::ops::Add;
use core::time::Duration;

/// A moment, in nanoseconds since the driver's zero.
///
/// The zero means nothing: production uses the moment the router started, a simulation uses 0.
/// 64 bits of nanoseconds last 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Time(u64);

impl Time {
    /// The driver's zero.
    pub const ZERO: Self = Self(0);
    /// Later than any moment a driver can name.
    pub const MAX: Self = Self(u64::MAX);

    /// The moment `nanos` nanoseconds after the driver's zero.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The moment `millis` milliseconds after the driver's zero; saturates at [`Time::MAX`].
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the driver's zero.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This moment and `span`; stops at [`Time::MAX`].
    #[must_use]
    pub const fn saturating_add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }

    /// `span` before this moment; stops at [`Time::ZERO`].
    #[must_use]
    pub const fn saturating_sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(span)))
    }
}

/// Saturates: a deadline beyond 584 years is never reached, which is what its setter meant.
impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        self.saturating_add(span)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = Duration::from_nanos(self.0);
        write!(f, "{span:?}")
    }
}

/// Nanoseconds in `span`, at most `u64::MAX`.
#[must_use]
pub const fn nanos(span: Duration) -> u64 {
    let all = span.as_nanos();
    if all > u64::MAX as u128 {
        u64::MAX
    } else {
        #[expect(clippy::cast_possible_truncation, reason = "compared with the maximum above")]
        let all = all as u64;
        all
    }
}
