//! `check`: every value and who set it, what follows from them, and what looks risky.

use std::fmt::Write as _;
use std::time::Duration;

use io_tokio::net::authority;
use io_tokio::pool::DEFAULT_POOL;
use tracing::level_filters::STATIC_MAX_LEVEL;

use crate::logging;

use super::layers::Origin;
use super::value::Shown;
use super::{Effective, PoolPlan, Settings};

/// What the steps of one request take in a recording, roughly.
const RECORDED_BYTES_PER_REQUEST: u64 = 30;

/// The setting that bounds the instances of all pools.
const TOTAL: &str = "total.instances";

/// Instances that an AWS account may have at once, unless it was granted more.
const ACCOUNT_CONCURRENCY: u64 = 1_000;

/// Seconds in the 730 hours that AWS calls a month.
const MONTH_S: u64 = 730 * 3_600;

/// Explains `settings` to the person who wrote them.
#[must_use]
pub fn explain(settings: &Settings) -> String {
    let mut text = String::from("Values and where they come from:\n");
    for value in settings.effective() {
        value_line(&mut text, "  ", value.name, value);
    }
    for pool in settings.pools.iter().filter(|pool| pool.name != DEFAULT_POOL) {
        line(&mut text, format_args!("\nPool {}:", pool.name));
        for value in pool.effective() {
            let key = value.name.strip_prefix("pool.").unwrap_or(value.name);
            value_line(&mut text, "  ", &format!("pools.{}.{key}", pool.name), value);
        }
    }
    text.push_str("\nRoutes, the most specific first:\n");
    for (conditions, route) in settings.routes.iter() {
        line(&mut text, format_args!("  {:<63} {}", conditions.to_string(), route.origin));
        let total: u64 = route.split.iter().map(|(weight, _)| u64::from(weight)).sum();
        for ((weight, share), effective) in route.split.iter().zip(&route.effective) {
            let part = if u64::from(weight) == total {
                String::new()
            } else {
                format!(", {weight} of {total}")
            };
            line(&mut text, format_args!("    to {}{part}", share.pool));
            // Without a route of the operator's own the values are those above.
            for value in effective.iter().filter(|_| route.origin != Origin::Default) {
                value_line(&mut text, "      ", value.name, value);
            }
        }
    }
    text.push_str("\nWhat follows:\n");
    for consequence in consequences(settings) {
        line(&mut text, format_args!("  - {consequence}"));
    }
    let warnings = warnings(settings);
    if !warnings.is_empty() {
        text.push_str("\nWarnings:\n");
        for warning in warnings {
            line(&mut text, format_args!("  - {warning}"));
        }
    }
    text
}

fn value_line(text: &mut String, indent: &str, name: &str, value: &Effective) {
    let shown = if value.text.is_empty() { "(not set)" } else { &value.text };
    let width = 34 - indent.len();
    line(text, format_args!("{indent}{name:<width$} = {shown:<28} {}", value.origin));
}

/// What an operator may not have meant: names that were ignored and risky combinations.
#[must_use]
pub fn warnings(settings: &Settings) -> Vec<String> {
    let mut risks = network_risks(settings);
    risks.extend(time_risks(settings));
    risks.extend(routing_risks(settings));
    risks.push(log_risk(settings));
    for pool in &settings.pools {
        let of = whose(settings, pool);
        risks.extend(
            pool_risks(pool, settings).into_iter().map(|(is, what)| (is, of.clone() + &what)),
        );
    }
    let taken = risks.into_iter().filter(|(taken, _)| *taken).map(|(_, what)| what);
    settings.notices.iter().cloned().chain(taken).collect()
}

/// Risks of who can reach what, and whether each is taken.
fn network_risks(settings: &Settings) -> Vec<(bool, String)> {
    let listen = &settings.listen;
    let mut risks = vec![
        (
            listen.http.is_none() && listen.https.is_none(),
            "nothing listens for clients: listen.http is off and there is no listen.certificate"
                .to_owned(),
        ),
        (
            listen.http.is_some() && listen.https.is_some(),
            "clients may still use listen.http without TLS; set it to off if they should not"
                .to_owned(),
        ),
    ];
    if let Some(address) = listen.control_plaintext {
        let what = format!(
            "{address} takes instances without TLS: whoever sees that traffic sees every request, \
             and can take an instance's place"
        );
        risks.push((true, what));
        let what = "callback.scheme is http: this version's extension dials no router without TLS \
                    unless its function allows that (LAMBDA_DISPATCH_ALLOW_INSECURE)";
        risks.push((settings.callback.plaintext, what.to_owned()));
    }
    if let Some(networks) = &listen.wire_v1 {
        let what = format!(
            "listen.wire_v1 is {networks}: extensions of the original attach without a token, and \
             take any certificate for this router's; whoever can reach its control port from there \
             and learns an instance's id first, or stands in between, is given requests. Switch it \
             off once every function has this version's extension"
        );
        risks.push((true, what));
    }
    if let Some(admin) = listen.admin {
        let what = format!("listen.admin is {admin}: whoever reaches it reads the metrics");
        risks.push((!admin.ip().is_loopback(), what));
    }
    if let Some(endpoint) = &settings.aws.endpoint {
        let local = ["http://127.0.0.1", "http://localhost", "http://[::1]"];
        let near = local.iter().any(|prefix| endpoint.starts_with(prefix));
        let what = format!(
            "aws.endpoint is {endpoint}: tokens of instances cross the network without TLS"
        );
        risks.push((endpoint.starts_with("http://") && !near, what));
    }
    if let Some(traces) = &settings.traces {
        let what = format!(
            "traces are sent to {}: collectors take gRPC on port 4317, and HTTP, which the router \
             speaks, on 4318",
            traces.endpoint
        );
        risks.push((traces.endpoint.port_u16() == Some(4_317), what));
    }
    risks
}

