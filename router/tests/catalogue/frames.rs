//! HTTP/2 by hand: frames as bytes, header blocks of literals that are never indexed.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::stage::PATIENCE;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) type Field<'a> = (&'a [u8], &'a [u8]);

/// A frame that came.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// One connection.
pub(crate) struct Http2(BufReader<TcpStream>);

impl Http2 {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::with_settings(address, &[]).await
    }

    /// Begins with these settings: an identifier and a value each.
    pub(crate) async fn with_settings(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat())
            .collect();
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let bytes = [&preface[..], &frame(SETTINGS, 0, 0, &payload)].concat();
        stream.write_all(&bytes).await.unwrap();
        Self(BufReader::new(stream))
    }

    /// Sends bytes; whether they could be sent.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = timeout(PATIENCE, self.0.get_mut().write_all(bytes)).await;
        sent.is_ok_and(|sent| sent.is_ok())
    }

    /// The next frame; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let read = async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let length =
                usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            Some(Frame { kind: head[3], stream, payload })
        };
        timeout(PATIENCE, read).await.expect("a frame or an end")
    }

    /// What comes of a stream: its status, or the code with which it, or the connection, ended.
    pub(crate) async fn outcome(&mut self, stream: u32) -> Came {
        while let Some(frame) = self.next().await {
            match frame.kind {
                HEADERS if frame.stream == stream => return Came::Status(status(&frame.payload)),
                RST_STREAM if frame.stream == stream => return Came::Reset(code(&frame.payload)),
                GOAWAY => return Came::GoAway(code(&frame.payload[4..])),
                _ => {}
            }
        }
        Came::End
    }

    /// Sends `bytes` again and again, and reads what comes meanwhile if it `reads`. Ends when the
    /// router has ended the connection, or has taken `times` of them. What it said at the end.
    pub(crate) async fn flood(
        self,
        times: u32,
        reads: bool,
        mut bytes: impl FnMut(u32) -> Vec<u8>,
    ) -> Flooded {
        let (mut reader, mut writer) = tokio::io::split(self.0);
        let writing = async {
            for time in 0..times {
                if writer.write_all(&bytes(time)).await.is_err() {
                    return false;
                }
            }
            writer.flush().await.is_ok()
        };
        let reading = async {
            let mut said = Vec::new();
            if reads {
                reader.read_to_end(&mut said).await.ok();
            }
            said
        };
        if !reads {
            return Flooded { taken: timeout(PATIENCE, writing).await.ok(), goaway: None };
        }
        let mut writing = std::pin::pin!(writing);
        let mut reading = std::pin::pin!(reading);
        let said = tokio::select! {
            biased;
            said = &mut reading => said,
            taken = &mut writing => match timeout(GRACE, reading).await {
                Ok(said) => said,
                Err(_) => return Flooded { taken: Some(taken), goaway: None },
            },
        };
        Flooded { taken: Some(false), goaway: goaway(&said) }
    }
}

/// What came of a flood.
#[derive(Debug)]
pub(crate) struct Flooded {
    /// Whether all of it was taken; `None` if it was not, and yet the connection is open.
    pub(crate) taken: Option<bool>,
    /// The code of the GOAWAY that ended the connection.
    pub(crate) goaway: Option<u32>,
}

/// The code of the last GOAWAY in `bytes`, which are frames.
fn goaway(mut bytes: &[u8]) -> Option<u32> {
    let mut last = None;
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = bytes {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        if *kind == GOAWAY {
            last = rest.get(4..8).map(code);
        }
        bytes = rest.get(length..).unwrap_or_default();
    }
    last
}

/// How long a router may take to end a connection on which enough was sent.
const GRACE: std::time::Duration = std::time::Duration::from_secs(3);

/// What came of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    Status(u16),
    Reset(u32),
    GoAway(u32),
    /// The connection was closed.
    End,
    Silence,
}

fn code(payload: &[u8]) -> u32 {
    u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]])
}

/// One frame as bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// A header block.
pub(crate) fn block(fields: &[Field<'_>]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            integer(&mut block, text.len());
            block.extend_from_slice(text);
        }
    }
    block
}

/// An integer with a prefix of 7 bits.
fn integer(block: &mut Vec<u8>, value: usize) {
    let Some(mut rest) = value.checked_sub(127) else {
        block.push(u8::try_from(value).unwrap());
        return;
    };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128 + 128).unwrap());
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// A request in one frame.
pub(crate) fn request(stream: u32, fields: &[Field<'_>], ends: bool) -> Vec<u8> {
    let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
    frame(HEADERS, flags, stream, &block(fields))
}

/// The head of a GET.
pub(crate) fn get<'a>(target: &'a str) -> Vec<Field<'a>> {
    vec![
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", target.as_bytes()),
        (b":authority", b"test"),
    ]
}

/// The status in the first block of a connection.
fn status(block: &[u8]) -> u16 {
    match *block {
        [first @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(first - 0x88)],
        // A literal with the name `:status`, whose value is in Huffman's code or not.
        [0x48 | 0x08 | 0x18, length, ref rest @ ..] if length & 0x80 != 0 => {
            let bits = rest[..usize::from(length & 0x7f)].iter();
            let bits = bits.flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1));
            digits(&bits.collect::<Vec<_>>())
        }
        [0x48 | 0x08 | 0x18, 3, ref rest @ ..] => {
            std::str::from_utf8(&rest[..3]).unwrap().parse().unwrap()
        }
        _ => panic!("no status in {block:x?}"),
    }
}

/// Three digits in Huffman's code: 0 to 2 have five bits, the others six.
fn digits(bits: &[u8]) -> u16 {
    let mut at = 0;
    let mut value = 0;
    for _ in 0..3 {
        let number =
            |count| bits[at..at + count].iter().fold(0, |all, bit| all << 1 | u16::from(*bit));
        let (digit, length) = if number(5) < 3 { (number(5), 5) } else { (number(6) - 0x16, 6) };
        value = value * 10 + digit;
        at += length;
    }
    value
}
