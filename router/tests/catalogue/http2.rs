//! B4 of the catalogue, 82, 86 to 88: HTTP/2 that is malformed, as frames.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;

use crate::frames::{
    Came, DATA, END_HEADERS, END_STREAM, Field, HEADERS, Http2, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, block, frame, get, request,
};
use crate::raw_app::{Body, RawApp, contains};
use crate::{SETTINGS as STAGE, is_unharmed};

/// What is sent on the first stream.
pub(crate) struct Malformed {
    /// Its number and name.
    pub(crate) name: &'static str,
    frames: Vec<u8>,
}

impl Malformed {
    /// Plays it; what came of the stream, and what is wrong with that.
    pub(crate) async fn play(&self, address: SocketAddr, app: &RawApp) -> (Came, Option<String>) {
        let mut http2 = Http2::connect(address).await;
        http2.send(&self.frames).await;
        let came = timeout(SILENCE, http2.outcome(1)).await.unwrap_or(Came::Silence);
        let refused = matches!(
            came,
            Came::Status(400..=499) | Came::Reset(PROTOCOL_ERROR) | Came::GoAway(1..) | Came::End
        );
        let arriving = || app.all_seen("malformed").iter().any(|it| it.body == Body::Arriving);
        for _ in 0..200 {
            if !arriving() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let whole = app.take_seen("malformed").iter().any(|it| matches!(it.body, Body::Whole(_)));
        let fault = match (refused, whole) {
            (_, true) => Some("it reached the app as a whole request".to_owned()),
            (false, _) => Some("that is no refusal".to_owned()),
            (true, false) => None,
        };
        (came, fault)
    }
}

/// A request that the fields of `change` make illegal: each takes the place of the one with its
/// name, or comes last; without a value the field is left out.
fn changed(name: &'static str, change: &[(&[u8], Option<&[u8]>)]) -> Malformed {
    let mut fields = get("/malformed");
    for (field, value) in change {
        let place = fields.iter().position(|it| it.0 == *field);
        match (place, value) {
            (Some(place), Some(value)) => fields[place].1 = value,
            (Some(place), None) => drop(fields.remove(place)),
            (None, Some(value)) => fields.push((field, value)),
            (None, None) => panic!("nothing to leave out"),
        }
    }
    Malformed { name, frames: request(1, &fields, true) }
}

/// A request with one more field.
fn with(name: &'static str, field: Field<'_>) -> Malformed {
    let mut fields = get("/malformed");
    fields.push(field);
    Malformed { name, frames: request(1, &fields, true) }
}

fn post(name: &'static str, length: &[u8], rest: &[u8]) -> Malformed {
    let mut fields = get("/malformed");
    fields[0].1 = b"POST";
    if !length.is_empty() {
        fields.push((b"content-length", length));
    }
    let frames = [request(1, &fields, false), rest.to_vec()].concat();
    Malformed { name, frames }
}

pub(crate) fn malformed() -> Vec<Malformed> {
    let mut late = vec![(&b"x-a"[..], &b"1"[..])];
    late.extend(get("/malformed"));
    let trailers = |field: Field<'_>| {
        let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[field]));
        [frame(DATA, 0, 1, b"hello"), trailers].concat()
    };
    vec![
        changed("87a no :method", &[(b":method", None)]),
        changed("87b no :path", &[(b":path", None)]),
        changed("87c no :scheme", &[(b":scheme", None)]),
        with("87d :method twice", (b":method", b"GET")),
        with("87e :path twice", (b":path", b"/malformed")),
        with("87f :authority twice", (b":authority", b"test")),
        Malformed { name: "87g a pseudo header behind a header", frames: request(1, &late, true) },
        with("87h a pseudo header that nobody knows", (b":x", b"1")),
        with("87i :status of a request", (b":status", b"200")),
        with("87j a name in capitals", (b"X-A", b"1")),
        with("87k connection", (b"connection", b"close")),
        with("87l transfer-encoding", (b"transfer-encoding", b"chunked")),
        with("87m keep-alive", (b"keep-alive", b"timeout=5")),
        with("87n upgrade", (b"upgrade", b"websocket")),
        with("87o proxy-connection", (b"proxy-connection", b"close")),
        with("87p te beside trailers", (b"te", b"gzip")),
        with("87q CR LF in a value", (b"x-a", b"1\r\nx-b: 2")),
        with("87r LF in a value", (b"x-a", b"1\n2")),
        with("87s NUL in a value", (b"x-a", b"1\x002")),
        with("87t CR LF in a name", (b"x\r\ny", b"1")),
        with("87u a space in a name", (b"x y", b"1")),
        with("87v a colon in a name", (b"x:y", b"1")),
        with("87w no name", (b"", b"1")),
        changed("87x a space in :method", &[(b":method", Some(b"GET /x"))]),
        changed("87y CR LF in :method", &[(b":method", Some(b"GET\r\nX: y"))]),
        changed("87z CR LF in :path", &[(b":path", Some(b"/malformed HTTP/1.1\r\nX: y\r\n\r\n"))]),
        changed("87aa a space in :path", &[(b":path", Some(b"/malformed x"))]),
        changed("87ab NUL in :path", &[(b":path", Some(b"/malformed\0"))]),
        changed("87ac no bytes in :path", &[(b":path", Some(b""))]),
        changed("87ad no slash in :path", &[(b":path", Some(b"malformed"))]),
        changed("87ae CR LF in :authority", &[(b":authority", Some(b"a\r\nX: y"))]),
        changed("87af a user in :authority", &[(b":authority", Some(b"u@a"))]),
        changed("87ag another :scheme", &[(b":scheme", Some(b"file"))]),
        with("87ah a length and no body", (b"content-length", b"5")),
        post("87ai less than the length", b"5", &frame(DATA, END_STREAM, 1, b"hel")),
        post("87aj more than the length", b"5", &frame(DATA, END_STREAM, 1, b"hello!")),
        post("87ak a length that is a word", b"five", &frame(DATA, END_STREAM, 1, b"hello")),
        post("87al connection in trailers", b"", &trailers((b"connection", b"close"))),
        changed(
            "87an CONNECT",
            &[(b":method", Some(b"CONNECT")), (b":path", None), (b":scheme", None)],
        ),
        changed("87ao TRACE", &[(b":method", Some(b"TRACE"))]),
        with("87ap a length of no digits", (b"content-length", b"")),
        with("87aq a value that begins with a space", (b"x-a", b" 1")),
        with("87ar a value that ends with a tab", (b"x-a", b"1\t")),
        changed("87as no path before a query in :path", &[(b":path", Some(b"?malformed"))]),
        with("88a host that is not :authority", (b"host", b"other")),
        Malformed {
            name: "88b two hosts",
            frames: request(
                1,
                &[&get("/malformed")[..3], &[(b"host", b"a"), (b"host", b"b")]].concat(),
                true,
            ),
        },
        changed("88c nobody to be for", &[(b":authority", None)]),
        with("66b something unknown expected", (b"expect", b"more")),
    ]
}

