//! How findings are shown: to people, to scripts, and as a page of the documentation.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::settings::Shown;

use super::facts::{Access, Answer, Configuration};
use super::table::{Finding, Severity, rows};
use super::{Examined, Way};

/// For people. With `colours`, the words that count have some.
pub(super) fn as_text(examined: &Examined, colours: bool) -> String {
    let mut text = String::new();
    match &examined.callback {
        Ok(host) => {
            let url = host.url(examined.scheme, examined.port);
            line(&mut text, &format!("Router: instances are to dial {url} ({})", host.source));
        }
        Err(_) => line(&mut text, "Router"),
    }
    findings(&mut text, &examined.router, colours);
    for way in &examined.ways {
        line(&mut text, "");
        match &way.access {
            Ok(access) => line(&mut text, &format!("AWS: {}", way_of(access))),
            Err(_) => line(&mut text, "AWS"),
        }
        findings(&mut text, &way.findings, colours);
    }
    for function in &examined.functions {
        line(&mut text, &format!("\nPool {}: function {}", function.pool, function.name));
        if let Ok(it) = &function.said.configuration {
            line(&mut text, &format!("  {}", summary(it, &function.said.reserved)));
        }
        findings(&mut text, &function.findings, colours);
    }
    line(&mut text, &format!("\n{}", verdict(examined)));
    line(
        &mut text,
        &format!(
            "Not looked at: security groups and routes on the way from the functions to port {}.",
            examined.port
        ),
    );
    text
}

/// For scripts.
pub(super) fn as_json(examined: &Examined) -> Value {
    let functions = examined.functions.iter().map(|function| {
        json!({
            "pool": function.pool,
            "function": function.name,
            "invocable": function.said.dry_run.is_ok(),
            "configuration": function.said.configuration.as_ref().ok().map(configuration),
            "reserved": function.said.reserved.as_ref().ok(),
            "account_unreserved": function.said.unreserved.as_ref().ok(),
            "findings": function.findings.iter().map(finding).collect::<Vec<_>>(),
        })
    });
    let ways = examined.ways.iter().map(|Way { access, findings }| {
        let access = access.as_ref().ok();
        json!({
            "region": access.map(|it| &it.region),
            "endpoint": access.and_then(|it| it.endpoint.as_ref()),
            "credentials": access.map(|it| it.source),
            "access_key": access.map(|it| &it.access_key),
            "findings": findings.iter().map(finding).collect::<Vec<_>>(),
        })
    });
    let callback = examined.callback.as_ref().ok();
    json!({
        "breaks": examined.count(Severity::Breaks),
        "odd": examined.count(Severity::Odd),
        "unknown": examined.count(Severity::Unknown),
        "router": {
            "callback": callback.map(|host| host.url(examined.scheme, examined.port)),
            "findings": examined.router.iter().map(finding).collect::<Vec<_>>(),
        },
        "aws": ways.collect::<Vec<_>>(),
        "pools": functions.collect::<Vec<_>>(),
    })
}

/// The table of `docs/src/doctor.md`.
#[must_use]
pub fn as_rows() -> String {
    let mut text = String::from("| name | | when |\n|---|---|---|\n");
    for row in rows() {
        line(&mut text, &format!("| `{}` | {} | {} |", row.name, row.severity.name(), row.when));
    }
    text
}

fn findings(text: &mut String, findings: &[Finding], colours: bool) {
    if findings.is_empty() {
        line(text, format!("  {}", painted("well", GREEN, colours)).trim_end());
    }
    for finding in findings {
        let colour = match finding.severity {
            Severity::Breaks => RED,
            Severity::Odd => YELLOW,
            Severity::Unknown => CYAN,
        };
        let severity = painted(finding.severity.name(), colour, colours);
        line(text, &format!("  {severity} {}: {}", finding.name, finding.what));
        line(text, &format!("    -> {}", finding.remedy));
    }
}

fn painted(word: &str, colour: &str, colours: bool) -> String {
    // Padded before it is painted: what paints has no width.
    let word = format!("{word:<7}");
    if colours { format!("\u{1b}[{colour}m{word}\u{1b}[0m") } else { word }
}

fn way_of(access: &Access) -> String {
    let api = access.endpoint.as_deref().unwrap_or("the region's own API");
    let Access { region, access_key, source, .. } = access;
    format!("region {region}, {api}, credentials {access_key} from {source}")
}

fn summary(it: &Configuration, reserved: &Answer<Option<u32>>) -> String {
    let reserved = match reserved {
        Ok(Some(reserved)) => format!(", {reserved} reserved"),
        Ok(None) => ", none reserved".to_owned(),
        Err(_) => String::new(),
    };
    format!(
        "{} of {}, {}, time-out {}, {} MB, {}, {}{reserved}",
        it.package,
        it.version,
        it.state.0,
        Shown(it.timeout),
        it.memory_mb,
        it.architecture,
        if it.in_vpc { "in a VPC" } else { "in no VPC" },
    )
}

fn verdict(examined: &Examined) -> String {
    let count = |severity| examined.count(severity);
    let (breaks, odd, unknown) =
        (count(Severity::Breaks), count(Severity::Odd), count(Severity::Unknown));
    if breaks + odd + unknown == 0 {
        return "All is well.".to_owned();
    }
    format!("{breaks} will break, {odd} odd, {unknown} could not be looked at.")
}

fn finding(it: &Finding) -> Value {
    json!({
        "name": it.name,
        "severity": it.severity.name(),
        "what": it.what,
        "remedy": it.remedy,
    })
}

fn configuration(it: &Configuration) -> Value {
    json!({
        "architecture": it.architecture,
        "in_vpc": it.in_vpc,
        "last_update": it.last_update.0,
        "memory_mb": it.memory_mb,
        "package": it.package,
        "runtime": it.runtime,
        "snap_start": it.snap_start,
        "has_snapshot": it.has_snapshot,
        "state": it.state.0,
        "timeout_s": it.timeout.as_secs(),
        "version": it.version,
    })
}

fn line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    if writeln!(text, "{line}").is_err() {
        text.push('\n');
    }
}

const RED: &str = "1;31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const CYAN: &str = "36";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_those_who_see_them() {
        let finding = Finding {
            name: "latest",
            severity: Severity::Odd,
            what: "a thing".to_owned(),
            remedy: "mend it".to_owned(),
        };
        let shown = |colours| {
            let mut text = String::new();
            findings(&mut text, std::slice::from_ref(&finding), colours);
            text
        };
        assert_eq!(shown(false), "  odd     latest: a thing\n    -> mend it\n");
        assert_eq!(shown(true), "  \u{1b}[33modd    \u{1b}[0m latest: a thing\n    -> mend it\n");
    }
}
