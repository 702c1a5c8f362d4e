//! Where the messages of an HTTP/1 connection begin and end, and whether that is beyond doubt.
//!
//! Two programs that read the same bytes as different messages are how requests are smuggled. hyper
//! reads well, but it forgives: a length beside chunks, codings before `chunked`, a bare LF. So
//! every byte of a client is walked over first. What has one reading only goes on to hyper, which
//! then reads it in that way; all else is refused.
//!
//! ```text
//!        ┌──────────────── its answer has ended ───────────────┐
//!        ▼                                                     │
//!   head, line by line ──▶ length, chunks or nothing ──▶ the message's end
//!        │                                                     │
//!        └─▶ HTTP/2's preface: open for good ◀──────── 101 ────┘
//! ```
//!
//! A head goes on when it is complete, because a part of one cannot be taken back. And no message
//! goes on before the one before it is answered: what follows a request that was switched to
//! another protocol is none, and hyper does not see that a client has left while it has something
//! of that client's to read.

mod chunks;

use http::{StatusCode, Uri};
use memchr::memchr;

use crate::request_head::BadHead;
use chunks::{Behind, Chunks};

/// What a head may be.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes of a head.
    pub bytes: usize,
    /// Header lines.
    pub headers: usize,
    /// Bytes of the target.
    pub target: usize,
}

/// What is known about bytes that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// So many of them may go on.
    pub pass: usize,
    /// What follows them may not.
    pub fault: Option<Fault>,
}

/// What is wrong with what a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A body that is not what its head said.
    Body,
    /// A head.
    Head(BadHead),
}

/// Walks over the bytes of one connection.
#[derive(Debug)]
pub struct Walk {
    limits: HeadLimits,
    state: State,
    heads: u32,
}

#[derive(Debug)]
enum State {
    Head(Head),
    /// In a body with so many bytes to come.
    Sized(u64),
    Chunked(Chunks),
    /// After a message that is not answered, as far as is known.
    Between,
    /// Not HTTP/1, or not any more.
    Open,
}

impl Walk {
    /// For a new connection.
    #[must_use]
    pub fn new(limits: HeadLimits) -> Self {
        Self { limits, state: State::Head(Head::default()), heads: 0 }
    }

    /// Looks at `bytes`: those that came since the last ones that passed. So what did not pass is
    /// to be shown again, with more behind it.
    ///
    /// After a fault there is nothing more to ask.
    pub fn step(&mut self, bytes: &[u8]) -> Step {
        let mut pass = 0;
        loop {
            let rest = bytes.get(pass..).unwrap_or_default();
            if rest.is_empty() {
                return Step { pass, fault: None };
            }
            match &mut self.state {
                State::Head(head) => match head.read(rest, &self.limits, self.heads == 0) {
                    Ok(Some((length, next))) => {
                        pass += length;
                        self.heads += 1;
                        self.state = next;
                    }
                    Ok(None) => return Step { pass, fault: None },
                    Err(bad) => return Step { pass, fault: Some(Fault::Head(bad)) },
                },
                State::Sized(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    pass += taken;
                    *left -= taken as u64;
                    if *left == 0 {
                        self.state = State::Between;
                    }
                }
                State::Chunked(chunks) => {
                    let (taken, behind) = chunks.read(rest);
                    pass += taken;
                    match behind {
                        Behind::More => {}
                        Behind::End => self.state = State::Between,
                        Behind::Fault => return Step { pass, fault: Some(Fault::Body) },
                    }
                }
                State::Between => return Step { pass, fault: None },
                State::Open => return Step { pass: bytes.len(), fault: None },
            }
        }
    }

    /// How many heads have passed.
    #[must_use]
    pub const fn heads(&self) -> u32 {
        self.heads
    }

    /// Whether a message has ended, and nothing passes before it is answered.
    #[must_use]
    pub const fn is_between(&self) -> bool {
        matches!(self.state, State::Between)
    }

    /// It is answered, and by that the protocol was switched or not.
    pub fn go_on(&mut self, switched: bool) {
        self.state = if switched { State::Open } else { State::Head(Head::default()) };
    }
}

/// A head as far as it has been read.
#[derive(Debug, Default)]
struct Head {
    /// Where the line that is being read begins.
    line: usize,
    /// Bytes in which no end of that line was found.
    searched: usize,
    is_http11: bool,
    /// Header lines so far; `None` before the request line.
    headers: Option<usize>,
    length: Option<u64>,
    is_chunked: bool,
}

