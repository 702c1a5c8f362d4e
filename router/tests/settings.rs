//! Settings as an operator meets them: a file, variables, flags, and what is said about faults.

#![expect(clippy::unwrap_used, reason = "a test panics on what it does not expect")]

use std::path::PathBuf;
use std::time::Duration;

use dispatch_model::{Limits, Matching, Scaling};
use io_tokio::running::Share;
use lambda_dispatch::settings::{
    AccessTarget, Emf, EmfTarget, Format, IGNORED, Log, Origin, PoolPlan, Recorder, SETTINGS,
    Settings, SettingsErrors, explain, file_in, variable_of, warnings,
};

use lambda_dispatch::traces::{Sampler, Traces};

const FUNCTION: (&str, &str) = ("pool.function", "fn");

fn from_environment(variables: &[(&str, &str)]) -> Result<Settings, SettingsErrors> {
    load(None, variables, &[FUNCTION])
}

fn from_file(text: impl AsRef<[u8]>) -> Result<Settings, SettingsErrors> {
    let file = Scratch::new(text);
    Settings::load(Some(&file.0), [].into_iter(), &[FUNCTION])
}

fn load(
    file: Option<&str>,
    variables: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Settings, SettingsErrors> {
    let file = file.map(Scratch::new);
    let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    Settings::load(file.as_ref().map(|file| file.0.as_path()), variables, flags)
}

/// The pool of a router that has one.
fn only(settings: &Settings) -> &PoolPlan {
    let [pool] = settings.pools.as_slice() else { panic!("{:?}", settings.pools) };
    pool
}

/// A file that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(text: impl AsRef<[u8]>) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "lambda-dispatch-settings-{}-{}.toml",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

#[test]
fn defaults_are_those_of_the_model_and_of_the_original() {
    let settings = from_environment(&[]).unwrap();
    assert_eq!(*only(&settings).config, Limits::default());
    assert_eq!(settings.listen.http.unwrap().port(), 5001);
    assert_eq!(settings.listen.https, None);
    assert_eq!(settings.listen.control.port(), 5004);
    assert_eq!(settings.listen.control_plaintext, None);
    assert_eq!(settings.listen.admin.unwrap().to_string(), "127.0.0.1:5005");
    assert_eq!(settings.callback.host, None);
    assert_eq!(settings.callback.host_variable, "K8S_POD_IP");
    assert_eq!(settings.callback_endpoint(), ("https", 5004));
    let shares = settings.routes.iter().flat_map(|(_, route)| route.split.iter());
    let shares: Vec<_> = shares.map(|(_, share)| share.clone()).collect();
    assert_eq!(shares, [Share::of_default_pool()]);
    assert_eq!(settings.timeouts.keep_alive, Duration::from_secs(75));
    assert_eq!(settings.limits.head_bytes, 64 << 10);
    assert_eq!(only(&settings).price, 16_666_700);
    assert_eq!(settings.workers, None);
    assert_eq!(settings.log, Log::default());
    assert_eq!(settings.recorder, Recorder::default());
    assert_eq!((settings.recorder.ring, settings.recorder.check), (8 << 20, false));
    assert_eq!(settings.effective().len(), SETTINGS.len());
    assert!(settings.effective().iter().all(|value| {
        value.origin == if value.name == "pool.function" { Origin::Flag } else { Origin::Default }
    }));
}

#[test]
fn flags_beat_the_environment_and_the_environment_beats_the_file() {
    let file = "[pool]\nslots = 1\nlinger = \"7s\"\ninstances_max = 3\n[listen]\nhttp = 80\n";
    let variables = [("LAMBDA_DISPATCH_POOL_SLOTS", "2"), ("LAMBDA_DISPATCH_POOL_LINGER", "8s")];
    let settings = load(Some(file), &variables, &[FUNCTION, ("pool.slots", "3")]).unwrap();
    assert_eq!(only(&settings).config.slots, 3);
    assert_eq!(only(&settings).config.linger, Duration::from_secs(8));
    assert_eq!(only(&settings).config.instances_max, 3);
    assert_eq!(settings.listen.http.unwrap().to_string(), "0.0.0.0:80");

    let origin = |name| {
        settings.effective().iter().find(|value| value.name == name).unwrap().origin.to_string()
    };
    assert_eq!(origin("pool.slots"), "command line");
    assert_eq!(origin("pool.linger"), "LAMBDA_DISPATCH_POOL_LINGER");
    assert!(origin("pool.instances_max").ends_with(".toml:4:1"));
    assert_eq!(origin("pool.scaling"), "default");
}

#[test]
fn every_setting_can_be_set_in_the_file_and_in_the_environment() {
    for setting in SETTINGS.iter().filter(|setting| !setting.default.is_empty()) {
        let (text, value) = (setting.default, setting.name);
        let file = format!("{value} = {text:?}\n");
        let settings = from_file(&file).unwrap_or_else(|e| panic!("{file}: {e}"));
        let origin = |s: &Settings| {
            s.effective().iter().find(|v| v.name == setting.name).unwrap().origin.clone()
        };
        assert!(matches!(origin(&settings), Origin::File { line: 1, .. }), "{value}");
        let variable = variable_of(setting);
        let settings = from_environment(&[(&variable, text)]).unwrap();
        assert_eq!(origin(&settings), Origin::Environment(variable));
    }
}

#[test]
fn an_empty_text_never_takes_the_place_of_a_default() {
    for setting in SETTINGS.iter().filter(|setting| setting.name != FUNCTION.0) {
        let name = setting.name;
        let variable = variable_of(setting);
        let unset = from_environment(&[(&variable, "")]).unwrap();
        assert_eq!(unset.effective(), from_environment(&[]).unwrap().effective(), "{name}");

        let mut set = vec![
            (name.to_owned(), from_file(format!("{name} = \"\"\n"))),
            (name.to_owned(), load(None, &[], &[FUNCTION, (name, "")])),
        ];
        if let Some(key) = name.strip_prefix("pool.") {
            let file = format!("[pools.shop]\nfunction = \"shop\"\n{key} = \"\"\n");
            set.push((format!("pools.shop.{key}"), from_file(&file)));
        }
        for (name, settings) in set {
            match settings {
                Ok(_) => assert_eq!(setting.default, "", "{name} was taken as empty"),
                Err(errors) => {
                    let said = errors.to_string();
                    assert_ne!(setting.default, "", "{said}");
                    assert!(said.starts_with(&format!("{name} is \"\" (")), "{said}");
                    assert!(said.contains("leave it out"), "{said}");
                    assert_eq!(said.lines().count(), 1, "{said}");
                }
            }
        }
    }
    let route = "[[route]]\npool = \"default\"\ntimeouts.idle = \"\"\n";
    let said = from_file(route).unwrap_err().to_string();
    assert!(said.starts_with("route.timeouts.idle is \"\""), "{said}");
}

#[test]
fn names_do_not_collide_when_case_and_underscores_are_ignored() {
    let fold = |name: &str| name.replace(['.', '_'], "").to_ascii_lowercase();
    let mut all: Vec<String> = SETTINGS
        .iter()
        .flat_map(|setting| [setting.name, setting.original])
        .chain(IGNORED.iter().map(|(name, _)| *name))
        .filter(|name| !name.is_empty())
        .map(fold)
        .collect();
    let before = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), before);
}

