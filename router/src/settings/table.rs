//! The one list of settings: name, kind, default, names in the environment, meaning.
//!
//! The file, the environment, flags, `check` and the documentation are all read from it, so a
//! setting that is not here does not exist and one that is here is understood everywhere.

use std::time::Duration;

use crate::traces::SAMPLERS;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// `section.key` in the file. In the environment it is `LAMBDA_DISPATCH_SECTION_KEY`.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// The value when nobody sets it, as it would be written; empty for none.
    pub default: &'static str,
    /// What the original's router calls it after `LAMBDA_DISPATCH_`; empty if it has no such thing.
    pub original: &'static str,
    /// Variables of other programs that say the same, strongest first.
    pub variables: &'static [&'static str],
    /// One line that says what it does.
    pub about: &'static str,
}

/// What values a setting takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `HOST:PORT`, or a port alone for the default's host; `off` if it may be.
    Address {
        /// Whether `off` is allowed.
        off: bool,
    },
    /// A number of bytes: `65536`, `64KiB`, `64MiB`, `1GiB`.
    Bytes {
        /// The least allowed.
        min: u64,
        /// The most allowed.
        max: u64,
    },
    /// One of a few words; case and `_`, `-` do not matter.
    Choice(&'static [&'static str]),
    /// An amount of dollars: `12.50`.
    Dollars {
        /// The most allowed.
        max: u32,
    },
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Number {
        /// The least allowed.
        min: u64,
        /// The most allowed.
        max: u64,
    },
    /// A part of a whole: a number from 0 to 1.
    Ratio,
    /// A time: `250ms`, `30s`, `2m`, `1h`, or the original's `00:02:00`.
    Span {
        /// The least allowed.
        min: Duration,
        /// The most allowed.
        max: Duration,
    },
    /// Any text.
    Text,
    /// A URL with `http` or `https`, such as this one.
    Url(&'static str),
}

/// Looks a setting up by its name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// Names of the original's router that are understood and have nothing to do here, with the reason.
pub const IGNORED: &[(&str, &str)] = &[
    ("ChannelCount", "an instance offers exactly `pool.slots` slots; there is nothing to tune"),
    ("LogPeriodicMetrics", "scrape /metrics on `listen.admin` instead"),
    ("MaxCompletionPortThreads", "it tunes .NET; see `workers`"),
    ("MaxWorkerThreads", "it tunes .NET; see `workers`"),
    ("MinCompletionPortThreads", "it tunes .NET; see `workers`"),
    ("MinWorkerThreads", "it tunes .NET; see `workers`"),
];

