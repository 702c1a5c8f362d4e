//! What the operator wants: a TOML file, over it the environment, over it flags.
//!
//! [`SETTINGS`] lists everything that can be set. [`Settings::load`] reads the layers, keeps who
//! set what, checks every value and every combination, and reports all faults at once. What it
//! returns needs no further checks: the limits of each pool are already a [`Config`]. [`explain`]
//! tells the operator what it means.
//!
//! `[pool]` is the pool called `default`, and what `[pools.NAME]` inherits but for the function.
//! Each of those, and each `[[route]]`, may have a `timeouts` section of its own.
//!
//! A name that the file or a flag gets wrong is an error, with the nearest right one. A variable
//! `LAMBDA_DISPATCH_*` that means nothing is only a warning, for Kubernetes makes such variables
//! of its own. Every variable of the original's router is understood, in any case, with or without
//! underscores.

mod error;
mod explain;
mod file;
mod function;
mod json;
mod layers;
mod listing;
mod nearest;
mod pools;
mod reader;
mod routes;
mod table;
mod value;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dispatch_model::{Config, Limits};
use io_tokio::networks::Networks;
use io_tokio::routes::Routes;
use io_tokio::running::Share;
use io_tokio::split::Split;

use crate::access_log::AccessFormat;
use crate::traces::Traces;

use layers::Layers;
use reader::Reader;

pub use error::{SettingsError, SettingsErrors};
pub use explain::{explain, warnings};
pub use function::FunctionName;
pub use json::{as_json, iam_policy};
pub use layers::{FILE_VARIABLE, Origin, PREFIX, file_in, variable_of};
pub use listing::{as_file, as_help, as_page};
pub use table::{IGNORED, Kind, SETTINGS, Setting, find};
pub(crate) use value::Shown;
pub use value::parse_span;

pub(crate) use nearest::nearest;

/// Everything that the router is told, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen.
    pub listen: Listen,
    /// The functions whose instances serve; at least one. The pool `default`, if it is one of
    /// them, comes first.
    pub pools: Vec<PoolPlan>,
    /// Which of them serves what.
    pub routes: Routes<RoutePlan>,
    /// How long other things may take.
    pub timeouts: Timeouts,
    /// What a client may send.
    pub limits: ClientLimits,
    /// What is logged, and where.
    pub log: Log,
    /// How traces are sent, if they are.
    pub traces: Option<Traces>,
    /// How metrics are written for CloudWatch, if they are.
    pub emf: Option<Emf>,
    /// What is kept of what the model was told and did.
    pub recorder: Recorder,
    /// Where instances dial back to.
    pub callback: Callback,
    /// How to reach AWS Lambda.
    pub aws: Aws,
    /// Threads that serve; `None` means one per core.
    pub workers: Option<usize>,
    effective: Vec<Effective>,
    notices: Vec<String>,
}

/// One function and how its instances behave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolPlan {
    /// Its name: `default`, or NAME of `[pools.NAME]`.
    pub name: String,
    /// The function whose instances serve.
    pub function: FunctionName,
    /// How the pool behaves; `timeouts.queue` is its `queue_timeout`.
    pub config: Config,
    /// Memory of the function, in MB. Default 1,024.
    pub memory_mb: u64,
    /// What one instance costs per second, in millionths of a millionth of a dollar.
    pub price: u64,
    /// Where its function is.
    pub aws: Aws,
    effective: Vec<Effective>,
}

impl PoolPlan {
    /// Every value in force for it, in the order of [`SETTINGS`], each by the name that it has in
    /// `[pool]` and `[timeouts]`.
    #[must_use]
    pub fn effective(&self) -> &[Effective] {
        &self.effective
    }

    /// Whether a pool that is as `self` says becomes as `other` says by moving its bounds.
    #[must_use]
    pub fn differs_only_in_bounds(&self, other: &Self) -> bool {
        let Limits { instances_min, instances_max, .. } = *other.config;
        let moved = Limits { instances_min, instances_max, ..*self.config };
        moved == *other.config && self.function == other.function && self.aws == other.aws
    }

    /// The most that its instances can cost per hour, in millionths of a millionth of a dollar.
    fn picodollars_per_hour(&self) -> u64 {
        self.price.saturating_mul(3_600).saturating_mul(self.config.instances_max.into())
    }
}

