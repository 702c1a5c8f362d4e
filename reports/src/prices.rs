//! What AWS charges: data, in `reports/prices/REGION.toml`, each price with where it comes from.
//!
//! A file is checked when it is read: every price that a report may need is there, each has its
//! source, each is an exact decimal. Another region, or a contract's own prices, is another file of
//! the same form ([`Prices::read`]).
//!
//! All arithmetic is in integers: an amount of something small (MB·ms, ns) times picodollars for
//! something large (GB·s, hours), divided once, rounded up.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::money::{Bill, Dollars};

/// Which processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arch {
    /// Graviton, AWS's own.
    Arm,
    /// Intel's and AMD's.
    #[default]
    X86,
}

/// What AWS charges in one region on one date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prices {
    region: String,
    date: String,
    sources: Vec<String>,
    /// Of each item: above which amount of a month it costs what. The first is from 0 on.
    rates: BTreeMap<String, Vec<Tier>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tier {
    above: u64,
    price: Dollars,
}

/// Why a file of prices cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PricesError {
    /// In another currency.
    #[error("prices in {0} cannot be used: reports are in USD")]
    Currency(String),
    /// Not a number that is kept exactly.
    #[error(
        "price {text:?} of {item} must be a decimal such as \"0.0000166667\", below a million, \
         with at most 12 digits after the point"
    )]
    Decimal {
        /// Of what.
        item: String,
        /// What was there.
        text: String,
    },
    /// Not TOML, or of another form.
    #[error("cannot read the prices: {0}")]
    Form(String),
    /// A price that is needed is not there.
    #[error("{region} has no price for {item}: add a [[price]] with that item to its file")]
    Missing {
        /// Which.
        item: String,
        /// Where.
        region: String,
    },
    /// A price without a source.
    #[error("the price of {0} has no source: say where it comes from")]
    NoSource(String),
    /// No such file is built in.
    #[error(
        "prices of {region:?} are not built in (there are {known}): copy \
         reports/prices/us-east-1.toml, give it that region's prices, and say --prices FILE"
    )]
    Region {
        /// What was asked for.
        region: String,
        /// What there is.
        known: String,
    },
    /// The lines of one item are not in order.
    #[error(
        "{item} above {above} is out of order: the first line of an item has no `above`, each of \
         the others a larger one than the line before"
    )]
    Tiers {
        /// Whose.
        item: String,
        /// Of the line that is wrong.
        above: u64,
    },
    /// A price for something that no report knows.
    #[error("{0} is no item: known are {known} and ec2-hour-TYPE", known = ITEMS.join(", "))]
    Unknown(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    region: String,
    date: String,
    currency: String,
    price: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    item: String,
    #[serde(default)]
    above: u64,
    dollars: String,
    source: String,
}

impl Prices {
    /// The prices of a region that come with the program.
    ///
    /// # Errors
    /// There are none for it.
    pub fn builtin(region: &str) -> Result<Self, PricesError> {
        let found = BUILTIN.iter().find(|(name, _)| *name == region);
        let (_, text) = found.ok_or_else(|| PricesError::Region {
            region: region.to_owned(),
            known: BUILTIN.map(|(name, _)| name).join(", "),
        })?;
        Self::read(text)
    }

