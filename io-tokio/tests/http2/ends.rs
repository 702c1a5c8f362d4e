//! How streams and connections end: as they should, by a reset, by goaway, and by surprise.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use io_tokio::http2::{Awaited, By, Error, Head, Opener, Reason, Sending};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, duplex};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::PATIENCE;
use crate::bodies::{pattern, read};
use crate::raw::{
    DATA, END_STREAM, Frame, GET, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS,
    PING, POST, PREFACE, Peer, RST_STREAM, data, fields, frame, goaway, head, reset, settings,
    window_update,
};
use crate::stage::{CONFIG, PIPE_BYTES, Server, client, ended, server, server_told};

const OK: [(&str, &str); 1] = [(":status", "200")];

fn ask(opener: &Opener) -> (Awaited, Sending) {
    opener.open(&Request::new(()), true).unwrap()
}

fn kinds(frames: &[Frame]) -> Vec<(u8, u32)> {
    frames.iter().map(|frame| (frame.kind, frame.stream)).collect()
}

/// Waits, but not for ever.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it ends")
}

fn is_reset(error: &Error, expected: Reason, expected_by: By) -> bool {
    matches!(error, Error::Reset { reason, by } if *reason == expected && *by == expected_by)
}

#[tokio::test]
async fn a_server_that_leaves_finishes_what_it_has_and_looks_at_nothing_more() {
    let (mut peer, mut server) = server(CONFIG).await;
    for stream in [1, 3] {
        peer.send(&head(stream, 0, &POST)).await;
    }
    let (first, respond_first) = server.next().await;
    let (second, respond_second) = server.next().await;
    server.leave();
    let said = peer.find(GOAWAY).await;
    assert_eq!((said.number(), said.reason()), (3, Reason::NO_ERROR));
    peer.send(&head(5, 0, &POST)).await;
    peer.send(&data(5, 0, &[7; 16_384]).repeat(4)).await;
    peer.send(&reset(7, Reason::CANCEL)).await;
    peer.send(&window_update(9, 1)).await;
    peer.send(&data(1, END_STREAM, b"abc")).await;
    peer.send(&data(3, END_STREAM, b"def")).await;
    let frames = peer.until_quiet().await;
    assert!(frames.iter().all(|frame| frame.stream == 0), "{frames:?}");
    for (request, respond) in [(first, respond_first), (second, respond_second)] {
        let body = read(request.into_body()).await.unwrap().0;
        let mut sending = respond.send_response(&Response::new(()), false).unwrap();
        sending.send_data(body.into(), true).unwrap();
    }
    let rest = peer.rest().await;
    assert_eq!(kinds(&rest), [(HEADERS, 1), (DATA, 1), (HEADERS, 3), (DATA, 3)]);
    server.end().await.unwrap();
}

#[tokio::test]
async fn a_server_that_leaves_with_nothing_to_do_ends_at_once() {
    let (mut peer, mut server) = server(CONFIG).await;
    peer.until_quiet().await;
    server.leave();
    let frames = peer.rest().await;
    assert_eq!((frames.len(), frames[0].kind, frames[0].number()), (1, GOAWAY, 0));
    assert!(server.arrivals.recv().await.is_none());
    server.end().await.unwrap();
}

#[tokio::test]
async fn a_server_that_has_said_all_hears_its_peer_close_whatever_that_says_before() {
    let (near, far) = duplex(64 << 10);
    let (mut reader, mut writer) = tokio::io::split(near);
    let server = Server::new(far, CONFIG);
    writer.write_all(&[PREFACE, &settings(&[])].concat()).await.unwrap();
    server.leave();
    reader.read_to_end(&mut Vec::new()).await.unwrap();
    // Nobody will ever read the answers.
    let pings = frame(PING, 0, 0, &[1; 8]).repeat(1_000);
    for _ in 0..100 {
        let written = timeout(PATIENCE, writer.write_all(&pings)).await;
        written.expect("what comes is read").unwrap();
    }
    writer.shutdown().await.unwrap();
    server.end().await.unwrap();
}