impl Head {
    /// Reads on in `bytes`, which begin with the head. At its end, how long it is, and what comes.
    fn read(
        &mut self,
        bytes: &[u8],
        limits: &HeadLimits,
        is_first: bool,
    ) -> Result<Option<(usize, State)>, BadHead> {
        loop {
            let unsearched = bytes.get(self.searched..).unwrap_or_default();
            let Some(found) = memchr(b'\n', unsearched) else {
                self.searched = bytes.len();
                self.check_beginning(bytes, limits)?;
                return Ok(None);
            };
            let end = self.searched + found;
            if end >= limits.bytes {
                return Err(self.too_long(limits, end));
            }
            let line = bytes.get(self.line..end).unwrap_or_default();
            let Some(line) = line.strip_suffix(b"\r") else {
                return Err(bad("a line does not end with CR and LF"));
            };
            (self.line, self.searched) = (end + 1, end + 1);
            match self.headers {
                None if line.is_empty() && end < EMPTY_LINES_BYTES_MAX => {}
                None if is_first && line == PREFACE => return Ok(Some((end + 1, State::Open))),
                None => self.request_line(line, limits)?,
                Some(_) if line.is_empty() => return Ok(Some((end + 1, self.next()))),
                Some(count) => {
                    if count == limits.headers {
                        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                        return Err(BadHead { status, why: "too many header lines" });
                    }
                    self.headers = Some(count + 1);
                    self.header(line)?;
                }
            }
        }
    }

    /// Whether a line that has no end yet can still become a legal one.
    fn check_beginning(&self, bytes: &[u8], limits: &HeadLimits) -> Result<(), BadHead> {
        let line = bytes.get(self.line..).unwrap_or_default();
        // Noise, or the hello of TLS: whoever sends it would wait for ever for the end.
        if self.headers.is_none() && line.first().is_some_and(|it| !is_token(*it) && *it != b'\r') {
            return Err(bad("this is not HTTP"));
        }
        let target_max = limits.target + METHOD_BYTES_MAX + VERSION_BYTES;
        if bytes.len() >= limits.bytes || (self.headers.is_none() && line.len() > target_max) {
            return Err(self.too_long(limits, bytes.len()));
        }
        Ok(())
    }

    /// What to say about a head of which `length` bytes are too many.
    const fn too_long(&self, limits: &HeadLimits, length: usize) -> BadHead {
        if self.headers.is_none() && length - self.line > limits.target {
            return TARGET_TOO_LONG;
        }
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        BadHead { status, why: "the head is too large" }
    }

    fn request_line(&mut self, line: &[u8], limits: &HeadLimits) -> Result<(), BadHead> {
        let mut words = line.split(|byte| *byte == b' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let version = words.next();
        if method.is_empty() || method.len() > METHOD_BYTES_MAX || !method.iter().all(is_token_ref)
        {
            return Err(bad("the method is illegal"));
        }
        let Some(version) = version.filter(|_| words.next().is_none()) else {
            return Err(bad("the request line is not a method, a target and a version"));
        };
        if target.len() > limits.target || target.len() > TARGET_BYTES_MAX {
            return Err(TARGET_TOO_LONG);
        }
        // It would be passed on without that.
        if target.contains(&b'#') {
            return Err(bad("the target has a fragment"));
        }
        // What hyper does not take it would refuse without a word, and nobody would hear of it.
        // Most targets are plain, and need no second parser.
        let is_plain = target.first() == Some(&b'/') && !has_any(target, |byte| !is_plain(byte));
        if !is_plain && Uri::try_from(target).is_err() {
            return Err(bad("the target is illegal"));
        }
        self.is_http11 = match version {
            b"HTTP/1.1" => true,
            b"HTTP/1.0" => false,
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                let status = StatusCode::HTTP_VERSION_NOT_SUPPORTED;
                return Err(BadHead { status, why: "this version of HTTP is not spoken here" });
            }
            _ => return Err(bad("the version is illegal")),
        };
        self.headers = Some(0);
        Ok(())
    }

