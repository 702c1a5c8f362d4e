//! How much goes out and stays in memory: windows, frames, tables, and what the peer sets of them.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use io_tokio::http2::{Config, Reason, Sending};
use tokio::io::duplex;

use crate::bodies::{pattern, read, send_all};
use crate::raw::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GET, HEADER_TABLE_SIZE, HEADERS,
    INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, PING, POST, Peer, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    data, fields, frame, head, reset, settings, window_update,
};
use crate::stage::{CONFIG, PIPE_BYTES, Server, client, client_over, server, server_told};

const ID_MAX: u32 = (1 << 31) - 1;

/// The lengths of those that are data.
fn data_of(frames: &[Frame]) -> Vec<usize> {
    frames.iter().filter(|frame| frame.kind == DATA).map(|frame| frame.payload.len()).collect()
}

/// Takes the next request and answers it with a head.
async fn begun_answer(server: &mut Server) -> Sending {
    let (_, respond) = server.next().await;
    respond.send_response(&Response::new(()), false).unwrap()
}

#[tokio::test]
async fn settings_are_said_first_and_acknowledged() {
    let (mut peer, _server) = server(CONFIG).await;
    let first = peer.next().await.unwrap();
    assert_eq!((first.kind, first.flags, first.stream), (SETTINGS, 0, 0));
    let expected = [(4, 128 << 10), (5, 16 << 10), (6, 16 << 10), (3, 100), (8, 1)];
    assert_eq!(first.payload, settings(&expected)[9..]);
    let grown = peer.next().await.unwrap();
    assert_eq!((grown.kind, grown.stream), (WINDOW_UPDATE, 0));
    assert_eq!(grown.number(), CONFIG.connection_window - 65_535);
    let acknowledged = peer.next().await.unwrap();
    assert_eq!((acknowledged.kind, acknowledged.flags), (SETTINGS, ACK));
    peer.send(&settings(&[(99, 1)]).repeat(2)).await;
    assert_eq!(peer.until_quiet().await, [acknowledged.clone(), acknowledged]);
}

#[tokio::test]
async fn a_client_wants_no_push() {
    let (near, far) = duplex(PIPE_BYTES);
    let mut peer = Peer::new(near);
    let (_opener, mut connection) = io_tokio::http2::client(far, CONFIG);
    tokio::spawn(async move { connection.run().await });
    peer.preface().await;
    let first = peer.next().await.unwrap();
    let expected = [(4, 128 << 10), (5, 16 << 10), (6, 16 << 10), (2, 0)];
    assert_eq!(first.payload, settings(&expected)[9..]);
}

#[tokio::test]
async fn a_ping_is_answered_with_what_it_says() {
    let (mut peer, _server) = server(CONFIG).await;
    peer.send(&frame(PING, 0, 0, b"whatever")).await;
    let answer = peer.find(PING).await;
    assert_eq!((answer.flags, &answer.payload[..]), (ACK, &b"whatever"[..]));
    // Nobody has asked for it.
    peer.send(&frame(PING, ACK, 0, b"whatever")).await;
    assert_eq!(peer.until_quiet().await, []);
}

#[tokio::test]
async fn frames_are_as_large_as_the_peer_allows() {
    let values = [(MAX_FRAME_SIZE, 20_000), (INITIAL_WINDOW_SIZE, 1 << 20)];
    let (mut peer, mut server) = server_told(CONFIG, &values).await;
    peer.send(&window_update(0, 1 << 20)).await;
    peer.send(&head(1, END_STREAM, &GET)).await;
    let mut sending = begun_answer(&mut server).await;
    sending.send_data(pattern(1, 50_000), false).unwrap();
    assert_eq!(data_of(&peer.until_quiet().await), [20_000, 20_000, 10_000]);
    peer.send(&settings(&[(MAX_FRAME_SIZE, 16_384)])).await;
    peer.until_quiet().await;
    sending.send_data(pattern(1, 50_000), true).unwrap();
    assert_eq!(data_of(&peer.until_quiet().await), [16_384, 16_384, 16_384, 848]);
}

