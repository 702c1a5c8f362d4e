//! Numbers as people read them: three digits that count, a unit always, thousands apart.
//!
//! What is printed depends on nothing but the number: no locale, and no logarithm whose last bit
//! could differ between machines.

use std::fmt;

use crate::money::Dollars;
use crate::report::{Estimate, Kind};

/// What stands where a number is not one.
const NONE: &str = "–";

/// A time of so many seconds: `450 µs`, `45.2 ms`, `1.23 s`, `2 min 5 s`, `3 h 20 min`.
#[must_use]
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return NONE.to_owned();
    }
    let rounded = round(seconds);
    let (size, sign) = (rounded.abs(), if rounded < 0.0 { "-" } else { "" });
    if size == 0.0 {
        return "0 s".to_owned();
    }
    for (below, unit, name) in
        [(1e-6, 1e-9, "ns"), (1e-3, 1e-6, "µs"), (1.0, 1e-3, "ms"), (120.0, 1.0, "s")]
    {
        // A thousand of one unit is one of the next, and 999.6 of it was rounded to that before.
        if size < below * (1.0 - 1e-12) {
            return format!("{} {name}", number(rounded / unit));
        }
    }
    for (below, unit, name, part, part_name) in [
        (7_200.0, 60.0, "min", 1.0, "s"),
        (172_800.0, 3_600.0, "h", 60.0, "min"),
        (f64::INFINITY, 86_400.0, "d", 3_600.0, "h"),
    ] {
        let parts = (seconds.abs() / part).round();
        if parts * part < below {
            let whole = (parts * part / unit).floor();
            let rest = parts - whole * unit / part;
            let rest = if rest > 0.0 { format!(" {rest} {part_name}") } else { String::new() };
            return format!("{sign}{} {name}{rest}", number(whole));
        }
    }
    NONE.to_owned()
}

/// A share from 0 to 1: `0.42 %`, `< 0.001 %`, `99.98 %`. Only what is all is printed as all.
#[must_use]
pub(crate) fn share(share: f64) -> String {
    if !share.is_finite() {
        return NONE.to_owned();
    }
    let percent = share * 100.0;
    if percent == 0.0 {
        "0 %".to_owned()
    } else if percent > 0.0 && percent < 0.001 {
        "< 0.001 %".to_owned()
    } else if percent > 99.999 && percent < 100.0 {
        "> 99.999 %".to_owned()
    } else if percent > 99.0 && percent < 100.0 {
        // The digits that count are those of what is missing.
        let missing = round2(100.0 - percent);
        format!("{} %", plain(100.0 - missing, decimals(missing, 2)))
    } else {
        format!("{} %", plain(round2(percent), decimals(percent, 2)))
    }
}

/// Money: `$1,234.56`, `$0.0042`; cents where they count, more digits where cents are too coarse.
#[must_use]
pub(crate) fn money(dollars: Dollars) -> String {
    let pico = dollars.picodollars();
    let shown = if pico == 0 {
        return "$0".to_owned();
    } else if pico >= 10_000 * 1_000_000_000_000 {
        format!("{dollars:.0}")
    } else if pico >= 99_500_000_000 {
        format!("{dollars:.2}")
    } else {
        // Two digits that count.
        let first = 12 - usize::try_from(pico.ilog10()).unwrap_or(0);
        format!("{dollars:.*}", (first + 1).min(12))
    };
    apart(&shown)
}

/// Events a second: `250/s`, `12/min`, `3.4/h`.
#[must_use]
pub(crate) fn rate(per_second: f64) -> String {
    if per_second == 0.0 || per_second >= 0.995 || !per_second.is_finite() {
        format!("{}/s", number(per_second))
    } else if per_second * 60.0 >= 0.995 {
        format!("{}/min", number(per_second * 60.0))
    } else {
        format!("{}/h", number(per_second * 3_600.0))
    }
}

/// A whole number, thousands apart: `1,234,567`.
#[must_use]
pub(crate) fn count(count: u64) -> String {
    apart(&count.to_string())
}

/// A bare number with three digits that count: `0.0123`, `4.5`, `12,300`.
#[must_use]
pub(crate) fn number(number: f64) -> String {
    if !number.is_finite() {
        return NONE.to_owned();
    }
    let rounded = if number.abs() < 1_000.0 { round(number) } else { number };
    plain(rounded, decimals(rounded, 3))
}

/// What an estimate is, and by how much it may be off where several seeds say so.
#[must_use]
pub(crate) fn estimate(estimate: Estimate, words: fn(f64) -> String) -> (String, Option<String>) {
    let half = (estimate.high - estimate.low) / 2.0;
    let off = (half > 0.0).then(|| format!("± {}", words(round2(half))));
    (words(estimate.mean), off)
}

/// What a way to serve is called.
#[must_use]
pub(crate) const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Dispatch => "lambda-dispatch",
        Kind::Lambda => "plain Lambda",
        Kind::LambdaReuse => "plain Lambda, reuse",
        Kind::Provisioned => "provisioned concurrency",
        Kind::Managed => "Managed Instances",
        Kind::Containers => "containers",
    }
}

/// What a way to serve is called by programs.
#[must_use]
pub(crate) const fn kind_id(kind: Kind) -> &'static str {
    match kind {
        Kind::Dispatch => "dispatch",
        Kind::Lambda => "lambda",
        Kind::LambdaReuse => "lambda-reuse",
        Kind::Provisioned => "provisioned",
        Kind::Managed => "managed",
        Kind::Containers => "containers",
    }
}

