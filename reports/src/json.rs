//! A report for programs: JSON, as `SCHEMA.md` describes it.
//!
//! All times are seconds, as numbers; money is dollars, as strings with all twelve digits, because
//! a number would lose some; shares are from 0 to 1. A number that is not finite is `null`.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::money::Dollars;
use crate::report::Report;

/// Which shape the JSON has. Fields may be added under the same name, but none changes or goes.
pub const SCHEMA: &str = "lambda-dispatch-report/1";

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    #[serde(flatten)]
    report: &'a Report,
}

/// All of `report`, indented, with a newline at the end.
#[must_use]
pub fn write(report: &Report) -> String {
    let document = Document { schema: SCHEMA, report };
    let mut text = serde_json::to_string_pretty(&document).expect("plain data becomes JSON");
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
