//! Requests and responses through the router to an extension of the original.

use http::Method;
use tokio::io::AsyncWriteExt;

use crate::stage::{Plan, Stage, read_all, read_until, soon};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: app\r\n\r\n";

#[tokio::test]
async fn a_request_and_its_response_pass() {
    let mut stage = Stage::set(Plan::default()).await;
    let mut client = stage
        .client(
            b"GET /a%2Fb?c=%7B HTTP/1.1\r\nHost: app\r\nX-A: 1\r\nX-Lambda-Id: forged\r\n\
            X-A: 2\r\nCookie: x=1\r\nCookie: y=caf\xe9\r\nTE: trailers\r\n\r\n",
        )
        .await;
    let mut call = stage.call().await;
    assert_eq!((call.method.clone(), call.target.as_str()), (Method::GET, "/a%2Fb?c=%7B"));
    assert_eq!(call.headers["host"], "app");
    assert_eq!(call.headers["x-a"], "1, 2", "no line is lost on a peer that keeps the last");
    assert_eq!(call.headers["cookie"].as_bytes(), b"x=1; y=caf\xe9");
    assert_eq!(call.headers["x-forwarded-for"], "127.0.0.1");
    assert!(!call.headers.contains_key("x-lambda-id") && !call.headers.contains_key("te"));
    assert_eq!(call.body().await.unwrap(), b"");
    let head = "HTTP/1.1 201 Created\r\nX-Lambda-Id: i\r\nX-Channel-Id: c\r\nset-cookie: a=1\r\n\
        x-first: 1\r\nset-cookie: b=2\r\ntransfer-encoding: chunked\r\n\r\nhel";
    call.write(head, false).await;
    call.write("lo", true).await;
    let seen = read_until(&mut client, "0\r\n\r\n").await;
    let expected = "HTTP/1.1 201 Created\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nx-first: 1\r\n";
    assert!(seen.starts_with(expected), "{seen}");
    assert!(!seen.contains("lambda-id") && !seen.contains("channel-id"), "{seen}");
    assert!(seen.contains("hel") && seen.contains("lo\r\n"), "{seen}");
    stage.until_logged("served").await;
}

#[tokio::test]
async fn a_request_passes_over_tls_to_an_extension_that_takes_any_certificate() {
    let mut stage = Stage::set(Plan { tls: true, ..Plan::default() }).await;
    let mut client = stage.client(GET).await;
    stage.call().await.respond("hello").await;
    read_until(&mut client, "hello").await;
}

#[tokio::test]
async fn a_hundred_requests_pass_through_ten_channels() {
    let mut stage = Stage::set(Plan { slots: 10, ..Plan::default() }).await;
    let clients: Vec<_> = (0..100)
        .map(|number| {
            let address = stage.clients;
            tokio::spawn(async move {
                let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
                let head = format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n");
                client.write_all(head.as_bytes()).await.unwrap();
                read_until(&mut client, &format!("you asked for /{number}!")).await
            })
        })
        .collect();
    for _ in 0..100 {
        let mut call = stage.call().await;
        tokio::spawn(async move {
            let text = format!("you asked for {}!", call.target);
            call.respond(&text).await;
        });
    }
    for client in clients {
        let seen = client.await.unwrap();
        assert!(seen.starts_with("HTTP/1.1 200 OK"), "{seen}");
    }
}

#[tokio::test]
async fn a_client_that_expects_to_be_told_sends_its_body_once_a_channel_has_the_request() {
    let mut stage = Stage::set(Plan::default()).await;
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let mut client = stage.client(head).await;
    let mut call = stage.call().await;
    assert!(!call.headers.contains_key("expect"), "nobody there could be answered: {}", call.head);
    let seen = read_until(&mut client, "\r\n\r\n").await;
    assert_eq!(seen, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"hello").await.unwrap();
    assert_eq!(soon("the body comes", call.body()).await.unwrap(), b"hello");
    call.respond("done").await;
    read_until(&mut client, "done").await;
}

