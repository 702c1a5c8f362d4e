//! From bytes to origins and steps, without trust.

use dispatch_model::Time;
use serde::de::DeserializeOwned;

use super::digest::Digest;
use super::writer::{ORIGIN, STEPS};
use super::{MAGIC, Origin, Step, VERSION};

/// A recording, checked to its end.
#[derive(Debug)]
pub struct Recording<'a> {
    segments: Vec<Segment<'a>>,
    cut: Option<usize>,
}

impl<'a> Recording<'a> {
    /// Reads a recording. One that ends in the middle of something, as the file of a router that
    /// was killed does, is read as far as it is whole.
    ///
    /// # Errors
    ///
    /// It is none, it is damaged, or it is from another version of the format.
    pub fn read(bytes: &'a [u8]) -> Result<Self, ReadError> {
        let mut rest = Rest { all: bytes, offset: 0 };
        let mut segments = Vec::new();
        let mut cut = bytes.is_empty().then_some(0);
        while !rest.left().is_empty() {
            let begin = rest.offset;
            match rest.read_into(&mut segments) {
                Ok(()) => {}
                Err(Stop::Cut) => {
                    cut = Some(begin);
                    break;
                }
                Err(Stop::Error(error)) => return Err(error),
            }
        }
        Ok(Self { segments, cut })
    }

    /// Its segments, in the order of time.
    #[must_use]
    pub fn segments(&self) -> &[Segment<'a>] {
        &self.segments
    }

    /// Where it ends too early, if it does: what is from this byte on could not be used.
    #[must_use]
    pub const fn cut(&self) -> Option<usize> {
        self.cut
    }
}

/// One part of a recording that can be replayed by itself.
#[derive(Debug)]
pub struct Segment<'a> {
    program: String,
    origin: Origin,
    blocks: Vec<&'a [u8]>,
    len: u64,
    /// When the last step was.
    end: Time,
}

impl<'a> Segment<'a> {
    /// The version of the program that recorded it.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Where its model came from.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What happened to it.
    #[must_use]
    pub fn steps(&self) -> Steps<'a> {
        Steps { at: self.origin.at(), blocks: self.blocks.clone().into_iter(), block: &[] }
    }

    /// How many steps there are.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing happened.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a block after reading all of it, so that nobody has to do with errors later.
    fn push(&mut self, payload: &'a [u8]) -> Option<()> {
        let mut rest = payload;
        while !rest.is_empty() {
            let (at, _, after) = step(self.end, rest)?;
            self.end = at;
            self.len += 1;
            rest = after;
        }
        self.blocks.push(payload);
        Some(())
    }
}

/// The steps of a segment, each with its time.
#[derive(Clone, Debug)]
pub struct Steps<'a> {
    at: Time,
    blocks: std::vec::IntoIter<&'a [u8]>,
    block: &'a [u8],
}

impl Iterator for Steps<'_> {
    type Item = (Time, Step);

    fn next(&mut self) -> Option<(Time, Step)> {
        while self.block.is_empty() {
            self.block = self.blocks.next()?;
        }
        let (at, step, rest) = step(self.at, self.block)?;
        (self.at, self.block) = (at, rest);
        Some((at, step))
    }
}

/// Why bytes are no recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// A digest or a length does not fit.
    #[error(
        "the block at byte {at} is damaged; copy the recording again, or cut the file there and \
         use what is before"
    )]
    Damaged {
        /// Where.
        at: usize,
    },
    /// Neither a segment nor a block begins here.
    #[error(
        "byte {at} begins neither a segment nor a block; this is no recording, or something else \
         was written into it"
    )]
    Foreign {
        /// Where.
        at: usize,
    },
    /// A segment begins before the end of the one that it follows.
    #[error(
        "the segment at byte {at} begins before the end of the one before it: parts of the file \
         were swapped or written twice; copy the recording again"
    )]
    OutOfOrder {
        /// Where.
        at: usize,
    },
    /// Another version of the format.
    #[error(
        "the segment at byte {at} has version {version} of the format, this program reads \
         {VERSION} only; replay it with the version of lambda-dispatch that recorded it"
    )]
    OtherVersion {
        /// Where.
        at: usize,
        /// Its version.
        version: u32,
    },
    /// The bytes are as they were written, and mean nothing.
    #[error(
        "the block at byte {at} is whole but cannot be understood; replay it with the version of \
         lambda-dispatch that recorded it"
    )]
    Undecodable {
        /// Where.
        at: usize,
    },
}

