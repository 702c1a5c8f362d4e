//! The pools: `[pool]` for the one called `default`, `[pools.NAME]` for others, and the share of
//! each in what all may have together.
//!
//! Shares are fixed: a total is divided by weight when the settings are read, and what comes out
//! is an upper bound like any other. A pool can lose nothing of it to another, whatever that one
//! does; the price is that it cannot borrow either. What a queue holds cannot be called back, so
//! borrowing would break the promise at the moment when it is needed.

use dispatch_model::{Budget, Config, Limits, Matching, Scaling};
use io_tokio::pool::DEFAULT_POOL;

use super::error::SettingsError;
use super::function::FunctionName;
use super::layers::{Origin, Scope, is_of_pool, variable_of};
use super::reader::{Reader, setting};
use super::table::SETTINGS;
use super::{Aws, Effective, PoolPlan};

/// A pool before it has its shares.
struct Draft {
    name: String,
    function: FunctionName,
    limits: Limits,
    weight: u64,
    memory_mb: u64,
    price: u64,
    aws: Aws,
    effective: Vec<Effective>,
}

impl Reader {
    /// Every pool, `default` first if it is one.
    pub(super) fn pools(&mut self, aws: &Aws) -> Vec<PoolPlan> {
        // Read in any case: the others inherit from it.
        let limits = self.limits();
        let named: Vec<_> = self.layers.pools.clone().into_iter().collect();
        let mut drafts = Vec::new();
        if self.text(FUNCTION).is_some() || named.is_empty() || self.default_is_named() {
            drafts.extend(self.draft(DEFAULT_POOL, limits, aws));
        }
        for (name, place) in named {
            let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
            let is_name = (1..=64).contains(&name.len()) && name.bytes().all(legal);
            if name == DEFAULT_POOL || !is_name {
                self.layers.errors.push(SettingsError::BadPoolName { place, name });
                continue;
            }
            drafts.extend(self.within(&[Scope::Pool(name.clone())], |reader| {
                let limits = reader.limits();
                reader.draft(&name, limits, aws)
            }));
        }
        self.share_all(&mut drafts);
        drafts.into_iter().filter_map(|draft| self.plan(draft)).collect()
    }

    /// Whether requests go to the pool `default` by what the routes say.
    fn default_is_named(&self) -> bool {
        let routes = &self.layers.routes;
        routes.is_empty()
            || routes.iter().enumerate().any(|(i, (_, weights))| {
                let pool = self.layers.get(&Scope::Route(i), "pool");
                pool.is_some_and(|(pool, _)| pool == DEFAULT_POOL)
                    || weights.iter().any(|weight| weight.pool == DEFAULT_POOL)
            })
    }

    fn draft(&mut self, name: &str, limits: Limits, aws: &Aws) -> Option<Draft> {
        let scope = scope_of(name);
        let function = self.function(&scope);
        let memory_mb = self.number("pool.memory_mb");
        let price = self.price(memory_mb);
        let weight = self.number("pool.weight").max(1);
        let own = SETTINGS.iter().filter(|setting| is_of_pool(setting));
        let mut effective: Vec<_> = own.map(|setting| self.effective(setting)).collect();
        if scope != Scope::Router
            && let Some(value) = effective.iter_mut().find(|it| it.name == FUNCTION)
        {
            // Not inherited.
            (value.text, value.origin) =
                self.layers.get(&scope, FUNCTION).cloned().unwrap_or_default();
        }
        let function = function?;
        let aws = self.aws_of(&function, aws);
        Some(Draft {
            name: name.to_owned(),
            function,
            limits,
            weight,
            memory_mb,
            price,
            aws,
            effective,
        })
    }

    fn price(&mut self, memory_mb: u64) -> u64 {
        self.picodollars("pool.price_per_gb_second")
            .map_or(0, |per_gb| per_gb.saturating_mul(memory_mb) / 1_024)
            .max(1)
    }

    /// The function, which is never inherited: two pools are two functions.
    fn function(&mut self, scope: &Scope) -> Option<FunctionName> {
        let Some((text, origin)) = self.layers.get(scope, FUNCTION).cloned() else {
            let setting = setting(FUNCTION);
            self.layers.errors.push(SettingsError::Missing {
                name: scope.name(FUNCTION),
                about: setting.about,
                variable: (*scope == Scope::Router).then(|| variable_of(setting)),
            });
            return None;
        };
        match FunctionName::parse(text.trim()) {
            Ok(function) => Some(function),
            Err(why) => {
                self.layers.errors.push(SettingsError::BadValue {
                    name: scope.name(FUNCTION),
                    value: text,
                    origin,
                    allowed: format!(
                        "name, name:qualifier, account:function:name or an ARN, and {why}"
                    ),
                });
                None
            }
        }
    }

    /// The region of an ARN is that of its function.
    fn aws_of(&mut self, function: &FunctionName, aws: &Aws) -> Aws {
        let Some(named) = function.region() else { return aws.clone() };
        if let Some(region) = aws.region.as_deref().filter(|region| *region != named) {
            // Stated for every program of the container, so the more special statement wins.
            self.layers.warnings.push(format!(
                "aws.region is {region} but the function's ARN says {named}, which is used"
            ));
        }
        Aws { region: Some(named.to_owned()), ..aws.clone() }
    }