#[tokio::test]
async fn a_client_that_says_goaway_gets_its_answers() {
    let (mut peer, mut server) = server(CONFIG).await;
    peer.send(&head(1, END_STREAM, &GET)).await;
    peer.send(&goaway(0, Reason::NO_ERROR)).await;
    let (_, respond) = server.next().await;
    peer.until_quiet().await;
    drop(respond.send_response(&Response::new(()), true).unwrap());
    assert_eq!(kinds(&peer.rest().await), [(HEADERS, 1)]);
    server.end().await.unwrap();
}

#[tokio::test]
async fn a_client_told_to_go_away_finishes_what_was_looked_at_and_nothing_else() {
    let (mut peer, opener, end) = client(CONFIG, &[]).await;
    let (first, _a) = ask(&opener);
    let (second, _b) = ask(&opener);
    peer.until_quiet().await;
    peer.send(&goaway(1, Reason::INTERNAL_ERROR)).await;
    let error = soon(second.response()).await.unwrap_err();
    let is_by_peer =
        matches!(error, Error::GoAway { reason: Reason::INTERNAL_ERROR, by: By::Peer });
    assert!(is_by_peer, "{error:?}");
    let error = opener.open(&Request::new(()), true).unwrap_err();
    assert!(matches!(error, Error::GoAway { by: By::Peer, .. }), "{error:?}");
    peer.send(&head(1, 0, &OK)).await;
    peer.send(&data(1, END_STREAM, b"abc")).await;
    let body = soon(first.response()).await.unwrap().into_body();
    assert_eq!(soon(read(body)).await.unwrap().0, b"abc");
    assert_eq!(peer.rest().await, [], "the connection ends");
    ended(end).await.unwrap();
}

#[tokio::test]
async fn a_client_told_to_go_away_opens_none_of_those_that_wait() {
    let (mut peer, opener, end) = client(CONFIG, &[(MAX_CONCURRENT_STREAMS, 2)]).await;
    let asked: Vec<_> = (0..6).map(|_| ask(&opener)).collect();
    assert_eq!(kinds(&peer.until_quiet().await), [(HEADERS, 1), (HEADERS, 3)]);
    peer.send(&goaway(1, Reason::NO_ERROR)).await;
    assert_eq!(peer.until_quiet().await, [], "nothing is opened");
    peer.send(&head(1, END_STREAM, &OK)).await;
    let mut answered = 0;
    for (awaited, _) in asked {
        match soon(awaited.response()).await {
            Ok(_) => answered += 1,
            Err(error) => assert!(matches!(error, Error::GoAway { by: By::Peer, .. }), "{error:?}"),
        }
    }
    assert_eq!(answered, 1);
    assert_eq!(peer.rest().await, []);
    ended(end).await.unwrap();
}

#[tokio::test]
async fn a_client_waits_until_the_peer_has_room_and_goes_on_in_order() {
    let (mut peer, opener, _end) = client(CONFIG, &[(MAX_CONCURRENT_STREAMS, 1)]).await;
    let (first, _a) = ask(&opener);
    let (mut second, mut sending) = opener.open(&Request::new(()), false).unwrap();
    // It may say what it likes meanwhile.
    sending.send_data(Bytes::from_static(b"body"), true).unwrap();
    let (third, _c) = ask(&opener);
    assert_eq!(kinds(&peer.until_quiet().await), [(HEADERS, 1)]);
    peer.send(&head(1, END_STREAM, &OK)).await;
    soon(first.response()).await.unwrap();
    let frames = peer.until_quiet().await;
    assert_eq!(kinds(&frames), [(HEADERS, 3), (DATA, 3)]);
    assert!(!frames[0].has(END_STREAM) && frames[1].has(END_STREAM));
    // More room than before, before anything has ended.
    peer.send(&settings(&[(MAX_CONCURRENT_STREAMS, 2)])).await;
    let frames = peer.until_quiet().await;
    assert!(kinds(&frames).contains(&(HEADERS, 5)), "{frames:?}");
    peer.send(&reset(3, Reason::REFUSED_STREAM)).await;
    let error = soon(poll_fn(|cx| second.poll_head(cx))).await.unwrap_err();
    assert!(is_reset(&error, Reason::REFUSED_STREAM, By::Peer), "{error:?}");
    peer.send(&head(5, END_STREAM, &OK)).await;
    soon(third.response()).await.unwrap();
}

