//! From the layers' texts to [`Settings`]: every value checked, then every combination.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use dispatch_model::{Budget, Config, Limits, Matching, Scaling};
use io_tokio::exchange::Patience;
use io_tokio::networks::Networks;

use super::error::{SettingsError, SettingsErrors};
use super::function::FunctionName;
use super::layers::{Layers, Origin, variable_of};
use super::table::{SETTINGS, Setting, find};
use super::value::{Value, parse};
use super::{
    AccessTarget, Aws, Callback, ClientLimits, Effective, Format, Https, Listen, Log, Recorder,
    Settings, Timeouts,
};

/// Turns texts into values. A bad one is noted and its default used, so that reading goes on.
pub(super) struct Reader {
    layers: Layers,
}

impl Reader {
    pub(super) const fn new(layers: Layers) -> Self {
        Self { layers }
    }

    pub(super) fn settings(mut self) -> Result<Settings, SettingsErrors> {
        let listen = self.listen();
        let function = self.function();
        let memory_mb = self.number("pool.memory_mb");
        let price = self
            .picodollars("pool.price_per_gb_second")
            .map_or(0, |per_gb| per_gb.saturating_mul(memory_mb) / 1_024)
            .max(1);
        let pool = self.pool(price);
        let patience = self.patience();
        let timeouts = self.timeouts();
        let limits = ClientLimits {
            head_bytes: self.size("limits.head_bytes"),
            headers: self.size("limits.headers"),
            uri_bytes: self.size("limits.uri_bytes"),
            streams: self.small("limits.streams"),
        };
        let log = self.log();
        let recorder = self.recorder();
        let callback = self.callback(&listen);
        let aws = self.aws(function.as_ref());
        let workers = Some(self.size("workers")).filter(|threads| *threads > 0);
        let effective = SETTINGS.iter().map(|setting| self.effective(setting)).collect();
        let Layers { errors, warnings: notices, .. } = self.layers;
        match (function, pool) {
            (Some(function), Some(pool)) if errors.is_empty() => Ok(Settings {
                listen,
                function,
                pool,
                memory_mb,
                price,
                patience,
                timeouts,
                limits,
                log,
                recorder,
                callback,
                aws,
                workers,
                effective,
                notices,
            }),
            _ => Err(SettingsErrors(errors)),
        }
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
            trusted_proxies: self.trusted_proxies(),
        };
        self.check_ports(&listen);
        listen
    }

    fn trusted_proxies(&mut self) -> Networks {
        const NAME: &str = "listen.trusted_proxies";
        match self.text(NAME).as_deref() {
            Some("private") => Networks::private().and_loopback(),
            None | Some("none") => Networks::none(),
            Some(list) => list.parse().unwrap_or_else(|why| {
                self.bad(
                    NAME,
                    format!("private, none, or networks separated by commas, and {why}"),
                );
                Networks::none()
            }),
        }
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
                if address.port() != 0 && address == taken {
                    self.conflict(&format!(
                        "{name} and {other} are both {address}; each needs a port of its own"
                    ));
                }
            }
        }
    }

    fn function(&mut self) -> Option<FunctionName> {
        const NAME: &str = "pool.function";
        let Some(text) = self.text(NAME) else {
            let setting = setting(NAME);
            self.layers.errors.push(SettingsError::Missing {
                name: NAME,
                about: setting.about,
                variable: variable_of(setting),
            });
            return None;
        };
        match FunctionName::parse(&text) {
            Ok(function) => Some(function),
            Err(why) => {
                let allowed =
                    format!("name, name:qualifier, account:function:name or an ARN, and {why}");
                self.bad(NAME, allowed);
                None
            }
        }
    }

    fn pool(&mut self, price: u64) -> Option<Config> {
        let budget = self.picodollars("pool.budget_per_hour").map(|picodollars| Budget {
            microdollars_per_hour: (picodollars / 1_000_000).max(1),
            picodollars_per_instance_second: price,
        });
        let limits = Limits {
            budget,
            cold_start: self.optional_span("pool.cold_start"),
            instance_count_multiplier: self.small("pool.instance_count_multiplier"),
            instances_max: self.small("pool.instances_max"),
            instances_min: self.small("pool.instances_min"),
            invokes_burst: self.small("pool.invokes_burst"),
            invokes_per_second: self.small("pool.invokes_per_second"),
            linger: self.span("pool.linger"),
            matching: match self.choice("pool.matching") {
                "pack" => Matching::Pack,
                _ => Matching::LeastOutstanding,
            },
            ping_interval: self.span("pool.ping_interval"),
            ping_timeout: self.span("pool.ping_timeout"),
            placement_margin: self.span("pool.placement_margin"),
            queue_bytes_max: self.number("pool.queue_bytes"),
            queue_len_max: self.small("pool.queue_length"),
            queue_timeout: self.span("timeouts.queue"),
            redispatch_max: u8::try_from(self.small("pool.redispatch")).unwrap_or(u8::MAX),
            retry_repeatable: self.flag("pool.retry_repeatable"),
            scaling: match self.choice("pool.scaling") {
                "simple" => Scaling::Simple,
                "ewma" => Scaling::Ewma,
                _ => Scaling::Rule,
            },
            slots: self.small("pool.slots"),
            start_timeout: self.span("pool.start_timeout"),
            starts_unproven_max: self.small("pool.starts_unproven_max"),
        };
        if limits.instances_min > limits.instances_max {
            self.conflict(&format!(
                "pool.instances_min is {} and pool.instances_max is {}; the least must not exceed \
                 the most",
                limits.instances_min, limits.instances_max
            ));
            return None;
        }
        Config::new(limits).map_err(|error| self.conflict(&format!("pool: {error}"))).ok()
    }

    fn patience(&mut self) -> Patience {
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
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&filter) {
            self.bad(
                "log.filter",
                format!("a level (error, warn, info, debug, trace) or target=level,… ({error})"),
            );
        }
        Log {
            format: self.format("log.format"),
            filter,
            access: match self.text("log.access").as_deref() {
                None | Some("off") => AccessTarget::Off,
                Some("-") => AccessTarget::Stdout,
                Some(file) => AccessTarget::File(PathBuf::from(file)),
            },
            access_format: self.format("log.access_format"),
        }
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
        let bare = host.map(|host| {
            host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(&host).to_owned()
        });
        if bare.as_deref().is_some_and(|host| !is_host(host)) {
            self.bad(
                "callback.host",
                "a host name or an IP address, without scheme and port".to_owned(),
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

    fn aws(&mut self, function: Option<&FunctionName>) -> Aws {
        let endpoint = self.text("aws.endpoint");
        let is_url = |url: &str| {
            url.parse::<http::Uri>().is_ok_and(|uri| {
                uri.host().is_some() && matches!(uri.scheme_str(), Some("http" | "https"))
            })
        };
        if endpoint.as_deref().is_some_and(|url| !is_url(url)) {
            self.bad(
                "aws.endpoint",
                "a URL such as https://lambda.eu-west-1.amazonaws.com".to_owned(),
            );
        }
        let region = self.text("aws.region");
        let arn_region = function.and_then(FunctionName::region);
        if let (Some(region), Some(arn_region)) = (region.as_deref(), arn_region) {
            // Stated for every program of the container, so the more special statement wins.
            if region != arn_region {
                self.layers.warnings.push(format!(
                    "aws.region is {region} but the function's ARN says {arn_region}, which is used"
                ));
            }
        }
        Aws { endpoint, region: arn_region.map(str::to_owned).or(region) }
    }

    fn effective(&self, setting: &'static Setting) -> Effective {
        let (text, origin) = match self.layers.get(setting.name) {
            Some((text, origin)) => (text.clone(), origin.clone()),
            None => (setting.default.to_owned(), Origin::Default),
        };
        Effective { name: setting.name, text, origin }
    }

    fn conflict(&mut self, what: &str) {
        self.layers.errors.push(SettingsError::Conflict(what.to_owned()));
    }

    fn bad(&mut self, name: &'static str, allowed: String) {
        let Effective { text: value, origin, .. } = self.effective(setting(name));
        self.layers.errors.push(SettingsError::BadValue { name, value, origin, allowed });
    }

    /// The value in force, or the default's if that is bad; `None` if it is empty.
    fn value(&mut self, name: &'static str) -> Option<Value> {
        let setting = setting(name);
        let text = self.effective(setting).text;
        if text.is_empty() {
            return None;
        }
        match parse(setting.kind, &text, setting.default) {
            Ok(value) => Some(value),
            Err(allowed) => {
                self.bad(name, allowed);
                parse(setting.kind, setting.default, setting.default).ok()
            }
        }
    }

    fn address(&mut self, name: &'static str) -> Option<SocketAddr> {
        if let Some(Value::Address(address)) = self.value(name) { Some(address) } else { None }
    }

    fn choice(&mut self, name: &'static str) -> &'static str {
        if let Some(Value::Choice(word)) = self.value(name) { word } else { "" }
    }

    fn flag(&mut self, name: &'static str) -> bool {
        self.value(name) == Some(Value::Flag(true))
    }

    fn format(&mut self, name: &'static str) -> Format {
        if self.choice(name) == "json" { Format::Json } else { Format::Text }
    }

    fn number(&mut self, name: &'static str) -> u64 {
        if let Some(Value::Number(number)) = self.value(name) { number } else { 0 }
    }

    fn small(&mut self, name: &'static str) -> u32 {
        u32::try_from(self.number(name)).unwrap_or(u32::MAX)
    }

    fn size(&mut self, name: &'static str) -> usize {
        usize::try_from(self.number(name)).unwrap_or(usize::MAX)
    }

    fn picodollars(&mut self, name: &'static str) -> Option<u64> {
        if let Some(Value::Picodollars(amount)) = self.value(name) { Some(amount) } else { None }
    }

    fn optional_span(&mut self, name: &'static str) -> Option<Duration> {
        if let Some(Value::Span(span)) = self.value(name) { Some(span) } else { None }
    }

    fn span(&mut self, name: &'static str) -> Duration {
        self.optional_span(name).unwrap_or_default()
    }

    fn text(&mut self, name: &'static str) -> Option<String> {
        if let Some(Value::Text(text)) = self.value(name) { Some(text) } else { None }
    }
}

fn setting(name: &'static str) -> &'static Setting {
    find(name).expect("only names of the table are read, which the defaults' test shows")
}

/// A host name or an address, of which an IPv6 one has no brackets.
fn is_host(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
        || (!text.is_empty()
            && text.len() <= 253
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')))
}

/// Stands for an address that could not be read; never used, since that is an error.
const UNUSED: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
