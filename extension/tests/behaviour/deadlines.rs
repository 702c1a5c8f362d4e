//! Lambda's deadlines, which are moments of a wall clock, and what is made of those that cannot be
//! one.

use std::time::{Duration, UNIX_EPOCH};

use io_tokio::clock::Clock;

use crate::app::App;
use crate::stage::{Stage, soon};

/// So many milliseconds from now, as Lambda says it.
fn in_ms(ahead: i64) -> String {
    let now = Clock::start().wall().duration_since(UNIX_EPOCH).unwrap();
    (i64::try_from(now.as_millis()).unwrap() + ahead).to_string()
}

impl Stage {
    /// What lease is promised for an invoke with this deadline.
    async fn lease(&mut self, deadline_ms: Option<&str>) -> Duration {
        let payload = self.router.payload();
        self.lambda.invoke_until(payload.to_json(), deadline_ms).await;
        let link = self.router.accept().await;
        let lease = link.claim.lease;
        link.close().await;
        self.lambda.answer().await;
        lease
    }
}

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const YEAR: i64 = 365 * 24 * 60 * MINUTE;

#[tokio::test]
async fn a_deadline_that_cannot_be_one_gives_the_usual_lease() {
    let app = App::hello().await;
    let mut stage = Stage::with(&app).await;
    let a_minute = Duration::from_millis(59_500);
    assert_eq!(stage.lease(None).await, a_minute, "nothing is known yet");
    let known = stage.lease(Some(&in_ms(5 * MINUTE))).await;
    let (most, least) = (Duration::from_millis(299_500), Duration::from_secs(280));
    assert!((least..=most).contains(&known), "{known:?}");
    let absurd = [
        None,
        Some("0".to_owned()),
        Some("-1".to_owned()),
        Some("soon".to_owned()),
        Some(String::new()),
        Some(u64::MAX.to_string()),
        Some(format!("{}0", u64::MAX)),
        Some(in_ms(-1)),
        Some(in_ms(-10 * YEAR)),
        Some(in_ms(10 * YEAR)),
        Some(in_ms(90 * MINUTE)),
    ];
    for deadline in absurd {
        let lease = stage.lease(deadline.as_deref()).await;
        // What is left of a deadline is measured anew each time, and only whole ones are kept.
        assert!(
            (known - Duration::from_secs(1)..=most).contains(&lease),
            "{deadline:?}: {lease:?}"
        );
    }
}

#[tokio::test]
async fn a_managed_instance_may_have_an_hour_and_a_half() {
    let app = App::hello().await;
    let kind = [("AWS_LAMBDA_INITIALIZATION_TYPE", "lambda-managed-instances")];
    let mut stage = Stage::with_settings(&app, &kind).await;
    let lease = stage.lease(Some(&in_ms(90 * MINUTE))).await;
    assert!(lease > Duration::from_secs(89 * 60), "{lease:?}");
}

/// The original asks to be let go at its first tick, before it has served anybody.
#[tokio::test]
async fn a_function_with_a_time_out_of_five_seconds_serves_for_most_of_them() {
    let app = App::hello().await;
    let mut stage = Stage::with(&app).await;
    let mut link = stage.attach_for(Duration::from_secs(5)).await;
    assert!(link.claim.lease > Duration::from_secs(2), "{:?}", link.claim.lease);
    let mut served = 0;
    while let Ok(answer) = link.try_send(http::Request::get("https://a/").body(()).unwrap()).await {
        // What crosses the goaway is given back.
        match soon("an answer comes", answer).await {
            Ok(answer) => assert_eq!(answer.status(), 200),
            Err(_) => break,
        }
        served += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = stage.lambda.answer().await;
    assert_eq!(answer.reason(), "SelfDeadline");
    assert_eq!(answer.json["RequestCount"], served);
    let took = answer.json["InvokeDuration"].as_u64().unwrap();
    assert!(took >= 3_000, "it left after {took} ms");
    assert!(served > 10, "{served} requests in {took} ms");
}
