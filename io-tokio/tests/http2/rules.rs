//! What ends a connection: frames after which nobody knows where it is at.

use http::Request;
use io_tokio::http2::{By, Config, Error, Reason};
use tokio::io::duplex;

use crate::raw::{
    ACK, CONTINUATION, DATA, ENABLE_CONNECT_PROTOCOL, ENABLE_PUSH, END_HEADERS, END_STREAM, Frame,
    GET, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, PADDED, PING, POST, PREFACE,
    PUSH_PROMISE, Peer, RST_STREAM, SETTINGS, WINDOW_UPDATE, WITH_PRIORITY, block, data, frame,
    head, reset, settings, string, window_update,
};
use crate::stage::{CONFIG, PIPE_BYTES, Server, client, ended};

type Case = (&'static str, Reason, Vec<u8>);

const ID_MAX: u32 = (1 << 31) - 1;

/// A server that gets `bytes` says goaway with `reason`, and ends.
async fn ends_server((name, reason, bytes): Case) {
    let (near, far) = duplex(PIPE_BYTES);
    let mut peer = Peer::new(near);
    let config = Config { connection_window: 65_535, ..CONFIG };
    let end = Server::new(far, config).echo();
    peer.send(&bytes).await;
    let frames = peer.rest().await;
    let Some(last) = frames.last().filter(|frame| frame.kind == GOAWAY) else {
        panic!("{name}: no goaway at the end of {frames:?}");
    };
    assert_eq!(last.reason(), reason, "{name}");
    let error = ended(end).await.expect_err(name);
    let is_ours = matches!(error, Error::GoAway { reason: r, by: By::Us } if r == reason);
    assert!(is_ours, "{name}: {error:?}");
}

/// After the preface and first SETTINGS.
fn begun(name: &'static str, reason: Reason, bytes: &[u8]) -> Case {
    (name, reason, [PREFACE, &settings(&[]), bytes].concat())
}

#[tokio::test]
async fn a_connection_begins_as_it_must_or_ends() {
    let early = |bytes: &[u8]| [PREFACE, bytes].concat();
    let mut late = PREFACE.to_vec();
    late[23] = b'!';
    let cases: Vec<Case> = vec![
        ("HTTP/1", Reason::PROTOCOL_ERROR, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()),
        ("a preface that goes wrong at its end", Reason::PROTOCOL_ERROR, late),
        ("a ping first", Reason::PROTOCOL_ERROR, early(&frame(PING, 0, 0, &[0; 8]))),
        ("a request first", Reason::PROTOCOL_ERROR, early(&head(1, END_STREAM, &GET))),
        ("an acknowledgement first", Reason::PROTOCOL_ERROR, early(&frame(SETTINGS, ACK, 0, &[]))),
    ];
    for case in cases {
        ends_server(case).await;
    }
}

#[tokio::test]
async fn frames_of_a_wrong_size_end_a_connection() {
    let size = Reason::FRAME_SIZE_ERROR;
    for case in [
        begun("larger than allowed", size, &frame(DATA, 0, 1, &[0; 16_385])),
        begun("a head larger than allowed", size, &frame(HEADERS, 0, 1, &[0; 16_385])),
        begun("an unknown kind larger than allowed", size, &frame(77, 0, 0, &[0; 16_385])),
        begun("half a setting", size, &frame(SETTINGS, 0, 0, &[0; 5])),
        begun("an acknowledgement that says something", size, &frame(SETTINGS, ACK, 0, &[0; 6])),
        begun("a short ping", size, &frame(PING, 0, 0, &[0; 7])),
        begun("a long ping", size, &frame(PING, 0, 0, &[0; 9])),
        begun("a short window update", size, &frame(WINDOW_UPDATE, 0, 0, &[0; 3])),
        begun("a long reset", size, &frame(RST_STREAM, 0, 1, &[0; 5])),
        begun("a short goaway", size, &frame(GOAWAY, 0, 0, &[0; 7])),
        begun(
            "a priority that is not there",
            size,
            &frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, &[0; 4]),
        ),
    ] {
        ends_server(case).await;
    }
}

