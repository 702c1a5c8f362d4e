//! Moments of the wall clock as text, such as `2026-11-23T08:29:12.123Z` (RFC 3339).
//!
//! Written in the one form that the invoke payload's `SentTime` has always had; logs have the same.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `at` in UTC with milliseconds. Moments before 1970 are written as 1970.
#[must_use]
pub fn format(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, second) = (since.as_secs() / DAY_SECONDS, since.as_secs() % DAY_SECONDS);
    let (year, month, day) = date(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis(),
    )
}

/// The moment that `text` names, to the second; `None` if it is not RFC 3339 or before 1970.
#[must_use]
pub fn parse(text: &str) -> Option<SystemTime> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let clock = rest.get(..8)?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let days = days_until(year, month, day)?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rest = rest.get(8..)?;
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|digit: char| digit.is_ascii_digit());
            (zone.len() < fraction.len()).then_some(zone)?
        }
        None => rest,
    };
    let utc = days * DAY_SECONDS + hour * 3600 + minute * 60 + second;
    let seconds = match zone.as_bytes().first()? {
        b'Z' | b'z' if zone.len() == 1 => utc,
        b'+' => utc.checked_sub(offset(zone)?)?,
        b'-' => utc.checked_add(offset(zone)?)?,
        _ => return None,
    };
    // What an offset moves beyond the year 9999 could not be written again.
    let moment = (seconds < self::days(10_000, 1, 1) * DAY_SECONDS).then_some(seconds)?;
    UNIX_EPOCH.checked_add(Duration::from_secs(moment))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; `None` if there is no such day, or it
/// is before 1970 or after 9999.
#[must_use]
pub fn days_until(year: u64, month: u64, day: u64) -> Option<u64> {
    let may_be =
        (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    let days = may_be.then(|| days(year, month, day))?;
    (date(days) == (year, month, day)).then_some(days)
}

fn offset(zone: &str) -> Option<u64> {
    let [hours, minutes] = numbers(zone.get(1..)?, ':', [2, 2])?;
    (hours < 24 && minutes < 60).then_some(hours * 3600 + minutes * 60)
}

/// Exactly `N` numbers of the given lengths in digits, with `between` between them.
fn numbers<const N: usize>(text: &str, between: char, lengths: [usize; N]) -> Option<[u64; N]> {
    let mut values = [0; N];
    let mut parts = text.split(between);
    for (value, length) in values.iter_mut().zip(lengths) {
        let part = parts.next()?;
        if part.len() != length || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *value = part.parse().ok()?;
    }
    parts.next().is_none().then_some(values)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar (Hinnant, `days_from_civil`). Years are
/// counted from March, so that the leap day comes last.
const fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH_DAYS
}

/// The reverse of [`days`].
const fn date(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH_DAYS;
    let (era, of_era) = (days / ERA_DAYS, days % ERA_DAYS);
    let year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

const DAY_SECONDS: u64 = 86_400;
/// Days in 400 years.
const ERA_DAYS: u64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: u64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch_plus(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn known_moments_are_written_as_everybody_writes_them() {
        assert_eq!(format(UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            format(epoch_plus(951_782_400) + Duration::from_millis(7)),
            "2000-02-29T00:00:00.007Z"
        );
        assert_eq!(format(epoch_plus(1_795_422_528)), "2026-11-23T08:28:48.000Z");
    }

    #[test]
    fn every_day_of_two_centuries_survives_the_round_trip() {
        for day in 0..73_000 {
            let at = epoch_plus(day * DAY_SECONDS + 12_345);
            assert_eq!(parse(&format(at)), Some(at));
        }
    }

    #[test]
    fn offsets_and_fractions_are_understood() {
        let at = Some(epoch_plus(1_795_422_528));
        for text in [
            "2026-11-23T08:28:48Z",
            "2026-11-23T08:28:48.1234567+00:00",
            "2026-11-23T03:28:48.9-05:00",
            "2026-11-23 09:58:48+01:30",
        ] {
            assert_eq!(parse(text), at, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_moment_is_refused() {
        for text in [
            "",
            "now",
            "2026-11-23",
            "2026-11-23T08:28:48",
            "2026-13-23T08:28:48Z",
            "2026-11-23T24:28:48Z",
            "2026-11-23T08:28:48Zulu",
            "2026-11-23T08:28:48+1",
            "1969-12-31T23:59:59Z",
            "+026-11-23T08:28:48Z",
            "2026-11-23T08:28:4\u{e9}Z",
            "2026-02-29T08:28:48Z",
            "2026-11-31T08:28:48Z",
            "2026-11-23T08:28:48.Z",
            "9999-12-31T23:59:59-00:01",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
