//! Which traces are recorded, by the names that OpenTelemetry has for it.

/// Decides for each trace whether it is recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// The part of traces that is recorded, from 0 to 1.
    ratio: f64,
    /// Whether those before us decide, if they have.
    follows_parent: bool,
}

impl Sampler {
    /// The sampler of that name; `ratio` is for those whose name has that in it.
    #[must_use]
    pub fn new(name: &str, ratio: f64) -> Self {
        let ratio = if name.ends_with("ratio") {
            ratio
        } else if name.ends_with("always_off") {
            0.0
        } else {
            1.0
        };
        Self { ratio, follows_parent: name.starts_with("parentbased") }
    }

    /// Whether a trace is recorded, of which those before us may have decided. Every service with
    /// the same ratio decides the same.
    #[must_use]
    pub(super) fn samples(&self, id: [u8; 16], by_parent: Option<bool>) -> bool {
        if let Some(decided) = by_parent.filter(|_| self.follows_parent) {
            return decided;
        }
        let mut low = [0; 8];
        low.copy_from_slice(&id[8..]);
        // 63 bits of it, as OpenTelemetry's own do.
        let drawn = (u64::from_be_bytes(low) >> 1) as f64;
        drawn < self.ratio * (1_u64 << 63) as f64
    }
}

/// The names, of which the first is OpenTelemetry's default.
pub const SAMPLERS: &[&str] = &[
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
    "always_on",
    "always_off",
    "traceidratio",
];

#[cfg(test)]
mod tests {
    use super::*;
    use dispatch_model::Prng;

    fn id(prng: &mut Prng) -> [u8; 16] {
        let (high, low) = (prng.next_u64(), prng.next_u64());
        (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
    }

    #[test]
    fn a_ratio_is_kept_and_who_came_before_is_followed() {
        let mut prng = Prng::new(7);
        let ids: Vec<_> = (0..10_000).map(|_| id(&mut prng)).collect();
        let sampled = |name: &str, ratio, by_parent| {
            let sampler = Sampler::new(name, ratio);
            ids.iter().filter(|id| sampler.samples(**id, by_parent)).count()
        };
        for name in ["traceidratio", "parentbased_traceidratio"] {
            assert!((900..1_100).contains(&sampled(name, 0.1, None)), "{name}");
            assert_eq!((sampled(name, 0.0, None), sampled(name, 1.0, None)), (0, 10_000));
        }
        assert_eq!(sampled("parentbased_traceidratio", 0.1, Some(true)), 10_000);
        assert_eq!(sampled("parentbased_always_on", 0.1, Some(false)), 0);
        assert!((900..1_100).contains(&sampled("traceidratio", 0.1, Some(false))));
        assert_eq!(sampled("always_on", 0.1, Some(false)), 10_000);
        assert_eq!(
            (sampled("always_off", 1.0, Some(true)), sampled("parentbased_always_off", 1.0, None)),
            (0, 0)
        );
    }
}