#[tokio::test]
async fn a_window_that_was_lowered_under_way_comes_back_from_below_nothing() {
    let (mut peer, mut server) = server_told(CONFIG, &[(INITIAL_WINDOW_SIZE, 10)]).await;
    peer.send(&head(1, END_STREAM, &GET)).await;
    let mut sending = begun_answer(&mut server).await;
    sending.send_data(pattern(1, 22), true).unwrap();
    assert_eq!(data_of(&peer.until_quiet().await), [10]);
    peer.send(&settings(&[(INITIAL_WINDOW_SIZE, 4)])).await;
    peer.send(&window_update(1, 6)).await;
    assert!(data_of(&peer.until_quiet().await).is_empty(), "the window is empty, not more");
    peer.send(&window_update(1, 3)).await;
    assert_eq!(data_of(&peer.until_quiet().await), [3]);
    peer.send(&settings(&[(INITIAL_WINDOW_SIZE, 9)])).await;
    assert_eq!(data_of(&peer.until_quiet().await), [5]);
    peer.send(&window_update(1, 100)).await;
    let last = peer.until_quiet_on(1).await;
    assert_eq!(data_of(&last), [4]);
    assert!(last[0].has(END_STREAM));
    // Those that open now have the window as it is now.
    peer.send(&head(3, END_STREAM, &GET)).await;
    begun_answer(&mut server).await.send_data(pattern(1, 22), true).unwrap();
    assert_eq!(data_of(&peer.until_quiet_on(3).await), [9]);
}

#[tokio::test]
async fn streams_share_the_window_of_the_connection_and_all_of_them_go_on() {
    let (mut peer, mut server) = server_told(CONFIG, &[(INITIAL_WINDOW_SIZE, 1 << 20)]).await;
    let mut sendings = Vec::new();
    for stream in [1, 3] {
        peer.send(&head(stream, END_STREAM, &GET)).await;
        sendings.push(begun_answer(&mut server).await);
    }
    for sending in &mut sendings {
        sending.send_data(pattern(1, 60_000), true).unwrap();
    }
    let sum = |frames: &[Frame]| data_of(frames).iter().sum::<usize>();
    assert_eq!(sum(&peer.until_quiet().await), 65_535);
    peer.send(&window_update(0, 1_000)).await;
    assert_eq!(sum(&peer.until_quiet().await), 1_000);
    peer.send(&window_update(0, 100_000)).await;
    let rest = peer.until_quiet().await;
    assert_eq!(sum(&rest), 120_000 - 66_535);
    assert!(rest.last().unwrap().has(END_STREAM));
}

#[tokio::test]
async fn an_end_and_trailers_wait_for_the_data_before_them_and_for_no_window() {
    let (mut peer, mut server) = server_told(CONFIG, &[(INITIAL_WINDOW_SIZE, 0)]).await;
    for stream in [1, 3, 5] {
        peer.send(&head(stream, END_STREAM, &GET)).await;
    }
    let mut first = begun_answer(&mut server).await;
    let mut second = begun_answer(&mut server).await;
    let mut third = begun_answer(&mut server).await;
    peer.until_quiet().await;
    first.send_data(Bytes::new(), true).unwrap();
    let ended = peer.until_quiet().await;
    assert_eq!((ended.len(), ended[0].stream, ended[0].has(END_STREAM)), (1, 1, true));
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]);
    second.send_trailers(trailers.clone()).unwrap();
    let ended = peer.until_quiet().await;
    assert_eq!((ended.len(), ended[0].kind, ended[0].has(END_STREAM)), (1, HEADERS, true));
    third.send_data(pattern(1, 3), false).unwrap();
    third.send_trailers(trailers).unwrap();
    assert_eq!(peer.until_quiet().await, []);
    peer.send(&window_update(5, 3)).await;
    let ended = peer.until_quiet().await;
    assert_eq!(ended.iter().map(|frame| frame.kind).collect::<Vec<_>>(), [DATA, HEADERS]);
    assert!(!ended[0].has(END_STREAM) && ended[1].has(END_STREAM));
    assert!(third.send_data(pattern(1, 3), false).is_err(), "after the end there is no more");
}

#[tokio::test]
async fn a_stream_that_was_reset_sends_nothing_more_whatever_its_window() {
    let (mut peer, mut server) = server_told(CONFIG, &[(INITIAL_WINDOW_SIZE, 10)]).await;
    for stream in [1, 3] {
        peer.send(&head(stream, END_STREAM, &GET)).await;
    }
    let mut by_peer = begun_answer(&mut server).await;
    let mut by_us = begun_answer(&mut server).await;
    by_peer.send_data(pattern(1, 22), true).unwrap();
    by_us.send_data(pattern(1, 22), true).unwrap();
    peer.until_quiet().await;
    peer.send(&reset(1, Reason::CANCEL)).await;
    by_us.send_reset(Reason::INTERNAL_ERROR);
    let frames = peer.until_quiet().await;
    assert_eq!((frames.len(), frames[0].kind, frames[0].stream), (1, RST_STREAM, 3));
    peer.send(&settings(&[(INITIAL_WINDOW_SIZE, 100)])).await;
    peer.send(&window_update(0, 100)).await;
    let on_streams: Vec<_> =
        peer.until_quiet().await.into_iter().filter(|frame| frame.stream != 0).collect();
    assert_eq!(on_streams, []);
}