/// What a way to serve is, in a sentence for those who have not met it.
#[must_use]
pub(crate) const fn kind_told(kind: Kind) -> &'static str {
    match kind {
        Kind::Dispatch => {
            "A router queues requests; Lambda instances dial back and serve several at once."
        }
        Kind::Lambda => {
            "One request per environment; a request that starts one waits for it, whatever else \
             falls free."
        }
        Kind::LambdaReuse => {
            "One request per environment; a request that waits may take one that falls free first."
        }
        Kind::Provisioned => "Plain Lambda with environments that are paid for and kept warm.",
        Kind::Managed => "Lambda on EC2 machines of your account, several requests each.",
        Kind::Containers => "A fleet of containers behind a load balancer.",
    }
}

/// To three digits that count.
fn round(number: f64) -> f64 {
    format!("{number:.2e}").parse().unwrap_or(number)
}

/// To two digits that count.
fn round2(number: f64) -> f64 {
    format!("{number:.1e}").parse().unwrap_or(number)
}

/// Digits after the point that show `digits` digits that count.
fn decimals(number: f64, digits: i32) -> usize {
    if number == 0.0 {
        return 0;
    }
    let precision = usize::try_from(digits - 1).unwrap_or(0);
    let scientific = format!("{:.precision$e}", number.abs());
    let exponent = scientific.split('e').nth(1).and_then(|text| text.parse::<i32>().ok());
    usize::try_from(digits - 1 - exponent.unwrap_or(0)).unwrap_or(0)
}

/// With so many digits after the point, less the zeros that say nothing, and thousands apart.
fn plain(number: f64, decimals: usize) -> String {
    let text = format!("{number:.decimals$}");
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    apart(if text == "-0" { "0" } else { text })
}

/// Commas between the thousands before the point.
fn apart(text: &str) -> String {
    let start = text.find(|c: char| c.is_ascii_digit()).unwrap_or(0);
    let end = text.find('.').unwrap_or(text.len());
    let mut out = text[..start].to_owned();
    for (index, digit) in text[start..end].chars().enumerate() {
        if index > 0 && (end - start - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out.push_str(&text[end..]);
    out
}

/// Some of one thing: `1 request`, `1,200 requests`.
pub(crate) struct Several<'a>(pub(crate) u64, pub(crate) &'a str);

impl fmt::Display for Several<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", count(self.0), self.1, if self.0 == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_the_unit_that_suits_them() {
        let told = [
            (0.0, "0 s"),
            (12e-9, "12 ns"),
            (4.5e-4, "450 µs"),
            (0.045_21, "45.2 ms"),
            (0.999_6, "1 s"),
            (0.000_999_7, "1 ms"),
            (1.234_5, "1.23 s"),
            (60.0, "60 s"),
            (119.6, "2 min"),
            (125.4, "2 min 5 s"),
            (3_600.0, "60 min"),
            (7_199.7, "2 h"),
            (12_000.0, "3 h 20 min"),
            (86_400.0, "24 h"),
            (864_000.0, "10 d"),
            (-0.02, "-20 ms"),
            (f64::NAN, "–"),
        ];
        for (seconds, words) in told {
            assert_eq!(duration(seconds), words, "{seconds}");
        }
    }

    #[test]
    fn shares_are_neither_none_nor_all_unless_they_are() {
        let told = [
            (0.0, "0 %"),
            (0.000_001, "< 0.001 %"),
            (0.004_2, "0.42 %"),
            (0.061, "6.1 %"),
            (0.5, "50 %"),
            (0.999_8, "99.98 %"),
            (0.999_999_9, "> 99.999 %"),
            (1.0, "100 %"),
        ];
        for (of, words) in told {
            assert_eq!(share(of), words, "{of}");
        }
    }

    #[test]
    fn money_has_cents_where_they_count_and_more_digits_below() {
        let told = [
            (0, "$0"),
            (1, "$0.000000000001"),
            (4_200_000_000, "$0.0042"),
            (99_900_000_000, "$0.10"),
            (12_345_000_000_000, "$12.35"),
            (1_234_560_000_000_000, "$1,234.56"),
            (1_234_567_890_000_000_000, "$1,234,568"),
        ];
        for (pico, words) in told {
            assert_eq!(money(Dollars::from_picodollars(pico)), words, "{pico}");
        }
    }

    #[test]
    fn rates_take_the_unit_in_which_they_are_more_than_one() {
        let told = [(250.0, "250/s"), (0.2, "12/min"), (0.001, "3.6/h"), (0.0, "0/s")];
        for (per_second, words) in told {
            assert_eq!(rate(per_second), words);
        }
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!((number(12_345.6), number(0.012_34)), ("12,346".into(), "0.0123".into()));
        assert_eq!(Several(1, "request").to_string(), "1 request");
        assert_eq!(Several(1_200, "request").to_string(), "1,200 requests");
    }

    #[test]
    fn interval_is_shown_where_several_seeds_made_one() {
        let one = Estimate { mean: 0.045, low: 0.045, high: 0.045 };
        let many = Estimate { mean: 0.045, low: 0.043, high: 0.047 };
        assert_eq!(estimate(one, duration), ("45 ms".into(), None));
        assert_eq!(estimate(many, duration), ("45 ms".into(), Some("± 2 ms".into())));
    }
}