/// Risks of how long things take, and whether each is taken.
fn time_risks(settings: &Settings) -> Vec<(bool, String)> {
    let timeouts = &settings.timeouts;
    let minute = Duration::from_secs(60);
    vec![
        (
            settings.recorder.check,
            "recorder.check is true: the model is recounted again and again, which takes longer \
             the larger the pool is, and a fault ends the router"
                .to_owned(),
        ),
        (
            timeouts.keep_alive <= minute,
            format!(
                "timeouts.keep_alive is {}: an AWS load balancer reuses connections for 60s and \
                 will see resets",
                Shown(timeouts.keep_alive)
            ),
        ),
        (
            timeouts.drain >= 2 * minute,
            format!(
                "timeouts.drain is {}: ECS kills a task 120s after SIGTERM at the latest",
                Shown(timeouts.drain)
            ),
        ),
    ]
}

/// Whether more is to be logged than this build can.
fn log_risk(settings: &Settings) -> (bool, String) {
    let filter = &settings.log.filter;
    let what = format!(
        "log.filter is {filter}: a release build has nothing beyond {STATIC_MAX_LEVEL}; one \
         without --release has all"
    );
    (logging::asks_for_more(filter, STATIC_MAX_LEVEL), what)
}

/// What one pool risks.
fn pool_risks(pool: &PoolPlan, settings: &Settings) -> Vec<(bool, String)> {
    let first_byte = settings.longest_first_byte(&pool.name);
    let (is_reached, first_byte) = (first_byte.is_some(), first_byte.unwrap_or_default());
    let pool = &pool.config;
    let minute = Duration::from_secs(60);
    vec![
        (!is_reached, "no route leads to it".to_owned()),
        (
            pool.linger > minute,
            format!(
                "pool.linger is {}: idle instances cost as much as busy ones",
                Shown(pool.linger)
            ),
        ),
        (
            pool.queue_len_max == 0,
            "pool.queue_length is 0: a request that finds no free slot is refused at once"
                .to_owned(),
        ),
        (
            pool.cold_start.is_some_and(|start| start >= pool.start_timeout),
            "pool.cold_start is not shorter than pool.start_timeout: every start would count as \
             failed"
                .to_owned(),
        ),
        (
            pool.placement_margin < first_byte.min(Duration::from_secs(10)),
            format!(
                "pool.placement_margin is {}: requests that take longer are cut when a lease ends",
                Shown(pool.placement_margin)
            ),
        ),
    ]
}

/// Risks of who is served by what.
fn routing_risks(settings: &Settings) -> Vec<(bool, String)> {
    let instances: u64 = settings.pools.iter().map(|it| u64::from(it.config.instances_max)).sum();
    let aliases = settings.routes.aliases();
    let is_used = settings.routes.iter().any(|(conditions, _)| conditions.alias.is_some());
    let header = aliases.map_or("", |aliases| aliases.name.as_str());
    vec![
        (
            aliases.is_some() && !is_used,
            format!(
                "routing.alias_header is {header} but no route has an alias: a request that names \
                 one is refused with 404"
            ),
        ),
        (
            aliases.is_some_and(|aliases| aliases.from_anyone),
            format!("routing.alias_from is anyone: every client chooses a route by {header}"),
        ),
        (
            instances > ACCOUNT_CONCURRENCY
                && !settings.effective().iter().any(|it| it.name == TOTAL && !it.text.is_empty()),
            format!(
                "all pools together may have {} instances, and an AWS account has {} unless more \
                 were granted; set {TOTAL} to what yours has",
                grouped(instances),
                grouped(ACCOUNT_CONCURRENCY)
            ),
        ),
    ]
}

/// Whom a sentence is about, where there are several.
fn whose(settings: &Settings, pool: &PoolPlan) -> String {
    if settings.pools.len() == 1 { String::new() } else { format!("pool {}: ", pool.name) }
}