#[test]
fn every_name_of_the_original_is_understood_in_any_spelling() {
    let check = |name: &str, value: &str, holds: fn(&Settings) -> bool| {
        let snake: String = name
            .char_indices()
            .map(|(i, c)| if i > 0 && c.is_uppercase() { format!("_{c}") } else { c.to_string() })
            .collect();
        for spelling in [name.to_owned(), name.to_uppercase(), name.to_lowercase(), snake] {
            let variable = format!("LAMBDA_DISPATCH_{spelling}");
            let mut variables = vec![(variable.as_str(), value)];
            if name == "PreferredControlChannelScheme" {
                variables.push(("LAMBDA_DISPATCH_AllowInsecureControlChannel", "true"));
            }
            let settings =
                load(None, &variables, if name == "FunctionName" { &[] } else { &[FUNCTION] })
                    .unwrap_or_else(|e| panic!("{variable}: {e}"));
            assert!(holds(&settings), "{variable}");
            assert!(!warnings(&settings).iter().any(|w| w.contains("not a setting")), "{variable}");
        }
    };
    check(
        "FunctionName",
        "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:f:live",
        |s| {
            only(s).function.as_str().ends_with(":live")
                && only(s).aws.region.as_deref() == Some("us-gov-west-1")
        },
    );
    check("MaxConcurrentCount", "20", |s| only(s).config.slots == 20);
    check("InstanceCountMultiplier", "3", |s| only(s).config.instance_count_multiplier == 3);
    check("IncomingRequestHTTPPort", "8001", |s| s.listen.http.unwrap().port() == 8001);
    check("IncomingRequestHTTPSPort", "8002", |s| s.listen.https.is_none());
    check("ControlChannelInsecureHTTP2Port", "8003", |s| s.listen.control_plaintext.is_none());
    check("ControlChannelHTTP2Port", "8004", |s| s.listen.control.port() == 8004);
    check("AllowInsecureControlChannel", "True", |s| {
        s.listen.control_plaintext.unwrap().port() == 5003 && s.callback_endpoint().0 == "https"
    });
    check("PreferredControlChannelScheme", "http", |s| s.callback_endpoint() == ("http", 5003));
    check("RouterCallbackHost", "router.internal", |s| {
        s.callback.host.as_deref() == Some("router.internal")
    });
    check("EnvVarForCallbackIp", "MY_IP", |s| s.callback.host_variable == "MY_IP");
    check("IncomingRequestTimeout", "00:00:30", |s| {
        only(s).config.queue_timeout == Duration::from_secs(30)
    });
    check("ScalingAlgorithm", "EWMA", |s| only(s).config.scaling == Scaling::Ewma);
    for (name, _) in IGNORED {
        check(name, "7", |s| warnings(s).iter().any(|w| w.contains("has no effect")));
    }
}

