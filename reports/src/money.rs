//! What a run is billed for on AWS Lambda, and money, both in integers.
//!
//! Lambda charges each invocation for its memory and its time, rounded up to a whole millisecond,
//! and a fee for the request. Initialisation is part of the time, for every kind of function since
//! 2025-08-01. A [`Bill`] adds that up; [`Prices`](crate::Prices) turn it into [`Dollars`], exact
//! to a millionth of a millionth: the price of a megabyte and a millisecond is 16 picodollars and
//! a bit.
//!
//! ```
//! use std::time::Duration;
//! use reports::{Arch, Bill, Prices};
//!
//! let mut bill = Bill::new(1_024);
//! bill.add(Duration::from_micros(99_100));
//! assert_eq!((bill.requests(), bill.billed_ms()), (1, 100));
//! let prices = Prices::builtin("us-east-1")?;
//! assert_eq!(prices.lambda(&bill, Arch::X86).to_string(), "$0.000001866670");
//! # Ok::<_, reports::PricesError>(())
//! ```

use std::fmt;
use std::iter::Sum;
use std::ops::Add;
use std::time::Duration;

use serde::Serialize;

/// What invocations of one function used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bill {
    memory_mb: u32,
    requests: u64,
    billed_ms: u64,
}

impl Bill {
    /// Nothing used yet, by a function with this much memory.
    #[must_use]
    pub const fn new(memory_mb: u32) -> Self {
        Self { memory_mb, requests: 0, billed_ms: 0 }
    }

    /// This many invocations, of this billed time together.
    #[must_use]
    pub const fn of(memory_mb: u32, requests: u64, billed_ms: u64) -> Self {
        Self { memory_mb, requests, billed_ms }
    }

    /// Adds one invocation that took `span`, its initialisation included.
    pub fn add(&mut self, span: Duration) {
        let ms = span.as_nanos().div_ceil(1_000_000);
        self.add_ms(u64::try_from(ms).unwrap_or(u64::MAX));
    }

    /// Adds one invocation of this many milliseconds, which were rounded up before.
    pub const fn add_ms(&mut self, billed_ms: u64) {
        self.requests += 1;
        self.billed_ms = self.billed_ms.saturating_add(billed_ms);
    }

    /// Adds an initialisation of this many milliseconds that no invocation waited for.
    pub const fn add_init_ms(&mut self, billed_ms: u64) {
        self.billed_ms = self.billed_ms.saturating_add(billed_ms);
    }

    /// Memory of the function, in MB.
    #[must_use]
    pub const fn memory_mb(&self) -> u32 {
        self.memory_mb
    }

    /// Invocations, which are Lambda's requests.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// Billed time over all invocations, in milliseconds.
    #[must_use]
    pub const fn billed_ms(&self) -> u64 {
        self.billed_ms
    }

    /// Memory times time, in thousandths of a GB-second, rounded down.
    #[must_use]
    pub fn gb_milliseconds(&self) -> u64 {
        u64::try_from(self.mb_ms() / 1_024).unwrap_or(u64::MAX)
    }

    /// Memory times time, in MB and milliseconds.
    #[must_use]
    pub fn mb_ms(&self) -> u128 {
        u128::from(self.memory_mb) * u128::from(self.billed_ms)
    }
}

/// Money, in millionths of a millionth of a dollar; at most 18 million dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Dollars(u64);

impl Dollars {
    /// This many picodollars.
    #[must_use]
    pub const fn from_picodollars(picodollars: u64) -> Self {
        Self(picodollars)
    }

    /// In picodollars.
    #[must_use]
    pub const fn picodollars(self) -> u64 {
        self.0
    }
}

impl Add for Dollars {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Dollars {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), Add::add)
    }
}

/// All twelve digits, or as many as the formatter's precision asks for, rounded to the nearest.
impl fmt::Display for Dollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(12).min(12);
        let unit = 10_u128.pow(u32::try_from(12 - digits).unwrap_or(0));
        let rounded = (u128::from(self.0) + unit / 2) / unit;
        let one = 1_000_000_000_000 / unit;
        let (whole, part) = (rounded / one, rounded % one);
        if digits == 0 { write!(f, "${whole}") } else { write!(f, "${whole}.{part:0digits$}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arch, Prices};

    fn bill(memory_mb: u32, requests: u64, ms: u64) -> Bill {
        let mut bill = Bill::new(memory_mb);
        (0..requests).for_each(|_| bill.add_ms(ms));
        bill
    }

    fn price(bill: &Bill, arch: Arch) -> Dollars {
        Prices::builtin("us-east-1").unwrap().lambda(bill, arch)
    }

    #[test]
    fn million_requests_of_a_tenth_of_a_second_cost_what_the_price_list_says() {
        // 1,000,000 x 0.1 s x 1 GB = 100,000 GB-s x $0.0000166667 = $1.66667, and $0.20.
        let bill = Bill { memory_mb: 1_024, requests: 1_000_000, billed_ms: 100_000_000 };
        assert_eq!(price(&bill, Arch::X86).to_string(), "$1.866670000000");
        assert_eq!(price(&bill, Arch::Arm).to_string(), "$1.533340000000");
        assert_eq!(bill.gb_milliseconds(), 100_000_000);
    }

    #[test]
    fn smallest_function_for_the_shortest_time_is_not_free() {
        // 128 MB x 1 ms = 1/8000 GB-s x 16,666,700 = 2083.3 picodollars, up.
        let bill = bill(128, 1, 1);
        assert_eq!(price(&bill, Arch::X86).picodollars(), 2_084 + 200_000);
    }

    #[test]
    fn every_invocation_is_rounded_up_to_a_millisecond() {
        let mut bill = Bill::new(1_024);
        for span in [Duration::ZERO, Duration::from_nanos(1), Duration::from_micros(1_001)] {
            bill.add(span);
        }
        assert_eq!((bill.requests(), bill.billed_ms()), (3, 3));
    }

    #[test]
    fn instance_for_a_minute_beats_a_hundred_environments_for_a_cold_start_each() {
        let (one, many) = (bill(1_024, 1, 60_000), bill(1_024, 100, 3_050));
        assert!(price(&one, Arch::X86) < price(&many, Arch::X86));
    }

    #[test]
    fn money_is_printed_to_the_digit_asked_for() {
        let dollars = Dollars::from_picodollars(1_234_567_890_123);
        assert_eq!(format!("{dollars:.4}"), "$1.2346");
        assert_eq!(format!("{dollars:.0}"), "$1");
        assert_eq!(format!("{:.2}", Dollars::from_picodollars(999_999_999_999)), "$1.00");
    }

    #[test]
    fn sums_do_not_overflow() {
        let most = Bill { memory_mb: u32::MAX, requests: u64::MAX, billed_ms: u64::MAX };
        assert_eq!(price(&most, Arch::X86).picodollars(), u64::MAX);
        let all = [price(&most, Arch::X86), Dollars::from_picodollars(1)];
        let all: Dollars = all.into_iter().sum();
        assert_eq!(all.picodollars(), u64::MAX);
    }
}