    fn limits(&mut self) -> Limits {
        let memory_mb = self.number("pool.memory_mb");
        let price = self.price(memory_mb);
        let budget = self.picodollars("pool.budget_per_hour").map(|picodollars| Budget {
            microdollars_per_hour: (picodollars / 1_000_000).max(1),
            picodollars_per_instance_second: price,
        });
        Limits {
            budget,
            cold_start: self.optional_span("pool.cold_start"),
            instance_count_multiplier: self.small("pool.instance_count_multiplier"),
            instances_max: self.small("pool.instances_max"),
            instances_min: self.small("pool.instances_min"),
            invokes_burst: self.small("pool.invokes_burst"),
            invokes_per_second: self.small("pool.invokes_per_second"),
            linger: self.span("pool.linger"),
            matching: match self.choice("pool.matching") {
                "pack" => Matching::Pack,
                _ => Matching::LeastOutstanding,
            },
            ping_interval: self.span("pool.ping_interval"),
            ping_timeout: self.span("pool.ping_timeout"),
            placement_margin: self.span("pool.placement_margin"),
            queue_bytes_max: self.number("pool.queue_bytes"),
            queue_len_max: self.small("pool.queue_length"),
            queue_timeout: self.span("timeouts.queue"),
            redispatch_max: u8::try_from(self.small("pool.redispatch")).unwrap_or(u8::MAX),
            retry_repeatable: self.flag("pool.retry_repeatable"),
            scaling: match self.choice("pool.scaling") {
                "simple" => Scaling::Simple,
                "ewma" => Scaling::Ewma,
                _ => Scaling::Rule,
            },
            slots: self.small("pool.slots"),
            start_timeout: self.span("pool.start_timeout"),
            starts_unproven_max: self.small("pool.starts_unproven_max"),
        }
    }

    /// Gives each pool its part of what all may have together.
    fn share_all(&mut self, pools: &mut [Draft]) {
        self.share(pools, "total.instances", |limits, share| {
            cap(&mut limits.instances_max, share, "pool.instances_max").into_iter().collect()
        });
        self.share(pools, "total.invokes_per_second", |limits, share| {
            // AWS counts starts by spans of 10 s, so no burst is worth more than that.
            let (rate, burst) = (&mut limits.invokes_per_second, &mut limits.invokes_burst);
            let rate = cap(rate, share, "pool.invokes_per_second");
            let burst = cap(burst, share.saturating_mul(10), "pool.invokes_burst");
            rate.into_iter().chain(burst).collect()
        });
        self.share(pools, "total.queue_length", |limits, share| {
            cap(&mut limits.queue_len_max, share, "pool.queue_length").into_iter().collect()
        });
        self.share(pools, "total.queue_bytes", |limits, share| {
            let capped = limits.queue_bytes_max > share;
            limits.queue_bytes_max = limits.queue_bytes_max.min(share);
            capped.then_some(("pool.queue_bytes", share)).into_iter().collect()
        });
    }

    /// Divides the total called `name`, if there is one; `cap` says which settings it made
    /// smaller.
    fn share(
        &mut self,
        pools: &mut [Draft],
        name: &'static str,
        cap: impl Fn(&mut Limits, u64) -> Vec<(&'static str, u64)>,
    ) {
        let total = self.number(name);
        if total == 0 {
            return;
        }
        let weights: u64 = pools.iter().map(|pool| pool.weight).sum();
        for pool in &mut *pools {
            let share = u128::from(total) * u128::from(pool.weight) / u128::from(weights.max(1));
            let share = u64::try_from(share).unwrap_or(u64::MAX);
            if share == 0 {
                let what = format!(
                    "{name} is {total}, of which the pool {} has no part by its weight of {} in \
                     {weights}; raise one of them",
                    pool.name, pool.weight
                );
                self.conflict(&what);
            }
            for (capped, share) in cap(&mut pool.limits, share.max(1)) {
                if let Some(value) = pool.effective.iter_mut().find(|it| it.name == capped) {
                    (value.text, value.origin) = (share.to_string(), Origin::Share(name));
                }
            }
        }
    }

    fn plan(&mut self, draft: Draft) -> Option<PoolPlan> {
        let Draft { name, function, limits, memory_mb, price, aws, effective, .. } = draft;
        let scope = scope_of(&name);
        if limits.instances_min > limits.instances_max {
            self.conflict(&format!(
                "{} is {} and {} is {}; the least must not exceed the most",
                scope.name("pool.instances_min"),
                limits.instances_min,
                scope.name("pool.instances_max"),
                limits.instances_max
            ));
            return None;
        }
        let config =
            Config::new(limits).map_err(|error| self.conflict(&format!("{name}: {error}")));
        let config = config.ok()?;
        Some(PoolPlan { name, function, config, memory_mb, price, aws, effective })
    }
}

/// Makes `limit` no more than `share`; the setting and its value if that was needed.
fn cap(limit: &mut u32, share: u64, name: &'static str) -> Option<(&'static str, u64)> {
    let share = u32::try_from(share).unwrap_or(u32::MAX);
    let capped = *limit > share;
    *limit = (*limit).min(share);
    capped.then_some((name, share.into()))
}

fn scope_of(pool: &str) -> Scope {
    if pool == DEFAULT_POOL { Scope::Router } else { Scope::Pool(pool.to_owned()) }
}

const FUNCTION: &str = "pool.function";