#[tokio::test]
async fn one_that_waits_has_no_room_and_may_be_given_up_without_a_word() {
    let (mut peer, opener, _end) = client(CONFIG, &[(MAX_CONCURRENT_STREAMS, 1)]).await;
    let (first, _a) = ask(&opener);
    drop(ask(&opener));
    let (third, mut sending) = opener.open(&Request::new(()), false).unwrap();
    let waiting = tokio::spawn(async move {
        let room = poll_fn(|cx| sending.poll_room(cx)).await.unwrap();
        (room, sending)
    });
    assert_eq!(kinds(&peer.until_quiet().await), [(HEADERS, 1)]);
    assert!(!waiting.is_finished());
    drop((first, third));
    assert_eq!(kinds(&peer.until_quiet().await), [], "the answer to the first may be of use");
    peer.send(&head(1, END_STREAM, &OK)).await;
    let (room, _sending) = soon(waiting).await.unwrap();
    assert_eq!(room, 16_384);
    assert_eq!(kinds(&peer.until_quiet().await), [(HEADERS, 3)]);
}

#[tokio::test]
async fn who_lets_go_of_a_request_cancels_it() {
    let (mut peer, opener, _end) = client(CONFIG, &[]).await;
    let (awaited, sending) = ask(&opener);
    assert_eq!(kinds(&peer.until_quiet().await), [(HEADERS, 1)]);
    drop(sending);
    assert_eq!(peer.until_quiet().await, []);
    drop(awaited);
    let frames = peer.until_quiet().await;
    assert_eq!(kinds(&frames), [(RST_STREAM, 1)]);
    assert_eq!(frames[0].reason(), Reason::CANCEL);
    // What is still on its way to it disturbs nobody.
    peer.send(&head(1, 0, &OK)).await;
    peer.send(&data(1, END_STREAM, b"abc")).await;
    assert_eq!(peer.until_quiet().await, []);
}

#[tokio::test]
async fn who_lets_go_of_a_response_amid_its_body_cancels_it() {
    let (mut peer, opener, _end) = client(CONFIG, &[]).await;
    let (awaited, sending) = ask(&opener);
    drop(sending);
    peer.until_quiet().await;
    peer.send(&head(1, 0, &OK)).await;
    peer.send(&data(1, 0, b"abc")).await;
    let response = soon(awaited.response()).await.unwrap();
    drop(response);
    let frames = peer.until_quiet().await;
    assert_eq!(kinds(&frames), [(RST_STREAM, 1)]);
    assert_eq!(frames[0].reason(), Reason::CANCEL);
}

#[tokio::test]
async fn a_client_that_has_its_answer_and_lets_go_has_said_what_it_said() {
    let (mut peer, opener, _end) = client(CONFIG, &[(INITIAL_WINDOW_SIZE, 10)]).await;
    let (awaited, mut sending) = opener.open(&Request::new(()), false).unwrap();
    sending.send_data(pattern(1, 15), true).unwrap();
    assert_eq!(kinds(&peer.until_quiet().await), [(HEADERS, 1), (DATA, 1)]);
    peer.send(&head(1, END_STREAM, &OK)).await;
    drop((soon(awaited.response()).await.unwrap(), sending));
    assert_eq!(peer.until_quiet().await, [], "the whole request is on its way");
    peer.send(&window_update(1, 5)).await;
    let frames = peer.until_quiet().await;
    assert_eq!(kinds(&frames), [(DATA, 1)]);
    assert!(frames[0].has(END_STREAM));
}

