//! What is wrong with one request and concerns no other, and what is not wrong at all.

use http::{Method, Request};
use io_tokio::http2::{By, Config, Error, Reason};
use tokio::io::duplex;

use crate::bodies::read;
use crate::raw::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GET, HEADERS, PADDED, POST, PREFACE,
    PRIORITY, Peer, RST_STREAM, WITH_PRIORITY, block, data, fields, frame, head, reset, settings,
    window_update,
};
use crate::stage::{CONFIG, PIPE_BYTES, Server, client, server};

type Fields<'a> = Vec<(&'a str, &'a str)>;

fn with<'a>(fields: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Fields<'a> {
    [fields, more].concat()
}

/// A server that gets `frames` on stream 3 resets it with `reason`, while stream 1 goes on.
async fn resets_one(name: &str, reason: Reason, frames: &[u8]) {
    let (mut peer, server) = server(CONFIG).await;
    let _end = server.echo();
    peer.send(&head(1, 0, &POST)).await;
    peer.send(frames).await;
    let reset = peer.find(RST_STREAM).await;
    assert_eq!((reset.stream, reset.reason()), (3, reason), "{name}");
    peer.send(&data(1, END_STREAM, b"alive")).await;
    let response = peer.find(HEADERS).await;
    assert_eq!(response.stream, 1, "{name}");
    assert_eq!(peer.find(DATA).await.payload, b"alive", "{name}");
}

#[tokio::test]
async fn a_malformed_head_resets_its_stream_and_no_other() {
    let connect = |more: &[(&'static str, &'static str)]| with(&[(":method", "CONNECT")], more);
    let cases: Vec<(&str, Fields<'_>)> = vec![
        ("capital letters", with(&GET, &[("X-Thing", "a")])),
        ("a name that is none", with(&GET, &[("x thing", "a")])),
        ("a value that is none", with(&GET, &[("x-thing", "a\0")])),
        ("no method", GET[1..].to_vec()),
        ("no scheme", with(&GET[..1], &GET[2..])),
        ("no path", GET[..2].to_vec()),
        ("an empty path", with(&GET[..2], &[(":path", "")])),
        ("a path that is none", with(&GET[..2], &[(":path", "/ /")])),
        ("two methods", with(&GET, &GET[..1])),
        ("two paths", with(&GET, &GET[2..])),
        ("a pseudo field after a header", with(&[("x-thing", "a")], &GET)),
        ("an unknown pseudo field", with(&GET, &[(":thing", "a")])),
        ("a status", with(&GET, &[(":status", "200")])),
        ("an authority that is none", with(&GET, &[(":authority", "a b")])),
        ("connection", with(&GET, &[("connection", "close")])),
        ("keep-alive", with(&GET, &[("keep-alive", "1")])),
        ("proxy-connection", with(&GET, &[("proxy-connection", "close")])),
        ("transfer-encoding", with(&GET, &[("transfer-encoding", "chunked")])),
        ("upgrade", with(&GET, &[("upgrade", "websocket")])),
        ("te", with(&GET, &[("te", "gzip")])),
        ("a protocol without CONNECT", with(&GET, &[(":protocol", "websocket")])),
        ("CONNECT with a path", connect(&[(":authority", "a:1"), (":path", "/")])),
        ("a protocol without a path", connect(&[(":protocol", "a"), (":scheme", "http")])),
        ("a length that is none", with(&GET, &[("content-length", "+0")])),
        ("no length", with(&GET, &[("content-length", "")])),
        ("two lengths", with(&GET, &[("content-length", "0"), ("content-length", "1")])),
        ("a length without a body", with(&GET, &[("content-length", "1")])),
    ];
    for (name, fields) in cases {
        resets_one(name, Reason::PROTOCOL_ERROR, &head(3, END_STREAM, &fields)).await;
    }
}

#[tokio::test]
async fn a_body_that_does_not_add_up_resets_its_stream_and_no_other() {
    let wrong = Reason::PROTOCOL_ERROR;
    let declared = |length| head(3, 0, &with(&POST, &[("content-length", length)]));
    let cases = [
        ("too short", declared("4"), data(3, END_STREAM, b"abc")),
        ("too long", declared("2"), data(3, END_STREAM, b"abc")),
        ("too long before its end", declared("2"), data(3, 0, b"abc")),
        ("too short before trailers", declared("4"), head(3, END_STREAM, &[("x-sum", "1")])),
        ("too short with an empty end", declared("4"), data(3, END_STREAM, b"")),
        ("trailers that are not the end", declared("0"), head(3, 0, &[("x-sum", "1")])),
        ("trailers with a pseudo field", declared("0"), head(3, END_STREAM, &GET)),
        ("trailers with capital letters", declared("0"), head(3, END_STREAM, &[("X", "1")])),
    ];
    for (name, opening, rest) in cases {
        resets_one(name, wrong, &[opening, rest].concat()).await;
    }
}