/// Who serves a route.
#[derive(Clone, Debug)]
pub struct RoutePlan {
    /// Where it is in the settings.
    pub origin: Origin,
    /// Its pools by weight, and how long a request may take there.
    pub split: Split<Share>,
    /// The time-outs in force, for each part of the split.
    effective: Vec<Vec<Effective>>,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Clients: HTTP/1.1 and h2c. Default `0.0.0.0:5001`.
    pub http: Option<SocketAddr>,
    /// Clients over TLS, if a certificate is configured.
    pub https: Option<Https>,
    /// Instances, over TLS. Default `0.0.0.0:5004`.
    pub control: SocketAddr,
    /// Instances without TLS, only if the operator allows it. Default none.
    pub control_plaintext: Option<SocketAddr>,
    /// Probes and metrics. Default `127.0.0.1:5005`.
    pub admin: Option<SocketAddr>,
    /// Whose word about earlier hops is taken. Default private networks and loopback.
    pub trusted_proxies: Networks,
    /// Whether clients are told how long the stages of a request took. Default no.
    pub server_timing: bool,
    /// Where instances on the original's wire may come from; `None` does not speak it, the
    /// default.
    pub wire_v1: Option<Networks>,
}

/// A TLS listener for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Https {
    /// Where. Default `0.0.0.0:5002`.
    pub address: SocketAddr,
    /// PEM file with the certificate chain.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// Where to ask how a router is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Its admin port, if it has one.
    pub address: Option<SocketAddr>,
    /// Why the file could not say it, if it could not: then flags and environment did, or it is
    /// the default.
    pub unread: Option<SettingsError>,
}

/// How long may take what belongs to a connection and not to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A request head must be complete. Default 10 s.
    pub head: Duration,
    /// An idle client connection is kept. Default 75 s.
    pub keep_alive: Duration,
    /// A client may leave unread what waits for it: `timeouts.idle`. Default 60 s.
    pub unread: Duration,
    /// From SIGTERM to the end of the last request. Default 110 s.
    pub drain: Duration,
    /// From SIGTERM until no connection is accepted any more; at most `drain`. Default 10 s.
    pub drain_delay: Duration,
}

/// What a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Bytes of a request head. Default 65,536.
    pub head_bytes: usize,
    /// Request headers. Default 100.
    pub headers: usize,
    /// Bytes of a request target. Default 16,384.
    pub uri_bytes: usize,
    /// Connections at once. Default 10,000.
    pub connections: usize,
    /// Connections at once of one client that is no trusted proxy. Default 500.
    pub connections_per_client: usize,
    /// Requests at once on one HTTP/2 connection. Default 100.
    pub streams: u32,
}

/// What is logged, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Form of the log. Default text.
    pub format: Format,
    /// What is logged, as a directive of `tracing`. Default `info`.
    pub filter: String,
    /// Where requests are logged. Default nowhere.
    pub access: AccessTarget,
    /// Form of the access log. Default text.
    pub access_format: AccessFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: Format::Text,
            filter: "info".to_owned(),
            access: AccessTarget::Off,
            access_format: AccessFormat::text(),
        }
    }
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    Json,
    /// For people.
    Text,
}

/// Where requests are logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessTarget {
    /// A file, appended to.
    File(PathBuf),
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
}

/// How metrics are written for CloudWatch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emf {
    /// Where to. Default standard output.
    pub to: EmfTarget,
    /// How often. Default 60 s.
    pub period: Duration,
    /// Their namespace. Default that of the original, `PwrDrvr`.
    pub namespace: String,
}

/// Where metrics for CloudWatch are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmfTarget {
    /// A file, opened for each period and appended to.
    File(PathBuf),
    /// Standard output, of which the platform makes a log group.
    Stdout,
    /// An agent at `HOST:PORT`, over a connection.
    Tcp(String),
    /// An agent at `HOST:PORT`, a datagram a line.
    Udp(String),
}

/// What is kept of what the model was told and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorder {
    /// Bytes of it that are kept in memory; 0 for none. Default 8 MiB.
    pub ring: usize,
    /// A file in which all of it is kept. Default none.
    pub file: Option<PathBuf>,
    /// Where the memory is dumped. Default a file in the system's temporary folder whose name has
    /// the number of this process.
    pub dump: PathBuf,
    /// Whether the model is recounted after turns. Default false.
    pub check: bool,
}

impl Default for Recorder {
    fn default() -> Self {
        let name = format!("lambda-dispatch-{}.recording", std::process::id());
        Self { ring: 8 << 20, file: None, dump: std::env::temp_dir().join(name), check: false }
    }
}

/// Where instances dial back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// The host, if the operator says it. An IPv6 address has no brackets here.
    pub host: Option<String>,
    /// The environment variable that holds it otherwise. Default `K8S_POD_IP`.
    pub host_variable: String,
    /// Whether instances use `listen.control_plaintext`. Default false.
    pub plaintext: bool,
}

/// How to reach AWS Lambda.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Aws {
    /// URL of its API, if not the region's own.
    pub endpoint: Option<String>,
    /// The region, if the function's ARN or the settings say it.
    pub region: Option<String>,
}

