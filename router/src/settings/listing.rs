//! The list of settings for people: as a file to begin with, as a page of the documentation, and in
//! the help.

use super::layers::variable_of;
use super::table::{Kind, SETTINGS, Setting};
use super::value::allowed;

/// A settings file in which every setting stands with its default, all of them commented out but
/// the `function`, if there is one. As it is, it changes nothing.
#[must_use]
pub fn as_file(function: Option<&str>) -> String {
    let mut text = FILE_HEAD.to_owned();
    let mut section = "";
    // In TOML, what belongs to no section has to stand above the first one.
    let is_general = |setting: &&Setting| split(setting).0.is_empty();
    let (general, sections): (Vec<_>, Vec<_>) = SETTINGS.iter().partition(is_general);
    for setting in general.into_iter().chain(sections) {
        let (in_section, key) = split(setting);
        if in_section != section {
            section = in_section;
            text.push_str(&format!("\n[{section}]\n"));
        }
        text.push('\n');
        for line in wrapped(&format!("{}: {}.", setting.about, allowed(setting.kind))) {
            text.push_str(&format!("# {line}\n"));
        }
        match function.filter(|_| setting.name == "pool.function") {
            Some(function) => text.push_str(&format!("{key} = {}\n", quoted(function))),
            None if setting.default.is_empty() => {
                text.push_str(&format!("#{key} =    # not set by default\n"));
            }
            None => text.push_str(&format!("#{key} = {}\n", written(setting))),
        }
    }
    text
}

/// The page `docs/src/settings.md`.
#[must_use]
pub fn as_page() -> String {
    let mut text = PAGE_HEAD.to_owned();
    let mut section = "";
    for setting in SETTINGS {
        let (in_section, _) = split(setting);
        if in_section != section {
            section = in_section;
            let title =
                if section.is_empty() { "Others".to_owned() } else { format!("`[{section}]`") };
            text.push_str(&format!("\n## {title}\n\n{PAGE_COLUMNS}"));
        }
        let default = if setting.default.is_empty() {
            "–".to_owned()
        } else {
            format!("`{}`", setting.default)
        };
        let names: Vec<_> = names(setting).iter().map(|name| format!("`{name}`")).collect();
        let names = names.join(", ");
        let cells = [cell(setting.about), cell(&allowed(setting.kind)), names];
        let [about, allowed, names] = cells;
        text.push_str(&format!(
            "| `{}` | {default} | {about} | {allowed} | {names} |\n",
            setting.name
        ));
    }
    text
}

/// What `serve --help` ends with: each setting, its default, its variables, and what it is.
#[must_use]
pub fn as_help() -> String {
    let mut text = HELP_HEAD.to_owned();
    let mut section = "";
    for setting in SETTINGS {
        let (in_section, _) = split(setting);
        if in_section != section {
            section = in_section;
            text.push('\n');
        }
        let default = if setting.default.is_empty() { "(not set)" } else { setting.default };
        text.push_str(&format!("  {} = {default}\n", setting.name));
        text.push_str(&format!("      {}\n", names(setting).join(", ")));
        for line in wrapped(&format!("{} ({})", setting.about, allowed(setting.kind))) {
            text.push_str(&format!("      {line}\n"));
        }
    }
    text
}

/// What sets it in the environment, strongest first.
fn names(setting: &Setting) -> Vec<String> {
    let mut names = vec![variable_of(setting)];
    if !setting.original.is_empty() {
        names.push(format!("{}{}", super::PREFIX, setting.original));
    }
    names.extend(setting.variables.iter().map(ToString::to_string));
    names
}

/// Section and key.
fn split(setting: &Setting) -> (&'static str, &'static str) {
    setting.name.split_once('.').unwrap_or(("", setting.name))
}

/// The default as TOML.
fn written(setting: &Setting) -> String {
    match setting.kind {
        Kind::Flag | Kind::Number { .. } | Kind::Ratio => setting.default.to_owned(),
        Kind::Address { .. }
        | Kind::Bytes { .. }
        | Kind::Choice(_)
        | Kind::Dollars { .. }
        | Kind::Span { .. }
        | Kind::Text
        | Kind::Url(_) => quoted(setting.default),
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let fits = lines.last().is_some_and(|line| line.len() + word.len() < LINE);
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if fits => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

const LINE: usize = 92;

const HELP_HEAD: &str = "\
Settings, with their defaults, the variables that set them, and what they are. A flag (`--set
pool.slots=20`) goes before the environment, that before the file, where `pool.slots` is `slots` in
`[pool]`. `lambda-dispatch config check` says what is in force, and who set it.
";

const FILE_HEAD: &str = "\
# Settings of the lambda-dispatch router. Each stands here with its default; take the # away to
# change it. The environment goes before this file, flags before both.
#
#   lambda-dispatch config check --config FILE    what these settings mean, and what is wrong
#   lambda-dispatch serve --config FILE           run the router
";

const PAGE_HEAD: &str = "\
# Settings of the router

<!-- Made from router/src/settings/table.rs: UPDATE=1 cargo test -p lambda-dispatch --test guide -->

A setting is taken from a flag (`--set pool.slots=20`), else from the environment, else from the
file (`--config FILE`, or `LAMBDA_DISPATCH_CONFIG`), else it has its default. `lambda-dispatch
config init` writes a file with all of them; `lambda-dispatch config check` prints each with its
value and who set it.

In the file, `pool.slots` is `slots` in the section `[pool]`. `[pools.NAME]` has what `[pool]` has,
for one pool; it and each `[[route]]` may have some of the `timeouts` for themselves
([several functions](several-functions.md)). In the environment, case and underscores do not matter.

A variable that is empty counts as not set. In the file and in flags an empty text means none for a
setting without a default, and is refused for one that has a default: leave it out instead.
";

const PAGE_COLUMNS: &str = "\
| setting | default | what it is | allowed | environment |
|---|---|---|---|---|
";
