//! What requests need of whom they reach.

use std::path::Path;
use std::time::Duration;

use dispatch_model::Prng;
use dispatch_model::time::nanos;
use serde::Deserialize;

use crate::spread::{Spread, SpreadError, float, share, whole};

/// What each request needs.
///
/// ```toml
/// [service]
/// time = { kind = "log-normal", median = "40ms", p99 = "400ms" }
/// cpu = 0.3            # of the time it computes, the rest waits for others
///
/// [[service.route]]    # a part of the requests that is unlike the rest
/// share = 0.05         # of synthetic traffic
/// path = "/reports"    # of recorded traffic: paths that begin so
/// time = "2s"
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Service {
    /// How long a request takes on an instance.
    pub time: Spread,
    /// The share of that, from 0 to 1, that needs a CPU.
    pub cpu: f64,
    /// Requests that are unlike the rest.
    pub routes: Vec<Route>,
}

/// A part of the requests.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// How large a part of synthetic traffic, from 0 to 1.
    #[serde(default)]
    pub share: f64,
    /// How paths of recorded requests begin that belong to it; the longest that fits counts.
    pub path: Option<String>,
    /// How long a request takes on an instance.
    pub time: Spread,
    /// The share of that, from 0 to 1, that needs a CPU.
    #[serde(default)]
    pub cpu: f64,
}

/// What is known of the service of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: routes have their shares.
    Any,
    /// Which route, counted from 1; 0 for none.
    Route(u16),
    /// How long it took, in nanoseconds, and which route.
    Time(u64, u16),
}

impl Service {
    /// `time` for all, none of it on a CPU.
    #[must_use]
    pub const fn new(time: Spread) -> Self {
        Self { time, cpu: 0.0, routes: Vec::new() }
    }

    /// Reads the files that its times come from, relative to `folder`.
    ///
    /// # Errors
    ///
    /// One of them cannot be used.
    pub fn read(&mut self, folder: &Path) -> Result<(), SpreadError> {
        self.time.read(folder)?;
        self.routes.iter_mut().try_for_each(|route| route.time.read(folder))
    }

    /// Whether some of it computes.
    #[must_use]
    pub fn needs_processor(&self) -> bool {
        self.cpu > 0.0 || self.routes.iter().any(|route| route.cpu > 0.0)
    }

    /// Its mean, if it is exponentially distributed, the same for all, and needs no processor.
    pub(super) fn memoryless(&self) -> Option<Duration> {
        let plain = self.routes.is_empty() && self.cpu.to_bits() == 0;
        (plain && self.time.is_exponential()).then(|| self.time.mean())
    }

    /// The route that `path` belongs to, counted from 1; 0 if it is none.
    pub(super) fn route_of(&self, path: &[u8]) -> u16 {
        let routes = (1_u16..).zip(&self.routes);
        let fits = routes.filter_map(|(number, route)| {
            let prefix = route.path.as_ref()?;
            path.starts_with(prefix.as_bytes()).then_some((prefix.len(), number))
        });
        fits.max_by_key(|(length, _)| *length).map_or(0, |(_, number)| number)
    }

    /// How long a request takes on an instance, and how long of that on a CPU.
    pub(super) fn draw(&self, need: Need, chance: &mut Prng) -> (Duration, Duration) {
        let route = match need {
            Need::Any => self.any_route(chance),
            Need::Route(route) | Need::Time(_, route) => {
                usize::from(route).checked_sub(1).and_then(|index| self.routes.get(index))
            }
        };
        let (time, cpu) = route.map_or((&self.time, self.cpu), |route| (&route.time, route.cpu));
        let time = match need {
            Need::Any | Need::Route(_) => time.draw(chance),
            Need::Time(time, _) => Duration::from_nanos(time),
        };
        (time, Duration::from_nanos(whole(float(nanos(time)) * cpu)).min(time))
    }

    fn any_route(&self, chance: &mut Prng) -> Option<&Route> {
        if self.routes.is_empty() {
            return None;
        }
        let mut left = share(chance);
        self.routes.iter().find(|route| {
            left -= route.share;
            left < 0.0
        })
    }
}

/// As it is written in a plan.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    time: Spread,
    #[serde(default)]
    cpu: f64,
    #[serde(default, rename = "route")]
    routes: Vec<Route>,
}

impl TryFrom<Written> for Service {
    type Error = String;

    fn try_from(Written { time, cpu, routes }: Written) -> Result<Self, String> {
        let shares = routes.iter().map(|route| ("share", route.share));
        let cpus = routes.iter().map(|route| ("cpu", route.cpu)).chain([("cpu", cpu)]);
        for (name, value) in shares.chain(cpus) {
            if !(0.0..=1.0).contains(&value) {
                return Err(format!("`{name}` is {value}, must be from 0 to 1"));
            }
        }
        let all: f64 = routes.iter().map(|route| route.share).sum();
        if all > 1.0 + 1e-9 {
            return Err(format!("the shares of the routes add up to {all}, must be at most 1"));
        }
        if routes.len() > ROUTES_MAX {
            return Err(format!("{} routes, must be at most {ROUTES_MAX}", routes.len()));
        }
        Ok(Self { time, cpu, routes })
    }
}

/// Each arrival of a recording names its route in 16 bits.
const ROUTES_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn service(toml: &str) -> Service {
        toml::from_str(toml).unwrap()
    }

    #[test]
    fn routes_take_their_shares_and_the_rest_is_like_the_rest() {
        let service = service(
            "time = '10ms'
            route = [{ share = 0.2, time = '1s', cpu = 0.5 }, { share = 0.3, time = '2s' }]",
        );
        let mut chance = Prng::new(7);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..10_000 {
            let (time, cpu) = service.draw(Need::Any, &mut chance);
            assert_eq!(cpu, if time.as_secs() == 1 { time / 2 } else { Duration::ZERO });
            *counts.entry(time.as_millis()).or_insert(0) += 1;
        }
        assert!((4_800..5_200).contains(&counts[&10]), "{counts:?}");
        assert!((1_850..2_150).contains(&counts[&1_000]), "{counts:?}");
        assert!((2_850..3_150).contains(&counts[&2_000]), "{counts:?}");
    }

    #[test]
    fn longest_path_that_fits_says_which_route_it_is() {
        let service = service(
            "time = '10ms'
            cpu = 1
            route = [{ path = '/', time = '1s' }, { path = '/api', time = '2s', cpu = 0.25 }]",
        );
        assert_eq!([service.route_of(b"/x"), service.route_of(b"/api/x")], [1, 2]);
        assert_eq!(service.route_of(b"x"), 0);
        let mut chance = Prng::new(7);
        let mut draw = |need| service.draw(need, &mut chance);
        let ms = Duration::from_millis;
        assert_eq!(draw(Need::Route(0)), (ms(10), ms(10)));
        assert_eq!(draw(Need::Route(2)), (ms(2_000), ms(500)));
        assert_eq!(draw(Need::Time(8_000_000, 2)), (ms(8), ms(2)));
    }

    #[test]
    fn shares_beyond_all_are_refused() {
        for (toml, what) in [
            ("time = '1s'\ncpu = 1.5", "`cpu` is 1.5, must be from 0 to 1"),
            (
                "time = '1s'\nroute = [{ time = '1s', share = 0.6 }, { time = '1s', share = 0.6 }]",
                "must be at most 1",
            ),
            ("cpu = 0.5", "time"),
        ] {
            let error = toml::from_str::<Service>(toml).expect_err(toml).to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