    /// The prices that a file in TOML says.
    ///
    /// # Errors
    /// It is not of that form, a price is missing, or one is there that nobody needs.
    pub fn read(text: &str) -> Result<Self, PricesError> {
        let file: File = toml::from_str(text).map_err(|it| PricesError::Form(it.to_string()))?;
        if file.currency != "USD" {
            return Err(PricesError::Currency(file.currency));
        }
        let mut rates: BTreeMap<String, Vec<Tier>> = BTreeMap::new();
        let mut sources = Vec::new();
        for Line { item, above, dollars, source } in file.price {
            if !ITEMS.contains(&item.as_str()) && !item.starts_with(EC2) {
                return Err(PricesError::Unknown(item));
            }
            if source.trim().is_empty() {
                return Err(PricesError::NoSource(item));
            }
            let Some(price) = decimal(&dollars) else {
                return Err(PricesError::Decimal { item, text: dollars });
            };
            let tiers = rates.entry(item.clone()).or_default();
            if tiers.last().map_or(above > 0, |last| last.above >= above) {
                return Err(PricesError::Tiers { item, above });
            }
            tiers.push(Tier { above, price });
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        if let Some(item) = ITEMS.iter().find(|item| !rates.contains_key(**item)) {
            return Err(PricesError::Missing { item: (*item).to_owned(), region: file.region });
        }
        Ok(Self { region: file.region, date: file.date, sources, rates })
    }

    /// Which region, and as of which date.
    #[must_use]
    pub fn about(&self) -> String {
        format!("{}, as of {}", self.region, self.date)
    }

    /// Where they come from, each source once.
    #[must_use]
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// Invocations on demand: their time and their requests.
    #[must_use]
    pub fn lambda(&self, bill: &Bill, arch: Arch) -> Dollars {
        self.lambda_time(bill.mb_ms(), arch) + self.lambda_requests(bill.requests())
    }

    /// Memory times time of invocations on demand, in MB·ms.
    #[must_use]
    pub fn lambda_time(&self, mb_ms: u128, arch: Arch) -> Dollars {
        self.of(arch.of("lambda-gb-second-x86", "lambda-gb-second-arm"), mb_ms, GB_SECOND)
    }

    /// Requests to Lambda, of whatever kind.
    #[must_use]
    pub fn lambda_requests(&self, requests: u64) -> Dollars {
        self.of("lambda-million-requests", requests.into(), 1_000_000)
    }

    /// Memory times time of provisioned concurrency that is kept, in MB·ms.
    #[must_use]
    pub fn provisioned_held(&self, mb_ms: u128, arch: Arch) -> Dollars {
        let item = arch.of("provisioned-held-gb-second-x86", "provisioned-held-gb-second-arm");
        self.of(item, mb_ms, GB_SECOND)
    }

    /// Memory times time of invocations on provisioned concurrency, in MB·ms.
    #[must_use]
    pub fn provisioned_used(&self, mb_ms: u128, arch: Arch) -> Dollars {
        let item = arch.of("provisioned-used-gb-second-x86", "provisioned-used-gb-second-arm");
        self.of(item, mb_ms, GB_SECOND)
    }

    /// A snapshot's memory times the time for which it is kept, in MB·ms, and the memory of all
    /// environments restored from it, in MB.
    #[must_use]
    pub fn snapstart(&self, cached_mb_ms: u128, restored_mb: u64) -> Dollars {
        self.of("snapstart-cache-gb-second", cached_mb_ms, GB_SECOND)
            + self.of("snapstart-restore-gb", restored_mb.into(), MB_PER_GB)
    }

    /// Instances of EC2 for this long in sum.
    ///
    /// # Errors
    /// There is no price for this type.
    pub fn ec2(&self, instance_type: &str, time: Duration) -> Result<Dollars, PricesError> {
        let item = format!("{EC2}{instance_type}");
        if !self.rates.contains_key(&item) {
            return Err(PricesError::Missing { item, region: self.region.clone() });
        }
        Ok(self.of(&item, time.as_nanos(), HOUR))
    }

    /// What Lambda adds to so much of EC2 for managing it.
    #[must_use]
    pub fn managed_fee(&self, ec2: Dollars) -> Dollars {
        self.of("managed-fee-per-ec2-dollar", ec2.picodollars().into(), DOLLAR)
    }

    /// Tasks on Fargate of this size (1,024 CPU units are one vCPU) for this long in sum.
    #[must_use]
    pub fn fargate(&self, arch: Arch, cpu_units: u32, memory_mb: u32, time: Duration) -> Dollars {
        let vcpu = arch.of("fargate-vcpu-hour-x86", "fargate-vcpu-hour-arm");
        let gb = arch.of("fargate-gb-hour-x86", "fargate-gb-hour-arm");
        self.of(vcpu, time.as_nanos() * u128::from(cpu_units), HOUR * CPU_UNITS)
            + self.of(gb, time.as_nanos() * u128::from(memory_mb), HOUR * MB_PER_GB)
    }

    /// A load balancer for this long, and so much time of its capacity units: two for a minute are
    /// two minutes.
    #[must_use]
    pub fn alb(&self, time: Duration, lcu_time: Duration) -> Dollars {
        self.of("alb-hour", time.as_nanos(), HOUR)
            + self.of("alb-lcu-hour", lcu_time.as_nanos(), HOUR)
    }

    /// A month's `amount` of `item`, of which `per` are what the price is for.
    fn of(&self, item: &str, amount: u128, per: u128) -> Dollars {
        let tiers = self.rates.get(item).map_or(&[][..], Vec::as_slice);
        let (mut left, mut pico) = (amount, 0_u128);
        for tier in tiers.iter().rev() {
            let part = left.saturating_sub(u128::from(tier.above) * per);
            left -= part;
            pico = pico.saturating_add(part.saturating_mul(tier.price.picodollars().into()));
        }
        Dollars::from_picodollars(u64::try_from(pico.div_ceil(per)).unwrap_or(u64::MAX))
    }
}

impl Arch {
    const fn of<T: Copy>(self, x86: T, arm: T) -> T {
        match self {
            Self::Arm => arm,
            Self::X86 => x86,
        }
    }
}

/// Exactly what `text` says; none if it is no plain decimal or has too many digits.
fn decimal(text: &str) -> Option<Dollars> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 12 {
        return None;
    }
    let whole: u64 = whole.parse().ok().filter(|whole| *whole < 1_000_000)?;
    let part: u64 = format!("{part:0<12}").parse().ok()?;
    Some(Dollars::from_picodollars(whole * 1_000_000_000_000 + part))
}

