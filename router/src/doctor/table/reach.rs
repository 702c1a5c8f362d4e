//! Faults of the way: the router's machine, its way to AWS, its permission, and what account and
//! function may have at once.

use crate::doctor::facts::Silence;

use super::Severity::{Breaks, Odd, Unknown};
use super::{Case, Row, Test, access, answer, callback, is_link_local, setting, told};

/// In the order of the documentation.
pub(super) const ROWS: &[Row] = &[
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
    Row {
        name: "callback-family",
        severity: Odd,
        when: "instances are to dial an IPv6 address, and the router listens on IPv4 alone, or the \
               reverse",
        test: Test::Router(|router| {
            let (_, listener) = router.settings.callback_listener();
            told(
                router.callback.as_ref().ok()?.missed_by(listener)?,
                "set listen.control to [::]:5004, which takes both, or callback.host to another \
                 address",
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
];

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
