//! As much of HTTP/1.1 as the app and the load generator need: where a body ends.

use std::io;

use httparse::Header;

/// How much of a body is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// That many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunk),
}

/// Where in a chunked body the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// To the line with a chunk's size.
    Size { value: u64, digits_over: bool },
    /// To a chunk, of which so much is left.
    Data(u64),
    /// To the line break after a chunk.
    DataEnd,
    /// To a line after the last chunk, of which there are so many bytes.
    Trailer(u32),
    /// To nothing of this body.
    Over,
}

/// What of some bytes belonged to a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// All that belonged to it.
    pub(crate) bytes: usize,
    /// Of these the content.
    pub(crate) content: u64,
}

impl Body {
    /// The body that follows a head with these headers.
    pub(crate) fn after(headers: &[Header<'_>]) -> io::Result<Self> {
        let mut body = Self::Length(0);
        for header in headers {
            if header.name.eq_ignore_ascii_case("content-length") {
                let text = str::from_utf8(header.value).map_err(io::Error::other)?;
                body = Self::Length(text.trim().parse().map_err(io::Error::other)?);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                return Ok(Self::Chunked(Chunk::Size { value: 0, digits_over: false }));
            }
        }
        Ok(body)
    }

    pub(crate) const fn is_over(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunk::Over))
    }

    /// Takes what belongs to the body from the front of `bytes`.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> io::Result<Taken> {
        match self {
            Self::Length(left) => {
                let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= taken as u64;
                Ok(Taken { bytes: taken, content: taken as u64 })
            }
            Self::Chunked(chunk) => {
                let mut taken = Taken::default();
                while *chunk != Chunk::Over && taken.bytes < bytes.len() {
                    let step = chunk.step(&bytes[taken.bytes..])?;
                    taken.bytes += step.bytes;
                    taken.content += step.content;
                }
                Ok(taken)
            }
        }
    }
}

impl Chunk {
    /// Takes at least one byte of `bytes`, which has one.
    fn step(&mut self, bytes: &[u8]) -> io::Result<Taken> {
        let first = bytes[0];
        match *self {
            Self::Data(left) => {
                let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - taken as u64;
                *self = if left == 0 { Self::DataEnd } else { Self::Data(left) };
                return Ok(Taken { bytes: taken, content: taken as u64 });
            }
            Self::Size { value: 0, .. } if first == b'\n' => *self = Self::Trailer(0),
            Self::Size { value, .. } if first == b'\n' => *self = Self::Data(value),
            Self::Size { value, digits_over } => {
                let digit = char::from(first).to_digit(16).filter(|_| !digits_over);
                *self = match digit {
                    Some(digit) => Self::Size {
                        value: value
                            .checked_mul(16)
                            .and_then(|value| value.checked_add(u64::from(digit)))
                            .ok_or_else(|| io::Error::other("a chunk's size is out of range"))?,
                        digits_over,
                    },
                    None => Self::Size { value, digits_over: true },
                };
            }
            Self::DataEnd if first == b'\n' => {
                *self = Self::Size { value: 0, digits_over: false };
            }
            Self::DataEnd | Self::Over => {}
            Self::Trailer(0) if first == b'\n' => *self = Self::Over,
            Self::Trailer(_) if first == b'\n' => *self = Self::Trailer(0),
            Self::Trailer(length) => {
                *self = Self::Trailer(if first == b'\r' { length } else { length + 1 });
            }
        }
        Ok(Taken { bytes: 1, content: 0 })
    }
}

/// More than anybody here sends.
pub(crate) const HEADERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_ends_where_it_ends_however_it_is_cut() {
        let text = b"5\r\nhello\r\n1a;x=1\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nA: b\r\n\r\nGET";
        for cut in 1..text.len() {
            let mut body = Body::Chunked(Chunk::Size { value: 0, digits_over: false });
            let (mut bytes, mut content) = (0, 0);
            for part in text.chunks(cut) {
                let taken = body.take(part).unwrap();
                (bytes, content) = (bytes + taken.bytes, content + taken.content);
            }
            assert!(body.is_over());
            assert_eq!((bytes, content), (text.len() - 3, 31), "cut every {cut}");
        }
    }
}
