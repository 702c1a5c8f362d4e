use std::collections::HashMap;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const TOKEN: &str = "AQAEALtoken==";
const ECS: &str = "ECS_CONTAINER_METADATA_URI_V4";
const EC2: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";

/// A metadata service: what it says to a request's method, path and token.
async fn service(answer: fn(&str, &str, Option<&str>) -> (u16, String)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(respond(stream, answer));
        }
    });
    address
}

async fn respond(mut stream: TcpStream, answer: fn(&str, &str, Option<&str>) -> (u16, String)) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.unwrap() == 0 {
            return;
        }
    }
    let head = String::from_utf8(head).unwrap();
    let mut first = head.split(' ');
    let (method, path) = (first.next().unwrap(), first.next().unwrap());
    let header =
        |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    if method == "PUT" {
        assert_eq!(header("x-aws-ec2-metadata-token-ttl-seconds"), Some("60"), "{head}");
    }
    let (status, body) = answer(method, path, header("x-aws-ec2-metadata-token"));
    let response = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(response.as_bytes()).await.unwrap();
}

/// IMDSv2: nothing without the token.
fn imds(method: &str, path: &str, token: Option<&str>) -> (u16, String) {
    match (method, path, token) {
        ("PUT", "/latest/api/token", _) => (200, TOKEN.to_owned()),
        ("GET", "/latest/meta-data/local-ipv4", Some(TOKEN)) => (200, "10.1.2.3".to_owned()),
        _ => (401, String::new()),
    }
}

async fn found(
    callback: Callback,
    variables: &[(&str, String)],
) -> Result<CallbackHost, CallbackError> {
    let variables: HashMap<&str, &String> = variables.iter().map(|(k, v)| (*k, v)).collect();
    find(&callback, |name| variables.get(name).map(|value| (*value).clone())).await
}

fn nothing_set() -> Callback {
    Callback { host: None, host_variable: "K8S_POD_IP".to_owned(), plaintext: false }
}

/// Variables under which EC2 is not asked: what a machine off AWS must not depend on.
fn no_ec2() -> (&'static str, String) {
    ("AWS_EC2_METADATA_DISABLED", "true".to_owned())
}

#[tokio::test]
async fn the_setting_beats_the_variable() {
    let set = Callback { host: Some("router.internal".to_owned()), ..nothing_set() };
    let host = found(set, &[("K8S_POD_IP", "10.0.0.1".to_owned())]).await.unwrap();
    assert_eq!(host.url("https", 5004), "https://router.internal:5004");
    assert_eq!(host.source, "callback.host");
}

#[tokio::test]
async fn the_operators_variable_beats_metadata() {
    let ecs = service(|_, _, _| panic!("nobody may ask")).await;
    let named = Callback { host_variable: "MY_IP".to_owned(), ..nothing_set() };
    for (text, url) in [("10.0.0.1", "http://10.0.0.1:80"), (" fd00::1 ", "http://[fd00::1]:80")] {
        let variables = [("MY_IP", text.to_owned()), (ECS, format!("http://{ecs}/v4/x"))];
        let host = found(named.clone(), &variables).await.unwrap();
        assert_eq!(host.url("http", 80), url);
    }
}

#[tokio::test]
async fn an_ecs_task_knows_its_address() {
    let ecs = service(|method, path, _| {
        assert_eq!((method, path), ("GET", "/v4/abc"));
        let json = r#"{"DockerId":"x","Networks":[{"NetworkMode":"awsvpc",
            "IPv4Addresses":["10.0.2.106"],"IPv6Addresses":["fd00::6"]}]}"#;
        (200, json.to_owned())
    })
    .await;
    let host = found(nothing_set(), &[(ECS, format!("http://{ecs}/v4/abc"))]).await.unwrap();
    assert_eq!(host.url("https", 5004), "https://10.0.2.106:5004");
    assert_eq!(host.source, "ECS task metadata");
}

#[tokio::test]
async fn an_ecs_task_without_ipv4_has_its_ipv6_address() {
    let ecs = service(|_, _, _| {
        let json = r#"{"Networks":[{"NetworkMode":"awsvpc","IPv6Addresses":["fd00::6"]}]}"#;
        (200, json.to_owned())
    })
    .await;
    let host = found(nothing_set(), &[(ECS, format!("http://{ecs}"))]).await.unwrap();
    assert_eq!(host.url("https", 5004), "https://[fd00::6]:5004");
}

#[tokio::test]
async fn a_task_behind_a_bridge_has_the_address_of_its_instance() {
    let ecs = service(|_, _, _| {
        let json = r#"{"Networks":[{"NetworkMode":"bridge","IPv4Addresses":["172.17.0.2"]}]}"#;
        (200, json.to_owned())
    })
    .await;
    let ec2 = service(imds).await;
    let variables = [(ECS, format!("http://{ecs}")), (EC2, format!("http://{ec2}/"))];
    let host = found(nothing_set(), &variables).await.unwrap();
    assert_eq!((host.host.as_str(), host.source.as_str()), ("10.1.2.3", "EC2 instance metadata"));
}

#[tokio::test]
async fn a_metadata_service_that_refuses_the_token_is_named() {
    let ec2 =
        service(
            |method, _, _| {
                if method == "PUT" { (200, "wrong".to_owned()) } else { (401, String::new()) }
            },
        )
        .await;
    let error = found(nothing_set(), &[(EC2, format!("http://{ec2}"))]).await.unwrap_err();
    assert!(error.to_string().contains("local-ipv4 answered 401"), "{error}");
}

#[tokio::test]
async fn a_metadata_service_that_hangs_costs_two_seconds() {
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", hanging.local_addr().unwrap());
    let variables = [(ECS, url), no_ec2()];
    let asked = tokio::time::timeout(std::time::Duration::from_secs(60), async {
        found(nothing_set(), &variables).await
    });
    let error = asked.await.expect("it gives up by itself").unwrap_err();
    assert!(error.to_string().contains("no answer within 2s"), "{error}");
}

#[tokio::test]
async fn when_nobody_knows_the_error_says_who_was_asked_and_what_to_do() {
    let error = found(nothing_set(), &[no_ec2()]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot find the address that instances dial back to. Tried: callback.host (not set); the \
         variable K8S_POD_IP (not set); ECS task metadata (ECS_CONTAINER_METADATA_URI_V4 is not \
         set); EC2 instance metadata (AWS_EC2_METADATA_DISABLED is true). Set callback.host \
         (LAMBDA_DISPATCH_CALLBACK_HOST) to an address of this router that the function can reach"
    );
}

#[tokio::test]
async fn nonsense_is_never_taken_for_an_address() {
    let fargate = ("AWS_EXECUTION_ENV", "AWS_ECS_FARGATE".to_owned());
    for text in ["0.0.0.0", "::", "localhost", "10.0.0.1:80", "<html>"] {
        let variables = [("K8S_POD_IP", text.to_owned()), fargate.clone()];
        let error = found(nothing_set(), &variables).await.unwrap_err().to_string();
        assert!(error.contains("the variable K8S_POD_IP (") && error.contains("Fargate has none"));
    }
    for body in ["", "no json", "{}", r#"{"Networks":[{"NetworkMode":"awsvpc"}]}"#] {
        let ecs = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", ecs.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = ecs.accept().await.unwrap();
            let length = body.len();
            let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
            stream.write_all(response.as_bytes()).await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.unwrap();
        });
        found(nothing_set(), &[(ECS, url), fargate.clone()]).await.unwrap_err();
    }
}
