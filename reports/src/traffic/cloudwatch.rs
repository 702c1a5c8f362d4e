//! What CloudWatch exports: how many requests came in each minute, as a table from its console or
//! as JSON from `aws cloudwatch get-metric-data` or `get-metric-statistics`.
//!
//! Taken are the series in whose label RequestCount is a word, which are added up; else those with
//! Invocations, since the load balancer's requests are the function's invokes and would count
//! twice; or the only one there is. The report names them. CloudWatch writes nothing for a minute
//! without requests. How long a period is, the plan says, or a table's row `Period`, which must say
//! the same in each; else it is the longest that fits between all points.

use std::io::BufRead;

use serde::Deserialize;

use super::TrafficError;
use super::lines::{Bad, Fields, Wrong, fields};
use super::moment;
use super::recorded::{Book, UNKNOWN};
use crate::spread::whole;

pub(super) const SHAPE: &str = "below its header, a line begins with a moment and goes on with \
     one number for each series, which are separated by commas, such as \
     `2026/11/25 06:13:00,1412`";

/// Takes a file of JSON.
pub(super) fn json(
    book: &mut Book<'_>,
    bad: &mut Bad,
    file: &str,
    input: impl BufRead,
) -> Result<(), TrafficError> {
    let foreign = |what| TrafficError::Foreign { file: file.to_owned(), line: 1, what };
    let export: Export = serde_json::from_reader(input)
        .map_err(|error| foreign(format!("it is no export of CloudWatch: {error}")))?;
    let Export { results, points, label } = export;
    let mut points: Vec<_> =
        points.into_iter().map(|point| (point.timestamp, point.sum.unwrap_or(f64::NAN))).collect();
    let labels: Vec<_> = results.iter().map(|result| result.label.clone()).collect();
    if points.is_empty() {
        let wanted = wanted(book, &labels).map_err(foreign)?;
        for (result, _) in results.into_iter().zip(wanted).filter(|(_, wanted)| *wanted) {
            points.extend(result.timestamps.into_iter().zip(result.values));
        }
    } else {
        // It has one series.
        wanted(book, &[label]).map_err(foreign)?;
    }
    if points.iter().all(|(_, value)| value.is_nan()) {
        return Err(foreign("no point has a sum; export it with `--statistics Sum`".to_owned()));
    }
    for (number, (at, value)) in (1..).zip(points) {
        let at = match at {
            Stamp::Number(seconds) => Some(whole(seconds * 1e9)),
            Stamp::Text(text) => moment::iso(text.as_bytes()),
        };
        match point(book, at, value) {
            Ok(()) => {}
            Err(Wrong::File(what) | Wrong::Line(what)) => bad.add(file, number, &what),
            Err(Wrong::Place(source)) => return Err(TrafficError::Place { source }),
        }
    }
    Ok(())
}

/// What a table says of its columns, above the first moment.
#[derive(Debug, Default)]
pub(super) struct Head {
    file: String,
    /// What stands above each column, a line each.
    names: Vec<String>,
    /// In nanoseconds, as far as it says so.
    periods: Vec<Option<u64>>,
    /// Which columns are wanted, once all are known.
    columns: Option<Vec<bool>>,
}

impl Head {
    /// Nothing is known of the table in `file` yet.
    pub(super) fn of(file: &str) -> Self {
        Self { file: file.to_owned(), ..Self::default() }
    }

    /// Takes a line of it.
    fn line(&mut self, first: &[u8], fields: Fields<'_>) {
        if first == b"Period" {
            let seconds = fields.clone().map(|field| moment::seconds(field.trim_ascii()));
            self.periods = seconds.collect();
        }
        for (index, field) in fields.enumerate() {
            if index == self.names.len() {
                self.names.push(String::new());
            }
            self.names[index].push_str(&String::from_utf8_lossy(field));
            self.names[index].push('\n');
        }
    }

