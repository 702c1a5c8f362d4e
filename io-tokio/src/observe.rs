//! What the adapters let others see: all that a model is told and asks for, and every exchange with
//! a client. Metrics, the access log and the flight recorder are observers; none can change
//! anything.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dispatch_model::{Config, Dispatcher, Input, InstanceId, Output, Time};

use crate::pool::Window;

/// Watches the model of one pool. Called under its lock, on the data path: be quick, never block.
///
/// Between `started` and the first input there are the outputs of the new model. A due timer is
/// told before the outputs that come of it, an input before those that it leads to.
pub trait Observer: Send + 'static {
    /// The model was made at `now`. Called once, before everything else.
    fn started(&mut self, _now: Time, _config: &Config, _seed: u64) {}

    /// Through this its instances can be seen, whenever somebody wants that. Called once, after
    /// `started`.
    fn opened(&mut self, _window: &Window) {}

    /// Timers of the model are due and about to fire.
    fn timeout(&mut self, _now: Time) {}

    /// The model is about to be told `input`.
    fn input(&mut self, _now: Time, _input: &Input) {}

    /// The model has asked for `output`.
    fn output(&mut self, _now: Time, _output: &Output) {}

    /// Something is wrong that no input or output shows.
    fn trouble(&mut self, _now: Time, _trouble: Trouble) {}

    /// One turn or more are over: the model has nothing more to ask for.
    fn turn(&mut self, _now: Time, _model: &Dispatcher) {}
}

/// What keeps a pool's instances from serving, beside invokes that fail. The log has more of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The function does not start: requests are refused at once while nothing serves.
    BreakerOpened,
    /// An invoke returned as if all were well, and its instance had never attached.
    NeverAttached,
    /// An instance did not attach in the time that a start may take.
    StartTimedOut,
}

/// Both, the first one first.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn started(&mut self, now: Time, config: &Config, seed: u64) {
        self.0.started(now, config, seed);
        self.1.started(now, config, seed);
    }

    fn opened(&mut self, window: &Window) {
        self.0.opened(window);
        self.1.opened(window);
    }

    fn timeout(&mut self, now: Time) {
        self.0.timeout(now);
        self.1.timeout(now);
    }

    fn input(&mut self, now: Time, input: &Input) {
        self.0.input(now, input);
        self.1.input(now, input);
    }

    fn output(&mut self, now: Time, output: &Output) {
        self.0.output(now, output);
        self.1.output(now, output);
    }

    fn trouble(&mut self, now: Time, trouble: Trouble) {
        self.0.trouble(now, trouble);
        self.1.trouble(now, trouble);
    }

    fn turn(&mut self, now: Time, model: &Dispatcher) {
        self.0.turn(now, model);
        self.1.turn(now, model);
    }
}

/// Whoever is there, if anybody is.
impl<O: Observer> Observer for Option<O> {
    fn started(&mut self, now: Time, config: &Config, seed: u64) {
        if let Some(observer) = self {
            observer.started(now, config, seed);
        }
    }

    fn opened(&mut self, window: &Window) {
        if let Some(observer) = self {
            observer.opened(window);
        }
    }

    fn timeout(&mut self, now: Time) {
        if let Some(observer) = self {
            observer.timeout(now);
        }
    }

    fn input(&mut self, now: Time, input: &Input) {
        if let Some(observer) = self {
            observer.input(now, input);
        }
    }

    fn output(&mut self, now: Time, output: &Output) {
        if let Some(observer) = self {
            observer.output(now, output);
        }
    }

    fn trouble(&mut self, now: Time, trouble: Trouble) {
        if let Some(observer) = self {
            observer.trouble(now, trouble);
        }
    }

    fn turn(&mut self, now: Time, model: &Dispatcher) {
        if let Some(observer) = self {
            observer.turn(now, model);
        }
    }
}

/// Recounts the whole model after turns and panics when something does not hold. Linear in
/// requests and instances: for canaries.
#[derive(Clone, Copy, Debug)]
pub struct Checks;