#[tokio::test]
async fn large_bodies_pass_in_both_directions() {
    let mut stage = Stage::set(Plan::default()).await;
    for (framing, announced) in [
        ("Content-Length: 5000000", "content-length"),
        ("Transfer-Encoding: chunked", "transfer-encoding"),
    ] {
        let head =
            format!("POST / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n{framing}\r\n\r\n");
        let mut client = stage.client(head.as_bytes()).await;
        let (mut reader, mut writer) = client.split();
        let upload = async {
            for _ in 0..50 {
                if announced == "transfer-encoding" {
                    writer.write_all(b"186a0\r\n").await.unwrap();
                }
                writer.write_all(&[b'u'; 100_000]).await.unwrap();
                if announced == "transfer-encoding" {
                    writer.write_all(b"\r\n").await.unwrap();
                }
            }
            if announced == "transfer-encoding" {
                writer.write_all(b"0\r\n\r\n").await.unwrap();
            }
        };
        let app = async {
            let mut call = stage.call().await;
            assert!(call.headers.contains_key(announced), "{}", call.head);
            let body = call.body().await.unwrap();
            assert_eq!((body.len(), body.iter().all(|byte| *byte == b'u')), (5_000_000, true));
            call.write("HTTP/1.1 200 OK\r\na: b\r\n\r\n", false).await;
            call.write(vec![b'd'; 5_000_000], true).await;
        };
        let download = async {
            let mut seen = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut seen).await.unwrap();
            seen
        };
        let ((), (), seen) =
            soon("all passes", async { tokio::join!(upload, app, download) }).await;
        assert_eq!(seen.iter().filter(|byte| **byte == b'd').count() / 1000, 5_000);
        assert!(seen.ends_with(b"\r\n0\r\n\r\n"), "the response ends");
    }
}

