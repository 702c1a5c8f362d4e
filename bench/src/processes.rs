//! Starting the processes that are measured, so that none outlives the run.

use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::machine;

/// Which half of the machine a process belongs to, where there are cores enough for halves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    /// The load generator and the app.
    Ends,
    /// What is measured.
    Hops,
    /// What must not be bound to cores.
    Both,
}

/// The words to put before a command so that it runs on its side and ends with this process.
pub(crate) fn wrapper(side: Side) -> anyhow::Result<Vec<OsString>> {
    let me = std::env::current_exe().context("the path of this program is not known")?;
    let mut words = vec![me.into_os_string(), "exec".into()];
    let cores = machine::allowed_cores()?;
    if let Some(which) = share(side, &cores) {
        let which: Vec<_> = which.iter().map(usize::to_string).collect();
        words.extend(["taskset".into(), "-c".into(), which.join(",").into()]);
    }
    Ok(words)
}

/// Those of `cores` that a side has, if there are enough of them for sides.
fn share(side: Side, cores: &[usize]) -> Option<&[usize]> {
    let (hops, ends) = cores.split_at(cores.len() / 2);
    (cores.len() >= CORES_FOR_HALVES).then_some(match side {
        Side::Ends => ends,
        Side::Hops => hops,
        Side::Both => cores,
    })
}

/// `program`, to be run on `side`.
pub(crate) fn command(side: Side, program: &Path) -> anyhow::Result<Command> {
    let words = wrapper(side)?;
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg(program).stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

/// Starts a process whose output goes to `log`.
pub(crate) fn spawn(command: &mut Command, log: &Path) -> anyhow::Result<Child> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stdout(file.try_clone()?).stderr(file);
    command.spawn().with_context(|| format!("cannot start {:?}", command.as_std().get_program()))
}

/// The process's number.
pub(crate) fn pid(child: &Child) -> anyhow::Result<u32> {
    child.id().context("the process has ended already")
}

/// A program of ours, built beside this one, or in `folder`.
pub(crate) fn ours(folder: Option<&Path>, name: &str) -> anyhow::Result<PathBuf> {
    let me = std::env::current_exe()?;
    let folder = folder.or_else(|| me.parent()).context("this program is in no folder")?;
    let path = folder.join(name);
    if !path.exists() {
        bail!("{} is not built; bench/run builds it", path.display());
    }
    Ok(path)
}

/// Addresses of loopback that nobody listens on.
pub(crate) fn free_addresses<const N: usize>() -> anyhow::Result<[SocketAddr; N]> {
    // All held at once, so that they differ.
    let mut listeners = Vec::with_capacity(N);
    for _ in 0..N {
        listeners.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
    }
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for (address, listener) in addresses.iter_mut().zip(&listeners) {
        *address = listener.local_addr()?;
    }
    Ok(addresses)
}

/// Waits until `address` answers a request for `path` with 200, or `child` ends.
pub(crate) async fn until_it_answers(
    address: SocketAddr,
    path: &str,
    child: &mut Child,
    log: &Path,
) -> anyhow::Result<()> {
    for _ in 0..ATTEMPTS {
        let asked = tokio::time::timeout(PATIENCE, status(address, path)).await;
        if matches!(asked, Ok(Ok(200))) {
            return Ok(());
        }
        if let Some(status) = child.try_wait()? {
            bail!("it ended with {status}: {}", tail(log));
        }
        tokio::time::sleep(BETWEEN_ATTEMPTS).await;
    }
    bail!("{address} does not answer {path} with 200: {}", tail(log))
}

async fn status(address: SocketAddr, path: &str) -> anyhow::Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: bench.test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.split(' ').nth(1).context("no status")?.parse()?)
}

/// The end of what a process said.
pub(crate) fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

const CORES_FOR_HALVES: usize = 4;
const ATTEMPTS: u32 = 600;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(50);
/// A cold start included.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_has_half_of_the_cores_that_there_are_whatever_their_numbers() {
        let cores = [4, 5, 6, 8, 9];
        assert_eq!(share(Side::Hops, &cores), Some([4, 5].as_slice()));
        assert_eq!(share(Side::Ends, &cores), Some([6, 8, 9].as_slice()));
        assert_eq!(share(Side::Both, &cores), Some(cores.as_slice()));
        assert_eq!(share(Side::Hops, &cores[..3]), None);
    }
}