impl Observer for Checks {
    fn turn(&mut self, _: Time, model: &Dispatcher) {
        model.check();
    }
}

/// One finished exchange with a client, whatever became of it.
#[derive(Clone, Debug)]
pub struct Access {
    /// When its head was complete.
    pub started: SystemTime,
    /// Who is at the other end of the connection: the client, or a proxy in front of it.
    pub peer: IpAddr,
    /// The client, as far as proxies that are trusted speak of it: else `peer`.
    pub client: IpAddr,
    /// The method.
    pub method: http::Method,
    /// The path without the query, as it was sent.
    pub target: String,
    /// The client's version of HTTP.
    pub version: http::Version,
    /// The authority it was sent to; empty if it named none.
    pub host: String,
    /// The status sent, or 499 if the client went away before there was one.
    pub status: u16,
    /// One word that says how it ended, `snake_case`.
    pub reason: &'static str,
    /// Bytes of request body taken from the client.
    pub bytes_in: u64,
    /// Bytes of response body handed to the client.
    pub bytes_out: u64,
    /// The pool that its route leads to, if there is one.
    pub pool: Option<Arc<str>>,
    /// From its head until it got in line for a slot, if it did.
    pub in_line: Option<Duration>,
    /// How long it waited for a slot.
    pub queue: Duration,
    /// From its dispatch, the last one, until its head was given to the instance's connection.
    pub handover: Option<Duration>,
    /// From there to the head of the instance's response, if there was one.
    pub app: Option<Duration>,
    /// From its dispatch, the last one, until it held its slot no more.
    pub slot: Option<Duration>,
    /// From its head to the response's, if there was one.
    pub first_byte: Option<Duration>,
    /// From its head to the end.
    pub total: Duration,
    /// Who served it last.
    pub instance: Option<InstanceId>,
    /// Whether it waited as long as a cold start takes.
    pub cold_exposed: bool,
    /// How often it was dispatched.
    pub attempts: u8,
    /// Why it was given to another instance, each time that it was.
    pub proofs: Vec<Proof>,
    /// Its id, on both sides' log lines.
    pub request_id: String,
    /// The client's `User-Agent`.
    pub user_agent: Option<String>,
    /// Its place in a trace that somebody wants to see.
    pub trace: Option<Trace>,
}

/// A request's place in a trace of many services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Which trace.
    pub id: [u8; 16],
    /// The router's part of it.
    pub span: [u8; 8],
    /// Whose part that is in, if not the router began the trace.
    pub parent: Option<[u8; 8]>,
    /// Whether the client's connection is encrypted.
    pub is_tls: bool,
}

/// Gives requests their places in traces. Called on the data path: be quick, never block.
pub trait Tracer: std::fmt::Debug + Send + Sync + 'static {
    /// A request with this head is about to get in line. The head may be changed, so that what the
    /// app does becomes a part of what the router does. `None` if nobody wants to see this one.
    fn begin(&self, request: &mut http::Request<()>) -> Option<Trace>;
}

/// What shows that no app has seen a request which failed, so that another may be given it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The instance said goaway, and had not taken it.
    GoAway,
    /// Nothing does; it is safe to repeat, and the operator wants that.
    None,
    /// The instance refused it, which it does before its app is sent a byte.
    Refused,
    /// It never left the router.
    Unsent,
}

impl Proof {
    /// One word for it, `snake_case`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GoAway => "goaway",
            Self::None => "none",
            Self::Refused => "refused",
            Self::Unsent => "unsent",
        }
    }
}

/// Takes note of finished exchanges. Called on the data path: be quick, never block.
pub trait AccessLog: Send + Sync + 'static {
    /// An exchange is over.
    fn record(&self, access: &Access);
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Blind;

impl Observer for Blind {}

impl AccessLog for Blind {
    fn record(&self, _: &Access) {}
}
