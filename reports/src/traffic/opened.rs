//! Traffic whose files have been read: streams of arrivals, as many as are wanted.

use std::iter::Peekable;
use std::sync::Arc;
use std::time::Duration;

use dispatch_model::time::nanos;
use dispatch_model::{Prng, Time};
use sim::outside::Source;
use sim::span;
use sim::traffic::Arrival;

use super::closed_loop::{ClosedLoop, ROUND_TRIP};
use super::curve::{Comes, Curve};
use super::kind::Kind;
use super::lines::Bad;
use super::recorded::{MINUTE, Recording, Sent};
use super::service::{Need, Service};
use crate::spread::{float, whole};
use crate::words::Several;

/// Traffic that is ready to be sent. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Opened {
    kind: Arc<Kind>,
    service: Arc<Service>,
    recording: Option<Arc<Recording>>,
    /// What the plan's `for` says.
    limit: Option<Duration>,
    span: Duration,
    scale: f64,
}

impl Opened {
    pub(super) fn new(
        kind: Kind,
        limit: Option<Duration>,
        scale: f64,
        service: Service,
        recording: Option<Recording>,
    ) -> Self {
        let span = match &recording {
            // Of less than a minute nobody can say how often it comes: of one request, say.
            Some(recording) => {
                limit.unwrap_or_else(|| Duration::from_nanos(recording.span().max(MINUTE)))
            }
            None => kind.span(limit).unwrap_or_default(),
        };
        let recording = recording.map(Arc::new);
        Self { kind: Arc::new(kind), service: Arc::new(service), recording, limit, span, scale }
    }

    /// The same, with so many times the requests.
    #[must_use]
    pub fn scaled(&self, times: f64) -> Self {
        Self { scale: self.scale * times, ..self.clone() }
    }

    /// How long requests come.
    #[must_use]
    pub const fn span(&self) -> Duration {
        self.span
    }

    /// What it is, in words.
    #[must_use]
    pub fn about(&self) -> String {
        let about = self.kind.about(self.span, self.scale);
        let Some(recording) = self.recording() else { return about };
        let (requests, untimed) = (recording.requests(), recording.untimed());
        if untimed == 0 {
            return about;
        }
        format!("{about}: {untimed} of {requests} requests take the plan's service time")
    }

    /// What was assumed of it, a sentence each.
    #[must_use]
    pub fn assumptions(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.is_closed_loop() {
            all.push(format!(
                "A client that waits for its answers sends again {} after it has sent, at the \
                 earliest.",
                span::write(ROUND_TRIP)
            ));
        }
        let Some(recording) = self.recording() else { return all };
        if self.limit.is_none() && recording.span() < MINUTE {
            all.push(
                "The recording is shorter than a minute and counts as one; `for` in a plan says \
                 otherwise."
                    .to_owned(),
            );
        }
        if let Some(period) = recording.guessed_period() {
            all.push(format!(
                "The recording does not say how long its periods are. They are taken for {}, the \
                 longest that fits between them; `period` in a plan says otherwise.",
                span::write(Duration::from_nanos(period))
            ));
        }
        if !recording.series().is_empty() {
            let names: Vec<_> = recording.series().iter().map(String::as_str).collect();
            all.push(format!(
                "Taken for requests: {}, as CloudWatch counted it.",
                names.join(", ")
            ));
        }
        if recording.answered_before() > 0 {
            all.push(format!(
                "Left out as well: {} that the load balancer answered by itself, with a redirect, \
                 a fixed response, a refusal of WAF or a login.",
                Several(recording.answered_before(), "request")
            ));
        }
        if recording.untimed() > 0 {
            all.push(format!(
                "{} recorded requests had no service time; they take what the plan says.",
                recording.untimed()
            ));
        }
        all
    }

    /// What was recorded, if it was.
    #[must_use]
    pub fn recording(&self) -> Option<&Recording> {
        self.recording.as_deref()
    }

    /// Lines that could not be used.
    #[must_use]
    pub fn bad(&self) -> Bad {
        self.recording().map(|recording| recording.bad().clone()).unwrap_or_default()
    }

