//! Traces: the router's part of each, sent to an OpenTelemetry collector over OTLP/HTTP.
//!
//! A request takes its place in the trace that its client names in `traceparent` or
//! `X-Amzn-Trace-Id`, or begins one, and tells the app in both headers that the router's span is
//! what called it. Extension and app need no more to be in the same trace. When the exchange is
//! over its line for the access log says all that there is to say of it, and becomes a span.
//!
//! Spans wait in a bounded queue for a task of its own. A collector that is slow or away costs
//! spans, which are counted (`dispatch_spans_total`), and holds up no request. Without an endpoint
//! none of this is there, and the trace that a client names is passed on untouched.

mod context;
mod export;
mod messages;
mod sampler;
mod span;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, UNIX_EPOCH};

use dispatch_model::Prng;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::Scheme;
use io_tokio::clock::Clock;
use io_tokio::observe::{Access, AccessLog, Trace, Tracer};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::aws::AwsError;
use crate::metrics::{Metrics, SpanFate};

use export::{Client, Export};
use messages::{KeyValue, Resource, Span, Value};

pub use sampler::{SAMPLERS, Sampler};

/// How traces are sent, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// Where to: the collector's URL, with the path for traces.
    pub endpoint: http::Uri,
    /// What the router is called in them. Default `lambda-dispatch`.
    pub service_name: Option<String>,
    /// Which of them are recorded. Default all but those that their client does not record.
    pub sampler: Sampler,
}

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// There is no TLS.
    #[error("traces cannot be sent: {0}")]
    Tls(#[from] AwsError),
}

