//! `lambda-dispatch doctor` and `health` as an operator runs them: the real program, against the
//! emulated Lambda, against nobody, and against a router.

#![expect(clippy::unwrap_used, reason = "a test panics on what it does not expect")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use emulator::{Config, Emulator, Function, model};
use lambda_dispatch::doctor::as_rows;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_lambda-dispatch");

/// A function that suits the router's defaults.
async fn well() -> Emulator {
    emulated(&[], &json!({ "Version": "7" }), 900).await
}

async fn emulated(denied: &[&str], configuration: &Value, timeout_s: u64) -> Emulator {
    let service = model::Config {
        function_timeout: Duration::from_secs(timeout_s),
        memory_mb: 1_024,
        ..model::Config::default()
    };
    let denied = denied.iter().map(|it| (*it).to_owned()).collect();
    let mut function = Function::new("shop", Vec::new());
    function.configuration = configuration.as_object().unwrap().clone();
    Emulator::start(Config { denied, service, ..Config::default() }, function).await.unwrap()
}

/// Runs the program with nothing of this machine's AWS set-up.
async fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(arguments).env_clear().env("HOME", "/nonexistent");
    command.env("AWS_EC2_METADATA_DISABLED", "true").envs(variables.iter().copied());
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

/// Asks the doctor about the function `shop` at `endpoint`.
async fn doctor(endpoint: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let endpoint = format!("aws.endpoint={endpoint}");
    let given = ["doctor", "--set", "pool.function=shop", "--set", &endpoint];
    let given = [&given[..], &["--set", "callback.host=10.0.0.7"], arguments].concat();
    let keys = [("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let ended = run(&given, &[&keys[..], &[("AWS_REGION", "eu-west-1")]].concat()).await;
    assert!(ended.stderr.is_empty(), "{ended:?}");
    let said = String::from_utf8(ended.stdout).unwrap();
    assert!(!said.contains("secret"), "{said}");
    (ended.status.code(), said)
}

#[tokio::test]
async fn what_suits_each_other_is_well_and_nothing_is_started() {
    let emulator = well().await;
    let (code, said) = doctor(&emulator.endpoint(), &[]).await;
    assert_eq!(code, Some(0), "{said}");
    for line in [
        "Router: instances are to dial https://10.0.0.7:5004 (callback.host)\n  well\n",
        "credentials AKIA…MPLE from the environment (AWS_ACCESS_KEY_ID)\n  well\n",
        "Pool default: function shop\n  Image of 7, Active, time-out 15m, 1024 MB, ",
        "none reserved\n  well\n",
        "\nAll is well.\n",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    assert!(!said.contains('\u{1b}'), "colours where nobody sees them: {said}");
    assert!(emulator.environments().await.is_empty());
}

#[tokio::test]
async fn a_function_with_the_defaults_of_lambda_breaks() {
    let emulator = emulated(&[], &json!({}), 3).await;
    let (code, said) = doctor(&emulator.endpoint(), &[]).await;
    assert_eq!(code, Some(1), "{said}");
    for line in ["  breaks  time-out-too-short: its time-out is 3s", "  odd     latest: "] {
        assert!(said.contains(line), "{line}\n{said}");
    }
}

#[tokio::test]
async fn the_variables_of_the_function_are_read_as_its_extension_reads_them() {
    for (variables, told) in [
        (
            json!({ "LAMBDA_DISPATCH_PORT": "web" }),
            "breaks  extension-settings: the extension will",
        ),
        (json!({ "LAMBDA_DISPATCH_WIRE_V1": "true" }), "odd     extension-wire-v1: "),
        (
            json!({ "LAMBDA_DISPATCH_LAST_ACTIVE_GRACE_PERIOD_MS": "250" }),
            "odd     leaves-by-itself: idle instances leave by themselves after 250ms, and \
             pool.linger is 1s",
        ),
    ] {
        let configuration = json!({ "Version": "7", "Environment": { "Variables": variables } });
        let emulator = emulated(&[], &configuration, 900).await;
        let (_, said) = doctor(&emulator.endpoint(), &[]).await;
        assert!(said.contains(told), "{told}\n{said}");
    }
    let error = json!({ "Version": "7", "Environment": { "Error": { "ErrorCode": "KMS" } } });
    let (code, said) = doctor(&emulated(&[], &error, 900).await.endpoint(), &[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("unknown variables-not-seen: "), "{said}");
}

#[tokio::test]
async fn what_is_odd_is_no_reason_to_fail() {
    let configuration = json!({ "Version": "7", "State": "Inactive", "StateReason": "idle" });
    let emulator = emulated(&[], &configuration, 900).await;
    let (code, said) = doctor(&emulator.endpoint(), &["--set", "pool.instances_max=2000"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("odd     not-active: its state is Inactive (idle)"), "{said}");
    assert!(said.contains("odd     more-than-account: pool.instances_max is 2000"), "{said}");
}

#[tokio::test]
async fn a_role_that_may_not_invoke_is_told_which_policy_it_needs() {
    let emulator = emulated(&["Invoke"], &json!({ "Version": "7" }), 900).await;
    let (code, said) = doctor(&emulator.endpoint(), &[]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("breaks  not-allowed: the role must not invoke shop: 403 Acc"), "{said}");
    assert!(said.contains("lambda-dispatch config check --iam"), "{said}");
}

#[tokio::test]
async fn a_role_that_may_do_nothing_but_invoke_is_well() {
    let denied = ["GetFunctionConfiguration", "GetFunctionConcurrency", "GetAccountSettings"];
    let emulator = emulated(&denied, &json!({}), 3).await;
    let (code, said) = doctor(&emulator.endpoint(), &[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("unknown configuration-not-seen: time-out, memory, network"), "{said}");
    assert!(said.contains("lambda:GetFunctionConcurrency"), "{said}");
}

#[tokio::test]
async fn a_function_or_alias_that_is_not_there_is_not_found() {
    let emulator = well().await;
    let endpoint = emulator.endpoint();
    for name in ["stock", "shop:live"] {
        let function = format!("pool.function={name}");
        let (code, said) = doctor(&endpoint, &["--set", &function]).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("breaks  not-found: there is no {name} in ")), "{said}");
    }
}

#[tokio::test]
async fn an_endpoint_where_nobody_listens_is_unreachable() {
    let (code, said) = doctor(&format!("http://{}", nobody()), &[]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("breaks  unreachable: the Lambda API cannot be reached: "), "{said}");
    assert!(said.contains("1 will break, 0 odd, 0 could not be looked at."), "{said}");
}

#[tokio::test]
async fn an_endpoint_that_says_nothing_or_is_another_is_unreachable() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let (code, said) = doctor(&endpoint, &["--timeout", "100ms"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot be reached: no answer within 100ms"), "{said}");

    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", other.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in other.incoming().map_while(Result::ok) {
            let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
            let mut head = [0; 4_096];
            if stream.read(&mut head).is_ok_and(|read| read > 0) {
                stream.write_all(answer).ok();
            }
        }
    });
    let (code, said) = doctor(&endpoint, &[]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("with status 404, is not the Lambda API"), "{said}");
}

#[tokio::test]
async fn without_credentials_or_region_nothing_else_is_asked() {
    for (variables, told) in [
        (&[][..], "breaks  no-access: no AWS region"),
        (&[("AWS_REGION", "eu-west-1")], "breaks  no-access: no AWS credentials"),
    ] {
        let ended = run(&["doctor", "--function", "shop"], variables).await;
        let said = String::from_utf8(ended.stdout).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains(told), "{said}");
        assert!(!said.contains("Pool default"), "{said}");
    }
}

#[tokio::test]
async fn scripts_are_told_the_same() {
    let emulator = emulated(&[], &json!({ "VpcConfig": { "VpcId": "vpc-1" } }), 3).await;
    let (code, said) = doctor(&emulator.endpoint(), &["--json"]).await;
    assert_eq!(code, Some(1), "{said}");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["breaks"], &said["unknown"]), (&1.into(), &0.into()), "{said}");
    assert_eq!(said["router"]["callback"], "https://10.0.0.7:5004");
    assert_eq!(said["aws"][0]["region"], "eu-west-1");
    let pool = &said["pools"][0];
    assert_eq!((&pool["pool"], &pool["invocable"]), (&"default".into(), &true.into()));
    assert_eq!(pool["configuration"]["timeout_s"], 3);
    assert_eq!(pool["configuration"]["in_vpc"], true);
    let worst = &pool["findings"][0];
    assert_eq!(
        (&worst["name"], &worst["severity"]),
        (&"time-out-too-short".into(), &"breaks".into())
    );
}

