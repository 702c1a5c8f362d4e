//! HAProxy, once: one thread, connections to the app kept open and shared, the access log a line a
//! request on standard output, which is a file.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;

use super::{Part, Running};
use crate::processes::{self, Side, command, free_addresses, pid, spawn};

pub(super) async fn start(app: SocketAddr, folder: &Path) -> anyhow::Result<Running> {
    let [http, h2] = free_addresses()?;
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, configuration([http, h2], app))?;
    let log = folder.join("access.log");
    let mut command = command(Side::Hops, Path::new("haproxy"))?;
    command.arg("-db").arg("-f").arg(&file);
    let mut child = spawn(&mut command, &log)?;
    let ready = processes::until_it_answers(http, "/health", &mut child, &log).await;
    ready.context("HAProxy does not get ready")?;
    let mut running = Running::direct(http);
    running.h2 = Some(h2);
    running.parts.push(Part { name: "HAProxy", pids: vec![pid(&child)?] });
    running.children.push(child);
    Ok(running)
}

fn configuration([http, h2]: [SocketAddr; 2], app: SocketAddr) -> String {
    format!(
        "global
    nbthread 1
    maxconn 8192
    log stdout format raw local0 info

defaults
    mode http
    log global
    option httplog
    option http-keep-alive
    option forwardfor
    http-reuse always
    timeout connect 5s
    timeout client 75s
    timeout server 75s
    timeout http-request 10s

frontend clients
    bind {http} backlog 4096
    bind {h2} proto h2 backlog 4096
    default_backend app

backend app
    server app {app} pool-max-conn 1024 maxconn 4096
"
    )
}
