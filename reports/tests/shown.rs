//! A report as people and programs see it: the page, the summary, JSON and CSV of one that is as
//! rich as a real one.

mod shown {
    pub(crate) mod fixture;
}

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use reports::report::Report;
use reports::{csv, json, page, summary};
use shown::fixture;

/// What a user could name things, with the worst intent.
const HOSTILE: &str = "</title></style></script><script>alert('1')</script>\"&\t\u{1b}[31m";

fn hostile() -> Report {
    let mut report = fixture::report();
    report.title = HOSTILE.to_owned();
    report.verdict = HOSTILE.to_owned();
    report.findings = vec![HOSTILE.to_owned()];
    report.traffic.about = HOSTILE.to_owned();
    report.method.command = HOSTILE.to_owned();
    report.method.assumptions = vec![HOSTILE.to_owned()];
    for measured in &mut report.alternatives {
        measured.name = HOSTILE.to_owned();
        measured.settings = vec![(HOSTILE.to_owned(), HOSTILE.to_owned())];
        measured.costs.iter_mut().for_each(|cost| cost.what = HOSTILE.to_owned());
    }
    report.tried.iter_mut().for_each(|tried| tried.name = HOSTILE.to_owned());
    report.sensitivity.iter_mut().for_each(|changed| changed.what = HOSTILE.to_owned());
    report
}

/// A report of which there is as little as can be.
fn bare() -> Report {
    let mut report = fixture::report();
    report.findings.clear();
    report.sensitivity.clear();
    report.tried.clear();
    report.alternatives.truncate(1);
    for measured in &mut report.alternatives {
        measured.nines.clear();
        measured.timeline = reports::report::Timeline::default();
        measured.gantt.clear();
        measured.costs.clear();
        measured.theory = None;
    }
    report
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let from = text.find(start).expect("it starts") + start.len();
    &text[from..from + text[from..].find(end).expect("it ends")]
}

#[test]
fn page_is_small_and_names_nothing_outside_of_it() {
    let page = page::write(&fixture::report());
    let len = page.len();
    for outside in ["http:", "https:", "src=", "@import", "<link", "url(\"", "style=\""] {
        assert!(!page.contains(outside), "{outside}");
    }
    // For tests/page-in-browser, which needs more than cargo brings.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::write(folder.join("page.html"), page).expect("the folder for tests can be written");
    let bare = page::write(&bare());
    fs::write(folder.join("page-bare.html"), bare).expect("the folder for tests can be written");
    let hostile = page::write(&hostile());
    fs::write(folder.join("page-hostile.html"), hostile).expect("the folder can be written");
    assert!(len < 200_000, "{len} bytes");
}

#[test]
fn page_of_many_alternatives_and_settings_is_still_small() {
    let mut report = fixture::report();
    for copy in 0..7 {
        let mut measured = report.alternatives[1].clone();
        measured.name = format!("plain Lambda, {copy}");
        report.alternatives.push(measured);
    }
    let beaten = report.tried.iter().find(|tried| !tried.is_best_for_its_price).cloned();
    report.tried.extend(std::iter::repeat_n(beaten.expect("one is beaten"), 5_000));
    for measured in &mut report.alternatives {
        measured.gantt = std::iter::repeat_n(measured.gantt.clone(), 20).flatten().collect();
    }
    let page = page::write(&report);
    assert!(page.len() < 600_000, "{} bytes", page.len());
}

#[test]
fn equal_reports_are_equal_bytes() {
    let write: [fn(&Report) -> String; 6] =
        [page::write, summary::write, json::write, csv::alternatives, csv::timeline, csv::tried];
    for write in write {
        assert_eq!(write(&fixture::report()), write(&fixture::report()));
    }
}

#[test]
fn page_allows_its_own_style_and_script_and_nothing_else() {
    let page = page::write(&fixture::report());
    let policy = between(&page, "Content-Security-Policy\" content=\"", "\"");
    for (what, tag) in [("style-src", "style"), ("script-src", "script")] {
        let text = between(&page, &format!("<{tag}>"), &format!("</{tag}>"));
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        let allowed = format!("{what} 'sha256-{}'", base64(digest.as_ref()));
        assert!(policy.contains(&allowed), "{policy} must have {allowed}");
    }
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(between(&page, "<script>", "</script>").len() < 3_000);
}

