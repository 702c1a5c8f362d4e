//! Our extension with a router of the original.

use std::time::Duration;

use http::Response;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::app::{App, full, read_head, write};
use crate::original::{Answer, Answered, Original};
use crate::stage::{Stage, eventually, soon};

/// By default it leaves when it has been idle for a quarter of a second.
const ENABLED: &[(&str, &str)] = &[
    ("LAMBDA_DISPATCH_WIRE_V1", "true"),
    ("LAMBDA_DISPATCH_LAST_ACTIVE_GRACE_PERIOD_MS", "600000"),
];

/// An extension with so many channels to a router of the original.
async fn attached(app: &App, channels: u8) -> (Stage, Original) {
    attached_for(app, channels, Duration::from_secs(60)).await
}

async fn attached_for(app: &App, channels: u8, left: Duration) -> (Stage, Original) {
    let mut stage = Stage::with_settings(app, ENABLED).await;
    let mut router = Original::start().await;
    stage.lambda.invoke(router.payload(channels), left).await;
    router.until_parked(channels.min(98).into()).await;
    (stage, router)
}

/// Ends the invoke as a router does that has no more work, and checks that nothing is left of it.
async fn leaves(mut stage: Stage, router: Original, app: &App) {
    router.answer_posts(Answer::Say(409));
    while router.parked() > 0 {
        router.release(router.take().await);
    }
    let answer = stage.lambda.answer().await;
    assert_eq!(answer.reason(), "RouterGoAway");
    app.until_alone().await;
    stage.lambda.until_polled().await;
}