#[tokio::test]
async fn a_stream_that_has_ended_has_no_window_that_could_grow_too_large() {
    let (mut peer, mut server) = server(CONFIG).await;
    peer.send(&head(1, END_STREAM, &GET)).await;
    peer.send(&window_update(1, ID_MAX - 65_535)).await;
    let (_request, respond) = server.next().await;
    let _held = respond.send_response(&Response::new(()), true).unwrap();
    peer.until_quiet().await;
    peer.send(&settings(&[(INITIAL_WINDOW_SIZE, 65_536)])).await;
    assert_eq!(peer.until_quiet().await.len(), 1, "an acknowledgement");
}

#[tokio::test]
async fn a_peer_without_a_table_is_told_nothing_that_needs_one() {
    let (mut peer, mut server) = server_told(CONFIG, &[(HEADER_TABLE_SIZE, 0)]).await;
    let response = Response::builder().header("x-thing", "a").body(()).unwrap();
    for stream in [1, 3, 5, 7] {
        peer.send(&head(stream, END_STREAM, &GET)).await;
        let (_, respond) = server.next().await;
        respond.send_response(&response, true).unwrap();
        let mut fields = fields(&peer.find(HEADERS).await.payload);
        if stream == 1 {
            assert_eq!(fields.remove(0).first, 0x20, "the table is said to have no room");
        }
        assert_eq!(fields.len(), 2);
        assert!(fields.iter().all(|field| !field.needs_a_table()), "{fields:?}");
    }
    // With a table there is more that can be said shortly.
    peer.send(&settings(&[(HEADER_TABLE_SIZE, 4_096)])).await;
    let mut last = Vec::new();
    for stream in [9, 11, 13] {
        peer.send(&head(stream, END_STREAM, &GET)).await;
        let (_, respond) = server.next().await;
        respond.send_response(&response, true).unwrap();
        last = fields(&peer.find(HEADERS).await.payload);
    }
    assert!(last.iter().all(|field| field.first >= 0x80), "{last:?}");
}

#[tokio::test]
async fn secrets_are_never_to_be_kept_by_anybody() {
    let (mut peer, opener, _end) = client(CONFIG, &[]).await;
    let mut marked = HeaderValue::from_static("marked");
    marked.set_sensitive(true);
    let mut request = Request::new(());
    for (name, value) in [("authorization", "Bearer a"), ("cookie", "a=b"), ("x-plain", "plain")] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    request.headers_mut().insert("x-marked", marked);
    for _ in 0..3 {
        let _handles = opener.open(&request, true).unwrap();
        let fields = fields(&peer.find(HEADERS).await.payload);
        let secrets = fields.iter().filter(|field| field.first & 0xf0 == 0x10);
        let secrets: Vec<_> = secrets.filter_map(|field| field.value.as_deref()).collect();
        assert_eq!(secrets, ["Bearer a", "a=b", "marked"]);
    }
}

#[tokio::test]
async fn a_head_larger_than_a_frame_goes_out_in_several() {
    let (mut peer, mut server) = server(CONFIG).await;
    peer.send(&head(1, END_STREAM, &GET)).await;
    let (_, respond) = server.next().await;
    let long = "a".repeat(40_000);
    let response = Response::builder().header("x-long", &long).body(()).unwrap();
    respond.send_response(&response, true).unwrap();
    let frames = peer.until_quiet_on(1).await;
    let is = |frame: &Frame| (frame.kind, frame.flags, frame.payload.len() == 16_384);
    let expected =
        [(HEADERS, END_STREAM, true), (CONTINUATION, 0, true), (CONTINUATION, END_HEADERS, false)];
    assert_eq!(frames.iter().map(is).collect::<Vec<_>>(), expected);
    let block: Vec<_> = frames.iter().flat_map(|frame| frame.payload.clone()).collect();
    assert_eq!(fields(&block)[1].value.as_deref(), Some(&long[..]));
}

