//! Who set what: the file, over it the environment, over it the flags.
//!
//! A layer holds texts. What they mean is decided once, after the strongest one is known, so that
//! a value means the same wherever it is written.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::error::{DidYouMean, SettingsError};
use super::nearest::nearest;
use super::table::{IGNORED, PATIENCE, QUEUE_TIMEOUT, ROUTE, SETTINGS, Setting, TRACES, find};
use super::value::{folded, parse, shown};

/// The prefix of every environment variable of ours and of the original's.
pub const PREFIX: &str = "LAMBDA_DISPATCH_";

/// The prefix of variables that all who send traces share, and not all of whose values we know.
const OPEN_TELEMETRY: &str = "OTEL_";

/// What switches off the traces that OpenTelemetry's variables ask for.
const OFF: [(&str, &str); 2] = [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")];

/// What most programs that speak HTTPS go by, and this one does not.
const PROXY: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];

/// The environment variable that names the settings file.
pub const FILE_VARIABLE: &str = "LAMBDA_DISPATCH_CONFIG";

/// The settings file that the environment names, if it names one.
#[must_use]
pub fn file_in(variables: impl Iterator<Item = (OsString, OsString)>) -> Option<PathBuf> {
    let files = variables.filter(|(name, file)| {
        !file.is_empty() && name.to_str().and_then(own_name) == own_name(FILE_VARIABLE)
    });
    // The first by its name, so that the same environment means the same in any order.
    files.min().map(|(_, file)| file.into())
}

/// What a variable of ours is called after the prefix, folded.
fn own_name(variable: &str) -> Option<String> {
    let (prefix, rest) = variable.split_at_checked(PREFIX.len())?;
    prefix.eq_ignore_ascii_case(PREFIX).then(|| folded(rest))
}

/// Who set a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nobody.
    #[default]
    Default,
    /// An environment variable.
    Environment(String),
    /// A place in the settings file.
    File {
        /// The file, as it was given.
        file: String,
        /// Its line, from 1.
        line: usize,
        /// The column in that line, in characters from 1.
        column: usize,
    },
    /// A flag on the command line.
    Flag,
    /// The pool's share of what all pools may have together, which this setting says.
    Share(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Environment(name) => f.write_str(name),
            Self::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::Flag => f.write_str("command line"),
            Self::Share(total) => write!(f, "share of {total}"),
        }
    }
}

/// What a value is set for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// One pool beside `default`, by its name.
    Pool(String),
    /// One route, by its place in the file.
    Route(usize),
    /// The router, and pools and routes that do not say otherwise.
    Router,
}

impl Scope {
    /// The setting that `key` means here.
    pub(super) fn find(&self, key: &str) -> Option<&'static Setting> {
        match self {
            Self::Router => find(key),
            Self::Pool(_) if key.starts_with("timeouts.") => find(key).filter(|it| is_of_pool(it)),
            Self::Pool(_) => find(&format!("pool.{key}")),
            Self::Route(_) => {
                let own = ROUTE.iter().find(|setting| setting.name == key);
                own.or_else(|| find(key).filter(|it| is_of_request(it)))
            }
        }
    }

    /// The keys that are legal here.
    fn keys(&self) -> Vec<&'static str> {
        let all = SETTINGS.iter().map(|setting| setting.name);
        match self {
            Self::Router => all.collect(),
            Self::Pool(_) => {
                let key = |name: &'static str| name.strip_prefix("pool.").unwrap_or(name);
                all.map(key).filter(|key| self.find(key).is_some()).collect()
            }
            Self::Route(_) => {
                let own = ROUTE.iter().map(|setting| setting.name);
                own.chain(all.filter(|name| self.find(name).is_some())).collect()
            }
        }
    }

    /// What a setting is called here: `pools.shop.slots`.
    pub(super) fn name(&self, key: &str) -> String {
        match self {
            Self::Router => key.to_owned(),
            Self::Pool(pool) => {
                format!("pools.{pool}.{}", key.strip_prefix("pool.").unwrap_or(key))
            }
            Self::Route(_) => format!("route.{key}"),
        }
    }
}

/// Whether each pool can have its own value of a setting.
pub(super) fn is_of_pool(setting: &Setting) -> bool {
    setting.name.starts_with("pool.") || setting.name == QUEUE_TIMEOUT || is_of_request(setting)
}

/// Whether a time-out is one that each route can have of its own.
pub(super) fn is_of_request(setting: &Setting) -> bool {
    PATIENCE.contains(&setting.name)
}

