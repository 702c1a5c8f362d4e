//! `lambda-dispatch health`: is the router of this container well? For images without a shell and
//! without curl, where a health check can start nothing but this program itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;

use anyhow::{Context, bail};
use http::Method;
use tokio::time::timeout;

use crate::cli::HealthArgs;
use crate::fetch::fetch;
use crate::serve;
use crate::settings::Admin;

/// Asks the admin port, and says by its status how it is.
///
/// # Errors
///
/// The router does not answer in time, or it is not known where it would.
pub(crate) async fn run(args: HealthArgs) -> anyhow::Result<ExitCode> {
    let url = url(&args)?;
    let answer = timeout(args.timeout, fetch(&Method::GET, &url, None)).await;
    let answer = answer.with_context(|| format!("{url}: no answer within {:?}", args.timeout))?;
    let (status, said) = answer.map_err(anyhow::Error::msg)?;
    if !status.is_success() {
        bail!("{url}: {status}, {}", said.trim());
    }
    crate::print(&format!("{}\n", said.trim()))?;
    Ok(ExitCode::SUCCESS)
}

fn url(args: &HealthArgs) -> anyhow::Result<String> {
    if let Some(url) = &args.url {
        return Ok(url.clone());
    }
    let Admin { address, unread } = serve::admin(&args.configured)?;
    if let Some(error) = unread {
        crate::say(&format!(
            "lambda-dispatch: {error}; listen.admin is taken from flags and environment, or is the \
             default"
        ));
    }
    let Some(address) = address else {
        bail!("listen.admin is off: there is nobody to ask; set it, or ask elsewhere by --url");
    };
    let path = if args.live { "livez" } else { "readyz" };
    Ok(format!("http://{}/{path}", near(address)))
}

/// The address as somebody on the same machine dials it.
fn near(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    let loopback: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(loopback, address.port())
}
