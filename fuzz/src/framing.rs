//! The bytes of a client's HTTP/1 connection.

use io_tokio::framing::{Fault, HeadLimits, Walk};

/// The first byte says in what pieces the others come.
///
/// # Panics
///
/// What passes depends on the pieces, or a head passes that is not one in the eyes of the parser
/// that gets it, or a refusal is not the client's fault: a find.
pub fn framing(bytes: &[u8]) {
    let Some((&pieces, bytes)) = bytes.split_first() else { return };
    let whole = walk(bytes, bytes.len().max(1));
    let in_pieces = walk(bytes, usize::from(pieces) + 1);
    // Of two faults in one head, the one that is found first may differ.
    let came = |(passed, heads, fault): &(Vec<u8>, u32, Option<Fault>)| {
        (passed.clone(), *heads, fault.is_some(), *fault == Some(Fault::Body))
    };
    assert_eq!(came(&whole), came(&in_pieces), "in pieces of {}", usize::from(pieces) + 1);
    if let Some(Fault::Head(bad)) = whole.2 {
        let known = bad.status.is_client_error() || matches!(bad.status.as_u16(), 501 | 505);
        assert!(known, "{bad:?}");
    }
    let is_http2 = bytes.starts_with(b"PRI * HTTP/2.0\r\n");
    if whole.1 > 0 && !is_http2 {
        first_head_is_one(&whole.0);
    }
}

/// What passes when `size` bytes come at a time and each message is answered at once, how many
/// heads are among it, and the fault.
fn walk(bytes: &[u8], size: usize) -> (Vec<u8>, u32, Option<Fault>) {
    let limits = HeadLimits { bytes: 1_024, headers: 16, target: 256 };
    let (mut walk, mut held, mut passed) = (Walk::new(limits), Vec::new(), Vec::new());
    for piece in bytes.chunks(size) {
        held.extend_from_slice(piece);
        loop {
            let step = walk.step(&held);
            assert!(step.pass <= held.len(), "{} of {}", step.pass, held.len());
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

/// hyper's parser finds the same end of the first head, and one way only to frame what follows.
fn first_head_is_one(passed: &[u8]) {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(passed);
    let Ok(httparse::Status::Complete(length)) = parsed else {
        // It is stricter in a few places, and then refuses.
        assert!(parsed.is_err(), "a head that passed is not complete");
        return;
    };
    let head = &passed[..length];
    assert!(head.ends_with(b"\r\n\r\n"), "the head ends elsewhere");
    let count = |name: &str| {
        request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)).count()
    };
    let (lengths, codings) = (count("content-length"), count("transfer-encoding"));
    assert!(lengths + codings <= 1, "{lengths} lengths and {codings} codings");
}
