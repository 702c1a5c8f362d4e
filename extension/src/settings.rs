//! Settings of the extension, all from the environment.
//!
//! The names of the original are kept. Where there is none of ours, some of Lambda Web Adapter's
//! (`AWS_LWA_*`) are understood as well, so that an image moves over as it is.

use std::fmt;
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use dispatch_model::lifecycle::Config;
use io_tokio::net::{authority, unbracketed};
use io_tokio::networks::Networks;
use io_tokio::payload::Plaintext;
use thiserror::Error;

use crate::hooks::Hooks;

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the app listens on this machine; `LAMBDA_DISPATCH_PORT`, else `AWS_LWA_PORT`, else
    /// `PORT`, 3001.
    pub app_port: u16,
    /// What the app speaks; `LAMBDA_DISPATCH_APP_PROTOCOL`, `http1`.
    pub app_protocol: AppProtocol,
    /// Whether responses are compressed; `LAMBDA_DISPATCH_ENABLE_COMPRESSION`, true.
    pub compression: bool,
    /// The name to register under, which is that of the executable's file.
    pub extension_name: String,
    /// Treats each invoke as this long, and refuses payloads older than 5 s: for local use;
    /// `LAMBDA_DISPATCH_FORCE_DEADLINE` in seconds, of which there is at least one and no more than
    /// an invoke can last; unset.
    pub force_deadline: Option<Duration>,
    /// Where the app is told of snapshots.
    pub hooks: Hooks,
    /// How long things take.
    pub lifecycle: Config,
    /// Whether a router may be reached without TLS; `LAMBDA_DISPATCH_ALLOW_INSECURE`, false.
    pub plaintext: Plaintext,
    /// When the app counts as ready.
    pub readiness: Readiness,
    /// Where it is asked for that; `LAMBDA_DISPATCH_READINESS_PORT`, the app's port.
    pub readiness_port: u16,
    /// Where routers may be; `LAMBDA_DISPATCH_ROUTER_CIDRS`, the private networks (and this machine
    /// where plaintext is allowed). Never where metadata services are, whatever is set.
    pub router_networks: Networks,
    /// How many threads work.
    pub runtime: Runtime,
    /// Lambda's API for runtimes and extensions.
    pub runtime_api: RuntimeApi,
    /// Whether a router that offers nothing else may be reached over the original's wire;
    /// `LAMBDA_DISPATCH_WIRE_V1`, false.
    pub wire_v1: bool,
}

/// What the app speaks on its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppProtocol {
    /// HTTP/2 without TLS, by prior knowledge, as gRPC servers do.
    H2c,
    /// HTTP/1.1. The default.
    Http1,
}

/// How the app shows that it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It answers `GET path` with one of these statuses; `LAMBDA_DISPATCH_READINESS_PATH`,
    /// `/health`, and `LAMBDA_DISPATCH_READINESS_STATUS`, `100-499`.
    Http {
        /// The path and query.
        path: String,
        /// The statuses.
        statuses: Vec<RangeInclusive<u16>>,
    },
    /// It accepts a connection; `LAMBDA_DISPATCH_READINESS_PROTOCOL=tcp`.
    Tcp,
}

/// How many threads work; `LAMBDA_DISPATCH_RUNTIME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// One, as most functions have less than two cores. The default.
    CurrentThread,
    /// That many; `TOKIO_WORKER_THREADS`, or else 2 for `multi_thread` and one for each core for
    /// `default_multi_thread`.
    MultiThread(usize),
}

/// Where Lambda's API is; `AWS_LAMBDA_RUNTIME_API`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeApi {
    /// Its name or address; IPv6 without brackets.
    pub host: String,
    /// Its port, 80 if not given.
    pub port: u16,
    /// What goes before each path; empty, or starting with `/` and not ending in it.
    pub prefix: String,
}

/// A setting that cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{name} is `{value}`, must be {expected}")]
pub struct SettingsError {
    name: &'static str,
    value: String,
    expected: &'static str,
}

