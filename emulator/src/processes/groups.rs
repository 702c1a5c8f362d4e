//! Which process groups run in which environment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::model::EnvironmentId;

/// The groups of all environments. Behind a lock and not with the owner, so that dropping the
/// emulator can kill them at once, whatever its tasks are doing.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    ended: bool,
    running: BTreeMap<EnvironmentId, Vec<Group>>,
}

/// The processes of one program.
#[derive(Debug)]
pub(super) struct Group {
    /// The first of them, whose number is the group's.
    pub(super) leader: Pid,
    /// What the program is called.
    pub(super) name: String,
    /// The name of its file.
    pub(super) file: String,
}

impl Groups {
    pub(super) fn insert(&self, environment: EnvironmentId, group: Group) {
        let mut inner = self.lock();
        if inner.ended {
            group.send(Signal::KILL);
        }
        inner.running.entry(environment).or_default().push(group);
    }

    /// The leader was waited for: kills what it left behind in its group, and forgets the group
    /// before its number can be taken by another.
    pub(super) fn remove(&self, environment: EnvironmentId, leader: Pid) {
        let mut inner = self.lock();
        let Some(groups) = inner.running.get_mut(&environment) else { return };
        for group in groups.extract_if(.., |group| group.leader == leader) {
            group.send(Signal::KILL);
        }
        if groups.is_empty() {
            inner.running.remove(&environment);
        }
    }

    pub(super) fn signal(&self, environment: EnvironmentId, signal: Signal) {
        for group in self.lock().running.get(&environment).into_iter().flatten() {
            group.send(signal);
        }
    }

    /// Sends SIGTERM to the programs of `environment` but the extensions of these names. Each is
    /// the program that is called so, else the first whose file is: an app may be the same file.
    pub(super) fn terminate(&self, environment: EnvironmentId, extensions: &[String]) {
        let inner = self.lock();
        let Some(groups) = inner.running.get(&environment) else { return };
        let mut others: Vec<&Group> = groups.iter().collect();
        for name in extensions {
            let called = others.iter().position(|group| group.name == *name);
            let place = called.or_else(|| others.iter().position(|group| group.file == *name));
            if let Some(place) = place {
                others.remove(place);
            }
        }
        for group in others {
            group.send(Signal::TERM);
        }
    }

    pub(super) fn pids(&self, environment: EnvironmentId) -> Vec<u32> {
        let inner = self.lock();
        let groups = inner.running.get(&environment).into_iter().flatten();
        groups.map(|group| group.leader.as_raw_nonzero().get().cast_unsigned()).collect()
    }

    pub(super) fn end(&self) {
        let mut inner = self.lock();
        inner.ended = true;
        for group in inner.running.values().flatten() {
            group.send(Signal::KILL);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves the map whole: each change is one call.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group {
    fn send(&self, signal: Signal) {
        // The only error that happens is that nothing is left to signal.
        if let Err(error) = kill_process_group(self.leader, signal) {
            tracing::trace!("process group {:?} is gone: {error}", self.leader);
        }
    }
}
