//! A body in chunks.

/// Where in such a body the next byte is.
#[derive(Debug)]
pub(super) struct Chunks {
    place: Place,
}

/// What comes behind bytes of a body.
#[derive(Clone, Copy, Debug)]
pub(super) enum Behind {
    /// More of it.
    More,
    /// Nothing of it.
    End,
    /// Something that cannot come there.
    Fault,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// In a size: its value so far and its number of digits.
    Size(u64, u8),
    /// Behind a size.
    Space(u64),
    /// In what a client may say about a chunk, and nobody reads.
    Extension(u64),
    /// At the LF behind a size.
    SizeLf(u64),
    /// In a chunk with so many bytes to come.
    Data(u64),
    /// At the CR, and at the LF, behind a chunk.
    DataCr,
    DataLf,
    /// At the beginning of a line behind the last chunk, within it, and at its LF.
    Trailers,
    Trailer,
    TrailerLf,
    /// At the LF that ends it all.
    EndLf,
}

impl Chunks {
    pub(super) const fn new() -> Self {
        Self { place: Place::Size(0, 0) }
    }

    /// How many of `bytes` are of this body, and what comes behind them.
    pub(super) fn read(&mut self, bytes: &[u8]) -> (usize, Behind) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            self.place = match (self.place, byte) {
                (Place::Data(left), _) => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX);
                    let taken = taken.min(bytes.len() + 1 - at);
                    at += taken - 1;
                    match left - taken as u64 {
                        0 => Place::DataCr,
                        left => Place::Data(left),
                    }
                }
                (Place::Size(size, digits), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F')
                    if digits < DIGITS_MAX =>
                {
                    let digit = if byte <= b'9' { byte - b'0' } else { (byte | 0x20) - b'a' + 10 };
                    Place::Size(size << 4 | u64::from(digit), digits + 1)
                }
                (Place::Size(_, 0), _) => return (at - 1, Behind::Fault),
                (Place::Size(size, _) | Place::Space(size), b' ' | b'\t') => Place::Space(size),
                (Place::Size(size, _) | Place::Space(size), b';') => Place::Extension(size),
                (Place::Size(size, _) | Place::Space(size) | Place::Extension(size), b'\r') => {
                    Place::SizeLf(size)
                }
                (Place::Extension(size), b'\t' | b' '..) => Place::Extension(size),
                (Place::SizeLf(0), b'\n') | (Place::TrailerLf, b'\n') => Place::Trailers,
                (Place::SizeLf(size), b'\n') => Place::Data(size),
                (Place::DataCr, b'\r') => Place::DataLf,
                (Place::DataLf, b'\n') => Place::Size(0, 0),
                (Place::Trailers, b'\r') => Place::EndLf,
                (Place::Trailer, b'\r') => Place::TrailerLf,
                // What is in them, hyper reads.
                (Place::Trailers | Place::Trailer, byte) if byte != b'\n' => Place::Trailer,
                (Place::EndLf, b'\n') => return (at, Behind::End),
                _ => return (at - 1, Behind::Fault),
            };
        }
        (at, Behind::More)
    }
}

/// More would not fit into 63 bits.
const DIGITS_MAX: u8 = 15;
