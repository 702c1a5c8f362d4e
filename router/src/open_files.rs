//! How many files this process may have open at once, and each connection is one.
//!
//! Linux gives a process 1,024 and lets it take many times that. The low number is for programs
//! that use `select`, which cannot count further. This is none; what it starts may be one, and is
//! given the old number.

use std::ffi::OsString;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::settings::Settings;

/// The limit, `None` where there is no number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenFiles {
    before: Option<u64>,
    pub(crate) now: Option<u64>,
}

impl OpenFiles {
    /// Takes as many as this process may.
    pub(crate) fn raise() -> Self {
        let Rlimit { current: before, maximum } = getrlimit(Resource::Nofile);
        let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
        // Only a kernel that was told to allow less than it once did refuses that.
        Self { before, now: if raised.is_ok() { maximum } else { before } }
    }

    /// What tells [`give_back`] the old limit.
    pub(crate) fn as_argument(self) -> Option<OsString> {
        self.before.map(|before| format!("{ARGUMENT}{before}").into())
    }

    /// How many clients may be connected at once. Who is idle must not take what is needed to start
    /// instances and to let them in; but however many of those there may be, half is for clients.
    pub(crate) fn clients_max(self, settings: &Settings) -> usize {
        let connections = settings.limits.connections;
        let Some(now) = self.now else { return connections };
        let room = now - beside_clients(instances_max(settings)).min(now / 2);
        usize::try_from(room).map_or(connections, |room| room.min(connections))
    }

    /// What to say if a router of these settings may need more.
    pub(crate) fn shortage(self, settings: &Settings) -> Option<String> {
        let now = self.now?;
        let connections = settings.limits.connections as u64;
        let instances = instances_max(settings);
        let needed = connections.saturating_add(beside_clients(instances));
        let clients = self.clients_max(settings);
        (now < needed).then(|| {
            format!(
                "limits.connections is {connections} and there may be {instances} instances, \
                 which takes {needed} open files, but this process may have {now}: {clients} \
                 clients may connect at once; raise the hard limit (`ulimit -Hn`, LimitNOFILE of \
                 systemd, nofile of a container), or lower limits.connections"
            )
        })
    }
}

fn instances_max(settings: &Settings) -> u64 {
    settings.pools.iter().map(|pool| u64::from(pool.config.instances_max)).sum()
}

/// What others than clients need. An instance has its link, and its invoke a connection to AWS.
const fn beside_clients(instances: u64) -> u64 {
    2 * instances + OTHERS
}

/// Takes the limit that is to be in force again off the front of a command.
pub(crate) fn give_back(command: &[OsString]) -> &[OsString] {
    let Some((first, rest)) = command.split_first() else { return command };
    let limit = first.to_str().and_then(|first| first.strip_prefix(ARGUMENT)?.parse().ok());
    let Some(limit) = limit else { return command };
    let now = getrlimit(Resource::Nofile);
    // It was in force before, so it is allowed; a program lives with more than it expects, too.
    setrlimit(Resource::Nofile, Rlimit { current: Some(limit), ..now }).ok();
    rest
}

const ARGUMENT: &str = "--open-files=";
/// Listeners, logs, probes, what the runtime needs.
const OTHERS: u64 = 64;
