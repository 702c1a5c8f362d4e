//! A run: the contenders face each load in turn, A B C A B C, after a warm-up.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use io_tokio::clock::Clock;
use tokio::process::Child;

use crate::accounting::{Usage, ended_children_ns, machine_busy_ns, rss_kib};
use crate::contender::{Contender, Running};
use crate::machine::{self, Machine};
use crate::plan::Load;
use crate::processes::{Side, command, free_addresses, pid, spawn};
use crate::results::{Fact, PartSample, Results, Sample, Skipped};
use crate::targets::FIRST_POLL;

/// The app, who is in front of it, and what was measured so far.
pub(crate) struct Rounds {
    pub(crate) results: Results,
    rounds: u32,
    span: Duration,
    folder: PathBuf,
    base: Option<PathBuf>,
    app: (SocketAddr, Child),
    running: BTreeMap<Contender, Running>,
    clock: Clock,
}

impl Rounds {
    /// Starts the app. Files go to `folder`; `base` has the programs of another commit.
    pub(crate) async fn start(
        rounds: u32,
        span: Duration,
        folder: &Path,
        base: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        let [address] = free_addresses()?;
        let log = folder.join("app.log");
        let mut command = command(Side::Ends, &std::env::current_exe()?)?;
        command.arg("app").arg(address.to_string());
        let mut app = spawn(&mut command, &log)?;
        until_it_listens(address, &mut app, &log).await?;
        Ok(Self {
            results: Results {
                machine: Machine::this(),
                samples: Vec::new(),
                facts: Vec::new(),
                skipped: Vec::new(),
            },
            rounds,
            span,
            folder: folder.to_owned(),
            base,
            app: (address, app),
            running: BTreeMap::new(),
            clock: Clock::start(),
        })
    }

    /// Lets all of a load's contenders face it.
    pub(crate) async fn load(&mut self, load: &Load) -> anyhow::Result<()> {
        self.have(load.contenders).await;
        for &contender in load.contenders {
            if let Some(running) = self.running.get(&contender) {
                load.by.run(running, WARM_UP, &self.folder).await?;
            }
        }
        for round in 0..self.rounds {
            for &contender in load.contenders {
                let Some(sample) = self.sample(load, contender, round).await? else { continue };
                show(&sample);
                self.results.samples.push(sample);
            }
        }
        Ok(())
    }

    /// Sees to it that exactly these run. Who cannot is skipped.
    async fn have(&mut self, contenders: &[Contender]) {
        let unwanted: Vec<_> =
            self.running.keys().copied().filter(|it| !contenders.contains(it)).collect();
        for contender in unwanted {
            if let Some(running) = self.running.remove(&contender) {
                running.stop().await;
            }
        }
        for &contender in contenders {
            let known = self.results.skipped.iter().any(|it| it.what == contender.name());
            if known || self.running.contains_key(&contender) {
                continue;
            }
            let folder = self.folder.join(contender.name().replace([' ', ','], "-"));
            match contender.start(self.app.0, &folder, self.base.as_deref()).await {
                Ok(running) => {
                    let ms = running.first_poll_ms;
                    let fact = ms.map(|value| Fact { name: FIRST_POLL, value, unit: "ms" });
                    self.results.facts.extend(fact);
                    self.running.insert(contender, running);
                }
                Err(error) => self.skip(contender.name(), &error),
            }
        }
    }

    /// Goes on without this one, and says so in the results.
    pub(crate) fn skip(&mut self, what: &'static str, error: &anyhow::Error) {
        let why = format!("{error:#}").replace('\n', " ");
        crate::say(&format!("{what} is not measured: {why}"));
        self.results.skipped.push(Skipped { what, why });
    }

