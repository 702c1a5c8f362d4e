//! What was found out: about this machine's way to AWS, and about each function.

use std::time::Duration;

use io_tokio::networks::Networks;

/// What somebody who was asked said, or why they did not.
pub type Answer<T> = Result<T, Silence>;

/// Why a question has no answer. Each holds what was said instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The caller has no permission to ask.
    Denied(String),
    /// There is no such function, version or alias.
    Missing(String),
    /// Something else, say a throttle: another time there may be an answer.
    Other(String),
    /// There was no connection, or nothing came in time.
    Unreachable(String),
    /// Who calls is not known: the credentials are wrong, or have expired.
    Untrusted(String),
}

impl Silence {
    /// What was said.
    #[must_use]
    pub fn said(&self) -> &str {
        match self {
            Self::Denied(said)
            | Self::Missing(said)
            | Self::Other(said)
            | Self::Unreachable(said)
            | Self::Untrusted(said) => said,
        }
    }
}

/// The way to the Lambda API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The region that calls are signed for.
    pub region: String,
    /// The URL of the API, if it is not the region's own.
    pub endpoint: Option<String>,
    /// The ends of the public part of the credentials, `AKIA…MPLE`.
    pub access_key: String,
    /// Who gave the credentials, in words.
    pub source: &'static str,
    /// Whether they end and nobody renews them: a session's, from the environment.
    pub runs_out: bool,
}

/// What Lambda said of one function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Whether it may be invoked: `Invoke` with `DryRun`.
    pub dry_run: Answer<()>,
    /// `GetFunctionConfiguration`.
    pub configuration: Answer<Configuration>,
    /// `GetFunctionConcurrency`: what is reserved for it, if anything is.
    pub reserved: Answer<Option<u32>>,
    /// `GetAccountSettings`: what all functions without a reservation have together.
    pub unreserved: Answer<u32>,
}

/// How a function is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// Whether `AWS_LAMBDA_EXEC_WRAPPER` is set; `None` if its environment could not be read.
    pub has_wrapper: Option<bool>,
    /// What its extension makes of its environment; `None` if that could not be read.
    pub extension: Option<Result<Extension, String>>,
    /// Whether it has network interfaces in a VPC.
    pub in_vpc: bool,
    /// `Successful`, `InProgress` or `Failed`, and why.
    pub last_update: (String, String),
    /// Its memory, in MB.
    pub memory_mb: u64,
    /// `Image` or `Zip`.
    pub package: String,
    /// `nodejs22.x` or another, of a function that is no image.
    pub runtime: Option<String>,
    /// Whether each tenant has environments of its own, so that an invoke must name one.
    pub per_tenant: bool,
    /// Whether snapshots are made of its published versions.
    pub snap_start: bool,
    /// Whether there is one of this version.
    pub has_snapshot: bool,
    /// `Active`, or another state, and why.
    pub state: (String, String),
    /// Its time-out.
    pub timeout: Duration,
    /// A number, or `$LATEST`.
    pub version: String,
}

/// What decides which router an instance dials, and how long it stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// How long an idle instance stays before it leaves by itself; `None` is until it is told to.
    pub linger: Option<Duration>,
    /// Where routers may be.
    pub networks: Networks,
    /// Whether a router may be reached without TLS.
    pub plaintext: bool,
    /// Whether a router of the original may be reached, which proves nothing.
    pub wire_v1: bool,
}
