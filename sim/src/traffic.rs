//! When requests come and what each needs. Integers only, so that a seed gives the same arrivals on
//! every machine; drawn one after the other, so that a day of them needs no memory.

use std::time::Duration;

use dispatch_model::time::nanos;
use dispatch_model::{Prng, Time};
use serde::{Deserialize, Serialize};

use crate::span;

/// A stream of like requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// When it begins.
    #[serde(with = "span")]
    pub at: Duration,
    /// For how long requests come; none: all at once.
    #[serde(default, with = "span", rename = "for", skip_serializing_if = "Duration::is_zero")]
    pub span: Duration,
    /// How many; exactly so unless `random`.
    pub requests: u32,
    /// Independent of each other, as from many clients, instead of evenly spaced.
    #[serde(default, skip_serializing_if = "is_false")]
    pub random: bool,
    /// How long each takes on an instance, or the mean of that.
    #[serde(with = "span")]
    pub service: Duration,
    /// Whether that is exponentially distributed instead of fixed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub varied: bool,
    /// After how long its client gives up, if ever.
    #[serde(default, with = "span::maybe", skip_serializing_if = "Option::is_none")]
    pub patience: Option<Duration>,
    /// Bytes of its body; 0 is a GET, which may be repeated, else a POST.
    #[serde(default, skip_serializing_if = "is_none")]
    pub upload: u32,
    /// Bytes of its response's body.
    #[serde(default, skip_serializing_if = "is_none")]
    pub download: u32,
    /// How long its app goes on after the response, and asks for.
    #[serde(default, with = "span", skip_serializing_if = "Duration::is_zero")]
    pub hold: Duration,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_none(value: &u32) -> bool {
    *value == 0
}

/// One request that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When.
    pub at: Time,
    /// How long it takes on an instance.
    pub service: Duration,
    /// Part of `service` that needs a processor.
    pub cpu: Duration,
    /// When its client gives up.
    pub gives_up: Option<Time>,
    /// Bytes of its body.
    pub upload: u32,
    /// Bytes of its response's body.
    pub download: u32,
    /// How long its app goes on after the response, and asks for.
    pub hold: Duration,
}

impl Traffic {
    /// `requests` at once, each taking `service`.
    #[must_use]
    pub const fn burst(requests: u32, at: Duration, service: Duration) -> Self {
        Self {
            at,
            span: Duration::ZERO,
            requests,
            random: false,
            service,
            varied: false,
            patience: None,
            upload: 0,
            download: 0,
            hold: Duration::ZERO,
        }
    }

    /// When the last of it has arrived.
    #[must_use]
    pub const fn end(&self) -> Duration {
        self.at.saturating_add(self.span)
    }

    /// The arrivals that `seed` makes of it, in order.
    pub fn arrivals(&self, seed: u64) -> impl Iterator<Item = Arrival> + Send + use<> {
        let this = *self;
        let mut prng = Prng::new(seed ^ ARRIVALS);
        let gap = nanos(self.span).checked_div(self.requests.into()).unwrap_or_default();
        let end = nanos(self.end());
        let mut at = nanos(self.at);
        let mut left = self.requests;
        // Of what comes at once none can be independent of the others.
        let is_random = self.random && gap > 0;
        std::iter::from_fn(move || {
            if is_random {
                at = at.saturating_add(exponential(&mut prng, gap));
                if at > end {
                    return None;
                }
            } else {
                left = left.checked_sub(1)?;
            }
            let mean = nanos(this.service);
            let service = if this.varied { exponential(&mut prng, mean) } else { mean };
            let arrival = Arrival {
                at: Time::from_nanos(at),
                service: Duration::from_nanos(service),
                cpu: Duration::ZERO,
                gives_up: this.patience.map(|patience| Time::from_nanos(at) + patience),
                upload: this.upload,
                download: this.download,
                hold: this.hold,
            };
            if !is_random {
                at = at.saturating_add(gap);
            }
            Some(arrival)
        })
    }
}

/// All arrivals of `traffic`, in order; equal moments in the order of the streams.
pub fn arrivals(traffic: &[Traffic], seed: u64) -> impl Iterator<Item = Arrival> + Send + use<> {
    let streams = traffic.iter().zip(0_u64..);
    let mut streams: Vec<_> = streams
        .map(|(traffic, number)| traffic.arrivals(seed.wrapping_add(number)).peekable())
        .collect();
    std::iter::from_fn(move || {
        if let [only] = &mut streams[..] {
            return only.next();
        }
        let heads = streams.iter_mut().enumerate();
        let heads = heads.filter_map(|(index, stream)| Some((stream.peek()?.at, index)));
        let (_, index) = heads.min()?;
        streams[index].next()
    })
}

