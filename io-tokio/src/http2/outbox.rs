//! What is to be written: small things gathered, large ones as they came.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

use super::frame::{DATA, END_STREAM, FrameHead};

/// Frames in the order in which they go out.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    whole: VecDeque<Bytes>,
    /// What comes after `whole`, and may still grow.
    pub(super) tail: BytesMut,
    whole_bytes: usize,
}

impl Outbox {
    /// Adds a frame of data.
    pub(super) fn put_data(&mut self, stream: u32, data: Bytes, ends: bool) {
        let flags = if ends { END_STREAM } else { 0 };
        FrameHead { len: data.len(), kind: DATA, flags, stream }.write(&mut self.tail);
        if data.len() <= COPIED_BYTES_MAX {
            return self.tail.extend_from_slice(&data);
        }
        let before = self.tail.split().freeze();
        self.whole_bytes += before.len() + data.len();
        self.whole.extend([before, data]);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.remaining() == 0
    }
}

impl Buf for Outbox {
    fn remaining(&self) -> usize {
        self.whole_bytes + self.tail.len()
    }

    fn chunk(&self) -> &[u8] {
        self.whole.front().map_or(&self.tail[..], |chunk| &chunk[..])
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let chunks = self.whole.iter().map(|chunk| &chunk[..]).chain([&self.tail[..]]);
        for (slice, chunk) in slices.iter_mut().zip(chunks.filter(|chunk| !chunk.is_empty())) {
            *slice = IoSlice::new(chunk);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut bytes: usize) {
        while let Some(front) = self.whole.front_mut() {
            let part = bytes.min(front.len());
            front.advance(part);
            self.whole_bytes -= part;
            bytes -= part;
            if !front.is_empty() {
                return;
            }
            self.whole.pop_front();
        }
        self.tail.advance(bytes);
    }
}

/// Below, copying costs less than one piece more in a system call.
const COPIED_BYTES_MAX: usize = 1_024;
