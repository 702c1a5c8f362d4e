//! What helps somebody through the first ten minutes: help, a file to begin with, completions, and
//! the page of settings in the documentation.

#![expect(clippy::unwrap_used, reason = "a test panics on what it does not expect")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lambda_dispatch::settings::{SETTINGS, Settings, as_file, as_page};

#[test]
fn the_page_of_settings_is_that_of_the_table() {
    let path = docs().join("settings.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, as_page()).unwrap();
    }
    let is = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        is == as_page(),
        "{} is not up to date: UPDATE=1 cargo test -p lambda-dispatch --test guide",
        path.display()
    );
}

#[test]
fn the_page_of_the_extension_has_every_variable_that_it_reads() {
    let page = std::fs::read_to_string(docs().join("extension.md")).unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../extension/src/settings.rs");
    let source = std::fs::read_to_string(source).unwrap();
    let code = source.split("#[cfg(test)]").next().unwrap();
    let of_ours = |name: &&str| {
        let prefixes = ["LAMBDA_DISPATCH_", "AWS_LWA_"];
        prefixes.iter().any(|prefix| {
            name.strip_prefix(prefix).is_some_and(|rest| {
                !rest.is_empty() && rest.chars().all(|c| c.is_ascii_uppercase() || "_1".contains(c))
            })
        })
    };
    let named: Vec<&str> = code.split('"').filter(of_ours).collect();
    assert!(named.len() > 20, "{named:?}");
    let missing = |name: &&&str| !page.contains(&format!("`{name}`"));
    let missing: Vec<_> = named.iter().filter(missing).collect();
    assert!(missing.is_empty(), "docs/src/extension.md says nothing of {missing:?}");
}

#[test]
fn a_fresh_file_means_the_defaults_commented_out_or_not() {
    let nothing = effective(r#"pool.function = "site""#);
    let fresh = as_file(Some("site"));
    assert_eq!(effective(&fresh), nothing);
    // A key follows the # at once, words after a space.
    let is_default = |line: &&str| !line.contains("# not set by default");
    let uncomment = |line: &str| match line.strip_prefix('#') {
        Some(key) if !key.starts_with(' ') => key.to_owned(),
        Some(_) | None => line.to_owned(),
    };
    let lines: Vec<_> = fresh.lines().filter(is_default).map(uncomment).collect();
    assert_eq!(effective(&lines.join("\n")), nothing);
    for setting in SETTINGS {
        let key = setting.name.rsplit('.').next().unwrap();
        let stands = fresh.lines().any(|line| line.trim_start_matches('#').starts_with(key));
        assert!(stands, "{} is not in the file", setting.name);
    }
}

#[test]
fn a_file_that_is_there_is_not_written_over_unless_told_to() {
    let folder = Folder::new("fresh");
    let file = folder.0.join("router.toml");
    let name = file.to_str().unwrap();
    let done = run(&["config", "init", name, "--function", "shop:live"]);
    assert!(done.status.success(), "{done:?}");
    let checked = run(&["config", "check", "--json", "--config", name]);
    assert!(checked.status.success(), "{checked:?}");
    let as_before = run(&["check", "--json", "--config", name]);
    assert!(checked.stdout == as_before.stdout, "{checked:?} {as_before:?}");

    std::fs::write(&file, "mine").unwrap();
    let refused = run(&["config", "init", name]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains(name) && said.contains("--force"), "{said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    assert!(run(&["config", "init", name, "--force"]).status.success());
    assert!(std::fs::read_to_string(&file).unwrap().contains("[pool]"));
}

#[test]
fn a_function_that_is_none_leaves_no_file() {
    let folder = Folder::new("none");
    let file = folder.0.join("router.toml");
    let refused = run(&["config", "init", file.to_str().unwrap(), "--function", "no such name"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("no such name"));
    assert!(!file.exists());
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = String::from_utf8(run(&["completions", shell]).stdout).unwrap();
        for command in ["check", "completions", "config", "demo", "dev", "report", "serve"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    let script = Folder::new("completions");
    let file = script.0.join("lambda-dispatch.bash");
    std::fs::write(&file, run(&["completions", "bash"]).stdout).unwrap();
    let parsed = Command::new("bash").arg("-n").arg(&file).output().unwrap();
    assert!(parsed.status.success() && parsed.stderr.is_empty(), "{parsed:?}");
}

#[test]
fn whoever_errs_is_told_what_is_right() {
    for (arguments, told) in [
        (&["serv"][..], "'serve'"),
        (&["serve", "--functoin", "site"], "--function"),
        (&["config", "inti"], "'init'"),
        (&["completions", "tcsh"], "possible values: bash"),
        (&["check", "--config", "/no/such/file.toml"], "/no/such/file.toml"),
        (&["check", "--function", "site", "--set", "pool.slot=3"], "pool.slots"),
        (&["check", "--function", "site", "--set", "pool.slots=many"], "a whole number from"),
        (&["check"], "pool.function"),
    ] {
        let ended = run(arguments);
        assert!(matches!(ended.status.code(), Some(1 | 2)), "{arguments:?}: {ended:?}");
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(said.contains(told), "{arguments:?}: {said}");
        assert!(!said.contains('\u{1b}'), "colours where nobody sees them: {said}");
    }
}

#[test]
fn help_of_every_command_has_an_example() {
    for command in [
        &["config", "check"][..],
        &["config", "init"],
        &["demo"],
        &["dev"],
        &["report"],
        &["serve"],
    ] {
        let help = run(&[command, &["--help"]].concat());
        let said = String::from_utf8(help.stdout).unwrap();
        assert!(said.contains("Examples:\n  lambda-dispatch "), "{command:?}: {said}");
    }
}

/// What is in force with this file alone.
fn effective(file: &str) -> Vec<(&'static str, String)> {
    let settings = Settings::read("a file", file, std::iter::empty(), &[]).unwrap();
    let all = settings.effective().iter().chain(settings.pools[0].effective());
    all.map(|value| (value.name, value.text.clone())).collect()
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lambda-dispatch")).args(arguments).output().unwrap()
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src")
}

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("lambda-dispatch-guide-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}
