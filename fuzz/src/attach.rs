//! The attach handshake under bytes, on both of its sides.

use std::time::Duration;

use io_tokio::attach::{self, AttachError, Hello, HelloClaim};
use io_tokio::payload::Secret;

use crate::at_once::{Pieces, at_once};

/// Reads `bytes` as a router reads the request of somebody who attaches, and as an extension reads
/// the router's answer.
///
/// The first byte says how the others are meant, as a head or as changes to a right one, and in
/// pieces of what size they arrive.
///
/// # Panics
///
/// More is read than the head, or what is accepted is not what was sent: a find.
pub fn attach(bytes: &[u8]) {
    let Some((&how, bytes)) = bytes.split_first() else { return };
    let size = usize::from(how / 2) + 1;
    if how % 2 == 0 {
        request_is_read(bytes, size);
        answer_is_read(bytes, size);
    } else {
        request_is_read(&changed(sent(&hello()).as_slice(), bytes), size);
        answer_is_read(&changed(ANSWER, bytes), size);
    }
}

fn request_is_read(head: &[u8], size: usize) {
    let whole = read(head, usize::MAX);
    let pieces = read(head, size);
    if let Ok(claim) = &whole {
        assert_eq!(Some(claim), pieces.as_ref().ok(), "in pieces it says something else");
    }
    let Ok(claim) = pieces else { return };
    assert!(!claim.verify(&token(), b""), "made without the token: {claim:?}");
    let again = Hello {
        host: "router:5004".to_owned(),
        instance: claim.instance.clone(),
        slots: claim.slots,
        lease: claim.lease,
        cold: claim.cold,
    };
    let read = read(&sent(&again), size).expect("what was accepted can be said again");
    assert!(read.verify(&token(), EXPORTER), "made with the token: {read:?}");
    assert_eq!(
        (&read.instance, read.slots, read.lease, read.cold),
        (&claim.instance, claim.slots, claim.lease, claim.cold)
    );
}

fn read(head: &[u8], size: usize) -> Result<HelloClaim, AttachError> {
    let mut io = Pieces { rest: head, size };
    let claim = at_once(attach::read(&mut io));
    let taken = head.len() - io.rest.len();
    assert!(taken <= HEAD_BYTES_MAX, "{taken} bytes were read");
    claim
}

/// What follows the router's answer belongs to HTTP/2: none of it may be taken.
fn answer_is_read(answer: &[u8], size: usize) {
    let mut io = tokio::io::join(Pieces { rest: answer, size }, Vec::new());
    let attached = at_once(attach::request(&mut io, &hello(), &token(), EXPORTER));
    let rest = io.into_inner().0.rest;
    let taken = &answer[..answer.len() - rest.len()];
    assert!(taken.len() <= HEAD_BYTES_MAX, "{} bytes were read", taken.len());
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
    match attached {
        Ok(()) | Err(AttachError::Refused { .. }) => {
            assert_eq!(Some(taken.len()), end, "an answer ends at its first empty line");
        }
        Err(_) => {}
    }
}

/// The bytes that say `hello`.
fn sent(hello: &Hello) -> Vec<u8> {
    let mut io = tokio::io::join(ANSWER, Vec::new());
    at_once(attach::request(&mut io, hello, &token(), EXPORTER)).expect("the answer accepts");
    io.into_inner().1
}

fn hello() -> Hello {
    Hello {
        host: "10.0.0.1:5004".to_owned(),
        instance: "i-1_a".to_owned(),
        slots: 10,
        lease: Duration::from_secs(59),
        cold: true,
    }
}

fn token() -> Secret {
    Secret::from_bytes([7; 32])
}

/// `right` with changes of three bytes each: where, another byte, and whether it is put in place of
/// the one there, before it, or nothing in place of both.
fn changed(right: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut head = right.to_vec();
    for [place, byte, how] in changes.as_chunks::<3>().0 {
        // Both a head's start and its far end are within reach.
        let place = (usize::from(*place) * 2 + usize::from(how / 128)) % (head.len() + 1);
        match how % 3 {
            0 => head.insert(place, *byte),
            1 if place < head.len() => head[place] = *byte,
            _ if place < head.len() => drop(head.remove(place)),
            _ => {}
        }
    }
    head
}

const ANSWER: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: lambda-dispatch/2\r\n\r\n";
const EXPORTER: &[u8] = b"exporter";
/// As the handshake's documentation says.
const HEAD_BYTES_MAX: usize = 4096;
