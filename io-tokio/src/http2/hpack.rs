//! HPACK (RFC 7541): how HTTP/2 writes header fields.
//!
//! Both sides keep a table of fields that were sent before. [`Encoder`] puts one in when it is sent
//! the second time: what is said once, such as a request's id, would only push out what is said
//! always. Credentials never come in: clients share the link, and none may find out by the length
//! of its own requests what another has sent.

use std::collections::VecDeque;
use std::sync::LazyLock;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{self, HeaderName, HeaderValue};
use rustc_hash::FxHashMap;

mod huffman;

/// The name of a field as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Authority,
    Method,
    Path,
    Protocol,
    Scheme,
    Status,
    Field(HeaderName),
    /// Or its value, is none that HTTP allows.
    Illegal,
}

impl Name {
    fn of(bytes: &[u8]) -> Self {
        match bytes {
            b":authority" => Self::Authority,
            b":method" => Self::Method,
            b":path" => Self::Path,
            b":protocol" => Self::Protocol,
            b":scheme" => Self::Scheme,
            b":status" => Self::Status,
            // Which capital letters are not.
            bytes => HeaderName::from_lowercase(bytes).map_or(Self::Illegal, Self::Field),
        }
    }
}

/// A field, and what it counts for in tables and limits.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: Name,
    pub(super) value: HeaderValue,
    pub(super) size: usize,
    name_len: usize,
}

impl Field {
    /// The same, which keeps nothing else in memory: a value is a part of its whole block, and a
    /// table of few bytes would keep a hundred of these.
    fn alone(&self) -> Self {
        let Self { name, value, size, name_len } = self;
        let copied = HeaderValue::from_bytes(value.as_bytes());
        let value = copied.unwrap_or_else(|_| value.clone());
        Self { name: name.clone(), value, size: *size, name_len: *name_len }
    }
}

/// A block that cannot be read. Nothing that comes after it on the connection can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// Reads the peer's fields.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The newest first.
    table: VecDeque<Field>,
    size: usize,
    /// As the peer last set it, if it did.
    shrunk_to: Option<usize>,
}

impl Decoder {
    /// Reads `block` and gives each field to `take`.
    pub(super) fn decode(
        &mut self,
        block: &Bytes,
        mut take: impl FnMut(Field),
    ) -> Result<(), Unreadable> {
        let mut rest = Reader { block, at: 0 };
        let mut begins = true;
        while let Some(first) = rest.peek() {
            if first & 0x80 != 0 {
                let index = rest.number(7)?;
                take(self.field(index)?.clone());
            } else if first & 0xe0 == 0x20 {
                let size = rest.number(5)?;
                if size > TABLE_BYTES || !begins {
                    return Err(Unreadable);
                }
                self.shrunk_to = Some(size);
                self.make_room(0);
                continue;
            } else {
                let is_kept = first & 0x40 != 0;
                let mut field = self.literal(&mut rest, if is_kept { 6 } else { 4 })?;
                if first & 0xf0 == 0x10 {
                    field.value.set_sensitive(true);
                }
                if is_kept {
                    self.keep(&field);
                }
                take(field);
            }
            begins = false;
        }
        Ok(())
    }

    fn literal(&self, rest: &mut Reader<'_>, bits: u32) -> Result<Field, Unreadable> {
        let (name, name_len) = match rest.number(bits)? {
            0 => {
                let name = rest.string()?;
                (Name::of(&name), name.len())
            }
            index => {
                let known = self.field(index)?;
                (known.name.clone(), known.name_len)
            }
        };
        let value = rest.string()?;
        let size = name_len + value.len() + FIELD_BYTES;
        Ok(match HeaderValue::from_maybe_shared(value) {
            Ok(value) => Field { name, value, size, name_len },
            Err(_) => {
                let (name, value) = (Name::Illegal, HeaderValue::from_static(""));
                Field { name, value, size, name_len }
            }
        })
    }

    fn field(&self, index: usize) -> Result<&Field, Unreadable> {
        let index = index.checked_sub(1).ok_or(Unreadable)?;
        let known = STATIC_FIELDS.get(index);
        known.or_else(|| self.table.get(index - STATIC_FIELDS.len())).ok_or(Unreadable)
    }