/// Why no more is read.
enum Stop {
    /// The end, too early.
    Cut,
    Error(ReadError),
}

/// What has not been read.
struct Rest<'a> {
    all: &'a [u8],
    offset: usize,
}

impl<'a> Rest<'a> {
    fn left(&self) -> &'a [u8] {
        &self.all[self.offset..]
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        let taken = self.left().get(..count).ok_or(Stop::Cut)?;
        self.offset += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let taken = self.left().first_chunk().ok_or(Stop::Cut)?;
        self.offset += N;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<u32, Stop> {
        self.array().map(u32::from_le_bytes)
    }

    /// Reads a block of the last segment, or the beginning of the next.
    fn read_into(&mut self, segments: &mut Vec<Segment<'a>>) -> Result<(), Stop> {
        match segments.last_mut() {
            Some(segment) if self.left().first() == Some(&STEPS) => {
                let at = self.offset;
                let payload = self.block(STEPS)?;
                segment.push(payload).ok_or(Stop::Error(ReadError::Undecodable { at }))
            }
            before => {
                let at = self.offset;
                let segment = self.segment()?;
                // A router that is started anew has a clock of its own.
                let goes_on = matches!(segment.origin, Origin::Checkpoint { .. });
                if before.is_some_and(|before| goes_on && segment.origin.at() < before.end) {
                    return Err(Stop::Error(ReadError::OutOfOrder { at }));
                }
                segments.push(segment);
                Ok(())
            }
        }
    }

    fn segment(&mut self) -> Result<Segment<'a>, Stop> {
        let at = self.offset;
        if self.left().iter().zip(&MAGIC).any(|(byte, expected)| byte != expected) {
            return Err(Stop::Error(ReadError::Foreign { at }));
        }
        let _magic: [u8; MAGIC.len()] = self.array()?;
        let version = self.number()?;
        if version != VERSION {
            return Err(Stop::Error(ReadError::OtherVersion { at, version }));
        }
        let block = self.offset;
        let payload = self.block(ORIGIN)?;
        let (program, origin): (String, Origin) =
            whole(payload).ok_or(Stop::Error(ReadError::Undecodable { at: block }))?;
        let end = origin.at();
        Ok(Segment { program, origin, blocks: Vec::new(), len: 0, end })
    }

    fn block(&mut self, kind: u8) -> Result<&'a [u8], Stop> {
        let at = self.offset;
        let damaged = Stop::Error(ReadError::Damaged { at });
        if self.array()? != [kind] {
            return Err(damaged);
        }
        let (length, complement) = (self.number()?, self.number()?);
        if length != !complement {
            return Err(damaged);
        }
        let digest = self.array().map(u64::from_le_bytes)?;
        let payload = self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        if Digest::of(kind, payload) != digest {
            return Err(damaged);
        }
        Ok(payload)
    }
}

/// What `bytes` stand for to the last one.
fn whole<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(bytes).ok()?;
    rest.is_empty().then_some(value)
}

/// The first step in `bytes`, when it was if the one before was at `before`, and what follows it.
fn step(before: Time, bytes: &[u8]) -> Option<(Time, Step, &[u8])> {
    let ((span, step), rest): ((u64, Step), _) = postcard::take_from_bytes(bytes).ok()?;
    let at = before.as_nanos().checked_add(span)?;
    Some((Time::from_nanos(at), step, rest))
}
