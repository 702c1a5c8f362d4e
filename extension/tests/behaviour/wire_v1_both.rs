//! Our extension and our router with each other, over the original's wire: each takes the other for
//! the original.

use std::time::Duration;

use http::Response;
use http_body_util::BodyExt;

use crate::app::{App, full};
use crate::stage::{Stage, soon};
use crate::whole_router::{Wire, ask, router};

#[tokio::test]
async fn everything_that_the_wire_can_carry_passes_both_ways() {
    let app = App::serving(|request| async {
        if request.method() == http::Method::POST {
            let body = request.into_body().map_err(std::io::Error::other).boxed();
            return Response::new(body);
        }
        let seen = format!("{} {:?}", request.uri(), request.headers().get("cookie"));
        let response = Response::builder().header("set-cookie", "a=1").header("set-cookie", "b=2");
        response.body(full(seen)).unwrap()
    })
    .await;
    let (running, address, mut payloads) = router(Wire::V1).await;
    let settings = [
        ("LAMBDA_DISPATCH_WIRE_V1", "true"),
        ("LAMBDA_DISPATCH_LAST_ACTIVE_GRACE_PERIOD_MS", "600000"),
    ];
    let mut stage = Stage::with_settings(&app, &settings).await;
    let get = b"GET /a%2Fb\"?c HTTP/1.1\r\nHost: a\r\nCookie: x=1\r\nCookie: y=2\r\n\
        Connection: close\r\n\r\n";
    let first = tokio::spawn(ask(address, get.to_vec()));
    let payload = soon("the router invokes", payloads.recv()).await.unwrap();
    stage.lambda.invoke(payload, Duration::from_secs(60)).await;
    let seen = String::from_utf8(first.await.unwrap()).unwrap();
    assert!(
        seen.starts_with("HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n"),
        "{seen}"
    );
    assert!(seen.ends_with("/a%2Fb%22?c Some(\"x=1; y=2\")"), "{seen}");

    // More at once than there are channels, with bodies that fill no window and ones that do.
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..40_usize {
        asked.spawn(async move {
            let body: Vec<u8> = (0..number * 20_000).map(|at| at.to_le_bytes()[0]).collect();
            let head = format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let seen = ask(address, [head.as_bytes(), &body].concat()).await;
            assert!(seen.starts_with(b"HTTP/1.1 200 OK\r\n"), "{number}");
            let end = seen.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            let text = String::from_utf8_lossy(&seen[..end]).to_ascii_lowercase();
            if text.contains("content-length") {
                assert!(seen[end..] == body, "{number}");
            } else {
                assert!(seen.len() - end > body.len() && seen.ends_with(b"\r\n0\r\n\r\n"));
            }
        });
    }
    while let Some(asked) = asked.join_next().await {
        asked.unwrap();
    }
    running.drain(Duration::from_secs(20)).await;
    let answer = stage.lambda.answer().await;
    assert_eq!((answer.reason(), &answer.json["RequestCount"]), ("RouterGoAway", &41.into()));
    app.until_alone().await;
}
