//! The one task that owns a [`Lifecycle`].
//!
//! A turn: wait for inputs or for the model's timeout, read the clock once, let what is due happen,
//! hand in the inputs, carry out the orders. No deadline is kept here; the next turn asks again.

use dispatch_model::lifecycle::{Input, Lifecycle, Output};
use tokio::sync::mpsc;

use crate::clock::Clock;

/// Carries out a lifecycle's orders.
pub trait Performer {
    /// Starts to do `output`; must not block. The answer comes back as an input.
    fn perform(&mut self, output: Output);
}

/// Where what happens is told.
#[derive(Clone, Debug)]
pub struct Inputs(mpsc::Sender<Input>);

impl Inputs {
    /// Tells what happened; waits while much else is waiting to be heard. Nobody listens any more
    /// only when the process ends, and then it does not matter.
    pub async fn tell(&self, input: Input) {
        if self.0.send(input).await.is_err() {
            tracing::debug!(%input, "nobody listens any more");
        }
    }
}

/// A way to tell what happens, and its end for [`drive`].
#[must_use]
pub fn inputs() -> (Inputs, mpsc::Receiver<Input>) {
    let (sender, receiver) = mpsc::channel(INPUTS_MAX);
    (Inputs(sender), receiver)
}

/// Drives `model` until it says exit, and returns whether that is a failure.
///
/// Also ends, as a failure, when nobody is left who could send inputs.
pub async fn drive<P: Performer>(
    mut model: Lifecycle,
    clock: Clock,
    mut inputs: mpsc::Receiver<Input>,
    mut performer: P,
) -> bool {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    loop {
        while let Some(output) = model.poll_output() {
            if let Output::Exit { failed } = output {
                return failed;
            }
            performer.perform(output);
        }
        let timeout = model.poll_timeout();
        tokio::select! {
            biased;
            received = inputs.recv_many(&mut batch, BATCH_MAX) => {
                if received == 0 {
                    return true;
                }
            }
            () = async {
                match timeout {
                    Some(timeout) => clock.sleep_until(timeout.at).await,
                    None => std::future::pending().await,
                }
            } => {}
        }
        let now = clock.now();
        model.handle_timeout(now);
        for input in batch.drain(..) {
            model.handle_input(now, input);
        }
    }
}

/// Few things happen at a time; whoever has more to tell waits.
const INPUTS_MAX: usize = 256;
const BATCH_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dispatch_model::lifecycle::{Ask, Config, InvokeId};

    use super::*;

    struct Script {
        orders: Vec<String>,
        inputs: mpsc::Sender<Input>,
    }

    impl Performer for &mut Script {
        fn perform(&mut self, output: Output) {
            self.orders.push(output.to_string());
            let answer = match output {
                Output::ProbeApp => Input::AppReady,
                Output::AwaitInvoke if self.orders.len() < 5 => {
                    let left = Some(Duration::from_secs(16));
                    let ask = Ask::Serve { fingerprint: 1, sends_away: true };
                    Input::Invoked { invoke: InvokeId(1), ask, left }
                }
                Output::AwaitInvoke => Input::Shutdown { left: Duration::from_secs(1) },
                Output::Connect { .. } => Input::Attached,
                Output::Goaway => {
                    Input::Disconnected { end: dispatch_model::lifecycle::LinkEnd::Closed }
                }
                Output::Ping => Input::Heard,
                Output::AwaitRestore
                | Output::Disconnect
                | Output::Exit { .. }
                | Output::Return(_)
                | Output::StopProbing => return,
            };
            self.inputs.try_send(answer).unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn orders_are_carried_out_and_timers_fire_at_their_time() {
        let clock = Clock::start();
        let (sender, inputs) = mpsc::channel(8);
        let mut script = Script { orders: Vec::new(), inputs: sender };
        let model = Lifecycle::new(Config::default(), clock.now());
        assert!(!drive(model, clock, inputs, &mut script).await);
        assert_eq!(
            script.orders,
            [
                "probe-app",
                "stop-probing",
                "await-invoke",
                "connect lease 15.5s cold",
                "ping",
                "goaway",
                "return v1 SelfDeadline requests 0 took 12s",
                "await-invoke",
            ]
        );
    }
}
