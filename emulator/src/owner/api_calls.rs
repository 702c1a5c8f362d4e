//! What runtimes and extensions ask and tell, through the APIs of their environment.

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::call::{Delivery, ExtensionEvent, Posted, Refusal, Registration, answer};
use crate::model::{EnvironmentId, Input, Stage};

use super::Owner;
use super::sandbox::Sandbox;

impl Owner {
    pub(super) fn runtime_next(
        &mut self,
        environment: EnvironmentId,
        reply: oneshot::Sender<Result<Delivery, Refusal>>,
    ) {
        let held = self.sandboxes.get(&environment).and_then(Sandbox::invoke);
        let owes_answer = held.is_some_and(|invoke| self.model.serves(environment, invoke));
        match self.sandboxes.get_mut(&environment) {
            Some(sandbox) => {
                if sandbox.runtime_asks(reply, owes_answer) {
                    self.tell(Input::RuntimeNext { environment });
                }
            }
            None => answer(reply, Err(Refusal::InvalidState)),
        }
    }

    pub(super) fn restore_next(
        &mut self,
        environment: EnvironmentId,
        reply: oneshot::Sender<Result<(), Refusal>>,
    ) {
        let has_snapshot = self.config.service.restore.is_some();
        match self.initialising(environment) {
            Ok(sandbox) if has_snapshot => {
                sandbox.awaits_restore(reply);
                self.tell(Input::RestoreNext { environment });
            }
            Ok(_) | Err(_) => answer(reply, Err(Refusal::InvalidState)),
        }
    }

    pub(super) fn runtime_posted(
        &mut self,
        environment: EnvironmentId,
        request_id: &str,
        posted: Posted,
    ) -> Result<(), Refusal> {
        let invoke = self
            .sandboxes
            .get(&environment)
            .filter(|sandbox| sandbox.request_id() == Some(request_id))
            .and_then(Sandbox::invoke)
            .filter(|&invoke| self.model.serves(environment, invoke))
            .ok_or(Refusal::InvalidRequestId)?;
        let input = self.invokes.posted(environment, invoke, posted);
        self.tell(input);
        Ok(())
    }

    pub(super) fn init_error(
        &mut self,
        environment: EnvironmentId,
        body: Bytes,
    ) -> Result<(), Refusal> {
        self.not_ready(environment)?.init_error = Some(body);
        self.tell(Input::InitErrorPosted { environment });
        Ok(())
    }

    pub(super) fn extension_register(
        &mut self,
        environment: EnvironmentId,
        registration: Registration,
    ) -> Result<String, Refusal> {
        let invoke = registration.invoke;
        let (extension, identifier) = self.initialising(environment)?.register(registration)?;
        self.tell(Input::ExtensionRegistered { environment, extension, invoke });
        Ok(identifier)
    }

    pub(super) fn extension_next(
        &mut self,
        environment: EnvironmentId,
        identifier: &str,
        reply: oneshot::Sender<Result<ExtensionEvent, Refusal>>,
    ) {
        let Some(sandbox) = self.sandboxes.get_mut(&environment) else {
            return answer(reply, Err(Refusal::InvalidState));
        };
        if let Some(extension) = sandbox.extension_asks(identifier, reply) {
            self.tell(Input::ExtensionNext { environment, extension });
        }
    }

    /// Where something may yet turn out not to work.
    fn not_ready(&mut self, environment: EnvironmentId) -> Result<&mut Sandbox, Refusal> {
        if self.model.stage(environment) == Some(Stage::Restoring) {
            return self.sandboxes.get_mut(&environment).ok_or(Refusal::InvalidState);
        }
        self.initialising(environment)
    }

    fn initialising(&mut self, environment: EnvironmentId) -> Result<&mut Sandbox, Refusal> {
        let initialising = self.model.stage(environment) == Some(Stage::Initialising);
        let sandbox = self.sandboxes.get_mut(&environment).filter(|_| initialising);
        sandbox.ok_or(Refusal::InvalidState)
    }
}
