//! Work that an app does after its response.

use std::time::Duration;

use http::Response;

use crate::app::{App, full};
use crate::stage::Stage;

/// Asks for as long as its path says.
async fn working_app() -> App {
    App::serving(|request| async move {
        let span = request.uri().path().trim_start_matches('/').to_owned();
        let response = Response::builder().header("lambda-dispatch-wait-until", span);
        response.header("x-other", "1").body(full("done")).unwrap()
    })
    .await
}

#[tokio::test]
async fn an_app_that_asked_for_time_is_not_frozen_before_it_is_over() {
    let app = working_app().await;
    let mut stage = Stage::with(&app).await;
    let mut link = stage.attach().await;
    let response = link.get("/1500ms").await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-other"], "1");
    assert!(
        !response.headers().contains_key("lambda-dispatch-wait-until"),
        "it is not for clients"
    );
    assert_eq!(crate::router::text(response.into_body()).await.unwrap(), "done");
    link.close().await;
    let answer = stage.lambda.answer().await;
    assert_eq!(answer.reason(), "RouterGoAway");
    let took = answer.json["InvokeDuration"].as_u64().unwrap();
    assert!(took >= 1_500, "the invoke returned after {took} ms");
    app.until_alone().await;
}

#[tokio::test]
async fn a_held_instance_serves_and_does_not_leave_by_itself() {
    let app = working_app().await;
    let grace = [("LAMBDA_DISPATCH_LAST_ACTIVE_GRACE_PERIOD_MS", "50")];
    let mut stage = Stage::with_settings(&app, &grace).await;
    let mut link = stage.attach().await;
    assert_eq!(link.text("/2s").await.0, 200);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(link.text("/1ms").await, (200, "done".to_owned()));
    link.until_closed().await;
    let answer = stage.lambda.answer().await;
    assert_eq!(answer.reason(), "SelfLastActive");
    let took = answer.json["InvokeDuration"].as_u64().unwrap();
    assert!(took >= 2_000, "it left after {took} ms");
}

#[tokio::test]
async fn nobody_gets_more_than_the_setting_allows_and_nonsense_gets_nothing() {
    let app = working_app().await;
    let most = [("LAMBDA_DISPATCH_WAIT_UNTIL_MAX_MS", "300")];
    let mut stage = Stage::with_settings(&app, &most).await;
    let mut link = stage.attach().await;
    for span in ["/3600s", "/99999999999999999999s", "/forever", "/-1s"] {
        assert_eq!(link.text(span).await.0, 200);
    }
    link.close().await;
    let answer = stage.lambda.answer().await;
    let took = answer.json["InvokeDuration"].as_u64().unwrap();
    assert!((300..30_000).contains(&took), "the invoke returned after {took} ms");
}
