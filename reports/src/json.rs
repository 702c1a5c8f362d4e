//! A report for programs: JSON, as `SCHEMA.md` describes it.
//!
//! All times are seconds, as numbers; money is dollars, as strings with all twelve digits, because
//! a number would lose some; shares are from 0 to 1. A number that is not finite is `null`.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::money::Dollars;
use crate::report::Report;
use crate::solve::Solved;

/// Which shape the JSON has. Fields may be added under the same name, but none changes or goes.
pub const SCHEMA: &str = "lambda-dispatch-report/1";
/// The same of solved limits.
pub const SOLVED_SCHEMA: &str = "lambda-dispatch-solved/1";

#[derive(Serialize)]
struct Document<'a, T> {
    schema: &'static str,
    #[serde(flatten)]
    all: &'a T,
}

/// All of `report`, indented, with a newline at the end.
#[must_use]
pub fn write(report: &Report) -> String {
    document(&Document { schema: SCHEMA, all: report })
}

/// The same of what was found by [`solve`](crate::solve()).
#[must_use]
pub fn solved(solved: &Solved) -> String {
    document(&Document { schema: SOLVED_SCHEMA, all: solved })
}

fn document(document: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(document).expect("plain data becomes JSON");
    text.push('\n');
    text
}

/// As a number of seconds; exact to the nanosecond for the first hundred days.
pub(crate) fn seconds<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(span.as_secs_f64())
}

/// As a string of dollars with all twelve digits.
pub(crate) fn dollars<S: Serializer>(money: &Dollars, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&plain(*money))
}

/// `12.345000000000`: without a sign, for programs.
pub(crate) fn plain(money: Dollars) -> String {
    money.to_string().trim_start_matches('$').to_owned()
}
