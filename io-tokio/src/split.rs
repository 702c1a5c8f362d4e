//! How a route's requests are divided among pools: by weights, as a canary needs it.

/// One or more things, each with a weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split<T> {
    parts: Vec<(u32, T)>,
}

impl<T> Split<T> {
    /// Divides by weight among `parts`; of all weights 0 nothing is chosen.
    #[must_use]
    pub const fn new(parts: Vec<(u32, T)>) -> Self {
        Self { parts }
    }

    /// All to one.
    #[must_use]
    pub fn all_to(to: T) -> Self {
        Self::new(vec![(1, to)])
    }

    /// What there is, with its weight.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.parts.iter().map(|(weight, part)| (*weight, part))
    }

    /// The same weights of something else.
    #[must_use]
    pub fn map<U>(&self, mut to: impl FnMut(&T) -> U) -> Split<U> {
        Split::new(self.parts.iter().map(|(weight, part)| (*weight, to(part))).collect())
    }

    /// The part that `chance`, any number, falls on.
    #[must_use]
    pub fn choose(&self, chance: u64) -> Option<&T> {
        if let [(1.., only)] = self.parts.as_slice() {
            return Some(only);
        }
        let total: u64 = self.parts.iter().map(|(weight, _)| u64::from(*weight)).sum();
        let mut at = chance.checked_rem(total)?;
        for (weight, part) in &self.parts {
            let weight = u64::from(*weight);
            if at < weight {
                return Some(part);
            }
            at -= weight;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dispatch_model::Prng;

    #[test]
    fn each_part_is_chosen_as_often_as_its_weight_says() {
        let split = Split::new(vec![(95, "stable"), (5, "canary"), (0, "off")]);
        let of = |name| (0..100).filter(|chance| split.choose(*chance) == Some(&name)).count();
        assert_eq!((of("stable"), of("canary"), of("off")), (95, 5, 0));
        // As the edge draws: one number for each request, from the request's own.
        let drawn = (0..10_000).map(|count| Prng::new(count).next_u64());
        let canaries = drawn.filter(|chance| split.choose(*chance) == Some(&"canary")).count();
        assert!((400..600).contains(&canaries), "{canaries}");
    }

    #[test]
    fn nothing_is_chosen_of_nothing() {
        assert_eq!(Split::<()>::new(Vec::new()).choose(7), None);
        assert_eq!(Split::new(vec![(0, ())]).choose(7), None);
        assert_eq!(Split::all_to("one").choose(u64::MAX), Some(&"one"));
    }
}
