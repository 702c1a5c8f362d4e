//! The rows.

use std::net::IpAddr;
use std::time::Duration;

use crate::doctor::facts::{Extension, Silence};
use crate::settings::{Aws, Shown};

use super::Severity::{Breaks, Odd, Unknown};
use super::{Case, Row, Test, Told, access, answer, configured};

/// Every fault, in the order of the documentation.
pub(in crate::doctor) const ROWS: &[Row] = &[
    access("no-access", Breaks, "there is no region, or there are no credentials", |access| {
        let error = access.as_ref().err()?;
        Some((error.to_string(), "nothing else could be asked".to_owned()))
    }),
    access(
        "credentials-run-out",
        Odd,
        "a session's credentials stand in the environment, where nobody renews them",
        |access| {
            let access = access.as_ref().ok().filter(|access| access.runs_out)?;
            told(
                format!("the credentials {} end, and nobody renews them", access.access_key),
                "in production give the task, pod or instance an IAM role",
            )
        },
    ),
    Row {
        name: "callback-not-known",
        severity: Unknown,
        when: "this machine does not know where instances are to dial: a router here does not \
               start",
        test: Test::Router(|router| {
            let why = router.callback.as_ref().err()?;
            told(
                format!("a router would not start on this machine: {why}"),
                "run doctor where the router runs, or add --set callback.host=ADDRESS",
            )
        }),
    },
    answer("unreachable", Breaks, "the Lambda API does not answer", |case| {
        let Err(Silence::Unreachable(why)) = &case.said.dry_run else { return None };
        told(
            format!("the Lambda API cannot be reached: {why}"),
            "look at aws.endpoint, aws.region, the subnet's way out (NAT, or a VPC endpoint for \
             Lambda) and port 443 in the router's security group",
        )
    }),
    answer("credentials-refused", Breaks, "AWS does not take the credentials", |case| {
        let Err(Silence::Untrusted(said)) = &case.said.dry_run else { return None };
        told(
            format!("AWS does not take these credentials: {said}"),
            "renew them; if they are new, look at this machine's clock",
        )
    }),
    answer("not-allowed", Breaks, "the role must not invoke the function", |case| {
        let Err(Silence::Denied(said)) = &case.said.dry_run else { return None };
        told(
            format!("the role must not invoke {}: {said}", case.pool.function),
            "give it the policy that `lambda-dispatch config check --iam` prints",
        )
    }),
    answer("not-found", Breaks, "there is no such function, version or alias", |case| {
        let Err(Silence::Missing(said)) = &case.said.dry_run else { return None };
        told(
            format!("there is no {} in this account and region: {said}", case.pool.function),
            "look at the function's name, its version or alias, and the region",
        )
    }),
    answer("no-clear-answer", Unknown, "AWS answered something else, such as a throttle", |case| {
        let Err(Silence::Other(said)) = &case.said.dry_run else { return None };
        told(
            format!("whether {} may be invoked is not known: {said}", case.pool.function),
            "try again",
        )
    }),
    answer(
        "configuration-not-seen",
        Unknown,
        "`GetFunctionConfiguration` is not allowed",
        |case| {
            let why = unseen(case, case.said.configuration.as_ref().err())?;
            told(
                format!("time-out, memory, network and state were not looked at: {why}"),
                "to have them looked at, allow lambda:GetFunctionConfiguration, which the router \
                 does without",
            )
        },
    ),
    answer("reservation-not-seen", Unknown, "`GetFunctionConcurrency` is not allowed", |case| {
        let why = unseen(case, case.said.reserved.as_ref().err())?;
        told(
            format!("what is reserved for the function was not looked at: {why}"),
            "to have it looked at, allow lambda:GetFunctionConcurrency, which the router \
                 does without",
        )
    }),
    answer(
        "account-not-seen",
        Unknown,
        "`GetAccountSettings` is not allowed, and nothing is reserved",
        |case| {
            if case.said.reserved != Ok(None) {
                return None;
            }
            let why = unseen(case, case.said.unreserved.as_ref().err())?;
            told(
                format!("the account's concurrency was not looked at: {why}"),
                "to have it looked at, allow lambda:GetAccountSettings, which the router does \
                 without",
            )
        },
    ),
    answer("switched-off", Breaks, "the reserved concurrency is 0", |case| {
        (case.said.reserved == Ok(Some(0))).then_some(())?;
        told(
            "its reserved concurrency is 0: every invoke is throttled".to_owned(),
            "raise it, or delete the reservation",
        )
    }),
    answer(
        "more-than-reserved",
        Odd,
        "`pool.instances_max` is above the reserved concurrency",
        |case| {
            let reserved = case.said.reserved.clone().ok().flatten().filter(|it| *it > 0)?;
            let most = case.pool.config.instances_max;
            (most > reserved).then_some(())?;
            told(
                format!(
                    "{} is {most}, and {reserved} are reserved for the function: what is above is \
                 throttled, and requests wait",
                    setting(case, "instances_max")
                ),
                "set it to the reservation, less what others invoke, or raise that",
            )
        },
    ),
    answer(
        "more-than-account",
        Odd,
        "`pool.instances_max` is above what the account has left",
        |case| {
            let (Ok(None), Ok(left)) = (&case.said.reserved, &case.said.unreserved) else {
                return None;
            };
            let most = case.pool.config.instances_max;
            (most > *left).then_some(())?;
            told(
                format!(
                    "{} is {most}, and all functions without a reservation have {left} together",
                    setting(case, "instances_max")
                ),
                "lower it, reserve concurrency for the function, or ask AWS for more",
            )
        },
    ),
    configured(
        "failed",
        Breaks,
        "the function's `State` is none in which it can be invoked",
        |_, it| {
            let (state, why) = &it.state;
            let works = ["", "Active", "Inactive", "Pending"].contains(&state.as_str());
            (!works).then(|| {
                let what = format!("its state is {state}{}", reason(why));
                (what, "mend or deploy the function again".to_owned())
            })
        },
    ),
    configured("not-active", Odd, "the function is `Pending` or `Inactive`", |_, it| {
        let (state, why) = &it.state;
        ["Inactive", "Pending"].contains(&state.as_str()).then(|| {
            let what = format!("its state is {state}{}: the first invokes fail", reason(why));
            (what, "wait until it is Active; an invoke wakes an inactive one".to_owned())
        })
    }),
    configured("update", Odd, "its last update failed, or is not done", |_, it| {
        let (status, why) = &it.last_update;
        ["Failed", "InProgress"].contains(&status.as_str()).then(|| {
            let what =
                format!("its last update is {status}{}: the code before it runs", reason(why));
            (what, "wait, or look at why it failed".to_owned())
        })
    }),
    configured(
        "time-out-too-short",
        Breaks,
        "the function's time-out is below 5 s; Lambda's default is 3 s",
        |_, it| {
            (it.timeout < TIMEOUT_MIN).then_some(())?;
            told(
                format!(
                    "its time-out is {}: an instance is cut almost as soon as it serves",
                    Shown(it.timeout)
                ),
                "set it to 900 s, which costs least: the router sends away whom it does not need",
            )
        },
    ),
    configured("time-out-short", Odd, "the function's time-out is below 1 min", |_, it| {
        (TIMEOUT_MIN..TIMEOUT_GOOD).contains(&it.timeout).then_some(())?;
        told(
            format!(
                "its time-out is {}: each instance serves no longer, and a quarter of that is kept \
                 free for requests to end in",
                Shown(it.timeout)
            ),
            "set it to 900 s, which costs least: the router sends away whom it does not need",
        )
    }),
    configured(
        "start-outlasts-time-out",
        Breaks,
        "`pool.cold_start` is not below the function's time-out",
        |case, it| {
            let start = case.pool.config.cold_start.filter(|start| *start >= it.timeout)?;
            told(
                format!(
                    "{} is {} and the function's time-out {}: no start comes to its end",
                    setting(case, "cold_start"),
                    Shown(start),
                    Shown(it.timeout)
                ),
                "raise the function's time-out",
            )
        },
    ),
    configured(
        "request-outlasts-time-out",
        Odd,
        "`timeouts.first_byte` is above the function's time-out",
        |case, it| {
            let longest = case.router.settings.longest_first_byte(&case.pool.name)?;
            (longest > it.timeout).then_some(())?;
            told(
                format!(
                    "timeouts.first_byte lets a request take {}, the function's time-out ends it \
                     after {}: 504, lease_ended",
                    Shown(longest),
                    Shown(it.timeout)
                ),
                "raise the function's time-out, or lower timeouts.first_byte",
            )
        },
    ),
    configured("memory-small", Odd, "the function has less than 192 MB", |case, it| {
        (it.memory_mb < MEMORY_MB_MIN).then_some(())?;
        told(
            format!(
                "its memory is {} MB, and its share of a core as small, for {} requests at once",
                it.memory_mb, case.pool.config.slots
            ),
            "1769 MB is one core; or lower pool.slots",
        )
    }),
    configured(
        "budget-memory",
        Odd,
        "a budget counts with other memory than the function has",
        |case, it| {
            case.pool.config.budget?;
            (case.pool.memory_mb != it.memory_mb).then_some(())?;
            told(
                format!(
                    "{} is {}, the function has {} MB: the budget counts wrong",
                    setting(case, "memory_mb"),
                    case.pool.memory_mb,
                    it.memory_mb
                ),
                "set it to what the function has",
            )
        },
    ),
    configured(
        "budget-price",
        Odd,
        "a budget counts x86's price for an arm64 function",
        |case, it| {
            case.pool.config.budget?;
            let price =
                case.pool.effective().iter().find(|it| it.name == "pool.price_per_gb_second")?;
            (it.architecture == "arm64" && price.text == PRICE_X86).then_some(())?;
            told(
                format!(
                    "{} is {PRICE_X86}, x86's, and the function runs on arm64",
                    setting(case, "price_per_gb_second")
                ),
                "set it to 0.0000133334",
            )
        },
    ),
    configured("latest", Odd, "the function is used without a version or alias", |case, it| {
        (it.version == LATEST && !it.snap_start).then_some(())?;
        told(
            format!(
                "{} is the function's $LATEST: each upload is served at once, half done or not, \
                     and there is no way back",
                case.pool.function
            ),
            "publish versions, and name an alias: FUNCTION:live",
        )
    }),
    configured(
        "snap-start-unused",
        Odd,
        "SnapStart is on, and the name has no version or alias",
        |case, it| {
            (it.version == LATEST && it.snap_start).then_some(())?;
            told(
                format!(
                    "SnapStart is on for published versions, and {} is $LATEST, of which there is \
                     no snapshot",
                    case.pool.function
                ),
                "publish a version, and name it or an alias: FUNCTION:live",
            )
        },
    ),
    configured("no-snapshot", Odd, "SnapStart is on, and this version has no snapshot", |_, it| {
        (it.version != LATEST && it.snap_start && !it.has_snapshot).then_some(())?;
        told(
            format!("SnapStart is on, but version {} has no snapshot", it.version),
            "publish a version after SnapStart was switched on",
        )
    }),
    configured(
        "zip-runtime",
        Odd,
        "a function that is no image has a runtime that takes invokes itself",
        |_, it| {
            let runtime = it.runtime.as_deref().filter(|it| !it.starts_with("provided"))?;
            (it.package == "Zip").then_some(())?;
            told(
                format!("its runtime {runtime} takes the invokes that the extension is there for"),
                "use an image, or provided.al2023 with your app as bootstrap",
            )
        },
    ),
    configured(
        "no-vpc",
        Breaks,
        "instances are to dial a private address, from outside of any VPC",
        |case, it| {
            let (host, ip) = callback(case)?;
            (!it.in_vpc && is_private(ip)).then_some(())?;
            told(
                format!(
                    "instances are to dial {host}, which is private, and the function is in no VPC"
                ),
                "put the function into the router's VPC",
            )
        },
    ),
    answer(
        "callback-loopback",
        Breaks,
        "instances are to dial this machine's loopback, or a link-local address",
        |case| {
            let (host, ip) = callback(case)?;
            (ip.is_loopback() || ip.is_unspecified() || is_link_local(ip)).then_some(())?;
            told(
                format!("instances are to dial {host}, where nobody but this machine is"),
                "set callback.host to an address of the router that the function can reach",
            )
        },
    ),
    configured(
        "extension-settings",
        Breaks,
        "the extension cannot use a variable of the function",
        |_, it| {
            let Some(Err(why)) = &it.extension else { return None };
            told(format!("the extension will not start: {why}"), "correct the function's variables")
        },
    ),
    configured(
        "extension-networks",
        Odd,
        "the extension dials no such address, if its image sets nothing else",
        |case, it| {
            let (host, ip) = callback(case)?;
            let refuses = |it: &&Extension| !it.networks.contains(ip);
            it.extension.as_ref()?.as_ref().ok().filter(refuses)?;
            (!ip.is_loopback() && !is_link_local(ip)).then_some(())?;
            told(
                format!("the extension does not dial {host}, unless its image says so"),
                "set LAMBDA_DISPATCH_ROUTER_CIDRS in the function to the router's networks",
            )
        },
    ),
    configured(
        "extension-plaintext",
        Odd,
        "instances are to dial without TLS, and the extension does not",
        |case, it| {
            (case.router.settings.callback_endpoint().0 == "http").then_some(())?;
            it.extension.as_ref()?.as_ref().ok().filter(|it| !it.plaintext)?;
            told(
            "callback.scheme is http, and the extension dials over TLS only, unless its image says \
             otherwise"
                .to_owned(),
            "leave callback.scheme at https, or set LAMBDA_DISPATCH_ALLOW_INSECURE=true in the \
             function",
        )
        },
    ),
    configured(
        "variables-not-seen",
        Unknown,
        "the function's variables cannot be decrypted by the caller",
        |_, it| {
            it.extension.is_none().then_some(())?;
            told(
                "the function's variables were not looked at: they cannot be decrypted".to_owned(),
                "to have them looked at, allow kms:Decrypt with the function's key, which the router \
                 itself does without",
            )
        },
    ),
];