#[tokio::test]
async fn what_nobody_reads_is_as_much_as_the_window_and_reading_opens_it() {
    let config = Config { stream_window: 100_000, ..CONFIG };
    let (mut peer, mut server) = server(config).await;
    peer.send(&head(1, 0, &POST)).await;
    peer.send(&data(1, 0, &[7; 10_000]).repeat(10)).await;
    let (request, _respond) = server.next().await;
    let updates = |frames: Vec<Frame>| {
        let updates = frames.into_iter().filter(|frame| frame.kind == WINDOW_UPDATE);
        updates.map(|frame| (frame.stream, frame.number())).collect::<Vec<_>>()
    };
    peer.until_quiet_on(1).await;
    let mut body = request.into_body();
    let mut read = 0;
    while read < 50_000 {
        read += body.data().await.unwrap().unwrap().len();
    }
    assert_eq!(updates(peer.until_quiet_on(1).await), [(1, 50_000)]);
    peer.send(&data(1, 0, &[7; 10_000]).repeat(5)).await;
    assert_eq!(peer.until_quiet_on(1).await, []);
    peer.send(&data(1, 0, b"a")).await;
    let over = peer.find(RST_STREAM).await;
    assert_eq!((over.stream, over.reason()), (1, Reason::FLOW_CONTROL_ERROR));
    // What came before is there, and so is the end before its time.
    while let Ok(piece) = body.data().await.unwrap() {
        read += piece.len();
    }
    assert_eq!(read, 150_000);
}

#[tokio::test]
async fn what_was_not_read_or_not_wanted_is_given_back_to_all_streams() {
    let config = Config { stream_window: 1 << 20, connection_window: 100_000, ..CONFIG };
    let (mut peer, mut server) = server(config).await;
    peer.until_quiet().await;
    for stream in [1, 3, 5] {
        peer.send(&head(stream, 0, &POST)).await;
        peer.send(&data(stream, 0, &[7; 10_000]).repeat(6)).await;
        let (request, respond) = server.next().await;
        match stream {
            1 => drop((request, respond)),
            3 => peer.send(&reset(3, Reason::CANCEL)).await,
            _ => drop(request),
        }
        let frames = peer.until_quiet_on(0).await;
        if stream == 3 {
            assert_eq!(frames, [], "it may still be read");
            continue;
        }
        let grown: u32 = frames.iter().map(Frame::number).sum();
        assert!(grown >= 50_000, "stream {stream}: {frames:?}");
    }
}

/// How much more may be sent on all streams together.
fn grown(frames: &[Frame]) -> Vec<u32> {
    let updates = frames.iter().filter(|frame| (frame.kind, frame.stream) == (WINDOW_UPDATE, 0));
    updates.map(Frame::number).collect()
}

#[tokio::test]
async fn what_some_never_read_stops_no_other() {
    let config = Config { stream_window: 70_000, connection_window: 100_000, ..CONFIG };
    let (mut peer, mut server) = server(config).await;
    peer.until_quiet().await;
    peer.send(&head(1, 0, &POST)).await;
    peer.send(&data(1, 0, &[7; 10_000]).repeat(6)).await;
    let _stalled = server.next().await;
    peer.send(&head(3, 0, &POST)).await;
    let (request, _respond) = server.next().await;
    let reading = tokio::spawn(read(request.into_body()));
    let (mut stream, mut all) = (70_000, 40_000);
    let expected = pattern(3, 500_000);
    let mut left = expected.clone();
    while !left.is_empty() {
        let room = left.len().min(stream).min(all).min(10_000);
        if room == 0 {
            let update = peer.find(WINDOW_UPDATE).await;
            let window = if update.stream == 0 { &mut all } else { &mut stream };
            *window += update.number() as usize;
            continue;
        }
        (stream, all) = (stream - room, all - room);
        let piece = left.split_to(room);
        let flags = if left.is_empty() { END_STREAM } else { 0 };
        peer.send(&data(3, flags, &piece)).await;
    }
    assert_eq!(reading.await.unwrap().unwrap().0, expected);
}

