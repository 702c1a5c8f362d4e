//! Style as a test, over every source file of the workspace: what a compiler does not see and a
//! reviewer should not have to.

use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 800;
const COLUMNS_MAX: usize = 100;

/// One source file.
struct Source {
    /// Its path from the root of the workspace, with `/`.
    name: String,
    text: String,
}

impl Source {
    /// Its lines that are not comments, numbered from 1.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate();
        lines
            .map(|(index, line)| (index + 1, line.trim()))
            .filter(|(_, line)| !line.starts_with("//"))
    }

    fn is_model(&self) -> bool {
        self.name.starts_with("dispatch-model/src/")
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every `.rs` file of the members, this one left out: it names what it forbids.
fn sources() -> Vec<Source> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest is there");
    let members = manifest.lines().find(|line| line.starts_with("members")).expect("has members");
    let mut sources = Vec::new();
    for member in members.split('"').skip(1).step_by(2) {
        collect(&root().join(member), member, &mut sources);
    }
    assert!(sources.len() > 30, "only {} files were found", sources.len());
    sources
}

fn collect(folder: &Path, name: &str, sources: &mut Vec<Source>) {
    let entries = fs::read_dir(folder).expect("a member's folder is there");
    for entry in entries {
        let entry = entry.expect("a member's folder is readable");
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        let path = entry.path();
        if path.is_dir() {
            let built = ["target", "node_modules"].iter().any(|built| path.ends_with(built));
            if !built {
                collect(&path, &name, sources);
            }
        } else if name.ends_with(".rs") && !name.ends_with("tests/tidy.rs") {
            let text = fs::read_to_string(&path).expect("a source file is readable");
            sources.push(Source { name, text });
        }
    }
}

/// Fails with every place that `wrong` finds, one a line.
fn none(rule: &str, wrong: impl Fn(&Source) -> Vec<String>) {
    let all: Vec<_> = sources()
        .iter()
        .flat_map(|source| {
            let places = wrong(source).into_iter();
            places.map(|place| format!("{}{place}", source.name)).collect::<Vec<_>>()
        })
        .collect();
    assert!(all.is_empty(), "{rule}:\n{}", all.join("\n"));
}

/// The places in `source`'s code where a line has one of `words`.
fn having(source: &Source, words: &[&str]) -> Vec<String> {
    let has = |line: &str| words.iter().any(|word| line.contains(word));
    source
        .code()
        .filter(|(_, line)| has(line))
        .map(|(number, line)| format!(":{number}: {line}"))
        .collect()
}

#[test]
fn no_file_is_too_long_to_hold_one_idea() {
    none("at most 800 lines", |source| {
        let lines = source.text.lines().count();
        if lines > LINES_MAX { vec![format!(" has {lines}")] } else { Vec::new() }
    });
}

#[test]
fn no_line_is_too_wide_to_read_beside_another() {
    none("at most 100 columns", |source| {
        let lines = source.text.lines().enumerate();
        lines
            // What is said to people is broken where it is said, not in the middle of a string.
            .filter(|(_, line)| line.chars().count() > COLUMNS_MAX && !line.contains('"'))
            .map(|(index, _)| format!(":{}", index + 1))
            .collect()
    });
}

#[test]
fn modules_are_files_of_their_own_name() {
    none("foo.rs and foo/, never mod.rs", |source| {
        if source.name.ends_with("/mod.rs") { vec![String::new()] } else { Vec::new() }
    });
}

#[test]
fn every_file_begins_with_its_story() {
    none("a file begins with //!", |source| {
        let tests = source.name.ends_with("/tests.rs");
        let told = source.text.starts_with("//!") || tests;
        if told { Vec::new() } else { vec![String::new()] }
    });
}

#[test]
fn map_of_a_crate_names_all_its_modules() {
    none("the //! of a crate names each of its modules in backticks", |source| {
        if !(source.name.ends_with("/src/lib.rs") || source.name.ends_with("/src/main.rs")) {
            return Vec::new();
        }
        let map: String = source.text.lines().take_while(|line| line.starts_with("//!")).collect();
        let modules = source.code().filter_map(|(number, line)| {
            let (_, module) = line.strip_suffix(';')?.split_once("mod ")?;
            Some((number, module))
        });
        modules
            .filter(|(_, module)| !map.contains(&format!("`{module}`")))
            .map(|(number, module)| format!(":{number}: {module}"))
            .collect()
    });
}

#[test]
fn model_has_no_state_of_the_process_no_clock_and_no_chance_from_outside() {
    none("the model is pure", |source| {
        if !source.is_model() {
            return Vec::new();
        }
        let banned = ["static ", "HashMap", "HashSet", "std::time", "tokio", "Atomic", "println!"];
        let places = having(source, &banned);
        places.into_iter().filter(|place| !place.contains("'static ")).collect()
    });
}

#[test]
fn select_is_biased() {
    none("select! begins with biased;", |source| {
        let lines: Vec<_> = source.code().collect();
        let after = lines.windows(2).filter(|pair| {
            let opens = pair[0].1.contains("select! {");
            opens && !(pair[1].1.starts_with("biased;") || pair[0].1.contains("biased;"))
        });
        after.map(|pair| format!(":{}", pair[0].0)).collect()
    });
}

#[test]
fn one_file_names_a_clock() {
    none("only io-tokio/src/clock.rs names Instant", |source| {
        if source.name == "io-tokio/src/clock.rs" {
            return Vec::new();
        }
        having(source, &["Instant::now", "time::Instant", "Instant}", "Instant,"])
    });
}

#[test]
fn nothing_is_left_to_do_in_a_comment() {
    none("no FIXME, TODO or XXX", |source| {
        let lines = source.text.lines().enumerate();
        let marks = ["FIXME", "TODO", "XXX"];
        lines
            .filter(|(_, line)| marks.iter().any(|mark| line.contains(mark)))
            .map(|(index, line)| format!(":{}: {}", index + 1, line.trim()))
            .collect()
    });
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    none("#[expect(lint, reason = ..)] instead of allow", |source| {
        having(source, &["#[allow(", "#![allow("])
    });
}