    fn keep(&mut self, field: &Field) {
        self.make_room(field.size);
        if field.size <= self.size_max() {
            self.size += field.size;
            self.table.push_front(field.alone());
        }
    }

    fn make_room(&mut self, bytes: usize) {
        while self.size + bytes > self.size_max()
            && let Some(oldest) = self.table.pop_back()
        {
            self.size -= oldest.size;
        }
    }

    fn size_max(&self) -> usize {
        self.shrunk_to.unwrap_or(TABLE_BYTES)
    }
}

struct Reader<'a> {
    block: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.block.get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, Unreadable> {
        let byte = self.peek().ok_or(Unreadable)?;
        self.at += 1;
        Ok(byte)
    }

    /// An integer that begins in the last `bits` of the next byte (section 5.1).
    fn number(&mut self, bits: u32) -> Result<usize, Unreadable> {
        let most = (1 << bits) - 1;
        let mut value = usize::from(self.next()?) & most;
        if value < most {
            return Ok(value);
        }
        for shift in [0, 7, 14, 21] {
            let byte = usize::from(self.next()?);
            value += (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Unreadable)
    }

    fn string(&mut self) -> Result<Bytes, Unreadable> {
        let is_coded = self.peek().ok_or(Unreadable)? & 0x80 != 0;
        let len = self.number(7)?;
        let range = self.at..self.at + len;
        let coded = self.block.get(range.clone()).ok_or(Unreadable)?;
        self.at = range.end;
        if is_coded {
            return huffman::decode(coded).map(Bytes::from).ok_or(Unreadable);
        }
        Ok(self.block.slice(range))
    }
}

/// Writes our fields.
#[derive(Debug)]
pub(super) struct Encoder {
    /// The newest last.
    table: VecDeque<Box<[u8]>>,
    size: usize,
    size_max: usize,
    /// The peer is to be told of `size_max`.
    is_resized: bool,
    /// How many were ever put in.
    inserted: u32,
    /// By hash: what was sent last, and when it was put in.
    seen: Box<[Seen; 128]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    hash: u32,
    /// The count of insertions after its own; 0 if it was not put in.
    inserted: u32,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            table: VecDeque::new(),
            size: 0,
            size_max: TABLE_BYTES,
            is_resized: false,
            inserted: 0,
            seen: Box::new([Seen::default(); 128]),
        }
    }
}

impl Encoder {
    /// What the peer keeps, in bytes.
    pub(super) fn resize(&mut self, bytes: usize) {
        let size_max = bytes.min(TABLE_BYTES);
        self.is_resized |= size_max != self.size_max;
        self.size_max = size_max;
        self.make_room(0);
    }

    /// Begins a block.
    pub(super) fn begin(&mut self, to: &mut BytesMut) {
        if std::mem::take(&mut self.is_resized) {
            // It may have been smaller in between, of which nothing is left to be seen.
            number(0x20, 5, 0, to);
            if self.size_max > 0 {
                self.clear();
                number(0x20, 5, self.size_max, to);
            }
        }
    }

    /// Writes a header.
    pub(super) fn header(&mut self, name: &HeaderName, value: &HeaderValue, to: &mut BytesMut) {
        let is_secret = value.is_sensitive() || SECRETS.contains(name);
        self.field(name.as_str(), value.as_bytes(), is_secret, to);
    }

    /// Writes a field that is no secret.
    pub(super) fn pseudo(&mut self, name: &'static str, value: &str, to: &mut BytesMut) {
        self.field(name, value.as_bytes(), false, to);
    }

