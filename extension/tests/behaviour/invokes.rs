//! What an invoke asks for, and what it is answered with.

use std::time::Duration;

use io_tokio::attach::Refusal;
use io_tokio::clock::Clock;
use io_tokio::tls::RouterIdentity;
use tokio::sync::watch;

use crate::app::{App, full};
use crate::router::Router;
use crate::stage::{Stage, eventually, soon};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_instance_serves_until_the_router_closes_and_then_holds_nothing() {
    let app = App::hello().await;
    let mut stage = Stage::with(&app).await;
    for round in 1..=2_u64 {
        let mut link = stage.attach().await;
        assert_eq!(link.claim.slots, 10);
        assert_eq!(link.claim.cold, round == 1);
        assert!(link.claim.lease <= Duration::from_millis(59_500), "{:?}", link.claim.lease);
        assert!(link.claim.lease > Duration::from_secs(50), "{:?}", link.claim.lease);
        for number in 0..3 {
            let path = format!("/{number}?a=%2F");
            assert_eq!(link.text(&path).await, (200, format!("hello {path}")));
        }
        link.close().await;
        let answer = stage.lambda.answer().await;
        assert_eq!(answer.reason(), "RouterGoAway");
        assert_eq!(answer.json["PoolId"], "default");
        assert_eq!(answer.json["Id"], format!("i-{round}"));
        assert_eq!(answer.json["RequestCount"], 3);
        assert!(answer.json["InvokeDuration"].is_u64());
        stage.lambda.until_polled().await;
        app.until_alone().await;
    }
}

#[tokio::test]
async fn a_payload_is_obeyed_only_once() {
    let app = App::hello().await;
    let mut stage = Stage::with(&app).await;
    let payload = stage.router.payload();
    stage.lambda.invoke(payload.to_json(), MINUTE).await;
    let mut link = stage.router.accept().await;
    assert_eq!(link.text("/").await.0, 200);
    link.close().await;
    assert_eq!(stage.lambda.answer().await.reason(), "RouterGoAway");
    stage.lambda.invoke(payload.to_json(), MINUTE).await;
    assert_eq!(stage.lambda.answer().await.reason(), "SelfStaleRequest");
}

#[tokio::test]
async fn invokes_that_are_not_to_be_served_return_without_dialling() {
    let app = App::hello().await;
    let mut stage = Stage::with(&app).await;
    let mut init_only = stage.router.payload();
    init_only.init_only = true;
    let mut expired = stage.router.payload();
    expired.v2.as_mut().unwrap().expires_at_ms = 1_000;
    let mut lasting = stage.router.payload();
    lasting.v2.as_mut().unwrap().expires_at_ms += 600_000;
    let mut originals = stage.router.payload();
    originals.v2 = None;
    let mut plaintext = stage.router.payload();
    plaintext.v2.as_mut().unwrap().url = format!("http://{}", stage.router.address());
    for (event, reason) in [
        (init_only.to_json(), "SelfInitOnly"),
        (expired.to_json(), "SelfStaleRequest"),
        (lasting.to_json(), "SelfStaleRequest"),
        (originals.to_json(), "RouterLambdaInvokeInvalid"),
        (plaintext.to_json(), "RouterLambdaInvokeInvalid"),
    ] {
        stage.lambda.invoke(event, MINUTE).await;
        let answer = stage.lambda.answer().await;
        assert_eq!((answer.reason(), answer.failed), (reason, false));
    }
    assert_eq!(app.accepted(), 1, "only the readiness check has come");
}

#[tokio::test]
async fn an_event_that_is_no_routers_fails_and_the_environment_lives_on() {
    let app = App::hello().await;
    let mut stage = Stage::with(&app).await;
    for event in ["{\"Records\":[]}", "[]", "nonsense"] {
        stage.lambda.invoke(event.into(), MINUTE).await;
        let answer = stage.lambda.answer().await;
        assert!(answer.failed, "a queue would take {event} for done");
        let message = answer.json["errorMessage"].as_str().unwrap();
        assert!(message.ends_with("only the router may invoke this function"), "{message}");
    }
    let mut link = stage.attach().await;
    assert_eq!(link.text("/").await.0, 200);
    link.close().await;
    assert_eq!(stage.lambda.answer().await.reason(), "RouterGoAway");
}

#[tokio::test]
async fn a_router_with_another_certificate_is_not_told_the_token() {
    let app = App::hello().await;
    let mut stage = Stage::with(&app).await;
    let payload = stage.router.payload();
    stage.router.identity = RouterIdentity::generate().unwrap();
    stage.lambda.invoke(payload.to_json(), MINUTE).await;
    stage.router.count_handshakes_that_fail(4).await;
    assert_eq!(stage.lambda.answer().await.reason(), "RouterUnreachable");
}

#[tokio::test]
async fn a_certificate_that_takes_its_turn_is_known_and_drops_nobody() {
    let app = App::hello().await;
    let mut stage = Stage::with(&app).await;
    let lifetime = Duration::from_secs(10);
    stage.router.identity = RouterIdentity::generate_for(lifetime, Clock::start()).unwrap();
    let payload = stage.router.payload();
    let named = payload.v2.as_ref().unwrap().pins.clone();
    let identity = stage.router.identity.clone();
    eventually("the next certificate takes over", || identity.pins()[0] == named[1]).await;
    // Whoever was invoked before dials after, and a turn later is still there.
    stage.lambda.invoke(payload.to_json(), MINUTE).await;
    let mut link = stage.router.accept().await;
    eventually("another takes over", || !named.contains(&identity.pins()[0])).await;
    assert_eq!(link.text("/").await, (200, "hello /".to_owned()));
    link.close().await;
    assert_eq!(stage.lambda.answer().await.reason(), "RouterGoAway");
}