#[tokio::test]
async fn a_server_that_lets_go_cancels_unless_it_has_said_all() {
    let (mut peer, mut server) = server_told(CONFIG, &[(INITIAL_WINDOW_SIZE, 10)]).await;
    let mut arrivals = Vec::new();
    for stream in [1, 3, 5, 7, 9] {
        peer.send(&head(stream, 0, &POST)).await;
        arrivals.push(server.next().await);
    }
    peer.until_quiet().await;
    let mut next = || arrivals.remove(0);
    // Nothing was said.
    drop(next());
    let frames = peer.until_quiet().await;
    assert_eq!((frames.len(), frames[0].reason()), (1, Reason::CANCEL));
    // Half was said.
    let (request, respond) = next();
    drop((request, respond.send_response(&Response::new(()), false).unwrap()));
    let frames = peer.until_quiet().await;
    assert_eq!(kinds(&frames), [(HEADERS, 3), (RST_STREAM, 3)]);
    assert_eq!(frames[1].reason(), Reason::CANCEL);
    // All was said.
    let (request, respond) = next();
    drop((request, respond.send_response(&Response::new(()), true).unwrap()));
    let frames = peer.until_quiet().await;
    assert_eq!(kinds(&frames), [(HEADERS, 5), (RST_STREAM, 5)]);
    assert_eq!(frames[1].reason(), Reason::NO_ERROR);
    // All was said, and some of it waits for room.
    let (request, respond) = next();
    let mut sending = respond.send_response(&Response::new(()), false).unwrap();
    sending.send_data(pattern(1, 15), true).unwrap();
    drop((request, sending));
    assert_eq!(kinds(&peer.until_quiet().await), [(HEADERS, 7), (DATA, 7)]);
    peer.send(&window_update(7, 5)).await;
    let frames = peer.until_quiet().await;
    assert_eq!(kinds(&frames), [(DATA, 7), (RST_STREAM, 7)]);
    assert_eq!(frames[1].reason(), Reason::NO_ERROR);
    // All was said on both sides.
    peer.send(&data(9, END_STREAM, b"")).await;
    peer.until_quiet().await;
    let (request, respond) = next();
    drop((request, respond.send_response(&Response::new(()), true).unwrap()));
    assert_eq!(kinds(&peer.until_quiet().await), [(HEADERS, 9)]);
}

#[tokio::test]
async fn a_reset_is_seen_by_all_who_wait_and_what_came_before_it_is_read() {
    let (mut peer, mut server) = server_told(CONFIG, &[(INITIAL_WINDOW_SIZE, 0)]).await;
    peer.send(&head(1, 0, &POST)).await;
    peer.send(&data(1, 0, b"abc")).await;
    let (request, respond) = server.next().await;
    let reading = tokio::spawn(read(request.into_body()));
    let mut sending = respond.send_response(&Response::new(()), false).unwrap();
    let waiting = tokio::spawn(async move {
        let error = poll_fn(|cx| sending.poll_room(cx)).await.unwrap_err();
        (error, poll_fn(|cx| sending.poll_broken(cx)).await)
    });
    peer.until_quiet().await;
    peer.send(&reset(1, Reason::INTERNAL_ERROR)).await;
    let error = soon(reading).await.unwrap().unwrap_err();
    assert!(is_reset(&error, Reason::INTERNAL_ERROR, By::Peer), "{error:?}");
    let (error, again) = soon(waiting).await.unwrap();
    assert!(is_reset(&error, Reason::INTERNAL_ERROR, By::Peer), "{error:?}");
    assert!(is_reset(&again, Reason::INTERNAL_ERROR, By::Peer), "{again:?}");
}