#[tokio::test]
async fn frames_on_streams_that_they_cannot_be_on_end_a_connection() {
    let wrong = Reason::PROTOCOL_ERROR;
    for case in [
        begun("data on none", wrong, &data(0, 0, b"a")),
        begun("a head on none", wrong, &head(0, 0, &GET)),
        begun("a head on an even one", wrong, &head(2, END_STREAM, &GET)),
        begun("data on an idle one", wrong, &data(1, 0, b"a")),
        begun(
            "data on an idle one after others",
            wrong,
            &[head(1, 1, &GET), data(3, 0, b"a")].concat(),
        ),
        begun("a reset of none", wrong, &reset(0, Reason::CANCEL)),
        begun("a reset of an idle one", wrong, &reset(1, Reason::CANCEL)),
        begun("a window update on an idle one", wrong, &window_update(1, 1)),
        begun("settings on a stream", wrong, &frame(SETTINGS, 0, 1, &[])),
        begun("a ping on a stream", wrong, &frame(PING, 0, 1, &[0; 8])),
        begun("goaway on a stream", wrong, &frame(GOAWAY, 0, 1, &[0; 8])),
        begun("a push", wrong, &frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])),
    ] {
        ends_server(case).await;
    }
}

#[tokio::test]
async fn a_head_in_pieces_is_interrupted_by_nothing_and_has_an_end() {
    let (wrong, calm) = (Reason::PROTOCOL_ERROR, Reason::ENHANCE_YOUR_CALM);
    let half = || frame(HEADERS, END_STREAM, 1, &block(&GET));
    let more = |bytes: &[u8]| frame(CONTINUATION, 0, 1, bytes);
    let after = |bytes: &[u8]| [half(), bytes.to_vec()].concat();
    let opened = || head(1, 0, &POST);
    for case in [
        begun("a ping between", wrong, &after(&frame(PING, 0, 0, &[0; 8]))),
        begun("an unknown frame between", wrong, &after(&frame(77, 0, 0, &[]))),
        begun("data between", wrong, &after(&data(1, 0, b"a"))),
        begun("another head between", wrong, &after(&head(3, END_STREAM, &GET))),
        begun("another's rest", wrong, &after(&frame(CONTINUATION, END_HEADERS, 3, &[]))),
        begun("a rest of nothing", wrong, &frame(CONTINUATION, END_HEADERS, 1, &[])),
        begun(
            "a rest of a whole head",
            wrong,
            &[opened(), frame(CONTINUATION, END_HEADERS, 1, &[])].concat(),
        ),
        begun("too many pieces", calm, &after(&more(&[]).repeat(100))),
        begun("too much of it", calm, &after(&more(&[0; 16_384]).repeat(5))),
    ] {
        ends_server(case).await;
    }
}

#[tokio::test]
async fn settings_and_windows_that_cannot_be_end_a_connection() {
    let (wrong, flow) = (Reason::PROTOCOL_ERROR, Reason::FLOW_CONTROL_ERROR);
    let opened = || head(1, 0, &POST);
    let larger = settings(&[(INITIAL_WINDOW_SIZE, 65_536)]);
    for case in [
        begun("a window too large", flow, &settings(&[(INITIAL_WINDOW_SIZE, ID_MAX + 1)])),
        begun("frames too small", wrong, &settings(&[(MAX_FRAME_SIZE, 16_383)])),
        begun("frames too large", wrong, &settings(&[(MAX_FRAME_SIZE, 1 << 24)])),
        begun("a window that grows by nothing", wrong, &window_update(0, 0)),
        begun("a window that grows too large", flow, &window_update(0, ID_MAX - 65_534)),
        begun(
            "a stream's window that grows too large with all others",
            flow,
            &[opened(), window_update(1, ID_MAX - 65_535), larger].concat(),
        ),
        begun(
            "more data than allowed",
            flow,
            &[opened(), data(1, 0, &[0; 16_384]).repeat(5)].concat(),
        ),
    ] {
        ends_server(case).await;
    }
}