#[test]
fn a_variable_that_another_name_of_its_setting_goes_before_is_told() {
    let told = |variables: &[(&str, &str)]| -> Vec<String> {
        warnings(&from_environment(variables).unwrap())
            .into_iter()
            .filter(|warning| warning.contains("has no effect"))
            .collect()
    };
    let original = "LAMBDA_DISPATCH_MaxConcurrentCount";
    let ours = "LAMBDA_DISPATCH_POOL_SLOTS";
    let expected =
        [format!("{original} has no effect: {ours} is set too, and goes before it")].to_vec();
    assert_eq!(told(&[(original, "20"), (ours, "10")]), expected);
    assert_eq!(told(&[(ours, "10"), (original, "20")]), expected);
    // The same name twice, but for its case: one of the two is taken.
    let lower = "lambda_dispatch_pool_slots";
    assert_eq!(
        told(&[(ours, "10"), (lower, "20")]),
        [format!("{lower} has no effect: {ours} is set too, and goes before it")]
    );
    // Who says the same is heard.
    assert_eq!(told(&[(original, "10"), (ours, "10")]), [""; 0]);
    // Other programs' variables are for others too.
    let others = [("AWS_DEFAULT_REGION", "eu-west-1"), ("AWS_REGION", "eu-west-2")];
    assert_eq!(told(&others), [""; 0]);
}

#[test]
fn our_name_beats_the_originals_and_an_empty_variable_is_not_set() {
    let settings = from_environment(&[
        ("LAMBDA_DISPATCH_MaxConcurrentCount", "5"),
        ("LAMBDA_DISPATCH_POOL_SLOTS", "6"),
        ("LAMBDA_DISPATCH_POOL_LINGER", ""),
    ])
    .unwrap();
    assert_eq!(
        (only(&settings).config.slots, only(&settings).config.linger),
        (6, Duration::from_secs(1))
    );
}

#[test]
fn the_lambda_endpoint_comes_from_the_usual_variables_the_most_special_first() {
    let all = [
        ("LAMBDA_DISPATCH_AWS_ENDPOINT", "http://a"),
        ("AWS_LAMBDA_SERVICE_URL", "http://b"),
        ("AWS_ENDPOINT_URL_LAMBDA", "http://c"),
        ("AWS_ENDPOINT_URL", "http://d"),
    ];
    for (from, (_, expected)) in all.iter().enumerate() {
        let settings = from_environment(&all[from..]).unwrap();
        assert_eq!(only(&settings).aws.endpoint.as_deref(), Some(*expected));
    }
    let settings = from_environment(&[("AWS_REGION", "eu-west-1")]).unwrap();
    assert_eq!(only(&settings).aws.region.as_deref(), Some("eu-west-1"));
}

#[test]
fn all_faults_are_reported_at_once_each_with_its_place_and_a_remedy() {
    let file = "wrokers = 2\n[pool]\nslot = 3\nlinger = 7\nscaling = \"magic\"\nmemory_mb = [1]\n[tiemouts]\nhead = \"1s\"\n";
    let flags = [
        ("pool.function", "no such name"),
        ("listen.htp", "1"),
        ("log.access_format", "$remote_add"),
    ];
    let errors = load(Some(file), &[("LAMBDA_DISPATCH_POOL_SLOTS", "0")], &flags).unwrap_err();
    let text = errors.to_string();
    for expected in [
        ".toml:1:1: there is no setting \"wrokers\"; did you mean workers?",
        ".toml:3:1: there is no setting \"pool.slot\"; did you mean pool.slots?",
        "pool.linger is \"7\" (",
        ".toml:4:1); allowed: a time from 0s to 1h with its unit",
        "pool.scaling is \"magic\" (",
        "allowed: rule | simple | ewma",
        "pool.memory_mb is \"array\" (",
        ".toml:8:1: there is no setting \"tiemouts.head\"; did you mean timeouts.head?",
        "pool.slots is \"0\" (LAMBDA_DISPATCH_POOL_SLOTS); allowed: a whole number from 1 to 255",
        "pool.function is \"no such name\" (command line)",
        "log.access_format is \"$remote_add\" (command line); allowed: json, text, combined, or",
        "there is no field $remote_add; did you mean $remote_addr?",
        "command line: there is no setting \"listen.htp\"; did you mean listen.http?",
    ] {
        assert!(text.contains(expected), "{expected}\nis not in\n{text}");
    }
    assert_eq!(errors.0.len(), 10, "{text}");
}

