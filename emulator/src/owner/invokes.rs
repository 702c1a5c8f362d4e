//! The invokes in flight: payloads and callers, which the model knows only by number.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::sync::oneshot;

use crate::call::{Delivery, InvokeRequest, Outcome, Posted};
use crate::config::{Config, Function};
use crate::model::{Answer, Bill, EnvironmentId, Input, InvokeId};
use crate::runtime_api::RESPONSE_MAX;

use super::bodies;
use super::sandbox::{Sandbox, epoch_ms_in};

/// Everything about the invokes that are not over.
#[derive(Debug)]
pub(super) struct Invokes {
    arn: String,
    count: u64,
    pending: BTreeMap<InvokeId, Pending>,
}

#[derive(Debug)]
struct Pending {
    request: InvokeRequest,
    reply: Option<oneshot::Sender<Outcome>>,
    /// What the runtime posted.
    posted: Option<Bytes>,
    /// The answer of an invoke that also wants the log: it waits for the log's last lines.
    answered: Option<(Bytes, bool)>,
}

impl Invokes {
    pub(super) fn new(config: &Config, function: &Function) -> Self {
        Self { arn: function_arn(config, function), count: 0, pending: BTreeMap::new() }
    }

    pub(super) fn add(
        &mut self,
        request: InvokeRequest,
        reply: oneshot::Sender<Outcome>,
    ) -> InvokeId {
        self.count += 1;
        let invoke = InvokeId::new(self.count);
        let pending = Pending { request, reply: Some(reply), posted: None, answered: None };
        self.pending.insert(invoke, pending);
        invoke
    }

    /// Gives the invoke to `sandbox`; it times out in `left`.
    pub(super) fn deliver(&self, invoke: InvokeId, left: Duration, sandbox: &mut Sandbox) {
        let Some(Pending { request, .. }) = self.pending.get(&invoke) else { return };
        let deadline_ms = epoch_ms_in(left);
        let id = &request.request_id;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(DEADLINE_MS, deadline_ms.into());
        for (name, value) in [
            (REQUEST_ID, Some(id.as_bytes())),
            (FUNCTION_ARN, Some(self.arn.as_bytes())),
            (TRACE_ID, Some(request.trace.as_bytes())),
            (CLIENT_CONTEXT, request.client_context.as_deref()),
        ] {
            if let Some(Ok(value)) = value.map(HeaderValue::from_bytes) {
                headers.insert(name, value);
            }
        }
        sandbox.log.clear();
        sandbox.log.push(&bodies::start_line(id));
        let event = bodies::invoke_event(id, deadline_ms, &self.arn, &request.trace);
        let delivery = Delivery { headers, payload: request.payload.clone() };
        sandbox.deliver(invoke, id, delivery, &event);
    }

    /// Keeps what the runtime posted for the answer that the model will order; says what that is to
    /// the model.
    pub(super) fn posted(
        &mut self,
        environment: EnvironmentId,
        invoke: InvokeId,
        posted: Posted,
    ) -> Input {
        let (body, input) = match posted {
            Posted::Response(body) => (body, Input::ResponsePosted { environment, invoke }),
            Posted::Error(body) => (body, Input::ErrorPosted { environment, invoke }),
            Posted::TooLarge => {
                (bodies::too_large_error(RESPONSE_MAX), Input::ErrorPosted { environment, invoke })
            }
        };
        if let Some(pending) = self.pending.get_mut(&invoke) {
            pending.posted = Some(body);
        }
        input
    }

    /// Answers the caller. `source` is the environment that the answer speaks of, if it does.
    pub(super) fn answer(&mut self, invoke: InvokeId, answer: Answer, source: Option<&Sandbox>) {
        let Some(pending) = self.pending.get_mut(&invoke) else { return };
        let id = &pending.request.request_id;
        let (body, function_error) = match answer {
            Answer::Throttled(reason) => return self.refuse(invoke, Outcome::Throttled(reason)),
            Answer::Unavailable => return self.refuse(invoke, Outcome::Unavailable),
            Answer::Exited { .. } => (bodies::exit_error(id, source.and_then(Sandbox::end)), true),
            Answer::FunctionError => (pending.posted.take().unwrap_or_default(), true),
            Answer::InitError { .. } => {
                let posted = source.and_then(|sandbox| sandbox.init_error.clone());
                (posted.unwrap_or_else(bodies::unknown_init_error), true)
            }
            Answer::Response => (pending.posted.take().unwrap_or_default(), false),
            Answer::TimedOut { after } => (bodies::timeout_error(id, after), true),
        };
        // Nobody needs it again, and the caller may hold the answer for long.
        pending.request.payload = Bytes::new();
        if pending.request.tail {
            pending.answered = Some((body, function_error));
        } else {
            pending.reply(Outcome::Ran { body, function_error, log_tail: None });
        }
    }

    fn refuse(&mut self, invoke: InvokeId, outcome: Outcome) {
        if let Some(mut pending) = self.pending.remove(&invoke) {
            pending.reply(outcome);
        }
    }

    /// The invoke is over, for its environment too.
    pub(super) fn billed(&mut self, bill: Bill, sandbox: Option<&mut Sandbox>) {
        let Some(invoke) = bill.invoke else { return };
        let Some(mut pending) = self.pending.remove(&invoke) else { return };
        let mut log_tail = String::new();
        if let Some(sandbox) = sandbox {
            sandbox.log.push(&bodies::report_lines(&pending.request.request_id, &bill));
            sandbox.invoke_over();
            log_tail = sandbox.log.text();
        }
        if let Some((body, function_error)) = pending.answered.take() {
            pending.reply(Outcome::Ran { body, function_error, log_tail: Some(log_tail) });
        }
    }
}

impl Pending {
    fn reply(&mut self, outcome: Outcome) {
        if let Some(reply) = self.reply.take()
            && reply.send(outcome).is_err()
        {
            tracing::debug!("the caller of {} has gone", self.request.request_id);
        }
    }
}

/// Such as `arn:aws:lambda:us-east-1:123456789012:function:demo`.
pub(crate) fn function_arn(config: &Config, function: &Function) -> String {
    let Config { region, account_id, .. } = config;
    format!("arn:aws:lambda:{region}:{account_id}:function:{}", function.name)
}

const CLIENT_CONTEXT: HeaderName = HeaderName::from_static("lambda-runtime-client-context");
const DEADLINE_MS: HeaderName = HeaderName::from_static("lambda-runtime-deadline-ms");
const FUNCTION_ARN: HeaderName = HeaderName::from_static("lambda-runtime-invoked-function-arn");
const REQUEST_ID: HeaderName = HeaderName::from_static("lambda-runtime-aws-request-id");
const TRACE_ID: HeaderName = HeaderName::from_static("lambda-runtime-trace-id");
