//! Carries out the orders of the extension's machine.

use std::sync::Arc;

use dispatch_model::lifecycle::{Input, LinkEnd, Output};
use io_tokio::clock::Clock;
use io_tokio::lifecycle_driver::{Inputs, Performer};
use io_tokio::net::Connector;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::invokes::{CurrentOffer, InvokeOrder};
use crate::network::Network;
use crate::readiness::until_ready;
use crate::session::{LinkOrder, Session};
use crate::settings::Settings;

/// The hands of a [`Lifecycle`](dispatch_model::lifecycle::Lifecycle).
#[derive(Debug)]
pub(crate) struct Hands<C> {
    pub(crate) settings: Arc<Settings>,
    pub(crate) network: Network<C>,
    pub(crate) clock: Clock,
    pub(crate) offer: CurrentOffer,
    pub(crate) inputs: Inputs,
    pub(crate) invokes: mpsc::Sender<InvokeOrder>,
    /// Ends the link when dropped.
    pub(crate) link: Option<mpsc::Sender<LinkOrder>>,
    pub(crate) probe: Option<Probe>,
}

/// The check of the app's readiness; ends when dropped.
#[derive(Debug)]
pub(crate) struct Probe(JoinHandle<()>);

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<C: Connector> Performer for Hands<C> {
    fn perform(&mut self, output: Output) {
        tracing::debug!(order = %output);
        match output {
            Output::AwaitInvoke => self.order_invoke(InvokeOrder::Next),
            Output::AwaitRestore => self.order_invoke(InvokeOrder::AwaitRestore),
            Output::Connect { lease, cold } => self.connect(lease, cold),
            Output::Disconnect => self.link = None,
            // The driver ends with it.
            Output::Exit { .. } => {}
            Output::Goaway => self.order_link(LinkOrder::Goaway),
            Output::Ping => self.order_link(LinkOrder::Ping),
            Output::ProbeApp => self.probe(),
            Output::Return(report) => {
                self.link = None;
                self.order_invoke(InvokeOrder::Return(report));
            }
            Output::StopProbing => self.probe = None,
        }
    }
}

impl<C: Connector> Hands<C> {
    fn connect(&mut self, lease: std::time::Duration, cold: bool) {
        let (link, orders) = mpsc::channel(ORDERS_MAX);
        self.link = Some(link);
        let inputs = self.inputs.clone();
        let Some(attachment) = self.offer.get() else {
            // A router may take an attempt just as the machine gives it up; it would take no other.
            tracing::warn!("an attempt to attach was given up when the router had just taken it");
            tokio::spawn(async move {
                inputs.tell(Input::Disconnected { end: LinkEnd::Refused }).await;
            });
            return;
        };
        let session = Session {
            network: self.network.clone(),
            clock: self.clock.clone(),
            app_port: self.settings.app_port,
            app_protocol: self.settings.app_protocol,
            compress: self.settings.compression,
            hooks: self.settings.hooks.clone(),
            attachment,
            kept: self.offer.clone(),
            lease,
            cold,
            inputs: inputs.clone(),
            orders,
        };
        tokio::spawn(async move {
            let end = session.run().await;
            inputs.tell(Input::Disconnected { end }).await;
        });
    }

    fn probe(&mut self) {
        let (inputs, settings) = (self.inputs.clone(), Arc::clone(&self.settings));
        let (connector, clock) = (self.network.local.clone(), self.clock.clone());
        self.probe = Some(Probe(tokio::spawn(async move {
            until_ready(&connector, &settings, &clock).await;
            inputs.tell(Input::AppReady).await;
        })));
    }

    fn order_invoke(&self, order: InvokeOrder) {
        if let Err(error) = self.invokes.try_send(order) {
            // The task is gone, which ends the process, or the machine ordered out of turn.
            tracing::error!(%error, "an order about invokes is lost");
        }
    }

    fn order_link(&self, order: LinkOrder) {
        let sent = self.link.as_ref().map(|link| link.try_send(order));
        if let Some(Err(error)) = sent {
            tracing::debug!(%error, ?order, "the link has ended meanwhile");
        }
    }
}

/// Orders are few and taken at once; an invoke has two at a time at most.
pub(crate) const ORDERS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dispatch_model::lifecycle::{Ask, ExitReason, InvokeId, Lifecycle};
    use io_tokio::lifecycle_driver::{drive, inputs};
    use io_tokio::networks::Networks;
    use tokio::time::timeout;

    use super::*;

    /// As when a router takes an attempt to attach just as it is given up: the next one has nothing
    /// to attach with.
    #[tokio::test(start_paused = true)]
    async fn an_invoke_whose_offer_is_used_up_returns_at_once() {
        let settings = Settings::read(|name| {
            (name == "AWS_LAMBDA_RUNTIME_API").then(|| "127.0.0.1:9001".to_owned())
        });
        let settings = settings.unwrap();
        let clock = Clock::start();
        let model = Lifecycle::new(settings.lifecycle, clock.now());
        let (inputs, received) = inputs();
        let (invokes, mut orders) = mpsc::channel(ORDERS_MAX);
        let hands = Hands {
            settings: Arc::new(settings),
            network: Network::tcp(Networks::none()),
            clock: clock.clone(),
            offer: CurrentOffer::default(),
            inputs: inputs.clone(),
            invokes,
            link: None,
            probe: None,
        };
        tokio::spawn(drive(model, clock, received, hands));
        inputs.tell(Input::AppReady).await;
        assert!(matches!(orders.recv().await, Some(InvokeOrder::Next)));
        let ask = Ask::Serve { fingerprint: 1, sends_away: true };
        let left = Some(Duration::from_secs(60));
        inputs.tell(Input::Invoked { invoke: InvokeId(1), ask, left }).await;
        let ordered = timeout(Duration::from_secs(60), orders.recv()).await;
        let Ok(Some(InvokeOrder::Return(report))) = ordered else {
            panic!("it does not return: {ordered:?}");
        };
        assert_eq!((report.reason, report.took), (ExitReason::RouterStatus4xx, Duration::ZERO));
    }
}