#[tokio::test]
async fn a_response_and_its_body_are_read_though_the_rest_of_the_request_is_refused() {
    let (mut peer, opener, _end) = client(CONFIG, &[]).await;
    let (awaited, mut sending) = opener.open(&Request::new(()), false).unwrap();
    peer.until_quiet().await;
    peer.send(&head(1, 0, &OK)).await;
    peer.send(&data(1, END_STREAM, b"enough")).await;
    peer.send(&reset(1, Reason::NO_ERROR)).await;
    peer.until_quiet().await;
    let error = sending.send_data(Bytes::from_static(b"more"), true).unwrap_err();
    assert!(is_reset(&error, Reason::NO_ERROR, By::Peer), "{error:?}");
    let body = soon(awaited.response()).await.unwrap().into_body();
    assert_eq!(soon(read(body)).await.unwrap().0, b"enough");
    assert_eq!(peer.until_quiet().await, [], "it is over");
}

#[tokio::test]
async fn interim_heads_come_before_the_final_one_and_are_not_kept_without_end() {
    let (mut peer, opener, _end) = client(CONFIG, &[]).await;
    let (mut awaited, _sending) = ask(&opener);
    peer.until_quiet().await;
    let early = head(1, 0, &[(":status", "103"), ("link", "<a>")]);
    peer.send(&early).await;
    let Ok(Head::Interim(interim)) = soon(poll_fn(|cx| awaited.poll_head(cx))).await else {
        panic!("no interim head came");
    };
    assert_eq!(
        (interim.status().as_u16(), &interim.headers()["link"]),
        (103, &"<a>".parse().unwrap())
    );
    peer.send(&early.repeat(1_000)).await;
    peer.send(&head(1, END_STREAM, &OK)).await;
    peer.until_quiet().await;
    let mut interims = 0;
    let last = loop {
        match soon(poll_fn(|cx| awaited.poll_head(cx))).await.unwrap() {
            Head::Interim(_) => interims += 1,
            Head::Final(response) => break response,
        }
    };
    assert_eq!(last.status(), 200);
    assert!((1..=100).contains(&interims), "{interims} are kept");
}

#[tokio::test]
async fn an_answer_that_switches_protocols_is_none() {
    let (mut peer, opener, _end) = client(CONFIG, &[]).await;
    let (mut awaited, _sending) = ask(&opener);
    peer.until_quiet().await;
    peer.send(&head(1, 0, &[(":status", "101"), ("x-a", "1")])).await;
    assert_eq!(peer.find(RST_STREAM).await.reason(), Reason::PROTOCOL_ERROR);
    let error = soon(poll_fn(|cx| awaited.poll_head(cx))).await.unwrap_err();
    assert!(matches!(error, Error::Reset { reason: Reason::PROTOCOL_ERROR, by: By::Us }));
}

#[tokio::test]
async fn interim_heads_go_out_before_the_final_one() {
    let (mut peer, mut server) = server(CONFIG).await;
    peer.send(&head(1, END_STREAM, &GET)).await;
    let (_, mut respond) = server.next().await;
    respond.send_interim(&Response::builder().status(103).body(()).unwrap()).unwrap();
    let interim = peer.find(HEADERS).await;
    assert_eq!(fields(&interim.payload)[0].value.as_deref(), Some("103"));
    assert!(!interim.has(END_STREAM));
    respond.send_response(&Response::new(()), true).unwrap();
    assert!(peer.find(HEADERS).await.has(END_STREAM));
}