#[tokio::test]
async fn what_this_wire_cannot_say_is_refused_and_harms_nobody() {
    let mut stage = Stage::set(Plan::default()).await;
    let many: String = (0..70).map(|number| format!("x-{number}: 1\r\n")).collect();
    for (head, status) in [
        ("GET /_lambda_dispatch/goaway HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 404),
        ("POST /_lambda_dispatch/goaway?x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 404),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 501),
        (
            "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                .to_owned(),
            501,
        ),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431),
    ] {
        let mut client = stage.client(head.as_bytes()).await;
        let seen = read_until(&mut client, "\r\n\r\n").await;
        assert!(seen.starts_with(&format!("HTTP/1.1 {status}")), "{head:.40}: {seen}");
    }
    let mut client = stage.client(GET).await;
    stage.call().await.respond("still here").await;
    read_until(&mut client, "still here").await;
}

#[tokio::test]
async fn a_target_that_would_kill_the_original_arrives_escaped() {
    let mut stage = Stage::set(Plan::default()).await;
    let mut client = stage.client(b"GET /\"x?y=`{}|^ HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut call = stage.call().await;
    assert_eq!(call.target, "/%22x?y=%60{}|^");
    call.respond("done").await;
    read_until(&mut client, "done").await;
}

#[tokio::test]
async fn a_response_that_is_cut_reaches_the_client_as_cut() {
    let mut stage = Stage::set(Plan::default()).await;
    let mut client = stage.client(GET).await;
    let mut call = stage.call().await;
    call.write("HTTP/1.1 200 OK\r\na: b\r\n\r\nhalf", false).await;
    read_until(&mut client, "half\r\n").await;
    call.down.send_reset(h2::Reason::INTERNAL_ERROR);
    drop(call);
    let (rest, _) = read_all(&mut client).await;
    assert!(!rest.contains("0\r\n\r\n"), "the last chunk was sent: {rest:?}");
    stage.until_logged("truncated").await;
}

#[tokio::test]
async fn a_response_shorter_than_it_says_reaches_the_client_as_cut() {
    let mut stage = Stage::set(Plan::default()).await;
    let mut client = stage.client(GET).await;
    let mut call = stage.call().await;
    // So does the original's extension when the app dies, and ends the stream cleanly.
    call.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", true).await;
    drop(call);
    read_all(&mut client).await;
    stage.until_logged("truncated").await;
}

#[tokio::test]
async fn an_upload_that_is_cut_arrives_as_cut_and_its_instance_is_replaced() {
    let mut stage = Stage::set(Plan { slots: 2, ..Plan::default() }).await;
    let head = b"POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let client = stage.client(head).await;
    let mut call = stage.call().await;
    drop(client);
    let body = soon("the body ends", call.body()).await;
    assert!(body.is_err(), "the upload ended cleanly: {body:?}");
    drop(call);
    // The original gives the invoke up when a channel fails; its other channel waits, and is
    // released.
    stage.invoke_ended().await;
    let mut client = stage.client(GET).await;
    stage.call().await.respond("from another").await;
    read_until(&mut client, "from another").await;
}

#[tokio::test]
async fn a_client_that_leaves_costs_no_instance() {
    let mut stage = Stage::set(Plan::default()).await;
    for _ in 0..3 {
        let client = stage.client(GET).await;
        let mut call = stage.call().await;
        drop(client);
        stage.until("the slot is free", |gauges| gauges.slots_busy == 0).await;
        // The app knows nothing of it, and the channel is not reset.
        call.write("HTTP/1.1 200 OK\r\na: b\r\n\r\nfor ", false).await;
        call.write("nobody", true).await;
    }
    let mut client = stage.client(GET).await;
    stage.call().await.respond("for somebody").await;
    read_until(&mut client, "for somebody").await;
    assert!(stage.ended.try_recv().is_err(), "the same instance served all");
}

#[tokio::test]
async fn a_head_that_is_no_response_is_a_bad_gateway() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(133_000));
    let mut stage = Stage::set(Plan { slots: 2, ..Plan::default() }).await;
    for wrong in [
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n",
        "HTTP/1.1 two hundred\r\n\r\n",
        "HTTP/1.1 200 OK\r\nname\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nunfinished",
        "",
        &long,
    ] {
        let mut client = stage.client(GET).await;
        let mut call = stage.call().await;
        call.write(wrong.to_owned(), true).await;
        drop(call);
        let seen = read_until(&mut client, "\r\n\r\n502 bad gateway\n").await;
        assert!(seen.starts_with("HTTP/1.1 502"), "{wrong:.40}: {seen}");
    }
    assert!(stage.ended.try_recv().is_err(), "none of them has cost the instance");
    // The original's router would have taken the end of this head for the body.
    let mut client = stage.client(GET).await;
    let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 2\r\n\r\n", "a".repeat(40_000));
    stage.call().await.write(head + "ok", true).await;
    let seen = read_until(&mut client, "\r\n\r\nok").await;
    assert!(seen.len() > 40_000 && seen.starts_with("HTTP/1.1 200 OK\r\nx: aaa"));
}

#[tokio::test]
async fn head_and_empty_responses_have_no_body() {
    let mut stage = Stage::set(Plan::default()).await;
    for (method, head) in [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\na: b\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n"),
    ] {
        let request = format!("{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let mut client = stage.client(request.as_bytes()).await;
        let mut call = stage.call().await;
        call.write(head, true).await;
        drop(call);
        let (seen, clean) = read_all(&mut client).await;
        assert!(clean && seen.ends_with("\r\n\r\n"), "{method}: {seen}");
        assert!(seen.starts_with(head.split("\r\n").next().unwrap()), "{method}: {seen}");
    }
}

#[tokio::test]
async fn an_app_that_answers_before_the_upload_ends_is_heard() {
    let mut stage = Stage::set(Plan::default()).await;
    let head = b"POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 1000\r\n\r\nabc";
    let mut client = stage.client(head).await;
    let mut call = stage.call().await;
    call.write("HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nno!", true).await;
    let seen = read_until(&mut client, "no!").await;
    assert!(seen.starts_with("HTTP/1.1 413"), "{seen}");
}
