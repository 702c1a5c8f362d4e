//! nginx, once or twice: one process each, connections to the next kept open, access log buffered
//! to a file, bodies streamed through memory and never to disk.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;

use super::{Part, Running};
use crate::processes::{self, Side, command, free_addresses, pid, spawn};

/// Starts `hops` of them, each in front of the next, the last in front of `app`.
pub(super) async fn start(app: SocketAddr, folder: &Path, hops: usize) -> anyhow::Result<Running> {
    let mut running = Running::direct(app);
    // From the app towards the client.
    for name in NAMES[..hops].iter().rev() {
        let [http, h2] = free_addresses()?;
        let folder = folder.join(name.replace(' ', "-"));
        std::fs::create_dir_all(&folder)?;
        let file = folder.join("nginx.conf");
        std::fs::write(&file, configuration(&folder, [http, h2], running.http))?;
        let log = folder.join("output.log");
        let mut command = command(Side::Hops, Path::new("nginx"))?;
        command.arg("-e").arg(&log).arg("-p").arg(&folder).arg("-c").arg(&file);
        let mut child = spawn(&mut command, &log)?;
        let ready = processes::until_it_answers(http, "/health", &mut child, &log).await;
        ready.with_context(|| format!("{name} does not get ready"))?;
        let name = if hops == 1 { "nginx" } else { name };
        running.parts.insert(0, Part { name, pids: vec![pid(&child)?] });
        running.children.push(child);
        (running.http, running.h2) = (http, Some(h2));
    }
    Ok(running)
}

fn configuration(folder: &Path, [http, h2]: [SocketAddr; 2], next: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 8192; }}
http {{
    access_log {folder}/access.log combined buffer=64k flush=1s;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 75s;
    client_max_body_size 0;
    proxy_request_buffering off;
    proxy_buffer_size 16k;
    proxy_buffers 16 64k;
    proxy_busy_buffers_size 128k;
    proxy_max_temp_file_size 0;
    proxy_read_timeout 75s;
    upstream next {{
        server {next};
        keepalive 1024;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {http} backlog=4096;
        listen {h2} http2 backlog=4096;
        location / {{
            proxy_pass http://next;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"
    )
}

const NAMES: [&str; 2] = ["nginx A", "nginx B"];
