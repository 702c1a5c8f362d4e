//! Whom the extension talks to.

use io_tokio::net::{Connector, TcpConnector};
use io_tokio::networks::Networks;

/// How to reach the router, and how to reach what is on this machine: the app and Lambda's API.
#[derive(Clone, Debug)]
pub struct Network<C> {
    /// Dials the router, whose address comes with an invoke.
    pub router: C,
    /// Dials the app and Lambda's API, whose addresses are settings.
    pub local: C,
}

impl Network<TcpConnector> {
    /// TCP, with routers in `allowed` only.
    #[must_use]
    pub fn tcp(allowed: Networks) -> Self {
        Self { router: TcpConnector::new(allowed), local: TcpConnector::new(Networks::any()) }
    }
}

impl<C: Connector> Network<C> {
    /// The same way for everything.
    #[must_use]
    pub fn same(connector: C) -> Self {
        Self { router: connector.clone(), local: connector }
    }
}