const BUILTIN: [(&str, &str); 1] = [("us-east-1", include_str!("../prices/us-east-1.toml"))];

/// What every file has a price for. Types of EC2 instances come on top.
const ITEMS: [&str; 16] = [
    "alb-hour",
    "alb-lcu-hour",
    "fargate-gb-hour-arm",
    "fargate-gb-hour-x86",
    "fargate-vcpu-hour-arm",
    "fargate-vcpu-hour-x86",
    "lambda-gb-second-arm",
    "lambda-gb-second-x86",
    "lambda-million-requests",
    "managed-fee-per-ec2-dollar",
    "provisioned-held-gb-second-arm",
    "provisioned-held-gb-second-x86",
    "provisioned-used-gb-second-arm",
    "provisioned-used-gb-second-x86",
    "snapstart-cache-gb-second",
    "snapstart-restore-gb",
];
const EC2: &str = "ec2-hour-";

const MB_PER_GB: u128 = 1_024;
/// In MB·ms.
const GB_SECOND: u128 = MB_PER_GB * 1_000;
/// In nanoseconds.
const HOUR: u128 = 3_600_000_000_000;
/// Of one vCPU.
const CPU_UNITS: u128 = 1_024;
/// In picodollars.
const DOLLAR: u128 = 1_000_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = BUILTIN[0].1;

    fn prices() -> Prices {
        Prices::builtin("us-east-1").unwrap()
    }

    #[test]
    fn every_price_that_is_missing_is_named() {
        for item in ITEMS {
            let line = format!("item = \"{item}\"");
            let others = TEXT.split("[[price]]\n").filter(|price| !price.contains(&line));
            let error = Prices::read(&others.collect::<Vec<_>>().join("[[price]]\n")).unwrap_err();
            let region = "us-east-1".to_owned();
            assert_eq!(error, PricesError::Missing { item: item.to_owned(), region });
        }
    }

    #[test]
    fn file_that_is_wrong_is_refused_in_words() {
        let cases = [
            ("\"USD\"", "\"EUR\"", "prices in EUR"),
            ("\"alb-hour\"", "\"alb-minute\"", "alb-minute is no item: known are alb-hour"),
            ("\"0.0225\"", "\"0,0225\"", "price \"0,0225\" of alb-hour must be a decimal"),
            ("\"0.0225\"", "\"0.0000000000001\"", "at most 12 digits"),
            ("\"0.0225\"", "0.0225", "expected a string"),
            ("above = 15_000_000_000", "above = 5", "lambda-gb-second-x86 above 5 is out of"),
            ("\"aws.amazon.com/lambda/pricing\"", "\"\"", "lambda-million-requests has no source"),
        ];
        for (old, new, says) in cases {
            let error = Prices::read(&TEXT.replacen(old, new, 1)).unwrap_err().to_string();
            assert!(error.contains(says), "{old} -> {new}: {error}");
        }
        let error = Prices::builtin("mars-1").unwrap_err().to_string();
        assert!(error.contains("there are us-east-1"), "{error}");
        assert!(error.contains("--prices FILE"), "{error}");
        let error = prices().ec2("x1.huge", Duration::ZERO).unwrap_err().to_string();
        assert!(error.contains("no price for ec2-hour-x1.huge"), "{error}");
    }

    #[test]
    fn large_amounts_are_cheaper_above_each_tier_and_not_below() {
        let cost = |million_gb_s: u128| {
            let mb_ms = million_gb_s * 1_000_000 * GB_SECOND;
            prices().lambda_time(mb_ms, Arch::X86).to_string()
        };
        assert_eq!(cost(6_000), "$100000.200000000000");
        assert_eq!(cost(6_001), "$100015.200000000000");
        // 6 G at 16.6667, 9 G at 15, 1 G at 13.3334 dollars a million.
        assert_eq!(cost(16_000), "$248333.600000000000");
    }

    #[test]
    fn hours_and_sizes_are_those_of_the_price_list() {
        let hour = Duration::from_secs(3_600);
        let task = prices().fargate(Arch::Arm, 1_024, 2_048, hour);
        assert_eq!(task.to_string(), "$0.039500000000");
        let small = prices().fargate(Arch::X86, 256, 512, hour);
        assert_eq!(small.to_string(), "$0.012342500000");
        assert_eq!(prices().alb(hour, hour * 2).to_string(), "$0.038500000000");
        let ec2 = prices().ec2("m7g.xlarge", hour * 10).unwrap();
        assert_eq!(ec2.to_string(), "$1.632000000000");
        assert_eq!(prices().managed_fee(ec2).to_string(), "$0.244800000000");
        let snap = prices().snapstart(GB_SECOND * 1_000, 2_048);
        assert_eq!(snap.to_string(), "$0.001784199600");
    }
}
