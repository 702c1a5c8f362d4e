//! Bodies whose every byte is known from the request's number and its place, so that whoever
//! receives one can tell whether it is whole, and right.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// What all bodies of a run are cut from.
#[derive(Clone, Debug)]
pub(super) struct Bodies(Bytes);

impl Bodies {
    /// For bodies of at most `longest` bytes.
    pub(super) fn new(longest: usize) -> Self {
        let mut prng = dispatch_model::Prng::new(1);
        let words = (longest + usize::from(SHIFTS)) / 8 + 1;
        let bytes: Vec<u8> = (0..words).flat_map(|_| prng.next_u64().to_le_bytes()).collect();
        Self(bytes.into())
    }

    /// The body of `length` bytes of the request of this number.
    pub(super) fn of(&self, number: u32, length: u32) -> Bytes {
        let from = usize::try_from(number % u32::from(SHIFTS)).expect("small");
        self.0.slice(from..from + length as usize)
    }
}

/// A body that is sent chunk by chunk, with a rest after the first.
#[derive(Debug)]
pub(super) struct Paced {
    left: Bytes,
    rest: Option<Duration>,
    resting: Option<Pin<Box<Sleep>>>,
    /// Whether its length is told beforehand.
    sized: bool,
}

impl Paced {
    pub(super) fn new(whole: Bytes, rest: Duration, sized: bool) -> Self {
        let rest = Some(rest).filter(|rest| !rest.is_zero());
        Self { left: whole, rest, resting: None, sized }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(resting) = &mut self.resting {
            ready!(resting.as_mut().poll(cx));
            self.resting = None;
        }
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        // Even the shortest body has a middle.
        let most = if self.rest.is_some() { self.left.len().div_ceil(2) } else { self.left.len() };
        let chunk = self.left.split_to(most.min(CHUNK));
        if let Some(rest) = self.rest.take() {
            self.resting = Some(Box::pin(tokio::time::sleep(rest)));
        }
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.sized { SizeHint::with_exact(self.left.len() as u64) } else { SizeHint::default() }
    }
}

/// How a body arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    /// It ended early, and was seen to.
    Cut,
    /// Something else came, and nothing told.
    Wrong,
    Whole,
}

/// Reads `body` to its end and compares it with what it should be.
pub(super) async fn check<B>(body: B, expected: &Bytes) -> Arrived
where
    B: Body<Data = Bytes> + Unpin,
{
    use http_body_util::BodyExt;
    let mut body = body;
    let mut at = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Arrived::Cut };
        let Some(data) = frame.data_ref() else { continue };
        if expected.get(at..at + data.len()) != Some(&data[..]) {
            return Arrived::Wrong;
        }
        at += data.len();
    }
    if at == expected.len() { Arrived::Whole } else { Arrived::Wrong }
}

/// How many bodies of one length there are.
const SHIFTS: u8 = 251;
const CHUNK: usize = 16 << 10;
