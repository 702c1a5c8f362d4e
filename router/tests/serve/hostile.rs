//! What a client can do to an instance, to other clients and to the choice of a function: nothing.

use crate::client::Client;
use crate::raw_app::{Body, RawApp, contains};
use crate::stage::{Stage, until};

/// One instance that stays, so that its end would show.
const SETTINGS: &[&str] = &["pool.linger=10m", "pool.instances_max=1", "pool.placement_margin=1s"];

/// The instance that served the first request is the only one there ever was, and serves.
async fn is_unharmed(stage: &Stage) -> bool {
    let answer = stage.router.get("/after").await;
    answer.status == 200 && stage.router.metric("dispatch_invokes_total").await == 1.0
}

#[tokio::test]
async fn strange_targets_and_headers_reach_the_app_as_they_are_or_are_refused() {
    let (stage, app) = RawApp::stage(SETTINGS).await;
    assert_eq!(stage.router.get("/first").await.status, 200);
    for target in [
        "/_lambda_dispatch/goaway",
        "/api/chunked/request/1/2",
        "/a%2Fb//c/../d;x=1",
        "/q?a=\"<>\"",
        "/q?a={}|^`",
        "/`backtick`",
        "/%zz%00%0d%0a",
        "/?",
        "//",
        "/caf\u{e9}",
    ] {
        let mut client = Client::connect(stage.router.http).await;
        client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")).await.unwrap();
        let answer = client.answer("GET").await.unwrap();
        match answer.status {
            200 => assert!(
                app.seen(&format!("GET {target} HTTP/1.1\r\n")).is_some(),
                "{target} was changed: {}",
                answer.text()
            ),
            status => assert_eq!(status, 400, "{target}"),
        }
        assert!(is_unharmed(&stage).await, "{target}");
    }
    let mut plain = ["/_lambda_dispatch/goaway", "/a%2Fb//c/../d;x=1", "//"].iter();
    assert!(plain.all(|target| app.seen(&format!("GET {target} HTTP/1.1\r\n")).is_some()));
}

#[tokio::test]
async fn client_cannot_choose_a_function_or_speak_for_the_router() {
    let (stage, app) = RawApp::stage(SETTINGS).await;
    let mut client = Client::connect(stage.router.http).await;
    client
        .send(
            "GET /named HTTP/1.1\r\nHost: test\r\nX-Lambda-Name: other\r\nX-Pool-Id: p\r\n\
             X-Lambda-Id: l\r\nX-Channel-Id: c\r\nX-Lambda-Dispatch-Debug: true\r\n\
             X-Own: 1\r\n\r\n",
        )
        .await
        .unwrap();
    let answer = client.answer("GET").await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-lambda-id"), None, "the app does not speak for the router either");
    let head = String::from_utf8(app.seen("GET /named ").unwrap().head).unwrap().to_lowercase();
    for name in ["x-lambda", "x-pool", "x-channel"] {
        assert!(!head.contains(name), "{head}");
    }
    assert!(head.contains("x-own: 1\r\n"), "{head}");
    assert!(is_unharmed(&stage).await);
}

#[tokio::test]
async fn headers_keep_their_bytes_and_repeats_in_both_directions() {
    let (stage, app) = RawApp::stage(SETTINGS).await;
    let mut client = Client::connect(stage.router.http).await;
    let lines = b"Host: test\r\nX-Latin: caf\xe9\r\nX-Two: 1\r\nX-Two: 2\r\n";
    client.send([b"GET /bytes HTTP/1.1\r\n", &lines[..], b"\r\n"].concat()).await.unwrap();
    let answer = client.answer("GET").await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-latin"), Some(&b"caf\xe9"[..]));
    assert_eq!(answer.headers("set-cookie"), [b"a=1", b"b=2"]);
    let head = app.seen("GET /bytes ").unwrap().head;
    assert!(contains(&head, b": caf\xe9\r\n"));
    assert!(contains(&head.to_ascii_lowercase(), b"x-two: 1\r\nx-two: 2\r\n"));

    // 99 and those that the client sent first are as many as are allowed.
    let many = |count| {
        let lines: String = (0..count).map(|i| format!("X-{i}: {i}\r\n")).collect();
        format!("GET /many HTTP/1.1\r\nHost: test\r\n{lines}\r\n")
    };
    client.send(many(99)).await.unwrap();
    assert_eq!(client.answer("GET").await.unwrap().status, 200);
    assert!(contains(&app.seen("GET /many ").unwrap().head.to_ascii_lowercase(), b"x-98: 98\r\n"));
    client.send(many(150)).await.unwrap();
    assert_eq!(client.answer("GET").await.unwrap().status, 431);
    let mut client = Client::connect(stage.router.http).await;
    let long = "x".repeat(20_000);
    client.send(format!("GET /{long} HTTP/1.1\r\nHost: test\r\n\r\n")).await.unwrap();
    assert_eq!(client.answer("GET").await.unwrap().status, 414);
    assert!(is_unharmed(&stage).await);
}

