//! From the layers' texts to [`Settings`]: every value checked, then every combination.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use io_tokio::edge::Patience;
use io_tokio::net::unbracketed;
use io_tokio::networks::Networks;
use io_tokio::pool::DEFAULT_POOL;

use crate::access_log::AccessFormat;
use crate::logging;
use crate::traces::{Sampler, Traces};

use super::error::{SettingsError, SettingsErrors};
use super::function::is_region;
use super::layers::{Layers, Origin, Scope};
use super::table::{ROUTE, SETTINGS, Setting, TRACES, TRACES_AS_IS, find};
use super::value::{Value, parse, shown};
use super::{
    AccessTarget, Admin, Aws, Callback, ClientLimits, Effective, Emf, EmfTarget, Format, Https,
    Listen, Log, Recorder, Settings, Timeouts,
};

/// Turns texts into values. A bad one is noted and its default used, so that reading goes on.
pub(super) struct Reader {
    pub(super) layers: Layers,
    /// Where a value is looked for: the first that has it counts.
    scopes: Vec<Scope>,
}

impl Reader {
    pub(super) fn new(layers: Layers) -> Self {
        Self { layers, scopes: vec![Scope::Router] }
    }

    /// Reads something that is looked for in `scopes` first.
    pub(super) fn within<T>(&mut self, scopes: &[Scope], read: impl FnOnce(&mut Self) -> T) -> T {
        let outside = self.scopes.clone();
        self.scopes.splice(0..0, scopes.iter().cloned());
        let read = read(self);
        self.scopes = outside;
        read
    }

    pub(super) fn settings(mut self) -> Result<Settings, SettingsErrors> {
        let listen = self.listen();
        let aws = self.aws();
        let pools = self.pools(&aws);
        let routes = self.routes(&pools);
        let timeouts = self.timeouts();
        let limits = ClientLimits {
            head_bytes: self.size("limits.head_bytes"),
            headers: self.size("limits.headers"),
            uri_bytes: self.size("limits.uri_bytes"),
            connections: self.size("limits.connections"),
            connections_per_client: self.size("limits.connections_per_client"),
            streams: self.small("limits.streams"),
        };
        let log = self.log();
        let traces = self.traces();
        let emf = self.emf();
        let recorder = self.recorder();
        let callback = self.callback(&listen);
        let workers = Some(self.size("workers")).filter(|threads| *threads > 0);
        let mut effective: Vec<_> =
            SETTINGS.iter().map(|setting| self.effective(setting)).collect();
        if let Some(pool) = pools.iter().find(|pool| pool.name == DEFAULT_POOL) {
            // With its shares.
            for value in &mut effective {
                if let Some(own) = pool.effective.iter().find(|own| own.name == value.name) {
                    *value = own.clone();
                }
            }
        }
        let Layers { errors, warnings: notices, .. } = self.layers;
        if errors.is_empty() {
            Ok(Settings {
                listen,
                pools,
                routes,
                timeouts,
                limits,
                log,
                traces,
                emf,
                recorder,
                callback,
                aws,
                workers,
                effective,
                notices,
            })
        } else {
            // What several pools inherit is wrong once.
            let mut told = Vec::new();
            // What could not be read may have said it, and what is no value was meant to.
            let may_be_said = |missing: &String| {
                errors.iter().any(|error| {
                    error.is_of_whole_file()
                        || matches!(error, SettingsError::BadValue { name, .. } if name == missing)
                })
            };
            for error in &errors {
                let is_doubtful =
                    matches!(error, SettingsError::Missing { name, .. } if may_be_said(name));
                if !is_doubtful && !told.contains(error) {
                    told.push(error.clone());
                }
            }
            Err(SettingsErrors(told))
        }
    }

    pub(super) fn admin(mut self) -> Result<Admin, SettingsErrors> {
        let unread = self.layers.errors.drain(..).find(SettingsError::is_of_whole_file);
        let address = self.address("listen.admin");
        let errors = self.layers.errors;
        if errors.is_empty() { Ok(Admin { address, unread }) } else { Err(SettingsErrors(errors)) }
    }

