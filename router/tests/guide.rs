//! What helps somebody through the first ten minutes: help, a file to begin with, completions, and
//! the page of settings in the documentation.

#![expect(clippy::unwrap_used, reason = "a test panics on what it does not expect")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lambda_dispatch::settings::{SETTINGS, Settings, as_file, as_page, variable_of};

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
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("router.toml");
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
fn a_file_can_be_named_by_a_variable_in_any_case_and_an_empty_one_names_none() {
    let checked = |arguments: &[&str], (name, file): (&str, &str)| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lambda-dispatch"));
        command.args(["check", "--function", "site"]).args(arguments).env(name, file);
        let ended = command.output().unwrap();
        (ended.status.success(), String::from_utf8(ended.stderr).unwrap())
    };
    assert_eq!(checked(&[], ("LAMBDA_DISPATCH_CONFIG", "")), (true, String::new()));
    for name in ["LAMBDA_DISPATCH_CONFIG", "lambda_dispatch_config"] {
        let (works, said) = checked(&[], (name, "/no/such/file.toml"));
        assert!(!works && said.contains("/no/such/file.toml"), "{name}: {said}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("router.toml");
        std::fs::write(&file, "").unwrap();
        let flag = ["--config", file.to_str().unwrap()];
        assert!(checked(&flag, (name, "/no/such/file.toml")).0, "the flag goes before {name}");
    }
}

#[test]
fn a_function_that_is_none_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("router.toml");
    let refused = run(&["config", "init", file.to_str().unwrap(), "--function", "no such name"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    let why =
        "--function is \"no such name\", which is no function: a function's name has 1 to 140";
    assert!(said.contains(why), "{said}");
    assert!(!file.exists());
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = String::from_utf8(run(&["completions", shell]).stdout).unwrap();
        for command in
            ["check", "completions", "config", "demo", "dev", "doctor", "health", "report", "serve"]
        {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    let script = tempfile::tempdir().unwrap();
    let file = script.path().join("lambda-dispatch.bash");
    std::fs::write(&file, run(&["completions", "bash"]).stdout).unwrap();
    let parsed = Command::new("bash").arg("-n").arg(&file).output().unwrap();
    assert!(parsed.status.success() && parsed.stderr.is_empty(), "{parsed:?}");
}

#[test]
fn completions_for_bash_know_what_a_command_takes() {
    let script = String::from_utf8(run(&["completions", "bash"]).stdout).unwrap();
    for (line, offered) in [
        (&["dev", "--m"][..], &["--memory", "--min-instances", "--max-instances"][..]),
        (&["config", ""], &["check", "init"]),
        (&["config", "check", "--i"], &["--iam"]),
        (&["he"], &["health"]),
    ] {
        let (word, before) = line.split_last().unwrap();
        let call = format!(
            "{script}\nCOMP_WORDS=(lambda-dispatch \"$@\"); COMP_CWORD=$#\n\
             _lambda__dispatch lambda-dispatch {word:?} {:?}\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
            before.last().unwrap_or(&"lambda-dispatch")
        );
        let ended = Command::new("bash").args(["-c", &call, "bash"]).args(line).output().unwrap();
        let said = String::from_utf8(ended.stdout).unwrap();
        for word in offered {
            assert!(said.lines().any(|it| it == *word), "{line:?}: {word} is not in {said:?}");
        }
    }
}

#[test]
fn whoever_errs_is_told_what_is_right() {
    for (arguments, told) in [
        (&["serv"][..], "'serve'"),
        (&["serve", "--functoin", "site"], "--function"),
        (&["config", "inti"], "'init'"),
        (&["docter"], "'doctor'"),
        (&["health", "--lvie"], "'--live'"),
        (&["dev", "--max-instance", "3"], "'--max-instances'"),
        (&["report", "--qick", "plan.toml"], "'--quick'"),
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
fn help_of_serve_lists_every_setting_with_its_default_and_variables() {
    let help = String::from_utf8(run(&["serve", "--help"]).stdout).unwrap();
    for setting in SETTINGS {
        let default = if setting.default.is_empty() { "(not set)" } else { setting.default };
        let entry = format!("\n  {} = {default}\n      {}", setting.name, variable_of(setting));
        assert!(help.contains(&entry), "{entry}\n{help}");
        for name in setting.variables {
            assert!(help.contains(name), "{name}\n{help}");
        }
    }
    let longest = help.lines().max_by_key(|line| line.len()).unwrap();
    assert!(longest.chars().count() <= 100, "{longest}");
    let short = String::from_utf8(run(&["serve", "-h"]).stdout).unwrap();
    assert!(short.contains("Examples:") && !short.contains("listen.http ="), "{short}");
    let words: Vec<_> = short.split_whitespace().collect();
    let words = words.join(" ");
    assert!(words.contains("[env: LAMBDA_DISPATCH_POOL_FUNCTION]"), "{short}");
    assert!(words.contains("[env: LAMBDA_DISPATCH_CONFIG]"), "{short}");
}

#[test]
fn colours_are_for_terminals_whose_users_want_them() {
    let terminal = |line: &str, variables: &[(&str, &str)]| {
        let line = format!("{} {line}", env!("CARGO_BIN_EXE_lambda-dispatch"));
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).env_remove("NO_COLOR").env("TERM", "xterm");
        script.env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", "/nonexistent");
        script.envs(variables.iter().copied()).stdin(std::process::Stdio::null());
        script.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    for line in ["--help", "serv", "doctor --function f --set aws.endpoint=http://127.0.0.1:1"] {
        let Ok(coloured) = terminal(line, &[]) else {
            println!("skipped: there is no `script` here; it is in bsdutils");
            return;
        };
        assert!(coloured.contains("\u{1b}["), "{line}: {coloured:?}");
        let plain = terminal(line, &[("NO_COLOR", "1")]).unwrap();
        assert!(!plain.contains('\u{1b}') && !plain.is_empty(), "{line}: {plain:?}");
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
