//! The environment variables that Lambda sets for the programs of an environment.

use std::ffi::OsString;
use std::net::SocketAddr;

use io_tokio::clock::Clock;

use crate::config::{Config, Function};
use crate::random_id;

/// The function's own variables, and Lambda's above them.
pub(super) fn build(
    config: &Config,
    function: &Function,
    api: SocketAddr,
    port: u16,
) -> Vec<(OsString, OsString)> {
    let mut variables = function.env.clone();
    let mut set = |name: &str, value: String| variables.push((name.into(), value.into()));
    set("AWS_DEFAULT_REGION", config.region.clone());
    set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", config.service.memory_mb.to_string());
    set("AWS_LAMBDA_FUNCTION_NAME", function.name.clone());
    set("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned());
    let kind = if config.service.restore.is_some() { "snap-start" } else { "on-demand" };
    set("AWS_LAMBDA_INITIALIZATION_TYPE", kind.to_owned());
    set("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", function.name));
    set("AWS_LAMBDA_LOG_STREAM_NAME", log_stream());
    set("AWS_LAMBDA_RUNTIME_API", api.to_string());
    set("AWS_REGION", config.region.clone());
    set("LAMBDA_DISPATCH_PORT", port.to_string());
    if let Some(name) = &function.port_env {
        set(name, port.to_string());
    }
    variables
}

/// Such as `2026/11/23/[$LATEST]0123456789abcdef0123456789abcdef`.
fn log_stream() -> String {
    let now = io_tokio::rfc3339::format(Clock::start().wall());
    let date = now.split('T').next().unwrap_or_default().replace('-', "/");
    format!("{date}/[$LATEST]{}", random_id::uuid().replace('-', ""))
}
