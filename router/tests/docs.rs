//! The documentation against the program: no command in it has a flag that does not exist, no
//! setting or variable a name that means nothing; and what is marked `run` is run.

#![expect(clippy::unwrap_used, reason = "a test panics on what it does not expect")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::error::ErrorKind;
use lambda_dispatch::cli::command;
use lambda_dispatch::settings::{IGNORED, PREFIX, SETTINGS, find, variable_of};

const PROGRAM: &str = "lambda-dispatch";

/// What is typed to run the program from its source.
const FROM_SOURCE: &str = "cargo run --release -- ";

#[test]
fn every_command_in_the_documentation_can_be_typed() {
    let mut typed = 0;
    let mut faults = Vec::new();
    for page in pages() {
        for line in commands(&page.text) {
            typed += 1;
            if let Some(fault) = fault(&line) {
                faults.push(format!("{}: {line}\n    {fault}", page.name));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(typed > 50, "only {typed} commands were found");
}

#[test]
fn every_example_in_the_help_can_be_typed() {
    let mut examples = 0;
    let mut left = vec![(PROGRAM.to_owned(), command())];
    while let Some((name, command)) = left.pop() {
        let help = [command.get_after_help(), command.get_after_long_help()];
        for help in help.into_iter().flatten() {
            for line in help.to_string().lines().filter(|line| line.contains("  lambda-dispatch "))
            {
                examples += 1;
                assert_eq!(fault(line.trim()), None, "{name}: {line}");
            }
        }
        let below = command.get_subcommands();
        left.extend(below.map(|it| (format!("{name} {}", it.get_name()), it.clone())));
    }
    assert!(examples > 20, "only {examples} examples were found");
}

#[test]
fn every_command_has_an_example() {
    let mut left = vec![(PROGRAM.to_owned(), command())];
    while let Some((name, command)) = left.pop() {
        let groups =
            command.get_subcommands().count() > 0 && !command.get_arguments().any(|_| true);
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let example = format!("  {name} ");
        // `check` is `config check`, and its examples are that's.
        let has = help.lines().any(|line| line.starts_with(&example) || line == example.trim_end());
        assert!(groups || has || name == "lambda-dispatch check", "{name}: {help}");
        let below = command.get_subcommands();
        left.extend(below.map(|it| (format!("{name} {}", it.get_name()), it.clone())));
    }
}

#[test]
fn every_setting_and_variable_in_the_documentation_exists() {
    let extension = std::fs::read_to_string(root().join("docs/src/extension.md")).unwrap();
    let sections: BTreeSet<_> =
        SETTINGS.iter().filter_map(|it| it.name.split_once('.')).map(|(it, _)| it).collect();
    let original = SETTINGS.iter().map(|it| it.original).chain(IGNORED.iter().map(|it| it.0));
    let original: BTreeSet<_> = original.collect();
    let is_variable = |name: &str| {
        let of_router = SETTINGS.iter().any(|it| variable_of(it) == name);
        let rest = name.strip_prefix(PREFIX).unwrap_or_default();
        let others = ["CONFIG", "DEMO_APP_HOST", "LOG", ""];
        of_router
            || original.contains(rest)
            || others.contains(&rest)
            || extension.contains(&format!("`{name}`"))
    };
    let mut faults = Vec::new();
    for page in pages() {
        for code in spans(&page.text) {
            let word = code.split([' ', '=']).next().unwrap_or_default();
            let section = word.split_once('.').filter(|(section, _)| sections.contains(section));
            let is_key = |key: &str| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            if section.is_some_and(|(_, key)| is_key(key)) && find(word).is_none() {
                faults.push(format!("{}: there is no setting {word}", page.name));
            }
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        for word in page.text.split(|c: char| !is_part(c)).filter(|it| it.starts_with(PREFIX)) {
            // `LAMBDA_DISPATCH_*` and the like stand for many.
            let stands_for_many = page.text.contains(&format!("{word}*")) || word.ends_with('_');
            if !is_variable(word) && !stands_for_many {
                faults.push(format!("{}: there is no variable {word}", page.name));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_alert_has_a_runbook() {
    let rules = std::fs::read_to_string(root().join("deploy/prometheus/rules.yml")).unwrap();
    let runbooks = std::fs::read_to_string(root().join("docs/src/operations.md")).unwrap();
    let alerts: Vec<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 5, "{alerts:?}");
    let has = |alert: &&&str| runbooks.contains(&format!("\n### {alert}\n"));
    let without: Vec<_> = alerts.iter().filter(|alert| !has(alert)).collect();
    assert!(without.is_empty(), "docs/src/operations.md has no heading ### for {without:?}");
}

#[test]
fn every_name_of_the_original_is_told_of_to_who_moves_over() {
    let page = std::fs::read_to_string(root().join("docs/src/migration-original.md")).unwrap();
    let taken = SETTINGS.iter().filter(|it| !it.original.is_empty());
    let taken = taken.map(|it| format!("| `{}` | `{}` |", it.original, it.name));
    let ignored = IGNORED.iter().map(|(name, _)| format!("| `{name}` | – |"));
    for row in taken.chain(ignored) {
        assert!(page.contains(&row), "docs/src/migration-original.md has no row {row}");
    }
}

#[test]
fn what_is_marked_to_be_run_runs() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["reports", "examples", "deploy"] {
        std::os::unix::fs::symlink(root().join(name), folder.path().join(name)).unwrap();
    }
    let program = Path::new(env!("CARGO_BIN_EXE_lambda-dispatch"));
    let others = std::env::var("PATH").unwrap();
    let path = format!("{}:{others}", program.parent().unwrap().display());
    let mut ran = 0;
    for page in pages() {
        let script: String = fences(&page.text)
            .filter(|(info, _)| info.split([',', ' ']).any(|word| word == "run"))
            .map(|(_, text)| text)
            .collect();
        if script.is_empty() {
            continue;
        }
        ran += 1;
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", &script]).current_dir(folder.path());
        let ended = bash.env("PATH", &path).output().unwrap();
        assert!(ended.status.success(), "{}:\n{script}\n{ended:?}", page.name);
    }
    assert!(ran > 1, "only {ran} pages have something to run");
}

#[test]
fn the_readers_of_this_test_find_what_they_look_for() {
    let text = "Say `lambda-dispatch check --iam`:\n\n    FOO=1 lambda-dispatch serve --set \
                'a=b c'   # so\n\n```sh,run\nx | lambda-dispatch report \\\n  --quick p > f\n```\n";
    assert_eq!(
        commands(text),
        [
            "lambda-dispatch check --iam",
            "lambda-dispatch report  --quick p > f",
            "lambda-dispatch serve --set 'a=b c'   # so",
        ]
    );
    assert_eq!(
        words("lambda-dispatch x --set 'a=b c'   # so"),
        ["lambda-dispatch", "x", "--set", "a=b c"]
    );
    assert_eq!(
        words("lambda-dispatch x -- sh -c 'a > b' > f"),
        ["lambda-dispatch", "x", "--", "sh", "-c", "a > b"]
    );
    assert!(fault("lambda-dispatch serve --functoin x").is_some());
    assert!(fault("lambda-dispatch serv").is_some());
    assert!(fault("lambda-dispatch check --set pool.slot=1").is_some());
    assert!(fault("lambda-dispatch dev --max-instances none").is_some());
}

/// What is wrong with a command line.
fn fault(line: &str) -> Option<String> {
    let words = words(line);
    for pair in words.windows(2).filter(|pair| pair[0] == "--set") {
        let key = pair[1].split('=').next().unwrap_or_default();
        let of_pool = key.strip_prefix("pools.").and_then(|rest| rest.split_once('.'));
        let key = of_pool.map_or_else(|| key.to_owned(), |(_, key)| format!("pool.{key}"));
        if key.contains('.') && find(&key).is_none() {
            return Some(format!("there is no setting {key}"));
        }
    }
    let error = command().try_get_matches_from(words).err()?;
    let is_fine = matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            // What is named in a sentence, and not meant to be typed.
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            | ErrorKind::MissingRequiredArgument
    );
    (!is_fine).then(|| error.to_string())
}

/// The words of a command as a shell sees them, as far as the documentation goes: quotes, comments,
/// and where it ends. Help separates what it explains by spaces.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quote, mut spaces) = (None, 0);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => words.last_mut().unwrap().push(c),
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ') => {
                spaces += 1;
                if spaces == 1 && words.last().is_some_and(|word| !word.is_empty()) {
                    words.push(String::new());
                }
                continue;
            }
            (None, '#' | '|' | '>' | ';' | '&') => break,
            (None, _) if spaces > 2 => break,
            (None, c) => words.last_mut().unwrap().push(c),
        }
        spaces = 0;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Every command of ours in a page, in code blocks and in sentences.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let own = format!("{PROGRAM} ");
    for span in spans(text).filter(|span| span.starts_with(&own)) {
        found.push(span.to_owned());
    }
    let fenced = fences(text).map(|(_, text)| text);
    let blocks: String = fenced.chain([indented(text)]).collect();
    // A line that goes on is one.
    let whole: Vec<_> = blocks.split("\\\n").map(str::trim_start).collect();
    for line in whole.join(" ").lines() {
        let line = line.trim().replace(FROM_SOURCE, &own);
        let starts = line.match_indices(&own).map(|(at, _)| at);
        // Where a shell looks for a command, and not in a comment or among arguments.
        let is_run = |at: &usize| match line[..*at].split_whitespace().next_back() {
            None => true,
            Some(before) => {
                let is_variable = before.contains('=') && !before.starts_with('-');
                is_variable || ["&&", "|", ";", "("].contains(&before)
            }
        };
        for at in starts.filter(is_run) {
            found.push(line[at..].to_owned());
        }
    }
    found
}

/// What stands between backticks on one line.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.starts_with("```") && !line.starts_with("    "))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// Fenced blocks: what follows the fence on its line, and the text.
fn fences(text: &str) -> impl Iterator<Item = (&str, String)> {
    let mut lines = text.lines();
    std::iter::from_fn(move || {
        let info = lines.by_ref().find_map(|line| line.trim().strip_prefix("```"))?;
        let block: String = lines
            .by_ref()
            .take_while(|line| line.trim() != "```")
            .map(|line| format!("{line}\n"))
            .collect();
        Some((info, block))
    })
}

fn indented(text: &str) -> String {
    let lines = text.lines().filter(|line| line.starts_with("    "));
    lines.map(|line| format!("{line}\n")).collect()
}

/// A page of the documentation.
struct Page {
    name: String,
    text: String,
}

fn pages() -> Vec<Page> {
    let mut files = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    for folder in ["docs/src", "deploy", "examples"] {
        collect(&root().join(folder), &mut files);
    }
    files.sort();
    let page = |file: PathBuf| Page {
        name: file.strip_prefix(root()).unwrap().display().to_string(),
        text: std::fs::read_to_string(&file).unwrap(),
    };
    files.into_iter().map(page).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let installed = ["node_modules", "venv", "cdk.out"].iter().any(|it| path.ends_with(it));
        if path.is_dir() && !path.is_symlink() && !installed {
            collect(&path, files);
        } else if path.extension().is_some_and(|it| it == "md") {
            files.push(path);
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}