#[tokio::test]
async fn what_was_read_is_told_when_what_came_since_has_left_no_more_than_that() {
    let config = Config { stream_window: 1 << 20, connection_window: 100_000, ..CONFIG };
    let (mut peer, mut server) = server(config).await;
    peer.until_quiet().await;
    peer.send(&head(1, 0, &POST)).await;
    peer.send(&data(1, 0, &[7; 10_000]).repeat(6)).await;
    let _stalled = server.next().await;
    peer.send(&head(3, 0, &POST)).await;
    peer.send(&data(3, END_STREAM, &[7; 15_000])).await;
    drop(server.next().await);
    assert_eq!(grown(&peer.until_quiet().await), [0; 0], "25,000 are left, 15,000 were read");
    peer.send(&data(1, 0, &[7; 10_000])).await;
    assert_eq!(grown(&peer.until_quiet().await), [15_000]);
}

#[tokio::test]
async fn who_reads_all_tells_of_it_twice_in_a_window() {
    let config = Config { stream_window: 1 << 20, connection_window: 100_000, ..CONFIG };
    let (mut peer, mut server) = server(config).await;
    peer.until_quiet().await;
    peer.send(&head(1, 0, &POST)).await;
    let (request, _respond) = server.next().await;
    let mut body = request.into_body();
    let mut updates = Vec::new();
    for _ in 0..100 {
        peer.send(&data(1, 0, &[7; 10_000])).await;
        body.data().await.unwrap().unwrap();
        updates.extend(grown(&peer.until_quiet().await));
    }
    assert_eq!(updates, [50_000; 20]);
}