#[tokio::test]
async fn wrong_usage_has_a_status_of_its_own() {
    for (arguments, told) in [
        (&["doctor", "--functoin", "shop"][..], "'--function'"),
        (&["doctor", "--function", "shop", "--set", "pool.slot=1"], "pool.slots"),
        (&["doctor"], "pool.function"),
    ] {
        let ended = run(arguments, &[]).await;
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(said.contains(told), "{said}");
        assert!(ended.stdout.is_empty());
    }
}

#[test]
fn the_page_of_the_doctor_has_every_fault() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/doctor.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (head, _) = page.split_once("| name |").unwrap();
    let new = format!("{head}{}", as_rows());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &new).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap() == new,
        "{} is not up to date: UPDATE=1 cargo test -p lambda-dispatch --test doctor",
        path.display()
    );
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A router, once it is ready; ended at the end.
struct Router {
    child: std::process::Child,
    admin: String,
}

impl Router {
    async fn start(endpoint: &str) -> Self {
        let admin = nobody().to_string();
        let sets = [
            format!("aws.endpoint={endpoint}"),
            format!("listen.admin={admin}"),
            "listen.http=127.0.0.1:0".to_owned(),
            "listen.control=127.0.0.1:0".to_owned(),
            "callback.host=127.0.0.1".to_owned(),
            "timeouts.drain_delay=60s".to_owned(),
        ];
        let mut command = Command::new(BINARY);
        command.args(["serve", "--function", "shop"]);
        command.args(sets.iter().flat_map(|set| ["--set", set]));
        command.env_clear().env("HOME", "/nonexistent").env("AWS_REGION", "eu-west-1");
        command
            .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "secret");
        let router = Self { child: command.spawn().unwrap(), admin };
        router.until(&[], Some(0)).await;
        router
    }

    /// What `health` says of it, by the settings of its environment.
    async fn health(&self, arguments: &[&str]) -> Output {
        let given = [&["health", "--function", "shop"][..], arguments].concat();
        run(&given, &[("LAMBDA_DISPATCH_LISTEN_ADMIN", &self.admin)]).await
    }

    async fn until(&self, arguments: &[&str], code: Option<i32>) -> Output {
        let wait = async {
            loop {
                let ended = self.health(arguments).await;
                if ended.status.code() == code {
                    return ended;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), wait).await;
        waited.unwrap_or_else(|_| panic!("health {arguments:?} did not end with {code:?}"))
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test]
async fn a_router_is_ready_until_it_drains_and_alive_until_it_ends() {
    let emulator = well().await;
    let mut router = Router::start(&emulator.endpoint()).await;
    assert_eq!(router.health(&[]).await.stdout, b"ready\n");
    assert_eq!(router.health(&["--live"]).await.stdout, b"OK\n");
    let url = format!("http://{}/readyz", router.admin);
    // Whatever else is set.
    let named = [("LAMBDA_DISPATCH_CONFIG", "/no/such/file")];
    assert!(run(&["health", "--url", &url], &named).await.status.success());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spoilt.toml");
    std::fs::write(&file, "[pool\n").unwrap();
    let spoilt = router.health(&["--config", file.to_str().unwrap()]).await;
    let said = String::from_utf8(spoilt.stderr).unwrap();
    assert!(spoilt.status.success() && said.contains("spoilt.toml:1:"), "{said}");

    let pid = rustix::process::Pid::from_child(&router.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let draining = router.until(&[], Some(1)).await;
    let said = String::from_utf8(draining.stderr).unwrap();
    assert!(said.contains("/readyz: 503 Service Unavailable, draining"), "{said}");
    assert_eq!(router.health(&["--live"]).await.status.code(), Some(0));

    router.child.kill().unwrap();
    router.child.wait().unwrap();
    let gone = router.health(&["--live"]).await;
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8(gone.stderr).unwrap().contains(&router.admin));
}

#[tokio::test]
async fn a_router_that_hangs_is_not_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/livez", silent.local_addr().unwrap());
    let ended = run(&["health", "--url", &url, "--timeout", "100ms"], &[]).await;
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("no answer within 100ms"), "{said}");
}

#[tokio::test]
async fn an_admin_port_on_every_address_is_asked_on_this_machine() {
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listening.local_addr().unwrap().port().to_string();
    let answer = tokio::task::spawn_blocking(move || {
        let (mut stream, _) = listening.accept().unwrap();
        let mut head = [0; 1_024];
        let read = stream.read(&mut head).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n").unwrap();
        String::from_utf8_lossy(&head[..read]).into_owned()
    });
    let admin = format!("listen.admin=0.0.0.0:{port}");
    // Which function it is does not matter.
    let ended = run(&["health", "--set", &admin], &[]).await;
    assert!(ended.status.success(), "{ended:?}");
    assert!(answer.await.unwrap().starts_with("GET /readyz HTTP/1.1\r\n"));
    let off = run(&["health", "--set", "listen.admin=off"], &[]).await;
    assert_eq!(off.status.code(), Some(1));
    assert!(String::from_utf8(off.stderr).unwrap().contains("listen.admin is off"));
    let wrong = run(&["health", "--set", "listen.admin=there"], &[]).await;
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("listen.admin is \"there\""));
}
