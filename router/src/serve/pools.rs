//! What the pools of a router are made with, and what becomes of them when the settings change.

use std::collections::HashMap;
use std::sync::Arc;

use io_tokio::chance::Chance;
use io_tokio::driver::PoolSettings;
use io_tokio::invoker::Invoker;
use io_tokio::observe::AccessLog;
use io_tokio::running::{Change, PoolParts};
use io_tokio::tls::RouterIdentity;

use crate::access_log::Fanout;
use crate::aws::LambdaInvoker;
use crate::metrics::{Metrics, Watch};
use crate::recorder::{Recorders, Recording};
use crate::settings::{Aws, PoolPlan, Settings};

/// What watches the model of a pool.
pub(super) type PoolObserver = (Watch, Recording);

/// Makes pools.
pub(super) struct Maker {
    /// Where instances dial back to.
    pub(super) callback_url: String,
    /// Whose certificates they shall accept; none for plaintext.
    pub(super) identity: Option<RouterIdentity>,
    pub(super) recorders: Recorders,
    pub(super) metrics: Arc<Metrics>,
    /// Who is told of exchanges that are over, beside the metrics.
    pub(super) told: Vec<Arc<dyn AccessLog>>,
    /// By where their functions are.
    pub(super) invokers: HashMap<Aws, Arc<LambdaInvoker>>,
}

impl Maker {
    /// The parts of one of `pools` pools.
    pub(super) async fn parts(
        &mut self,
        plan: &PoolPlan,
        pools: usize,
    ) -> anyhow::Result<PoolParts<PoolObserver>> {
        let invoker = self.invoker(&plan.aws).await?;
        let counts = self.metrics.pool(&plan.name);
        let recording = self.recorders.pool(&plan.name, pools)?;
        Ok(PoolParts {
            config: plan.config,
            settings: PoolSettings {
                name: plan.name.clone(),
                function: plan.function.as_str().to_owned(),
                callback_url: self.callback_url.clone(),
                identity: self.identity.clone(),
                seed: rand::random(),
                chance: Chance::System,
            },
            invoker,
            access: self.access(counts.clone()),
            observer: (counts.watch(), recording),
        })
    }

    /// Has costs counted by the prices of `settings` from now on.
    pub(super) fn set_prices(&self, settings: &Settings) {
        for plan in &settings.pools {
            self.metrics.pool(&plan.name).set_price(plan.price);
        }
    }

    /// The router's logs beside somebody's `counts`.
    pub(super) fn access(&self, counts: Arc<dyn AccessLog>) -> Arc<dyn AccessLog> {
        if self.told.is_empty() {
            return counts;
        }
        Arc::new(Fanout(std::iter::once(counts).chain(self.told.iter().cloned()).collect()))
    }

    async fn invoker(&mut self, aws: &Aws) -> anyhow::Result<Arc<dyn Invoker>> {
        if let Some(invoker) = self.invokers.get(aws) {
            return Ok(Arc::clone(invoker) as Arc<dyn Invoker>);
        }
        let invoker = Arc::new(LambdaInvoker::connect(aws).await?);
        self.invokers.insert(aws.clone(), Arc::clone(&invoker));
        Ok(invoker)
    }

    /// What makes a router of `new` settings out of one of `old`. A pool that differs in more than
    /// its bounds is replaced by a new one.
    pub(super) async fn change(
        &mut self,
        old: &Settings,
        new: &Settings,
    ) -> anyhow::Result<Change<PoolObserver>> {
        // What may fail, or be given up, comes first. A pool that is made takes the place of the
        // old one's recording.
        for plan in &new.pools {
            self.invoker(&plan.aws).await?;
        }
        let (mut kept, mut started) = (Vec::new(), Vec::new());
        for plan in &new.pools {
            let name = plan.name.as_str();
            match old.pool(name) {
                Some(before) if before.differs_only_in_bounds(plan) => {
                    let config = &plan.config;
                    kept.push((name.to_owned(), config.instances_min, config.instances_max));
                    continue;
                }
                Some(_) => tracing::info!(pool = name, "a new pool takes the place of the old one"),
                None => tracing::info!(pool = name, "a pool is added"),
            }
            started.push(self.parts(plan, new.pools.len()).await?);
        }
        for gone in old.pools.iter().filter(|pool| new.pool(&pool.name).is_none()) {
            tracing::info!(pool = gone.name, "the pool is removed, and finishes what it has");
        }
        Ok(Change { kept, started, routes: new.routes.map(|route| route.split.clone()) })
    }
}
