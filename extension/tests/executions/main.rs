//! A request is delivered to at most one app, at most once, whatever breaks and when.
//!
//! A real router and real extensions, with a proxy between them and another between extension and
//! app. Each run lets one of the proxies cut its connection after a number of bytes, and the sweep
//! does that for *every* number, in both directions, with a reset and with a plain end. The apps
//! count by request id. What must hold in every run:
//!
//! - no id is executed twice, nor is a byte of one request ever seen by a second app;
//! - whoever got a whole response was executed exactly once;
//! - what broke before the request left the router is invisible to the client.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a failure, which is what is wanted")]
#![expect(clippy::print_stdout, reason = "the totals of a sweep, for whoever asks")]

mod app;
mod cutting_proxy;
mod environment;
mod sweep;
mod world;

use std::sync::atomic::{AtomicU16, Ordering};

use tokio::net::TcpListener;

/// A listener on a port below those that outgoing connections get. There are tens of thousands of
/// these in a minute, each of which holds its port for that long after its end.
async fn listen() -> TcpListener {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() * 97 % u32::from(PORTS)).unwrap();
    for _ in 0..PORTS {
        let next = (u32::from(first) + u32::from(TAKEN.fetch_add(1, Ordering::Relaxed)))
            % u32::from(PORTS);
        let port = FIRST_PORT + u16::try_from(next).unwrap();
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
            return listener;
        }
    }
    panic!("no port is free from {FIRST_PORT} to {}", FIRST_PORT + PORTS);
}

const FIRST_PORT: u16 = 10_000;
const PORTS: u16 = 20_000;
