//! The task that sends spans: gathered for a few seconds, or until there are enough; tried again
//! while the collector is away, though not for ever.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::messages::{
    ExportTraceServiceRequest, ExportTraceServiceResponse, InstrumentationScope, Resource,
    ResourceSpans, ScopeSpans, Span,
};
use crate::aws::{AwsError, Target, Transport};
use crate::metrics::{Metrics, SpanFate};

/// What the task has.
pub(super) struct Export {
    pub(super) client: Client,
    pub(super) resource: Resource,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stopped: watch::Receiver<bool>,
}

/// The collector, as it is reached.
pub(super) struct Client {
    transport: Transport,
    target: Target,
    path: Uri,
    headers: HeaderMap,
    open: Option<SendRequest<Full<Bytes>>>,
}

/// What became of what was sent.
#[derive(Debug)]
enum Answer {
    /// The collector may take it later.
    Later(String),
    /// It never will.
    Never(String),
    /// It was taken, but for some of the spans.
    Taken { rejected: u64 },
}

impl Export {
    /// Sends what is queued until it is told to stop, and then what is left.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Span>) {
        let mut stopped = self.stopped.clone();
        let mut is_broken = false;
        loop {
            let mut batch = Vec::new();
            let gather = async {
                // The first one begins the wait for more.
                let first = queue.recv_many(&mut batch, BATCH_LEN_MAX).await;
                let more = async {
                    while batch.len() < BATCH_LEN_MAX
                        && queue.recv_many(&mut batch, BATCH_LEN_MAX).await > 0
                    {
                    }
                };
                if first > 0 {
                    // Either it is full, or it is time.
                    timeout(GATHERED_FOR, more).await.ok();
                }
                first > 0
            };
            let is_alive = tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => false,
                is_alive = gather => is_alive,
            };
            if !is_alive {
                while let Ok(span) = queue.try_recv() {
                    batch.push(span);
                }
            }
            while !batch.is_empty() {
                let part = batch.drain(..batch.len().min(BATCH_LEN_MAX)).collect();
                let error = self.send(part).await;
                match (&error, is_broken) {
                    (Some(why), false) => {
                        tracing::warn!(why, "spans are lost: the collector does not take them");
                    }
                    (None, true) => tracing::info!("the collector takes spans again"),
                    (Some(_), true) | (None, false) => {}
                }
                is_broken = error.is_some();
            }
            if !is_alive {
                return;
            }
        }
    }

    /// Sends spans and counts what became of them. Returns why they are lost, if they are.
    async fn send(&mut self, spans: Vec<Span>) -> Option<String> {
        let count = spans.len() as u64;
        let body = self.encoded(spans);
        let mut pause = FIRST_PAUSE;
        loop {
            let answer = timeout(ANSWER_TIME, self.client.post(body.clone())).await;
            match answer.unwrap_or_else(|_| Answer::Later("no answer in time".to_owned())) {
                Answer::Taken { rejected } => {
                    let rejected = rejected.min(count);
                    self.metrics.count_spans(SpanFate::Exported, count - rejected);
                    self.metrics.count_spans(SpanFate::Rejected, rejected);
                    return None;
                }
                Answer::Never(why) => {
                    self.metrics.count_spans(SpanFate::Rejected, count);
                    return Some(why);
                }
                Answer::Later(why) => {
                    self.client.open = None;
                    let stops = self.stopped.wait_for(|stopped| *stopped);
                    if pause > LAST_PAUSE || timeout(pause, stops).await.is_ok() {
                        self.metrics.count_spans(SpanFate::Unreachable, count);
                        return Some(why);
                    }
                    pause *= 2;
                }
            }
        }
    }

    fn encoded(&self, spans: Vec<Span>) -> Bytes {
        let scope = InstrumentationScope {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let scope_spans = ScopeSpans { scope: Some(scope), spans };
        let resource = Some(self.resource.clone());
        let resource_spans = vec![ResourceSpans { resource, scope_spans: vec![scope_spans] }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
    }
}

impl Client {
    pub(super) fn new(endpoint: &Uri, headers: HeaderMap) -> Result<Self, AwsError> {
        let target = Target::of(endpoint).ok_or_else(|| AwsError::Tls("bad URL".to_owned()))?;
        let transport = if target.tls {
            Transport::with_system_authorities()?
        } else {
            Transport::without_authorities()?
        };
        let path = endpoint.path_and_query().cloned().map(Uri::from).unwrap_or_default();
        Ok(Self { transport, target, path, headers, open: None })
    }

    /// Sends one body over the connection of the last one, if that is still open.
    async fn post(&mut self, body: Bytes) -> Answer {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = self.headers.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        if let Ok(host) = HeaderValue::try_from(&self.target.authority) {
            headers.insert(HOST, host);
        }
        let kept = match self.open.take() {
            Some(mut open) => open.ready().await.is_ok().then_some(open),
            None => None,
        };
        let mut open = match kept {
            Some(open) => open,
            None => match self.transport.connect(&self.target).await {
                Ok(open) => open,
                Err(why) => return Answer::Later(why),
            },
        };
        let response = match open.send_request(request).await {
            Ok(response) => response,
            Err(error) => return Answer::Later(error.to_string()),
        };
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        match head.status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Answer::Later(head.status.to_string()),
            status if status.is_success() => {
                let body = body.map(|body| body.to_bytes()).unwrap_or_default();
                self.open = Some(open);
                let answer = ExportTraceServiceResponse::decode(body).unwrap_or_default();
                let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
                Answer::Taken { rejected: u64::try_from(rejected).unwrap_or_default() }
            }
            status => Answer::Never(format!("it answers {status}")),
        }
    }
}

/// Spans that are sent together.
const BATCH_LEN_MAX: usize = 512;
/// How long spans are gathered.
const GATHERED_FOR: Duration = Duration::from_secs(5);
/// How long a collector may take.
const ANSWER_TIME: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// A collector that is away is asked again after this time, then after twice that, ...
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// ... and for the last time after this.
const LAST_PAUSE: Duration = Duration::from_secs(16);