#[tokio::test]
async fn a_refused_instance_returns_at_once() {
    let app = App::hello().await;
    let mut stage = Stage::with(&app).await;
    for (refusal, reason) in
        [(Refusal::Unauthorized, "RouterStatus4xx"), (Refusal::Conflict, "RouterStatus4xx")]
    {
        let payload = stage.router.payload();
        stage.lambda.invoke(payload.to_json(), MINUTE).await;
        stage.router.refuse(refusal).await;
        assert_eq!(stage.lambda.answer().await.reason(), reason);
    }
}

#[tokio::test]
async fn an_unreachable_router_is_given_up_on() {
    let app = App::hello().await;
    let mut stage = Stage::with(&app).await;
    let payload = {
        let mut gone = Router::start().await;
        gone.payload()
    };
    stage.lambda.invoke(payload.to_json(), MINUTE).await;
    let answer = stage.lambda.answer().await;
    assert_eq!((answer.reason(), answer.failed), ("RouterUnreachable", false));
}

#[tokio::test]
async fn an_address_outside_the_allowed_networks_is_not_dialled() {
    let app = App::hello().await;
    let mut stage = Stage::with(&app).await;
    for url in [
        "https://169.254.169.254:80",
        "https://[::ffff:169.254.169.254]:80",
        "https://[fe80::1]:80",
        "https://[fd00:ec2::254]:80",
        "https://8.8.8.8:443",
    ] {
        let mut payload = stage.router.payload();
        payload.v2.as_mut().unwrap().url = url.to_owned();
        stage.lambda.invoke(payload.to_json(), MINUTE).await;
        assert_eq!(stage.lambda.answer().await.reason(), "RouterUnreachable", "{url}");
    }
}

#[tokio::test]
async fn plaintext_is_spoken_where_it_is_allowed() {
    let app = App::hello().await;
    let mut stage = Stage::with_settings(&app, &[("LAMBDA_DISPATCH_ALLOW_INSECURE", "true")]).await;
    stage.router.tls = false;
    let mut link = stage.attach().await;
    assert_eq!(link.text("/").await.0, 200);
    link.close().await;
    assert_eq!(stage.lambda.answer().await.reason(), "RouterGoAway");
}

#[tokio::test]
async fn an_idle_instance_leaves_after_its_grace_period() {
    let app = App::hello().await;
    let grace = [("LAMBDA_DISPATCH_LAST_ACTIVE_GRACE_PERIOD_MS", "50")];
    let mut stage = Stage::with_settings(&app, &grace).await;
    let mut link = stage.attach().await;
    link.text("/").await;
    link.until_closed().await;
    let answer = stage.lambda.answer().await;
    assert_eq!(
        (answer.reason(), answer.json["RequestCount"].as_u64()),
        ("SelfLastActive", Some(1))
    );
    app.until_alone().await;
}

#[tokio::test]
async fn readiness_is_what_the_app_answers() {
    let app = App::serving(|request| async move {
        let ready = request.uri() == "/up" && request.headers()["host"] == "localhost";
        let status = if ready { 204 } else { 500 };
        http::Response::builder().status(status).body(full("")).unwrap()
    })
    .await;
    let settings = [
        ("LAMBDA_DISPATCH_READINESS_PROTOCOL", "http"),
        ("LAMBDA_DISPATCH_READINESS_PATH", "/up"),
        ("LAMBDA_DISPATCH_READINESS_STATUS", "200-299"),
    ];
    let mut stage = Stage::with_settings(&app, &settings).await;
    let mut payload = stage.router.payload();
    payload.init_only = true;
    stage.lambda.invoke(payload.to_json(), MINUTE).await;
    assert_eq!(stage.lambda.answer().await.reason(), "SelfInitOnly");
}

#[tokio::test]
async fn a_shutdown_ends_an_environment_that_waits() {
    let app = App::hello().await;
    let stage = Stage::with(&app).await;
    stage.lambda.shut_down();
    soon("the extension ends", stage.extension).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_shutdown_lets_a_running_request_finish_and_answers_the_invoke() {
    let (release, released) = watch::channel(false);
    let app = App::serving(move |_| {
        let mut released = released.clone();
        async move {
            released.wait_for(|released| *released).await.unwrap();
            http::Response::new(full("done"))
        }
    })
    .await;
    let mut stage = Stage::with(&app).await;
    let mut link = stage.attach().await;
    let response = link.send(http::Request::get("https://a/").body("").unwrap()).await;
    eventually("the request has arrived", || app.accepted() == 2).await;
    stage.lambda.shut_down();
    link.until_goaway().await;
    release.send(true).unwrap();
    let response = soon("an answer comes", response).await.unwrap();
    assert_eq!(crate::router::text(response.into_body()).await.unwrap(), "done");
    assert_eq!(stage.lambda.answer().await.reason(), "SelfDeadline");
    soon("the extension ends", stage.extension).await.unwrap().unwrap();
}