#[tokio::test]
async fn malformed_requests_are_reset_or_refused_and_never_whole_at_the_app() {
    let (stage, app) = RawApp::stage(STAGE).await;
    assert_eq!(stage.router.get("/first").await.status, 200);
    let mut faults = Vec::new();
    for row in malformed() {
        let (came, fault) = row.play(stage.router.http, &app).await;
        faults.extend(fault.map(|fault| format!("{}: {came:?}: {fault}", row.name)));
        assert!(is_unharmed(&stage).await, "{}: others are harmed", row.name);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test]
async fn frames_that_make_no_sense_end_their_connection_alone() {
    let (stage, _) = RawApp::stage(STAGE).await;
    assert_eq!(stage.router.get("/first").await.status, 200);
    for (name, frames) in [
        ("82a HEADERS on no stream", frame(HEADERS, END_HEADERS, 0, &block(&get("/x")))),
        ("82b HEADERS on a stream of ours", frame(HEADERS, END_HEADERS, 2, &block(&get("/x")))),
        ("82c DATA on a stream that is idle", frame(DATA, 0, 1, b"x")),
        ("82d DATA on no stream", frame(DATA, 0, 0, b"x")),
        ("82e RST_STREAM of a stream that is idle", frame(RST_STREAM, 0, 1, &[0; 4])),
        ("82f a window that grows by nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("82g a window that grows too far", frame(WINDOW_UPDATE, 0, 0, &[0x7f, 255, 255, 255])),
        ("82h a PING of three bytes", frame(PING, 0, 0, &[0; 3])),
        ("82i SETTINGS of five bytes", frame(SETTINGS, 0, 0, &[0; 5])),
        ("82j SETTINGS on a stream", frame(SETTINGS, 0, 1, &[])),
        ("82k a frame of a megabyte", frame(DATA, 0, 1, &vec![0; 1 << 20])),
        ("82l a block that is none", frame(HEADERS, END_HEADERS, 1, &[0xff; 20])),
    ] {
        let mut http2 = Http2::connect(stage.router.http).await;
        http2.send(&frames).await;
        let came = http2.outcome(1).await;
        assert!(matches!(came, Came::GoAway(1..) | Came::End), "{name}: {came:?}");
        assert!(is_unharmed(&stage).await, "{name}: others are harmed");
    }
}

/// Our HTTP/2 library drops them before anybody sees them, so that the request is legal for us.
#[tokio::test]
async fn pseudo_headers_in_trailers_reach_nobody() {
    let (stage, app) = RawApp::stage(STAGE).await;
    let mut http2 = Http2::connect(stage.router.http).await;
    let mut fields = get("/trailers");
    fields[0].1 = b"POST";
    let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[(b":path", b"/evil")]));
    http2.send(&[request(1, &fields, false), frame(DATA, 0, 1, b"hello"), trailers].concat()).await;
    assert_eq!(http2.outcome(1).await, Came::Status(200));
    let seen = app.all_seen("/trailers");
    assert!(matches!(&*seen, [it] if it.body == Body::Whole(b"hello".to_vec())), "{seen:?}");
    assert!(app.seen("/evil").is_none());
}

