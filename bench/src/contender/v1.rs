//! Lambda's API as a router of the original would call it: invokes pass on their way to the
//! emulator, and lose the part of the payload that the original's does not have. So both of our
//! programs speak the original's wire with each other.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, bail};
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;

use super::ours::alone;

/// The router's setting.
pub(super) const ROUTER: &str = "listen.wire_v1=127.0.0.0/8";
/// The extension's.
pub(super) const EXTENSION: (&str, &str) = ("LAMBDA_DISPATCH_WIRE_V1", "true");

/// Fails if `router` does not know the original's wire.
pub(super) async fn known_to(router: &Path) -> anyhow::Result<()> {
    let mut command = Command::new(router);
    command.args(["check", "--function", "web", "--set", ROUTER]);
    alone(&mut command);
    let output = command.stdin(Stdio::null()).output().await?;
    if !output.status.success() {
        bail!("this router does not know {ROUTER}");
    }
    Ok(())
}

/// Stands before Lambda's API, `lambda`, until it is dropped.
#[derive(Debug)]
pub(super) struct Filter {
    address: SocketAddr,
    _task: JoinSet<()>,
}

impl Filter {
    pub(super) async fn before(lambda: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut calls = JoinSet::new();
            while let Ok((router, _)) = listener.accept().await {
                calls.spawn(async move {
                    if let Err(error) = call(router, lambda).await {
                        crate::say(&format!("an invoke on its way to the emulator: {error:#}"));
                    }
                });
            }
        });
        Ok(Self { address, _task: task })
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// One call on a connection of its own, as the router makes them.
async fn call(mut router: TcpStream, lambda: SocketAddr) -> anyhow::Result<()> {
    let mut buffer = BytesMut::new();
    let (head, length) = loop {
        if let Some(end) = buffer.windows(4).position(|it| it == b"\r\n\r\n") {
            let head = String::from_utf8(buffer.split_to(end + 2).to_vec())?;
            buffer.advance(2);
            let length = head.lines().find_map(content_length);
            break (head, length.context("an invoke has a length")?);
        }
        if router.read_buf(&mut buffer).await? == 0 {
            bail!("it was cut in its head");
        }
    };
    while buffer.len() < length {
        if router.read_buf(&mut buffer).await? == 0 {
            bail!("it was cut in its body");
        }
    }
    let mut payload: serde_json::Value = serde_json::from_slice(&buffer[..length])?;
    payload.as_object_mut().context("a payload is an object")?.remove("V2");
    let payload = payload.to_string();
    let mut call = String::new();
    for line in head.lines().filter(|line| content_length(line).is_none()) {
        call.extend([line, "\r\n"]);
    }
    let call = format!("{call}content-length: {}\r\n\r\n{payload}", payload.len());
    let mut lambda = TcpStream::connect(lambda).await?;
    lambda.write_all(call.as_bytes()).await?;
    // The router may be killed while it waits, which ends both.
    copy_bidirectional(&mut router, &mut lambda).await.ok();
    Ok(())
}

fn content_length(line: &str) -> Option<usize> {
    let (name, value) = line.split_once(':')?;
    name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
}
