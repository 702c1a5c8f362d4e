//! The task that talks with Lambda about invokes: asks for one, reads it, answers it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use dispatch_model::lifecycle::{Ask, ExitReason, Input, InvokeId, Report};
use io_tokio::clock::Clock;
use io_tokio::lifecycle_driver::Inputs;
use io_tokio::net::Connector;
use io_tokio::payload::{InvokePayload, PayloadError};
use io_tokio::rfc3339;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::RunError;
use crate::hooks::When;
use crate::lambda_api::{Failure, LambdaApi, NextInvoke};
use crate::session::{Attachment, Offer};
use crate::settings::Settings;

/// What may be asked of the task. The sender's end ends it, when all before is done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum InvokeOrder {
    /// Let the environment be stored, and go on in the copies.
    AwaitRestore,
    /// Ask Lambda for the next invoke.
    Next,
    /// Answer the invoke.
    Return(Report),
}

/// The offer of the current invoke, from the task that reads it to the one that dials.
#[derive(Clone, Debug, Default)]
pub(crate) struct CurrentOffer(Arc<Mutex<Option<Attachment>>>);

impl CurrentOffer {
    pub(crate) fn get(&self) -> Option<Attachment> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn clear(&self) {
        self.set(None);
    }

    fn set(&self, attachment: Option<Attachment>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = attachment;
    }
}

/// The task's state.
#[derive(Debug)]
pub(crate) struct Invokes<C> {
    pub(crate) api: LambdaApi<C>,
    /// The way to the app.
    pub(crate) app: C,
    pub(crate) settings: Arc<Settings>,
    pub(crate) clock: Clock,
    pub(crate) offer: CurrentOffer,
    pub(crate) inputs: Inputs,
    count: u64,
    current: Current,
}

/// What the answer to the current invoke repeats.
#[derive(Debug, Default)]
struct Current {
    request_id: String,
    pool: String,
    instance: String,
    problem: Option<String>,
}

impl<C: Connector> Invokes<C> {
    pub(crate) fn new(
        api: LambdaApi<C>,
        app: C,
        settings: Arc<Settings>,
        clock: Clock,
        offer: CurrentOffer,
        inputs: Inputs,
    ) -> Self {
        Self { api, app, settings, clock, offer, inputs, count: 0, current: Current::default() }
    }

    /// Carries out orders until their sender is gone.
    ///
    /// # Errors
    ///
    /// Lambda hands out no invokes, or the app cannot live with a snapshot: there is nothing to
    /// live for.
    pub(crate) async fn run(
        mut self,
        mut orders: mpsc::Receiver<InvokeOrder>,
    ) -> Result<(), RunError> {
        while let Some(order) = orders.recv().await {
            match order {
                InvokeOrder::Return(report) => self.answer(&report).await,
                InvokeOrder::AwaitRestore => {
                    tokio::select! {
                        biased;
                        _ = orders.recv() => return Ok(()),
                        restored = self.await_restore() => restored?,
                    }
                    self.inputs.tell(Input::Restored).await;
                }
                InvokeOrder::Next => {
                    let next = tokio::select! {
                        biased;
                        // Nothing is ordered while an invoke is awaited, except the end.
                        _ = orders.recv() => return Ok(()),
                        next = self.api.next() => next?,
                    };
                    let input = self.read(next);
                    self.inputs.tell(input).await;
                }
            }
        }
        Ok(())
    }

    /// Lets the environment be stored as a snapshot; returns in each copy of it. Nothing is open
    /// over that but the connection on which the end of the environment is awaited, whose peer is
    /// stored with us. Nor is there a secret yet: names and tokens come with invokes, and our TLS
    /// draws its random numbers from the system at each use.
    async fn await_restore(&mut self) -> Result<(), RunError> {
        let (app, settings) = (self.app.clone(), Arc::clone(&self.settings));
        let (port, protocol) = (settings.app_port, settings.app_protocol);
        let tell = |when| settings.hooks.tell(when, &app, port, protocol);
        if let Err(error) = tell(When::BeforeCheckpoint).await {
            let message = error.to_string();
            let failure = Failure { kind: "Runtime.BeforeSnapshotError", message: &message };
            self.api.init_error(failure).await?;
            return Err(error.into());
        }
        self.api.restore_next().await?;
        tracing::info!("restored from a snapshot");
        if let Err(error) = tell(When::AfterRestore).await {
            let message = error.to_string();
            let failure = Failure { kind: "Runtime.AfterRestoreError", message: &message };
            self.api.restore_error(failure).await?;
            return Err(error.into());
        }
        Ok(())
    }