/// Every setting, in the order in which `check` prints them.
pub const SETTINGS: &[Setting] = &[
    original(
        "listen.http",
        Kind::Address { off: true },
        "0.0.0.0:5001",
        "IncomingRequestHTTPPort",
        "clients: HTTP/1.1 and cleartext HTTP/2",
    ),
    original(
        "listen.https",
        Kind::Address { off: true },
        "0.0.0.0:5002",
        "IncomingRequestHTTPSPort",
        "clients over TLS; served when listen.certificate is set",
    ),
    plain("listen.certificate", Kind::Text, "", "PEM file: the certificate chain for listen.https"),
    plain("listen.key", Kind::Text, "", "PEM file: the private key for listen.https"),
    original(
        "listen.control",
        Kind::Address { off: false },
        "0.0.0.0:5004",
        "ControlChannelHTTP2Port",
        "instances dial back here over TLS",
    ),
    original(
        "listen.control_plaintext",
        Kind::Address { off: false },
        "0.0.0.0:5003",
        "ControlChannelInsecureHTTP2Port",
        "instances dial back here without TLS; served when listen.allow_plaintext_control is true",
    ),
    original(
        "listen.allow_plaintext_control",
        Kind::Flag,
        "false",
        "AllowInsecureControlChannel",
        "serve listen.control_plaintext too",
    ),
    plain(
        "listen.admin",
        Kind::Address { off: true },
        "127.0.0.1:5005",
        "/dashboard, /livez, /readyz, /health, /explain and /metrics",
    ),
    plain(
        "listen.trusted_proxies",
        Kind::Text,
        "private",
        "networks whose X-Forwarded-* is believed: private (loopback included), none, or a list \
         such as 10.0.0.0/8,fd00::/8",
    ),
    plain(
        "listen.server_timing",
        Kind::Flag,
        "false",
        "tell clients in Server-Timing how long each stage of a request took: queue, dispatch, app",
    ),
    plain(
        "listen.wire_v1",
        Kind::Text,
        "off",
        "networks from which the original's extensions may attach, which prove nothing: off, \
         private (loopback included), or a list such as 10.0.0.0/8",
    ),
    plain(
        "routing.alias_header",
        Kind::Text,
        "",
        "header in which a request may name the alias of a route, such as X-Lambda-Name; none when \
         not set",
    ),
    plain(
        "routing.alias_from",
        Kind::Choice(&["trusted", "anyone"]),
        "trusted",
        "whose aliases are heard: of listen.trusted_proxies, or of anyone",
    ),
    plain(
        "total.instances",
        number(1, 1_000_000),
        "",
        "instances of all pools together, such as the account's concurrency; shared by pool.weight",
    ),
    plain(
        "total.invokes_per_second",
        number(1, 1_000_000),
        "",
        "rate of invokes of all pools together; shared by pool.weight",
    ),
    plain(
        "total.queue_length",
        number(1, 10_000_000),
        "",
        "requests that may wait in all pools together; shared by pool.weight",
    ),
    plain(
        "total.queue_bytes",
        bytes(1, 1 << 40),
        "",
        "memory that the waiting requests of all pools may hold; shared by pool.weight",
    ),
    original(
        "pool.function",
        Kind::Text,
        "",
        "FunctionName",
        "the Lambda function: name, name:qualifier or ARN",
    ),
    original(
        "pool.slots",
        number(1, dispatch_model::SLOTS_MAX as u64),
        "10",
        "MaxConcurrentCount",
        "requests that one instance serves at once",
    ),
    plain("pool.instances_min", number(0, 100_000), "0", "instances kept though idle"),
    plain(
        "pool.instances_max",
        number(1, 100_000),
        "100",
        "instances never exceeded, starting ones included",
    ),
    original(
        "pool.scaling",
        Kind::Choice(&["rule", "simple", "ewma"]),
        "rule",
        "ScalingAlgorithm",
        "how the number of instances is chosen; simple and ewma are the original's",
    ),
    original(
        "pool.instance_count_multiplier",
        number(1, 10),
        "2",
        "InstanceCountMultiplier",
        "head-room of simple and ewma",
    ),
    plain(
        "pool.matching",
        Kind::Choice(&["least_outstanding", "pack"]),
        "least_outstanding",
        "which instance gets the next request",
    ),
    plain(
        "pool.linger",
        span_from_zero(3_600),
        "1s",
        "how long an instance that is not needed is kept",
    ),
    plain(
        "pool.cold_start",
        span(3_600),
        "",
        "time from an invoke to its first slot; measured when not set",
    ),
    plain(
        "pool.start_timeout",
        span(3_600),
        "30s",
        "an invoke without a slot after this time has failed",
    ),
    plain(
        "pool.starts_unproven_max",
        number(1, 1_000),
        "10",
        "instances that may start at once before any has served",
    ),
    plain("pool.invokes_per_second", number(1, 100_000), "100", "rate of invokes after a burst"),
    plain("pool.invokes_burst", number(1, 100_000), "1000", "invokes in a burst"),
    plain("pool.queue_length", number(0, 10_000_000), "10000", "requests that may wait"),
    plain(
        "pool.queue_bytes",
        bytes(0, 1 << 40),
        "64MiB",
        "memory that waiting requests may hold; beside it is what an HTTP/2 client sends unread, up \
         to 256 KiB a request",
    ),
    plain(
        "pool.redispatch",
        number(0, 10),
        "2",
        "how often a request that no app saw may be sent to another instance",
    ),
    plain(
        "pool.retry_repeatable",
        Kind::Flag,
        "false",
        "repeat a GET, HEAD or OPTIONS once when its instance failed before a response",
    ),
    plain(
        "pool.placement_margin",
        span_from_zero(900),
        "15s",
        "no request is placed in this last part of an instance's lease",
    ),
    plain("pool.ping_interval", span(3_600), "5s", "time between signs of life of an instance"),
    plain("pool.ping_timeout", span(3_600), "5s", "how long a sign of life may take"),
    plain(
        "pool.budget_per_hour",
        Kind::Dollars { max: 1_000_000 },
        "",
        "dollars that instances may cost per hour, with an hour of credit; no bound when not set",
    ),
    plain(
        "pool.memory_mb",
        number(128, 10_240),
        "1024",
        "memory of the function in MB, for the budget and for what instances are estimated to cost",
    ),
    plain(
        "pool.price_per_gb_second",
        Kind::Dollars { max: 1 },
        "0.0000166667",
        "dollars per GB-second, for the budget and estimates; 0.0000133334 on arm64",
    ),
    plain(
        "pool.weight",
        number(1, 1_000),
        "1",
        "how large the pool's share is of what [total] says, in proportion to others'",
    ),
    plain(
        "timeouts.head",
        span(3_600),
        "10s",
        "a client must send its request head within this time",
    ),
    original(
        "timeouts.queue",
        span(3_600),
        "120s",
        "IncomingRequestTimeout",
        "longest wait in the queue",
    ),
    plain(
        "timeouts.first_byte",
        span(3_600),
        "60s",
        "an app must begin its response within this time",
    ),
    plain(
        "timeouts.idle",
        span(3_600),
        "60s",
        "longest silence in the middle of a request or a response; longest time a client reads nothing",
    ),
    plain(
        "timeouts.stream_idle",
        span(24 * 3_600),
        "5m",
        "longest silence, in both directions, of a WebSocket, of text/event-stream and of gRPC",
    ),
    plain(
        "timeouts.total",
        span(24 * 3_600),
        "",
        "longest time from a request's head to the end of its response, also if its body trickles \
         in; no bound when not set",
    ),
    plain(
        "timeouts.await_body",
        Kind::Flag,
        "true",
        "a request with a body, gRPC apart, gets in line when the first bytes of that are there",
    ),
    plain("timeouts.keep_alive", span(3_600), "75s", "how long an idle client connection is kept"),
    plain(
        "timeouts.drain",
        span_from_zero(3_600),
        "110s",
        "time from SIGTERM to the end of the last request",
    ),
    plain(
        "timeouts.drain_delay",
        span_from_zero(3_600),
        "10s",
        "time after SIGTERM in which connections are still accepted, for a load balancer to notice",
    ),
    // As much as an extension takes, which counts 32 bytes more for each header and is told a few.
    plain("limits.head_bytes", bytes(8 << 10, 192 << 10), "64KiB", "size of a request head"),
    plain(
        "limits.headers",
        number(1, 1_000),
        "100",
        "number of request headers; of HTTP/2, a cookie in pieces is one",
    ),
    plain("limits.uri_bytes", bytes(256, 64 << 10), "16KiB", "size of a request target"),
    plain("limits.connections", number(1, 1_000_000), "10000", "connections of clients at once"),
    plain(
        "limits.connections_per_client",
        number(1, 1_000_000),
        "500",
        "connections at once of one client (an IPv4 address, or an IPv6 /64) that is no trusted \
         proxy",
    ),
    plain(
        "limits.streams",
        number(1, 10_000),
        "100",
        "requests at once on one HTTP/2 connection of a client",
    ),
    plain(
        "log.format",
        Kind::Choice(&["text", "json"]),
        "text",
        "form of the log on standard error",
    ),
    plain(
        "log.filter",
        Kind::Text,
        "info",
        "what is logged: a level, or target=level,...; release builds have no trace",
    ),
    plain("log.access", Kind::Text, "off", "access log: off, - for standard output, or a file"),
    plain(
        "log.access_format",
        Kind::Text,
        "text",
        "form of the access log: text, combined, json, or a template such as \
         '$remote_addr \"$request\" $status $request_time'",
    ),
    original(
        "emf.enabled",
        Kind::Flag,
        "false",
        "CloudWatchMetricsEnabled",
        "write metrics for CloudWatch, in its embedded metric format",
    ),
    plain(
        "emf.to",
        Kind::Text,
        "-",
        "where to: - for standard output, a file, or the CloudWatch agent: tcp://HOST:PORT or \
         udp://HOST:PORT",
    ),
    plain(
        "emf.period",
        Kind::Span { min: Duration::from_secs(1), max: Duration::from_secs(3_600) },
        "60s",
        "how often; each time, a line for each pool",
    ),
    plain("emf.namespace", Kind::Text, "PwrDrvr", "namespace of the metrics; the original's"),
    Setting {
        variables: &[TRACES_AS_IS, "OTEL_EXPORTER_OTLP_ENDPOINT"],
        ..plain(
            TRACES,
            Kind::Url("http://127.0.0.1:4318"),
            "",
            "OpenTelemetry collector that takes OTLP over HTTP; no traces when not set",
        )
    },
    Setting {
        variables: &["OTEL_SERVICE_NAME"],
        ..plain(
            "traces.service_name",
            Kind::Text,
            "",
            "what the router is called in traces; lambda-dispatch when not set",
        )
    },
    Setting {
        variables: &["OTEL_TRACES_SAMPLER"],
        ..plain(
            "traces.sampler",
            Kind::Choice(SAMPLERS),
            "parentbased_always_on",
            "which traces are recorded; parentbased ones do as the client says, if it says",
        )
    },
    Setting {
        variables: &["OTEL_TRACES_SAMPLER_ARG"],
        ..plain("traces.ratio", Kind::Ratio, "1", "part of them that samplers with a ratio record")
    },
    plain(
        "recorder.ring",
        bytes(0, 1 << 30),
        "8MiB",
        "how much of what the model was told and did is kept in memory, for SIGUSR1; 0 for none",
    ),
    plain("recorder.file", Kind::Text, "", "file in which all of it is kept; it grows for ever"),
    plain(
        "recorder.dump",
        Kind::Text,
        "",
        "file that SIGUSR1, or a panic, writes; in the system's temporary folder when not set",
    ),
    plain(
        "recorder.check",
        Kind::Flag,
        "false",
        "recount the whole model after turns, once for all since the last time, and end at a \
         fault; for canaries",
    ),
    original(
        "callback.host",
        Kind::Text,
        "",
        "RouterCallbackHost",
        "host that instances dial back to; found out when not set",
    ),
    original(
        "callback.host_variable",
        Kind::Text,
        "K8S_POD_IP",
        "EnvVarForCallbackIp",
        "environment variable that holds that host",
    ),
    original(
        "callback.scheme",
        Kind::Choice(&["https", "http"]),
        "https",
        "PreferredControlChannelScheme",
        "http needs listen.allow_plaintext_control",
    ),
    Setting {
        variables: &["AWS_LAMBDA_SERVICE_URL", "AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL"],
        ..plain(
            "aws.endpoint",
            Kind::Url("https://lambda.eu-west-1.amazonaws.com"),
            "",
            "where the Lambda API is; the region's own when not set",
        )
    },
    Setting {
        variables: &["AWS_REGION", "AWS_DEFAULT_REGION"],
        ..plain(
            "aws.region",
            Kind::Text,
            "",
            "AWS region; that of the function's ARN or of the AWS profile when not set",
        )
    },
    plain("workers", number(0, 1_024), "0", "threads that serve; 0 for one per core"),
];

