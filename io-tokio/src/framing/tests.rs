use super::*;

const LIMITS: HeadLimits = HeadLimits { bytes: 65_536, headers: 100, target: 16_384 };

/// Everything that passes of `bytes` when they come `size` at a time and each message is answered
/// at once, the heads among it, and the fault.
fn walk(bytes: &[u8], size: usize) -> (Vec<u8>, u32, Option<Fault>) {
    let (mut walk, mut held, mut passed) = (Walk::new(LIMITS), Vec::new(), Vec::new());
    for piece in bytes.chunks(size) {
        held.extend_from_slice(piece);
        loop {
            let step = walk.step(&held);
            passed.extend(held.drain(..step.pass));
            if step.fault.is_some() {
                return (passed, walk.heads(), step.fault);
            }
            if !walk.is_between() {
                break;
            }
            walk.go_on(false);
        }
    }
    (passed, walk.heads(), None)
}

#[test]
fn messages_end_where_they_say_however_their_bytes_come() {
    let all = b"\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n\
        POST /b HTTP/1.1\r\nHost:\ta \r\ncontent-length: 5\r\n\r\nGET /\
        POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\
        3;x=\"y\"\r\nGET\r\n00 \r\nx-sum: 1\r\n\r\n\
        DELETE /d HTTP/1.0\r\n\r\n\
        GET /e HTT";
    for size in 1..=all.len() {
        let (passed, heads, fault) = walk(all, size);
        assert_eq!((heads, fault), (4, None), "{size} at a time");
        assert_eq!(passed, all[..all.len() - b"GET /e HTT".len()], "{size} at a time");
    }
}

#[test]
fn nothing_of_a_refused_head_passes() {
    let good = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    let both = b"POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n";
    let all = [&good[..], both].concat();
    for size in 1..=all.len() {
        let (passed, _, fault) = walk(&all, size);
        assert_eq!(passed, good);
        assert!(matches!(
            fault,
            Some(Fault::Head(BadHead { status: StatusCode::BAD_REQUEST, .. }))
        ));
    }
}

#[test]
fn broken_chunks_are_a_fault_of_the_body() {
    let head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for chunks in [
        "+5\r\nhello",
        "0x5\r\nhello",
        "\r\n",
        " 5\r\nhello",
        "5\nhello",
        "5\rhello",
        "5;a\nb\r\nhello",
        "5\r\nhelloX\r\n",
        "5\r\nhello\n",
        "0\r\n\n",
        "0\r\nx: y\n",
        "1000000000000000\r\n",
    ] {
        for size in [1, 1_000] {
            let (_, _, fault) = walk(&[&head[..], chunks.as_bytes()].concat(), size);
            assert_eq!(fault, Some(Fault::Body), "{chunks:?}");
        }
    }
}

#[test]
fn nothing_passes_before_the_message_before_it_is_answered() {
    let plain = &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..];
    let sized = &b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nok"[..];
    let chunked = &b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"[..];
    for message in [plain, sized, chunked] {
        let all = [message, b"\x81\x00"].concat();
        let begun = || {
            let mut walk = Walk::new(LIMITS);
            assert_eq!(walk.step(&all), Step { pass: message.len(), fault: None });
            assert!(walk.is_between());
            assert_eq!(walk.step(b"\x81\x00"), Step { pass: 0, fault: None });
            walk
        };
        let mut switched = begun();
        switched.go_on(true);
        assert_eq!(switched.step(b"\x81\x00"), Step { pass: 2, fault: None });
        let mut answered = begun();
        answered.go_on(false);
        assert!(matches!(answered.step(b"\x81\x00").fault, Some(Fault::Head(_))));
    }
}

#[test]
fn preface_of_http2_is_one_only_as_the_first_line() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04";
    assert_eq!(Walk::new(LIMITS).step(preface), Step { pass: preface.len(), fault: None });
    let later = [b"GET / HTTP/1.1\r\n\r\n", &preface[..]].concat();
    let (_, heads, fault) = walk(&later, 1_000);
    assert_eq!(heads, 1);
    assert!(matches!(fault, Some(Fault::Head(bad)) if bad.status == 505));
}

#[test]
fn what_is_too_long_is_refused_before_it_ends() {
    let status = |bytes: &[u8]| match walk(bytes, 1_000).2 {
        Some(Fault::Head(bad)) => bad.status.as_u16(),
        other => panic!("{other:?}"),
    };
    let long = "x".repeat(70_000);
    assert_eq!(status(format!("GET /{long}").as_bytes()), 414);
    assert_eq!(status(format!("GET /{} HTTP/1.1\r\n", &long[..16_384]).as_bytes()), 414);
    assert_eq!(status(format!("GET / HTTP/1.1\r\nx: {long}").as_bytes()), 431);
    assert_eq!(status(format!("GET / HTTP/1.1\r\n{long}").as_bytes()), 431);
    let many = "x: y\r\n".repeat(101);
    assert_eq!(status(format!("GET / HTTP/1.1\r\n{many}").as_bytes()), 431);
    assert_eq!(status(b"\x16\x03\x01\x02"), 400);
}

#[test]
fn targets_that_the_parser_behind_does_not_take_are_refused_here() {
    let fault = |target: &[u8]| {
        let limits = HeadLimits { bytes: 200_000, headers: 100, target: 65_536 };
        let head = [b"GET ", target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        Walk::new(limits).step(&head).fault
    };
    let illegal = Some(Fault::Head(bad("the target is illegal")));
    for target in [
        &b"/a<b>"[..],
        b"/a`b",
        b"/x?q=\"y\"",
        b"/a?x=<",
        b"/\xff",
        b"/a\x7f",
        b"a/b",
        b"/a\0",
        b"?a",
    ] {
        assert_eq!(fault(target), illegal, "{}", target.escape_ascii());
    }
    // Each byte that is plain is one for the parser as well, in a path and in a query.
    let plain: Vec<u8> = (0..=255).filter(|byte| is_plain(*byte)).collect();
    for byte in plain {
        let target = [b"/", &[byte][..], b"?", &[byte]].concat();
        assert!(Uri::try_from(&target[..]).is_ok(), "{}", target.escape_ascii());
    }
    for target in ["*", "/", "http://a/b?c", "/caf\u{e9}", "/a?`{}|^", "/{}\"|"] {
        assert_eq!(fault(target.as_bytes()), None, "{target}");
    }
    assert_eq!(fault(&[b'/'; 65_534]), None);
    assert_eq!(fault(&[b'/'; 65_535]), Some(Fault::Head(TARGET_TOO_LONG)));
}

#[test]
fn a_headers_name_that_the_parser_behind_does_not_take_is_too_long() {
    let fault = |bytes| {
        let limits = HeadLimits { bytes: 200_000, headers: 100, target: 1_024 };
        let head = format!("GET / HTTP/1.1\r\n{}: 1\r\n\r\n", "x".repeat(bytes));
        Walk::new(limits).step(head.as_bytes()).fault
    };
    assert_eq!(fault(65_535), None);
    assert!(matches!(fault(65_536), Some(Fault::Head(bad)) if bad.status == 431));
}