    fn listen(&mut self) -> Listen {
        let certificate = self.text("listen.certificate").map(PathBuf::from);
        let key = self.text("listen.key").map(PathBuf::from);
        let https = match (certificate, key, self.address("listen.https")) {
            (Some(certificate), Some(key), Some(address)) => {
                Some(Https { address, certificate, key })
            }
            (None, None, _) | (Some(_), Some(_), None) => None,
            (Some(_), None, _) | (None, Some(_), _) => {
                self.conflict(
                    "listen.certificate and listen.key belong together; set both or none",
                );
                None
            }
        };
        let plaintext = self.flag("listen.allow_plaintext_control");
        let listen = Listen {
            http: self.address("listen.http"),
            https,
            control: self.address("listen.control").unwrap_or(UNUSED),
            control_plaintext: self.address("listen.control_plaintext").filter(|_| plaintext),
            admin: self.address("listen.admin"),
            trusted_proxies: self
                .networks("listen.trusted_proxies", "none")
                .unwrap_or(Networks::none()),
            server_timing: self.flag("listen.server_timing"),
            wire_v1: self.networks("listen.wire_v1", "off"),
        };
        self.check_ports(&listen);
        listen
    }

    /// A list of networks, or the word for none.
    fn networks(&mut self, name: &'static str, none: &str) -> Option<Networks> {
        let text = self.text(name)?;
        if text.eq_ignore_ascii_case(none) {
            return None;
        }
        if text.eq_ignore_ascii_case("private") {
            return Some(Networks::private().and_loopback());
        }
        let wrong = |why| format!("private, {none}, or networks separated by commas, and {why}");
        text.parse().map_err(|why| self.bad(name, wrong(why))).ok()
    }

    /// Two listeners on one port would fail later, with a message that names neither.
    fn check_ports(&mut self, listen: &Listen) {
        let used: Vec<(&str, SocketAddr)> = [
            ("listen.http", listen.http),
            ("listen.https", listen.https.as_ref().map(|https| https.address)),
            ("listen.control", Some(listen.control)),
            ("listen.control_plaintext", listen.control_plaintext),
            ("listen.admin", listen.admin),
        ]
        .into_iter()
        .filter_map(|(name, address)| Some((name, address?)))
        .collect();
        for (i, (name, address)) in used.iter().enumerate() {
            for (other, taken) in used.iter().take(i) {
                if address == taken && address.port() != 0 {
                    self.conflict(&format!(
                        "{name} and {other} are both {address}; each needs a port of its own"
                    ));
                } else if meet(*address, *taken) {
                    self.conflict(&format!(
                        "{name} and {other} are both on port {}, at {address} and {taken}; each \
                         needs a port of its own",
                        address.port()
                    ));
                }
            }
        }
    }

    pub(super) fn patience(&mut self) -> Patience {
        Patience {
            first_byte: self.span("timeouts.first_byte"),
            idle: self.span("timeouts.idle"),
            stream_idle: self.span("timeouts.stream_idle"),
            total: self.optional_span("timeouts.total"),
            await_body: self.flag("timeouts.await_body"),
        }
    }

    fn timeouts(&mut self) -> Timeouts {
        let timeouts = Timeouts {
            head: self.span("timeouts.head"),
            keep_alive: self.span("timeouts.keep_alive"),
            unread: self.span("timeouts.idle"),
            drain: self.span("timeouts.drain"),
            drain_delay: self.span("timeouts.drain_delay"),
        };
        if timeouts.drain_delay > timeouts.drain {
            self.conflict("timeouts.drain_delay is longer than timeouts.drain, which includes it");
        }
        timeouts
    }

    fn log(&mut self) -> Log {
        let filter = self.text("log.filter").unwrap_or_default();
        if let Err(why) = logging::filter(&filter) {
            let levels = "off, error, warn, info, debug, trace";
            self.bad("log.filter", format!("{levels}, or target=level,..., and {why}"));
        }
        Log {
            format: self.format("log.format"),
            filter,
            access: match self.text("log.access").as_deref() {
                Some("-") => AccessTarget::Stdout,
                Some(file) if !file.eq_ignore_ascii_case("off") => {
                    AccessTarget::File(PathBuf::from(file))
                }
                Some(_) | None => AccessTarget::Off,
            },
            access_format: self.access_format(),
        }
    }

    fn access_format(&mut self) -> AccessFormat {
        let text = self.text("log.access_format").unwrap_or_default();
        AccessFormat::parse(&text).unwrap_or_else(|wrong| {
            self.bad("log.access_format", wrong.to_string());
            AccessFormat::text()
        })
    }

