//! From the text of a setting to its value, by [`Kind`].

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::table::Kind;

/// A value that has passed its kind's check.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Address(SocketAddr),
    /// The chosen word, as the table spells it.
    Choice(&'static str),
    Flag(bool),
    /// Bytes, or a plain count.
    Number(u64),
    Off,
    /// Millionths of a millionth of a dollar.
    Picodollars(u64),
    Ratio(f64),
    Span(Duration),
    Text(String),
}

/// Reads `text` as `kind`. A port without a host means the host of `default`, and no text is a
/// value of its own where there is one.
///
/// # Errors
///
/// What is allowed, in words, if `text` is not.
pub(super) fn parse(kind: Kind, text: &str, default: &str) -> Result<Value, String> {
    let text = text.trim();
    let value = match kind {
        Kind::Address { off: true } if is_off(text) => Some(Value::Off),
        Kind::Address { .. } => address(text, default).map(Value::Address),
        Kind::Bytes { min, max } => {
            byte_count(text).filter(|n| (min..=max).contains(n)).map(Value::Number)
        }
        Kind::Choice(words) => {
            words.iter().copied().find(|word| folded(word) == folded(text)).map(Value::Choice)
        }
        Kind::Dollars { max } => {
            let range = 1..=u64::from(max) * PICODOLLARS;
            picodollars(text).filter(|n| range.contains(n)).map(Value::Picodollars)
        }
        Kind::Flag => flag(text).map(Value::Flag),
        Kind::Number { min, max } => {
            text.parse().ok().filter(|n| (min..=max).contains(n)).map(Value::Number)
        }
        Kind::Ratio => text.parse().ok().filter(|it| (0.0..=1.0).contains(it)).map(Value::Ratio),
        Kind::Span { min, max } => span(text).filter(|s| (min..=max).contains(s)).map(Value::Span),
        Kind::Text if text.is_empty() && !default.is_empty() => None,
        Kind::Text => Some(Value::Text(text.to_owned())),
        Kind::Url(_) if text.contains('@') => {
            return Err(format!(
                "{}, without user and password: what a collector of traces wants to see goes into \
                 OTEL_EXPORTER_OTLP_HEADERS",
                allowed(kind)
            ));
        }
        Kind::Url(_) => is_url(text).then(|| Value::Text(text.to_owned())),
    };
    value.ok_or_else(|| allowed(kind))
}

/// A text as it may be shown where it is wrong: a URL's user and password are not.
pub(super) fn shown(kind: Kind, text: &str) -> String {
    match (kind, text.rsplit_once('@')) {
        (Kind::Url(_), Some((before, rest))) => {
            let scheme = before.split_inclusive("://").next().filter(|it| it.ends_with("://"));
            format!("{}…@{rest}", scheme.unwrap_or_default())
        }
        _ => text.to_owned(),
    }
}

/// Lower case, without `_` and `-`: how names are compared.
pub(super) fn folded(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-' | '.')).map(|c| c.to_ascii_lowercase()).collect()
}

/// A time the way a person writes it: `250ms`, `90s`, `2m`.
pub(crate) struct Shown(pub(crate) Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        match millis {
            m if m % 1_000 != 0 => write!(f, "{m}ms"),
            m if m % 3_600_000 == 0 && m > 0 => write!(f, "{}h", m / 3_600_000),
            m if m % 60_000 == 0 && m > 0 => write!(f, "{}m", m / 60_000),
            m => write!(f, "{}s", m / 1_000),
        }
    }
}

pub(super) fn allowed(kind: Kind) -> String {
    match kind {
        Kind::Address { off } => format!(
            "HOST:PORT such as 0.0.0.0:5001 or [::]:5001, or a port{}",
            if off { ", or off" } else { "" }
        ),
        Kind::Bytes { min, max } => format!("{min} to {max} bytes, such as 65536 or 64KiB"),
        Kind::Choice(words) => words.join(" | "),
        Kind::Dollars { max } => {
            format!("an amount of dollars above 0 and up to {max}, such as 0.25")
        }
        Kind::Flag => "true or false".to_owned(),
        Kind::Number { min, max } => format!("a whole number from {min} to {max}"),
        Kind::Ratio => "a number from 0 to 1, such as 0.05".to_owned(),
        Kind::Span { min, max } => format!(
            "a time from {} to {} with its unit, such as 250ms, 30s or 2m",
            Shown(min),
            Shown(max)
        ),
        Kind::Text => "any text".to_owned(),
        Kind::Url(example) => format!("a URL such as {example}"),
    }
}

fn is_off(text: &str) -> bool {
    text.eq_ignore_ascii_case("off")
}

fn is_url(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|url| {
        let authority = url.authority().map_or("", http::uri::Authority::as_str);
        let host = url.host().unwrap_or_default();
        // A port that is none counts as absent there.
        let port = url.port().map_or(0, |port| port.as_str().len() + 1);
        matches!(url.scheme_str(), Some("http" | "https"))
            && !host.is_empty()
            && authority.len() == host.len() + port
            && url.port_u16() != Some(0)
    })
}

fn address(text: &str, default: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let port: u16 = text.strip_prefix(':').unwrap_or(text).parse().ok()?;
    let host: IpAddr = default.parse::<SocketAddr>().ok()?.ip();
    Some(SocketAddr::new(host, port))
}

fn byte_count(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Reads a span such as `250ms`, `30s`, `2m` or `1h`.
///
/// # Errors
///
/// It is none; the message says what one looks like.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    span(text).ok_or_else(|| format!("`{text}` is no time span; write 250ms, 30s, 2m or 1h"))
}

