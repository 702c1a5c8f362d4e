use super::*;

fn request(uri: &str, lines: &[(&str, &[u8])]) -> request::Parts {
    let mut request = Request::builder().uri(uri);
    for (name, value) in lines {
        request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
    }
    request.body(()).unwrap().into_parts().0
}

fn written(uri: &str, lines: &[(&str, &[u8])]) -> Result<Bytes, Unsayable> {
    write_request(&request(uri, lines), false)
}

#[test]
fn a_request_is_written_with_one_line_for_each_name() {
    let text = written(
        "http://example.com/a%2Fb?c=d",
        &[
            ("b", b"1"),
            ("cookie", b"x=1"),
            ("a", b"2"),
            ("b", b"3"),
            ("cookie", b"y=caf\xe9"),
            ("te", b"trailers"),
            ("x-lambda-id", b"forged"),
        ],
    );
    let expected: &[u8] = b"GET /a%2Fb?c=d HTTP/1.1\r\nhost: example.com\r\nb: 1, 3\r\n\
        cookie: x=1; y=caf\xe9\r\na: 2\r\n\r\n";
    assert_eq!(text.unwrap(), expected);
}

#[test]
fn bytes_that_the_original_dies_of_are_escaped_and_no_others() {
    let text = written("http://a/%22{x}|~?q=%zz&r='(^)", &[("host", b"a")]).unwrap();
    assert!(text.starts_with(b"GET /%22{x}|~?q=%zz&r='(^) HTTP/1.1\r\n"), "{text:?}");
    let mut raw = Vec::new();
    write_target(&mut raw, "/`\"<>\u{e9} ?a");
    assert_eq!(raw, b"/%60%22%3C%3E%C3%A9%20?a");
}

#[test]
fn a_body_is_announced_so_that_it_is_passed_on() {
    let post = |lines: &[(&str, &[u8])], has_body| {
        let mut head = request("http://a/", lines);
        head.method = Method::POST;
        String::from_utf8(write_request(&head, has_body).unwrap().to_vec()).unwrap()
    };
    assert!(post(&[], true).ends_with("\r\ntransfer-encoding: chunked\r\n\r\n"));
    assert!(post(&[], false).ends_with("\r\ncontent-length: 0\r\n\r\n"));
    assert!(post(&[("content-length", b"3")], true).ends_with("\r\ncontent-length: 3\r\n\r\n"));
}

#[test]
fn what_cannot_be_said_is_refused_with_a_status() {
    let refused = |uri: &str| written(uri, &[]).map_err(Unsayable::status);
    assert_eq!(refused("http://a/_lambda_dispatch/goaway").unwrap_err(), 404);
    assert_eq!(refused("http://a/_lambda_dispatch/goaway?x").unwrap_err(), 404);
    let mut any = request("http://a/", &[]);
    any.uri = Uri::from_static("*");
    assert_eq!(write_request(&any, false).unwrap_err().status(), 501);
    any.method = Method::CONNECT;
    assert_eq!(write_request(&any, false).unwrap_err().status(), 501);

    let names: Vec<_> = (0..64).map(|number| format!("x-{number}")).collect();
    let lines: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"1"[..])).collect();
    assert!(written("http://a/", &lines[..63]).is_ok(), "63 and Host");
    assert_eq!(written("http://a/", &lines).unwrap_err(), Unsayable::TooLarge);
}

#[test]
fn a_response_is_read_as_it_was_written() {
    let mut sent = Response::builder().status(206);
    for (name, value) in [("set-cookie", "a"), ("x", "1"), ("set-cookie", "b")] {
        sent = sent.header(name, value);
    }
    let sent = sent
        .header("y", HeaderValue::from_bytes(b"caf\xe9").unwrap())
        .header("connection", "close, z")
        .header("z", "hop")
        .header("lambda-dispatch-error", "app")
        .body(())
        .unwrap();
    let text = write_response(sent.into_parts().0).unwrap();
    assert_eq!(
        text,
        &b"HTTP/1.1 206 Partial Content\r\nset-cookie: a\r\nset-cookie: b\r\nx: 1\r\n\
        y: caf\xe9\r\n\r\n"[..]
    );
    let read = read_response(&text).unwrap();
    assert_eq!(read.status(), 206);
    assert_eq!(read.headers().get_all("set-cookie").iter().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(read.headers()["y"].as_bytes(), b"caf\xe9");
}

#[test]
fn a_response_head_that_the_originals_router_would_take_for_a_body_is_not_written() {
    let long = |bytes: usize| {
        let response = Response::builder().header("x", "a".repeat(bytes)).body(()).unwrap();
        write_response(response.into_parts().0)
    };
    let around = b"HTTP/1.1 200 OK\r\nx: \r\n\r\n".len();
    assert_eq!(long(RESPONSE_BYTES_MAX - around).unwrap().len(), RESPONSE_BYTES_MAX);
    assert_eq!(long(RESPONSE_BYTES_MAX - around + 1), Err(Unsayable::TooLarge));
}

#[test]
fn what_the_originals_extension_writes_is_read() {
    let text = b"HTTP/1.1 200\r\nX-Lambda-Id: i\r\nX-Channel-Id: c\r\ncontent-encoding: gzip\r\n\
        transfer-encoding: chunked\r\nContent-Length: 3\r\netag: \"1\"\r\n\r\n";
    let read = read_response(text).unwrap();
    let names: Vec<_> = read.headers().keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["content-encoding", "etag"]);
    let bare = read_response(b"HTTP/1.1 404 Not Found\na: b\n\n").unwrap();
    assert_eq!((bare.status().as_u16(), bare.headers().len()), (404, 1));
}

