//! Who is measured. Each is started once, idles while others are measured, and passes requests to
//! the same app.

mod haproxy;
mod nginx;
mod ours;
mod ration;
mod v1;

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use emulator::Emulator;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Serialize, Serializer};
use tokio::process::Child;
use tokio::time::timeout;

use ours::Ours;
pub(crate) use ours::alone;

/// One way from a client to the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contender {
    /// No proxy.
    Direct,
    /// One nginx.
    Nginx,
    /// Two, chained.
    NginxTwice,
    /// One HAProxy.
    Haproxy,
    /// Router and extension, plaintext between them; one instance of 100 slots.
    Ours,
    /// The same with TLS between them.
    OursTls,
    /// `Ours` with two worker threads in the router.
    OursTwoWorkers,
    /// `Ours` whose router has a twentieth of a core.
    OursSlowed,
    /// The same with two worker threads, of which each has a twentieth.
    OursTwoSlowed,
    /// 10 instances of 10 slots.
    OursTen,
    /// 100 instances of 1 slot.
    OursHundred,
    /// `Ours` over the original's wire.
    OursV1,
    /// Up to 20 instances of 10 slots, started by need.
    OursFromZero,
    /// `Ours` of another commit.
    OursBase,
}

impl Contender {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "app direct",
            Self::Nginx => "nginx",
            Self::NginxTwice => "nginx, nginx",
            Self::Haproxy => "HAProxy",
            Self::Ours => "ours",
            Self::OursTls => "ours, TLS",
            Self::OursTwoWorkers => "ours, 2 workers",
            Self::OursSlowed => "ours, a twentieth of a core",
            Self::OursTwoSlowed => "ours, 2 workers, a twentieth each",
            Self::OursTen => "ours, 10 instances",
            Self::OursHundred => "ours, 100 instances",
            Self::OursV1 => "ours, wire v1",
            Self::OursFromZero => "ours, from zero",
            Self::OursBase => "ours before",
        }
    }

    /// Starts it in front of `app`, its files in `folder`.
    ///
    /// `base` has the programs of [`Contender::OursBase`].
    pub(crate) async fn start(
        self,
        app: SocketAddr,
        folder: &Path,
        base: Option<&Path>,
    ) -> anyhow::Result<Running> {
        std::fs::create_dir_all(folder)?;
        let one = Ours::default();
        match self {
            Self::Direct => Ok(Running::direct(app)),
            Self::Nginx => nginx::start(app, folder, 1).await,
            Self::NginxTwice => nginx::start(app, folder, 2).await,
            Self::Haproxy => haproxy::start(app, folder).await,
            Self::Ours => one.start(app, folder).await,
            Self::OursTls => Ours { tls: true, ..one }.start(app, folder).await,
            Self::OursTwoWorkers => Ours { workers: 2, ..one }.start(app, folder).await,
            Self::OursSlowed => Ours { rationed: true, ..one }.start(app, folder).await,
            Self::OursTwoSlowed => {
                Ours { rationed: true, workers: 2, ..one }.start(app, folder).await
            }
            Self::OursTen => Ours { instances: 10, slots: 10, ..one }.start(app, folder).await,
            Self::OursHundred => Ours { instances: 100, slots: 1, ..one }.start(app, folder).await,
            Self::OursFromZero => {
                Ours { instances: 20, slots: 10, by_need: true, ..one }.start(app, folder).await
            }
            Self::OursV1 => Ours { wire_v1: true, ..one }.start(app, folder).await,
            Self::OursBase => Ours { programs: base, ..one }.start(app, folder).await,
        }
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Contender {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A contender at work. Dropping it ends its processes.
#[derive(Debug)]
pub(crate) struct Running {
    /// Where it takes HTTP/1.1.
    pub(crate) http: SocketAddr,
    /// Where it takes HTTP/2 without TLS, if it does.
    pub(crate) h2: Option<SocketAddr>,
    /// What it is made of, in the order in which a request passes it.
    pub(crate) parts: Vec<Part>,
    /// From its start to the first poll for work, in ms: an instance's, where there is one.
    pub(crate) first_poll_ms: Option<f64>,
    children: Vec<Child>,
    emulator: Option<Emulator>,
    filter: Option<v1::Filter>,
}

/// The part that instances are.
pub(crate) const INSTANCES: &str = "extension";

/// A program that a request passes.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) pids: Vec<u32>,
}

impl Running {
    const fn direct(app: SocketAddr) -> Self {
        Self {
            http: app,
            h2: None,
            parts: Vec::new(),
            first_poll_ms: None,
            children: Vec::new(),
            emulator: None,
            filter: None,
        }
    }

    /// Takes note of the instances that there are now: one may have taken another's place, and what
    /// it uses counts as well.
    pub(crate) async fn find_instances(&mut self) {
        let Some(emulator) = &self.emulator else { return };
        let Some(part) = self.parts.iter_mut().find(|part| part.name == INSTANCES) else { return };
        let environments = emulator.environments().await;
        let mut pids: Vec<_> = environments.iter().flat_map(|it| &it.pids).copied().collect();
        pids.sort_unstable();
        part.pids.sort_unstable();
        if pids != part.pids {
            crate::say(&format!("instances were {:?} and are {pids:?}", part.pids));
            part.pids = pids;
        }
    }

    /// Has its router end by itself, as a signal asks it to, and then the rest.
    pub(crate) async fn drain(mut self) -> anyhow::Result<()> {
        for child in &mut self.children {
            let pid = child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
            kill_process(pid.context("the router has ended already")?, Signal::TERM)?;
            timeout(DRAIN_MAX, child.wait()).await.context("the router does not end")??;
        }
        self.stop().await;
        Ok(())
    }

    /// Ends it: proxies at once, instances in order.
    pub(crate) async fn stop(mut self) {
        for child in &mut self.children {
            // It may have ended by itself.
            child.kill().await.ok();
        }
        drop(self.filter.take());
        if let Some(emulator) = self.emulator.take() {
            emulator.shutdown().await;
        }
    }
}

/// Longer than a router takes that nobody asks for anything.
const DRAIN_MAX: Duration = Duration::from_secs(60);
