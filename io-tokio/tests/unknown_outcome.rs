//! A call to AWS that breaks in the middle says nothing of the invocation: it may well be running.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dispatch_model::{Config, Input, InvokeOutcome, Limits, Time};
use io_tokio::attach::{self, Hello};
use io_tokio::chance::Chance;
use io_tokio::clock::Clock;
use io_tokio::driver::{self, PoolSettings};
use io_tokio::instance_listener;
use io_tokio::invited::Invited;
use io_tokio::invoker::{Invoked, Invoker};
use io_tokio::observe::Observer;
use io_tokio::payload::{InvokePayload, Plaintext};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Hands the payload to the test, and says that it does not know what became of it.
struct Breaking(mpsc::UnboundedSender<InvokePayload>);

impl Invoker for Breaking {
    fn invoke(
        &self,
        _: &str,
        payload: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Invoked> + Send + '_>> {
        let payload = InvokePayload::from_json(&payload).expect("the driver's own");
        self.0.send(payload).expect("the test waits");
        Box::pin(async { Invoked::new(InvokeOutcome::Unknown, &"the connection broke") })
    }
}

/// Tells the test what the model is told.
struct Told(mpsc::UnboundedSender<Input>);

impl Observer for Told {
    fn input(&mut self, _: Time, input: &Input) {
        self.0.send(*input).ok();
    }
}

#[tokio::test]
async fn an_instance_attaches_although_the_call_that_invoked_it_broke() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = PoolSettings {
        name: "default".into(),
        function: "f".into(),
        callback_url: format!("http://{}", listener.local_addr().unwrap()),
        identity: None,
        seed: 1,
        chance: Chance::System,
    };
    let (payloads, mut invoked) = mpsc::unbounded_channel();
    let (inputs, mut told) = mpsc::unbounded_channel();
    let config = Config::new(Limits::default()).unwrap();
    let invoker = Arc::new(Breaking(payloads));
    let invited = Invited::default();
    let pool =
        driver::start(config, settings, Clock::start(), invited.clone(), invoker, Told(inputs));
    tokio::spawn(instance_listener::serve(listener, None, invited, None));
    let _request = pool.arrive(0);

    let payload = invoked.recv().await.unwrap();
    while !matches!(told.recv().await.unwrap(), Input::InvokeEnded { .. }) {}
    let offer = payload.offer(Clock::start().wall(), Plaintext::Allowed).unwrap();
    let mut stream = TcpStream::connect((offer.host.as_str(), offer.port)).await.unwrap();
    let hello = Hello {
        host: "router".into(),
        instance: payload.id,
        slots: 1,
        lease: Duration::from_secs(60),
        cold: true,
    };
    attach::request(&mut stream, &hello, &offer.token, &[]).await.unwrap();
}
