use std::time::Duration;

use io_tokio::networks::Networks;

use crate::doctor::facts::{Extension, Silence};

use super::*;

/// What is judged, where nothing is wrong.
struct Scene {
    settings: Vec<(&'static str, &'static str)>,
    callback: Result<CallbackHost, String>,
    access: Result<Access, AwsError>,
    said: Said,
}

impl Scene {
    fn well() -> Self {
        Self {
            settings: vec![("pool.function", "shop:live")],
            callback: Ok(at("10.0.0.7")),
            access: Ok(Access {
                region: "eu-west-1".to_owned(),
                endpoint: None,
                access_key: "ASIA1".to_owned(),
                source: "the container's role",
                runs_out: false,
            }),
            said: Said {
                dry_run: Ok(()),
                configuration: Ok(configuration()),
                reserved: Ok(None),
                unreserved: Ok(1_000),
            },
        }
    }

    fn settings(&self) -> Settings {
        Settings::load(None, std::iter::empty(), &self.settings).unwrap()
    }

    fn findings(&self) -> Vec<Finding> {
        let settings = self.settings();
        let router = Router { settings: &settings, callback: &self.callback };
        let functions = settings
            .pools
            .iter()
            .flat_map(|pool| of_function(Case { router, pool, said: &self.said }));
        let mut all = of_router(router);
        all.extend(of_access(&self.access));
        all.extend(functions);
        all
    }

    fn names(&self) -> Vec<&'static str> {
        self.findings().iter().map(|finding| finding.name).collect()
    }

    fn configuration(&mut self) -> &mut Configuration {
        self.said.configuration.as_mut().unwrap()
    }

    fn set(&mut self, name: &'static str, value: &'static str) {
        self.settings.push((name, value));
    }
}

fn configuration() -> Configuration {
    Configuration {
        architecture: "x86_64".to_owned(),
        has_wrapper: Some(false),
        extension: Some(Ok(extension())),
        in_vpc: true,
        last_update: ("Successful".to_owned(), String::new()),
        memory_mb: 1_024,
        package: "Image".to_owned(),
        per_tenant: false,
        runtime: None,
        snap_start: false,
        has_snapshot: false,
        state: ("Active".to_owned(), String::new()),
        timeout: Duration::from_secs(900),
        version: "7".to_owned(),
    }
}

fn extension() -> Extension {
    Extension { linger: None, networks: Networks::private(), plaintext: false, wire_v1: false }
}

fn at(host: &str) -> CallbackHost {
    CallbackHost { host: host.to_owned(), source: "callback.host".to_owned() }
}

fn words() -> String {
    "said so".to_owned()
}