impl Settings {
    /// Reads the process's environment.
    ///
    /// # Errors
    ///
    /// The first wrong value, with what it may be.
    pub fn from_env() -> Result<Self, SettingsError> {
        let mut settings = Self::read(|name| std::env::var(name).ok())?;
        let executable = std::env::args_os().next();
        let name = executable.as_ref().and_then(|path| std::path::Path::new(path).file_name());
        if let Some(name) = name.and_then(|name| name.to_str()) {
            name.clone_into(&mut settings.extension_name);
        }
        Ok(settings)
    }

    /// Reads settings from wherever `variable` finds them.
    ///
    /// # Errors
    ///
    /// The first wrong value, with what it may be.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let source = Source { variable };
        let plaintext = match source.get("LAMBDA_DISPATCH_ALLOW_INSECURE", BOOLEAN, boolean)? {
            Some(true) => Plaintext::Allowed,
            Some(false) | None => Plaintext::Refused,
        };
        let private = match plaintext {
            Plaintext::Allowed => Networks::private().and_loopback(),
            Plaintext::Refused => Networks::private(),
        };
        let runtime_api = source
            .get("AWS_LAMBDA_RUNTIME_API", "host:port, as Lambda sets it", RuntimeApi::parse)?
            .ok_or(SettingsError {
                name: "AWS_LAMBDA_RUNTIME_API",
                value: String::new(),
                expected: "set; this program runs inside AWS Lambda, `lambda-dispatch dev` or a \
                           Lambda emulator, which set it",
            })?;
        let app_port = source
            .get("LAMBDA_DISPATCH_PORT", PORT, port)?
            .or(source.get("AWS_LWA_PORT", PORT, port)?)
            .map_or_else(|| source.get("PORT", PORT, port), |port| Ok(Some(port)))?
            .unwrap_or(3001);
        let lifecycle = source.lifecycle()?;
        Ok(Self {
            app_port,
            app_protocol: source
                .get("LAMBDA_DISPATCH_APP_PROTOCOL", "http1 or h2c", app_protocol)?
                .unwrap_or(AppProtocol::Http1),
            compression: source
                .get("LAMBDA_DISPATCH_ENABLE_COMPRESSION", BOOLEAN, boolean)?
                .or(source.get("AWS_LWA_ENABLE_COMPRESSION", BOOLEAN, adapters_boolean)?)
                .unwrap_or(true),
            extension_name: "lambda-dispatch".to_owned(),
            force_deadline: source.force_deadline(lifecycle.invoke_max)?,
            hooks: source.hooks()?,
            lifecycle,
            plaintext,
            readiness: source.readiness()?,
            readiness_port: source
                .get("LAMBDA_DISPATCH_READINESS_PORT", PORT, port)?
                .or(source.get("AWS_LWA_READINESS_CHECK_PORT", PORT, port)?)
                .unwrap_or(app_port),
            router_networks: source
                .get(
                    "LAMBDA_DISPATCH_ROUTER_CIDRS",
                    "networks such as 10.0.0.0/8, separated by commas",
                    parsed,
                )?
                .unwrap_or(private)
                .but_no_metadata(),
            runtime: source.runtime()?,
            runtime_api,
            wire_v1: source.get("LAMBDA_DISPATCH_WIRE_V1", BOOLEAN, boolean)?.unwrap_or(false),
        })
    }
}

struct Source<F> {
    variable: F,
}

