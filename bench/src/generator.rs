//! Making a load and reading what came of it: `wrk`, `h2load`, or our own as a process of its own,
//! so that its CPU is nobody else's.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::contender::Running;
use crate::load::{Measured, Tally};
use crate::plan::Generator;
use crate::processes::{Side, command};

impl Generator {
    /// Loads `running` for `span`. `None` if it does not speak what this generator speaks.
    pub(crate) async fn run(
        self,
        running: &Running,
        span: Duration,
        folder: &Path,
    ) -> anyhow::Result<Option<Measured>> {
        let http = running.http;
        let measured = match self {
            Self::Wrk { connections, path } => wrk(http, path, connections, span, folder).await,
            Self::H2load { clients, streams, path } => {
                let Some(h2) = running.h2 else { return Ok(None) };
                h2load(h2, path, [clients, streams], span, folder).await
            }
            Self::Closed { connections, path, body } => {
                own(http, path, connections, span, &["--body".into(), body.to_string().into()])
                    .await
            }
            Self::Rate { connections, path, per_second } => {
                let rate = ["--rate".into(), per_second.to_string().into()];
                own(http, path, connections, span, &rate).await
            }
        };
        measured.map(Some)
    }
}

async fn wrk(
    address: SocketAddr,
    path: &str,
    connections: u32,
    span: Duration,
    folder: &Path,
) -> anyhow::Result<Measured> {
    let script = folder.join("wrk.lua");
    std::fs::write(&script, WRK_SCRIPT)?;
    let mut command = command(Side::Ends, Path::new("wrk"))?;
    command
        .args(["-t", "1", "-c", &connections.to_string(), "-d", &format!("{}s", span.as_secs())])
        .args(["--timeout", "30s", "-s"])
        .arg(&script)
        .arg(format!("http://{address}{path}"));
    let text = output(command).await?;
    let line = text.lines().find_map(|line| line.strip_prefix("MEASURED "));
    Ok(serde_json::from_str(line.with_context(|| format!("wrk said: {text}"))?)?)
}

async fn h2load(
    address: SocketAddr,
    path: &str,
    [clients, streams]: [u32; 2],
    span: Duration,
    folder: &Path,
) -> anyhow::Result<Measured> {
    let log = folder.join("h2load.log");
    drop(std::fs::remove_file(&log));
    let mut command = command(Side::Ends, Path::new("h2load"))?;
    command
        .args(["-t", "1", "-c", &clients.to_string(), "-m", &streams.to_string()])
        .args(["-D", &span.as_secs().to_string()])
        .arg(format!("--log-file={}", log.display()))
        .arg(format!("http://{address}{path}"));
    let text = output(command).await?;
    let failed = text.lines().find_map(|line| line.strip_prefix("requests: "));
    let failed = failed.with_context(|| format!("h2load said: {text}"))?;
    let count = |word: &str| {
        let place = failed.split(", ").find_map(|part| part.strip_suffix(word));
        place.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    let mut tally = Tally::new();
    // Start, status and time of each request, times in µs.
    for line in std::fs::read_to_string(&log)?.lines() {
        let mut fields = line.split('\t').skip(1);
        if let (Some("200"), Some(us)) = (fields.next(), fields.next()) {
            tally.answered(Duration::from_micros(us.parse()?), 0);
        }
    }
    let measured = tally.measured(span);
    Ok(Measured { errors: count(" failed") + count(" errored"), ..measured })
}

async fn own(
    address: SocketAddr,
    path: &str,
    connections: u32,
    span: Duration,
    rest: &[OsString],
) -> anyhow::Result<Measured> {
    let me: PathBuf = std::env::current_exe()?;
    let mut command = command(Side::Ends, &me)?;
    command
        .args(["load", "--address", &address.to_string(), "--path", path])
        .args(["--connections", &connections.to_string()])
        .args(["--seconds", &span.as_secs_f64().to_string()])
        .args(rest);
    let text = output(command).await?;
    serde_json::from_str(&text).with_context(|| format!("the load generator said: {text}"))
}

async fn output(mut command: Command) -> anyhow::Result<String> {
    let program = format!("{:?}", command.as_std());
    let output = command.stderr(Stdio::piped()).output().await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("{program} ended with {}: {text}{error}", output.status);
    }
    Ok(text)
}

const WRK_SCRIPT: &str = r#"
done = function(summary, latency, requests)
    local e = summary.errors
    local errors = e.connect + e.read + e.write + e.status + e.timeout
    io.write(string.format(
        'MEASURED {"requests":%d,"errors":%d,"bytes":%d,"seconds":%f,' ..
        '"p50_us":%f,"p99_us":%f,"p999_us":%f,"max_us":%f}\n',
        summary.requests - e.status, errors, summary.bytes, summary.duration / 1e6,
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max))
end
"#;
