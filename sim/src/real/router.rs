//! The router's host: the very router that `serve` runs, and the books that are kept of it.

use std::sync::Arc;

use dispatch_model::{Config, Dispatcher, Input, Output, Prng, Time};
use io_tokio::chance::Chance;
use io_tokio::clock::{Clock, Step as WallStep};
use io_tokio::driver::PoolSettings;
use io_tokio::edge::EdgeSettings;
use io_tokio::observe::{Blind, Observer};
use io_tokio::pool::DEFAULT_POOL;
use io_tokio::recording::{Origin, Step};
use io_tokio::routes::Routes;
use io_tokio::running::{Parts, PoolParts, Running, Share};
use io_tokio::split::Split;
use tokio::sync::mpsc;

use crate::oracle::Oracle;

use super::environment::ROUTER;
use super::lambda::Aws;
use super::wire::Door;
use super::world::{Order, Stage, World};

/// One life of the router's process. It stays when it has stopped, until it is put away.
pub(super) async fn run(world: Arc<World>) -> turmoil::Result {
    let (sender, mut orders) = mpsc::unbounded_channel();
    let life = {
        let mut state = world.state();
        state.router.life += 1;
        state.router.orders = Some(sender);
        state.router.gate = Arc::default();
        state.router.life
    };
    let gate = Arc::clone(&world.state().router.gate);
    let clients = Door::open(super::CLIENTS_PORT, Arc::clone(&gate), None).await?;
    let instances = Door::open(super::INSTANCES_PORT, gate, Some(Arc::clone(&world))).await?;
    let clock = Clock::simulated(super::wall(), WallStep::default());
    let seed = world.plan.seed.wrapping_add(u64::from(life) - 1);
    let running = Running::start(Parts {
        clients: vec![(clients, None)],
        instances: vec![(instances, None)],
        clock,
        wire_v1: None,
        pools: vec![PoolParts {
            config: world.config,
            settings: PoolSettings {
                name: DEFAULT_POOL.to_owned(),
                function: "simulated".to_owned(),
                callback_url: format!("http://{ROUTER}:{}", super::INSTANCES_PORT),
                identity: None,
                seed,
                chance: Chance::Seeded(Prng::new(seed ^ NAMES)),
            },
            invoker: Arc::new(Aws(Arc::clone(&world))),
            access: Arc::new(Blind),
            observer: Books::new(Arc::clone(&world)),
        }],
        routes: Routes::all_to(Split::all_to(Share::of_default_pool())),
        edge: EdgeSettings { boot: life, ..EdgeSettings::default() },
        access: Arc::new(Blind),
    });
    {
        let mut state = world.state();
        let now = state.now;
        state.router.stage = Stage::Serving;
        if let Some((_, until)) = state.router.outages.last_mut() {
            *until = now;
        }
    }
    let drain = loop {
        match orders.recv().await {
            Some(Order::Drain(drain)) => break drain,
            Some(Order::Limits { instances_min, instances_max }) => {
                running.limit_instances(DEFAULT_POOL, instances_min, instances_max);
            }
            None => return Ok(()),
        }
    };
    running.drain(drain).await;
    world.state().router.stage = Stage::Stopped;
    std::future::pending().await
}

/// Watches a dispatcher.
struct Books {
    world: Arc<World>,
    oracle: Option<Oracle>,
}

impl Books {
    fn new(world: Arc<World>) -> Self {
        Self { world, oracle: None }
    }
}

impl Observer for Books {
    fn started(&mut self, now: Time, config: &Config, seed: u64) {
        self.oracle = self.world.checks.oracle.then(|| Oracle::new(**config, now));
        self.world.state().record.begin(&Origin::Fresh { config: *config, seed, start: now });
    }

    fn timeout(&mut self, now: Time) {
        self.world.state().note_step(now, Step::Timeout);
    }

    fn input(&mut self, now: Time, input: &Input) {
        if let Some(oracle) = &mut self.oracle {
            oracle.input(now, input);
        }
        self.world.state().note_step(now, Step::Input(*input));
    }

    fn output(&mut self, now: Time, output: &Output) {
        if let Some(oracle) = &mut self.oracle {
            oracle.output(now, output);
        }
        let mut state = self.world.state();
        state.note_step(now, Step::Output(*output));
        if let Output::Dispatch { waited, .. } = output {
            let now = state.now;
            state.report.waited(&self.world.plan, now, *waited);
        }
    }

    fn turn(&mut self, now: Time, model: &Dispatcher) {
        if self.world.checks.model {
            model.check();
        }
        let mut state = self.world.state();
        state.router.gauges = model.gauges();
        state.router.stats = *model.stats();
        if let Some(oracle) = &mut self.oracle {
            oracle.settled(now, model);
            if let Some(broken) = oracle.broken() {
                state.breaks(|| broken.to_owned());
            }
        }
    }
}

/// Keeps the names' chance apart from the model's.
const NAMES: u64 = 0x6e61_6d65_735f_5f5f;
