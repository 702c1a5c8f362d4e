//! Who set what: the file, over it the environment, over it the flags.
//!
//! A layer holds texts. What they mean is decided once, after the strongest one is known, so that
//! a value means the same wherever it is written.

use std::collections::BTreeMap;
use std::fmt;

use toml::de::{DeTable, DeValue};

use super::error::{DidYouMean, SettingsError};
use super::nearest::nearest;
use super::table::{IGNORED, SETTINGS, Setting, find};
use super::value::folded;

/// The prefix of every environment variable of ours and of the original's.
pub const PREFIX: &str = "LAMBDA_DISPATCH_";

/// The environment variable that names the settings file.
pub const FILE_VARIABLE: &str = "LAMBDA_DISPATCH_CONFIG";

/// Who set a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody.
    Default,
    /// An environment variable.
    Environment(String),
    /// A line of the settings file.
    File {
        /// The file, as it was given.
        file: String,
        /// Its line, from 1.
        line: usize,
    },
    /// A flag on the command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Environment(name) => f.write_str(name),
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Flag => f.write_str("command line"),
        }
    }
}

/// What has been set so far, the strongest layer last.
#[derive(Debug, Default)]
pub(super) struct Layers {
    set: BTreeMap<&'static str, (String, Origin)>,
    pub(super) errors: Vec<SettingsError>,
    pub(super) warnings: Vec<String>,
}

impl Layers {
    /// The text of a setting and who set it, if anybody did.
    pub(super) fn get(&self, name: &str) -> Option<&(String, Origin)> {
        self.set.get(name)
    }

    /// Adds the settings file, `text` read from `file`.
    pub(super) fn add_file(&mut self, file: &str, text: &str) {
        let table = match DeTable::parse(text) {
            Ok(table) => table,
            Err(error) => {
                self.errors.push(SettingsError::FileSyntax {
                    file: file.to_owned(),
                    line: line_of(text, error.span().map_or(0, |span| span.start)),
                    message: error.message().to_owned(),
                });
                return;
            }
        };
        let mut entries = Vec::new();
        for (key, value) in table.get_ref() {
            match value.get_ref() {
                DeValue::Table(section) if !section.is_empty() || is_section(key.get_ref()) => {
                    entries.extend(section.iter().map(|(inner, value)| {
                        (
                            inner.span().start,
                            format!("{}.{}", key.get_ref(), inner.get_ref()),
                            value,
                        )
                    }));
                }
                DeValue::Table(_)
                | DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_)
                | DeValue::Array(_) => {
                    entries.push((key.span().start, key.get_ref().to_string(), value));
                }
            }
        }
        // Faults are reported in the order of the lines.
        entries.sort_by_key(|(offset, ..)| *offset);
        for (offset, name, value) in entries {
            self.add_entry(at(file, text, offset), &name, value.get_ref());
        }
    }

    /// Adds the environment. Names of ours win over the original's, and those over other programs'.
    pub(super) fn add_environment(&mut self, variables: impl Iterator<Item = (String, String)>) {
        let mut strongest: BTreeMap<&'static str, (usize, String, String)> = BTreeMap::new();
        // Sorted, so that the same environment means the same in any order.
        let variables: BTreeMap<_, _> = variables.filter(|(_, value)| !value.is_empty()).collect();
        for (name, value) in variables {
            let Some((setting, rank)) = self.variable(&name) else { continue };
            let found = strongest.entry(setting.name);
            let held = found.or_insert_with(|| (rank, name.clone(), value.clone()));
            if rank < held.0 {
                *held = (rank, name, value);
            }
        }
        for (setting, (_, name, value)) in strongest {
            self.set.insert(setting, (value, Origin::Environment(name)));
        }
    }

    /// Adds flags, as pairs of a setting's name and its text.
    pub(super) fn add_flags(&mut self, flags: &[(&str, &str)]) {
        for (name, text) in flags {
            match find(name) {
                Some(setting) => {
                    self.set.insert(setting.name, ((*text).to_owned(), Origin::Flag));
                }
                None => self.unknown(Origin::Flag, name),
            }
        }
    }

    fn add_entry(&mut self, origin: Origin, name: &str, value: &DeValue<'_>) {
        let Some(setting) = find(name) else {
            self.unknown(origin, name);
            return;
        };
        match scalar(value) {
            Some(text) => {
                self.set.insert(setting.name, (text, origin));
            }
            None => self.errors.push(SettingsError::BadValue {
                name: setting.name,
                value: value.type_str().to_owned(),
                origin,
                allowed: "a string, a number, true or false".to_owned(),
            }),
        }
    }

    fn unknown(&mut self, place: Origin, name: &str) {
        let meant = nearest(name, SETTINGS.iter().map(|setting| setting.name));
        self.errors.push(SettingsError::UnknownName { place, name: name.to_owned(), meant });
    }

    /// Which setting a variable is for, and how weak its name is; 0 is the strongest.
    fn variable(&mut self, name: &str) -> Option<(&'static Setting, usize)> {
        let prefix = name.get(..PREFIX.len()).filter(|p| p.eq_ignore_ascii_case(PREFIX));
        let Some(prefix) = prefix else {
            return SETTINGS.iter().find_map(|setting| {
                let place = setting.variables.iter().position(|v| *v == name)?;
                Some((setting, 2 + place))
            });
        };
        let rest = folded(&name[prefix.len()..]);
        for setting in SETTINGS {
            if folded(setting.name) == rest {
                return Some((setting, 0));
            }
            if !setting.original.is_empty() && folded(setting.original) == rest {
                return Some((setting, 1));
            }
        }
        if let Some((_, why)) = IGNORED.iter().find(|(ignored, _)| folded(ignored) == rest) {
            self.warnings.push(format!("{name} has no effect: {why}"));
        } else if !name.eq_ignore_ascii_case(FILE_VARIABLE) {
            let own = SETTINGS.iter().map(|setting| setting.name);
            let original = SETTINGS.iter().map(|setting| setting.original);
            let meant = nearest(&rest, own.chain(original))
                .and_then(|meant| SETTINGS.iter().find(|s| s.name == meant || s.original == meant));
            let hint = meant.map(variable_of);
            match hint {
                Some(hint) => self
                    .warnings
                    .push(format!("{name} is not a setting and was ignored; did you mean {hint}?")),
                None => self
                    .warnings
                    .push(format!("{name} is not a setting and was ignored{}", DidYouMean(None))),
            }
        }
        None
    }
}

/// The environment variable of a setting: `LAMBDA_DISPATCH_POOL_SLOTS`.
#[must_use]
pub fn variable_of(setting: &Setting) -> String {
    format!("{PREFIX}{}", setting.name.replace('.', "_").to_ascii_uppercase())
}

fn is_section(name: &str) -> bool {
    SETTINGS.iter().any(|s| s.name.split_once('.').is_some_and(|(section, _)| section == name))
}

fn at(file: &str, text: &str, offset: usize) -> Origin {
    Origin::File { file: file.to_owned(), line: line_of(text, offset) }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}

/// The text of a value that is not a list, a table or a date.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .map(|number| number.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