#[test]
fn words_can_be_read_on_every_ground_in_light_and_in_dark() {
    let page = page::write(&fixture::report());
    let light = between(&page, ":root {", "}");
    let dark = between(between(&page, "(prefers-color-scheme: dark)", "* {"), ":root {", "}");
    for theme in [light, dark] {
        let color = |name: &str| between(theme, &format!("--{name}: #"), ";");
        for ground in ["page", "raised", "best"] {
            for words in ["ink", "soft", "best-ink", "accent"] {
                let contrast = contrast(color(words), color(ground));
                assert!(contrast >= 4.5, "{words} on {ground}: {contrast} in {theme}");
            }
        }
        let kinds = ["dispatch", "lambda", "reuse", "provisioned", "managed", "containers"];
        for drawn in kinds.into_iter().chain(["arrivals", "queue", "ready", "draining", "danger"]) {
            let contrast = contrast(color(drawn), color("page"));
            assert!(contrast >= 3.0, "{drawn}: {contrast} in {theme}");
        }
    }
}

/// As WCAG 2 has it, of two colours of six digits.
fn contrast(one: &str, other: &str) -> f64 {
    let luminance = |color: &str| {
        let part = |at: usize| {
            let value = u8::from_str_radix(&color[at..at + 2], 16).expect("two digits");
            let value = f64::from(value) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(0) + 0.7152 * part(2) + 0.0722 * part(4)
    };
    let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
    one.max(other) / one.min(other)
}

#[test]
fn names_cannot_write_into_the_page() {
    let (page, plain) = (page::write(&hostile()), page::write(&fixture::report()));
    for tag in ["<script", "</script", "</style", "</title", "<svg", "<details"] {
        assert_eq!(page.matches(tag).count(), plain.matches(tag).count(), "{tag}");
    }
    assert!(page.contains("&lt;script&gt;alert"));
}

#[test]
fn names_cannot_move_the_terminals_cursor() {
    let summary = summary::write(&hostile());
    let is_plain = |c: char| c == '\n' || !c.is_control();
    assert!(summary.chars().all(is_plain), "{summary}");
}

#[test]
fn every_part_of_the_page_can_be_named_by_a_screen_reader() {
    let page = page::write(&fixture::report());
    for svg in page.split("<svg").skip(1) {
        let svg = &svg[..svg.find("</svg>").expect("it ends")];
        let told = svg.contains("<title") && svg.contains("<desc") && svg.contains("role=\"img\"");
        assert!(told || svg.contains("aria-hidden"), "{}", &svg[..200]);
    }
    for table in page.split("<table").skip(1) {
        assert!(table[..table.find("<tbody").expect("it has rows")].contains("<caption"));
    }
    for cell in page.split("<th ").skip(1) {
        assert!(cell[..cell.find('>').expect("it ends")].contains("scope="), "{}", &cell[..80]);
    }
    let ids: Vec<_> =
        page.split(" id=\"").skip(1).map(|rest| &rest[..rest.find('"').expect("ends")]).collect();
    let unique: BTreeSet<_> = ids.iter().collect();
    assert_eq!(ids.len(), unique.len(), "{ids:?}");
    for references in page.split("aria-labelledby=\"").skip(1) {
        for id in references[..references.find('"').expect("ends")].split(' ') {
            assert!(ids.contains(&id), "{id}");
        }
    }
}

#[test]
fn page_says_the_answer_before_anything_else() {
    let report = fixture::report();
    let page = page::write(&report);
    let at = |text: &str| page.find(text).expect("it is there");
    assert!(at(&report.verdict) < at("<table"));
    assert!(at("★ best") > at("<table"));
    for setting in report.alternatives.iter().flat_map(|m| &m.costs).map(|cost| &cost.what) {
        assert!(page.contains(setting.as_str()), "{setting}");
    }
}

#[test]
fn intervals_are_shown_for_several_seeds_only() {
    let mut report = fixture::report();
    assert!(page::write(&report).contains("± "));
    for measured in &mut report.alternatives {
        let exact = |e: reports::report::Estimate| reports::report::Estimate {
            low: e.mean,
            high: e.mean,
            ..e
        };
        let all = |q: reports::report::Quantiles| reports::report::Quantiles {
            p50: exact(q.p50),
            p90: exact(q.p90),
            p99: exact(q.p99),
            p999: exact(q.p999),
            max: exact(q.max),
        };
        (measured.wait, measured.total) = (all(measured.wait), all(measured.total));
        measured.cold = exact(measured.cold);
        measured.refused = exact(measured.refused);
        measured.throttled = exact(measured.throttled);
        measured.instances_mean = exact(measured.instances_mean);
        measured.instances_peak = exact(measured.instances_peak);
        measured.utilisation = exact(measured.utilisation);
    }
    report.method.seeds = 1;
    assert!(!page::write(&report).contains("± "));
}

#[test]
fn summary_fits_a_terminal_and_marks_the_best() {
    for report in [fixture::report(), hostile(), bare()] {
        let summary = summary::write(&report);
        for line in summary.lines() {
            assert!(line.chars().count() <= summary::COLUMNS, "{line}");
        }
        assert!(summary.contains("\n* "), "{summary}");
    }
    let summary = summary::write(&fixture::report());
    assert!(summary.contains("$518"), "{summary}");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shown/summary.txt");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&golden, &summary).expect("the source tree can be written");
    }
    let expected = fs::read_to_string(golden).expect("the summary is kept");
    assert_eq!(summary, expected, "UPDATE=1 cargo test -p reports rewrites it");
}