/// What is in `file`, if there is one.
fn layers(file: Option<&Path>) -> Layers {
    let mut layers = Layers::default();
    if let Some(path) = file {
        let file = path.display().to_string();
        match std::fs::read(path) {
            Ok(bytes) => layers.add_file(&file, &bytes),
            Err(error) => {
                let unreadable = SettingsError::FileUnreadable { file, reason: error.to_string() };
                layers.errors.push(unreadable);
            }
        }
    }
    layers
}

/// Reads what is in `layers`, and above it in the environment and the flags.
fn over(
    mut layers: Layers,
    environment: impl Iterator<Item = (String, String)>,
    overrides: &[(&str, &str)],
) -> Reader {
    layers.add_environment(environment);
    layers.add_flags(overrides);
    Reader::new(layers)
}

/// Whether a change of a setting is taken over while the router runs.
fn is_taken_over(name: &str) -> bool {
    let sections = ["pool.", "routing.", "total.", "aws.", "timeouts.drain"];
    sections.iter().any(|section| name.starts_with(section))
        || find(name).is_some_and(layers::is_of_pool)
}

/// One value as it is in force, and who set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The setting.
    pub name: &'static str,
    /// The value as it was written; empty if not set.
    pub text: String,
    /// Who set it.
    pub origin: Origin,
}

impl Settings {
    /// Reads `file`, then `environment`, then `overrides` (pairs of a setting's name and its
    /// value); later ones win.
    ///
    /// # Errors
    ///
    /// Every fault: unreadable file, unknown names, bad values, contradictions.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        overrides: &[(&str, &str)],
    ) -> Result<Self, SettingsErrors> {
        over(layers(file), environment, overrides).settings()
    }

    /// `listen.admin` alone. A router goes on with the settings that it has when its file is
    /// spoilt, and so must whoever asks how it is.
    ///
    /// # Errors
    ///
    /// It is no address.
    pub fn admin(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        overrides: &[(&str, &str)],
    ) -> Result<Admin, SettingsErrors> {
        over(layers(file), environment, overrides).admin()
    }

    /// As [`load`](Self::load), for a `file` whose `text` was read already.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), but for an unreadable file.
    pub fn read(
        file: &str,
        text: &str,
        environment: impl Iterator<Item = (String, String)>,
        overrides: &[(&str, &str)],
    ) -> Result<Self, SettingsErrors> {
        let mut layers = Layers::default();
        layers.add_file(file, text.as_bytes());
        over(layers, environment, overrides).settings()
    }

    /// The pool of that name, if there is one.
    #[must_use]
    pub fn pool(&self, name: &str) -> Option<&PoolPlan> {
        self.pools.iter().find(|pool| pool.name == name)
    }

    /// The longest that an app of this pool may take to begin a response, on any route; `None` if
    /// no route leads to it.
    #[must_use]
    pub fn longest_first_byte(&self, pool: &str) -> Option<Duration> {
        let shares = self.routes.iter().flat_map(|(_, route)| route.split.iter());
        let own = shares.filter(|(weight, share)| *weight > 0 && share.pool == pool);
        own.map(|(_, share)| share.patience.first_byte).max()
    }

    /// Every value in force for the router, in the order of [`SETTINGS`].
    #[must_use]
    pub fn effective(&self) -> &[Effective] {
        &self.effective
    }

    /// What `new` settings say otherwise of what stays as it is until the router is started again.
    #[must_use]
    pub fn fixed_differences(&self, new: &Self) -> Vec<String> {
        // The certificate that is shown can be another one, if one is shown at all.
        let shows = self.listen.https.is_some() && new.listen.https.is_some();
        let is_shown = |name: &str| shows && ["listen.certificate", "listen.key"].contains(&name);
        let both = self.effective.iter().zip(&new.effective);
        let fixed = both.filter(|(was, _)| !is_taken_over(was.name) && !is_shown(was.name));
        let differs = fixed.filter(|(was, is)| was.text != is.text);
        let unread = (self.timeouts.unread != new.timeouts.unread).then(|| {
            "timeouts.idle is taken over for requests; how long a client may leave unread what \
             waits for it changes when the router is started again"
                .to_owned()
        });
        differs
            .map(|(was, is)| {
                let (name, was, origin) = (was.name, &was.text, &is.origin);
                format!(
                    "{name} was {was:?} and is {:?} ({origin}): it changes when the router is \
                     started again",
                    is.text
                )
            })
            .chain(unread)
            .collect()
    }

    /// Scheme and port of the address that instances dial back to.
    #[must_use]
    pub fn callback_endpoint(&self) -> (&'static str, u16) {
        let (scheme, address) = self.callback_listener();
        (scheme, address.port())
    }

    /// Scheme and address of the listener that they come to.
    #[must_use]
    pub fn callback_listener(&self) -> (&'static str, SocketAddr) {
        match self.listen.control_plaintext {
            Some(address) if self.callback.plaintext => ("http", address),
            Some(_) | None => ("https", self.listen.control),
        }
    }
}