    fn field(&mut self, name: &str, value: &[u8], is_secret: bool, to: &mut BytesMut) {
        if is_secret {
            return self.literal(0x10, 4, name, value, to);
        }
        let hash = hash(name.as_bytes(), value);
        let seen = self.seen[(hash % 128) as usize];
        if seen.hash == hash && seen.inserted > 0 {
            let age = self.inserted - seen.inserted;
            let at = self.table.len().checked_sub(age as usize + 1);
            if at.is_some_and(|at| is_field(&self.table[at], name, value)) {
                return number(0x80, 7, STATIC.len() + 1 + age as usize, to);
            }
        }
        let is_known = seen.hash == hash;
        let mut inserted = 0;
        let size = name.len() + value.len() + FIELD_BYTES;
        // One that is so large would push out too many.
        if is_known && size <= self.size_max / 4 && self.inserted < u32::MAX {
            self.literal(0x40, 6, name, value, to);
            self.make_room(size);
            self.table.push_back([name.as_bytes(), value].concat().into());
            self.size += size;
            self.inserted += 1;
            inserted = self.inserted;
        } else {
            self.literal(0, 4, name, value, to);
        }
        self.seen[(hash % 128) as usize] = Seen { hash, inserted };
    }

    fn literal(&self, kind: u8, bits: u32, name: &str, value: &[u8], to: &mut BytesMut) {
        match STATIC_NAMES.get(name) {
            Some(index) => number(kind, bits, *index, to),
            None => {
                to.put_u8(kind);
                string(name.as_bytes(), to);
            }
        }
        string(value, to);
    }

    fn make_room(&mut self, bytes: usize) {
        while self.size + bytes > self.size_max
            && let Some(oldest) = self.table.pop_front()
        {
            self.size -= oldest.len() + FIELD_BYTES;
        }
    }

    fn clear(&mut self) {
        self.table.clear();
        self.size = 0;
    }
}

fn is_field(kept: &[u8], name: &str, value: &[u8]) -> bool {
    kept.split_at_checked(name.len()).is_some_and(|(n, v)| n == name.as_bytes() && v == value)
}

fn number(kind: u8, bits: u32, value: usize, to: &mut BytesMut) {
    let most = (1 << bits) - 1;
    if value < most {
        return to.put_u8(kind | low(value));
    }
    to.put_u8(kind | low(most));
    let mut rest = value - most;
    while rest >= 0x80 {
        to.put_u8(low(rest) | 0x80);
        rest >>= 7;
    }
    to.put_u8(low(rest));
}

/// The last seven bits.
fn low(value: usize) -> u8 {
    u8::try_from(value & 0x7f).unwrap_or_default()
}

fn string(text: &[u8], to: &mut BytesMut) {
    number(0, 7, text.len(), to);
    to.put_slice(text);
}

/// Not against enemies: who makes two fields collide makes the block longer, and nothing else.
fn hash(name: &[u8], value: &[u8]) -> u32 {
    let mut hash: u64 = 0;
    let mut add = |word: u64| hash = (hash.rotate_left(5) ^ word).wrapping_mul(HASH_FACTOR);
    for text in [name, value] {
        add(text.len() as u64);
        match text.last_chunk() {
            Some(last) => {
                text.as_chunks().0.iter().for_each(|chunk| add(u64::from_le_bytes(*chunk)));
                // Some of it for the second time.
                add(u64::from_le_bytes(*last));
            }
            None => add(text.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))),
        }
    }
    u32::try_from(hash >> 32).unwrap_or_default()
}

/// Odd, with its bits well mixed: the golden ratio's.
const HASH_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
/// What every field counts for beside its bytes (section 4.1).
const FIELD_BYTES: usize = 32;
/// HTTP/2's default, which neither side of ours changes.
const TABLE_BYTES: usize = 4_096;
const SECRETS: [HeaderName; 4] =
    [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION, header::SET_COOKIE];

static STATIC_FIELDS: LazyLock<Vec<Field>> = LazyLock::new(|| {
    let field = |(name, value): &(&'static str, &'static str)| Field {
        name: Name::of(name.as_bytes()),
        value: HeaderValue::from_static(value),
        size: name.len() + value.len() + FIELD_BYTES,
        name_len: name.len(),
    };
    STATIC.iter().map(field).collect()
});

/// The first index of each name.
static STATIC_NAMES: LazyLock<FxHashMap<&'static str, usize>> = LazyLock::new(|| {
    STATIC.iter().enumerate().rev().map(|(index, (name, _))| (*name, index + 1)).collect()
});

/// The table that everybody has from the beginning (appendix A).
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
#[path = "hpack/tests.rs"]
mod tests;
