//! Heads on the original's wire under bytes, on both of its sides.

use bytes::Bytes;
use io_tokio::wire_v1::head::{
    self, BadHead, HeadBuffer, RESPONSE_BYTES_MAX, Unsayable, read_request, read_response,
    write_request, write_response,
};

/// Reads `bytes` as an extension reads a request's head and as a router reads a response's.
///
/// The first byte says in pieces of what size they arrive.
///
/// # Panics
///
/// Pieces change what is read, more is taken than a head, or what was accepted does not mean the
/// same when it is written again: a find.
pub fn wire_v1(bytes: &[u8]) {
    let Some((&size, bytes)) = bytes.split_first() else { return };
    let size = usize::from(size) + 1;
    let whole = collected(bytes, usize::MAX);
    let pieces = collected(bytes, size);
    assert_eq!(whole, pieces, "in pieces of {size} it says something else");
    let head = match whole {
        Ok(Some((head, rest))) => {
            assert_eq!([&head[..], &rest[..]].concat(), bytes, "bytes are lost");
            assert!(head.len() <= BYTES_MAX);
            head
        }
        Ok(None) => return assert!(bytes.len() <= BYTES_MAX, "no end, and still waiting"),
        Err(error) => {
            assert_eq!(error, BadHead::TooLong);
            return assert!(bytes.len() > BYTES_MAX);
        }
    };
    request_means_the_same_again(&head);
    response_means_the_same_again(&head);
    // Bytes that name neither an instance nor a channel of ours order nothing.
    assert!(!head::is_goaway(&head, "f3a1", "90be"), "an order out of nothing");
}

fn request_means_the_same_again(head: &[u8]) {
    let Ok(request) = read_request(head) else { return };
    let (parts, _) = request.into_parts();
    let text = match write_request(&parts, false) {
        Ok(text) => text,
        Err(Unsayable::Reserved | Unsayable::TooLarge) => return,
        Err(Unsayable::NotAPath) => panic!("{parts:?} was read"),
    };
    assert!(text.iter().filter(|byte| **byte == b'\n').count() <= 66, "too many lines");
    let (again, _) = read_request(&text).expect("what was written can be read").into_parts();
    assert_eq!(again.method, parts.method);
    for name in parts.headers.keys().filter(|name| *name != "te" && *name != "expect") {
        assert!(again.headers.contains_key(name), "{name} is lost");
    }
    // What one writes, the other reads as one head and nothing else.
    let found = collected(&text, usize::MAX).expect("no longer than before");
    assert_eq!(found, Some((text, Bytes::new())));
}

fn response_means_the_same_again(head: &[u8]) {
    let Ok(response) = read_response(head) else { return };
    let (parts, ()) = response.into_parts();
    let Ok(text) = write_response(parts.clone()) else { return };
    assert!(text.len() <= RESPONSE_BYTES_MAX);
    let (again, ()) = read_response(&text).expect("what was written can be read").into_parts();
    assert_eq!((again.status, again.headers), (parts.status, parts.headers));
}

/// The head that arrives in pieces of `size` bytes, and all that follows it.
fn collected(text: &[u8], size: usize) -> Result<Option<(Bytes, Bytes)>, BadHead> {
    let mut buffer = HeadBuffer::new(BYTES_MAX);
    let mut pieces = text.chunks(size);
    while let Some(piece) = pieces.next() {
        if let Some((head, rest)) = buffer.take_in(Bytes::copy_from_slice(piece))? {
            let rest = pieces.fold(rest.to_vec(), |rest, piece| [&rest, piece].concat());
            return Ok(Some((head, rest.into())));
        }
    }
    Ok(None)
}

/// Short, so that a fuzzer gets beyond it.
const BYTES_MAX: usize = 1024;