#[tokio::test]
async fn small_pieces_are_put_together() {
    let (mut peer, mut server) = server(CONFIG).await;
    peer.send(&head(1, 0, &POST)).await;
    let expected = pattern(1, 20_000);
    let frames: Vec<_> = expected.iter().map(|byte| data(1, 0, &[*byte])).collect();
    peer.send_all(&frames).await;
    peer.send(&data(1, END_STREAM, b"")).await;
    let (request, _respond) = server.next().await;
    peer.until_quiet().await;
    let mut body = request.into_body();
    let (mut pieces, mut came) = (0, Vec::new());
    while let Some(piece) = body.data().await {
        pieces += 1;
        came.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(came, expected);
    assert!(pieces <= 10, "{pieces} pieces");
}

#[tokio::test]
async fn who_asks_for_room_is_told_when_there_is_some_and_how_much() {
    let (mut peer, mut server) = server_told(CONFIG, &[(INITIAL_WINDOW_SIZE, 10)]).await;
    peer.send(&head(1, END_STREAM, &GET)).await;
    let mut sending = begun_answer(&mut server).await;
    assert_eq!(poll_fn(|cx| sending.poll_room(cx)).await.unwrap(), 10);
    sending.send_data(pattern(1, 10), false).unwrap();
    poll_fn(|cx| {
        assert!(sending.poll_room(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    let waiting = tokio::spawn(async move {
        let room = poll_fn(|cx| sending.poll_room(cx)).await.unwrap();
        (room, sending)
    });
    assert_eq!(data_of(&peer.until_quiet().await), [10]);
    assert!(!waiting.is_finished());
    peer.send(&window_update(1, 7)).await;
    let (room, mut sending) = waiting.await.unwrap();
    assert_eq!(room, 7);
    peer.send(&window_update(1, 1_000)).await;
    send_all(&mut sending, pattern(1, 500), true).await.unwrap();
    assert_eq!(data_of(&peer.until_quiet().await).iter().sum::<usize>(), 500);
}

#[tokio::test]
async fn what_waits_to_be_written_has_a_bound_while_the_peer_does_not_read() {
    let values = [(INITIAL_WINDOW_SIZE, ID_MAX)];
    let (mut peer, mut server) = server_told(CONFIG, &values).await;
    peer.send(&window_update(0, ID_MAX - 65_535)).await;
    peer.send(&head(1, END_STREAM, &GET)).await;
    let mut sending = begun_answer(&mut server).await;
    let piece = pattern(1, 16_384);
    let mut sent = 0;
    let sending = tokio::spawn(async move {
        while sent < 8 << 20 {
            let room = poll_fn(|cx| sending.poll_room(cx)).await.unwrap().min(piece.len());
            sending.send_data(piece.slice(..room), false).unwrap();
            sent += room;
            assert!(room > 0);
        }
        sending.send_data(Bytes::new(), true).unwrap();
    });
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert!(!sending.is_finished(), "8 MiB are in memory");
    let mut came = 0;
    loop {
        let frame = peer.find(DATA).await;
        came += frame.payload.len();
        if frame.has(END_STREAM) {
            break;
        }
    }
    assert_eq!(came, 8 << 20);
    sending.await.unwrap();
}

#[tokio::test]
async fn much_that_is_written_at_once_does_not_keep_what_comes_from_being_read() {
    let values = [(INITIAL_WINDOW_SIZE, ID_MAX)];
    let (mut peer, opener, _end) = client_over(8 << 20, CONFIG, &values).await;
    peer.send(&window_update(0, ID_MAX - 65_535)).await;
    peer.until_quiet().await;
    let (awaited, mut sending) = opener.open(&Request::new(()), false).unwrap();
    peer.find(HEADERS).await;
    // Both before the connection's turn, which finds room for all of it in the pipe.
    sending.send_data(Bytes::from(vec![7; 4 << 20]), true).unwrap();
    peer.send(&head(1, END_STREAM, &[(":status", "200")])).await;
    let response = tokio::time::timeout(crate::PATIENCE, awaited.response()).await;
    response.expect("the response is read").unwrap();
}

#[tokio::test]
async fn long_heads_that_nobody_reads_do_not_keep_what_comes_from_being_read() {
    let (mut peer, opener, _end) = client_over(64 << 10, CONFIG, &[]).await;
    let (awaited, _sending) = opener.open(&Request::new(()), true).unwrap();
    peer.find(HEADERS).await;
    let mut long = Request::new(());
    long.headers_mut().insert("cookie", HeaderValue::from_str(&"c".repeat(15 << 10)).unwrap());
    long.headers_mut().insert("x-more", HeaderValue::from_str(&"m".repeat(15 << 10)).unwrap());
    let crowd: Vec<_> = (0..20).map(|_| opener.open(&long, true).unwrap()).collect();
    // Before the connection's turn, which finds both and no room for all that is to be written.
    peer.send(&head(1, END_STREAM, &[(":status", "200")])).await;
    let response = tokio::time::timeout(crate::PATIENCE, awaited.response()).await;
    response.expect("the response is read").unwrap();
    drop(crowd);
}

#[tokio::test]
async fn a_server_whose_peer_reads_nothing_does_not_answer_pings_for_ever() {
    let (near, far) = duplex(64 << 10);
    let (mut reader, mut writer) = tokio::io::split(near);
    let _server = Server::new(far, CONFIG);
    let begin = [crate::raw::PREFACE, &settings(&[])].concat();
    tokio::io::AsyncWriteExt::write_all(&mut writer, &begin).await.unwrap();
    let pings = frame(PING, 0, 0, &[1; 8]).repeat(1_000);
    let flood = tokio::spawn(async move {
        for _ in 0..300 {
            tokio::io::AsyncWriteExt::write_all(&mut writer, &pings).await.unwrap();
        }
        writer
    });
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    assert!(!flood.is_finished(), "5 MB of pings were taken");
    // When they are read, all of them are answered.
    let mut left: usize = 17 * 300_000;
    let mut buffer = vec![0; 64 << 10];
    while left > 0 {
        let read = tokio::io::AsyncReadExt::read(&mut reader, &mut buffer);
        let read = tokio::time::timeout(crate::PATIENCE, read).await.expect("answers come");
        left = left.saturating_sub(read.unwrap());
    }
    flood.await.unwrap();
}

#[tokio::test]
async fn a_server_may_widen_its_window_and_a_body_of_ours_comes_through_a_small_one() {
    let values = [(INITIAL_WINDOW_SIZE, 100)];
    let (mut peer, opener, _end) = client(Config { stream_window: 100, ..CONFIG }, &values).await;
    let (awaited, _sending) = opener.open(&Request::new(()), true).unwrap();
    peer.find(HEADERS).await;
    peer.send(&head(1, 0, &[(":status", "200")])).await;
    let body = awaited.response().await.unwrap().into_body();
    let reading = tokio::spawn(read(body));
    let mut window: usize = 100;
    let mut left = pattern(3, 1_000);
    while !left.is_empty() {
        if window == 0 {
            let grown = peer.find(WINDOW_UPDATE).await;
            window += if grown.stream == 1 { grown.number() as usize } else { 0 };
            continue;
        }
        let piece = left.split_to(window.min(left.len()));
        window -= piece.len();
        let flags = if left.is_empty() { END_STREAM } else { 0 };
        peer.send(&data(1, flags, &piece)).await;
    }
    assert_eq!(reading.await.unwrap().unwrap().0, pattern(3, 1_000));
}