fn consequences(settings: &Settings) -> Vec<String> {
    let timeouts = &settings.timeouts;
    let mut all = vec![clients(settings)];
    for pool in &settings.pools {
        let of = whose(settings, pool);
        all.extend(pool_consequences(pool).into_iter().map(|what| of.clone() + &what));
    }
    if settings.pools.len() > 1 {
        let sum = |of: fn(&PoolPlan) -> u64| settings.pools.iter().map(of).sum::<u64>();
        all.push(format!(
            "all pools together: at most {} instances, {} waiting requests in {} MiB, {} per hour",
            grouped(sum(|pool| pool.config.instances_max.into())),
            grouped(sum(|pool| pool.config.queue_len_max.into())),
            grouped(sum(|pool| pool.config.queue_bytes_max) >> 20),
            dollars(sum(PoolPlan::picodollars_per_hour)),
        ));
    }
    all.push(
        "SIGHUP: this file is read again and taken over, if it is right, without losing a \
              request; the access log is opened again"
            .to_owned(),
    );
    all.push(format!(
        "SIGTERM: /readyz fails at once, connections are accepted for {} more, requests finish \
         within {}",
        Shown(timeouts.drain_delay),
        Shown(timeouts.drain)
    ));
    all.extend(recordings(settings));
    let (scheme, port) = settings.callback_endpoint();
    all.push(match &settings.callback.host {
        Some(host) => format!("instances dial back to {scheme}://{}", authority(host, port)),
        None => format!(
            "instances dial back to {scheme}://HOST:{port}; HOST is ${}, else what ECS or EC2 says",
            settings.callback.host_variable
        ),
    });
    all
}

/// What one pool can come to.
fn pool_consequences(plan: &PoolPlan) -> Vec<String> {
    let pool = &plan.config;
    let requests = u64::from(pool.instances_max) * u64::from(pool.slots);
    let mut all = vec![
        format!(
            "at most {} instances x {} slots = {} requests at once",
            grouped(pool.instances_max.into()),
            grouped(pool.slots.into()),
            grouped(requests)
        ),
        format!(
            "beyond that {} requests wait, in {} MiB at most and for {} at most; the rest is \
             refused with 503 and a Retry-After",
            grouped(pool.queue_len_max.into()),
            grouped(pool.queue_bytes_max >> 20),
            Shown(pool.queue_timeout)
        ),
        format!(
            "at most {} invokes in a burst, then {} per second; a function that never worked gets \
             at most {} at once",
            grouped(pool.invokes_burst.into()),
            grouped(pool.invokes_per_second.into()),
            grouped(pool.starts_unproven_max.into())
        ),
        format!(
            "all instances together cost at most {} per hour, at {} MB each",
            dollars(plan.picodollars_per_hour()),
            grouped(plan.memory_mb)
        ),
    ];
    if pool.instances_min > 0 {
        let month = plan.price.saturating_mul(MONTH_S).saturating_mul(pool.instances_min.into());
        all.push(format!(
            "{} idle instances are always kept, which costs {} a month",
            grouped(pool.instances_min.into()),
            dollars(month)
        ));
    }
    if let Some(budget) = pool.budget {
        let spent = dollars(budget.picodollars_per_hour());
        all.push(format!(
            "when {spent} are spent within an hour, at most {} instances are kept, for which \
             {spent} per hour are enough, until some of it is saved again",
            grouped(budget.instances().into())
        ));
    }
    all
}

/// What is recorded, and how one gets at it.
fn recordings(settings: &Settings) -> Vec<String> {
    let recorder = &settings.recorder;
    let mut all = Vec::new();
    if recorder.ring > 0 {
        all.push(format!(
            "SIGUSR1: what the model was told and did last, about {} requests, is written to {}",
            grouped(recorder.ring as u64 / RECORDED_BYTES_PER_REQUEST),
            recorder.dump.display()
        ));
    }
    if let Some(file) = &recorder.file {
        all.push(format!(
            "all of that is kept in {}, which grows by {RECORDED_BYTES_PER_REQUEST} MB for a \
             million requests",
            file.display()
        ));
    }
    all
}

/// Where clients are served, which is not everywhere that an address is set.
fn clients(settings: &Settings) -> String {
    let http = settings.listen.http.map(|address| format!("http://{address}"));
    let https = settings.listen.https.as_ref().map(|it| format!("https://{}", it.address));
    match (http, https) {
        (Some(http), Some(https)) => format!("clients are served at {http} and {https}"),
        (None, Some(https)) => format!("clients are served at {https}"),
        (Some(http), None) => {
            format!("clients are served at {http}; listen.https needs a listen.certificate")
        }
        (None, None) => "no client is served".to_owned(),
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    if writeln!(text, "{line}").is_err() {
        text.push('\n');
    }
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn dollars(picodollars: u64) -> String {
    let cents = picodollars.saturating_add(5_000_000_000) / 10_000_000_000;
    format!("${}.{:02}", grouped(cents / 100), cents % 100)
}