    fn read(&mut self, next: NextInvoke) -> Input {
        self.count += 1;
        self.current = Current { request_id: next.request_id, ..Current::default() };
        let ask = match self.ask(&next.event) {
            Ok(ask) => ask,
            Err(error) => {
                tracing::error!(%error, "the invoke cannot be served");
                let is_late =
                    matches!(error, PayloadError::Expired { .. } | PayloadError::Lasting { .. });
                let ask = if matches!(error, PayloadError::Json(_)) {
                    Ask::Foreign
                } else if is_late {
                    Ask::Stale
                } else {
                    Ask::Invalid
                };
                self.current.problem = Some(error.to_string());
                ask
            }
        };
        let left = self.settings.force_deadline.or(next.left);
        tracing::info!(instance = self.current.instance, %ask, ?left, "invoked");
        Input::Invoked { invoke: InvokeId(self.count), ask, left }
    }

    fn ask(&mut self, event: &[u8]) -> Result<Ask, PayloadError> {
        let payload = InvokePayload::from_json(event)?;
        self.current.instance.clone_from(&payload.id);
        self.current.pool = payload.pool_id.clone().unwrap_or_else(|| "default".to_owned());
        if payload.init_only {
            return Ok(Ask::InitOnly);
        }
        let now = self.clock.wall();
        if self.settings.force_deadline.is_some() && is_older(&payload.sent_time, now) {
            return Ok(Ask::Stale);
        }
        let offer = if payload.v2.is_none() && self.settings.wire_v1 {
            Offer::V1(payload.v1_offer(now)?)
        } else {
            Offer::Attach(payload.offer(now, self.settings.plaintext)?)
        };
        // A router of the original leaves that to its instances.
        let sends_away = matches!(offer, Offer::Attach(_));
        let mut hasher = DefaultHasher::new();
        payload.id.hash(&mut hasher);
        self.offer.set(Some(Attachment {
            instance: payload.id,
            slots: payload.number_of_channels.max(1),
            offer,
        }));
        Ok(Ask::Serve { fingerprint: hasher.finish(), sends_away })
    }

    async fn answer(&mut self, report: &Report) {
        self.offer.clear();
        let Current { request_id, pool, instance, problem } = &self.current;
        tracing::info!(
            instance,
            reason = %report.reason,
            requests = report.requests,
            took = ?report.took,
            "returned"
        );
        let answered = if report.failed {
            let message = problem.as_deref().unwrap_or(
                "the app did not get ready, or does not accept connections any more; see its \
                 output above",
            );
            let kind = failure_kind(report.reason);
            self.api.fail(request_id, Failure { kind, message }).await
        } else {
            let reply = Reply {
                pool_id: pool,
                id: instance,
                request_count: report.requests,
                invoke_duration: report.took.as_millis(),
                exit_reason: report.reason.to_string(),
            };
            match serde_json::to_vec(&reply) {
                Ok(body) => self.api.respond(request_id, Bytes::from(body)).await,
                Err(error) => {
                    tracing::error!(%error, "the reply cannot be written");
                    return;
                }
            }
        };
        if let Err(error) = answered {
            // Lambda has given up on the invoke already; the next one will show.
            tracing::warn!(%error, "the invoke's answer was not taken");
        }
    }
}

const fn failure_kind(reason: ExitReason) -> &'static str {
    match reason {
        ExitReason::AppConnectionError => "Extension.AppConnectionError",
        ExitReason::RouterConnectionError
        | ExitReason::RouterGoAway
        | ExitReason::RouterLambdaInvokeInvalid
        | ExitReason::RouterStatus4xx
        | ExitReason::RouterStatus5xx
        | ExitReason::RouterUnreachable
        | ExitReason::SelfDeadline
        | ExitReason::SelfInitOnly
        | ExitReason::SelfLastActive
        | ExitReason::SelfStaleRequest => "Extension.Failed",
    }
}

/// Local stand-ins for Lambda keep invokes for whoever comes next; such a one is not for us.
fn is_older(sent: &str, now: SystemTime) -> bool {
    let sent = rfc3339::parse(sent);
    sent.is_some_and(|sent| now.duration_since(sent).is_ok_and(|age| age > LOCAL_AGE_MAX))
}

/// The answer to an invoke, with the original's names.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Reply<'a> {
    pool_id: &'a str,
    id: &'a str,
    request_count: u64,
    /// In milliseconds.
    invoke_duration: u128,
    exit_reason: String,
}

const LOCAL_AGE_MAX: Duration = Duration::from_secs(5);