#[tokio::test]
async fn a_request_and_its_answer_pass() {
    let (seen, mut heads) = mpsc::channel(1);
    let app = App::with_sockets(move |mut stream, number| {
        let seen = seen.clone();
        async move {
            if number == 0 {
                return;
            }
            seen.send(read_head(&mut stream).await).await.unwrap();
            let answer = b"HTTP/1.1 201 Made\r\nX-A: 1\r\nSet-Cookie: a=1\r\n\
                Keep-Alive: timeout=5\r\nX-Latin: caf\xe9\r\nSet-Cookie: b=2\r\nEmpty:\r\n\
                Lambda-Dispatch-Error: forged\r\nContent-Length: 2\r\n\r\nok";
            stream.write_all(answer).await.unwrap();
            read_head(&mut stream).await;
        }
    })
    .await;
    let (stage, router) = attached(&app, 1).await;
    let mut channel = router.take().await;
    let head = "GET /a%2Fb?x=1 HTTP/1.1\r\nHost: example.com\r\nConnection: keep-alive, X-Hop\r\n\
        X-Hop: 1\r\nX-Lambda-Id: forged\r\nAccept: a,b\r\nCookie: a=1; b=2\r\n\r\n";
    // Split anywhere.
    for piece in head.as_bytes().chunks(7) {
        channel.write(piece, false).await;
    }
    channel.write("", true).await;
    let answered = channel.answered().await;
    assert_eq!(
        soon("the app sees it", heads.recv()).await.unwrap(),
        "GET /a%2Fb?x=1 HTTP/1.1\r\nhost: example.com\r\naccept: a,b\r\ncookie: a=1; b=2\r\n\r\n"
    );
    let lines: Vec<_> =
        answered.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [
        ("x-a", "1"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("x-latin", "caf\u{e9}"),
        ("empty", ""),
        ("content-length", "2"),
    ];
    assert_eq!((answered.status, lines.as_slice()), (201, &expected[..]));
    assert!(answered.whole && answered.text() == "ok");
    router.until_parked(1).await;
    leaves(stage, router, &app).await;
}

#[tokio::test]
async fn a_hundred_requests_pass_through_ten_channels() {
    let app = App::hello().await;
    let (stage, router) = attached(&app, 10).await;
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..100 {
        let channel = router.take().await;
        asked.spawn(async move {
            let target = format!("/{number}");
            let answered = channel.get(&target).await;
            assert_eq!((answered.status, answered.text()), (200, format!("hello {target}")));
        });
    }
    while let Some(answered) = asked.join_next().await {
        answered.unwrap();
    }
    router.until_parked(10).await;
    leaves(stage, router, &app).await;
}

#[tokio::test]
async fn large_bodies_pass_in_both_directions() {
    let app = App::serving(|request| async {
        let body = request.into_body().map_err(std::io::Error::other).boxed();
        Response::new(body)
    })
    .await;
    let (stage, router) = attached(&app, 1).await;
    for framing in ["Content-Length: 3000000", "Transfer-Encoding: chunked"] {
        let mut channel = router.take().await;
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
        channel.write(head, false).await;
        let sent: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        // Both at once, as the app echoes: the windows are smaller than the body.
        let answered = channel.echoed(sent.clone()).await;
        assert_eq!((answered.status, answered.whole), (200, true));
        assert!(answered.body == sent, "{} bytes came back", answered.body.len());
    }
    router.until_parked(1).await;
    leaves(stage, router, &app).await;
}

#[tokio::test]
async fn a_get_has_a_body_if_its_head_says_so() {
    let app = App::serving(|request| async {
        let framing = request.headers().get("transfer-encoding").cloned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(full(format!("{framing:?} {body:?}")))
    })
    .await;
    let (stage, router) = attached(&app, 1).await;
    for (method, framing, seen) in [
        ("GET", "Transfer-Encoding: chunked", "Some(\"chunked\") b\"hello\""),
        ("GET", "Content-Length: 5", "None b\"hello\""),
        // Nothing is said for clients that speak HTTP/2.
        ("DELETE", "Accept: a", "Some(\"chunked\") b\"hello\""),
    ] {
        let mut channel = router.take().await;
        let head = format!("{method} / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\nhello");
        channel.write(head, true).await;
        assert_eq!(channel.answered().await.text(), seen, "{method}, {framing}");
    }
    // The original ends a stream some time after the head, though no body is to come.
    let mut channel = router.take().await;
    channel.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n", false).await;
    assert_eq!(channel.answered().await.text(), "None b\"\"");
    channel.write("", true).await;
    router.until_parked(1).await;
    leaves(stage, router, &app).await;
}

#[tokio::test]
async fn an_upload_that_is_cut_is_cut_for_the_app_and_harms_nobody_else() {
    let (seen, mut bodies) = mpsc::channel(1);
    let app = App::serving(move |request| {
        let seen = seen.clone();
        async move {
            if request.uri().path() == "/other" {
                return Response::new(full("fine"));
            }
            let body = request.into_body().collect().await;
            seen.send(body.is_err()).await.unwrap();
            Response::new(full("never read"))
        }
    })
    .await;
    let (stage, router) = attached(&app, 2).await;
    let mut channel = router.take().await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nhalf";
    channel.write(head, false).await;
    eventually("it has arrived", || app.accepted() == 2).await;
    channel.down.send_reset(h2::Reason::CANCEL);
    assert!(soon("the app sees an end", bodies.recv()).await.unwrap(), "it looked whole");
    drop(channel);
    assert_eq!(router.take().await.get("/other").await.text(), "fine");
    router.until_parked(2).await;
    leaves(stage, router, &app).await;
}

#[tokio::test]
async fn an_answer_that_the_app_cuts_is_reset_and_never_ended() {
    let app = App::with_sockets(|mut stream, number| async move {
        if number > 0 {
            read_head(&mut stream).await;
            let half = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
            write(&mut stream, half).await;
        }
    })
    .await;
    let (stage, router) = attached(&app, 1).await;
    let answered = router.take().await.get("/").await;
    assert_eq!((answered.status, answered.whole), (200, false), "{answered:?}");
    router.until_parked(1).await;
    leaves(stage, router, &app).await;
}

#[tokio::test]
async fn a_client_that_leaves_is_seen_by_the_app_and_its_channel_comes_back() {
    let app = App::serving(|_| async { std::future::pending().await }).await;
    let (stage, router) = attached(&app, 1).await;
    let mut channel = router.take().await;
    channel.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true).await;
    eventually("it has arrived", || app.accepted() == 2).await;
    channel.down.send_reset(h2::Reason::CANCEL);
    drop(channel);
    app.until_alone().await;
    router.until_parked(1).await;
    leaves(stage, router, &app).await;
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_is_heard() {
    let app = App::with_sockets(|mut stream, number| async move {
        if number > 0 {
            read_head(&mut stream).await;
            write(&mut stream, "HTTP/1.1 413 No\r\nContent-Length: 3\r\n\r\nno!").await;
            stream.read_to_end(&mut Vec::new()).await.ok();
        }
    })
    .await;
    let (stage, router) = attached(&app, 1).await;
    let mut channel = router.take().await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc";
    channel.write(head, false).await;
    let answered = channel.answered().await;
    assert_eq!((answered.status, answered.text().as_str()), (413, "no!"));
    // It does not wait for the rest.
    router.until_parked(1).await;
    drop(channel);
    leaves(stage, router, &app).await;
}

#[tokio::test]
async fn heads_that_are_none_are_answered_and_the_channel_comes_back() {
    let app = App::hello().await;
    let (stage, router) = attached(&app, 1).await;
    let endless = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(300_000));
    for (head, status) in [
        ("GET  /two HTTP/1.1\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\n\r\n", 400),
        ("CONNECT a:1 HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\na : b\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        ("\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nunfinished", 400),
        (&endless, 431),
    ] {
        let mut channel = router.take().await;
        channel.write(head.to_owned(), true).await;
        let answered = channel.answered().await;
        assert_eq!(answered.status, status, "{head:.40}");
        assert_eq!(says_its_length(&answered), Some(true), "{head:.40}");
    }
    assert_eq!(router.take().await.get("/").await.text(), "hello /");
    router.until_parked(1).await;
    leaves(stage, router, &app).await;
}

/// Whether a length is right that an answer says; `None` if it says none.
fn says_its_length(answered: &Answered) -> Option<bool> {
    let mut headers = answered.headers.iter();
    let (_, length) = headers.find(|(name, _)| name == "content-length")?;
    Some(*length == answered.body.len().to_string())
}

#[tokio::test]
async fn a_client_cannot_order_an_instance_to_leave() {
    let app = App::hello().await;
    let (stage, router) = attached(&app, 1).await;
    // The original's router passes this path on, with what a client knows: the ids.
    for version in ["Host: a\r\n", "X-Pool-Id: default\r\n", ""] {
        let mut channel = router.take().await;
        let head = format!(
            "GET /_lambda_dispatch/goaway HTTP/1.1\r\n{version}X-Lambda-Id: {}\r\n\
             X-Channel-Id: another\r\n\r\n",
            router.id()
        );
        channel.write(head, true).await;
        assert_eq!(channel.answered().await.text(), "hello /_lambda_dispatch/goaway");
    }
    router.until_parked(1).await;
    leaves(stage, router, &app).await;
}

#[tokio::test]
async fn an_answer_whose_head_is_too_long_for_the_original_is_a_bad_gateway() {
    let app = App::serving(|_| async {
        Response::builder().header("x", "a".repeat(33_000)).body(full("lost")).unwrap()
    })
    .await;
    let (stage, router) = attached(&app, 1).await;
    let answered = router.take().await.get("/").await;
    assert_eq!((answered.status, answered.whole), (502, true));
    router.until_parked(1).await;
    leaves(stage, router, &app).await;
}

#[tokio::test]
async fn an_app_that_is_gone_is_a_bad_gateway_and_the_end() {
    let app = App::hello().await;
    let (mut stage, router) = attached(&app, 2).await;
    app.stop_listening().await;
    let answered = router.take().await.get("/").await;
    assert_eq!(answered.status, 502);
    assert_eq!(says_its_length(&answered), Some(true));
    assert!(stage.lambda.answer().await.failed);
}

#[tokio::test]
async fn the_answer_to_a_head_has_no_text_even_if_it_is_ours() {
    let app = App::with_sockets(|mut stream, _| async move {
        read_head(&mut stream).await;
    })
    .await;
    let (stage, router) = attached(&app, 1).await;
    let got = router.take().await.get("/").await;
    let mut channel = router.take().await;
    channel.write("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", true).await;
    let answered = channel.answered().await;
    assert_eq!((answered.status, answered.whole, answered.text().as_str()), (502, true, ""));
    assert_eq!(answered.headers, got.headers);
    router.until_parked(1).await;
    leaves(stage, router, &app).await;
}

#[tokio::test]
async fn one_channel_that_is_not_wanted_any_more_ends_all() {
    let app = App::hello().await;
    let (mut stage, router) = attached(&app, 3).await;
    router.answer_posts(Answer::Say(409));
    assert_eq!(router.take().await.get("/").await.text(), "hello /");
    // The router never releases the other two.
    assert_eq!(stage.lambda.answer().await.reason(), "RouterGoAway");
    assert_eq!(router.parked(), 2);
    app.until_alone().await;
}

#[tokio::test]
async fn at_its_leases_end_an_instance_asks_to_leave_and_serves_until_it_is_released() {
    let app = App::hello().await;
    // A quarter of 6 s is the lead.
    let (mut stage, router) = attached_for(&app, 2, Duration::from_secs(6)).await;
    router.hold_closes(Duration::from_millis(500), true);
    eventually("it asks to leave", || router.asked("/close/")).await;
    assert_eq!(router.take().await.get("/late").await.text(), "hello /late");
    let answer = stage.lambda.answer().await;
    assert_eq!((answer.reason(), &answer.json["RequestCount"]), ("SelfDeadline", &1.into()));
    app.until_alone().await;
}

#[tokio::test]
async fn an_idle_instance_leaves_by_itself_for_no_router_of_the_original_sends_it_away() {
    let app = App::hello().await;
    let mut stage = Stage::with_settings(&app, &ENABLED[..1]).await;
    let mut router = Original::start().await;
    stage.lambda.invoke(router.payload(2), Duration::from_secs(60)).await;
    assert_eq!(stage.lambda.answer().await.reason(), "SelfLastActive");
    assert!(router.asked("/close/"), "it went without a word");
}

#[tokio::test]
async fn what_does_not_finish_by_the_deadline_is_cut() {
    let app = App::serving(|_| async { std::future::pending().await }).await;
    let (mut stage, router) = attached_for(&app, 1, Duration::from_secs(3)).await;
    let mut channel = router.take().await;
    channel.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true).await;
    assert!(!channel.answered().await.whole, "it looked whole");
    assert_eq!(stage.lambda.answer().await.reason(), "SelfDeadline");
    app.until_alone().await;
}

