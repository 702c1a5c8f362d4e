//! Frames: read, and made of a few bytes each so that most of them are fine.

/// A frame.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// That at the beginning of `bytes`, and how many it takes.
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let ([a, b, c, kind, flags, stream @ ..], rest) = bytes.split_first_chunk::<9>()?;
        let payload = rest.get(..u32::from_be_bytes([0, *a, *b, *c]) as usize)?.to_vec();
        let stream = u32::from_be_bytes(*stream) & 0x7fff_ffff;
        let taken = 9 + payload.len();
        Some((Self { kind: *kind, flags: *flags, stream, payload }, taken))
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let len = u32::try_from(self.payload.len()).expect("a short payload").to_be_bytes();
        let head = [&len[1..], &[self.kind, self.flags], &self.stream.to_be_bytes()].concat();
        [head, self.payload.clone()].concat()
    }
}

/// Bytes to decide by; 0 for ever when they are over.
#[derive(Debug)]
pub(super) struct Choices<'a>(pub(super) &'a [u8]);

impl<'a> Choices<'a> {
    pub(super) fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(super) fn take(&mut self, bytes: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(bytes.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Some of few, or of many.
    pub(super) fn size(&mut self) -> usize {
        let byte = self.next();
        let few = usize::from(byte & 0x1f);
        match byte >> 5 {
            0..=2 => few,
            3 => few << 6,
            4 => few << 10,
            5 => 16_384 - 16 + few,
            6 => 65_535 - 16 + few,
            _ => few << 14,
        }
    }

    /// The id of a stream: mostly one of the first, or near `last`.
    fn stream(&mut self, last: u32) -> u32 {
        let byte = self.next();
        let few = u32::from(byte & 0x0f);
        match byte >> 4 {
            0..=7 => 2 * few + 1,
            8..=12 => last.saturating_sub(2 * few).max(1),
            13 => last + 1 + few,
            14 => 2 * few,
            _ => 0x7fff_ffff - few,
        }
    }

    /// Bytes of a head's fields.
    fn fields(&mut self, is_server: bool) -> Vec<u8> {
        let how = self.next();
        let mut block = Vec::new();
        if how & 1 == 0 {
            block.extend_from_slice(match (is_server, how >> 5) {
                (true, 0..=3) => &[0x82, 0x86, 0x84],
                (true, 4..=5) => b"\x83\x86\x44\x02/a\x41\x01h",
                (true, 6) => b"\x02\x07CONNECT\x01\x04a:80",
                (true, _) => b"\x02\x07CONNECT\x87\x84\x41\x01h\x40\x09:protocol\x09websocket",
                (false, 0..=4) => &[0x88],
                (false, 5) => &[0x89],
                (false, 6) => b"\x48\x03103",
                (false, _) => &[0x8b],
            });
        }
        for _ in 0..how >> 1 & 7 {
            let byte = self.next();
            let few = byte & 0x0f;
            match byte >> 4 {
                // From the tables.
                0..=3 => block.push(0xbe + few),
                4 => block.push(0x80 + 4 * few),
                // Into it.
                5 | 6 => block.extend_from_slice(&[0x40, 2, b'x', b'a' + few, 1, byte]),
                7 => block.extend([&[0x40, 1, b'y', 100][..], &[b'v'; 100]].concat()),
                8 => block.extend([&[0x7f, 0, 0x7f, few << 3 | 1][..], &[b'w'; 255]].concat()),
                // content-length, of a few bytes or many.
                9 => block.extend_from_slice(&[0x0f, 0x0d, 1, b'0' + few % 10]),
                10 => block.extend_from_slice(&[0x5c, 3, b'1' + few % 8, b'2', b'0']),
                11 => block.extend_from_slice(&[0x20 | few << 1]),
                12 => block.extend_from_slice(&[0x3f, 0xe1, few << 1]),
                13 => block.extend_from_slice(&[0x04, 0x82, few << 4 | 7, 0xff]),
                14 => block.extend_from_slice(b"\x00\x02te\x08trailers"),
                _ => block.extend_from_slice(self.take(few.into())),
            }
        }
        block
    }

    fn with_padding(&mut self, flags: &mut u8, payload: Vec<u8>) -> Vec<u8> {
        let how = self.next();
        if how < 0xe0 {
            return payload;
        }
        *flags |= PADDED;
        let padding = how & 0x1f;
        [vec![padding], payload, vec![0; usize::from(padding)]].concat()
    }

    /// The bytes of a frame or a few.
    pub(super) fn frames(&mut self, kind: u8, is_server: bool, last: u32) -> Vec<u8> {
        let mut flags = 0;
        let (kind, stream, payload) = match kind {
            // A new stream at a server is what most of what comes needs.
            0 if is_server => return self.head(if last == 0 { 1 } else { last + 2 }, true),
            0 | 1 => {
                let stream = self.stream(last);
                return self.head(stream, is_server);
            }
            2 | 3 => {
                let (stream, size) = (self.stream(last), self.size());
                flags = u8::from(self.next() & 3 == 0) * END_STREAM;
                let payload = self.with_padding(&mut flags, vec![b'd'; size.min(20_000)]);
                (DATA, stream, payload)
            }
            4 => {
                let stream = if self.next() & 3 == 0 { 0 } else { self.stream(last) };
                (WINDOW_UPDATE, stream, self.number().to_be_bytes().to_vec())
            }
            5 => {
                let mut payload = Vec::new();
                for _ in 0..self.next() & 3 {
                    payload.extend([0, self.next() % 9]);
                    payload.extend(self.number().to_be_bytes());
                }
                (SETTINGS, 0, payload)
            }
            6 => {
                (RST_STREAM, self.stream(last), u32::from(self.next() % 16).to_be_bytes().to_vec())
            }
            7 => {
                flags = u8::from(self.next() & 3 == 0);
                let payload = if flags == 0 { [self.next(); 8] } else { *b"dispatch" };
                (PING, 0, payload.to_vec())
            }
            8 => {
                let last = match self.next() {
                    byte @ 0..=0x7f => u32::from(byte),
                    _ => 0x7fff_ffff,
                };
                (GOAWAY, 0, [last.to_be_bytes(), [0, 0, 0, self.next() % 16]].concat())
            }
            9 => {
                flags = self.next();
                let (kind, stream, size) = (self.next() % 12, self.stream(last), self.next());
                (kind, stream, self.take(usize::from(size)).to_vec())
            }
            _ => {
                let size = usize::from(self.next());
                return self.take(size).to_vec();
            }
        };
        Frame { kind, flags, stream, payload }.bytes()
    }

    /// Amounts around those that matter.
    fn number(&mut self) -> u32 {
        let byte = self.next();
        let few = u32::from(byte & 0x1f);
        match byte >> 5 {
            0 => few,
            1 => few << 7,
            2 => 16_384 - 1 + few,
            3 => 65_535 - 16 + few,
            4 | 5 => few << 16,
            6 => 0x7fff_ffff - few,
            _ => u32::MAX - few,
        }
    }

    fn head(&mut self, stream: u32, is_server: bool) -> Vec<u8> {
        let how = self.next();
        let block = self.fields(is_server);
        let mut flags = u8::from(how & 1 == 0) * END_STREAM;
        if how < 0xc0 {
            flags |= END_HEADERS;
            let payload = self.with_padding(&mut flags, block);
            return Frame { kind: HEADERS, flags, stream, payload }.bytes();
        }
        if how & 2 == 0 {
            flags |= END_HEADERS | WITH_PRIORITY;
            let payload = [vec![0, 0, 0, 0, 1], block].concat();
            return Frame { kind: HEADERS, flags, stream, payload }.bytes();
        }
        let (first, second) = block.split_at(block.len() / 2);
        let first = Frame { kind: HEADERS, flags, stream, payload: first.to_vec() };
        let flags = u8::from(how & 4 == 0) * END_HEADERS;
        let second = Frame { kind: CONTINUATION, flags, stream, payload: second.to_vec() };
        [first.bytes(), second.bytes()].concat()
    }
}

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const WITH_PRIORITY: u8 = 32;
