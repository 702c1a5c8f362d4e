//! HTTP/2's frames by hand: all that a peer may say, and what it must not.

use bytes::{Buf, BytesMut};
use io_tokio::http2::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, split};
use tokio::time::timeout;

use crate::PATIENCE;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const WITH_PRIORITY: u8 = 32;

pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
pub(crate) const ENABLE_PUSH: u16 = 2;
pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
pub(crate) const MAX_FRAME_SIZE: u16 = 5;
pub(crate) const ENABLE_CONNECT_PROTOCOL: u16 = 8;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The pseudo fields of a GET and of a POST.
pub(crate) const GET: [(&str, &str); 3] = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
pub(crate) const POST: [(&str, &str); 3] =
    [(":method", "POST"), (":scheme", "http"), (":path", "/")];

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// What RST_STREAM or GOAWAY says.
    pub(crate) fn reason(&self) -> Reason {
        assert!(matches!(self.kind, RST_STREAM | GOAWAY), "{self:?} has no reason");
        u32::from_be_bytes(*self.payload.last_chunk().unwrap()).into()
    }

    /// The number that a WINDOW_UPDATE or GOAWAY begins with.
    pub(crate) fn number(&self) -> u32 {
        u32::from_be_bytes(*self.payload.first_chunk().unwrap())
    }
}

/// The other end of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    reader: ReadHalf<DuplexStream>,
    writer: WriteHalf<DuplexStream>,
    unread: BytesMut,
    pings: u64,
}

impl Peer {
    pub(crate) fn new(io: DuplexStream) -> Self {
        let (reader, writer) = split(io);
        Self { reader, writer, unread: BytesMut::new(), pings: 0 }
    }

    /// Sends `bytes`, as far as anybody takes them.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        drop(timeout(PATIENCE, self.writer.write_all(bytes)).await.expect("it reads"));
    }

    pub(crate) async fn send_all(&mut self, frames: &[Vec<u8>]) {
        self.send(&frames.concat()).await;
    }

    /// Sends nothing more.
    pub(crate) async fn close(&mut self) {
        self.writer.shutdown().await.unwrap();
    }

    async fn read(&mut self) -> bool {
        let read = self.reader.read_buf(&mut self.unread);
        timeout(PATIENCE, read).await.expect("something comes").unwrap() > 0
    }

    /// What a client begins with.
    pub(crate) async fn preface(&mut self) {
        while self.unread.len() < PREFACE.len() {
            assert!(self.read().await, "a preface comes");
        }
        assert_eq!(self.unread.split_to(PREFACE.len()), PREFACE);
    }

    /// The next frame; `None` when there are no more.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some([a, b, c, kind, flags, stream @ ..]) = self.unread.first_chunk::<9>() {
                let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
                let (kind, flags, stream) = (*kind, *flags, u32::from_be_bytes(*stream));
                if self.unread.len() >= 9 + len {
                    self.unread.advance(9);
                    let payload = self.unread.split_to(len).to_vec();
                    return Some(Frame { kind, flags, stream, payload });
                }
            }
            if !self.read().await {
                assert!(self.unread.is_empty(), "half a frame came");
                // As whoever has heard the end does: a server waits for that.
                self.writer.shutdown().await.ok();
                return None;
            }
        }
    }

    /// The next frame of a `kind`, whatever comes before it.
    pub(crate) async fn find(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().await;
            let frame = frame.unwrap_or_else(|| panic!("the end came before a frame of {kind}"));
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// All frames until the end.
    pub(crate) async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }

    /// All frames that come before the answer to a ping: those that what was said before has led
    /// to.
    pub(crate) async fn until_quiet(&mut self) -> Vec<Frame> {
        self.pings += 1;
        let payload = self.pings.to_be_bytes();
        self.send(&frame(PING, 0, 0, &payload)).await;
        let mut frames = Vec::new();
        loop {
            let frame = self.next().await.expect("the ping is answered");
            if frame.kind == PING && frame.payload == payload {
                assert_eq!(frame.flags, ACK);
                return frames;
            }
            frames.push(frame);
        }
    }

    /// Those of them that are about `stream`.
    pub(crate) async fn until_quiet_on(&mut self, stream: u32) -> Vec<Frame> {
        let frames = self.until_quiet().await;
        frames.into_iter().filter(|frame| frame.stream == stream).collect()
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

pub(crate) fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let value =
        |(name, value): &(u16, u32)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, &values.iter().flat_map(value).collect::<Vec<_>>())
}

/// A whole head in one frame.
pub(crate) fn head(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, &block(fields))
}

pub(crate) fn data(stream: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, flags, stream, bytes)
}

pub(crate) fn reset(stream: u32, reason: Reason) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &u32::from(reason).to_be_bytes())
}

pub(crate) fn window_update(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

pub(crate) fn goaway(last: u32, reason: Reason) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), u32::from(reason).to_be_bytes()].concat())
}

/// Fields as HPACK writes them without any table.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let literal = |(name, value): &(&str, &str)| [vec![0], string(name), string(value)].concat();
    fields.iter().flat_map(literal).collect()
}

pub(crate) fn string(text: &str) -> Vec<u8> {
    let mut coded = Vec::new();
    let mut rest = text.len();
    if rest < 127 {
        coded.push(u8::try_from(rest).unwrap());
    } else {
        coded.push(127);
        rest -= 127;
        while rest >= 128 {
            coded.push(u8::try_from(rest % 128).unwrap() | 128);
            rest /= 128;
        }
        coded.push(u8::try_from(rest).unwrap());
    }
    coded.extend_from_slice(text.as_bytes());
    coded
}

/// A field as it was written: the first byte, and the value if it has one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) first: u8,
    pub(crate) value: Option<String>,
}

impl Written {
    /// The reader has to keep it, or to have kept it.
    pub(crate) const fn needs_a_table(&self) -> bool {
        self.first & 0xc0 != 0
    }
}

/// The fields of `block`, without any knowledge of tables.
pub(crate) fn fields(mut block: &[u8]) -> Vec<Written> {
    let mut fields = Vec::new();
    while let Some(first) = block.first().copied() {
        let (bits, has_value) = match first {
            0x80.. => (7, false),
            0x40.. => (6, true),
            0x20.. => (5, false),
            _ => (4, true),
        };
        let index = number(&mut block, bits);
        if has_value && index == 0 {
            text(&mut block);
        }
        let value = has_value.then(|| text(&mut block));
        fields.push(Written { first, value });
    }
    fields
}

fn number(block: &mut &[u8], bits: u32) -> usize {
    let most = (1 << bits) - 1;
    let mut value = usize::from(block.get_u8()) & most;
    if value < most {
        return value;
    }
    for shift in (0..).step_by(7) {
        let byte = usize::from(block.get_u8());
        value += (byte & 127) << shift;
        if byte < 128 {
            break;
        }
    }
    value
}

fn text(block: &mut &[u8]) -> String {
    assert!(block[0] < 128, "Huffman's code is not written");
    let len = number(block, 7);
    let (text, rest) = block.split_at(len);
    *block = rest;
    String::from_utf8(text.to_vec()).unwrap()
}