#[tokio::test]
async fn the_last_opener_ends_a_connection_after_the_last_stream() {
    let (mut peer, opener, end) = client(CONFIG, &[]).await;
    let (awaited, _sending) = ask(&opener);
    let another = opener.clone();
    drop(opener);
    peer.until_quiet().await;
    let (second, _b) = ask(&another);
    drop(another);
    peer.until_quiet().await;
    for stream in [3, 1] {
        assert!(!end.is_finished());
        peer.send(&head(stream, END_STREAM, &OK)).await;
    }
    soon(awaited.response()).await.unwrap();
    soon(second.response()).await.unwrap();
    let frames = peer.rest().await;
    assert_eq!(kinds(&frames), [(GOAWAY, 0)]);
    assert_eq!(frames[0].reason(), Reason::NO_ERROR);
    ended(end).await.unwrap();
}

#[tokio::test]
async fn an_end_between_requests_is_no_error() {
    let (mut peer, server) = server(CONFIG).await;
    peer.until_quiet().await;
    peer.close().await;
    server.end().await.unwrap();
    let (mut peer, opener, end) = client(CONFIG, &[]).await;
    let (awaited, _sending) = ask(&opener);
    peer.until_quiet().await;
    peer.send(&head(1, END_STREAM, &OK)).await;
    peer.close().await;
    soon(awaited.response()).await.unwrap();
    ended(end).await.unwrap();
    assert!(opener.open(&Request::new(()), true).is_err());
}

#[tokio::test]
async fn an_end_amid_a_frame_is_an_error() {
    let (mut peer, server) = server(CONFIG).await;
    peer.send(&head(1, END_STREAM, &GET)[..20]).await;
    peer.close().await;
    assert!(matches!(server.end().await, Err(Error::Io(_))));
}

#[tokio::test]
async fn an_end_amid_streams_is_an_error_for_all_who_wait() {
    let (mut peer, opener, end) = client(CONFIG, &[(INITIAL_WINDOW_SIZE, 0)]).await;
    let (answered, mut sending) = opener.open(&Request::new(()), false).unwrap();
    let (silent, mut watched) = ask(&opener);
    peer.until_quiet().await;
    peer.send(&head(1, 0, &OK)).await;
    peer.send(&data(1, 0, b"abc")).await;
    let mut body = soon(answered.response()).await.unwrap().into_body();
    let reading = tokio::spawn(async move {
        let first = body.data().await.unwrap().unwrap();
        (first, body.data().await.unwrap(), poll_fn(|cx| body.poll_trailers(cx)).await)
    });
    let sending = tokio::spawn(async move { poll_fn(|cx| sending.poll_room(cx)).await });
    let watching = tokio::spawn(async move { poll_fn(|cx| watched.poll_broken(cx)).await });
    let waiting = tokio::spawn(silent.response());
    peer.until_quiet().await;
    peer.close().await;
    let (first, then, trailers) = soon(reading).await.unwrap();
    assert_eq!(first, "abc");
    assert!(matches!(then, Err(Error::Io(_))) && matches!(trailers, Err(Error::Io(_))));
    assert!(matches!(soon(sending).await.unwrap(), Err(Error::Io(_))));
    assert!(matches!(soon(watching).await.unwrap(), Error::Io(_)));
    assert!(matches!(soon(waiting).await.unwrap(), Err(Error::Io(_))));
    assert!(matches!(ended(end).await, Err(Error::Io(_))));
    assert!(matches!(opener.open(&Request::new(()), true), Err(Error::Io(_))));
}

#[tokio::test]
async fn a_ping_is_answered_or_fails_with_its_connection() {
    let (near, far) = duplex(PIPE_BYTES);
    let mut peer = Peer::new(near);
    let (_opener, mut connection) = io_tokio::http2::client(far, CONFIG);
    let (mut pinger, mut again) = (connection.pinger(), connection.pinger());
    let end = tokio::spawn(async move { connection.run().await });
    peer.preface().await;
    peer.send(&settings(&[])).await;
    let pinging = tokio::spawn(async move { pinger.ping().await });
    let ping = peer.find(PING).await;
    assert_eq!(ping.flags, 0);
    peer.send(&frame(ping.kind, crate::raw::ACK, 0, &ping.payload)).await;
    soon(pinging).await.unwrap().unwrap();
    let pinging = tokio::spawn(async move { again.ping().await });
    peer.find(PING).await;
    peer.close().await;
    assert!(soon(pinging).await.unwrap().is_err());
    ended(end).await.unwrap();
}