#[tokio::test]
async fn frames_that_break_the_rules_of_a_stream_reset_it_and_no_other() {
    let closed = Reason::STREAM_CLOSED;
    let whole = || head(3, END_STREAM, &GET);
    let open = || head(3, 0, &POST);
    let most = window_update(3, (1 << 31) - 1);
    // What a stream may receive, and one byte more.
    let flood = [data(3, 0, &[0; 16_384]).repeat(8), data(3, 0, b"a")].concat();
    for (name, reason, frames) in [
        ("data after the end", closed, [whole(), data(3, 0, b"a")].concat()),
        ("a head after the end", closed, [whole(), head(3, END_STREAM, &GET)].concat()),
        ("a window of 0", Reason::PROTOCOL_ERROR, [open(), window_update(3, 0)].concat()),
        ("a window too large", Reason::FLOW_CONTROL_ERROR, [open(), most].concat()),
        ("more than its window", Reason::FLOW_CONTROL_ERROR, [open(), flood].concat()),
    ] {
        resets_one(name, reason, &frames).await;
    }
}

#[tokio::test]
async fn a_head_too_long_is_answered_and_the_connection_lives() {
    for ends in [true, false] {
        let (mut peer, server) = server(CONFIG).await;
        let _end = server.echo();
        let long = "a".repeat(17_000);
        let block = block(&with(&GET, &[("x-long", &long)]));
        let (first, rest) = block.split_at(16_000);
        let flags = if ends { END_STREAM } else { 0 };
        peer.send(&frame(HEADERS, flags, 1, first)).await;
        peer.send(&frame(CONTINUATION, END_HEADERS, 1, rest)).await;
        let response = peer.find(HEADERS).await;
        assert_eq!((response.stream, response.has(END_STREAM)), (1, true));
        assert_eq!(fields(&response.payload)[0].value.as_deref(), Some("431"));
        if !ends {
            let reset = peer.find(RST_STREAM).await;
            assert_eq!((reset.stream, reset.reason()), (1, Reason::NO_ERROR));
            peer.send(&data(1, END_STREAM, b"what it was about to say")).await;
        }
        peer.send(&head(3, END_STREAM, &GET)).await;
        assert_eq!(peer.find(HEADERS).await.stream, 3);
    }
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused_until_one_ends() {
    let (mut peer, mut server) = server(Config { streams_max: 2, ..CONFIG }).await;
    for stream in [1, 3, 5] {
        peer.send(&head(stream, END_STREAM, &GET)).await;
    }
    let refused = peer.find(RST_STREAM).await;
    assert_eq!((refused.stream, refused.reason()), (5, Reason::REFUSED_STREAM));
    let (_, respond) = server.next().await;
    drop(respond.send_response(&http::Response::new(()), true).unwrap());
    assert_eq!(peer.find(HEADERS).await.stream, 1);
    peer.send(&head(7, END_STREAM, &GET)).await;
    assert!(peer.until_quiet().await.is_empty(), "it is not refused");
    server.next().await;
    server.next().await;
}

/// A server answers `frames` with `body` on stream 1.
async fn is_answered(name: &str, frames: &[u8], body: &[u8]) {
    let (mut peer, server) = server(CONFIG).await;
    let _end = server.echo();
    peer.send(frames).await;
    let response = peer.find(HEADERS).await;
    assert_eq!(response.stream, 1, "{name}");
    assert_eq!(fields(&response.payload)[0].value.as_deref(), Some("200"), "{name}");
    let mut came = Vec::new();
    loop {
        let frame = peer.next().await.unwrap();
        assert!(frame.kind == DATA && frame.stream == 1, "{name}: {frame:?}");
        came.extend_from_slice(&frame.payload);
        if frame.has(END_STREAM) {
            break;
        }
    }
    assert_eq!(came, body, "{name}");
}

#[tokio::test]
async fn what_is_unusual_and_allowed_is_answered() {
    let posted = |frames: &[Vec<u8>]| [head(1, 0, &POST), frames.concat()].concat();
    let get = |more: &[(&'static str, &'static str)]| head(1, END_STREAM, &with(&GET, more));
    let padded = [&[4][..], &block(&GET), &[0; 4]].concat();
    let urgent = [&[0x80, 0, 0, 0, 7][..], &block(&GET)].concat();
    let both = [&[2, 0, 0, 0, 0, 7][..], &block(&GET), &[0; 2]].concat();
    let ends = END_HEADERS | END_STREAM;
    let whole = data(1, END_STREAM, b"abc");
    let padding_alone = frame(DATA, PADDED, 1, &[3, 0, 0, 0]);
    let length = [("content-length", "3")];
    for (name, frames, body) in [
        ("padded data", posted(&[frame(DATA, PADDED | 1, 1, b"\x02abc\0\0")]), &b"abc"[..]),
        ("padding alone", posted(&[padding_alone, whole.clone()]), b"abc"),
        ("a padded head", frame(HEADERS, ends | PADDED, 1, &padded), b""),
        ("a priority in a head", frame(HEADERS, ends | WITH_PRIORITY, 1, &urgent), b""),
        ("both", frame(HEADERS, ends | PADDED | WITH_PRIORITY, 1, &both), b""),
        ("a priority", posted(&[frame(PRIORITY, 0, 1, &[0; 5]), whole.clone()]), b"abc"),
        ("a priority of nothing", posted(&[frame(PRIORITY, 0, 9, &[0; 5]), whole.clone()]), b"abc"),
        ("an unknown frame", posted(&[frame(99, 255, 1, b"?"), whole.clone()]), b"abc"),
        ("an unknown frame on none", posted(&[frame(99, 255, 0, b"?"), whole.clone()]), b"abc"),
        ("an unknown setting", posted(&[settings(&[(99, 1)]), whole.clone()]), b"abc"),
        ("the reserved bit", posted(&[data(1 | 1 << 31, END_STREAM, b"abc")]), b"abc"),
        ("te", get(&[("te", "trailers")]), b""),
        ("a length of 0", get(&[("content-length", "0")]), b""),
        ("a length", head(1, 0, &with(&POST, &length)).into_iter().chain(whole).collect(), b"abc"),
        ("a length said twice", get(&[("content-length", "0"), ("content-length", "0")]), b""),
        ("an authority", get(&[]), b""),
        (
            "OPTIONS of all",
            head(1, 1, &with(&[(":method", "OPTIONS"), (":path", "*")], &GET[1..2])),
            b"",
        ),
        ("CONNECT", head(1, 1, &[(":method", "CONNECT"), (":authority", "a:1")]), b""),
    ] {
        is_answered(name, &frames, body).await;
    }
}

#[tokio::test]
async fn frames_on_streams_that_have_ended_say_nothing() {
    let (mut peer, server) = server(CONFIG).await;
    let _end = server.echo();
    peer.send(&head(5, END_STREAM, &GET)).await;
    while !peer.next().await.unwrap().has(END_STREAM) {}
    peer.until_quiet().await;
    for stream in [5, 3] {
        peer.send(&data(stream, 0, b"late")).await;
        peer.send(&window_update(stream, 1)).await;
        peer.send(&window_update(stream, 0)).await;
        peer.send(&reset(stream, Reason::CANCEL)).await;
        peer.send(&head(stream, END_STREAM, &[("x-late", "1")])).await;
    }
    assert_eq!(peer.until_quiet().await, []);
    peer.send(&head(7, END_STREAM, &GET)).await;
    assert_eq!(peer.find(HEADERS).await.stream, 7);
}

/// What is said of a stream in answer to a conversation that arrives in such pieces.
async fn conversation(piece: usize) -> Vec<Frame> {
    let (near, far) = duplex(PIPE_BYTES);
    let mut peer = Peer::new(near);
    let _end = Server::new(far, CONFIG).echo();
    let block = block(&with(&POST, &[("x-thing", "a value"), ("content-length", "6")]));
    let (first, rest) = block.split_at(20);
    let frames = [
        PREFACE.to_vec(),
        settings(&[]),
        frame(HEADERS, PADDED, 1, &[&[1], first, &[0]].concat()),
        frame(CONTINUATION, 0, 1, &rest[..5]),
        frame(CONTINUATION, END_HEADERS, 1, &rest[5..]),
        data(1, 0, b"abc"),
        frame(DATA, PADDED, 1, b"\x01def\0"),
        head(1, END_STREAM, &[("x-sum", "42")]),
    ];
    for piece in frames.concat().chunks(piece) {
        peer.send(piece).await;
        // The server's turn.
        tokio::task::yield_now().await;
    }
    let mut answer = Vec::new();
    while answer.len() < 3 {
        let frame = peer.next().await.unwrap();
        answer.extend(Some(frame).filter(|frame| frame.stream == 1));
    }
    answer
}

#[tokio::test]
async fn what_comes_byte_by_byte_says_the_same() {
    let whole = conversation(usize::MAX).await;
    assert_eq!(whole.iter().map(|frame| frame.kind).collect::<Vec<_>>(), [HEADERS, DATA, HEADERS]);
    assert_eq!(whole[1].payload, b"abcdef");
    assert_eq!(fields(&whole[2].payload)[0].value.as_deref(), Some("42"));
    for piece in [1, 2, 7, 10] {
        assert_eq!(conversation(piece).await, whole);
    }
}

/// What a client takes for the response in `frames`: its status, body and sum.
async fn taken(method: Method, frames: &[u8], piece: usize) -> Result<(u16, Vec<u8>), Error> {
    let (mut peer, opener, _end) = client(CONFIG, &[]).await;
    let mut request = Request::new(());
    *request.method_mut() = method;
    let (awaited, _sending) = opener.open(&request, true).unwrap();
    peer.find(HEADERS).await;
    let reading = tokio::spawn(async move {
        let response = awaited.response().await?;
        let status = response.status().as_u16();
        let (body, _) = read(response.into_body()).await?;
        Ok((status, body))
    });
    for piece in frames.chunks(piece) {
        peer.send(piece).await;
        tokio::task::yield_now().await;
    }
    let taken = reading.await.unwrap();
    let is_reset = peer.until_quiet().await.iter().any(|frame| frame.kind == RST_STREAM);
    assert_eq!(is_reset, taken.is_err());
    taken
}

#[tokio::test]
async fn a_response_is_what_its_frames_say_however_they_come() {
    let ok = |more: &[(&'static str, &'static str)]| with(&[(":status", "200")], more);
    let whole = [head(1, 0, &ok(&[("content-length", "3")])), data(1, END_STREAM, b"abc")].concat();
    let interim = [head(1, 0, &[(":status", "103")]), whole.clone()].concat();
    let trailers =
        [head(1, 0, &ok(&[])), data(1, 0, b"abc"), head(1, 1, &[("x-sum", "1")])].concat();
    for frames in [whole, interim, trailers] {
        for piece in [frames.len(), 1] {
            let taken = taken(Method::GET, &frames, piece).await.unwrap();
            assert_eq!(taken, (200, b"abc".to_vec()));
        }
    }
    let of_another = head(1, END_STREAM, &ok(&[("content-length", "3")]));
    assert_eq!(taken(Method::HEAD, &of_another, 99).await.unwrap(), (200, Vec::new()));
    let unchanged = head(1, END_STREAM, &[(":status", "304"), ("content-length", "3")]);
    assert_eq!(taken(Method::GET, &unchanged, 99).await.unwrap(), (304, Vec::new()));
    let none = head(1, END_STREAM, &[(":status", "204")]);
    assert_eq!(taken(Method::GET, &none, 99).await.unwrap(), (204, Vec::new()));
}

#[tokio::test]
async fn a_malformed_response_resets_its_stream() {
    let ok = |more: &[(&'static str, &'static str)]| with(&[(":status", "200")], more);
    let long = "a".repeat(16_300);
    let too_long = with(&[(":status", "200")], &[("x-long", &long), ("x-more", "and more")]);
    let of_another = [head(1, 0, &ok(&[])), data(1, END_STREAM, b"abc")].concat();
    let declared = |length| head(1, 0, &ok(&[("content-length", length)]));
    for (name, method, frames) in [
        ("no status", Method::GET, head(1, END_STREAM, &[("x-thing", "a")])),
        ("a status that is none", Method::GET, head(1, END_STREAM, &[(":status", "2000")])),
        ("two of them", Method::GET, head(1, END_STREAM, &ok(&[(":status", "200")]))),
        ("a request", Method::GET, head(1, END_STREAM, &GET)),
        ("capital letters", Method::GET, head(1, END_STREAM, &ok(&[("X-Thing", "a")]))),
        ("connection", Method::GET, head(1, END_STREAM, &ok(&[("connection", "close")]))),
        ("1xx as the end", Method::GET, head(1, END_STREAM, &[(":status", "103")])),
        ("data before a head", Method::GET, data(1, END_STREAM, b"abc")),
        ("no body of a length", Method::GET, head(1, END_STREAM, &ok(&[("content-length", "3")]))),
        ("too little", Method::GET, [declared("4"), data(1, END_STREAM, b"abc")].concat()),
        ("too much", Method::GET, [declared("2"), data(1, END_STREAM, b"abc")].concat()),
        ("a body for HEAD", Method::HEAD, of_another),
        ("two responses", Method::GET, [head(1, 0, &ok(&[])), head(1, 1, &ok(&[]))].concat()),
        ("too long", Method::GET, head(1, END_STREAM, &too_long)),
    ] {
        let error = taken(method, &frames, 99_999).await.expect_err(name);
        let expected = Reason::PROTOCOL_ERROR;
        let is_ours = matches!(error, Error::Reset { reason, by: By::Us } if reason == expected);
        assert!(is_ours, "{name}: {error:?}");
    }
}
