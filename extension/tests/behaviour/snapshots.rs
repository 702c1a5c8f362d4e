//! SnapStart: the environment is stored once and goes on in copies.

use std::sync::{Arc, Mutex};

use http::{Response, StatusCode};

use crate::app::{App, full};
use crate::stage::{Stage, soon};

/// What an app was asked, in order, and what it says to hooks.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

async fn app(diary: &Diary, status: StatusCode) -> App {
    let diary = diary.clone();
    App::serving(move |request| {
        let line = format!("{} {}", request.method(), request.uri());
        let status = if line.starts_with("POST") { status } else { StatusCode::OK };
        diary.0.lock().unwrap().push(line);
        async move { Response::builder().status(status).body(full("")).unwrap() }
    })
    .await
}

const SNAP_START: [(&str, &str); 5] = [
    ("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start"),
    ("LAMBDA_DISPATCH_READINESS_PROTOCOL", "http"),
    ("LAMBDA_DISPATCH_READINESS_PATH", "/up"),
    ("LAMBDA_DISPATCH_SNAPSTART_BEFORE_CHECKPOINT_PATH", "/before"),
    ("AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH", "/after"),
];

#[tokio::test]
async fn the_app_is_ready_and_told_before_the_snapshot_and_again_in_the_copy() {
    let diary = Diary::default();
    let app = app(&diary, StatusCode::NO_CONTENT).await;
    let mut stage = Stage::starting(&app, &SNAP_START).await;
    stage.lambda.until_stored().await;
    assert_eq!(diary.lines(), ["GET /up", "POST /before"]);
    app.until_alone().await;
    stage.lambda.restore();
    stage.lambda.until_polled().await;
    assert_eq!(diary.lines(), ["GET /up", "POST /before", "POST /after", "GET /up"]);
    let mut link = stage.attach().await;
    assert!(link.claim.cold, "a copy's first invoke finds no warm environment");
    assert_eq!(link.text("/").await.0, 200);
    for path in ["/after", "/%61fter?x=1", "//BEFORE/"] {
        assert_eq!(link.text(path).await.0, 403, "{path} is not for clients");
    }
    link.close().await;
    assert_eq!(stage.lambda.answer().await.reason(), "RouterGoAway");
    assert_eq!(diary.lines().last().unwrap(), "GET /");
    stage.lambda.until_polled().await;
}

#[tokio::test]
async fn an_app_that_cannot_prepare_is_not_stored() {
    let diary = Diary::default();
    let app = app(&diary, StatusCode::INTERNAL_SERVER_ERROR).await;
    let mut stage = Stage::starting(&app, &SNAP_START).await;
    let (path, error) = stage.lambda.failure().await;
    assert_eq!(path, "/2018-06-01/runtime/init/error");
    assert_eq!(error["errorType"], "Runtime.BeforeSnapshotError");
    let ended = soon("the extension ends", stage.extension).await.unwrap();
    let message = ended.unwrap_err().to_string();
    assert!(message.contains("POST /before before a snapshot with 2xx: 500"), "{message}");
}

#[tokio::test]
async fn a_copy_whose_app_is_not_well_serves_nobody() {
    let diary = Diary::default();
    let app = app(&diary, StatusCode::SERVICE_UNAVAILABLE).await;
    // The app is told only in the copy.
    let settings = [&SNAP_START[..3], &SNAP_START[4..]].concat();
    let mut stage = Stage::starting(&app, &settings).await;
    stage.lambda.until_stored().await;
    stage.lambda.restore();
    let (path, error) = stage.lambda.failure().await;
    assert_eq!(path, "/2018-06-01/runtime/restore/error");
    assert_eq!(error["errorType"], "Runtime.AfterRestoreError");
    assert!(soon("the extension ends", stage.extension).await.unwrap().is_err());
}

#[tokio::test]
async fn an_environment_that_is_stored_ends_when_it_is_told_to() {
    let app = App::hello().await;
    let mut stage = Stage::starting(&app, &SNAP_START[..1]).await;
    stage.lambda.until_stored().await;
    stage.lambda.shut_down();
    soon("the extension ends", stage.extension).await.unwrap().unwrap();
}