#[expect(clippy::unnecessary_wraps, reason = "rows end with it")]
fn told(what: String, remedy: &str) -> Option<Told> {
    Some((what, remedy.to_owned()))
}

/// Why something was not seen, unless the answer about invoking says it already.
fn unseen<'a>(case: Case<'_>, why: Option<&'a Silence>) -> Option<&'a str> {
    let told_already = match why? {
        Silence::Denied(_) | Silence::Other(_) => false,
        Silence::Missing(_) | Silence::Unreachable(_) | Silence::Untrusted(_) => {
            case.said.dry_run.is_err()
        }
    };
    why.filter(|_| !told_already).map(Silence::said)
}

/// What a setting of the pool is called.
fn setting(case: Case<'_>, key: &str) -> String {
    match case.pool.name.as_str() {
        "default" => format!("pool.{key}"),
        name => format!("pools.{name}.{key}"),
    }
}

fn reason(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(" ({why})") }
}

/// The address that instances are to dial; nothing where it is a name, or where Lambda is an
/// emulator on this machine.
fn callback(case: Case<'_>) -> Option<(&str, IpAddr)> {
    let host = case.router.callback.as_ref().ok()?.host.as_str();
    let ip: IpAddr = host.parse().ok()?;
    (!is_emulated(&case.pool.aws)).then_some((host, ip.to_canonical()))
}

fn is_emulated(aws: &Aws) -> bool {
    let url = aws.endpoint.as_ref().and_then(|endpoint| endpoint.parse::<http::Uri>().ok());
    let host = url.as_ref().and_then(http::Uri::host).unwrap_or_default();
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

fn is_private(ip: IpAddr) -> bool {
    io_tokio::networks::Networks::private().contains(ip)
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

const LATEST: &str = "$LATEST";

/// The least that works: an instance needs some of it to end, and some to start the next.
const TIMEOUT_MIN: Duration = Duration::from_secs(5);
const TIMEOUT_GOOD: Duration = Duration::from_secs(60);

/// What the original's construct gives.
const MEMORY_MB_MIN: u64 = 192;

/// The default of `pool.price_per_gb_second`.
const PRICE_X86: &str = "0.0000166667";