#[test]
fn wrong_response_heads_are_refused() {
    for (head, why) in [
        ("HTTP/1.1 100 Continue\r\n\r\n", BadHead::Status),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", BadHead::Status),
        ("HTTP/1.1 099 X\r\n\r\n", BadHead::Status),
        ("HTTP/1.1 OK\r\n\r\n", BadHead::Malformed),
        ("\r\n\r\n", BadHead::Malformed),
        ("GET / HTTP/1.1\r\n\r\n", BadHead::Malformed),
        ("HTTP/1.1 200 OK\r\nname\r\n\r\n", BadHead::Malformed),
        ("HTTP/1.1 200 OK\r\na : b\r\n\r\n", BadHead::Malformed),
        ("HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n", BadHead::Malformed),
        ("HTTP/1.1 200 OK\r\na: b\0c\r\n\r\n", BadHead::Malformed),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n", BadHead::Length),
        ("HTTP/1.1 200 OK\r\ncontent-length: +3\r\n\r\n", BadHead::Length),
        ("HTTP/1.1 200 OK\r\ncontent-length: \r\n\r\n", BadHead::Length),
        ("HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551616\r\n\r\n", BadHead::Length),
    ] {
        assert_eq!(read_response(head.as_bytes()).unwrap_err(), why, "{head:?}");
    }
}

#[test]
fn what_the_originals_router_writes_is_read() {
    let text = b"POST /a%20b?c HTTP/1.1\r\nHost: example.com\r\nConnection: keep-alive\r\n\
        Transfer-Encoding: chunked\r\nX-Channel-Id: forged\r\nAccept: a,b\r\n\r\n";
    let read = read_request(text).unwrap();
    assert_eq!(read.method(), Method::POST);
    assert_eq!(read.uri().path_and_query().unwrap(), "/a%20b?c");
    let names: Vec<_> = read.headers().keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["host", "accept"]);
    for (line, announced) in [
        ("Transfer-Encoding: chunked\r\n", Announced::Chunks),
        ("Transfer-Encoding: chunked\r\nContent-Length: 7\r\n", Announced::Chunks),
        ("Content-Length: 7\r\n", Announced::Length(7)),
        ("", Announced::Nothing),
    ] {
        let head = format!("GET / HTTP/1.1\r\n{line}\r\n");
        assert_eq!(*read_request(head.as_bytes()).unwrap().body(), announced, "{line}");
    }
    for (head, why) in [
        ("GET * HTTP/1.1\r\n\r\n", BadHead::Target),
        ("CONNECT a:1 HTTP/1.1\r\n\r\n", BadHead::Target),
        ("GET http://a/ HTTP/1.1\r\n\r\n", BadHead::Target),
        ("GET /`\" HTTP/1.1\r\n\r\n", BadHead::Target),
        ("GET / HTTP/1.0\r\n\r\n", BadHead::Malformed),
        ("GET  / HTTP/1.1\r\n\r\n", BadHead::Malformed),
        ("GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n", BadHead::Length),
    ] {
        assert_eq!(read_request(head.as_bytes()).unwrap_err(), why, "{head:?}");
    }
}

#[test]
fn only_the_routers_own_goaway_is_one() {
    let order = goaway("i-1", "c-1");
    assert_eq!(
        order,
        &b"GET /_lambda_dispatch/goaway HTTP/1.1\r\nX-Lambda-Id: i-1\r\nX-Channel-Id: c-1\r\n\r\n"
            [..]
    );
    assert!(is_goaway(&order, "i-1", "c-1"));
    assert!(!is_goaway(&order, "i-1", "c-2"), "a client does not know the channel");
    let forged = b"GET /_lambda_dispatch/goaway HTTP/1.1\r\nHost: a\r\nX-Lambda-Id: i-1\r\n\
        X-Channel-Id: c-1\r\n\r\n";
    assert!(!is_goaway(forged, "i-1", "c-1"), "a client has a Host");
}

/// Feeds `text` in pieces of `size` bytes.
fn collected(
    text: &[u8],
    size: usize,
    bytes_max: usize,
) -> Result<Option<(Bytes, Bytes)>, BadHead> {
    let mut buffer = HeadBuffer::new(bytes_max);
    let mut pieces = text.chunks(size);
    while let Some(piece) = pieces.next() {
        if let Some((head, rest)) = buffer.take_in(Bytes::copy_from_slice(piece))? {
            let rest = pieces.fold(rest.to_vec(), |rest, piece| [&rest, piece].concat());
            return Ok(Some((head, rest.into())));
        }
    }
    Ok(None)
}

#[test]
fn a_head_is_found_however_it_is_cut() {
    for text in ["HTTP/1.1 200 OK\r\na: b\r\n\r\nbody\n\n", "HTTP/1.1 200 OK\na: b\n\nbody\n\n"] {
        let text = text.as_bytes();
        let length = text.len() - "body\n\n".len();
        for size in 1..=text.len() {
            for bytes_max in [length, length + 1, 1000] {
                let (head, rest) = collected(text, size, bytes_max).unwrap().unwrap();
                assert_eq!((head.len(), &rest[..]), (length, &b"body\n\n"[..]), "{size}");
            }
            assert_eq!(collected(text, size, length - 1), Err(BadHead::TooLong), "{size}");
            assert_eq!(collected(&text[..length - 1], size, 1000), Ok(None), "{size}");
        }
    }
}
