//! The metadata services of ECS and EC2, over plain HTTP to an address next door.
//!
//! They answer in milliseconds or not at all, and "not at all" is the rule everywhere but on AWS;
//! so they get little time.

use std::time::Duration;

use http::Method;
use serde_json::Value;
use tokio::time::timeout;

/// The task's own address, from the container metadata (version 4) that ECS names in a variable.
///
/// Only in network mode `awsvpc` has a task an address of its own that others can reach.
pub(super) async fn of_ecs_task(
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<String, String> {
    const NAME: &str = "ECS_CONTAINER_METADATA_URI_V4";
    let base = variable(NAME).ok_or_else(|| format!("{NAME} is not set"))?;
    let json = in_time(fetch(&Method::GET, &base, None)).await?;
    let container: Value = serde_json::from_str(&json).map_err(|error| error.to_string())?;
    let networks = container.get("Networks").and_then(Value::as_array);
    let network = networks
        .into_iter()
        .flatten()
        .find(|network| network.get("NetworkMode").and_then(Value::as_str) == Some("awsvpc"))
        .ok_or("the task's network mode is not awsvpc, so it has no address of its own")?;
    ["IPv4Addresses", "IPv6Addresses"]
        .into_iter()
        .find_map(|family| network.get(family)?.get(0)?.as_str().map(str::to_owned))
        .ok_or_else(|| "its network has no address".to_owned())
}

/// The instance's private address, from IMDSv2.
pub(super) async fn of_ec2_instance(
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let is =
        |name: &str, value: &str| variable(name).is_some_and(|set| set.eq_ignore_ascii_case(value));
    if is("AWS_EC2_METADATA_DISABLED", "true") {
        return Err("AWS_EC2_METADATA_DISABLED is true".to_owned());
    }
    if is("AWS_EXECUTION_ENV", "AWS_ECS_FARGATE") {
        return Err("Fargate has none".to_owned());
    }
    let base = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    let base = base.as_deref().unwrap_or("http://169.254.169.254").trim_end_matches('/');
    in_time(instance_address(base)).await
}

async fn instance_address(base: &str) -> Result<String, String> {
    let url = format!("{base}/latest/api/token");
    let ttl = ("x-aws-ec2-metadata-token-ttl-seconds", "60");
    let token = fetch(&Method::PUT, &url, Some(ttl)).await?;
    let proof = Some(("x-aws-ec2-metadata-token", token.trim()));
    let ipv4 = fetch(&Method::GET, &format!("{base}/latest/meta-data/local-ipv4"), proof).await;
    match ipv4 {
        Ok(address) => Ok(address),
        // An instance in a subnet without IPv4.
        Err(why) => fetch(&Method::GET, &format!("{base}/latest/meta-data/ipv6"), proof)
            .await
            .map_err(|_| why),
    }
}

async fn in_time(answer: impl Future<Output = Result<String, String>>) -> Result<String, String> {
    timeout(TOTAL_TIMEOUT, answer)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {TOTAL_TIMEOUT:?}")))
}

/// The body of a success.
async fn fetch(method: &Method, url: &str, extra: Option<(&str, &str)>) -> Result<String, String> {
    let (status, body) = crate::fetch::fetch(method, url, extra).await?;
    if status.is_success() { Ok(body) } else { Err(format!("{url} answered {status}")) }
}

const TOTAL_TIMEOUT: Duration = Duration::from_secs(2);
