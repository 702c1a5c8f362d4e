//! What a caller can read about the function and the account.

use serde_json::{Map, Value, json};

use crate::config::{Config, Function};
use crate::owner::function_arn;

/// `GetFunctionConfiguration`.
pub(super) fn configuration(config: &Config, function: &Function) -> Value {
    let text = |it: &std::ffi::OsString| it.to_string_lossy().into_owned();
    let variables: Map<_, _> =
        function.env.iter().map(|(name, value)| (text(name), text(value).into())).collect();
    let mut configuration = json!({
        "Architectures": [if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" }],
        "Environment": { "Variables": variables },
        "FunctionArn": function_arn(config, function),
        "FunctionName": function.name,
        "LastUpdateStatus": "Successful",
        "MemorySize": config.service.memory_mb,
        "PackageType": "Image",
        "State": "Active",
        "Timeout": config.service.function_timeout.as_secs(),
        "Version": "$LATEST",
    });
    for (field, value) in &function.configuration {
        configuration[field] = value.clone();
    }
    configuration
}

/// `GetFunctionConcurrency`: empty when nothing is reserved.
pub(super) fn concurrency(config: &Config) -> Value {
    match config.service.reserved_concurrency {
        Some(reserved) => json!({ "ReservedConcurrentExecutions": reserved }),
        None => json!({}),
    }
}

/// `GetAccountSettings`.
pub(super) fn account(config: &Config) -> Value {
    let limit = config.service.account_concurrency;
    let reserved = config.service.reserved_concurrency.unwrap_or(0);
    json!({
        "AccountLimit": {
            "CodeSizeUnzipped": 262_144_000,
            "CodeSizeZipped": 52_428_800,
            "ConcurrentExecutions": limit,
            "TotalCodeSize": 80_530_636_800_u64,
            "UnreservedConcurrentExecutions": limit.saturating_sub(reserved),
        },
        "AccountUsage": { "FunctionCount": 1, "TotalCodeSize": 0 },
    })
}
