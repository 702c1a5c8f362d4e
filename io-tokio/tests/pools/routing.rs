//! Who serves what.

use dispatch_model::Limits;
use io_tokio::attach::AttachError;
use io_tokio::edge::EdgeSettings;
use io_tokio::networks::Networks;
use tokio::io::AsyncReadExt;

use crate::stage::{Router, answer, attach, get, soon};

#[tokio::test]
async fn each_request_is_served_by_the_function_of_its_route() {
    let pools = [("one", Limits::default()), ("two", Limits::default())];
    let routes: [crate::stage::Route<'_>; 3] = [
        ("a.example", "", "", &[(1, "one")]),
        ("a.example", "/two", "", &[(1, "two")]),
        ("*.example", "", "", &[(1, "one"), (1, "two"), (0, "one")]),
    ];
    let router = Router::start(&pools, &routes, EdgeSettings::default()).await;
    assert!(router.get("a.example", "/").await.1.starts_with("one "));
    assert!(router.get("a.example:81", "/two/x").await.1.starts_with("two "));
    let mut served = std::collections::BTreeMap::new();
    for _ in 0..40 {
        let (status, body) = router.get("b.example", "/").await;
        assert_eq!(status, 200);
        *served.entry(body.split(' ').next().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert!(served["one"] > 5 && served["two"] > 5, "{served:?}");
}

#[tokio::test]
async fn what_no_route_is_for_is_refused_with_nothing_created() {
    let pools = [("one", Limits::default())];
    let routes: [crate::stage::Route<'_>; 2] =
        [("a.example", "/api", "", &[(1, "one")]), ("", "", "blue", &[(1, "one")])];
    let router = Router::start(&pools, &routes[..1], EdgeSettings::default()).await;
    assert_eq!(router.get("b.example", "/api").await.0, 421);
    assert_eq!(router.get("a.example", "/").await.0, 404);
    let upload = "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 9\r\n\r\n";
    assert_eq!(answer(router.client(upload).await).await.0, 421, "its body is not waited for");
    let (gauges, stats) = router.now("one");
    assert_eq!((gauges.starting, stats.arrived, stats.invokes), (0, 0, 0));
    let reasons: Vec<_> = {
        let log = router.log.0.lock().unwrap();
        log.iter().map(|access| (access.reason, access.pool.clone())).collect()
    };
    assert_eq!(reasons, [("unknown_host", None), ("unknown_path", None), ("unknown_host", None)]);
}

#[tokio::test]
async fn alias_is_heard_from_trusted_proxies_alone_and_never_passed_on() {
    let pools = [("one", Limits::default()), ("two", Limits::default())];
    let routes: [crate::stage::Route<'_>; 2] =
        [("", "", "", &[(1, "one")]), ("", "", "second", &[(1, "two")])];
    let ask = async |router: &Router, alias: &str| {
        let line = format!("X-Which: {alias}\r\n");
        answer(router.client(&get("a", "/", &line)).await).await
    };
    let router = Router::start(&pools, &routes, EdgeSettings::default()).await;
    let (status, body) = ask(&router, "second").await;
    assert!(status == 200 && body.starts_with("two "), "{body}");
    assert!(!body.contains("x-which"), "{body}");
    // Nor is anything else lost for it, whatever a proxy lets pass as hop-by-hop.
    let lines = "X-Which: second\r\nConnection: X-Forwarded-For\r\nX-Forwarded-For: 192.0.2.7\r\n";
    let (_, body) = answer(router.client(&get("a", "/", lines)).await).await;
    assert!(body.contains("192.0.2.7, 127.0.0.1"), "{body}");
    assert_eq!(ask(&router, "third").await.0, 404);
    assert_eq!(ask(&router, "arn:aws:lambda:eu-west-1:123456789012:function:x").await.0, 404);

    let trusted_proxies = Networks::none();
    let edge = EdgeSettings { trusted_proxies, ..EdgeSettings::default() };
    let router = Router::start(&pools, &routes, edge).await;
    for alias in ["second", "third"] {
        let (status, body) = ask(&router, alias).await;
        assert!(status == 200 && body.starts_with("one ") && !body.contains("x-which"), "{body}");
    }
}

#[tokio::test]
async fn instance_serves_the_pool_that_invoked_it_and_no_other() {
    let limits = Limits { instances_min: 1, instances_max: 1, ..Limits::default() };
    let pools = [("idle-a", limits), ("idle-b", limits)];
    let routes: [crate::stage::Route<'_>; 1] = [("", "", "", &[(1, "idle-a")])];
    let router = Router::start(&pools, &routes, EdgeSettings::default()).await;
    let payloads = soon(async {
        loop {
            let payloads = router.functions.payloads.lock().unwrap().clone();
            if payloads.len() == 2 {
                return payloads;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let of = |pool| payloads.iter().find(|it| it.pool_id.as_deref() == Some(pool)).unwrap().clone();
    let (a, b) = (of("idle-a"), of("idle-b"));
    let refused = attach(b.clone(), Some(&a)).await;
    assert!(matches!(refused, Err(AttachError::Refused { status: 401 })), "{refused:?}");
    let mut attached = attach(a.clone(), None).await.unwrap();
    attached.read_u8().await.unwrap();
    router.until("idle-a", |gauges, _| gauges.ready == 1).await;
    assert_eq!(router.now("idle-b").0.ready, 0);
    let twice = attach(a, None).await;
    assert!(matches!(twice, Err(AttachError::Refused { status: 401 })), "{twice:?}");
}