    fn traces(&mut self) -> Option<Traces> {
        let ratio = self.value("traces.ratio");
        let ratio = if let Some(Value::Ratio(ratio)) = ratio { ratio } else { 1.0 };
        let sampler = Sampler::new(self.choice("traces.sampler"), ratio);
        let service_name = self.text("traces.service_name");
        let text = self.text(TRACES)?;
        let origin = self.effective(setting(TRACES)).origin;
        let endpoint = if origin == Origin::Environment(TRACES_AS_IS.to_owned()) {
            text.parse().ok()?
        } else {
            // OpenTelemetry's variable is a base; what others call the endpoint has the path.
            let base = text.trim_end_matches('/').trim_end_matches("/v1/traces");
            format!("{base}/v1/traces").parse().ok()?
        };
        Some(Traces { endpoint, service_name, sampler })
    }

    fn emf(&mut self) -> Option<Emf> {
        let text = self.text("emf.to").unwrap_or_default();
        let agent = |address: &str| {
            let (host, port) = address.rsplit_once(':').unwrap_or_default();
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
        };
        let to = match text.split_once("://") {
            Some(("tcp", address)) if agent(address) => EmfTarget::Tcp(address.to_owned()),
            Some(("udp", address)) if agent(address) => EmfTarget::Udp(address.to_owned()),
            None if text == "-" => EmfTarget::Stdout,
            None if !text.is_empty() => EmfTarget::File(PathBuf::from(text)),
            Some(_) | None => {
                let allowed = "-, a file, tcp://HOST:PORT or udp://HOST:PORT, such as the \
                     CloudWatch agent's tcp://127.0.0.1:25888";
                self.bad("emf.to", allowed.to_owned());
                EmfTarget::Stdout
            }
        };
        let namespace = self.text("emf.namespace").unwrap_or_default();
        let is_namespace = |c: char| c.is_ascii_alphanumeric() || "./-_#: ".contains(c);
        if !(1..=255).contains(&namespace.len())
            || !namespace.chars().all(is_namespace)
            || namespace.starts_with("AWS/")
        {
            let allowed = "1 to 255 of A-Z a-z 0-9 . - _ / # : and blanks, not beginning with AWS/";
            self.bad("emf.namespace", allowed.to_owned());
        }
        let emf = Emf { to, period: self.span("emf.period"), namespace };
        self.flag("emf.enabled").then_some(emf)
    }

    fn recorder(&mut self) -> Recorder {
        let dump = self.text("recorder.dump").map(PathBuf::from);
        let recorder = Recorder {
            ring: self.size("recorder.ring"),
            file: self.text("recorder.file").map(PathBuf::from),
            dump: dump.unwrap_or_else(|| Recorder::default().dump),
            check: self.flag("recorder.check"),
        };
        if recorder.file.as_ref() == Some(&recorder.dump) {
            self.conflict(&format!(
                "recorder.file and recorder.dump are both {}; each needs a file of its own",
                recorder.dump.display()
            ));
        }
        recorder
    }

    fn callback(&mut self, listen: &Listen) -> Callback {
        let host = self.text("callback.host");
        let bare = host.map(|host| unbracketed(&host).to_owned());
        if bare.as_deref().is_some_and(|host| !is_host(host)) {
            self.bad(
                "callback.host",
                "a host name or an IP address that instances can dial, without scheme and port"
                    .to_owned(),
            );
        }
        let plaintext = self.choice("callback.scheme") == "http";
        if plaintext && listen.control_plaintext.is_none() {
            self.conflict(
                "callback.scheme is http but listen.allow_plaintext_control is false; allow it, \
                 or use https",
            );
        }
        Callback {
            host: bare,
            host_variable: self.text("callback.host_variable").unwrap_or_default(),
            plaintext,
        }
    }

    fn aws(&mut self) -> Aws {
        let region = self.text("aws.region");
        if region.as_deref().is_some_and(|region| !is_region(region)) {
            let allowed = "a region such as eu-west-1: lower-case letters, digits and `-`";
            self.bad("aws.region", allowed.to_owned());
        }
        Aws { endpoint: self.text("aws.endpoint"), region }
    }

    pub(super) fn effective(&self, setting: &'static Setting) -> Effective {
        self.found(setting).1
    }

