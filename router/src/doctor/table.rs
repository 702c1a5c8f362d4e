//! The faults that there can be between a router and its functions, one a row. Pure: what is judged
//! is what was found out.
//!
//! A row is about the router's machine, its way to AWS, or one function. What it says names the
//! values that it found and what to do. The page `docs/src/doctor.md` is made of the table.

mod rows;
#[cfg(test)]
mod tests;

use crate::aws::AwsError;
use crate::callback::CallbackHost;
use crate::settings::{PoolPlan, Settings, warnings};

use super::facts::{Access, Configuration, Said};

pub(super) use rows::ROWS;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It will not work.
    Breaks,
    /// It works, and somebody will wonder.
    Odd,
    /// It could not be looked at, or not from here.
    Unknown,
}

impl Severity {
    /// One word, as it is printed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Breaks => "breaks",
            Self::Odd => "odd",
            Self::Unknown => "unknown",
        }
    }
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which row it is.
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, with its values.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// The router's own side.
#[derive(Clone, Copy, Debug)]
pub struct Router<'a> {
    /// What the operator wants.
    pub settings: &'a Settings,
    /// Where instances are to dial, or why that is not known here.
    pub callback: &'a Result<CallbackHost, String>,
}

/// A function, as one pool uses it.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The router.
    pub router: Router<'a>,
    /// The pool.
    pub pool: &'a PoolPlan,
    /// What Lambda says of its function.
    pub said: &'a Said,
}

/// What is wrong on the router's own side.
#[must_use]
pub fn of_router(router: Router<'_>) -> Vec<Finding> {
    let mut found = found(ROWS, |row| match row.test {
        Test::Router(test) => test(router),
        Test::Access(_) | Test::Answer(_) | Test::Configuration(_) => None,
    });
    found.extend(warnings(router.settings).into_iter().map(|what| Finding {
        name: "settings",
        severity: Severity::Odd,
        what,
        remedy: "see `lambda-dispatch config check`".to_owned(),
    }));
    found
}

/// What is wrong with the way to AWS.
#[must_use]
pub fn of_access(access: &Result<Access, AwsError>) -> Vec<Finding> {
    found(ROWS, |row| match row.test {
        Test::Access(test) => test(access),
        Test::Answer(_) | Test::Configuration(_) | Test::Router(_) => None,
    })
}

/// What is wrong with a function, or between it and the router.
#[must_use]
pub fn of_function(case: Case<'_>) -> Vec<Finding> {
    found(ROWS, |row| match row.test {
        Test::Answer(test) => test(case),
        Test::Configuration(test) => case
            .said
            .configuration
            .as_ref()
            .ok()
            .and_then(|configuration| test(case, configuration)),
        Test::Access(_) | Test::Router(_) => None,
    })
}

fn found(rows: &[Row], test: impl Fn(&Row) -> Option<Told>) -> Vec<Finding> {
    let mut found: Vec<_> = rows
        .iter()
        .filter_map(|row| {
            let (what, remedy) = test(row)?;
            Some(Finding { name: row.name, severity: row.severity, what, remedy })
        })
        .collect();
    found.sort_by_key(|finding| finding.severity);
    found
}

/// What was found, and what to do about it.
type Told = (String, String);

/// One fault.
#[derive(Debug)]
pub(super) struct Row {
    /// Its name, for scripts.
    pub(super) name: &'static str,
    /// How bad it is.
    pub(super) severity: Severity,
    /// When it is found, for the documentation.
    pub(super) when: &'static str,
    test: Test,
}

/// Looks at what a fault is about.
#[derive(Debug)]
enum Test {
    Access(fn(&Result<Access, AwsError>) -> Option<Told>),
    Answer(fn(Case<'_>) -> Option<Told>),
    Configuration(fn(Case<'_>, &Configuration) -> Option<Told>),
    Router(fn(Router<'_>) -> Option<Told>),
}

const fn access(
    name: &'static str,
    severity: Severity,
    when: &'static str,
    test: fn(&Result<Access, AwsError>) -> Option<Told>,
) -> Row {
    Row { name, severity, when, test: Test::Access(test) }
}

const fn answer(
    name: &'static str,
    severity: Severity,
    when: &'static str,
    test: fn(Case<'_>) -> Option<Told>,
) -> Row {
    Row { name, severity, when, test: Test::Answer(test) }
}

const fn configured(
    name: &'static str,
    severity: Severity,
    when: &'static str,
    test: fn(Case<'_>, &Configuration) -> Option<Told>,
) -> Row {
    Row { name, severity, when, test: Test::Configuration(test) }
}
