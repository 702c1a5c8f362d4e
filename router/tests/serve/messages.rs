//! What the router says when it cannot start: one line a fault, what to do, and no waiting.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::process::Command;

use crate::stage::{BINARY, free_addresses, readiness, serve, until};

/// What `serve` says where it cannot start, which it must find at once. It has all that it needs
/// but what `change` takes away.
pub(crate) async fn fails(change: impl FnOnce(&mut Command)) -> String {
    let [http, https, control, admin] = free_addresses();
    let mut command = serve();
    // Off AWS the metadata service does not answer, which takes seconds to be sure of.
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("LAMBDA_DISPATCH_FUNCTION_NAME", "web");
    for (name, address) in
        [("HTTP", http), ("HTTPS", https), ("CONTROL", control), ("ADMIN", admin)]
    {
        command.env(format!("LAMBDA_DISPATCH_LISTEN_{name}"), address.to_string());
    }
    change(&mut command);
    let output = tokio::time::timeout(Duration::from_secs(20), command.output()).await;
    let output = output.expect("it ends at once").unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("lambda-dispatch: "), "{said}");
    assert!(!said.contains('\u{1b}'), "there is no terminal for colours: {said:?}");
    last.to_owned()
}

#[tokio::test]
async fn missing_setting_is_one_line_that_names_every_way_to_set_it() {
    let said = fails(|command| {
        command.env_remove("LAMBDA_DISPATCH_FUNCTION_NAME");
    })
    .await;
    for way in ["pool.function is not set", "--set pool.function=", "LAMBDA_DISPATCH_"] {
        assert!(said.contains(way), "{way} is not in: {said}");
    }
    let said = fails(|command| {
        command.env_remove("AWS_REGION");
    })
    .await;
    assert!(said.contains("no AWS region") && said.contains("AWS_REGION"), "{said}");
    let said = fails(|command| {
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    })
    .await;
    assert!(said.contains("no AWS credentials") && said.contains("AWS_ACCESS_KEY_ID"), "{said}");
    let said = fails(|command| {
        command.env_remove("LAMBDA_DISPATCH_CALLBACK_HOST");
    })
    .await;
    for tried in ["K8S_POD_IP", "ECS task metadata", "EC2", "LAMBDA_DISPATCH_CALLBACK_HOST"] {
        assert!(said.contains(tried), "{tried} is not in: {said}");
    }
}

#[tokio::test]
async fn busy_port_is_one_line_that_names_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for setting in ["listen.http", "listen.control", "listen.admin"] {
        let said = fails(|command| {
            command.args(["--set", &format!("{setting}={address}")]);
        })
        .await;
        assert!(said.contains(&format!("cannot listen on {address}")), "{said}");
        assert!(said.contains(setting), "{said}");
    }
}

#[tokio::test]
async fn mistyped_setting_is_one_line_with_its_place_and_what_was_meant() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("mistyped-{}.toml", std::process::id()));
    std::fs::write(&path, "[pool]\nfunction = \"web\"\nslot = 20\n").unwrap();
    let said = fails(|command| {
        command.arg("--config").arg(&path);
    })
    .await;
    assert!(said.contains("mistyped") && said.contains(":3"), "{said}");
    assert!(said.contains("did you mean pool.slots?"), "{said}");
    std::fs::remove_file(&path).unwrap();
    let said = fails(|command| {
        command.args(["--set", "pool.slots=many"]);
    })
    .await;
    assert!(said.contains("pool.slots is \"many\" (") && said.contains("allowed"), "{said}");
    let said = fails(|command| {
        command.args(["--config", "/no/such/file.toml"]);
    })
    .await;
    assert!(said.contains("/no/such/file.toml"), "{said}");
}

#[tokio::test]
async fn log_that_cannot_be_written_does_not_end_the_router() {
    // A port that is free when it is chosen may be taken when it is used.
    for _ in 0..10 {
        let [http, control, admin] = free_addresses();
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = serve();
        command.args(["--function", "web"]).stderr(full);
        for (name, address) in [("http", http), ("control", control), ("admin", admin)] {
            command.args(["--set", &format!("listen.{name}={address}")]);
        }
        let mut router = command.spawn().unwrap();
        until("it is ready, or has ended", async || {
            readiness(admin).await == Some(200) || router.try_wait().unwrap().is_some()
        })
        .await;
        let Some(ended) = router.try_wait().unwrap() else { return };
        assert_eq!(ended.code(), Some(1), "it ended, and not for its ports");
    }
    panic!("no router starts");
}

#[tokio::test]
async fn what_cannot_be_printed_is_an_error_unless_nobody_reads_it() {
    let completions = |to: Stdio| {
        let mut command = Command::new(BINARY);
        command.args(["completions", "bash"]).stdout(to).stderr(Stdio::null()).status()
    };
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(completions(full.into()).await.unwrap().code(), Some(1));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(completions(writer.into()).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn variables_that_are_no_text_are_no_reason_to_fail() {
    let strange = OsStr::from_bytes(b"Z\xfcrich");
    let mut command = Command::new(BINARY);
    command.args(["config", "check", "--function", "web"]).env_clear();
    command.env("CITY", strange).env(strange, "1").env("AWS_REGION", "us-east-1");
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let output = command.env("LAMBDA_DISPATCH_WORKERS", strange).output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("workers is"), "{said}");
}
