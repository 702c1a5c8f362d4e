//! What `check` tells programs: everything that is in force, and the permission that it needs.

use serde_json::{Map, Value, json};

use super::{Effective, Settings, warnings};

/// Every value and who set it, for the router, each pool and each route, and what looks risky.
#[must_use]
pub fn as_json(settings: &Settings) -> Value {
    let pools: Map<_, _> =
        settings.pools.iter().map(|it| (it.name.clone(), values(it.effective()))).collect();
    let routes = settings.routes.iter().map(|(conditions, route)| {
        let total: u64 = route.split.iter().map(|(weight, _)| u64::from(weight)).sum();
        let parts = route.split.iter().zip(&route.effective);
        let parts = parts.map(|((weight, share), effective)| {
            json!({ "pool": share.pool, "weight": weight, "of": total, "values": values(effective) })
        });
        json!({
            "host": conditions.host.as_ref().map(ToString::to_string),
            "path": conditions.path.as_ref().map(ToString::to_string),
            "alias": conditions.alias.as_ref().map(ToString::to_string),
            "origin": route.origin.to_string(),
            "pools": parts.collect::<Vec<_>>(),
        })
    });
    json!({
        "values": values(settings.effective()),
        "pools": pools,
        "routes": routes.collect::<Vec<_>>(),
        "warnings": warnings(settings),
    })
}

fn values(effective: &[Effective]) -> Value {
    let value = |it: &Effective| {
        let text = (!it.text.is_empty()).then_some(&it.text);
        (it.name.to_owned(), json!({ "value": text, "origin": it.origin.to_string() }))
    };
    Value::Object(effective.iter().map(value).collect())
}

/// The IAM policy that lets a router of these settings invoke its functions and nothing else.
///
/// A function that is not named by its ARN is allowed in every account and, without a region in the
/// settings, in every region: the name says no more.
#[must_use]
pub fn iam_policy(settings: &Settings) -> Value {
    let mut arns: Vec<String> =
        settings.pools.iter().map(|it| it.function.arn(it.aws.region.as_deref())).collect();
    arns.sort();
    arns.dedup();
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "InvokeFunctionsOfPools",
            "Effect": "Allow",
            "Action": "lambda:InvokeFunction",
            "Resource": arns,
        }],
    })
}