impl<F: Fn(&str) -> Option<String>> Source<F> {
    /// A variable, if it is set to something.
    fn get<T>(
        &self,
        name: &'static str,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, SettingsError> {
        let value = (self.variable)(name).filter(|value| !value.trim().is_empty());
        let Some(value) = value else { return Ok(None) };
        match parse(value.trim()) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(SettingsError { name, value, expected }),
        }
    }

    /// Nothing beyond what an invoke can last: the machine would not believe it.
    fn force_deadline(&self, invoke_max: Duration) -> Result<Option<Duration>, SettingsError> {
        let expected = if invoke_max == MANAGED_INVOKE_MAX {
            "a number of seconds, 1 to 5400"
        } else {
            "a number of seconds, 1 to 900"
        };
        self.get("LAMBDA_DISPATCH_FORCE_DEADLINE", expected, |value| {
            let span = Duration::from_secs(number(value)?);
            (Duration::from_secs(1)..=invoke_max).contains(&span).then_some(span)
        })
    }

    fn lifecycle(&self) -> Result<Config, SettingsError> {
        let default = Config::default();
        let millis = |name| Ok(self.get(name, MILLIS, number)?.map(Duration::from_millis));
        // How Lambda made this environment.
        let kind = self.get("AWS_LAMBDA_INITIALIZATION_TYPE", "text", parsed::<String>)?;
        let is = |name| kind.as_deref() == Some(name);
        // Lambda gives the init of these 130 s at least: one that ended before its app is ready
        // would have clients wait for what could have been ready.
        let has_time = is("provisioned-concurrency") || is("lambda-managed-instances");
        let ours = self.get("LAMBDA_DISPATCH_ASYNC_INIT", BOOLEAN, boolean)?;
        let adapters = self.get("AWS_LWA_ASYNC_INIT", BOOLEAN, adapters_boolean)?;
        // The adapter waits for as long as the function may run.
        let patience =
            if ours.is_none() && adapters.is_some() { ANY_INVOKE } else { default.app_patience };
        Ok(Config {
            async_init: ours.or(adapters).unwrap_or(default.async_init) && !has_time,
            app_patience: self
                .get("LAMBDA_DISPATCH_ASYNC_INIT_TIMEOUT", SECONDS, number)?
                .map_or(patience, Duration::from_secs),
            lead: millis("LAMBDA_DISPATCH_DEADLINE_LEAD_MS")?.unwrap_or(default.lead),
            hold_max: millis("LAMBDA_DISPATCH_WAIT_UNTIL_MAX_MS")?.unwrap_or(default.hold_max),
            invoke_fallback: default.invoke_fallback,
            invoke_max: if is("lambda-managed-instances") {
                MANAGED_INVOKE_MAX
            } else {
                default.invoke_max
            },
            linger: millis("LAMBDA_DISPATCH_LAST_ACTIVE_GRACE_PERIOD_MS")?,
            snap_start: is("snap-start"),
        })
    }

    fn hooks(&self) -> Result<Hooks, SettingsError> {
        const PATH: &str = "a path that starts with / and is not the root";
        let hook = |ours, theirs| {
            let is_fine = |path: &String| !path.trim_matches('/').is_empty();
            let ours = self.get(ours, PATH, |value| path(value).filter(is_fine))?;
            let theirs = self.get(theirs, PATH, |value| adapters_path(value).filter(is_fine))?;
            Ok(ours.or(theirs))
        };
        Ok(Hooks {
            before_checkpoint: hook(
                "LAMBDA_DISPATCH_SNAPSTART_BEFORE_CHECKPOINT_PATH",
                "AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH",
            )?,
            after_restore: hook(
                "LAMBDA_DISPATCH_SNAPSTART_AFTER_RESTORE_PATH",
                "AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH",
            )?,
        })
    }

    fn readiness(&self) -> Result<Readiness, SettingsError> {
        const PROTOCOL: &str = "http or tcp";
        let tcp = |value: &str| match value.to_ascii_lowercase().as_str() {
            "http" => Some(false),
            "tcp" => Some(true),
            _ => None,
        };
        let is_tcp = self.get("LAMBDA_DISPATCH_READINESS_PROTOCOL", PROTOCOL, tcp)?.or(self.get(
            "AWS_LWA_READINESS_CHECK_PROTOCOL",
            PROTOCOL,
            tcp,
        )?);
        if is_tcp == Some(true) {
            return Ok(Readiness::Tcp);
        }
        const PATH: &str = "a path that starts with /";
        const STATUS: &str = "statuses such as 200-399,401";
        let path = self
            .get("LAMBDA_DISPATCH_READINESS_PATH", PATH, path)?
            .or(self.get("AWS_LWA_READINESS_CHECK_PATH", PATH, adapters_path)?)
            .unwrap_or_else(|| "/health".to_owned());
        let statuses = self
            .get("LAMBDA_DISPATCH_READINESS_STATUS", STATUS, statuses)?
            .or(self.get("AWS_LWA_READINESS_CHECK_HEALTHY_STATUS", STATUS, statuses)?)
            .unwrap_or_else(|| vec![100..=499]);
        Ok(Readiness::Http { path, statuses })
    }

    fn runtime(&self) -> Result<Runtime, SettingsError> {
        let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
        let usual = self.get(
            "LAMBDA_DISPATCH_RUNTIME",
            "current_thread, multi_thread or default_multi_thread",
            |value| match value {
                "current_thread" => Some(None),
                "default_multi_thread" => Some(Some(cores())),
                "multi_thread" => Some(Some(2)),
                _ => None,
            },
        )?;
        let Some(usual) = usual.flatten() else { return Ok(Runtime::CurrentThread) };
        // Read where it counts alone, for it may be meant for the app; and never by tokio, which
        // panics at what it does not like.
        let asked =
            self.get("TOKIO_WORKER_THREADS", "a number of threads, 1 to 1024", |value| {
                parsed::<usize>(value).filter(|threads| (1..=1024).contains(threads))
            })?;
        Ok(Runtime::MultiThread(asked.unwrap_or(usual)))
    }
}

