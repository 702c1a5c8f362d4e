//! What can be found out about one request afterwards: its line in the access log, and the lines of
//! router and extension that have its id.

use std::fmt::Write as _;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::client::Client;
use crate::raw_app::RawApp;
use crate::stage::{Stage, until};

/// A stage whose both sides log in detail, with a line `ID REASON PATH` for each request.
async fn logging(folder: &TempDir, settings: &[&str]) -> Stage {
    let access = format!("log.access={}", folder.path().join("access.log").display());
    let format = "log.access_format=$request_id $reason $uri";
    let ours = [&access, format, "log.filter=info,io_tokio=debug"];
    let app = RawApp::default();
    let environment = [("LAMBDA_DISPATCH_LOG", "info,lambda_dispatch_extension=debug")];
    let settings = [&ours[..], settings].concat();
    Stage::served(&environment, &settings, move |stream| app.clone().connection(stream)).await
}

/// The id and the reason of the request for `path`, once that is over.
async fn recorded(folder: &TempDir, path: &str) -> (String, String) {
    let mut found = None;
    until("it is in the access log", async || {
        let log = std::fs::read_to_string(folder.path().join("access.log")).unwrap_or_default();
        let line = log.lines().find(|line| line.ends_with(&format!(" {path}")));
        let mut words = line.unwrap_or_default().split(' ').map(str::to_owned);
        found = words.next().zip(words.next());
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// The target at which the app answers with `bytes` and goes.
fn answered_with(bytes: &str) -> String {
    bytes.bytes().fold("/answer/".to_owned(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn request_that_fails_is_found_in_the_logs_of_both_sides_by_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let stage = logging(&folder, &["timeouts.first_byte=300ms"]).await;
    for (path, reason, router_says, extension_says) in [
        (answered_with(""), "failed", "without an answer", "no answer from the app"),
        ("/hang".to_owned(), "response_timeout", "request failed", "wants no answer"),
        (
            answered_with("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
            "truncated",
            "request failed",
            "the app broke off within its answer",
        ),
    ] {
        let mut client = Client::connect(stage.router.http).await;
        client
            .send(format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"))
            .await
            .unwrap();
        client.rest().await;
        let (id, ended) = recorded(&folder, &path).await;
        assert_eq!(ended, reason, "{path}");
        let has = |log: &str, says: &str| {
            let field = format!("request_id={id}");
            let quoted = format!("request_id=\"{id}\"");
            log.lines().any(|line| {
                let words: Vec<_> = line.split(' ').collect();
                line.contains(says) && (words.contains(&&*field) || words.contains(&&*quoted))
            })
        };
        until("the router tells", async || has(&stage.router.log(), router_says)).await;
        until("the extension tells", async || has(&stage.said(), extension_says)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn app_is_told_the_id_and_a_client_can_neither_choose_nor_see_it() {
    let folder = tempfile::tempdir().unwrap();
    let stage = logging(&folder, &[]).await;
    let mut client = Client::connect(stage.router.http).await;
    let head = "GET /seen HTTP/1.1\r\nHost: test\r\nLambda-Dispatch-Request-Id: mine\r\n\r\n";
    client.send(head).await.unwrap();
    let answer = client.answer("GET").await.unwrap();
    let (id, _) = recorded(&folder, "/seen").await;
    // The app answers with the head that it was sent.
    let seen = answer.text().to_lowercase();
    let ids: Vec<_> =
        seen.lines().filter_map(|line| line.strip_prefix("lambda-dispatch-request-id: ")).collect();
    assert_eq!(ids, [id]);
    assert_eq!(answer.header("lambda-dispatch-request-id"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn client_behind_a_load_balancer_is_named_by_it_if_that_is_trusted() {
    for (trusted, client) in [("127.0.0.0/8", "203.0.113.9"), ("none", "127.0.0.1")] {
        let folder = tempfile::tempdir().unwrap();
        let trusted = format!("listen.trusted_proxies={trusted}");
        let format = "log.access_format=$remote_addr $realip_remote_addr $uri";
        let stage = logging(&folder, &[&trusted, format]).await;
        let mut balancer = Client::connect(stage.router.http).await;
        let head =
            "GET /seen HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 6.6.6.6, 203.0.113.9\r\n\r\n";
        balancer.send(head).await.unwrap();
        balancer.answer("GET").await.unwrap();
        let addresses = recorded(&folder, "/seen").await;
        assert_eq!(addresses, (client.to_owned(), "127.0.0.1".to_owned()), "{trusted}");
    }
}

/// In a container it is always the same one.
#[tokio::test(flavor = "multi_thread")]
async fn ids_do_not_repeat_when_another_router_has_the_same_process_id() {
    let folder = tempfile::tempdir().unwrap();
    let stage = logging(&folder, &[]).await;
    assert_eq!(stage.router.get("/seen").await.status, 200);
    let (id, _) = recorded(&folder, "/seen").await;
    let (start, count) = id.split_once('-').unwrap();
    assert_eq!(count, "0");
    assert_ne!(start, format!("{:x}", stage.router.pid()));
}

#[tokio::test(flavor = "multi_thread")]
async fn cloudwatch_is_told_of_a_period_once_it_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("emf.log");
    let to = format!("emf.to={}", file.display());
    let settings = ["emf.enabled=true", &to, "emf.period=1s", "emf.namespace=Shop"];
    let stage = logging(&folder, &settings).await;
    assert_eq!(stage.router.get("/").await.status, 200);
    until("a period has the request", async || {
        let lines = std::fs::read_to_string(&file).unwrap_or_default();
        let documents: Vec<serde_json::Value> =
            lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        documents.iter().any(|it| {
            it["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Shop" && it["Requests"] == 1.0
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cloudwatch_is_told_of_the_last_period_when_the_router_ends() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("emf.log");
    let to = format!("emf.to={}", file.display());
    let settings = ["emf.enabled=true", &to, "emf.period=1h", "timeouts.drain_delay=0s"];
    let mut stage = logging(&folder, &settings).await;
    assert_eq!(stage.router.get("/").await.status, 200);
    let mut client = Client::connect(stage.router.http).await;
    client.send("GET /nobody HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(client.answer("GET").await.unwrap().status, 400);
    stage.router.signal(Signal::TERM);
    assert!(stage.router.end().await.success());
    let lines = std::fs::read_to_string(&file).unwrap();
    let told: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |it: &serde_json::Value| it["Requests"].as_f64();
    let counts: Vec<_> = told.iter().map(|it| (it["Pool"].as_str(), count(it))).collect();
    assert_eq!(counts, [(Some("default"), Some(1.0)), (None, Some(1.0))], "{lines}");
}
