//! What an emulator is started with.

use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Map, Value};

use crate::event::{Observer, observe_by_tracing};
use crate::model;

/// How the emulator runs. [`Config::default`] listens on a free port of loopback, as account
/// `123456789012` in `us-east-1`, with AWS's own limits, and logs its events.
#[derive(Clone)]
pub struct Config {
    /// The account in the function's ARN, 12 digits.
    pub account_id: String,
    /// Operations that callers have no permission for, such as `GetFunctionConfiguration`: each is
    /// refused with 403. Default none.
    pub denied: Vec<String>,
    /// Where the Invoke API listens. Port 0, the default, is a free one.
    pub listen: SocketAddr,
    /// Told of every [`Event`](crate::Event), on the emulator's own tasks: it must not block.
    pub observer: Observer,
    /// The region in the function's ARN, and `AWS_REGION` for its processes.
    pub region: String,
    /// Decides what the model leaves to chance.
    pub seed: u64,
    /// The service's limits and the function's settings: memory, time-out, cold start, concurrency.
    pub service: model::Config,
    /// Put in front of each program's command. Meant for a command of the caller's own that calls
    /// [`exec_with_parent`](crate::exec_with_parent), so that no process outlives the emulator even
    /// when that is killed.
    pub wrapper: Option<Vec<OsString>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            account_id: "123456789012".to_owned(),
            denied: Vec::new(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            observer: observe_by_tracing(),
            region: "us-east-1".to_owned(),
            seed: 0,
            service: model::Config::default(),
            wrapper: None,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("account_id", &self.account_id)
            .field("denied", &self.denied)
            .field("listen", &self.listen)
            .field("region", &self.region)
            .field("seed", &self.seed)
            .field("service", &self.service)
            .field("wrapper", &self.wrapper)
            .finish_non_exhaustive()
    }
}

/// The function that can be invoked.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name, without qualifier: 1 to 64 letters, digits, `-` and `_`.
    pub name: String,
    /// What each environment runs, all at once: say an extension and an app.
    pub programs: Vec<Program>,
    /// Variables for all programs, above those of this process and below Lambda's own.
    pub env: Vec<(OsString, OsString)>,
    /// Each environment has a free loopback port for its app, in `LAMBDA_DISPATCH_PORT`. It is also
    /// given in this variable, say `PORT`. Default `None`.
    pub port_env: Option<String>,
    /// What `GetFunctionConfiguration` says beside, or instead of, what the emulator knows itself:
    /// `VpcConfig`, `SnapStart`, `State`. It changes nothing else. Default nothing.
    pub configuration: Map<String, Value>,
}

impl Function {
    /// A function that runs `programs` with no variables of its own.
    #[must_use]
    pub fn new(name: impl Into<String>, programs: Vec<Program>) -> Self {
        Self {
            name: name.into(),
            programs,
            env: Vec::new(),
            port_env: None,
            configuration: Map::new(),
        }
    }
}

/// One command of an environment.
#[derive(Clone, Debug)]
pub struct Program {
    /// What its output is labelled with, and the name under which it registers if it is an
    /// extension: on AWS that is its file name, which is accepted as well.
    pub name: String,
    /// The program, looked up in `PATH`, and its arguments.
    pub argv: Vec<OsString>,
    /// Variables for this program alone, above the function's.
    pub env: Vec<(OsString, OsString)>,
}

impl Program {
    /// The command `argv` under a label of its own.
    #[must_use]
    pub fn new<A: Into<OsString>>(
        name: impl Into<String>,
        argv: impl IntoIterator<Item = A>,
    ) -> Self {
        let argv = argv.into_iter().map(Into::into).collect();
        Self { name: name.into(), argv, env: Vec::new() }
    }
}