#[tokio::test]
async fn a_client_that_closes_gives_up_all_that_runs_and_says_so() {
    let (near, far) = duplex(PIPE_BYTES);
    let mut peer = Peer::new(near);
    let (opener, mut connection) = io_tokio::http2::client(far, CONFIG);
    let (close, mut closes) = oneshot::channel::<()>();
    let mut end = tokio::spawn(async move {
        tokio::select! {
            biased;
            _ = &mut closes => connection.close(),
            end = connection.run() => return end,
        }
        connection.run().await
    });
    peer.preface().await;
    peer.send(&settings(&[])).await;
    let (first, _a) = ask(&opener);
    let (second, _b) = ask(&opener);
    peer.until_quiet().await;
    peer.send(&head(1, 0, &OK)).await;
    let mut body = soon(first.response()).await.unwrap().into_body();
    close.send(()).unwrap();
    assert!(matches!(soon(second.response()).await, Err(Error::Io(_))));
    assert!(matches!(soon(body.data()).await, Some(Err(Error::Io(_)))));
    assert!(opener.open(&Request::new(()), true).is_err());
    let mut said = Vec::new();
    while said.len() < 3 {
        said.push(peer.next().await.unwrap());
    }
    assert_eq!(kinds(&said), [(RST_STREAM, 1), (RST_STREAM, 3), (GOAWAY, 0)]);
    assert!(said.iter().all(|frame| frame.kind == GOAWAY || frame.reason() == Reason::CANCEL));
    assert_eq!(said[2].reason(), Reason::NO_ERROR);
    // What was on its way meets no closed socket, which could cost the peer what was said.
    peer.send(&data(1, 0, &[7; 10_000]).repeat(10)).await;
    assert!(timeout(Duration::ZERO, &mut end).await.is_err(), "it waits for the peer's end");
    assert_eq!(peer.rest().await, []);
    ended(end).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_is_dropped_is_an_error_for_all_who_wait() {
    let (near, far) = duplex(PIPE_BYTES);
    let mut peer = Peer::new(near);
    let (opener, connection) = io_tokio::http2::client(far, CONFIG);
    let (awaited, mut sending) = opener.open(&Request::new(()), false).unwrap();
    let waiting = tokio::spawn(awaited.response());
    tokio::task::yield_now().await;
    drop(connection);
    assert!(soon(waiting).await.unwrap().is_err());
    assert!(sending.send_data(Bytes::new(), true).is_err());
    assert!(opener.open(&Request::new(()), true).is_err());
    assert_eq!(peer.rest().await, []);
}

/// A peer that has said its last words and gone, which is noticed by writing to it.
struct Gone {
    said: Vec<u8>,
    is_noticed: bool,
}

impl AsyncRead for Gone {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_noticed {
            return Poll::Pending;
        }
        buffer.put_slice(&std::mem::take(&mut self.get_mut().said));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Gone {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().is_noticed = true;
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn what_a_peer_said_before_it_went_is_heard_though_it_takes_nothing_more() {
    let said = [settings(&[]), head(1, END_STREAM, &OK), goaway(1, Reason::NO_ERROR)].concat();
    let (opener, mut connection) =
        io_tokio::http2::client(Gone { said, is_noticed: false }, CONFIG);
    let (looked_at, _a) = ask(&opener);
    let (unseen, _b) = ask(&opener);
    soon(connection.run()).await.unwrap();
    assert_eq!(soon(looked_at.response()).await.unwrap().status(), 200);
    let error = soon(unseen.response()).await.unwrap_err();
    assert!(matches!(error, Error::GoAway { by: By::Peer, .. }), "{error:?}");
}