fn span(text: &str) -> Option<Duration> {
    if text.contains(':') {
        return time_span(text);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let millis: u64 = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(millis).map(Duration::from_millis)
}

/// .NET's `[days.]hours:minutes[:seconds[.fraction]]`, which the original's settings are in.
fn time_span(text: &str) -> Option<Duration> {
    let mut parts = text.split(':');
    let (first, minutes) = (parts.next()?, parts.next()?);
    let seconds = parts.next().unwrap_or("0");
    if parts.next().is_some() {
        return None;
    }
    let (days, hours) = first.split_once('.').unwrap_or(("0", first));
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let below = |text: &str, end: u64| digits(text).filter(|n| *n < end);
    let of_day = below(hours, 24)? * 3_600 + below(minutes, 60)? * 60 + below(seconds, 60)?;
    let whole = digits(days)?.checked_mul(86_400)?.checked_add(of_day)?;
    if fraction.len() > 7 {
        return None;
    }
    let nanos = digits(&format!("{fraction:0<9}"))?;
    Some(Duration::from_secs(whole) + Duration::from_nanos(nanos))
}

/// `12.5` as 12,500,000,000,000 picodollars.
fn picodollars(text: &str) -> Option<u64> {
    const PLACES: usize = 12;
    let text = text.strip_prefix('$').unwrap_or(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.len() > PLACES {
        return None;
    }
    let fraction = digits(&format!("{fraction:0<PLACES$}"))?;
    digits(whole)?.checked_mul(PICODOLLARS)?.checked_add(fraction)
}

/// In a dollar.
const PICODOLLARS: u64 = 1_000_000_000_000;

/// Digits only: no sign, which `str::parse` would take.
fn digits(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY_SPAN: Kind = Kind::Span { min: Duration::ZERO, max: Duration::from_secs(86_400) };
    const ANY_BYTES: Kind = Kind::Bytes { min: 0, max: u64::MAX };

    #[test]
    fn values_are_written_the_way_people_write_them() {
        let ms = |n| Value::Span(Duration::from_millis(n));
        let at = |s: &str| Value::Address(s.parse().unwrap());
        let cases: &[(Kind, &str, Value)] = &[
            (ANY_SPAN, "250ms", ms(250)),
            (ANY_SPAN, "30s", ms(30_000)),
            (ANY_SPAN, "2m", ms(120_000)),
            (ANY_SPAN, "1h", ms(3_600_000)),
            (ANY_SPAN, " 5 s ", ms(5_000)),
            (ANY_SPAN, "00:02:00", ms(120_000)),
            (ANY_SPAN, "0.00:00:01.5", ms(1_500)),
            (ANY_SPAN, "01:30", ms(5_400_000)),
            (ANY_BYTES, "65536", Value::Number(65_536)),
            (ANY_BYTES, "64KiB", Value::Number(65_536)),
            (ANY_BYTES, "1 g", Value::Number(1 << 30)),
            (ANY_BYTES, "1TiB", Value::Number(1 << 40)),
            (Kind::Flag, "True", Value::Flag(true)),
            (Kind::Flag, "0", Value::Flag(false)),
            (
                Kind::Choice(&["least_outstanding"]),
                "LeastOutstanding",
                Value::Choice("least_outstanding"),
            ),
            (Kind::Dollars { max: 13 }, "12.50", Value::Picodollars(12_500_000_000_000)),
            (Kind::Dollars { max: 1 }, "1", Value::Picodollars(PICODOLLARS)),
            (Kind::Dollars { max: 1 }, "0.0000166667", Value::Picodollars(16_666_700)),
            (Kind::Ratio, "0.05", Value::Ratio(0.05)),
            (Kind::Address { off: false }, "8080", at("0.0.0.0:8080")),
            (Kind::Address { off: false }, ":8080", at("0.0.0.0:8080")),
            (Kind::Address { off: false }, "[::1]:80", at("[::1]:80")),
            (Kind::Address { off: true }, "Off", Value::Off),
        ];
        for (kind, text, expected) in cases {
            assert_eq!(parse(*kind, text, "0.0.0.0:1").as_ref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_could_be_misread_is_refused() {
        let cases: &[(Kind, &str)] = &[
            (ANY_SPAN, "30"),
            (ANY_SPAN, "-1s"),
            (ANY_SPAN, "1.5s"),
            (ANY_SPAN, "00:61:00"),
            (ANY_SPAN, "1:2:3:4"),
            (ANY_SPAN, ""),
            (ANY_SPAN, "s"),
            (ANY_SPAN, "99999999999999999999s"),
            (ANY_SPAN, "213503982334601.07:00:30"),
            (ANY_BYTES, "64KB"),
            (ANY_BYTES, "18446744073709551615g"),
            (Kind::Number { min: 1, max: 10 }, "11"),
            (Kind::Number { min: 1, max: 10 }, "ten"),
            (Kind::Flag, "maybe"),
            (Kind::Dollars { max: 10 }, "0"),
            (Kind::Dollars { max: 10 }, "-3"),
            (Kind::Dollars { max: 10_000 }, "1e3"),
            (Kind::Dollars { max: 10 }, "10.000000000001"),
            (Kind::Ratio, "1.1"),
            (Kind::Ratio, "NaN"),
            (Kind::Address { off: false }, "off"),
            (Kind::Address { off: false }, "localhost:80"),
            (Kind::Address { off: false }, "70000"),
        ];
        for (kind, text) in cases {
            assert!(parse(*kind, text, "0.0.0.0:1").is_err(), "{text}");
        }
    }
}