/// The sending of traces, as long as the router runs.
#[derive(Debug)]
pub struct Sending {
    tracer: Arc<Places>,
    spans: Arc<Spans>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Sending {
    /// Starts the task that sends. `variable` looks one of the environment up.
    ///
    /// # Errors
    ///
    /// No certificate authority is known.
    pub fn start(
        traces: &Traces,
        variable: impl Fn(&str) -> Option<String>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, TracesError> {
        if let Some(other) = variable(PROTOCOL).filter(|it| it != "http/protobuf") {
            tracing::warn!(
                "{PROTOCOL} is {other:?}: traces are sent as http/protobuf all the same, for which \
                 collectors listen on port 4318"
            );
        }
        let headers = headers(&variable).unwrap_or_else(|| ignored(HEADERS));
        let client = Client::new(&traces.endpoint, headers)?;
        let given = pairs(&variable(ATTRIBUTES).unwrap_or_default());
        let resource = resource(traces, &given.unwrap_or_else(|| ignored(ATTRIBUTES)));
        let (queue, queued) = mpsc::channel(QUEUE_LEN_MAX);
        let (stop, stopped) = watch::channel(false);
        let export = Export { client, resource, metrics: Arc::clone(metrics), stopped };
        let task = tokio::spawn(export.run(queued));
        tracing::info!(endpoint = %traces.endpoint, "traces are sent here");
        let clock = Clock::start();
        let (seed, count) = (rand::random(), AtomicU64::new(0));
        let tracer = Arc::new(Places { sampler: traces.sampler, clock, seed, count });
        let spans = Arc::new(Spans { queue, metrics: Arc::clone(metrics) });
        Ok(Self { tracer, spans, stop, task })
    }

    /// Who gives requests their places.
    #[must_use]
    pub fn tracer(&self) -> Arc<dyn Tracer> {
        Arc::clone(&self.tracer) as Arc<dyn Tracer>
    }

    /// Who is to be told of exchanges that are over.
    #[must_use]
    pub fn log(&self) -> Arc<dyn AccessLog> {
        Arc::clone(&self.spans) as Arc<dyn AccessLog>
    }

    /// Sends what there is, unless that takes too long.
    pub async fn finish(self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(LAST_WORDS, self.task).await.is_err() {
            tracing::warn!("the last spans could not be sent");
        }
    }
}

/// Gives requests their places in traces.
#[derive(Debug)]
struct Places {
    sampler: Sampler,
    clock: Clock,
    seed: u64,
    count: AtomicU64,
}

impl Places {
    /// A trace that begins here: 32 bits of time, as X-Ray wants it, and 96 of chance.
    fn trace(&self, prng: &mut Prng) -> [u8; 16] {
        let since = self.clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = since.as_secs().to_be_bytes();
        let (high, low) = (prng.next_u64().to_be_bytes(), prng.next_u64().to_be_bytes());
        let mut id = [0; 16];
        id[..4].copy_from_slice(&time[4..]);
        id[4..8].copy_from_slice(&high[..4]);
        id[8..].copy_from_slice(&low);
        id
    }
}

impl Tracer for Places {
    fn begin(&self, request: &mut http::Request<()>) -> Option<Trace> {
        let is_tls = request.uri().scheme() == Some(&Scheme::HTTPS);
        let headers = request.headers_mut();
        let was = (context::w3c(headers), context::x_ray(headers));
        let parent = was.0.or(was.1);
        // Three numbers of one stream for each request.
        let drawn = self.count.fetch_add(3, Relaxed);
        let mut prng = Prng::new(self.seed.wrapping_add(drawn.wrapping_mul(STEP)));
        let span = prng.next_u64().max(1).to_be_bytes();
        let id = parent.map_or_else(|| self.trace(&mut prng), |parent| parent.id);
        let is_sampled = self.sampler.samples(id, parent.and_then(|parent| parent.is_sampled));
        context::tell(headers, was, id, span, is_sampled);
        let parent = parent.and_then(|parent| parent.span);
        is_sampled.then_some(Trace { id, span, parent, is_tls })
    }
}

/// Takes note of exchanges that are a part of a trace.
#[derive(Debug)]
struct Spans {
    queue: mpsc::Sender<Span>,
    metrics: Arc<Metrics>,
}

impl AccessLog for Spans {
    fn record(&self, access: &Access) {
        let Some(trace) = access.trace else { return };
        match self.queue.try_reserve() {
            // Made here, for its texts are cut: clients' own may be long, and many may wait.
            Ok(place) => place.send(span::of(access, trace)),
            Err(_) => self.metrics.count_spans(SpanFate::QueueFull, 1),
        }
    }
}

/// Nothing, where a variable is not what it should be: others may know what it says.
fn ignored<T: Default>(variable: &str) -> T {
    // Its value may be a secret.
    tracing::warn!(
        "{variable} was ignored: it must be a list such as key=value,other=value; values have \
         %-escapes"
    );
    T::default()
}

/// What collectors are sent beside the spans, such as a key.
fn headers(variable: impl Fn(&str) -> Option<String>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs(&variable(HEADERS).unwrap_or_default())? {
        let name = HeaderName::try_from(name).ok()?;
        let mut value = HeaderValue::try_from(value).ok()?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Some(headers)
}

/// Who we are, beside what the operator has `given`.
fn resource(traces: &Traces, given: &[(String, String)]) -> Resource {
    let name = traces.service_name.clone();
    let ours = [
        ("service.name", name.clone().unwrap_or_else(|| "lambda-dispatch".to_owned())),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id", format!("{:016x}", rand::random::<u64>())),
    ];
    // What the operator says is stronger than what we do; the setting is stronger than the list.
    let is_given = |key: &str| given.iter().any(|(given, _)| given == key);
    let ours = ours
        .into_iter()
        .filter(|(key, _)| !is_given(key) || *key == "service.name" && name.is_some())
        .map(|(key, value)| (key.to_owned(), value))
        .collect::<Vec<_>>();
    let is_ours = |key: &str| ours.iter().any(|(ours, _)| ours == key);
    let given: Vec<_> = given.iter().filter(|(key, _)| !is_ours(key)).cloned().collect();
    let attribute = |(key, value): (String, String)| span::attribute(&key, Value::Text(value));
    let attributes: Vec<KeyValue> = ours.into_iter().chain(given).map(attribute).collect();
    Resource { attributes }
}

/// The pairs of a list such as `a=1,b=two%20words`.
fn pairs(list: &str) -> Option<Vec<(String, String)>> {
    let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            let (key, value) = entry.split_once('=')?;
            let (key, value) = (unescaped(key.trim())?, unescaped(value.trim())?);
            (!key.is_empty()).then_some((key, value))
        })
        .collect()
}

/// A text without its %-escapes.
fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(part.get(2..)?.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
/// Spans that wait to be sent, about 8 MB.
const QUEUE_LEN_MAX: usize = 8_192;
/// By which the state of [`Prng`] goes on, each time.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
/// How long the end of the router may wait for the last spans.
const LAST_WORDS: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests;
