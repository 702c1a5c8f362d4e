//! The link to the router, when things go wrong on it.

use std::time::Duration;

use h2::Reason;
use http::{Request, Response};
use tokio::sync::watch;

use crate::app::{App, full};
use crate::router::text;
use crate::stage::{Stage, eventually, soon};
use crate::whole_router::{Wire, ask, router};

#[tokio::test]
async fn at_its_leases_end_an_instance_takes_no_more_and_finishes_what_runs() {
    let (release, released) = watch::channel(false);
    let app = App::serving(move |_| {
        let mut released = released.clone();
        async move {
            released.wait_for(|released| *released).await.unwrap();
            Response::new(full("finished"))
        }
    })
    .await;
    let mut stage = Stage::with(&app).await;
    // A quarter of 8 s is the lead.
    let mut link = stage.attach_for(Duration::from_secs(8)).await;
    let running = link.send(Request::get("https://a/").body("").unwrap()).await;
    link.until_goaway().await;
    release.send(true).unwrap();
    let response = soon("what runs is answered", running).await.unwrap();
    assert_eq!(text(response.into_body()).await.unwrap(), "finished");
    link.until_closed().await;
    assert_eq!(stage.lambda.answer().await.reason(), "SelfDeadline");
    app.until_alone().await;
}

#[tokio::test]
async fn a_router_that_needs_no_more_of_an_instance_is_not_taken_for_one_that_broke() {
    let app = App::serving(|_| async { Response::new(full("ok")) }).await;
    let (running, address, mut payloads) = router(Wire::Ours).await;
    let mut stage = Stage::with(&app).await;
    let get = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let asked = tokio::spawn(ask(address, get.to_vec()));
    let payload = soon("the router invokes", payloads.recv()).await.unwrap();
    stage.lambda.invoke(payload, Duration::from_secs(60)).await;
    assert!(asked.await.unwrap().ends_with(b"ok"));
    running.drain(Duration::from_secs(20)).await;
    let answer = stage.lambda.answer().await;
    assert_eq!((answer.reason(), &answer.json["RequestCount"]), ("RouterGoAway", &1.into()));
    app.until_alone().await;
}

#[tokio::test]
async fn what_does_not_finish_by_the_deadline_is_cut() {
    let app = App::serving(|_| async { std::future::pending().await }).await;
    let mut stage = Stage::with(&app).await;
    let mut link = stage.attach_for(Duration::from_secs(1)).await;
    let error = link.get("/").await.unwrap_err();
    assert_ne!(error.reason(), Some(Reason::REFUSED_STREAM), "the app did see it");
    assert_eq!(stage.lambda.answer().await.reason(), "SelfDeadline");
    app.until_alone().await;
}

#[tokio::test]
async fn a_broken_link_ends_the_invoke_and_what_ran_on_it() {
    let app = App::serving(|_| async { std::future::pending().await }).await;
    let mut stage = Stage::with(&app).await;
    let mut link = stage.attach().await;
    let response = link.send(Request::get("https://a/").body("").unwrap()).await;
    eventually("the request has arrived", || app.accepted() == 2).await;
    link.break_off();
    drop(response);
    let answer = stage.lambda.answer().await;
    assert_eq!(answer.reason(), "RouterConnectionError");
    assert_eq!(answer.json["RequestCount"], 1);
    app.until_alone().await;
}

#[tokio::test]
async fn a_crowd_of_vanishing_clients_does_not_break_the_link() {
    let app = App::serving(|request| async move {
        if request.uri() != "/" {
            std::future::pending::<()>().await;
        }
        Response::new(full("still here"))
    })
    .await;
    let mut stage = Stage::with(&app).await;
    let mut link = stage.attach().await;
    for number in 0..1000 {
        let path = format!("https://a/{number}");
        let (response, mut stream) = link.open(Request::get(path).body(()).unwrap()).await;
        stream.send_reset(Reason::CANCEL);
        drop(response);
    }
    assert_eq!(link.text("/").await, (200, "still here".to_owned()));
    link.close().await;
    assert_eq!(stage.lambda.answer().await.reason(), "RouterGoAway");
    app.until_alone().await;
}

#[tokio::test]
async fn an_app_that_is_gone_gives_its_request_back_and_ends_the_environment() {
    let app = App::hello().await;
    let mut stage = Stage::with(&app).await;
    let mut link = stage.attach().await;
    let port = app.stop_listening().await;
    let error = link.get("/").await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM), "{error}");
    let answer = stage.lambda.answer().await;
    assert!(answer.failed);
    assert_eq!(answer.json["errorType"], "Extension.AppConnectionError");
    let ended = soon("the extension ends", stage.extension).await.unwrap();
    assert!(ended.unwrap_err().to_string().contains(&port.to_string()));
}
