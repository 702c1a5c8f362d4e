//! Faults of a function's configuration, beside the settings of its pool.

use std::net::IpAddr;
use std::time::Duration;

use crate::doctor::facts::{Configuration, Extension};
use crate::settings::Shown;

use super::Severity::{Breaks, Odd, Unknown};
use super::{Row, callback, configured, is_link_local, setting, told};

/// In the order of the documentation.
pub(super) const ROWS: &[Row] = &[
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
    configured("per-tenant", Breaks, "the function isolates tenants", |_, it| {
        it.per_tenant.then_some(())?;
        told(
            "it isolates tenants: Lambda refuses an invoke that names none, and an instance serves \
             requests of all"
                .to_owned(),
            "use a function without tenant isolation, or a pool and a function for each tenant",
        )
    }),
    configured(
        "zip-runtime",
        Breaks,
        "a function that is no image has a runtime that takes invokes itself",
        |_, it| {
            let runtime = runtime_with_invokes(it).filter(|_| it.has_wrapper == Some(false))?;
            told(
                format!("its runtime {runtime} takes the invokes that the extension is there for"),
                IMAGE_OR_BOOTSTRAP,
            )
        },
    ),
    configured(
        "zip-wrapper",
        Odd,
        "it has such a runtime, in whose place `AWS_LAMBDA_EXEC_WRAPPER` may start the app",
        |_, it| {
            let runtime = runtime_with_invokes(it).filter(|_| it.has_wrapper != Some(false))?;
            told(
                format!(
                    "its runtime {runtime} takes the invokes that the extension is there for, \
                     unless AWS_LAMBDA_EXEC_WRAPPER starts the app in its place"
                ),
                IMAGE_OR_BOOTSTRAP,
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
        "leaves-by-itself",
        Odd,
        "the extension lets idle instances leave sooner than `pool.linger`",
        |case, it| {
            let extension = it.extension.as_ref()?.as_ref().ok()?;
            let (own, ours) = (extension.linger?, case.pool.config.linger);
            (own < ours).then_some(())?;
            told(
                format!(
                    "idle instances leave by themselves after {}, and {} is {}: the router counts on \
                     who is gone",
                    Shown(own),
                    setting(case, "linger"),
                    Shown(ours)
                ),
                "take LAMBDA_DISPATCH_LAST_ACTIVE_GRACE_PERIOD_MS out of the function",
            )
        },
    ),
    configured(
        "extension-wire-v1",
        Odd,
        "the extension also takes routers of the original, which prove nothing",
        |_, it| {
            it.extension.as_ref()?.as_ref().ok().filter(|it| it.wire_v1)?;
            told(
                "LAMBDA_DISPATCH_WIRE_V1 is true: the extension also serves a router of the original, \
                 which proves nothing"
                    .to_owned(),
                "take it out of the function once every router is this one",
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

/// The runtime of a function that is no image, if it is one that takes invokes itself.
fn runtime_with_invokes(it: &Configuration) -> Option<&str> {
    let runtime = it.runtime.as_deref().filter(|it| !it.starts_with("provided"));
    runtime.filter(|_| it.package == "Zip")
}

fn reason(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(" ({why})") }
}

fn is_private(ip: IpAddr) -> bool {
    io_tokio::networks::Networks::private().contains(ip)
}

const LATEST: &str = "$LATEST";

const IMAGE_OR_BOOTSTRAP: &str = "use an image, or provided.al2023 with a bootstrap that starts \
                                  your app";

/// The least that works: an instance needs some of it to end, and some to start the next.
const TIMEOUT_MIN: Duration = Duration::from_secs(5);
const TIMEOUT_GOOD: Duration = Duration::from_secs(60);

/// What the original's construct gives.
const MEMORY_MB_MIN: u64 = 192;

/// The default of `pool.price_per_gb_second`.
const PRICE_X86: &str = "0.0000166667";
