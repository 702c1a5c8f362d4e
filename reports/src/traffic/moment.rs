//! Moments and spans as logs write them, read from bytes to the nanosecond.

use dispatch_model::time::nanos;
use io_tokio::rfc3339::days_until;
use sim::span;

/// Nanoseconds since 1970 of a moment in ISO 8601 or as CloudWatch writes it:
/// `2026-11-25T06:13:44.364000Z`, `2026/11/25 06:13`, with `+01:00`, `Z` or nothing, which is UTC.
pub(super) fn iso(text: &[u8]) -> Option<u64> {
    let (date, rest) = text.split_first_chunk::<10>()?;
    let [y0, y1, y2, y3, dash, m0, m1, slash, d0, d1] = *date;
    if !matches!((dash, slash), (b'-', b'-') | (b'/', b'/')) {
        return None;
    }
    let year = two([y0, y1])? * 100 + two([y2, y3])?;
    let days = days_until(year, two([m0, m1])?, two([d0, d1])?)?;
    let (clock, rest) = rest.split_first_chunk::<6>()?;
    let [b'T' | b' ', h0, h1, b':', i0, i1] = *clock else { return None };
    let (hour, minute) = (two([h0, h1])?, two([i0, i1])?);
    let (second, rest) = match *rest {
        [b':', s0, s1, ref rest @ ..] => (two([s0, s1])?, rest),
        _ => (0, rest),
    };
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (part, zone) = match rest.split_first() {
        Some((b'.', digits)) => {
            let end = digits.iter().position(|byte| !byte.is_ascii_digit());
            let (digits, zone) = digits.split_at(end.unwrap_or(digits.len()));
            (fraction(digits)?, zone)
        }
        Some(_) | None => (0, rest),
    };
    let local = days * DAY + hour * 3_600 + minute * 60 + second;
    let seconds = match *zone {
        [] | [b'Z'] => local,
        [sign, h0, h1, b':', m0, m1] | [sign, h0, h1, m0, m1] => {
            let (hours, minutes) = (two([h0, h1])?, two([m0, m1])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours * 3_600 + minutes * 60;
            match sign {
                b'+' => local.checked_sub(offset)?,
                b'-' => local + offset,
                _ => return None,
            }
        }
        _ => return None,
    };
    seconds.checked_mul(SECOND)?.checked_add(part)
}

/// Nanoseconds since 1970, or since the beginning, of a moment in ISO 8601, in seconds, or in
/// milliseconds since 1970: numbers from 10^11 on, which as seconds would be after the year 5000.
pub(super) fn any(text: &[u8]) -> Option<u64> {
    match decimal(text) {
        Some((number, _)) if number >= 100_000_000_000 => millis(text),
        Some(_) => seconds(text),
        None => iso(text),
    }
}

/// Nanoseconds of a decimal number of seconds: `0.048`, `12`.
pub(super) fn seconds(text: &[u8]) -> Option<u64> {
    let (seconds, part) = decimal(text)?;
    seconds.checked_mul(SECOND)?.checked_add(part)
}

/// Nanoseconds of a decimal number of milliseconds.
pub(super) fn millis(text: &[u8]) -> Option<u64> {
    let (millis, part) = decimal(text)?;
    millis.checked_mul(1_000_000)?.checked_add(part / 1_000)
}

/// Nanoseconds of a span as plans write it, or of a number of seconds.
pub(super) fn span(text: &[u8]) -> Option<u64> {
    seconds(text).or_else(|| span::parse(str::from_utf8(text).ok()?).ok().map(nanos))
}

pub(super) fn whole(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// A number and the billionths after its point.
fn decimal(text: &[u8]) -> Option<(u64, u64)> {
    match text.iter().position(|byte| *byte == b'.') {
        Some(point) => Some((whole(&text[..point])?, fraction(&text[point + 1..])?)),
        None => Some((whole(text)?, 0)),
    }
}

/// Billionths of the digits after a point; what is below them is dropped.
fn fraction(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nine = digits.iter().chain(std::iter::repeat(&b'0')).take(9);
    Some(nine.fold(0, |number, byte| number * 10 + u64::from(byte - b'0')))
}

fn two(digits: [u8; 2]) -> Option<u64> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    Some(digit(digits[0])? * 10 + digit(digits[1])?)
}

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_to_the_nanosecond() {
        for (text, nanos) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2018-07-02T22:22:48.364000Z", 1_530_570_168_364_000_000),
            ("2024-02-29 23:59:59.5", 1_709_251_199_500_000_000),
            ("2026/11/25 06:13", 1_795_587_180_000_000_000),
            ("2026-11-25T06:13:00+00:00", 1_795_587_180_000_000_000),
            ("2026-11-25T07:13:00+0100", 1_795_587_180_000_000_000),
            ("2026-11-25T01:13:00.000000001-05:00", 1_795_587_180_000_000_001),
        ] {
            assert_eq!(iso(text.as_bytes()), Some(nanos), "{text}");
            assert_eq!(any(text.as_bytes()), Some(nanos), "{text}");
        }
    }

    #[test]
    fn numbers_are_seconds_or_milliseconds_since_1970() {
        assert_eq!(any(b"0.25"), Some(250_000_000));
        assert_eq!(any(b"1795587180"), Some(1_795_587_180_000_000_000));
        assert_eq!(any(b"1795587180.5"), Some(1_795_587_180_500_000_000));
        assert_eq!(any(b"1795587180500"), Some(1_795_587_180_500_000_000));
        assert_eq!(any(b"1795587180500.25"), Some(1_795_587_180_500_250_000));
        assert_eq!(span(b"40ms"), span(b"0.040"));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "-1",
            "1.",
            ".5",
            "2026-13-01T00:00:00Z",
            "2026-02-31T00:00:00Z",
            "2025/02/29 00:00",
            "2026-04-31 00:00:00",
            "2026-01-00T00:00:00Z",
            "9999-01-01T00:00:00Z",
            "2026-01-02T00:00:00+99:99",
            "2026-01-02T00:00:00-24:00",
            "2026-01-02T00:00:00+0060",
            "2026-01-01",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00 CET",
            "1969-12-31T00:00:00Z",
            "1970-01-01T00:00:00+01:00",
            "99999999999999999999",
            "2026-01/01T00:00:00Z",
        ] {
            assert_eq!(any(text.as_bytes()), None, "{text}");
        }
    }
}
