//! Spans of time as people write them in plans: `50ms`, `1.5s`, `2m`. Exact to the nanosecond in
//! both directions, so that a plan that was written down is the plan that ran.

use std::time::Duration;

use dispatch_model::time::nanos;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

const UNITS: [(&str, u64); 6] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a span.
///
/// # Errors
///
/// What is wrong with `text`, and what is allowed.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no span of time; write a number and ns, us, ms, s, m or h");
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (_, size) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let scale = u32::try_from(part.len()).ok().and_then(|length| 10_u64.checked_pow(length));
    let part: u64 = part.parse().map_err(|_| wrong())?;
    let part = u128::from(part) * u128::from(size) / u128::from(scale.ok_or_else(wrong)?);
    let all = u128::from(whole) * u128::from(size) + part;
    u64::try_from(all).map(Duration::from_nanos).map_err(|_| wrong())
}

/// Writes a span in the largest unit that shows it whole.
#[must_use]
pub fn write(span: Duration) -> String {
    let all = nanos(span);
    let fits = |(_, size): &&(&str, u64)| all.is_multiple_of(*size);
    let (name, size) = UNITS[..4].iter().rev().find(fits).unwrap_or(&UNITS[0]);
    format!("{}{name}", all / size)
}

#[expect(missing_docs, reason = "serde's names")]
pub fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&write(*span))
}

#[expect(missing_docs, reason = "serde's names")]
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// The same for a span that may be missing.
#[expect(missing_docs, reason = "serde's names")]
pub mod maybe {
    use super::*;

    pub fn serialize<S: Serializer>(
        span: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => super::serialize(span, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        super::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        for nanos in [0, 1, 999, 1_000, 50_000_000, 1_500_000_000, 86_400_000_000_001] {
            let span = Duration::from_nanos(nanos);
            assert_eq!(parse(&write(span)), Ok(span));
        }
        assert_eq!(parse("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(parse("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(write(Duration::from_millis(1_500)), "1500ms");
    }

    #[test]
    fn nonsense_is_refused_with_what_is_allowed() {
        for text in ["", "5", "s", "-1s", "1 s", "1.s", ".5s", "1e3s", "99999999999999999999h"] {
            let error = parse(text).expect_err(text);
            assert!(error.contains("ns, us, ms"), "{error}");
        }
    }
}