    async fn sample(
        &mut self,
        load: &Load,
        contender: Contender,
        round: u32,
    ) -> anyhow::Result<Option<Sample>> {
        if let Some(running) = self.running.get_mut(&contender) {
            running.find_instances().await;
        }
        let Some(running) = self.running.get(&contender) else { return Ok(None) };
        let books = self.open_books(running)?;
        let measured = load.by.run(running, load.span(self.span), &self.folder).await;
        let measured = measured.with_context(|| format!("{} before {contender}", load.name))?;
        let Some(measured) = measured else { return Ok(None) };
        let others = self.others_since(&books)?;
        let parts = running.parts.iter().zip(&books.parts).map(|(part, before)| PartSample {
            name: part.name,
            usage: Usage::of_all(&part.pids) - *before,
            rss_kib: part.pids.iter().map(|&pid| rss_kib(pid)).max().unwrap_or(0),
        });
        let parts = parts.collect();
        Ok(Some(Sample { load: load.name, contender, round, measured, parts, others }))
    }

    fn open_books(&self, running: &Running) -> anyhow::Result<Books> {
        Ok(Books {
            parts: running.parts.iter().map(|part| Usage::of_all(&part.pids)).collect(),
            ours_ns: self.ours_ns()?,
            busy_ns: machine_busy_ns()?,
            at: self.clock.now().as_nanos(),
        })
    }

    /// The part of the machine's time since then that none of ours used.
    fn others_since(&self, books: &Books) -> anyhow::Result<f64> {
        let busy = machine_busy_ns()?.saturating_sub(books.busy_ns);
        let ours = self.ours_ns()?.saturating_sub(books.ours_ns);
        let all = (self.clock.now().as_nanos() - books.at) * machine::cores() as u64;
        Ok(busy.saturating_sub(ours) as f64 / all.max(1) as f64)
    }

    /// CPU of everything that this run has started, and of itself.
    fn ours_ns(&self) -> anyhow::Result<u64> {
        let parts = self.running.values().flat_map(|it| &it.parts).flat_map(|it| &it.pids);
        let all = parts.copied().chain([pid(&self.app.1)?, std::process::id()]);
        Ok(all.map(|pid| Usage::of(pid).cpu_ns).sum::<u64>() + ended_children_ns()?)
    }

    /// Sees to it that this one runs and no other.
    pub(crate) async fn only(&mut self, contender: Contender) -> anyhow::Result<&Running> {
        self.have(&[contender]).await;
        self.running.get(&contender).with_context(|| format!("{contender} does not run"))
    }

    /// Takes a contender that runs out of the run.
    pub(crate) fn take(&mut self, contender: Contender) -> anyhow::Result<Running> {
        self.running.remove(&contender).with_context(|| format!("{contender} does not run"))
    }

    /// Where the app is.
    pub(crate) const fn app(&self) -> SocketAddr {
        self.app.0
    }

    /// Ends all processes.
    pub(crate) async fn finish(mut self) -> Results {
        self.have(&[]).await;
        self.results
    }
}

/// The books at the start of a sample.
struct Books {
    parts: Vec<Usage>,
    ours_ns: u64,
    busy_ns: u64,
    at: u64,
}

async fn until_it_listens(address: SocketAddr, app: &mut Child, log: &Path) -> anyhow::Result<()> {
    // The app keeps connections open; a path of its own is not needed to see that it listens.
    for _ in 0..ATTEMPTS {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            return Ok(());
        }
        if app.try_wait()?.is_some() {
            break;
        }
        tokio::time::sleep(BETWEEN_ATTEMPTS).await;
    }
    anyhow::bail!("the app does not start: {}", crate::processes::tail(log))
}

/// A line to whoever waits.
fn show(sample: &Sample) {
    let rate = sample.per_second().unwrap_or(0.0);
    let cpu = sample.cpu_us().map_or_else(String::new, |us| format!("{us:.1} µs CPU"));
    let (load, who, round) = (sample.load, sample.contender, sample.round + 1);
    let others = sample.others * 100.0;
    let line =
        format!("{load:<38} {who:<20} {round}  {rate:>9.0}/s  {cpu:<16} others {others:.0} %");
    crate::say(&line);
}

const WARM_UP: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 200;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(50);