/// A fault's name, and what makes it.
type Fault = (&'static str, fn(&mut Scene));

/// What makes each fault, and no other.
const FAULTS: &[Fault] = &[
    ("no-access", |it| it.access = Err(AwsError::NoRegion)),
    ("credentials-run-out", |it| it.access.as_mut().unwrap().runs_out = true),
    ("callback-not-known", |it| it.callback = Err(words())),
    ("settings", |it| it.set("timeouts.keep_alive", "30s")),
    ("unreachable", |it| it.said.dry_run = Err(Silence::Unreachable(words()))),
    ("credentials-refused", |it| it.said.dry_run = Err(Silence::Untrusted(words()))),
    ("not-allowed", |it| it.said.dry_run = Err(Silence::Denied(words()))),
    ("not-found", |it| it.said.dry_run = Err(Silence::Missing(words()))),
    ("no-clear-answer", |it| it.said.dry_run = Err(Silence::Other(words()))),
    ("configuration-not-seen", |it| it.said.configuration = Err(Silence::Denied(words()))),
    ("reservation-not-seen", |it| it.said.reserved = Err(Silence::Denied(words()))),
    ("account-not-seen", |it| it.said.unreserved = Err(Silence::Denied(words()))),
    ("switched-off", |it| it.said.reserved = Ok(Some(0))),
    ("more-than-reserved", |it| it.said.reserved = Ok(Some(99))),
    ("more-than-account", |it| it.said.unreserved = Ok(99)),
    ("failed", |it| it.configuration().state = ("Failed".to_owned(), words())),
    ("not-active", |it| it.configuration().state = ("Pending".to_owned(), words())),
    ("update", |it| it.configuration().last_update = ("Failed".to_owned(), words())),
    ("time-out-too-short", |it| {
        it.set("timeouts.first_byte", "1s");
        it.configuration().timeout = Duration::from_secs(3);
    }),
    ("time-out-short", |it| {
        it.set("timeouts.first_byte", "1s");
        it.configuration().timeout = Duration::from_secs(5);
    }),
    ("start-outlasts-time-out", |it| {
        it.set("pool.cold_start", "61s");
        it.set("pool.start_timeout", "90s");
        it.configuration().timeout = Duration::from_secs(60);
    }),
    ("request-outlasts-time-out", |it| {
        it.set("timeouts.first_byte", "61s");
        it.configuration().timeout = Duration::from_secs(60);
    }),
    ("memory-small", |it| it.configuration().memory_mb = 191),
    ("budget-memory", |it| {
        it.set("pool.budget_per_hour", "5");
        it.configuration().memory_mb = 2_048;
    }),
    ("budget-price", |it| {
        it.set("pool.budget_per_hour", "5");
        it.configuration().architecture = "arm64".to_owned();
    }),
    ("latest", |it| it.configuration().version = "$LATEST".to_owned()),
    ("snap-start-unused", |it| {
        it.configuration().version = "$LATEST".to_owned();
        it.configuration().snap_start = true;
    }),
    ("no-snapshot", |it| it.configuration().snap_start = true),
    ("zip-runtime", |it| {
        it.configuration().package = "Zip".to_owned();
        it.configuration().runtime = Some("nodejs22.x".to_owned());
    }),
    ("zip-wrapper", |it| {
        it.configuration().package = "Zip".to_owned();
        it.configuration().runtime = Some("nodejs22.x".to_owned());
        it.configuration().has_wrapper = Some(true);
    }),
    ("per-tenant", |it| it.configuration().per_tenant = true),
    ("leaves-by-itself", |it| {
        let linger = Some(Duration::from_millis(999));
        it.configuration().extension = Some(Ok(Extension { linger, ..extension() }));
    }),
    ("extension-wire-v1", |it| {
        it.configuration().extension = Some(Ok(Extension { wire_v1: true, ..extension() }));
    }),
    ("no-vpc", |it| it.configuration().in_vpc = false),
    ("callback-family", |it| {
        it.callback = Ok(at("fd00::7"));
    }),
    ("callback-loopback", |it| it.callback = Ok(at("127.0.0.1"))),
    ("extension-settings", |it| it.configuration().extension = Some(Err(words()))),
    ("extension-networks", |it| it.callback = Ok(at("203.0.113.7"))),
    ("extension-plaintext", |it| {
        it.set("listen.allow_plaintext_control", "true");
        it.set("callback.scheme", "http");
    }),
    ("variables-not-seen", |it| it.configuration().extension = None),
];

#[test]
fn a_router_and_a_function_that_suit_each_other_have_no_fault() {
    assert_eq!(Scene::well().findings(), []);
}

#[test]
fn each_fault_is_found_where_it_is_and_says_what_to_do() {
    for (name, change) in FAULTS {
        let mut scene = Scene::well();
        change(&mut scene);
        // Plaintext is a warning of the settings as well.
        let but = |it: &Finding| *name == "extension-plaintext" && it.name == "settings";
        let findings: Vec<_> = scene.findings().into_iter().filter(|it| !but(it)).collect();
        let names: Vec<_> = findings.iter().map(|it| it.name).collect();
        assert_eq!(names, [*name], "{findings:?}");
        assert!(!findings[0].what.is_empty() && !findings[0].remedy.is_empty(), "{findings:?}");
    }
}

#[test]
fn no_fault_of_the_table_is_without_a_test() {
    let rows = rows().map(|row| row.name).chain(["settings"]);
    let tested: Vec<_> = FAULTS.iter().map(|(name, _)| *name).collect();
    let mut rows: Vec<_> = rows.collect();
    for name in &tested {
        let at = rows.iter().position(|row| row == name);
        rows.remove(at.unwrap_or_else(|| panic!("{name} is no row, or is tested twice")));
    }
    assert!(rows.is_empty(), "nobody tests {rows:?}");
}

#[test]
fn a_runtime_that_takes_invokes_breaks_only_where_nothing_can_stand_in_its_place() {
    for (runtime, has_wrapper, told) in [
        ("nodejs22.x", Some(false), Some(("zip-runtime", Severity::Breaks))),
        ("nodejs22.x", Some(true), Some(("zip-wrapper", Severity::Odd))),
        ("nodejs22.x", None, Some(("zip-wrapper", Severity::Odd))),
        ("provided.al2023", Some(false), None),
    ] {
        let mut scene = Scene::well();
        scene.configuration().package = "Zip".to_owned();
        scene.configuration().runtime = Some(runtime.to_owned());
        scene.configuration().has_wrapper = has_wrapper;
        let findings = scene.findings();
        let found: Vec<_> = findings.iter().map(|it| (it.name, it.severity)).collect();
        assert_eq!(found, Vec::from_iter(told), "{runtime} {has_wrapper:?}");
    }
}

#[test]
fn values_at_the_bound_are_no_fault() {
    let mut scene = Scene::well();
    scene.set("timeouts.first_byte", "60s");
    scene.set("pool.cold_start", "20s");
    scene.configuration().timeout = Duration::from_secs(60);
    scene.configuration().memory_mb = 192;
    let linger = Some(Duration::from_secs(1));
    scene.configuration().extension = Some(Ok(Extension { linger, ..extension() }));
    scene.said.reserved = Ok(Some(100));
    assert_eq!(scene.findings(), []);
    scene.said.reserved = Ok(None);
    scene.said.unreserved = Ok(100);
    assert_eq!(scene.findings(), []);
}

#[test]
fn what_may_not_be_asked_is_no_fault() {
    let mut scene = Scene::well();
    scene.said.configuration = Err(Silence::Denied(words()));
    scene.said.reserved = Err(Silence::Denied(words()));
    scene.said.unreserved = Err(Silence::Denied(words()));
    let findings = scene.findings();
    assert!(findings.iter().all(|it| it.severity == Severity::Unknown), "{findings:?}");
    assert_eq!(scene.names(), ["configuration-not-seen", "reservation-not-seen"]);
}

#[test]
fn an_api_that_is_not_reached_is_told_of_once() {
    let silences: [fn(String) -> Silence; 3] =
        [Silence::Unreachable, Silence::Untrusted, Silence::Missing];
    for silence in silences {
        let mut scene = Scene::well();
        scene.said = Said {
            dry_run: Err(silence(words())),
            configuration: Err(silence(words())),
            reserved: Err(silence(words())),
            unreserved: Err(silence(words())),
        };
        assert_eq!(scene.findings().len(), 1, "{:?}", scene.findings());
        // But if it was reached once, the other silence is news.
        scene.said.dry_run = Ok(());
        assert_eq!(scene.names(), ["configuration-not-seen", "reservation-not-seen"]);
    }
}

#[test]
fn a_lambda_on_this_machine_may_dial_this_machine() {
    for endpoint in ["http://127.0.0.1:9001", "http://[::1]:9001", "http://localhost"] {
        let mut scene = Scene::well();
        scene.set("aws.endpoint", endpoint);
        scene.callback = Ok(at("127.0.0.1"));
        scene.configuration().in_vpc = false;
        assert_eq!(scene.findings(), [], "{endpoint}");
    }
}

#[test]
fn a_name_to_dial_is_for_the_function_to_look_up() {
    let mut scene = Scene::well();
    scene.callback = Ok(at("router.internal"));
    scene.configuration().in_vpc = false;
    assert_eq!(scene.findings(), []);
}

#[test]
fn addresses_of_either_family_are_judged_alike() {
    for (host, fault) in [
        ("fd00::7", "no-vpc"),
        ("::ffff:10.0.0.7", "no-vpc"),
        ("100.64.0.1", "no-vpc"),
        ("::1", "callback-loopback"),
        ("0.0.0.0", "callback-loopback"),
        ("169.254.1.1", "callback-loopback"),
        ("fe80::1", "callback-loopback"),
        ("2001:db8::7", "extension-networks"),
    ] {
        let mut scene = Scene::well();
        scene.callback = Ok(at(host));
        scene.configuration().in_vpc = false;
        let names = scene.names();
        assert!(names.contains(&fault), "{host}: {names:?}");
    }
}

#[test]
fn a_listener_of_one_family_is_dialled_by_that_alone() {
    for (host, listener, is_odd) in [
        ("fd00::7", "0.0.0.0:5004", true),
        ("fd00::7", "[::]:5004", false),
        ("fd00::7", "[fd00::7]:5004", false),
        ("10.0.0.7", "[::]:5004", false),
        ("::ffff:10.0.0.7", "0.0.0.0:5004", false),
        ("10.0.0.7", "[fd00::7]:5004", true),
        ("router.internal", "0.0.0.0:5004", false),
    ] {
        let mut scene = Scene::well();
        scene.callback = Ok(at(host));
        scene.set("listen.control", listener);
        assert_eq!(scene.names().contains(&"callback-family"), is_odd, "{host} {listener}");
    }
}

#[test]
fn the_worst_is_told_first() {
    let mut scene = Scene::well();
    scene.said.reserved = Ok(Some(3));
    scene.configuration().timeout = Duration::from_secs(3);
    scene.configuration().extension = None;
    let findings = scene.findings();
    let severities: Vec<_> = findings.iter().map(|it| it.severity).collect();
    assert_eq!(severities.first(), Some(&Severity::Breaks));
    assert_eq!(severities.last(), Some(&Severity::Unknown));
    assert!(severities.is_sorted(), "{severities:?}");
}

#[test]
fn a_setting_is_called_as_its_pool_calls_it() {
    let mut scene = Scene::well();
    scene.set("pools.stock.function", "stock:live");
    scene.said.reserved = Ok(Some(3));
    for start in ["pool.instances_max is 100, and 3 ", "pools.stock.instances_max is 100, and 3 "] {
        let is_told = scene.findings().iter().any(|it| it.what.starts_with(start));
        assert!(is_told, "{start}: {:?}", scene.findings());
    }
}
