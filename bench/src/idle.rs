//! A thousand instances that do nothing: what they cost the router.
//!
//! They are no processes but connections, all of one process, which also plays AWS Lambda: it takes
//! invokes, attaches for each as an extension does, and holds both for ever. The router cannot tell
//! the difference.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::{Buf, Bytes, BytesMut};
use http::Response;
use io_tokio::attach::{self, Hello};
use io_tokio::clock::Clock;
use io_tokio::net::{Io, tune};
use io_tokio::payload::{InvokePayload, Plaintext};
use io_tokio::tls;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Child;

use crate::accounting::rss_kib;
use crate::app::listen;
use crate::contender::alone;
use crate::http1::{Body, HEADERS_MAX};
use crate::processes::{Side, command, free_addresses, ours, pid, spawn, until_it_answers};
use crate::results::Fact;
use crate::rounds::Rounds;
use crate::targets::{IDLE_RSS, PER_SLOT};

/// Measures the router with no instance and with a thousand, their links encrypted.
pub(crate) async fn measure(rounds: &mut Rounds, folder: &Path) -> anyhow::Result<()> {
    let folder = &folder.join("idle");
    std::fs::create_dir_all(folder)?;
    let mut lambda = command(Side::Ends, &std::env::current_exe()?)?;
    let mut lambda = lambda.arg("lambda").stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    let output = lambda.stdout.take().context("its output is piped")?;
    BufReader::new(output).read_line(&mut line).await?;
    let endpoint = format!("http://{}", line.trim());

    let (none, _) = resident(folder, &endpoint, 0).await?;
    let (all, slots) = resident(folder, &endpoint, INSTANCES).await?;
    rounds.results.facts.extend([
        Fact { name: PER_SLOT, value: (all - none) * 1024.0 / slots, unit: "KiB" },
        Fact { name: IDLE_RSS, value: all, unit: "MiB" },
    ]);
    Ok(())
}

/// MiB that a router has resident with so many instances, and the slots that it has then.
async fn resident(folder: &Path, endpoint: &str, count: u32) -> anyhow::Result<(f64, f64)> {
    let [http, control, admin] = free_addresses()?;
    let log = folder.join(format!("router-{count}.log"));
    let mut command = command(Side::Hops, &ours(None, "lambda-dispatch")?)?;
    command.arg("serve").args(["--function", "web"]);
    for setting in [
        format!("listen.http={http}"),
        format!("listen.control={control}"),
        format!("listen.admin={admin}"),
        format!("log.access={}", folder.join("access.log").display()),
        format!("aws.endpoint={endpoint}"),
        format!("pool.slots={SLOTS}"),
        format!("pool.instances_min={count}"),
        format!("pool.instances_max={INSTANCES}"),
        format!("pool.starts_unproven_max={INSTANCES}"),
        "workers=1".to_owned(),
    ] {
        command.args(["--set", &setting]);
    }
    alone(&mut command);
    let mut child: Child = spawn(&mut command, &log)?;
    until_it_answers(admin, "/livez", &mut child, &log).await?;
    let wanted = f64::from(count * SLOTS);
    for _ in 0..ATTEMPTS {
        tokio::time::sleep(BETWEEN_ATTEMPTS).await;
        if slots(admin).await? >= wanted {
            // What was needed only to begin has been given back by then.
            tokio::time::sleep(SETTLING).await;
            let mib = rss_kib(pid(&child)?) as f64 / 1024.0;
            return Ok((mib, wanted));
        }
    }
    bail!("the router has {} slots of {wanted} after two minutes", slots(admin).await?)
}

async fn slots(admin: SocketAddr) -> anyhow::Result<f64> {
    let mut stream = TcpStream::connect(admin).await?;
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut page = String::new();
    stream.read_to_string(&mut page).await?;
    let lines = page.lines().filter(|line| line.starts_with("dispatch_slots{"));
    let value = lines.filter_map(|line| line.rsplit(' ').next()).next();
    Ok(value.context("the router tells no dispatch_slots")?.trim().parse()?)
}

/// Plays Lambda until it is killed. Its first line says where.
pub(crate) async fn lambda() -> anyhow::Result<()> {
    let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(async move {
            if let Err(error) = invoked(stream).await {
                crate::say(&format!("an instance ended: {error}"));
            }
        });
    }
}

/// One invoke, which ends when its link does.
async fn invoked(mut stream: TcpStream) -> anyhow::Result<()> {
    let payload = InvokePayload::from_json(&request(&mut stream).await?)?;
    let offer = payload.offer(Clock::start().wall(), Plaintext::Allowed)?;
    let io = TcpStream::connect((offer.host.as_str(), offer.port)).await?;
    tune(&io)?;
    let hello = Hello {
        host: format!("{}:{}", offer.host, offer.port),
        instance: payload.id.clone(),
        slots: u16::from(payload.number_of_channels),
        lease: LEASE,
        cold: true,
    };
    match &offer.pins {
        Some(pins) => {
            let (mut io, exporter) = tls::dial(io, pins).await?;
            attach::request(&mut io, &hello, &offer.token, &exporter).await?;
            serve(io).await?;
        }
        None => {
            let mut io = io;
            attach::request(&mut io, &hello, &offer.token, &[]).await?;
            serve(io).await?;
        }
    }
    Ok(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await?)
}

async fn serve(io: impl Io) -> Result<(), h2::Error> {
    let mut link =
        h2::server::Builder::new().max_concurrent_streams(SLOTS).handshake::<_, Bytes>(io).await?;
    while let Some(accepted) = link.accept().await {
        let (_, mut respond) = accepted?;
        respond.send_response(Response::new(()), true)?;
    }
    Ok(())
}

/// The body of a request.
async fn request(stream: &mut TcpStream) -> anyhow::Result<Vec<u8>> {
    let mut buffer = BytesMut::new();
    let mut body = loop {
        if stream.read_buf(&mut buffer).await? == 0 {
            bail!("it was cut in its head");
        }
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        if let httparse::Status::Complete(length) = request.parse(&buffer)? {
            let body = Body::after(request.headers)?;
            buffer.advance(length);
            break body;
        }
    };
    let Body::Length(length) = &mut body else { bail!("an invoke has a length") };
    let length = usize::try_from(*length)?;
    while buffer.len() < length {
        if stream.read_buf(&mut buffer).await? == 0 {
            bail!("it was cut in its body");
        }
    }
    Ok(buffer[..length].to_vec())
}

const INSTANCES: u32 = 1_000;
const SLOTS: u32 = 10;
const LEASE: Duration = Duration::from_secs(900);
const ATTEMPTS: u32 = 1_200;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(100);
const SETTLING: Duration = Duration::from_secs(3);