    /// What is in force, and in which scope it was found.
    fn found(&self, setting: &'static Setting) -> (Scope, Effective) {
        let name = setting.name;
        for scope in &self.scopes {
            if let Some((text, origin)) = self.layers.get(scope, name) {
                let (text, origin) = (text.clone(), origin.clone());
                return (scope.clone(), Effective { name, text, origin });
            }
        }
        let text = setting.default.to_owned();
        (Scope::Router, Effective { name, text, origin: Origin::Default })
    }

    pub(super) fn conflict(&mut self, what: &str) {
        self.layers.errors.push(SettingsError::Conflict(what.to_owned()));
    }

    pub(super) fn bad(&mut self, name: &'static str, allowed: String) {
        let setting = setting(name);
        let (scope, Effective { text, origin, .. }) = self.found(setting);
        let (name, value) = (scope.name(name), shown(setting.kind, &text));
        self.layers.errors.push(SettingsError::BadValue { name, value, origin, allowed });
    }

    /// The value in force, or the default's if that is bad. An empty text is `None` for a setting
    /// without a default; for others nobody can tell whether it means the default, nothing or off.
    fn value(&mut self, name: &'static str) -> Option<Value> {
        let setting = setting(name);
        let text = self.effective(setting).text;
        if text.is_empty() && setting.default.is_empty() {
            return None;
        }
        match parse(setting.kind, &text, setting.default) {
            Ok(value) => Some(value),
            Err(mut allowed) => {
                if text.trim().is_empty() {
                    allowed.push_str(", but no empty text; leave it out instead");
                }
                self.bad(name, allowed);
                parse(setting.kind, setting.default, setting.default).ok()
            }
        }
    }

    fn address(&mut self, name: &'static str) -> Option<SocketAddr> {
        if let Some(Value::Address(address)) = self.value(name) { Some(address) } else { None }
    }

    pub(super) fn choice(&mut self, name: &'static str) -> &'static str {
        if let Some(Value::Choice(word)) = self.value(name) { word } else { "" }
    }

    pub(super) fn flag(&mut self, name: &'static str) -> bool {
        self.value(name) == Some(Value::Flag(true))
    }

    fn format(&mut self, name: &'static str) -> Format {
        if self.choice(name) == "json" { Format::Json } else { Format::Text }
    }

    pub(super) fn number(&mut self, name: &'static str) -> u64 {
        if let Some(Value::Number(number)) = self.value(name) { number } else { 0 }
    }

    pub(super) fn small(&mut self, name: &'static str) -> u32 {
        u32::try_from(self.number(name)).unwrap_or(u32::MAX)
    }

    fn size(&mut self, name: &'static str) -> usize {
        usize::try_from(self.number(name)).unwrap_or(usize::MAX)
    }

    pub(super) fn picodollars(&mut self, name: &'static str) -> Option<u64> {
        if let Some(Value::Picodollars(amount)) = self.value(name) { Some(amount) } else { None }
    }

    pub(super) fn optional_span(&mut self, name: &'static str) -> Option<Duration> {
        if let Some(Value::Span(span)) = self.value(name) { Some(span) } else { None }
    }

    pub(super) fn span(&mut self, name: &'static str) -> Duration {
        self.optional_span(name).unwrap_or_default()
    }

    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        if let Some(Value::Text(text)) = self.value(name) { Some(text) } else { None }
    }
}

pub(super) fn setting(name: &'static str) -> &'static Setting {
    find(name)
        .or_else(|| ROUTE.iter().find(|it| it.name == name))
        .expect("only names of the table are read, which the defaults' test shows")
}

/// A host name or an address that somebody else can dial; an IPv6 one has no brackets.
fn is_host(text: &str) -> bool {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return !ip.is_unspecified();
    }
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(legal);
    text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(is_label)
}

/// Whether two listeners would be in each other's way: one has the port at every address, of IPv4
/// too if it says `[::]`.
fn meet(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = |one: SocketAddr, other: SocketAddr| {
        one.ip().is_unspecified() && (one.is_ipv6() || other.is_ipv4())
    };
    one.port() == other.port() && one.port() != 0 && (covers(one, other) || covers(other, one))
}

/// Stands for an address that could not be read; never used, since that is an error.
const UNUSED: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
