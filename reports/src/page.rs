//! A report as one HTML file: no network, no fonts, nothing beside it.
//!
//! Read from above: the answer in a sentence, what else follows, the traffic, the alternatives side
//! by side, then pictures, bills, and where the numbers come from. It is complete without its
//! script, which only shows numbers where the pointer is. The content security policy allows that
//! script and the style sheet by their hashes, and nothing from anywhere.

mod chart;
mod gantt;
mod nines;
mod scatter;
mod series;
mod tables;
mod timeline;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::report::Report;

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/point.js");

/// SHA-256 of the style sheet and of the script, as browsers compare it.
const STYLE_HASH: &str = "sha256-2Gnkk4Xv1l4TT3sS9Q38CT4Tynam+f5lwawkTSH+A7U=";
const SCRIPT_HASH: &str = "sha256-jfOgEtiLHa/si+73pAiLoRxJowXMsHSyf29tuL44PHA=";

/// The whole page. Equal reports are equal bytes.
#[must_use]
pub fn write(report: &Report) -> String {
    let policy = format!(
        "default-src 'none'; style-src '{STYLE_HASH}'; script-src '{SCRIPT_HASH}'; \
         base-uri 'none'; form-action 'none'"
    );
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (report.title) " – capacity report" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (patterns())
                header { (answer(report)) }
                main { (sections(report)) }
                footer { p { "Made by lambda-dispatch report. All numbers are simulated." } }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    let mut text = page.into_string();
    text.push('\n');
    text
}

fn answer(report: &Report) -> Markup {
    html! {
        p.kind { "Capacity report" }
        h1 { (report.title) }
        p.verdict { (report.verdict) }
        @if !report.findings.is_empty() {
            ul.findings { @for finding in &report.findings { li { (finding) } } }
        }
    }
}

fn sections(report: &Report) -> Markup {
    html! {
        (tables::alternatives(report))
        (tables::traffic(&report.traffic))
        (nines::section(report))
        (scatter::section(report))
        (timeline::section(report))
        (gantt::section(report))
        (tables::sensitivity(report))
        (tables::bills(report))
        (tables::theory(report))
        (tables::method(&report.method))
    }
}

/// Hatched fills, for what must not be told by its colour alone.
fn patterns() -> Markup {
    html! {
        svg.patterns width="0" height="0" aria-hidden="true" {
            @for what in ["starting", "danger"] {
                pattern id=(format!("{what}-fill")) width="5" height="5"
                    patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    path class=(format!("{what}-ground")) d="M0 0H5V5H0Z" {}
                    path class=(format!("{what}-hatch")) d="M0 0V5" {}
                }
            }
        }
    }
}