#[tokio::test]
async fn a_router_that_vanishes_ends_the_invoke() {
    let app = App::serving(|_| async { std::future::pending().await }).await;
    let (mut stage, router) = attached(&app, 2).await;
    let mut channel = router.take().await;
    channel.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true).await;
    eventually("it has arrived", || app.accepted() == 2).await;
    router.vanish().await;
    assert_eq!(stage.lambda.answer().await.reason(), "RouterConnectionError");
    app.until_alone().await;
}

#[tokio::test]
async fn a_router_that_was_started_anew_ends_the_invoke_at_the_next_ping() {
    assert_eq!(reason_after_a_ping_that_is_answered_with(404).await, "RouterConnectionError");
}

#[tokio::test]
async fn a_router_that_says_so_at_a_ping_ends_the_invoke() {
    assert_eq!(reason_after_a_ping_that_is_answered_with(409).await, "RouterGoAway");
}

async fn reason_after_a_ping_that_is_answered_with(status: u16) -> String {
    let app = App::hello().await;
    let (mut stage, router) = attached(&app, 2).await;
    router.answer_pings(status);
    stage.lambda.answer().await.reason().to_owned()
}

#[tokio::test]
async fn an_instance_that_is_not_wanted_at_all_says_why() {
    let app = App::hello().await;
    let statuses = [(409, "RouterStatus4xx"), (400, "RouterStatus4xx"), (503, "RouterStatus5xx")];
    for (status, reason) in statuses {
        let mut stage = Stage::with_settings(&app, ENABLED).await;
        let mut router = Original::start().await;
        router.answer_posts(Answer::Say(status));
        stage.lambda.invoke(router.payload(3), Duration::from_secs(60)).await;
        assert_eq!(stage.lambda.answer().await.reason(), reason, "{status}");
    }
}

#[tokio::test]
async fn no_more_channels_are_opened_than_the_original_has_streams() {
    let app = App::hello().await;
    let (stage, router) = attached(&app, 255).await;
    assert_eq!(router.parked(), 98);
    leaves(stage, router, &app).await;
}

#[tokio::test]
async fn it_is_off_unless_it_is_enabled() {
    let app = App::hello().await;
    let mut stage = Stage::with(&app).await;
    let mut router = Original::start().await;
    stage.lambda.invoke(router.payload(1), Duration::from_secs(60)).await;
    assert_eq!(stage.lambda.answer().await.reason(), "RouterLambdaInvokeInvalid");
    assert!(!router.asked("/"), "it was dialled");
}