/// What a `[[route]]` has of its own.
pub(super) const ROUTE: &[Setting] = &[
    plain("host", Kind::Text, "", "host that requests are for, or *.example.com for all below it"),
    plain("path", Kind::Text, "", "how their path begins, by whole segments"),
    plain("alias", Kind::Text, "", "what they name in routing.alias_header"),
    plain("pool", Kind::Text, "", "the pool that serves them"),
];

/// The time-outs that each route and each pool can have of its own.
pub(super) const PATIENCE: &[&str] = &[
    "timeouts.first_byte",
    "timeouts.idle",
    "timeouts.stream_idle",
    "timeouts.total",
    "timeouts.await_body",
];

/// Where traces are sent.
pub(super) const TRACES: &str = "traces.endpoint";

/// The variable that says so with the path; others are the beginning of a URL.
pub(super) const TRACES_AS_IS: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

/// The time-out that each pool can have of its own.
pub(super) const QUEUE_TIMEOUT: &str = "timeouts.queue";

const fn plain(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    about: &'static str,
) -> Setting {
    Setting { name, kind, default, original: "", variables: &[], about }
}

const fn original(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    original: &'static str,
    about: &'static str,
) -> Setting {
    Setting { name, kind, default, original, variables: &[], about }
}

const fn number(min: u64, max: u64) -> Kind {
    Kind::Number { min, max }
}

const fn bytes(min: u64, max: u64) -> Kind {
    Kind::Bytes { min, max }
}

/// A time that makes no sense as zero.
const fn span(seconds_max: u64) -> Kind {
    Kind::Span { min: Duration::from_millis(1), max: Duration::from_secs(seconds_max) }
}

const fn span_from_zero(seconds_max: u64) -> Kind {
    Kind::Span { min: Duration::ZERO, max: Duration::from_secs(seconds_max) }
}
