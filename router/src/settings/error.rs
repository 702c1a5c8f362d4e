//! What can be wrong with settings. Every fault is reported, not just the first.

use std::fmt;

use super::layers::Origin;

/// One fault: what it is, where, what is allowed, what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A value is not of its setting's kind or out of its range.
    #[error("{name} is {value:?} ({origin}); allowed: {allowed}")]
    BadValue {
        /// The setting.
        name: String,
        /// What it was set to.
        value: String,
        /// Who set it.
        origin: Origin,
        /// What it may be set to.
        allowed: String,
    },
    /// Two settings contradict each other.
    #[error("{0}")]
    Conflict(String),
    /// The file is not TOML.
    #[error("{file}:{line}:{column}: {message}")]
    FileSyntax {
        /// The file.
        file: String,
        /// Its line, from 1.
        line: usize,
        /// The column in that line, from 1.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// The file cannot be read.
    #[error("cannot read the settings file {file}: {reason}; check its path and permissions")]
    FileUnreadable {
        /// The file.
        file: String,
        /// What the system says.
        reason: String,
    },
    /// A setting without a default is not set.
    #[error(
        "{name} is not set ({about}); set it in the file, or with --set {name}=…{}",
        variable.as_ref().map(|it| format!(", or with {it}")).unwrap_or_default()
    )]
    Missing {
        /// The setting.
        name: String,
        /// What it is.
        about: &'static str,
        /// The variable that sets it, if one can.
        variable: Option<String>,
    },
    /// A pool's name is none.
    #[error("{place}: {name:?} is no name of a pool; allowed: {PORTABLE}")]
    BadPoolName {
        /// `FILE:LINE:COLUMN`, or the flag.
        place: Origin,
        /// The name that was used.
        name: String,
    },
    /// A route is wrong.
    #[error("{place}: {what}")]
    BadRoute {
        /// Where the route begins.
        place: Origin,
        /// What is wrong with it.
        what: String,
    },
    /// A route leads to a pool that there is not.
    #[error("{place}: there is no pool {name:?}{}", Meant(.meant, .known))]
    UnknownPool {
        /// `FILE:LINE:COLUMN`.
        place: Origin,
        /// The name that was used.
        name: String,
        /// The pool that it resembles.
        meant: Option<String>,
        /// The pools that there are.
        known: Vec<String>,
    },
    /// The file or a flag has a name that is no setting.
    #[error("{place}: there is no setting {name:?}{}", DidYouMean(*.meant))]
    UnknownName {
        /// `FILE:LINE:COLUMN`, or the flag.
        place: Origin,
        /// The name that was used.
        name: String,
        /// The setting that it resembles.
        meant: Option<&'static str>,
    },
}

impl SettingsError {
    /// Whether nothing is known of what else is in the file.
    pub(super) const fn is_of_whole_file(&self) -> bool {
        matches!(self, Self::FileSyntax { .. } | Self::FileUnreadable { .. })
    }
}

/// What a pool may be called: it is shown in logs, metrics and names of files.
const PORTABLE: &str = "1 to 64 letters, digits, `-` or `_`, and not `default`, which is [pool]";

/// The end of a message about a pool that is not there.
struct Meant<'a>(&'a Option<String>, &'a [String]);

impl fmt::Display for Meant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, "; did you mean {name}?"),
            None => write!(f, "; there are: {}", self.1.join(", ")),
        }
    }
}

/// Every fault found, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsErrors(pub Vec<SettingsError>);

impl fmt::Display for SettingsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsErrors {}

/// The end of a message about a name that is not known.
pub(super) struct DidYouMean(pub(super) Option<&'static str>);

impl fmt::Display for DidYouMean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, "; did you mean {name}?"),
            None => f.write_str("; `lambda-dispatch check` lists all settings"),
        }
    }
}
