//! Azure's trace of 2019: how often each function was invoked in each minute of a day, and how its
//! times were spread.
//!
//! Each file of invocations is a day, in the order in which they are named. All functions of it
//! together are the traffic, or one by its hash. The percentiles of a function's times are joined
//! by straight lines; a function without any takes what the plan says.

use super::lines::{Wrong, fields, shortened};
use super::moment;
use super::recorded::{Book, DAY, Functions, MINUTE};
use crate::spread::{Spread, float};

pub(super) const SHAPE: &str = "a line has HashOwner, HashApp, HashFunction, Trigger and 1,440 \
     counts, one for each minute of a day, which are separated by commas";

pub(super) const DURATIONS_SHAPE: &str = "a line has as many columns as the header, which are \
     separated by commas: HashFunction is one of them, and so are percentile_Average_0, _1, _25, \
     _50, _75, _99 and _100, in milliseconds";

/// Takes one line of a day's invocations.
pub(super) fn line(
    book: &mut Book<'_>,
    functions: &Functions,
    only: Option<&str>,
    day: u64,
    line: &[u8],
) -> Result<(), Wrong> {
    let mut fields = fields(line, b',');
    let function = fields.nth(2).ok_or("it has fewer than 3 columns")?;
    if function == b"HashFunction" || only.is_some_and(|only| only.as_bytes() != function) {
        return Ok(());
    }
    let counts = fields.skip(1);
    if counts.clone().count() != 1_440 {
        return Err("it has not 1,444 columns".into());
    }
    if counts.clone().any(|count| moment::whole(count).is_none_or(|count| count > COUNT_MAX)) {
        return Err("a count is no whole number below 2^32".into());
    }
    let number = functions.number(function);
    for (minute, count) in (0..).zip(counts) {
        let count = moment::whole(count).unwrap_or_default();
        // Of the many zeros, those at the ends say how long a day is.
        if count == 0 && !matches!(minute, 0 | 1_439) {
            continue;
        }
        book.count(day * DAY + minute * MINUTE, count, number)?;
    }
    Ok(())
}

/// Where the function and the percentiles of its times are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    function: usize,
    percentiles: [usize; 7],
}

/// Takes one line of the times; the first says what the others hold.
pub(super) fn durations_line(
    functions: &mut Functions,
    columns: &mut Option<Columns>,
    line: &[u8],
) -> Result<(), Wrong> {
    let Some(Columns { function, percentiles }) = *columns else {
        *columns = Some(header(line)?);
        return Ok(());
    };
    let function = fields(line, b',').nth(function).ok_or("it has no HashFunction")?;
    let mut knots = Vec::with_capacity(percentiles.len());
    for (column, share) in percentiles.into_iter().zip(SHARES) {
        let field = fields(line, b',').nth(column).map(<[u8]>::trim_ascii);
        let time = field.and_then(moment::millis).ok_or("a percentile is no number")?;
        knots.push((share, float(time)));
    }
    functions.add(function, Spread::percentiles(knots));
    Ok(())
}

fn header(line: &[u8]) -> Result<Columns, Wrong> {
    let column = |name: &str| {
        let found = fields(line, b',').position(|field| field == name.as_bytes());
        found.ok_or_else(|| {
            let line = shortened(line);
            Wrong::File(format!("the first line is `{line}`; it must name the column {name}"))
        })
    };
    let mut percentiles = [0; 7];
    for (index, share) in percentiles.iter_mut().zip(SHARES) {
        *index = column(&format!("percentile_Average_{}", share * 100.0))?;
    }
    Ok(Columns { function: column("HashFunction")?, percentiles })
}

const SHARES: [f64; 7] = [0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0];
const COUNT_MAX: u64 = 0xffff_ffff;