/// What has been set so far, the strongest layer last.
#[derive(Debug, Default)]
pub(super) struct Layers {
    set: BTreeMap<(Scope, &'static str), (String, Origin)>,
    /// Pools beside `default`, and where each is first named.
    pub(super) pools: BTreeMap<String, Origin>,
    /// Where each route begins, and its pools by weight if it has several.
    pub(super) routes: Vec<(Origin, Vec<Weight>)>,
    pub(super) errors: Vec<SettingsError>,
    pub(super) warnings: Vec<String>,
}

/// One of several pools of a route, as it was written.
#[derive(Debug)]
pub(super) struct Weight {
    pub(super) pool: String,
    pub(super) text: String,
    pub(super) origin: Origin,
}

impl Layers {
    /// The text of a setting and who set it, if anybody did.
    pub(super) fn get(&self, scope: &Scope, name: &'static str) -> Option<&(String, Origin)> {
        self.set.get(&(scope.clone(), name))
    }

    /// Sets `key`, over whoever has set it before.
    pub(super) fn set(&mut self, scope: &Scope, key: &str, text: String, origin: Origin) {
        match scope.find(key) {
            Some(setting) => {
                self.set.insert((scope.clone(), setting.name), (text, origin));
            }
            None => self.unknown(origin, scope, key),
        }
    }

    /// Adds the environment. Names of ours win over the original's, and those over other programs'.
    pub(super) fn add_environment(&mut self, variables: impl Iterator<Item = (String, String)>) {
        let mut strongest: BTreeMap<&'static str, (usize, String, String)> = BTreeMap::new();
        // Sorted, so that the same environment means the same in any order.
        let variables: BTreeMap<_, _> = variables.filter(|(_, value)| !value.is_empty()).collect();
        let is_off = OFF.iter().any(|(name, off)| {
            variables.get(*name).is_some_and(|value| value.trim().eq_ignore_ascii_case(off))
        });
        for (name, value) in variables {
            if PROXY.contains(&name.as_str()) {
                // Its value may have a password.
                self.warnings.push(format!(
                    "{name} is set, and no proxy is used for Lambda's API or for traces; without \
                     another way out use a VPC endpoint for Lambda"
                ));
                continue;
            }
            let Some((setting, rank)) = self.variable(&name) else { continue };
            if is_off && setting.variables.contains(&name.as_str()) && setting.name == TRACES {
                continue;
            }
            if name.starts_with(OPEN_TELEMETRY)
                && let Err(allowed) = parse(setting.kind, &value, setting.default)
            {
                self.warnings.push(format!(
                    "{name} is {:?}, which may mean something to others, and was ignored; {} can \
                     be {allowed}",
                    shown(setting.kind, &value),
                    setting.name
                ));
                continue;
            }
            let Some(held) = strongest.get_mut(setting.name) else {
                strongest.insert(setting.name, (rank, name, value));
                continue;
            };
            let mut weaker = (rank, name, value);
            if weaker.0 < held.0 {
                std::mem::swap(held, &mut weaker);
            }
            // What other programs' variables say may be meant for those.
            if own_name(&weaker.1).is_some() && weaker.2 != held.2 {
                self.warnings.push(format!(
                    "{} has no effect: {} is set too, and goes before it",
                    weaker.1, held.1
                ));
            }
        }
        for (setting, (_, name, value)) in strongest {
            self.set.insert((Scope::Router, setting), (value, Origin::Environment(name)));
        }
    }

    /// Adds flags, as pairs of a setting's name and its text.
    pub(super) fn add_flags(&mut self, flags: &[(&str, &str)]) {
        for (name, text) in flags {
            let named = name.strip_prefix("pools.").and_then(|rest| rest.split_once('.'));
            let (scope, key) = match named {
                Some((pool, key)) => {
                    self.pools.entry(pool.to_owned()).or_insert(Origin::Flag);
                    (Scope::Pool(pool.to_owned()), key)
                }
                None => (Scope::Router, *name),
            };
            self.set(&scope, key, (*text).to_owned(), Origin::Flag);
        }
    }

    pub(super) fn unknown(&mut self, place: Origin, scope: &Scope, key: &str) {
        let meant = nearest(key, scope.keys().into_iter());
        self.errors.push(SettingsError::UnknownName { place, name: scope.name(key), meant });
    }

    /// Which setting a variable is for, and how weak its name is; 0 is the strongest.
    fn variable(&mut self, name: &str) -> Option<(&'static Setting, usize)> {
        let Some(rest) = own_name(name) else {
            return SETTINGS.iter().find_map(|setting| {
                let place = setting.variables.iter().position(|v| *v == name)?;
                Some((setting, 2 + place))
            });
        };
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
        } else if own_name(FILE_VARIABLE).as_ref() != Some(&rest) {
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
