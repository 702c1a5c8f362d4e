//! The catalogue of hostile and faulty inputs at the client's edge, each with the bytes themselves,
//! against the real program.
//!
//! Inputs that are one exchange are rows of a table: what is sent, what may come of it. The same
//! rows are played against other proxies by `bench/conformance/run`, which writes
//! `bench/conformance.md`.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a failure, which is what is wanted")]

mod answer_rows;
#[path = "../serve/client.rs"]
#[expect(dead_code, reason = "shared with the tests of `serve`")]
mod client;
mod conformance;
mod floods;
mod frames;
mod framing_rows;
mod head_rows;
mod http2;
mod play;
#[path = "../serve/raw_app.rs"]
mod raw_app;
mod row;
mod slow;
#[path = "../serve/stage.rs"]
#[expect(dead_code, reason = "shared with the tests of `serve`")]
mod stage;

use crate::client::Client;
use crate::play::play;
use crate::raw_app::RawApp;
use crate::row::{May, Row};
use crate::stage::{PATIENCE, Stage};

/// One instance that stays, so that its end would show; and nobody is trusted.
const SETTINGS: &[&str] = &[
    "pool.linger=10m",
    "pool.instances_max=1",
    "pool.placement_margin=1s",
    "listen.trusted_proxies=none",
];

/// Plays rows. After each another client is served, by the one instance that there ever was; and
/// what was refused is noted.
async fn hold(rows: &[Row]) {
    let (stage, app) = RawApp::stage(SETTINGS).await;
    assert_eq!(stage.router.get("/first").await.status, 200);
    let mut faults = Vec::new();
    for row in rows {
        let before = refused(&stage).await;
        let outcome = play(row, stage.router.http, &app, PATIENCE).await;
        let answered = outcome.statuses.first().copied();
        let fault = outcome.fault(row).or_else(|| {
            let differs = answered != Some(row.status);
            differs.then(|| format!("{answered:?} and not {}", row.status))
        });
        let fault = fault.or_else(|| (!outcome.closed).then(|| "it stays open".into()));
        let noted = refused(&stage).await - before;
        let is_refused = matches!(row.may, May::Refuse | May::RefuseOrPass(_)) && row.status >= 400;
        let fault = fault.or_else(|| {
            (is_refused && noted != 1).then(|| format!("{noted} refusals are noted for one"))
        });
        if let Some(fault) = fault {
            faults.push(format!("{} {}: {fault}", row.number, row.name));
        }
        assert!(is_unharmed(&stage).await, "{} {}: others are harmed", row.number, row.name);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// How many requests the router counts as refused for what they were.
async fn refused(stage: &Stage) -> u32 {
    let page = Client::connect(stage.router.admin).await.get("/metrics").await.unwrap().text();
    let series = page.lines().filter(|line| line.starts_with("dispatch_requests_total{"));
    let refused = series.filter(|line| line.contains("reason=\"bad_request\""));
    refused.map(|line| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap()).sum()
}

/// The instance that served the first request is the only one there ever was, and serves.
async fn is_unharmed(stage: &Stage) -> bool {
    let answer = stage.router.get("/after").await;
    answer.status == 200 && stage.router.metric("dispatch_invokes_total").await == 1.0
}

#[tokio::test]
async fn messages_have_one_beginning_and_one_end() {
    hold(&framing_rows::rows()).await;
}

#[tokio::test]
async fn heads_are_refused_or_reach_the_app_as_they_are() {
    hold(&head_rows::rows()).await;
}

#[tokio::test]
async fn apps_that_break_are_answered_for_and_their_instance_lives_on() {
    hold(&answer_rows::rows()).await;
}
