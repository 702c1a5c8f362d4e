//! What shows only over time, or only once: an extension that is parked, a burst that finds nobody,
//! and memory after a long load.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use crate::accounting::{Usage, forget_peak, peak_kib, rss_kib};
use crate::contender::{Contender, INSTANCES, Running};
use crate::plan::{Generator, MAIN};
use crate::results::Fact;
use crate::rounds::Rounds;
use crate::targets::{EXTENSION_RSS, GROWTH, PARKED_CPU};

/// What an extension costs that has served with 100 slots and has nothing to do: once, while it
/// closes its connections to the app and gives memory back, and from then on.
pub(crate) async fn parked(rounds: &mut Rounds, folder: &Path) -> anyhow::Result<()> {
    let running = rounds.only(Contender::Ours).await?;
    MAIN.run(running, LOADED, folder).await?;
    let pids = pids(running, INSTANCES)?;
    let loaded = Usage::of_all(&pids);
    tokio::time::sleep(SETTLING).await;
    let settled = Usage::of_all(&pids);
    tokio::time::sleep(PARKED).await;
    let parked = Usage::of_all(&pids);
    let settling = (settled - loaded).cpu_ns as f64 / 1e6;
    let each_second = (parked - settled).cpu_ns as f64 / 1e6 / PARKED.as_secs_f64();
    rounds.results.facts.extend([
        Fact { name: SETTLING_CPU, value: settling, unit: "ms" },
        Fact { name: PARKED_CPU, value: each_second, unit: "ms" },
        Fact { name: EXTENSION_RSS, value: mib(&pids, rss_kib), unit: "MiB" },
    ]);
    Ok(())
}

/// How much memory a router takes more at the end of ten minutes under load than after the first
/// two.
///
/// Peaks count, and of spans alike: the flight recorder's ring gives half of itself back whenever
/// it is full, so that two moments differ by up to 4 MiB; and the highest of a longer time is
/// higher, though nothing grows.
pub(crate) async fn soak(rounds: &mut Rounds, folder: &Path) -> anyhow::Result<()> {
    let running = rounds.only(Contender::Ours).await?;
    let pids = pids(running, "router")?;
    let mut peaks = [0.0; SOAKS];
    for peak in &mut peaks {
        pids.iter().try_for_each(|&pid| forget_peak(pid)).context("peaks cannot be reset")?;
        MAIN.run(running, SOAK, folder).await?;
        *peak = mib(&pids, peak_kib);
        crate::say(&format!("soak: the router had {peak:.2} MiB at most in two minutes"));
    }
    let value = peaks[SOAKS - 1] - peaks[1];
    rounds.results.facts.push(Fact { name: GROWTH, value, unit: "MiB" });
    Ok(())
}

/// 200 clients at once, and no instance: up to 20 of 10 slots are started. Nothing else is
/// comparable with this; it is here so that it cannot get worse unseen.
pub(crate) async fn burst(rounds: &mut Rounds, folder: &Path) -> anyhow::Result<()> {
    for time in 0..BURSTS {
        let app: SocketAddr = rounds.app();
        let folder = folder.join(format!("burst-{time}"));
        let running = Contender::OursFromZero.start(app, &folder, None).await?;
        let crowd = Generator::Closed { connections: CROWD, path: "/", body: 0 };
        let measured = crowd.run(&running, INSTANT, &folder).await;
        running.stop().await;
        let measured = measured?.context("it speaks HTTP/1.1")?;
        let (all, failed) = (u64::from(CROWD), measured.errors);
        anyhow::ensure!(measured.requests >= all && failed == 0, "not {all} answers: {measured:?}");
        let value = measured.max_us.context("there are latencies")? / 1e3;
        rounds.results.facts.push(Fact { name: BURST, value, unit: "ms" });
    }
    Ok(())
}

fn pids(running: &Running, part: &str) -> anyhow::Result<Vec<u32>> {
    let part = running.parts.iter().find(|it| it.name == part);
    Ok(part.with_context(|| "a part of ours is missing")?.pids.clone())
}

fn mib(pids: &[u32], kib: fn(u32) -> u64) -> f64 {
    pids.iter().map(|&pid| kib(pid)).max().unwrap_or(0) as f64 / 1024.0
}

const SETTLING_CPU: &str = "extension: CPU in the twelve seconds after a load";
const BURST: &str = "burst of 200 clients that finds no instance: last answer after";
const BURSTS: u32 = 3;
const CROWD: u32 = 200;
/// One request a client: whoever is answered later than this does not ask again.
const INSTANT: Duration = Duration::from_millis(1);
const LOADED: Duration = Duration::from_secs(2);
/// At the router's first ping in silence connections are closed, at the second memory is given
/// back.
const SETTLING: Duration = Duration::from_secs(12);
const PARKED: Duration = Duration::from_secs(20);
const SOAK: Duration = Duration::from_secs(120);
const SOAKS: usize = 5;