/// How long a request takes that starts beside `others`, on `vcpus` processors.
///
/// Its part that needs a processor is stretched by as much as processors are short of at its start:
/// it wants a whole one for itself, and each of the others wants one for the same share of its time
/// as this one, `cpu / service`. What others begin or end later is not looked at.
#[must_use]
pub fn stretched(service: Duration, cpu: Duration, others: u32, vcpus: f64) -> Duration {
    let (service, cpu) = (nanos(service), nanos(cpu.min(service)));
    if cpu == 0 {
        return Duration::from_nanos(service);
    }
    let demand = 1.0 + f64::from(others) * (cpu as f64 / service as f64);
    let more = cpu as f64 * (demand / vcpus - 1.0).max(0.0);
    Duration::from_nanos(service).saturating_add(Duration::from_secs_f64(more / 1e9))
}

/// Processors of an environment of so much memory: Lambda gives them in proportion.
#[must_use]
pub fn vcpus(memory_mb: u32) -> f64 {
    f64::from(memory_mb) / MB_PER_VCPU
}

/// A number from the exponential distribution with this mean, by von Neumann's method (1951), which
/// only compares: no logarithm, whose last bit differs between platforms.
pub(crate) fn exponential(prng: &mut Prng, mean: u64) -> u64 {
    let mut whole = 0_u64;
    loop {
        let first = prng.next_u64();
        let (mut last, mut length) = (first, 1_u32);
        loop {
            let next = prng.next_u64();
            if next > last {
                break;
            }
            last = next;
            length += 1;
        }
        if length % 2 == 1 {
            let part = (u128::from(first) * u128::from(mean)) >> 64;
            return whole.saturating_add(u64::try_from(part).unwrap_or(u64::MAX));
        }
        whole = whole.saturating_add(mean);
    }
}

const MB_PER_VCPU: f64 = 1_769.0;
/// Keeps the arrivals' chance apart from the models'.
const ARRIVALS: u64 = 0x6172_7269_7661_6c73;

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(requests: u32, span_s: u64) -> Traffic {
        Traffic {
            span: Duration::from_secs(span_s),
            ..Traffic::burst(requests, Duration::ZERO, Duration::from_millis(50))
        }
    }

    #[test]
    fn random_arrivals_have_the_mean_and_the_variance_of_their_rate() {
        let traffic = Traffic { random: true, ..traffic(100_000, 1_000) };
        let arrivals: Vec<_> = traffic.arrivals(7).collect();
        assert!((99_000..101_000).contains(&arrivals.len()), "{}", arrivals.len());
        let mut per_second = vec![0_i64; 1_001];
        for arrival in &arrivals {
            per_second[usize::try_from(arrival.at.as_nanos() / 1_000_000_000).unwrap()] += 1;
        }
        let variance: i64 =
            per_second[..1_000].iter().map(|count| (count - 100).pow(2)).sum::<i64>() / 1_000;
        assert!((80..120).contains(&variance), "{variance}");
    }

    #[test]
    fn random_arrivals_without_a_span_come_at_once() {
        for span in [Duration::ZERO, Duration::from_nanos(3)] {
            let traffic = Traffic { random: true, span, ..traffic(4, 0) };
            let at: Vec<_> = traffic.arrivals(7).map(|arrival| arrival.at).collect();
            assert_eq!(at, [Time::ZERO; 4], "{span:?}");
        }
    }

    #[test]
    fn even_arrivals_are_evenly_spaced_and_streams_are_merged() {
        let both = [traffic(4, 1), Traffic { at: Duration::from_millis(300), ..traffic(2, 0) }];
        let at: Vec<_> = arrivals(&both, 0).map(|arrival| arrival.at).collect();
        assert_eq!(at, [0, 250, 300, 300, 500, 750].map(Time::from_millis));
    }

    #[test]
    fn processors_that_are_short_stretch_what_needs_them() {
        let ms = Duration::from_millis;
        for (service, cpu, others, vcpus, takes) in [
            (100, 0, 1_000, 1.0, 100),
            (100, 50, 0, 1.0, 100),
            // One and a half are wanted of one.
            (100, 50, 1, 1.0, 125),
            (100, 50, 1, 2.0, 100),
            (100, 100, 9, 2.0, 500),
            // Less than a whole one stretches even who is alone.
            (100, 100, 0, 0.5, 200),
            (0, 10, 5, 1.0, 0),
        ] {
            let took = stretched(ms(service), ms(cpu), others, vcpus);
            assert_eq!(took, ms(takes), "{service} {cpu} {others} {vcpus}");
        }
    }

    #[test]
    fn varied_service_has_its_mean() {
        let traffic = Traffic { varied: true, ..traffic(100_000, 10) };
        let sum: Duration = traffic.arrivals(7).map(|arrival| arrival.service).sum();
        let mean = sum / 100_000;
        assert!((Duration::from_micros(49_500)..Duration::from_micros(50_500)).contains(&mean));
    }
}
