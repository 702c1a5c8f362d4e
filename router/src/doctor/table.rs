//! The faults that there can be between a router and its functions, one a row. Pure: what is judged
//! is what was found out.
//!
//! A row is about the router's machine, its way to AWS, or one function. What it says names the
//! values that it found and what to do. The page `docs/src/doctor.md` is made of the table.

mod function;
mod reach;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use io_tokio::net::unbracketed;

use crate::aws::AwsError;
use crate::callback::CallbackHost;
use crate::settings::{Aws, PoolPlan, Settings, warnings};

use super::facts::{Access, Configuration, Said};

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
    let mut found = found(|row| match row.test {
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
    found(|row| match row.test {
        Test::Access(test) => test(access),
        Test::Answer(_) | Test::Configuration(_) | Test::Router(_) => None,
    })
}

/// What is wrong with a function, or between it and the router.
#[must_use]
pub fn of_function(case: Case<'_>) -> Vec<Finding> {
    found(|row| match row.test {
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

/// Every fault, in the order of the documentation.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    reach::ROWS.iter().chain(function::ROWS)
}

fn found(test: impl Fn(&Row) -> Option<Told>) -> Vec<Finding> {
    let mut found: Vec<_> = rows()
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

#[expect(clippy::unnecessary_wraps, reason = "rows end with it")]
fn told(what: String, remedy: &str) -> Option<Told> {
    Some((what, remedy.to_owned()))
}

/// What a setting of the pool is called.
fn setting(case: Case<'_>, key: &str) -> String {
    match case.pool.name.as_str() {
        "default" => format!("pool.{key}"),
        name => format!("pools.{name}.{key}"),
    }
}

/// The address that instances are to dial; nothing where it is a name, or where Lambda is an
/// emulator on this machine.
fn callback(case: Case<'_>) -> Option<(&str, IpAddr)> {
    let host = case.router.callback.as_ref().ok()?.host.as_str();
    let ip: IpAddr = host.parse().ok()?;
    (!is_emulated(&case.pool.aws)).then_some((host, ip.to_canonical()))
}

fn is_emulated(aws: &Aws) -> bool {
    let url = aws.endpoint.as_ref().and_then(|endpoint| endpoint.parse::<http::Uri>().ok());
    let host = url.as_ref().and_then(http::Uri::host).unwrap_or_default();
    let ip = unbracketed(host).parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}