    /// The period of each wanted column that has one.
    fn periods(&self, columns: &[bool]) -> impl Iterator<Item = u64> {
        let wanted = self.periods.iter().zip(columns).filter(|(_, wanted)| **wanted);
        wanted.filter_map(|(period, _)| *period).filter(|period| *period > 0)
    }
}

/// Takes one line of a table, first those of its head.
pub(super) fn line(book: &mut Book<'_>, head: &mut Head, line: &[u8]) -> Result<(), Wrong> {
    let mut fields = fields(line, b',');
    let first = fields.next().unwrap_or_default().trim_ascii();
    let at = moment::iso(first);
    if at.is_none() && head.columns.is_none() {
        if line.contains(&0) || str::from_utf8(line).is_err() {
            return Err(Wrong::File("it is no text, and so no table of CloudWatch".to_owned()));
        }
        head.line(first, fields);
        return Ok(());
    }
    if head.columns.is_none() {
        let columns = wanted(book, &head.names).map_err(Wrong::File)?;
        for period in head.periods(&columns) {
            book.has_period(period, &head.file)?;
        }
        head.columns = Some(columns);
    }
    let columns = head.columns.iter().flatten();
    at.ok_or("it does not begin with a moment")?;
    for (field, _) in fields.zip(columns).filter(|(_, wanted)| **wanted) {
        let value = match field.trim_ascii() {
            b"" => 0.0,
            text => str::from_utf8(text).unwrap_or("?").parse().unwrap_or(f64::NAN),
        };
        point(book, at, value)?;
    }
    Ok(())
}

fn point(book: &mut Book<'_>, at: Option<u64>, value: f64) -> Result<(), Wrong> {
    let at = at.ok_or("its time is no moment")?;
    if !(value >= 0.0 && value.is_finite()) {
        return Err(Wrong::Line(format!("its value is {value}, must be a number of requests")));
    }
    book.count(at, whole(value), UNKNOWN)
}

/// Which series are about requests; `book` is told their names.
fn wanted(book: &mut Book<'_>, labels: &[String]) -> Result<Vec<bool>, String> {
    let wanted = about_requests(labels)?;
    for (label, _) in labels.iter().zip(&wanted).filter(|(_, wanted)| **wanted) {
        book.counts_series(name(label));
    }
    Ok(wanted)
}

/// Names of functions and of other metrics may have the words in them: `my-Invocations`,
/// `RequestCountPerTarget`.
fn about_requests(labels: &[String]) -> Result<Vec<bool>, String> {
    let is_between = |c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_'));
    for metric in ["RequestCount", "Invocations"] {
        let is_wanted = |label: &String| label.split(is_between).any(|word| word == metric);
        let wanted: Vec<_> = labels.iter().map(is_wanted).collect();
        if wanted.contains(&true) {
            return Ok(wanted);
        }
    }
    match labels {
        [_] => Ok(vec![true]),
        [] => Err("there is no series in it; export RequestCount of the load balancer, or \
                   Invocations of the function"
            .to_owned()),
        _ => Err(format!(
            "its series are {}; one must be named RequestCount or Invocations, or be the only one",
            labels.iter().map(|label| name(label)).collect::<Vec<_>>().join(", ")
        )),
    }
}

/// What a series is called: in a table the first of what stands above it.
fn name(label: &str) -> &str {
    let mut lines = label.lines().map(str::trim);
    lines.find(|line| !line.is_empty()).unwrap_or("a series without a name")
}

/// What `get-metric-data` prints, or `get-metric-statistics`.
#[derive(Deserialize)]
struct Export {
    #[serde(default, rename = "MetricDataResults")]
    results: Vec<Series>,
    #[serde(default, rename = "Datapoints")]
    points: Vec<Point>,
    /// Of the points.
    #[serde(default, rename = "Label")]
    label: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Series {
    #[serde(default)]
    label: String,
    timestamps: Vec<Stamp>,
    values: Vec<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Point {
    timestamp: Stamp,
    sum: Option<f64>,
}

/// A moment: the first version of the command-line tool printed seconds since 1970.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stamp {
    Number(f64),
    Text(String),
}
