//! What the adapters let others see: every input and output of the model, and every exchange with
//! a client. Metrics, the access log and the flight recorder are observers; none can change
//! anything.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use dispatch_model::{Gauges, Input, InstanceId, Output, Stats, Time};

/// Watches the model of one pool. Called by the one task that drives it: be quick, never block.
pub trait Observer: Send + 'static {
    /// The model is about to be told `input`.
    fn input(&mut self, now: Time, input: &Input);

    /// The model has asked for `output`.
    fn output(&mut self, now: Time, output: &Output);

    /// A turn of the driver is over.
    fn turn(&mut self, now: Time, stats: &Stats, gauges: &Gauges);
}

/// One finished exchange with a client, whatever became of it.
#[derive(Clone, Debug)]
pub struct Access {
    /// When its head was complete.
    pub started: SystemTime,
    /// The client, or the proxy in front of it.
    pub peer: IpAddr,
    /// The method.
    pub method: http::Method,
    /// The path without the query, as it was sent.
    pub target: String,
    /// The client's version of HTTP.
    pub version: http::Version,
    /// The authority it was sent to; empty if it named none.
    pub host: String,
    /// The status sent, or 499 if the client went away before there was one.
    pub status: u16,
    /// One word that says how it ended, `snake_case`.
    pub reason: &'static str,
    /// Bytes of request body taken from the client.
    pub bytes_in: u64,
    /// Bytes of response body handed to the client.
    pub bytes_out: u64,
    /// How long it waited for a slot.
    pub queue: Duration,
    /// From its head to the response's, if there was one.
    pub first_byte: Option<Duration>,
    /// From its head to the end.
    pub total: Duration,
    /// Who served it last.
    pub instance: Option<InstanceId>,
    /// Whether it waited as long as a cold start takes.
    pub cold_exposed: bool,
    /// How often it was dispatched.
    pub attempts: u8,
    /// Its id, on both sides' log lines.
    pub request_id: String,
    /// The client's `User-Agent`.
    pub user_agent: Option<String>,
}

/// Takes note of finished exchanges. Called on the data path: be quick, never block.
pub trait AccessLog: Send + Sync + 'static {
    /// An exchange is over.
    fn record(&self, access: &Access);
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Blind;

impl Observer for Blind {
    fn input(&mut self, _: Time, _: &Input) {}
    fn output(&mut self, _: Time, _: &Output) {}
    fn turn(&mut self, _: Time, _: &Stats, _: &Gauges) {}
}

impl AccessLog for Blind {
    fn record(&self, _: &Access) {}
}