#[tokio::test]
async fn padding_longer_than_its_frame_ends_a_connection() {
    let wrong = Reason::PROTOCOL_ERROR;
    let opened = || head(1, 0, &POST);
    let flags = END_HEADERS | PADDED;
    for case in [
        begun("data", wrong, &[opened(), frame(DATA, PADDED, 1, &[3, 0, 0])].concat()),
        begun("data without its length", wrong, &[opened(), frame(DATA, PADDED, 1, &[])].concat()),
        begun("a head", wrong, &frame(HEADERS, flags, 1, &[3, 0, 0])),
        begun("a head without its length", wrong, &frame(HEADERS, flags, 1, &[])),
    ] {
        ends_server(case).await;
    }
}

#[tokio::test]
async fn fields_that_cannot_be_read_end_a_connection() {
    let unreadable = |name, bytes: &[u8]| {
        let bytes = frame(HEADERS, END_HEADERS | END_STREAM, 1, bytes);
        begun(name, Reason::COMPRESSION_ERROR, &bytes)
    };
    let after_a_field = [block(&GET[..1]), vec![0x20]].concat();
    for case in [
        unreadable("index 0", &[0x80]),
        unreadable("an index beyond the table", &[0x80 | 62]),
        unreadable("a name beyond the table", &[0x7e, 1, b'a']),
        unreadable("a number without its end", &[0xff]),
        unreadable("a number without end", &[0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0]),
        unreadable("a string without its end", &[0, 5, b'a']),
        unreadable("a string longer than memory", &[0, 0x7f, 0xff, 0xff, 0xff, 0x7f]),
        unreadable("a field without a value", &[0, 1, b'a']),
        unreadable("a table too large", &[0x3f, 0xe2, 0x1f]),
        unreadable("a table's size after a field", &after_a_field),
        unreadable("Huffman's end of string", &[0, 0x84, 0xff, 0xff, 0xff, 0xff, 1, b'a']),
        unreadable("Huffman's padding of zeros", &[0, 0x81, 0b0001_1000, 1, b'a']),
        unreadable("Huffman's padding of a byte", &[0, 0x82, 0b0001_1111, 0xff, 1, b'a']),
    ] {
        ends_server(case).await;
    }
}

#[tokio::test]
async fn a_head_that_nobody_looks_at_is_read_for_the_sake_of_the_next() {
    let kept = [vec![0x40], string("x-kept"), string("yes")].concat();
    let first = [block(&[(":path", "")]), kept].concat();
    let (near, far) = duplex(PIPE_BYTES);
    let mut peer = Peer::new(near);
    let mut server = Server::new(far, CONFIG);
    peer.send(&[PREFACE, &settings(&[])].concat()).await;
    peer.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &first)).await;
    let second = [block(&GET), vec![0x80 | 62]].concat();
    peer.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &second)).await;
    assert_eq!(peer.find(RST_STREAM).await.stream, 1);
    assert_eq!(server.next().await.0.headers()["x-kept"], "yes");
}

#[tokio::test]
async fn a_field_with_a_value_that_cannot_be_takes_as_much_of_the_table_as_the_peer_thinks() {
    let kept = |name: &str, value: &str| [vec![0x40], string(name), string(value)].concat();
    let illegal = "\u{1}".repeat(2_000);
    let first = [block(&GET), kept("x-kept", "yes"), kept("x", &illegal)].concat();
    // The name of the newest, and another value: 34 bytes.
    let second = [block(&GET), vec![0x40 | 62], string("v")].concat();
    let third = [block(&GET), vec![0x80 | 64]].concat();
    let (near, far) = duplex(PIPE_BYTES);
    let mut peer = Peer::new(near);
    let mut server = Server::new(far, CONFIG);
    peer.send(&[PREFACE, &settings(&[])].concat()).await;
    for (stream, block) in [(1, first), (3, second), (5, third)] {
        peer.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)).await;
    }
    assert_eq!(peer.find(RST_STREAM).await.reason(), Reason::PROTOCOL_ERROR);
    let mut last = server.next().await.0;
    while !last.headers().contains_key("x-kept") {
        last = server.next().await.0;
    }
}