    /// How many requests will come, as far as that can be said beforehand; 0 of closed loops, whose
    /// requests depend on how they are served.
    #[must_use]
    pub fn expected(&self) -> u64 {
        if let Some(recording) = &self.recording {
            return whole(float(recording.requests()) * self.scale);
        }
        let pieces = self.kind.pieces(self.span, self.scale, Prng::new(0));
        let (mut left, mut all) = (nanos(self.span), 0.0);
        for piece in pieces.into_iter().flatten() {
            let part = piece.span.min(left);
            all += match piece.comes {
                Comes::Anywhere(count) | Comes::Evenly(count) if part == piece.span => float(count),
                Comes::Anywhere(count) | Comes::Evenly(count) => {
                    float(count) * float(part) / float(piece.span)
                }
                Comes::Random(rate) => rate * float(part) / 1e9,
            };
            left -= part;
            if left == 0 {
                break;
            }
        }
        whole(all)
    }

    /// Whether its requests wait for the ends of others.
    #[must_use]
    pub fn is_closed_loop(&self) -> bool {
        matches!(self.kind.as_ref(), Kind::ClosedLoop { .. })
    }

    /// Requests a second and mean service time, if it is Poisson traffic whose service times have
    /// no memory and need no processor: what Erlang's formula is about.
    #[must_use]
    pub fn memoryless(&self) -> Option<(f64, Duration)> {
        let Kind::Poisson { rate } = self.kind.as_ref() else { return None };
        Some((rate * self.scale, self.service.memoryless()?))
    }

    /// What each request needs.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// The arrivals that belong to `seed`.
    #[must_use]
    pub fn stream(&self, seed: u64) -> Stream {
        let chance = |purpose: u64| Prng::new(Prng::new(seed ^ purpose).next_u64());
        let end = nanos(self.span);
        let at = chance(ARRIVALS);
        let sender = match (self.kind.as_ref(), &self.recording) {
            (Kind::ClosedLoop { clients, think }, _) => {
                let clients = whole(float(u64::from(*clients)) * self.scale);
                let clients = u32::try_from(clients).unwrap_or(u32::MAX);
                Sender::Waiting(ClosedLoop::new(clients, think.clone(), end, at))
            }
            (_, Some(recording)) => {
                let all = recording.play(self.scale, at);
                let before: Sents = Box::new(all.take_while(move |sent| sent.at < end));
                Sender::Sending(before.peekable())
            }
            (kind, None) => {
                let pieces = kind.pieces(self.span, self.scale, chance(PIECES));
                let pieces = pieces.unwrap_or_else(|| Box::new(std::iter::empty()));
                let any = |at| Sent { at, need: Need::Any };
                let all: Sents = Box::new(Curve::new(pieces, end, at).map(any));
                Sender::Sending(all.peekable())
            }
        };
        let (end, service) = (Time::from_nanos(end), Arc::clone(&self.service));
        Stream { sender, end, service, chance: chance(SERVICE) }
    }
}

type Sents = Box<dyn Iterator<Item = Sent> + Send>;

/// Arrivals of one seed, one after the other.
pub struct Stream {
    sender: Sender,
    /// When requests would come no more.
    end: Time,
    service: Arc<Service>,
    chance: Prng,
}

enum Sender {
    /// Whatever becomes of its requests.
    Sending(Peekable<Sents>),
    Waiting(ClosedLoop),
}

impl Source for Stream {
    fn next_at(&mut self) -> Option<Time> {
        let at = match &mut self.sender {
            Sender::Sending(sents) => sents.peek().map(|sent| sent.at),
            Sender::Waiting(clients) => clients.peek(),
        };
        at.map(Time::from_nanos)
    }

    fn next(&mut self) -> Option<Arrival> {
        let sent = match &mut self.sender {
            Sender::Sending(sents) => sents.next(),
            Sender::Waiting(clients) => clients.next().map(|at| Sent { at, need: Need::Any }),
        }?;
        let (service, cpu) = self.service.draw(sent.need, &mut self.chance);
        let at = Time::from_nanos(sent.at);
        let hold = Duration::ZERO;
        Some(Arrival { at, service, cpu, gives_up: None, upload: 0, download: 0, hold })
    }

    fn ended(&mut self, now: Time, arrived: Time) {
        if let Sender::Waiting(clients) = &mut self.sender {
            clients.ended(now.as_nanos(), arrived.as_nanos());
        }
    }

    fn lasts(&self) -> Time {
        self.end
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

// Keep the chances apart: when requests come does not change with what they need.
const ARRIVALS: u64 = 0x6172_7269_7661_6c73;
const PIECES: u64 = 0x7069_6563_6573_5f5f;
const SERVICE: u64 = 0x7365_7276_6963_655f;

#[cfg(test)]
mod tests;