impl RuntimeApi {
    /// Reads `host:port`, `http://host:port` and either with a path.
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("http://").unwrap_or(text);
        let (authority, prefix) = match text.find('/') {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        let authority: http::uri::Authority = authority.parse().ok()?;
        let prefix = prefix.trim_end_matches('/');
        if !prefix.is_empty() {
            prefix.parse::<http::uri::PathAndQuery>().ok()?;
        }
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" => 80,
            text => port(text.strip_prefix(':')?)?,
        };
        let host = unbracketed(authority.host());
        let (host, prefix) = (host.to_owned(), prefix.to_owned());
        (!host.is_empty()).then_some(Self { host, port, prefix })
    }
}

impl fmt::Display for RuntimeApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, prefix } = self;
        write!(f, "http://{}{prefix}", authority(host, *port))
    }
}

fn parsed<T: FromStr>(value: &str) -> Option<T> {
    value.parse().ok()
}

fn app_protocol(value: &str) -> Option<AppProtocol> {
    match value.to_ascii_lowercase().as_str() {
        "h2c" => Some(AppProtocol::H2c),
        "http1" => Some(AppProtocol::Http1),
        _ => None,
    }
}

pub(crate) fn boolean(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// What is no boolean is false to Lambda Web Adapter; [`notices`](crate::web_adapter::notices) has
/// a line about it.
fn adapters_boolean(value: &str) -> Option<bool> {
    Some(boolean(value).unwrap_or(false))
}

/// At most a day in milliseconds, so that no sum of spans can overflow.
fn number(value: &str) -> Option<u64> {
    value.parse().ok().filter(|number| *number <= 86_400_000)
}

fn port(value: &str) -> Option<u16> {
    value.parse().ok().filter(|port| *port != 0)
}

fn path(value: &str) -> Option<String> {
    let parsed: http::uri::PathAndQuery = value.parse().ok()?;
    value.starts_with('/').then(|| parsed.as_str().to_owned())
}

/// Lambda Web Adapter puts a slash before a path that has none.
fn adapters_path(value: &str) -> Option<String> {
    path(value).or_else(|| path(&format!("/{value}")))
}

fn statuses(value: &str) -> Option<Vec<RangeInclusive<u16>>> {
    let status =
        |text: &str| text.trim().parse().ok().filter(|status: &u16| (100..=599).contains(status));
    let range = |text: &str| match text.split_once('-') {
        Some((first, last)) => Some(status(first)?..=status(last)?),
        None => status(text).map(|only| only..=only),
    };
    value.split(',').map(range).map(|range| range.filter(|range| !range.is_empty())).collect()
}

/// A managed instance's invoke may last for 90 minutes.
const MANAGED_INVOKE_MAX: Duration = Duration::from_secs(90 * 60);
const BOOLEAN: &str = "true or false";
const MILLIS: &str = "a number of milliseconds, at most 86400000";
const PORT: &str = "a port, 1 to 65535";
const SECONDS: &str = "a number of seconds, at most 86400000";
/// Longer than any invoke lasts.
const ANY_INVOKE: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use dispatch_model::lifecycle::Lifecycle;
    use dispatch_model::time::Time;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::read(|name| {
            let api = ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001");
            let found = variables.iter().chain([&api]).find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn defaults_are_those_of_the_original() {
        let settings = read(&[]).unwrap();
        assert_eq!((settings.app_port, settings.app_protocol), (3001, AppProtocol::Http1));
        assert!(settings.compression);
        assert_eq!(settings.runtime, Runtime::CurrentThread);
        assert_eq!(settings.plaintext, Plaintext::Refused);
        assert!(!settings.wire_v1);
        assert_eq!(settings.lifecycle, Config::default());
        assert_eq!(
            settings.readiness,
            Readiness::Http { path: "/health".to_owned(), statuses: vec![100..=499] }
        );
    }

    #[test]
    fn an_app_that_came_from_the_web_adapter_may_take_as_long_as_its_invoke() {
        let patience = |variables| read(variables).unwrap().lifecycle.app_patience.as_secs();
        assert_eq!(patience(&[("LAMBDA_DISPATCH_ASYNC_INIT", "true")]), 10);
        assert_eq!(patience(&[("AWS_LWA_ASYNC_INIT", "true")]), 86_400);
        let timeout = ("LAMBDA_DISPATCH_ASYNC_INIT_TIMEOUT", "30");
        assert_eq!(patience(&[("AWS_LWA_ASYNC_INIT", "true"), timeout]), 30);
    }

    #[test]
    fn an_init_for_which_lambda_has_time_waits_for_the_app() {
        let ends_early = |kind| {
            let kind = ("AWS_LAMBDA_INITIALIZATION_TYPE", kind);
            let settings = read(&[("LAMBDA_DISPATCH_ASYNC_INIT", "true"), kind]).unwrap();
            Lifecycle::new(settings.lifecycle, Time::ZERO).poll_timeout().is_some()
        };
        assert!(ends_early("on-demand"));
        for kind in ["provisioned-concurrency", "lambda-managed-instances", "snap-start"] {
            assert!(!ends_early(kind), "{kind}");
        }
    }

    #[test]
    fn every_variable_is_understood() {
        let settings = read(&[
            ("LAMBDA_DISPATCH_RUNTIME", "multi_thread"),
            ("TOKIO_WORKER_THREADS", "3"),
            ("LAMBDA_DISPATCH_ENABLE_COMPRESSION", "false"),
            ("LAMBDA_DISPATCH_PORT", "8080"),
            ("LAMBDA_DISPATCH_APP_PROTOCOL", "h2c"),
            ("LAMBDA_DISPATCH_ASYNC_INIT", "true"),
            ("LAMBDA_DISPATCH_ASYNC_INIT_TIMEOUT", "20"),
            ("LAMBDA_DISPATCH_FORCE_DEADLINE", "30"),
            ("LAMBDA_DISPATCH_LAST_ACTIVE_GRACE_PERIOD_MS", "250"),
            ("LAMBDA_DISPATCH_DEADLINE_LEAD_MS", "5000"),
            ("LAMBDA_DISPATCH_ALLOW_INSECURE", "true"),
            ("LAMBDA_DISPATCH_ROUTER_CIDRS", "10.1.0.0/16"),
            ("LAMBDA_DISPATCH_READINESS_PATH", "/ready?deep=1"),
            ("LAMBDA_DISPATCH_READINESS_STATUS", "200-399, 401"),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start"),
            ("LAMBDA_DISPATCH_WIRE_V1", "true"),
            ("LAMBDA_DISPATCH_SNAPSTART_BEFORE_CHECKPOINT_PATH", "/before"),
            ("LAMBDA_DISPATCH_SNAPSTART_AFTER_RESTORE_PATH", "/after"),
            ("LAMBDA_DISPATCH_WAIT_UNTIL_MAX_MS", "5000"),
        ])
        .unwrap();
        assert_eq!(settings.runtime, Runtime::MultiThread(3));
        assert!(!settings.compression);
        assert_eq!((settings.app_port, settings.app_protocol), (8080, AppProtocol::H2c));
        assert_eq!(
            settings.lifecycle,
            Config {
                async_init: true,
                app_patience: Duration::from_secs(20),
                lead: Duration::from_secs(5),
                hold_max: Duration::from_secs(5),
                linger: Some(Duration::from_millis(250)),
                snap_start: true,
                ..Config::default()
            }
        );
        assert_eq!(settings.force_deadline, Some(Duration::from_secs(30)));
        assert_eq!(settings.plaintext, Plaintext::Allowed);
        assert_eq!(settings.router_networks.to_string(), "10.1.0.0/16");
        let path = "/ready?deep=1".to_owned();
        let statuses = vec![200..=399, 401..=401];
        assert_eq!(settings.readiness, Readiness::Http { path, statuses });
        assert!(settings.wire_v1);
        let hooks = [settings.hooks.before_checkpoint, settings.hooks.after_restore];
        assert_eq!(hooks.map(Option::unwrap), ["/before", "/after"]);
    }

    #[test]
    fn lambda_web_adapters_names_are_a_fallback() {
        let settings = read(&[
            ("AWS_LWA_PORT", "8000"),
            ("AWS_LWA_READINESS_CHECK_PATH", "/up"),
            ("AWS_LWA_READINESS_CHECK_PROTOCOL", "TCP"),
            ("AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH", "/restored"),
        ])
        .unwrap();
        assert_eq!(settings.hooks.after_restore.as_deref(), Some("/restored"));
        assert_eq!((settings.app_port, settings.readiness), (8000, Readiness::Tcp));
        let port = |variables| {
            let settings = read(variables).unwrap();
            (settings.app_port, settings.readiness_port)
        };
        let all = [
            ("PORT", "7000"),
            ("AWS_LWA_PORT", "8000"),
            ("LAMBDA_DISPATCH_PORT", "9000"),
            ("AWS_LWA_READINESS_CHECK_PORT", "8001"),
            ("LAMBDA_DISPATCH_READINESS_PORT", "9001"),
        ];
        assert_eq!(port(&all[..1]), (7000, 7000));
        assert_eq!(port(&all[..2]), (8000, 8000));
        assert_eq!(port(&all[..3]), (9000, 9000));
        assert_eq!(port(&all[..4]), (9000, 8001));
        assert_eq!(port(&all), (9000, 9001));
        // Another program's variable is nobody's fault where ours says the port.
        assert_eq!(port(&[("PORT", "tcp://10.0.0.1:80"), all[2]]), (9000, 9000));
        let compresses = |variables| read(variables).unwrap().compression;
        let all = [
            ("AWS_LWA_ENABLE_COMPRESSION", "false"),
            ("LAMBDA_DISPATCH_ENABLE_COMPRESSION", "true"),
        ];
        assert_eq!((compresses(&all[..1]), compresses(&all)), (false, true));
    }

    #[test]
    fn lambda_web_adapters_values_count_as_they_do_for_it() {
        let settings = read(&[
            ("AWS_LWA_ASYNC_INIT", "on"),
            ("AWS_LWA_ENABLE_COMPRESSION", "yes"),
            ("AWS_LWA_READINESS_CHECK_PATH", "healthz"),
            ("AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH", "restored"),
        ])
        .unwrap();
        assert!(!settings.compression && !settings.lifecycle.async_init);
        let Readiness::Http { path, .. } = settings.readiness else { panic!("no path is asked") };
        assert_eq!(path, "/healthz");
        assert_eq!(settings.hooks.after_restore.as_deref(), Some("/restored"));
    }

    #[test]
    fn a_wrong_value_gives_one_line_that_says_what_to_write() {
        for (name, value) in [
            ("LAMBDA_DISPATCH_PORT", "0"),
            ("LAMBDA_DISPATCH_PORT", "http"),
            ("LAMBDA_DISPATCH_APP_PROTOCOL", "h2"),
            ("LAMBDA_DISPATCH_RUNTIME", "threads"),
            ("TOKIO_WORKER_THREADS", "0"),
            ("TOKIO_WORKER_THREADS", "1025"),
            ("LAMBDA_DISPATCH_ASYNC_INIT", "yes"),
            ("LAMBDA_DISPATCH_ASYNC_INIT_TIMEOUT", "-1"),
            ("LAMBDA_DISPATCH_FORCE_DEADLINE", "18446744073709551615"),
            ("LAMBDA_DISPATCH_FORCE_DEADLINE", "0"),
            ("LAMBDA_DISPATCH_FORCE_DEADLINE", "901"),
            ("LAMBDA_DISPATCH_ROUTER_CIDRS", "10.0.0.0/40"),
            ("LAMBDA_DISPATCH_READINESS_PATH", "health"),
            ("LAMBDA_DISPATCH_READINESS_STATUS", "200-"),
            ("LAMBDA_DISPATCH_READINESS_STATUS", "399-200"),
            ("LAMBDA_DISPATCH_READINESS_PROTOCOL", "udp"),
            ("LAMBDA_DISPATCH_SNAPSTART_AFTER_RESTORE_PATH", "/"),
            ("LAMBDA_DISPATCH_WAIT_UNTIL_MAX_MS", "30s"),
            ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:99999"),
        ] {
            let threads = ("LAMBDA_DISPATCH_RUNTIME", "multi_thread");
            let error = read(&[(name, value), threads]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name} is `{value}`, must be ")), "{error}");
            assert_eq!(error.lines().count(), 1);
        }
        let error = read(&[("LAMBDA_DISPATCH_ASYNC_INIT_TIMEOUT", "86400001")]).unwrap_err();
        assert!(error.to_string().ends_with("at most 86400000"), "{error}");
    }

    #[test]
    fn there_is_a_thread_for_each_core_or_as_many_as_are_asked_for() {
        let runtime = |kind, threads| {
            let threads = ("TOKIO_WORKER_THREADS", threads);
            read(&[("LAMBDA_DISPATCH_RUNTIME", kind), threads]).unwrap().runtime
        };
        let cores = std::thread::available_parallelism().unwrap().get();
        assert_eq!(runtime("default_multi_thread", ""), Runtime::MultiThread(cores));
        assert_eq!(runtime("default_multi_thread", "3"), Runtime::MultiThread(3));
        assert_eq!(runtime("multi_thread", ""), Runtime::MultiThread(2));
        // It is the app's then.
        assert_eq!(runtime("current_thread", "0"), Runtime::CurrentThread);
    }

    #[test]
    fn a_deadline_is_forced_within_what_an_invoke_can_last() {
        const NAME: &str = "LAMBDA_DISPATCH_FORCE_DEADLINE";
        for (kind, longest) in [("on-demand", 900), ("lambda-managed-instances", 5400)] {
            let read = |seconds: u64| {
                read(&[("AWS_LAMBDA_INITIALIZATION_TYPE", kind), (NAME, &seconds.to_string())])
            };
            for seconds in [1, longest] {
                let settings = read(seconds).unwrap();
                let forced = settings.force_deadline.unwrap();
                assert_eq!(forced, Duration::from_secs(seconds));
                assert!(forced <= settings.lifecycle.invoke_max, "{kind}");
            }
            let error = read(longest + 1).unwrap_err().to_string();
            let allowed = format!("must be a number of seconds, 1 to {longest}");
            assert!(error.contains(&allowed), "{error}");
        }
    }

    #[test]
    fn lambdas_api_may_have_a_scheme_and_a_path() {
        for (text, shown) in [
            ("127.0.0.1:9001", "http://127.0.0.1:9001"),
            ("http://127.0.0.1:9001", "http://127.0.0.1:9001"),
            ("[::1]:9001", "http://[::1]:9001"),
            ("localhost", "http://localhost:80"),
            ("127.0.0.1:9111/.rt/f", "http://127.0.0.1:9111/.rt/f"),
            ("http://127.0.0.1:9111/.rt/f/", "http://127.0.0.1:9111/.rt/f"),
        ] {
            assert_eq!(RuntimeApi::parse(text).unwrap().to_string(), shown);
        }
        for wrong in ["", ":9001", "http://", "a b:1", "127.0.0.1:x"] {
            assert_eq!(RuntimeApi::parse(wrong), None, "{wrong}");
        }
        let missing = Settings::read(|_| None).unwrap_err().to_string();
        assert!(missing.contains("lambda-dispatch dev"), "{missing}");
    }
}
