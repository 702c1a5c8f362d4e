//! Bodies of ours: sent as far as there is room, read to their end.

use std::future::poll_fn;

use bytes::Bytes;
use http::HeaderMap;
use io_tokio::http2::{Error, Receiving, Sending};

/// Sends `bytes` as windows allow.
pub(crate) async fn send_all(
    sending: &mut Sending,
    mut bytes: Bytes,
    ends: bool,
) -> Result<(), Error> {
    while !bytes.is_empty() {
        let room = poll_fn(|cx| sending.poll_room(cx)).await?;
        let piece = bytes.split_to(room.min(bytes.len()));
        sending.send_data(piece, ends && bytes.is_empty())?;
        if bytes.is_empty() {
            return Ok(());
        }
    }
    if ends { sending.send_data(Bytes::new(), true) } else { Ok(()) }
}

/// All of a body and its trailers.
pub(crate) async fn read(mut body: Receiving) -> Result<(Vec<u8>, Option<HeaderMap>), Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.data().await {
        bytes.extend_from_slice(&piece?);
    }
    let trailers = poll_fn(|cx| body.poll_trailers(cx)).await?;
    Ok((bytes, trailers))
}

/// `len` bytes that are not the same anywhere else.
pub(crate) fn pattern(seed: usize, len: usize) -> Bytes {
    (0..len).map(|at| byte(seed, at)).collect()
}

/// The one of them at a place.
pub(crate) fn byte(seed: usize, at: usize) -> u8 {
    u8::try_from((seed * 37 + at * 7 + at / 251) % 256).unwrap()
}