#[test]
fn json_says_which_schema_it_has_and_the_schema_names_every_field() {
    let text = json::write(&fixture::report());
    let value: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(value["schema"], json::SCHEMA);
    assert_eq!(value["traffic"]["cold_start"], 8.04);
    assert_eq!(value["alternatives"][0]["month"], "519.680000000000");
    let mut fields = BTreeSet::new();
    collect(&value, &mut fields);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("SCHEMA.md");
    let schema = fs::read_to_string(path).expect("the schema is there");
    let rows = schema.lines().filter(|line| line.starts_with("| `"));
    let named: BTreeSet<_> = rows.map(|row| between(row, "`", "`").to_owned()).collect();
    assert_eq!(named, fields);
}

/// Names of all fields, at any depth.
fn collect(value: &serde_json::Value, fields: &mut BTreeSet<String>) {
    if let Some(object) = value.as_object() {
        for (name, value) in object {
            fields.insert(name.clone());
            collect(value, fields);
        }
    }
    value.as_array().into_iter().flatten().for_each(|value| collect(value, fields));
}

#[test]
fn csv_has_as_many_cells_in_each_line_as_names() {
    let report = fixture::report();
    for text in [csv::alternatives(&report), csv::timeline(&report), csv::tried(&report)] {
        let rows = parsed(&text);
        assert!(rows.len() > 5);
        assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{:?}", rows[0]);
    }
    assert_eq!(parsed(&csv::timeline(&report)).len(), 1 + 5 * 7 * 240);
}

#[test]
fn csv_keeps_names_whole_whatever_is_in_them() {
    let mut report = fixture::report();
    let names = ["a, b", "say \"so\"", "two\nlines", "", "plain"];
    for (measured, name) in report.alternatives.iter_mut().zip(names) {
        measured.name = name.to_owned();
    }
    let rows = parsed(&csv::alternatives(&report));
    let read: Vec<_> = rows[1..].iter().map(|row| row[0].as_str()).collect();
    assert_eq!(read, names);
}

#[test]
fn numbers_in_csv_read_back_as_they_were() {
    let mut report = fixture::report();
    report.alternatives[0].total.p99.mean = 1.0 / 3.0;
    report.alternatives[0].wait.max.high = f64::INFINITY;
    let rows = parsed(&csv::alternatives(&report));
    let cell = |name: &str| {
        let at = rows[0].iter().position(|head| head == name).expect("the column is there");
        rows[1][at].clone()
    };
    assert_eq!(cell("total_p99_s").parse(), Ok(1.0 / 3.0));
    assert_eq!(cell("wait_max_s_high"), "");
}

/// RFC 4180, read by hand.
fn parsed(text: &str) -> Vec<Vec<String>> {
    let mut rows = vec![vec![String::new()]];
    let mut is_quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let row = rows.last_mut().expect("there is a row");
        let cell = row.last_mut().expect("there is a cell");
        match c {
            '"' if is_quoted && chars.peek() == Some(&'"') => {
                cell.push('"');
                chars.next();
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => row.push(String::new()),
            '\n' if !is_quoted => rows.push(vec![String::new()]),
            c => cell.push(c),
        }
    }
    rows.pop();
    rows
}

/// As RFC 4648 has it.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(*three.get(at).unwrap_or(&0)));
        for at in 0..4 {
            let six = bits >> (18 - 6 * at) & 63;
            let letter = char::from(LETTERS[six as usize]);
            out.push(if at <= three.len() { letter } else { '=' });
        }
    }
    out
}
