//! The address that instances dial back to: this router's own, as the function's network sees it.
//!
//! Asked for, in this order: the setting, the variable that the operator named, the task metadata
//! of ECS, the instance metadata of EC2. The first that answers wins. If none does the router does
//! not start, and says what it tried: an address that is guessed wrong costs an invoke per attempt.

mod metadata;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use io_tokio::net::authority;

use crate::settings::Callback;

/// Where this router was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackHost {
    /// A name or an address; an IPv6 one without brackets.
    pub host: String,
    /// Who said it, for the log.
    pub source: String,
}

impl CallbackHost {
    /// What instances dial, by this scheme at this port.
    #[must_use]
    pub fn url(&self, scheme: &str, port: u16) -> String {
        format!("{scheme}://{}", authority(&self.host, port))
    }

    /// What is wrong where this is an address of one family and the listener is of the other:
    /// nobody comes through, unless something on the way translates.
    #[must_use]
    pub fn missed_by(&self, listener: SocketAddr) -> Option<String> {
        let ip = self.host.parse::<IpAddr>().ok()?.to_canonical();
        // `[::]` takes both.
        let takes = |it: IpAddr| it.is_ipv4() == ip.is_ipv4() || it == Ipv6Addr::UNSPECIFIED;
        (!takes(listener.ip())).then(|| {
            let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
            let host = &self.host;
            format!("instances are to dial {host}, and {listener} takes no {family}")
        })
    }
}

/// No source knows the address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot find the address that instances dial back to. Tried: {}. Set callback.host \
     (LAMBDA_DISPATCH_CALLBACK_HOST) to an address of this router that the function can reach",
    Tried(.0)
)]
pub struct CallbackError(
    /// Each source that was tried, and why it had no answer.
    pub Vec<String>,
);

struct Tried<'a>(&'a [String]);

impl fmt::Display for Tried<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, reason) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{reason}")?;
        }
        Ok(())
    }
}

/// Finds the address. `variable` looks up an environment variable.
///
/// # Errors
///
/// No source knows it.
pub async fn find(
    callback: &Callback,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<CallbackHost, CallbackError> {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let mut tried = Vec::new();
    if let Some(host) = &callback.host {
        return Ok(CallbackHost { host: host.clone(), source: "callback.host".to_owned() });
    }
    tried.push("callback.host (not set)".to_owned());

    let name = &callback.host_variable;
    match variable(name) {
        None => tried.push(format!("the variable {name} (not set)")),
        Some(text) => match address(&text) {
            Ok(host) => return Ok(CallbackHost { host, source: format!("the variable {name}") }),
            Err(why) => tried.push(format!("the variable {name} ({why})")),
        },
    }
    match metadata::of_ecs_task(&variable).await.and_then(|text| address(&text)) {
        Ok(host) => return Ok(CallbackHost { host, source: "ECS task metadata".to_owned() }),
        Err(why) => tried.push(format!("ECS task metadata ({why})")),
    }
    match metadata::of_ec2_instance(&variable).await.and_then(|text| address(&text)) {
        Ok(host) => return Ok(CallbackHost { host, source: "EC2 instance metadata".to_owned() }),
        Err(why) => tried.push(format!("EC2 instance metadata ({why})")),
    }
    Err(CallbackError(tried))
}

/// What a machine says must be an address that others can dial.
fn address(text: &str) -> Result<String, String> {
    match text.trim().parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => Err(format!("{ip} is no address to dial")),
        Ok(ip) => Ok(ip.to_string()),
        Err(_) => {
            let start: String = text.chars().take(40).collect();
            Err(format!("it says {start:?}, which is not an IP address"))
        }
    }
}

#[cfg(test)]
mod tests;