    fn header(&mut self, line: &[u8]) -> Result<(), BadHead> {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(bad("a header line is folded"));
        }
        let Some(colon) = line.iter().position(|byte| !is_token(*byte)) else {
            return Err(bad("a header line has no colon"));
        };
        let (name, value) = line.split_at(colon);
        let Some(value) = value.strip_prefix(b":").filter(|_| !name.is_empty()) else {
            return Err(bad("a header's name is illegal"));
        };
        if name.len() > NAME_BYTES_MAX {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Err(BadHead { status, why: "a header's name is too long" });
        }
        if has_any(value, |byte| (byte < b' ' && byte != b'\t') || byte == DELETE) {
            return Err(bad("a header's value is illegal"));
        }
        let value = trim(value);
        if name.eq_ignore_ascii_case(b"content-length") {
            self.content_length(value)?;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.transfer_encoding(value)?;
        }
        if self.is_chunked && self.length.is_some() {
            return Err(bad("Content-Length beside Transfer-Encoding"));
        }
        Ok(())
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), BadHead> {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let length = std::str::from_utf8(value).ok().filter(|_| digits);
        let length = length.and_then(|digits| digits.parse::<i64>().ok());
        let Some(length) = length.and_then(|length| u64::try_from(length).ok()) else {
            return Err(bad("Content-Length is illegal"));
        };
        if self.length.replace(length).is_some() {
            return Err(bad("more than one Content-Length"));
        }
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), BadHead> {
        if !self.is_http11 {
            return Err(bad("Transfer-Encoding in HTTP/1.0"));
        }
        if std::mem::replace(&mut self.is_chunked, true) {
            return Err(bad("more than one Transfer-Encoding"));
        }
        if value.eq_ignore_ascii_case(b"chunked") {
            return Ok(());
        }
        let mut codings = value.rsplit(|byte| *byte == b',').map(trim);
        let ends_chunked = codings.next().is_some_and(|it| it.eq_ignore_ascii_case(b"chunked"));
        let mut others = codings;
        let are_others = others.all(|coding| {
            let is_chunked = coding.eq_ignore_ascii_case(b"chunked");
            !coding.is_empty() && !is_chunked && coding.iter().all(is_token_ref)
        });
        if ends_chunked && are_others {
            let why = "no transfer coding but chunked is spoken here";
            return Err(BadHead { status: StatusCode::NOT_IMPLEMENTED, why });
        }
        Err(bad("Transfer-Encoding is illegal"))
    }

    /// What follows the head.
    const fn next(&self) -> State {
        match self.length {
            _ if self.is_chunked => State::Chunked(Chunks::new()),
            Some(length @ 1..) => State::Sized(length),
            Some(0) | None => State::Between,
        }
    }
}

/// Whether one of `bytes` is such. All of them are looked at, many at a time.
fn has_any(bytes: &[u8], is_such: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(false, |found, byte| found | is_such(*byte))
}

/// Whether a byte may stand anywhere in a path and a query.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b'!' | b'$'..=b';' | b'=' | b'?'..=b'_' | b'a'..=b'z' | b'|' | b'~')
}

fn is_token(byte: u8) -> bool {
    TOKEN.get(usize::from(byte)).copied().unwrap_or_default()
}

/// RFC 9110, 5.6.2.
const TOKEN: [bool; 256] = {
    let mut all = [false; 256];
    let mut byte = 0_u8;
    while byte < 0x7f {
        all[byte as usize] = is_of_token(byte);
        byte += 1;
    }
    all
};

const fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

fn is_token_ref(byte: &u8) -> bool {
    is_token(*byte)
}

/// Without the spaces and tabs around it, which is less than Rust's white space.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

const fn bad(why: &'static str) -> BadHead {
    BadHead { status: StatusCode::BAD_REQUEST, why }
}

const TARGET_TOO_LONG: BadHead =
    BadHead { status: StatusCode::URI_TOO_LONG, why: "the target is too long" };

/// The first line of HTTP/2's preface. What comes with it is for HTTP/2 to judge.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";
const DELETE: u8 = 0x7f;
const METHOD_BYTES_MAX: usize = 64;
/// As much as hyper takes, of a target and of a header's name.
const TARGET_BYTES_MAX: usize = 65_534;
const NAME_BYTES_MAX: usize = 65_535;
const VERSION_BYTES: usize = "  HTTP/1.1\r".len();
/// Some old clients end a body with a line too many.
const EMPTY_LINES_BYTES_MAX: usize = 8;

#[cfg(test)]
mod tests;