/// Others may take both for one, which is why it is no row.
#[tokio::test]
async fn length_that_is_said_twice_is_refused() {
    let (stage, app) = RawApp::stage(STAGE).await;
    let mut http2 = Http2::connect(stage.router.http).await;
    let mut fields = get("/twice");
    fields[0].1 = b"POST";
    fields.extend([(&b"content-length"[..], &b"5"[..]); 2]);
    http2.send(&[request(1, &fields, false), frame(DATA, END_STREAM, 1, b"hello")].concat()).await;
    assert_eq!(http2.outcome(1).await, Came::Status(400));
    assert!(app.seen("/twice").is_none());
}

/// So browsers send a cookie of many pairs.
#[tokio::test]
async fn many_crumbs_of_a_cookie_reach_the_app_as_one_line() {
    let (stage, app) = RawApp::stage(STAGE).await;
    let mut http2 = Http2::connect(stage.router.http).await;
    let crumbs: Vec<_> = (0..120).map(|number| format!("c{number}=1")).collect();
    let mut fields = get("/crumbs");
    fields.extend(crumbs.iter().map(|crumb| (&b"cookie"[..], crumb.as_bytes())));
    http2.send(&request(1, &fields, true)).await;
    assert_eq!(http2.outcome(1).await, Came::Status(200));
    let head = app.seen("/crumbs").unwrap().head;
    assert!(contains(&head, format!("cookie: {}\r\n", crumbs.join("; ")).as_bytes()));
}

#[tokio::test]
async fn frames_that_nobody_knows_are_passed_over() {
    let (stage, _) = RawApp::stage(STAGE).await;
    let mut http2 = Http2::connect(stage.router.http).await;
    http2.send(&frame(0xfa, 0xff, 0, b"noise")).await;
    http2.send(&request(1, &get("/known"), true)).await;
    assert_eq!(http2.outcome(1).await, Came::Status(200));
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused_and_the_others_served() {
    let (stage, app) = RawApp::stage(&[STAGE, &["limits.streams=5"]].concat()).await;
    assert_eq!(stage.router.get("/first").await.status, 200);
    let mut http2 = Http2::connect(stage.router.http).await;
    // So that it knows the limit, and is to be held to it.
    while http2.next().await.unwrap().kind != SETTINGS {}
    http2.send(&frame(SETTINGS, 1, 0, &[])).await;
    for stream in 0..6 {
        http2.send(&request(stream * 2 + 1, &get("/hang"), true)).await;
    }
    assert_eq!(http2.outcome(11).await, Came::Reset(REFUSED_STREAM));
    crate::stage::until("five hang", async || app.all_seen("/hang").len() == 5).await;
    assert!(is_unharmed(&stage).await);
}

/// Longer than any proxy takes to refuse, where it does.
const SILENCE: Duration = Duration::from_secs(5);
const PROTOCOL_ERROR: u32 = 1;
const REFUSED_STREAM: u32 = 7;