#[tokio::test]
async fn who_gives_up_requests_before_they_are_looked_at_for_ever_is_told_to_calm_down() {
    let hasty = (0..10_500).flat_map(|n| {
        [head(2 * n + 1, END_STREAM, &GET), reset(2 * n + 1, Reason::CANCEL)].concat()
    });
    ends_server(begun("resets", Reason::ENHANCE_YOUR_CALM, &hasty.collect::<Vec<_>>())).await;
}

/// A client that has asked for something and gets `bytes` says goaway with `reason`, and ends.
async fn ends_client((name, reason, bytes): Case) {
    let (mut peer, opener, end) = client(CONFIG, &[]).await;
    let (awaited, _sending) = opener.open(&Request::new(()), true).unwrap();
    peer.find(HEADERS).await;
    peer.send(&bytes).await;
    let frames = peer.rest().await;
    let last = frames.last().filter(|frame| frame.kind == GOAWAY);
    assert_eq!(last.map(Frame::reason), Some(reason), "{name}: {frames:?}");
    let error = awaited.response().await.expect_err(name);
    let is_ours = matches!(error, Error::GoAway { reason: r, by: By::Us } if r == reason);
    assert!(is_ours, "{name}: {error:?}");
    assert!(matches!(ended(end).await, Err(Error::GoAway { by: By::Us, .. })), "{name}");
    assert!(opener.open(&Request::new(()), true).is_err(), "{name}");
}

#[tokio::test]
async fn a_server_that_breaks_the_rules_ends_a_connection() {
    let wrong = Reason::PROTOCOL_ERROR;
    let ok = [(":status", "200")];
    let push = frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &block(&GET)].concat());
    let cases: Vec<Case> = vec![
        ("a response to nothing", wrong, head(3, END_STREAM, &ok)),
        ("a response on an even stream", wrong, head(2, END_STREAM, &ok)),
        ("a push", wrong, push),
        ("data on an even stream", wrong, data(2, 0, b"a")),
        ("a reset of nothing", wrong, reset(3, Reason::CANCEL)),
        ("a window for nothing", wrong, window_update(3, 1)),
        ("a window too large", Reason::FLOW_CONTROL_ERROR, window_update(0, ID_MAX)),
        ("fields that cannot be read", Reason::COMPRESSION_ERROR, frame(HEADERS, 5, 1, &[0x80])),
        ("a frame too large", Reason::FRAME_SIZE_ERROR, data(1, 0, &[0; 16_385])),
        ("a short goaway", Reason::FRAME_SIZE_ERROR, frame(GOAWAY, 0, 0, &[0; 4])),
    ];
    for case in cases {
        ends_client(case).await;
    }
}

#[tokio::test]
async fn settings_that_are_a_yes_or_no_are_nothing_else() {
    let wrong = Reason::PROTOCOL_ERROR;
    ends_server(begun("push of 2", wrong, &settings(&[(ENABLE_PUSH, 2)]))).await;
    // And a server has nothing to say about push, or just no.
    ends_client(("push enabled", wrong, settings(&[(ENABLE_PUSH, 1)]))).await;
    let both = settings(&[(ENABLE_CONNECT_PROTOCOL, 2)]);
    ends_client(("extended CONNECT of 2", wrong, both)).await;
}

#[tokio::test]
async fn a_server_begins_with_settings() {
    let (near, far) = duplex(PIPE_BYTES);
    let mut peer = Peer::new(near);
    let (_opener, mut connection) = io_tokio::http2::client(far, CONFIG);
    let end = tokio::spawn(async move { connection.run().await });
    peer.preface().await;
    peer.send(&frame(PING, 0, 0, &[0; 8])).await;
    let frames = peer.rest().await;
    assert_eq!(frames.last().unwrap().reason(), Reason::PROTOCOL_ERROR);
    assert!(matches!(ended(end).await, Err(Error::GoAway { by: By::Us, .. })));
}
