//! What the app is told about a snapshot of its environment (SnapStart).
//!
//! Before the snapshot is made the app may close what does not survive it; in each copy it may
//! open that anew, and draw new random numbers. Each is an empty `POST` on a connection of its own,
//! to be answered with a 2xx; anything else ends the environment, for an app that could not prepare
//! serves nobody well. The paths are for us alone: a client that asks for one is told 403.
//!
//! Names and meaning are Lambda Web Adapter's.

use std::fmt;

use http::Method;
use io_tokio::net::Connector;

use crate::readiness::{APP_HOST, call};
use crate::settings::AppProtocol;

/// Where the app wants to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Told before the snapshot; `LAMBDA_DISPATCH_SNAPSTART_BEFORE_CHECKPOINT_PATH`, unset.
    pub before_checkpoint: Option<String>,
    /// Told in each copy; `LAMBDA_DISPATCH_SNAPSTART_AFTER_RESTORE_PATH`, unset.
    pub after_restore: Option<String>,
}

/// Why the app is not as it should be before or after a snapshot.
#[derive(Debug, thiserror::Error)]
#[error("the app must answer POST {path} {when} with 2xx: {problem}")]
pub struct HookError {
    path: String,
    when: When,
    problem: String,
}

/// On which side of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    AfterRestore,
    BeforeCheckpoint,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AfterRestore => "after a restore",
            Self::BeforeCheckpoint => "before a snapshot",
        })
    }
}

impl Hooks {
    /// Whether a request for this path is not a client's to make. Compared is what a lenient app
    /// might take it for: percent-decoded, without empty segments and dots, in lower case.
    pub(crate) fn are_at(&self, path: &str) -> bool {
        let paths = [self.before_checkpoint.as_deref(), self.after_restore.as_deref()];
        paths.into_iter().flatten().any(|hook| plain(hook) == plain(path))
    }

    /// Tells the app, and waits for its answer for as long as that takes: Lambda bounds both.
    pub(crate) async fn tell<C: Connector>(
        &self,
        when: When,
        connector: &C,
        port: u16,
        protocol: AppProtocol,
    ) -> Result<(), HookError> {
        let path = match when {
            When::AfterRestore => &self.after_restore,
            When::BeforeCheckpoint => &self.before_checkpoint,
        };
        let Some(path) = path else { return Ok(()) };
        let failed = |problem| HookError { path: path.clone(), when, problem };
        let connected = connector.connect(APP_HOST, port).await;
        let io = connected.map_err(|error| failed(error.to_string()))?;
        let status = call(io, protocol, Method::POST, path).await.map_err(failed)?;
        if status.is_success() { Ok(()) } else { Err(failed(status.to_string())) }
    }
}

/// A path's meaning to the most lenient of apps.
fn plain(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| *first == b'%');
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        let code = code.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or(*first).to_ascii_lowercase());
        rest = if code.is_some() { &after[2..] } else { after };
    }
    let text = String::from_utf8_lossy(&bytes).replace('\\', "/");
    let mut segments = Vec::new();
    for segment in text.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    segments.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_of_a_hooks_path_is_for_clients() {
        let hooks = Hooks {
            before_checkpoint: Some("/snap/before".to_owned()),
            after_restore: Some("/snap/after?now=1".to_owned()),
        };
        for path in [
            "/snap/before",
            "/snap/before/",
            "/snap//before",
            "/SNAP/Before?x=1",
            "/%73nap/be%66ore",
            "/snap%2fbefore",
            "/a/../snap/./before",
            "/snap/after",
        ] {
            assert!(hooks.are_at(path), "{path}");
        }
        for path in ["/", "/snap", "/snap/beforehand", "/snap/before/x", "/%", "/%zz", "*", ""] {
            assert!(!hooks.are_at(path), "{path}");
        }
        assert!(!Hooks::default().are_at("/"));
    }
}
