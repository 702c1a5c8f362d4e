//! One environment: its stage, who in it waits for what comes next, and the invoke that it holds.

use std::fmt;
use std::time::Duration;

use dispatch_model::Time;

use super::input::{ExtensionId, InvokeId};

/// Where an environment is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing runs yet: the injected part of the cold start.
    Creating,
    /// Its processes run and have not all asked for what comes next.
    Initialising,
    /// A copy of the snapshot that nobody has needed yet, frozen: it waits for its restore.
    Stored,
    /// Such a copy that is needed: it is being restored, or has been and is not ready yet.
    Restoring,
    /// It serves an invoke, or its extensions have not finished with one.
    Invoking,
    /// Frozen, until the next invoke or the reap.
    Idle,
    /// Its extensions have been told to end and have a moment to do so.
    Stopping,
    /// Killed; its processes are not all gone yet.
    Killed,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Idle => "idle",
            Self::Initialising => "initialising",
            Self::Invoking => "invoking",
            Self::Killed => "killed",
            Self::Restoring => "restoring",
            Self::Stopping => "stopping",
            Self::Stored => "stored",
        })
    }
}

/// What the model knows of one environment.
#[derive(Debug)]
pub(super) struct Environment {
    pub(super) stage: Stage,
    pub(super) frozen: bool,
    /// It is one of those that are kept initialised.
    pub(super) provisioned: bool,
    /// It is stopped instead of falling idle.
    pub(super) retired: bool,
    /// Its initialisation is billed although no invoke waits for it.
    pub(super) init_is_billed: bool,
    pub(super) init_since: Time,
    pub(super) held: Option<Held>,
    /// Its runtime waits to be restored from a snapshot.
    pub(super) awaits_restore: bool,
    runtime_waits: bool,
    extensions: Vec<Extension>,
}

#[derive(Debug)]
struct Extension {
    id: ExtensionId,
    sees_invokes: bool,
    waits: bool,
}

impl Environment {
    pub(super) const fn new() -> Self {
        Self {
            stage: Stage::Creating,
            frozen: false,
            provisioned: false,
            retired: false,
            init_is_billed: false,
            init_since: Time::ZERO,
            held: None,
            awaits_restore: false,
            runtime_waits: false,
            extensions: Vec::new(),
        }
    }

    /// Whether it holds an invoke that waits until it is ready for the first time.
    pub(super) fn is_waited_for(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.since.is_none())
    }

    pub(super) const fn runtime_waits(&mut self) {
        self.runtime_waits = true;
    }

    pub(super) fn extension_waits(&mut self, id: ExtensionId) {
        if let Some(extension) = self.extensions.iter_mut().find(|it| it.id == id) {
            extension.waits = true;
        }
    }

    pub(super) fn register(&mut self, id: ExtensionId, sees_invokes: bool) {
        self.extensions.retain(|extension| extension.id != id);
        self.extensions.push(Extension { id, sees_invokes, waits: false });
    }

    pub(super) fn has_extensions(&self) -> bool {
        !self.extensions.is_empty()
    }

    pub(super) fn all_wait(&self) -> bool {
        self.runtime_waits && self.extensions.iter().all(|extension| extension.waits)
    }

    /// The runtime has something to do. What an extension waits for goes on through a snapshot.
    pub(super) const fn runtime_asks_again(&mut self) {
        self.runtime_waits = false;
    }

    /// An invoke goes out: whoever sees it is busy until it asks again. An extension that does not
    /// see invokes goes on waiting.
    pub(super) fn ask_again(&mut self) {
        self.runtime_asks_again();
        for extension in &mut self.extensions {
            extension.waits &= !extension.sees_invokes;
        }
    }
}

/// The invoke that an environment holds, from its arrival to its bill.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) invoke: InvokeId,
    pub(super) answered: bool,
    pub(super) cold: bool,
    /// Initialisation to be billed with it.
    pub(super) init: Duration,
    /// When its time-out began to run: when it was delivered, or when initialisation was run again
    /// inside it.
    pub(super) since: Option<Time>,
}

impl Held {
    pub(super) const fn cold(invoke: InvokeId) -> Self {
        Self { invoke, answered: false, cold: true, init: Duration::ZERO, since: None }
    }

    pub(super) const fn warm(invoke: InvokeId) -> Self {
        Self { cold: false, ..Self::cold(invoke) }
    }

    /// Its environment is ready. What ran inside the invoke is part of its duration already.
    pub(super) const fn initialised(&mut self, init: Duration) {
        if self.since.is_none() {
            self.init = init;
        }
    }
}