#[test]
fn metrics_for_cloudwatch_are_written_where_the_original_or_the_operator_wants_them() {
    assert_eq!(from_environment(&[]).unwrap().emf, None);
    let emf =
        from_environment(&[("LAMBDA_DISPATCH_CloudWatchMetricsEnabled", "true")]).unwrap().emf;
    let (period, namespace) = (Duration::from_secs(60), "PwrDrvr".to_owned());
    assert_eq!(emf, Some(Emf { to: EmfTarget::Stdout, period, namespace }));
    for (to, target) in [
        ("tcp://127.0.0.1:25888", EmfTarget::Tcp("127.0.0.1:25888".to_owned())),
        ("udp://agent:1", EmfTarget::Udp("agent:1".to_owned())),
        ("/var/log/emf", EmfTarget::File("/var/log/emf".into())),
    ] {
        let flags = [FUNCTION, ("emf.enabled", "true"), ("emf.to", to)];
        assert_eq!(load(None, &[], &flags).unwrap().emf.unwrap().to, target);
    }
    let wrong = [("emf.to", "tcp://agent"), ("emf.namespace", "AWS/Mine"), ("emf.period", "0s")];
    let flags = [&[FUNCTION][..], &wrong].concat();
    let text = load(None, &[], &flags).unwrap_err().to_string();
    for expected in ["tcp://127.0.0.1:25888", "not beginning with AWS/", "emf.period is \"0s\""] {
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn traces_are_set_as_opentelemetry_has_it() {
    assert_eq!(from_environment(&[]).unwrap().traces, None);
    let traces = from_environment(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318/otlp/"),
        ("OTEL_SERVICE_NAME", "router"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
    ]);
    let expected = Traces {
        endpoint: "https://collector:4318/otlp/v1/traces".parse().unwrap(),
        service_name: Some("router".to_owned()),
        sampler: Sampler::new("parentbased_traceidratio", 0.25),
    };
    assert_eq!(traces.unwrap().traces, Some(expected));
    let whole = [FUNCTION, ("traces.endpoint", "http://127.0.0.1:4318/v1/traces")];
    let traces = load(None, &[], &whole).unwrap().traces.unwrap();
    assert_eq!(traces.endpoint, "http://127.0.0.1:4318/v1/traces");
    let wrong = [
        ("traces.endpoint", "collector:4318"),
        ("traces.ratio", "5"),
        ("traces.sampler", "sometimes"),
    ];
    let text = load(None, &[], &[&[FUNCTION][..], &wrong].concat()).unwrap_err().to_string();
    for expected in ["http://127.0.0.1:4318", "a number from 0 to 1", "parentbased_traceidratio"] {
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn what_opentelemetrys_variables_say_to_others_is_ignored() {
    let others = [
        ("OTEL_TRACES_SAMPLER", "xray"),
        ("OTEL_TRACES_SAMPLER_ARG", "endpoint=http://localhost:2000,polling_interval=300"),
    ];
    let settings = from_environment(&others).unwrap();
    let told = warnings(&settings).join("\n");
    assert!(told.contains("OTEL_TRACES_SAMPLER is \"xray\""), "{told}");
    assert!(told.contains("OTEL_TRACES_SAMPLER_ARG is \"endpoint="), "{told}");
    let file = "[traces]\nendpoint = \"http://127.0.0.1:4318\"\nsampler = \"traceidratio\"\n\
                ratio = 0.25";
    let traces = load(Some(file), &others, &[FUNCTION]).unwrap().traces.unwrap();
    assert_eq!(traces.sampler, Sampler::new("traceidratio", 0.25));
    let ours = from_environment(&[("LAMBDA_DISPATCH_TRACES_SAMPLER", "xray")]).unwrap_err();
    assert!(ours.to_string().contains("traces.sampler is \"xray\""), "{ours}");

    for elsewhere in ["localhost:4317", "unix:///run/otel.sock", "grpc://c:4317", "collector"] {
        let others = [("OTEL_EXPORTER_OTLP_ENDPOINT", elsewhere)];
        let settings = from_environment(&others).unwrap();
        assert_eq!(settings.traces, None, "{elsewhere}");
        let told = warnings(&settings).join("\n");
        let said = format!("OTEL_EXPORTER_OTLP_ENDPOINT is \"{elsewhere}\"");
        assert!(told.contains(&said) && told.contains("a URL such as http://127.0"), "{told}");
        let traces = load(Some(file), &others, &[FUNCTION]).unwrap().traces.unwrap();
        assert_eq!(traces.endpoint, "http://127.0.0.1:4318/v1/traces");
    }
}

#[test]
fn a_collectors_url_has_no_password_and_one_that_does_is_never_shown() {
    for url in ["http://usr:hunter2@h", "https://hunter2@h:4318/", "grpc://usr:hun/ter2@h"] {
        let flags = [FUNCTION, ("traces.endpoint", url)];
        let said = load(None, &[], &flags).unwrap_err().to_string();
        assert!(said.contains("…@h") && said.contains("OTEL_EXPORTER_OTLP_HEADERS"), "{said}");
        assert!(!said.contains("hunter2") && !said.contains("ter2"), "{said}");
        let settings = from_environment(&[("OTEL_EXPORTER_OTLP_ENDPOINT", url)]).unwrap();
        let said = format!("{}{:?}", explain(&settings), settings.traces);
        assert!(said.contains("…@h") && said.contains("OTEL_EXPORTER_OTLP_HEADERS"), "{said}");
        assert!(!said.contains("hunter2") && !said.contains("ter2"), "{said}");
    }
}

#[test]
fn opentelemetrys_switches_turn_off_the_traces_that_its_variables_ask_for() {
    const ASKED: [(&str, &str); 2] = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:4318/all"),
    ];
    for (switch, is_off) in [
        (("OTEL_SDK_DISABLED", "True"), true),
        (("OTEL_TRACES_EXPORTER", "none"), true),
        (("OTEL_SDK_DISABLED", "false"), false),
        (("OTEL_TRACES_EXPORTER", "otlp"), false),
    ] {
        for asked in ASKED {
            let settings = from_environment(&[asked, switch]).unwrap();
            assert_eq!(settings.traces.is_none(), is_off, "{asked:?} {switch:?}");
        }
        let own = ("LAMBDA_DISPATCH_TRACES_ENDPOINT", "http://c:4318");
        assert!(from_environment(&[own, switch]).unwrap().traces.is_some(), "{switch:?}");
    }
}

#[test]
fn the_endpoint_for_traces_alone_is_taken_as_it_is_and_before_the_one_for_all() {
    let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://vendor.example/otlp/mine");
    let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
    for variables in [&[own][..], &[all, own]] {
        let traces = from_environment(variables).unwrap().traces.unwrap();
        assert_eq!(traces.endpoint, "https://vendor.example/otlp/mine");
    }
    let bare = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:4318");
    assert_eq!(from_environment(&[bare]).unwrap().traces.unwrap().endpoint, "http://c:4318/");
}

#[test]
fn a_collectors_port_for_grpc_is_warned_of() {
    let warned = |url: &str| {
        let settings = from_environment(&[("OTEL_EXPORTER_OTLP_ENDPOINT", url)]).unwrap();
        warnings(&settings).join("\n")
    };
    let grpc = warned("http://c:4317");
    assert!(grpc.contains("http://c:4317/v1/traces") && grpc.contains("4318"), "{grpc}");
    assert_eq!(warned("http://c:4318"), warned("http://c"));
}

#[test]
fn a_proxy_that_is_not_used_is_warned_of_without_its_password() {
    for name in ["HTTPS_PROXY", "https_proxy"] {
        let warned = |url: &str| warnings(&from_environment(&[(name, url)]).unwrap()).join("\n");
        let told = warned("http://usr:hunter2@proxy:3128");
        assert!(told.contains(&format!("{name} is set")), "{told}");
        assert!(told.contains("VPC endpoint") && !told.contains("hunter2"), "{told}");
        assert!(!warned("").contains(name));
    }
}

#[test]
fn what_is_no_name_of_a_region_is_refused() {
    for region in ["eu west", "EU-WEST-1", "eu-west-1/"] {
        let said = from_environment(&[("AWS_REGION", region)]).unwrap_err().to_string();
        assert!(said.contains(&format!("aws.region is {region:?} (AWS_REGION)")), "{said}");
    }
}

#[test]
fn a_path_with_a_star_is_refused_and_told_what_a_path_is() {
    let file = "[[route]]\npath = \"/shop/*\"\npool = \"default\"\n";
    let said = from_file(file).unwrap_err().to_string();
    assert!(said.contains("route.path is \"/shop/*\"") && said.contains("all below"), "{said}");
}

#[test]
fn a_place_in_the_file_is_counted_in_lines_and_characters() {
    let file = "[pool]\r\nfunction = \"f\"\r\n\n# ü\n[[route]]\npool = \"default\"\n[total]\n\
                \"é\" = 1\nqueue_length = 5";
    let faults = from_file(file).unwrap_err().to_string();
    assert!(faults.contains(".toml:8:1"), "{faults}");
    let settings = from_file(file.replace("\"é\" = 1\n", "")).unwrap();
    let (_, route) = settings.routes.iter().next().unwrap();
    assert!(route.origin.to_string().ends_with(".toml:5:1"), "{}", route.origin);
    let queue = settings.effective().iter().find(|it| it.name == "total.queue_length").unwrap();
    assert!(queue.origin.to_string().ends_with(".toml:8:1"), "{}", queue.origin);
    let faults = from_file("[pool]\nslots = \"ü\" ü").unwrap_err().to_string();
    assert!(faults.contains(".toml:2:13"), "{faults}");
    for (bytes, place) in
        [(&b"\xff\xfe[\0"[..], ".toml:1:1: "), (b"[pool]\n\xc3\xbc\xfc", ".toml:2:2: ")]
    {
        let faults = from_file(bytes).unwrap_err().to_string();
        assert!(faults.contains(place) && faults.contains("UTF-8"), "{faults}");
    }
}

#[test]
fn a_file_that_is_not_toml_or_not_there_is_named() {
    let text = from_file("[pool]\nslots = = 3\n").unwrap_err().to_string();
    assert!(text.contains(".toml:2:9: "), "{text}");
    assert_eq!(text.lines().count(), 1, "who knows what else it says: {text}");
    let missing = PathBuf::from("/nonexistent/router.toml");
    let error = Settings::load(Some(&missing), std::iter::empty(), &[FUNCTION]).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/router.toml"), "{error}");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for (flags, expected) in [
        (&[("listen.certificate", "a.pem")][..], "belong together"),
        (&[("listen.admin", "0.0.0.0:5001")][..], "listen.admin and listen.http are both"),
        (&[("listen.admin", "127.0.0.1:5001")][..], "listen.admin and listen.http are both"),
        (&[("listen.http", "[::]:5005")][..], "listen.admin and listen.http are both"),
        (&[("callback.scheme", "http")][..], "allow_plaintext_control is false"),
        (&[("pool.instances_min", "9"), ("pool.instances_max", "8")][..], "must not exceed"),
        (&[("timeouts.drain", "5s")][..], "drain_delay is longer"),
        (&[("callback.host", "https://x:1")][..], "without scheme and port"),
        (&[("callback.host", "0.0.0.0")][..], "that instances can dial"),
        (&[("callback.host", "[::]")][..], "that instances can dial"),
        (&[("callback.host", "router..internal")][..], "that instances can dial"),
        (&[("pool.price_per_gb_second", "16.67")][..], "above 0 and up to 1,"),
        (&[("pool.budget_per_hour", "1000000.01")][..], "above 0 and up to 1000000,"),
        (&[("aws.endpoint", "lambda.local")][..], "a URL such as"),
        (&[("aws.endpoint", "http://127.0.0.1:99999")][..], "a URL such as"),
        (&[("traces.endpoint", "http://collector:")][..], "a URL such as"),
        (&[("log.filter", "=,=")][..], "log.filter is"),
        (&[("log.filter", "info,verbose")][..], "target=level,..., and verbose is no level"),
        (&[("recorder.file", "/r"), ("recorder.dump", "/r")][..], "are both /r"),
    ] {
        let mut all = vec![FUNCTION];
        all.extend_from_slice(flags);
        let text = load(None, &[], &all).unwrap_err().to_string();
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let text = load(None, &[], &[]).unwrap_err().to_string();
    assert!(text.contains("LAMBDA_DISPATCH_POOL_FUNCTION"), "{text}");
}

#[test]
fn the_largest_amounts_make_a_budget() {
    let price = ("pool.price_per_gb_second", "1");
    let (memory, budget) = (("pool.memory_mb", "10240"), ("pool.budget_per_hour", "1000000"));
    let settings = load(None, &[], &[FUNCTION, price, memory, budget]).unwrap();
    let budget = only(&settings).config.budget.unwrap();
    assert_eq!(budget.picodollars_per_instance_second, 10_000_000_000_000);
}

#[test]
fn listeners_that_do_not_meet_may_have_the_same_port() {
    for (http, admin) in [
        ("127.0.0.1:5001", "127.0.0.2:5001"),
        ("0.0.0.0:5001", "[::1]:5001"),
        ("127.0.0.1:0", "0.0.0.0:0"),
    ] {
        load(None, &[], &[FUNCTION, ("listen.http", http), ("listen.admin", admin)]).unwrap();
    }
}

#[test]
fn a_function_that_is_no_text_is_one_fault() {
    let file = "[pool]\nfunction = [\"f\"]\n[pools.b]\nfunction = { name = \"f\" }\n";
    let text = load(Some(file), &[], &[]).unwrap_err().to_string();
    assert!(!text.contains("is not set"), "{text}");
    assert!(text.contains("pool.function is \"array\""), "{text}");
    assert!(text.contains("pools.b.function is \"table\""), "{text}");
}

#[test]
fn nobody_is_trusted_however_that_is_written() {
    for none in ["none", "None", "NONE"] {
        let settings = load(None, &[], &[FUNCTION, ("listen.trusted_proxies", none)]).unwrap();
        let trusted = settings.listen.trusted_proxies;
        assert!(!trusted.contains("127.0.0.1".parse().unwrap()), "{none}");
    }
}

#[test]
fn the_originals_wire_is_off_until_networks_are_named_and_then_warned_of() {
    let load = |value: &str| from_environment(&[("LAMBDA_DISPATCH_LISTEN_WIRE_V1", value)]);
    let risk = |settings: &Settings| {
        warnings(settings).into_iter().find(|warning| warning.contains("listen.wire_v1"))
    };
    for off in ["", "off", "Off"] {
        let settings = load(off).unwrap();
        assert_eq!((settings.listen.wire_v1.clone(), risk(&settings)), (None, None));
    }
    let settings = load("10.1.0.0/16, fd00::/8").unwrap();
    let networks = settings.listen.wire_v1.as_ref().unwrap();
    assert!(networks.contains("10.1.2.3".parse().unwrap()));
    assert!(!networks.contains("10.2.2.3".parse().unwrap()));
    let risk = risk(&settings).unwrap();
    assert!(risk.contains("10.1.0.0/16") && risk.contains("without a token"), "{risk}");
    let private = load("private").unwrap().listen.wire_v1.unwrap();
    assert!(private.contains("127.0.0.1".parse().unwrap()));
    let error = load("everywhere").unwrap_err().to_string();
    assert!(error.contains("private, off, or networks"), "{error}");
}

#[test]
fn a_mistyped_variable_is_a_warning_with_the_right_name() {
    let settings = from_environment(&[
        ("LAMBDA_DISPATCH_MaxConcurentCount", "5"),
        ("LAMBDA_DISPATCH_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("LAMBDA_DISPATCH_CONFIG", "/etc/router.toml"),
        ("lambda_dispatch_config", "/etc/router.toml"),
        ("UNRELATED", "1"),
    ])
    .unwrap();
    let text = warnings(&settings).join("\n");
    assert!(text.contains("MaxConcurentCount is not a setting and was ignored; did you mean LAMBDA_DISPATCH_POOL_SLOTS?"), "{text}");
    assert!(text.contains("LAMBDA_DISPATCH_PORT_80_TCP_ADDR is not a setting"), "{text}");
    assert!(!text.contains("CONFIG") && !text.contains("UNRELATED"), "{text}");
    assert!(!text.contains("config is not"), "{text}");
}

#[test]
fn the_variable_that_names_the_file_is_read_as_others_are() {
    let file = |name: &str, file: &str| file_in([(name.into(), file.into())].into_iter());
    for name in ["LAMBDA_DISPATCH_CONFIG", "lambda_dispatch_config", "LAMBDA_DISPATCH_Config"] {
        assert_eq!(file(name, "a.toml"), Some(PathBuf::from("a.toml")), "{name}");
        assert_eq!(file(name, ""), None, "{name}");
    }
    for name in ["CONFIG", "LAMBDA_DISPATCH_CONFIGS", "LAMBDA_DISPATCH_", "LAMBDA_DISPATCH\u{e9}"] {
        assert_eq!(file(name, "a.toml"), None, "{name}");
    }
}

#[test]
fn a_full_file_is_understood() {
    let settings = load(
        Some(
            r#"
            workers = 4
            [listen]
            http = "off"
            https = "[::]:443"
            certificate = "/tls/cert.pem"
            key = "/tls/key.pem"
            admin = 9000
            [pool]
            function = "shop:live"
            matching = "pack"
            cold_start = "3s"
            budget_per_hour = 12.5
            memory_mb = 0x800
            queue_bytes = "1GiB"
            [log]
            format = "json"
            access = "/var/log/access.log"
            [recorder]
            ring = 0
            file = "/var/recording"
            dump = "/var/dump"
            check = true
            [callback]
            host = "[fd00::1]"
            "#,
        ),
        &[],
        &[],
    )
    .unwrap();
    assert_eq!(settings.workers, Some(4));
    assert_eq!(settings.listen.http, None);
    assert_eq!(settings.listen.https.as_ref().unwrap().address.to_string(), "[::]:443");
    assert_eq!(settings.listen.admin.unwrap().to_string(), "127.0.0.1:9000");
    assert_eq!(only(&settings).config.matching, Matching::Pack);
    assert_eq!(only(&settings).config.cold_start, Some(Duration::from_secs(3)));
    let budget = only(&settings).config.budget.unwrap();
    assert_eq!(budget.microdollars_per_hour, 12_500_000);
    assert_eq!(budget.picodollars_per_instance_second, 33_333_400);
    assert_eq!(settings.log.format, Format::Json);
    let (file, dump) = (Some("/var/recording".into()), "/var/dump".into());
    assert_eq!(settings.recorder, Recorder { ring: 0, file, dump, check: true });
    assert_eq!(settings.callback.host.as_deref(), Some("fd00::1"));
    let told = explain(&settings);
    assert!(told.contains("https://[fd00::1]:5004"), "{told}");
}

#[test]
fn check_says_what_follows_and_what_is_risky() {
    let settings = load(
        None,
        &[("LAMBDA_DISPATCH_AllowInsecureControlChannel", "true")],
        &[
            FUNCTION,
            ("pool.budget_per_hour", "5"),
            ("pool.instances_min", "2"),
            ("listen.admin", "0.0.0.0:5005"),
            ("recorder.dump", "/var/dump"),
            ("recorder.file", "/var/recording"),
            ("recorder.check", "yes"),
        ],
    )
    .unwrap();
    let text = explain(&settings);
    for expected in [
        "pool.slots                       = 10",
        "LAMBDA_DISPATCH_AllowInsecureControlChannel",
        "at most 100 instances x 10 slots = 1,000 requests at once",
        "10,000 requests wait, in 64 MiB at most and for 2m at most",
        "all instances together cost at most $6.00 per hour",
        "2 idle instances are always kept, which costs $87.60 a month",
        "when $5.00 are spent within an hour, at most 83 instances are kept, for which $5.00 per \
         hour are enough, until some of it is saved again",
        "SIGTERM: /readyz fails at once, connections are accepted for 10s more, requests finish within 110s",
        "SIGUSR1: what the model was told and did last, about 279,620 requests, is written to \
         /var/dump",
        "all of that is kept in /var/recording, which grows by 30 MB for a million requests",
        "recorder.check is true: the model is recounted again and again",
        "0.0.0.0:5003 takes instances without TLS",
        "listen.admin is 0.0.0.0:5005",
    ] {
        assert!(text.contains(expected), "{expected}\nis not in\n{text}");
    }
}

#[test]
fn that_our_extension_dials_no_router_without_tls_is_told_where_it_is_asked_to() {
    // As the original's templates have it.
    let theirs = [
        ("LAMBDA_DISPATCH_AllowInsecureControlChannel", "true"),
        ("LAMBDA_DISPATCH_PreferredControlChannelScheme", "http"),
    ];
    let told = |variables| warnings(&from_environment(variables).unwrap()).join("\n");
    let text = told(&theirs);
    assert!(text.contains("callback.scheme is http") && text.contains("ALLOW_INSECURE"), "{text}");
    assert!(!told(&theirs[..1]).contains("callback.scheme"));
}

#[test]
fn the_access_log_is_off_however_that_is_written() {
    for off in ["off", "OFF", "Off"] {
        let settings = load(None, &[], &[FUNCTION, ("log.access", off)]).unwrap();
        assert_eq!(settings.log.access, AccessTarget::Off, "{off}");
    }
}

#[test]
fn where_to_ask_how_a_router_is_does_not_depend_on_what_else_its_file_says() {
    let with_flags = |text: &str, flags: &[(&str, &str)]| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("router.toml");
        std::fs::write(&file, text).unwrap();
        Settings::admin(Some(&file), std::iter::empty(), flags)
    };
    let admin = |text: &str| with_flags(text, &[]).map(|admin| (admin.address, admin.unread));
    let there = Some("127.0.0.1:7".parse().unwrap());
    assert_eq!(
        admin("slotz = 3\n[pool]\nslots = 0\n[listen]\nadmin = \"127.0.0.1:7\"\n"),
        Ok((there, None))
    );
    assert_eq!(admin("[listen]\nadmin = \"off\"\n"), Ok((None, None)));
    assert!(admin("[listen]\nadmin = \"there\"\n").is_err());
    let spoilt = "[listen]\nadmin = \"127.0.0.1:8\"\n[log";
    for (flags, address) in
        [(&[("listen.admin", "127.0.0.1:7")][..], "127.0.0.1:7"), (&[], "127.0.0.1:5005")]
    {
        let admin = with_flags(spoilt, flags).unwrap();
        assert_eq!(admin.address, Some(address.parse().unwrap()));
        assert!(admin.unread.unwrap().to_string().contains("router.toml:3:"));
    }
}