#[tokio::test]
async fn answers_without_a_body_leave_the_connection_in_step() {
    let (stage, _) = RawApp::stage(SETTINGS).await;
    let mut client = Client::connect(stage.router.http).await;
    for _ in 0..3 {
        for (method, target, status) in [
            ("GET", "/204", 204),
            ("HEAD", "/head", 200),
            ("GET", "/304", 304),
            ("HEAD", "/204", 204),
            ("GET", "/whole", 200),
        ] {
            client.send(format!("{method} {target} HTTP/1.1\r\nHost: test\r\n\r\n")).await.unwrap();
            let answer = client.answer(method).await.unwrap();
            assert_eq!(answer.status, status, "{method} {target}");
            if status == 304 {
                assert_eq!(answer.header("etag"), Some(&b"\"1\""[..]));
            }
        }
    }
    assert!(is_unharmed(&stage).await);
}

#[tokio::test]
async fn early_answer_reaches_a_client_that_is_still_sending() {
    let (stage, _) = RawApp::stage(SETTINGS).await;
    assert_eq!(stage.router.get("/first").await.status, 200);
    for length in [100_000, 100_000_000] {
        let mut client = Client::connect(stage.router.http).await;
        let head = "POST /early HTTP/1.1\r\nHost: test\r\nContent-Length";
        client.send(format!("{head}: {length}\r\n\r\n")).await.unwrap();
        client.send(vec![b'x'; 50_000]).await.unwrap();
        // The rest is never sent: nobody wants it.
        let answer = client.answer("POST").await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (413, "large\n"));
        assert!(is_unharmed(&stage).await);
    }
}

#[tokio::test]
async fn body_that_its_client_cuts_never_looks_whole_to_the_app() {
    let (stage, app) = RawApp::stage(SETTINGS).await;
    for (mark, framing, part) in [
        ("/cut-length", "Content-Length: 1000", "only this"),
        ("/cut-chunked", "Transfer-Encoding: chunked", "9\r\nonly this\r\n"),
    ] {
        let mut client = Client::connect(stage.router.http).await;
        let head = format!("POST {mark} HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n");
        client.send(format!("{head}{part}")).await.unwrap();
        until("it reaches the app", async || app.seen(mark).is_some()).await;
        drop(client);
        let body = || app.seen(mark).unwrap().body;
        until("the app sees its end", async || body() != Body::Arriving).await;
        assert_eq!(body(), Body::Cut, "{mark}");
        assert!(is_unharmed(&stage).await);
    }
}

#[tokio::test]
async fn requests_that_are_not_http_are_refused_as_the_clients_fault() {
    let (stage, app) = RawApp::stage(SETTINGS).await;
    assert_eq!(stage.router.get("/first").await.status, 200);
    let chunked = "POST /bad HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (fault, request, status) in [
        ("a negative chunk", format!("{chunked}-5\r\nhello\r\n0\r\n\r\n"), 400),
        ("more than its chunk", format!("{chunked}5\r\nhelloXX0\r\n\r\n"), 400),
        ("a chunk without end", format!("{chunked}fffffffffffffffff\r\nhello"), 400),
        ("no Host", "GET /bad HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("two Hosts", "GET /bad HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), 400),
        ("no path", "GET bad HTTP/1.1\r\nHost: test\r\n\r\n".to_owned(), 400),
        ("a tunnel", "CONNECT bad:80 HTTP/1.1\r\nHost: bad:80\r\n\r\n".to_owned(), 405),
        (
            "two lengths",
            "POST /bad HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\
            Content-Length: 2\r\n\r\nxx"
                .to_owned(),
            400,
        ),
    ] {
        let mut client = Client::connect(stage.router.http).await;
        client.send(request).await.unwrap();
        assert_eq!(client.answer("GET").await.unwrap().status, status, "{fault}");
        assert!(is_unharmed(&stage).await, "{fault}");
    }
    let bad = app.seen(" /bad ");
    assert!(bad.is_none_or(|it| !matches!(it.body, Body::Whole(_))), "it looked whole to the app");
}
