//! The routes: `[[route]]`, each with what it is for and the pools that serve it.

use std::collections::HashMap;

use http::header::HeaderName;
use io_tokio::pool::DEFAULT_POOL;
use io_tokio::routes::{AliasHeader, BadCondition, Conditions, PathPrefix, Routes};
use io_tokio::running::Share;
use io_tokio::split::Split;

use super::error::SettingsError;
use super::layers::{Origin, Scope, is_of_request};
use super::nearest::nearest;
use super::reader::Reader;
use super::table::SETTINGS;
use super::{PoolPlan, RoutePlan};

impl Reader {
    /// The table of routes; without any, everything is for the pool `default`.
    pub(super) fn routes(&mut self, pools: &[PoolPlan]) -> Routes<RoutePlan> {
        let aliases = self.aliases();
        let places: Vec<Origin> =
            self.layers.routes.iter().map(|(place, _)| place.clone()).collect();
        if places.is_empty() {
            let split = Split::all_to(DEFAULT_POOL.to_owned());
            let plan = self.route_plan(Origin::Default, None, &split);
            return Routes::new(vec![(Conditions::default(), plan)], aliases);
        }
        let mut seen: HashMap<Conditions, Origin> = HashMap::new();
        let mut routes = Vec::new();
        for (i, place) in places.into_iter().enumerate() {
            let conditions = self.conditions(i);
            let split = self.split(i, &place, pools);
            let (Some(conditions), Some(split)) = (conditions, split) else { continue };
            if let Some(first) = seen.get(&conditions) {
                let what = format!(
                    "this route is for {conditions}, as is the one at {first}, so that it can \
                     never serve; remove one of them"
                );
                self.bad_route(place.clone(), what);
            }
            if conditions.alias.is_some() && aliases.is_none() {
                let what = "this route has an alias but there is no routing.alias_header to name \
                            it in, so that it can never serve; set that";
                self.bad_route(place.clone(), what.to_owned());
            }
            seen.insert(conditions.clone(), place.clone());
            routes.push((conditions, self.route_plan(place, Some(i), &split)));
        }
        Routes::new(routes, aliases)
    }

    fn aliases(&mut self) -> Option<AliasHeader> {
        const NAME: &str = "routing.alias_header";
        let from_anyone = self.choice("routing.alias_from") == "anyone";
        let text = self.text(NAME)?;
        // What decides about framing, or whom a request is for, cannot mean this as well.
        let taken = ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te"];
        match HeaderName::try_from(&text) {
            Ok(name) if !taken.contains(&name.as_str()) => Some(AliasHeader { name, from_anyone }),
            Ok(_) | Err(_) => {
                self.bad(
                    NAME,
                    "the name of a header of your own, such as X-Lambda-Name".to_owned(),
                );
                None
            }
        }
    }

    fn conditions(&mut self, i: usize) -> Option<Conditions> {
        self.within(&[Scope::Route(i)], |reader| {
            let host = reader.condition("host", |text| text.parse().map(Some));
            let path = reader.condition("path", PathPrefix::parse);
            let alias = reader.condition("alias", |text| text.parse().map(Some));
            Some(Conditions { host: host?, path: path?, alias: alias? })
        })
    }

    /// `None` if it is wrong.
    fn condition<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<Option<T>, BadCondition>,
    ) -> Option<Option<T>> {
        match self.text(name).as_deref().map_or(Ok(None), parse) {
            Ok(condition) => Some(condition),
            Err(allowed) => {
                self.bad(name, allowed.to_string());
                None
            }
        }
    }

    /// The pools of a route by weight; `None` if there are none that make sense.
    fn split(&mut self, i: usize, place: &Origin, pools: &[PoolPlan]) -> Option<Split<String>> {
        let single = self.layers.get(&Scope::Route(i), "pool").cloned();
        let (_, weights) = self.layers.routes.get_mut(i)?;
        let weights = std::mem::take(weights);
        let mut parts = Vec::new();
        let mut known = true;
        match (single, weights.is_empty()) {
            (Some((pool, origin)), true) => {
                known &= self.is_pool(&pool, &origin, pools);
                parts.push((1, pool));
            }
            (None, false) => {
                for weight in weights {
                    known &= self.is_pool(&weight.pool, &weight.origin, pools);
                    let Some(number) = weight.text.parse().ok().filter(|it| *it <= WEIGHT_MAX)
                    else {
                        self.layers.errors.push(SettingsError::BadValue {
                            name: format!("route.pools.{}", weight.pool),
                            value: weight.text,
                            origin: weight.origin,
                            allowed: format!("a weight from 0 to {WEIGHT_MAX}"),
                        });
                        return None;
                    };
                    parts.push((number, weight.pool));
                }
            }
            (Some(_), false) | (None, true) => {
                let what = "a route has either a pool, such as pool = \"shop\", or pools by \
                            weight, such as pools = { shop = 95, canary = 5 }";
                self.bad_route(place.clone(), what.to_owned());
                return None;
            }
        }
        if parts.iter().all(|(weight, _)| *weight == 0) {
            self.bad_route(place.clone(), "all pools of this route have the weight 0".to_owned());
            return None;
        }
        known.then(|| Split::new(parts))
    }

    fn is_pool(&mut self, name: &str, place: &Origin, pools: &[PoolPlan]) -> bool {
        // A pool that is wrong in itself is told of elsewhere.
        let known = name == DEFAULT_POOL
            || self.layers.pools.contains_key(name)
            || pools.iter().any(|pool| pool.name == name);
        if !known {
            let known: Vec<String> = std::iter::once(DEFAULT_POOL.to_owned())
                .chain(self.layers.pools.keys().cloned())
                .collect();
            let meant = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
            let (place, name) = (place.clone(), name.to_owned());
            self.layers.errors.push(SettingsError::UnknownPool { place, name, meant, known });
        }
        known
    }

    /// Who serves a route and how long its requests may take: what the route says, else its pool,
    /// else the router.
    fn route_plan(&mut self, origin: Origin, i: Option<usize>, pools: &Split<String>) -> RoutePlan {
        let mut effective = Vec::new();
        let split = pools.map(|pool| {
            let own = i.map(Scope::Route).into_iter();
            let scopes: Vec<Scope> = own.chain([Scope::Pool(pool.clone())]).collect();
            self.within(&scopes, |reader| {
                let values = SETTINGS.iter().filter(|setting| is_of_request(setting));
                effective.push(values.map(|setting| reader.effective(setting)).collect());
                Share { pool: pool.clone(), patience: reader.patience() }
            })
        });
        RoutePlan { origin, split, effective }
    }

    fn bad_route(&mut self, place: Origin, what: String) {
        self.layers.errors.push(SettingsError::BadRoute { place, what });
    }
}

const WEIGHT_MAX: u32 = 1_000_000;
